//! A plot: its layers are asked for their rows one after the other, then it is drawn.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::ArrayFormatter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carrel_cell::bundle::MimeBundle;
use carrel_cell::caption::{grouped, seconds};
use carrel_cell::problem::{Ename, Problem, Span};
use carrel_channels::Output;
use carrel_plot::chart::Chart;
use carrel_plot::frame::{Column, Frame, Kind, Value};
use carrel_plot::layer::{Job, Step};
use carrel_plot::query::{Query, Source};
use carrel_plot::{grammar, picture, vega};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Failure, problem_of};
use crate::show::{self, Shown};
use crate::values;

/// The format that JupyterLab draws; it has no later one.
const VEGA_LITE: &str = "application/vnd.vegalite.v5+json";

/// Runs a plot that stands in a cell; places in its problems are the cell's.
pub(crate) async fn statement(
    engine: &Arc<Engine>,
    code: &str,
    query: Option<Span>,
    clauses: Span,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<Shown, Problem> {
    let spec = grammar::parse(code, clauses)?;
    let source = Source::new(code, query)?;
    let mut asking = Asking { engine, output, cancel, total: Total::default() };
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let mut drawn = Vec::new();
    for layer in &spec.layers {
        let name = layer.source.as_ref().or(spec.source.as_ref());
        let key = name.map_or("", |name| name.span.of(code)).to_owned();
        if !columns.contains_key(&key) && !layer.placed {
            if name.is_none() && !source.has_rows() {
                return Err(Problem::syntax(layer.span, "this layer has no data")
                    .hint("put a query before VISUALISE, or name a table: VISUALISE … FROM table"));
            }
            let frame = asking.ask(&source.columns(name, spec.span), 0).await?;
            columns.insert(key.clone(), frame.columns);
        }
        let known = columns.get(&key).map(Vec::as_slice).unwrap_or_default();
        let (mut job, mut step) = Job::start(source, &spec, layer, known)?;
        loop {
            match step {
                Step::Done(rows) => {
                    drawn.push(rows);
                    break;
                }
                Step::Ask(query, most) => {
                    let frame = asking.ask(&query, most).await?;
                    step = job.step(&frame)?;
                }
            }
        }
    }
    let chart = Chart::new(&spec, &drawn).map_err(|problem| problem.or_at(spec.span))?;
    let png = picture::png(&chart, &spec).map_err(|fault| fault_of(&fault.0))?;
    Ok(shown(&chart, &png, &asking.total))
}

/// What all queries of a plot took together.
#[derive(Default)]
struct Total {
    seconds: f64,
    bytes: u64,
    query_id: String,
}

struct Asking<'a> {
    engine: &'a Arc<Engine>,
    output: &'a Output,
    cancel: &'a CancellationToken,
    total: Total,
}

impl Asking<'_> {
    async fn ask(&mut self, query: &Query, most: usize) -> Result<Frame, Problem> {
        let asked = show::ask(self.engine, &query.sql, most, self.output, self.cancel).await;
        let asked = asked.map_err(|problem| match problem.ename {
            Ename::Cancelled | Ename::EngineLost | Ename::Internal => problem,
            _ => query.placed(problem),
        })?;
        self.total.seconds += asked.stats.seconds;
        self.total.bytes += asked.stats.bytes_scanned;
        self.total.query_id = asked.query_id();
        let fetched = &asked.fetched;
        let mut frame = Frame { complete: fetched.complete, ..Frame::default() };
        if let Some(schema) = &fetched.schema {
            let column = |field: &Arc<arrow::datatypes::Field>| Column {
                name: field.name().clone(),
                kind: kind(field.data_type()),
            };
            frame.columns = schema.fields().iter().map(column).collect();
        }
        for batch in &fetched.batches {
            rows(batch, &mut frame.rows).map_err(|error| problem_of(&Failure::Draw(error)))?;
        }
        Ok(frame)
    }
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Kind::Time,
        DataType::Dictionary(_, value) => kind(value),
        other if other.is_numeric() => Kind::Number,
        _ => Kind::Category,
    }
}

fn rows(batch: &RecordBatch, rows: &mut Vec<Vec<Value>>) -> Result<(), ArrowError> {
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        rows.push(columns.iter().map(|column| column[row].clone()).collect());
    }
    Ok(())
}

fn column(array: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    match kind(array.data_type()) {
        Kind::Number => {
            let numbers = cast(array, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>();
            let value = |n: Option<f64>| n.filter(|n| n.is_finite()).map_or(Value::Null, Value::Number);
            Ok(numbers.iter().map(value).collect())
        }
        Kind::Time => {
            let zone = match array.data_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let times = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, zone))?;
            let times = cast(&times, &DataType::Int64)?;
            let times = times.as_primitive::<Int64Type>();
            Ok(times.iter().map(|ms| ms.map_or(Value::Null, |ms| Value::Time(ms as f64))).collect())
        }
        Kind::Category => {
            let options = values::options();
            let formatter = ArrayFormatter::try_new(array, &options)?;
            let nulls = array.logical_nulls();
            let null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let text = |row: usize| formatter.value(row).try_to_string().map(Value::Text);
            (0..array.len()).map(|row| if null(row) { Ok(Value::Null) } else { text(row) }).collect()
        }
    }
}

fn shown(chart: &Chart, png: &[u8], total: &Total) -> Shown {
    let mut line = format!("plot of {} marks, {}", grouped(chart.count() as u64), seconds(total.seconds));
    for note in &chart.notes {
        line.push_str("; ");
        line.push_str(note);
    }
    let mut document = vega::document(chart);
    // The line stands under the plot where something was left out of it.
    if !chart.notes.is_empty() {
        vega::remark(&mut document, &chart.notes);
    }
    let bundle =
        MimeBundle::text(line).with(VEGA_LITE, document).with("image/png", STANDARD.encode(png).into());
    let carrel = json!({
        "query_id": total.query_id,
        "marks": chart.count(),
        "complete": chart.notes.is_empty(),
        "notes": chart.notes,
        "bytes_scanned": total.bytes,
    });
    Shown { bundle, metadata: Map::from_iter([("carrel".to_owned(), carrel)]) }
}

fn fault_of(cause: &str) -> Problem {
    let reference = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    tracing::error!(reference, cause, "a plot could not be drawn");
    Problem::new(Ename::Internal, format!("the plot could not be drawn, logged under {reference}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int32Array, StringArray, TimestampNanosecondArray};

    use super::*;

    fn one(array: impl Array + 'static) -> Value {
        column(&(Arc::new(array) as ArrayRef)).unwrap().remove(0)
    }

    #[test]
    fn values_become_numbers_times_and_texts() {
        assert_eq!(one(Int32Array::from(vec![7])), Value::Number(7.0));
        assert_eq!(one(Int32Array::from(vec![None])), Value::Null);
        assert_eq!(one(Date32Array::from(vec![1])), Value::Time(86_400_000.0));
        assert_eq!(one(TimestampNanosecondArray::from(vec![5_000_000])), Value::Time(5.0));
        let zoned = TimestampNanosecondArray::from(vec![0]).with_timezone("Europe/Berlin");
        assert_eq!(one(zoned), Value::Time(0.0));
        assert_eq!(one(StringArray::from(vec!["a"])), Value::Text("a".into()));
    }
}
