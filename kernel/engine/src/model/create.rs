//! `CREATE MODEL`: runs the query, trains on what it answers, keeps the model, says what came out.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::CreateModel;
use futures::StreamExt;

use super::learn::{Columns, learn};
use super::options::Options;
use super::store::{Store, Stored, model_name};
use super::{encode, internal};
use crate::output::{Output, batch};
use crate::run::{Run, grouped};
use crate::session::Session;

/// Trains a model and keeps it in the session's models folder.
pub async fn create(session: &Session, create: &CreateModel, run: &Arc<Run>) -> Result<Output, Problem> {
    let name = model_name(&create.name)?;
    let options = Options::read(create)?;
    let store = Store::new(session.models_dir());
    if store.has(&name) && !create.replace {
        if create.if_not_exists {
            return Output::says("status", format!("model {name} is there already"));
        }
        return Err(Problem::new(Ename::AlreadyExists, format!("model {name} is there already"))
            .at(create.name.span)
            .hint("CREATE OR REPLACE MODEL trains it anew"));
    }
    let by = create.query.span.start;
    let output = session.query(&create.query.text, run).await.map_err(|problem| problem.shifted(by))?;
    let columns =
        Columns::of(&output.schema, &options).map_err(|problem| problem.or_at(create.query.span))?;
    // The frame and the design made from the rows need about as much again.
    let limit = session.config().engine.memory_limit / 2;
    let batches = read(output, limit, run).await.map_err(|problem| problem.shifted(by))?;
    let created_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
    let work = {
        let (run, name, store, replace) = (run.clone(), name.clone(), store.clone(), create.replace);
        move || -> Result<Stored, Problem> {
            let stored = learn(&name, batches, &columns, &options, created_ms, &run)?;
            // Stopped by the user: what was reached is kept, but never in place of a finished model.
            let judged = stored.training.metrics.iter().any(|(_, value)| value.is_some());
            let cancelled = run.cancel.is_cancelled() && !judged;
            if cancelled && replace && store.has(&name) {
                return Err(run.cancelled().hint(format!("model {name} is as it was before")));
            }
            store.save(&stored)?;
            if cancelled {
                let iterations = stored.training.trace.len().saturating_sub(1);
                let state = if stored.training.converged { "converged" } else { "not converged" };
                return Err(run.cancelled().hint(format!(
                    "model {name} was kept as of iteration {iterations}: {state}, not evaluated"
                )));
            }
            Ok(stored)
        }
    };
    let stored = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| internal("training ended unexpectedly", error))?
        .map_err(|problem| match problem.ename {
            Ename::TrainingError | Ename::ValueError => problem.or_at(create.query.span),
            _ => problem,
        })?;
    Ok(Output::whole(summary(&stored)?))
}

/// All batches of a query, as long as they fit into `limit` bytes.
async fn read(output: Output, limit: u64, run: &Run) -> Result<Vec<RecordBatch>, Problem> {
    let mut rows = output.rows;
    let (mut batches, mut bytes, mut count) = (Vec::new(), 0_u64, 0_u64);
    while let Some(batch) = rows.next().await {
        run.check()?;
        let batch = batch?;
        bytes += batch.get_array_memory_size() as u64;
        count += batch.num_rows() as u64;
        if bytes > limit {
            return Err(Problem::new(
                Ename::MemoryLimit,
                format!("the training data is more than {} MiB after {} rows", limit >> 20, grouped(count)),
            )
            .hint("select fewer columns or rows"));
        }
        run.stage(format!("reading, {} rows", grouped(count)));
        batches.push(batch);
    }
    if count == 0 {
        return Err(Problem::new(Ename::TrainingError, "the query has no rows to train on"));
    }
    Ok(batches)
}

/// One row that says what was trained and how well it does.
fn summary(model: &Stored) -> Result<RecordBatch, Problem> {
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_owned()])) as ArrayRef;
    let count = |value: u64| Arc::new(Int64Array::from(vec![value as i64])) as ArrayRef;
    let training = &model.training;
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("model", text(&model.name)),
        ("model_type", text(model.model_type.name())),
        ("training_rows", count(training.rows)),
        ("evaluation_rows", count(training.eval_rows)),
        ("dropped_rows", count(training.dropped_rows)),
        ("features", count(model.features.len() as u64)),
        ("coefficients", count(encode::width(&model.features) as u64)),
        ("iterations", count(training.trace.len().saturating_sub(1) as u64)),
        ("converged", Arc::new(BooleanArray::from(vec![training.converged]))),
        ("ended", text(&training.stop)),
        ("loss", Arc::new(Float64Array::from(vec![training.trace.last().map(|line| line.loss)]))),
    ];
    for (name, value) in &training.metrics {
        columns.push((name, Arc::new(Float64Array::from(vec![*value]))));
    }
    columns.push(("duration_ms", count(training.duration_ms)));
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    debug_assert!(fields.iter().all(|field| field.data_type() != &DataType::Null));
    batch(Schema::new(fields), columns.into_iter().map(|(_, array)| array).collect(), 1)
}
