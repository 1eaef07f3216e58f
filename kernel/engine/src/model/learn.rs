//! Training proper: batches in, a model out. Runs on a thread of its own; the statement's stop signal ends it at once, with
//! the model of the last whole iteration if there is one.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use carrel_cell::problem::{Ename, Problem};
use carrel_train::{Data, Fit, Flow, Loss, Method, Settings, Stop, metrics, sigmoid};
use polars::prelude::{BooleanChunked, DataFrame, NewChunkedArray};

use super::encode::{self, Check, Feature};
use super::frame::{self, Kind};
use super::internal;
use super::label::{ClassKind, Classes};
use super::options::{ModelType, Options};
use super::rows::{labels, row_hashes, weights};
use super::store::{Stored, TraceLine, Training};
use crate::run::Run;

/// Rows whose design is made at once when a model is judged.
const JUDGE_ROWS: usize = 65_536;
/// The most columns of a design.
const MAX_COLUMNS: usize = 200_000;

/// What training reads: the label and the inputs of a query's result.
pub(super) struct Columns {
    label: usize,
    class_kind: Option<ClassKind>,
    inputs: Vec<(usize, String, Kind)>,
}

impl Columns {
    /// Finds the label and checks that every other column can be used.
    pub(super) fn of(schema: &Schema, options: &Options) -> Result<Self, Problem> {
        let place = |problem: Problem| match options.label_span {
            Some(span) => problem.at(span),
            None => problem,
        };
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
            return Err(Problem::new(Ename::AmbiguousName, format!("the query has two columns {}", twice.1))
                .hint("rename or leave out one of them"));
        }
        let Some(label) = names.iter().position(|name| *name == options.label) else {
            let problem = Problem::new(
                Ename::UnknownColumn,
                format!("the query has no label column {}", options.label),
            );
            return Err(place(
                problem.hint("name it with input_label_cols = ['…']").suggest(&options.label, &names),
            ));
        };
        let label_type = schema.field(label).data_type();
        let class_kind = match options.model_type {
            ModelType::LogisticReg => Some(ClassKind::of(label_type).ok_or_else(|| {
                place(Problem::new(Ename::TypeError, format!("a label cannot be {label_type}")))
            })?),
            ModelType::LinearReg => match Kind::of(label_type) {
                Some(Kind::Number | Kind::Flag) => None,
                _ => {
                    let message =
                        format!("linear_reg needs a number as its label, {} is {label_type}", options.label);
                    return Err(place(Problem::new(Ename::TypeError, message)));
                }
            },
        };
        let inputs = schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != label)
            .map(|(at, field)| match Kind::of(field.data_type()) {
                Some(kind) => Ok((at, field.name().clone(), kind)),
                None => Err(cannot_use(field.name(), field.data_type())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if inputs.is_empty() {
            return Err(Problem::new(Ename::TrainingError, "the query has no column besides the label"));
        }
        Ok(Self { label, class_kind, inputs })
    }
}

fn cannot_use(name: &str, data_type: &arrow::datatypes::DataType) -> Problem {
    let problem =
        Problem::new(Ename::TypeError, format!("column {name} is {data_type}, which models cannot use"));
    if data_type.is_temporal() {
        return problem.hint(format!("take parts of it, as in date_part('hour', {name}), or leave it out"));
    }
    problem.hint("leave it out, or cast it to a number or a text")
}

/// Trains a model on a query's result.
pub(super) fn learn(
    name: &str,
    batches: Vec<RecordBatch>,
    columns: &Columns,
    options: &Options,
    created_ms: u64,
    run: &Run,
) -> Result<Stored, Problem> {
    let began = Instant::now();
    run.stage("preparing features");
    let label_kind = columns.class_kind.map_or(Kind::Number, ClassKind::kind);
    let mut all = vec![(columns.label, options.label.clone(), label_kind)];
    all.extend(columns.inputs.iter().cloned());
    let frame = frame::from_batches(&batches, &all)?;
    drop(batches);
    let classes = columns.class_kind.map(|kind| Classes::learn(&frame, &options.label, kind)).transpose()?;
    let labels = labels(&frame, &options.label, classes.as_ref())?;
    let total = frame.height();
    let present = labels.iter().filter(|label| label.is_some()).count();
    if present == 0 {
        return Err(Problem::new(Ename::TrainingError, "there are no rows with a label to train on"));
    }
    let share = options.split.share(present);
    let cut = (share * 2f64.powi(64)) as u64;
    let hashes = if share > 0.0 { row_hashes(&frame, options.seed)? } else { Vec::new() };
    let held = |row: usize| share > 0.0 && hashes[row] < cut;
    let part = |eval: bool| -> Result<(DataFrame, Vec<f64>), Problem> {
        let take = |row: usize| labels[row].is_some() && held(row) == eval;
        let mask = BooleanChunked::from_iter_values("".into(), (0..total).map(take));
        let frame = frame.filter(&mask).map_err(|error| internal("rows could not be split", error))?;
        Ok((frame, (0..total).filter(|row| take(*row)).filter_map(|row| labels[row]).collect()))
    };
    let (train, train_labels) = part(false)?;
    if train_labels.is_empty() {
        return Err(Problem::new(Ename::TrainingError, "the split leaves no rows to train on")
            .hint("use data_split_method = 'NO_SPLIT'"));
    }
    run.check()?;
    let features = columns
        .inputs
        .iter()
        .map(|(_, name, kind)| {
            run.check().and_then(|()| Feature::learn(&train, name, *kind, options.encoding))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let width = encode::width(&features);
    if width > MAX_COLUMNS {
        return Err(Problem::new(
            Ename::TrainingError,
            format!("the columns encode to {width} features, at most {MAX_COLUMNS} are possible"),
        ));
    }
    let design = encode::design(&features, &train, &|| run.check())?;
    run.check()?;
    let weights = weights(options, classes.as_ref(), &train_labels)?;
    let settings = Settings {
        loss: if classes.is_some() { Loss::Logistic } else { Loss::Squared },
        l1: options.l1,
        l2: options.l2,
        intercept: options.fit_intercept,
        max_iterations: options.max_iterations,
        tolerance: options.tolerance,
        min_relative_progress: options.min_rel_progress,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..Settings::default()
    };
    let data = Data { design: &design, labels: &train_labels, weights: weights.as_deref(), offsets: None };
    let mass = weights.as_ref().map_or(train_labels.len() as f64, |w| w.iter().sum());
    let mut times: Vec<Duration> = Vec::new();
    let interrupted = || run.cancel.is_cancelled();
    let fit = carrel_train::fit_interruptibly(&data, &settings, &interrupted, &mut |line| {
        times.push(began.elapsed());
        run.stage(format!("training, iteration {}, loss {:.6}", line.number, line.data_loss / mass));
        Flow::Continue
    })
    .map_err(|error| Problem::new(Ename::TrainingError, format!("training is not possible: {error}")))?;
    if fit.stop == Stop::Cancelled && fit.trace.len() < 2 {
        return Err(run.cancelled()); // nothing was learnt yet
    }
    run.stage("evaluating");
    let mut stored = Stored {
        version: 1,
        name: name.to_owned(),
        created_ms,
        model_type: options.model_type,
        label: options.label.clone(),
        classes,
        standard_errors: standard_errors(&fit, &settings, mass),
        features,
        intercept: fit.model.intercept,
        coefficients: fit.model.coefficients.clone(),
        training: Training {
            rows: train_labels.len() as u64,
            dropped_rows: (total - present) as u64,
            converged: fit.converged,
            stop: stop_words(fit.stop).to_owned(),
            method: match fit.method {
                Method::Newton => "newton",
                Method::QuasiNewton => "quasi_newton",
            }
            .to_owned(),
            l1_reg: options.l1,
            l2_reg: options.l2,
            trace: trace(&fit, &times, mass),
            ..Training::default()
        },
    };
    if fit.stop == Stop::Cancelled {
        return Ok(unjudged(stored, began)); // the prompt is wanted back
    }
    let (judged, judged_labels) = if share > 0.0 { part(true)? } else { (train, train_labels) };
    if share > 0.0 {
        stored.training.eval_rows = judged_labels.len() as u64;
    }
    let predictions = match predictions(&stored, &judged, &|| run.check()) {
        Err(problem) if problem.ename == Ename::Cancelled => return Ok(unjudged(stored, began)),
        result => result?,
    };
    stored.training.metrics = judge(&stored, &predictions, &judged_labels, 0.5);
    if share > 0.0 && !judged_labels.is_empty() {
        let loss = match stored.model_type {
            ModelType::LogisticReg => metrics::log_loss(&predictions, &judged_labels, None),
            ModelType::LinearReg => metrics::brier(&predictions, &judged_labels, None).map(|mse| mse / 2.0),
        };
        if let Some(last) = stored.training.trace.last_mut() {
            last.eval_loss = loss;
        }
    }
    stored.training.duration_ms = began.elapsed().as_millis() as u64;
    Ok(stored)
}

/// A model whose training or judging was stopped: its metrics are not known.
fn unjudged(mut stored: Stored, began: Instant) -> Stored {
    stored.training.metrics =
        metric_names(stored.model_type).into_iter().map(|name| (name.to_owned(), None)).collect();
    stored.training.duration_ms = began.elapsed().as_millis() as u64;
    stored
}

fn standard_errors(fit: &Fit, settings: &Settings, mass: f64) -> Option<Vec<f64>> {
    let variances = fit.variances.as_ref()?;
    let noise = match settings.loss {
        Loss::Squared => {
            let free = (mass - variances.len() as f64).max(1.0);
            2.0 * fit.trace.last()?.data_loss / free
        }
        _ => 1.0,
    };
    Some(variances.iter().map(|v| (v * noise).sqrt()).collect())
}

fn trace(fit: &Fit, times: &[Duration], mass: f64) -> Vec<TraceLine> {
    fit.trace
        .iter()
        .enumerate()
        .map(|(at, line)| {
            let before =
                if at == 0 { Duration::ZERO } else { times.get(at - 1).copied().unwrap_or_default() };
            let now = times.get(at).copied().unwrap_or_default();
            TraceLine {
                iteration: line.number as u64,
                loss: line.data_loss / mass,
                eval_loss: None,
                objective: line.objective,
                gradient_norm: line.gradient_norm,
                step: line.step,
                duration_ms: now.saturating_sub(before).as_millis() as u64,
            }
        })
        .collect()
}

fn stop_words(stop: Stop) -> &'static str {
    match stop {
        Stop::Converged => "converged",
        Stop::Precision => "no further progress in double precision",
        Stop::SmallProgress => "progress below min_rel_progress",
        Stop::MaxIterations => "max_iterations reached",
        Stop::Cancelled => "cancelled",
    }
}

/// Predicted means: probabilities of the positive class, or values.
pub(super) fn predictions(model: &Stored, frame: &DataFrame, check: Check<'_>) -> Result<Vec<f64>, Problem> {
    let mut predicted = Vec::with_capacity(frame.height());
    for start in (0..frame.height()).step_by(JUDGE_ROWS) {
        let part = frame.slice(start as i64, JUDGE_ROWS);
        let scores = encode::design(&model.features, &part, check)?
            .scores(&model.coefficients, model.intercept, None)
            .map_err(|error| internal("a model does not fit its features", error))?;
        predicted.extend(scores);
    }
    if model.model_type == ModelType::LogisticReg {
        predicted.iter_mut().for_each(|score| *score = sigmoid(*score));
    }
    Ok(predicted)
}

/// The metrics of a model's kind, by name, in BigQuery ML's order.
pub(super) fn judge(
    model: &Stored,
    predictions: &[f64],
    labels: &[f64],
    threshold: f64,
) -> Vec<(String, Option<f64>)> {
    let values = match model.model_type {
        ModelType::LogisticReg => {
            let m = metrics::classification(predictions, labels, None, threshold);
            let any = |value: f64| (!labels.is_empty()).then_some(value);
            [any(m.precision), any(m.recall), any(m.accuracy), any(m.f1_score), m.log_loss, m.roc_auc]
        }
        ModelType::LinearReg => {
            let m = metrics::regression(predictions, labels, None);
            [
                m.mean_absolute_error,
                m.mean_squared_error,
                m.mean_squared_log_error,
                m.median_absolute_error,
                m.r2_score,
                m.explained_variance,
            ]
        }
    };
    metric_names(model.model_type).into_iter().map(str::to_owned).zip(values).collect()
}

/// The columns of `ML.EVALUATE`.
pub(super) fn metric_names(model_type: ModelType) -> [&'static str; 6] {
    match model_type {
        ModelType::LogisticReg => ["precision", "recall", "accuracy", "f1_score", "log_loss", "roc_auc"],
        ModelType::LinearReg => [
            "mean_absolute_error",
            "mean_squared_error",
            "mean_squared_log_error",
            "median_absolute_error",
            "r2_score",
            "explained_variance",
        ],
    }
}
