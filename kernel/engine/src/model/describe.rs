//! What is told about models: `SHOW MODELS`, `ML.WEIGHTS`, `ML.TRAINING_INFO`, and `ML.EVALUATE` without data.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, ListArray, RecordBatch,
    StringArray, StringBuilder, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use carrel_cell::problem::Problem;
use datafusion::catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::encode::{self, Feature, Input};
use super::internal;
use super::predict::outside;
use super::store::{Store, Stored};
use crate::output::batch;

/// The table function behind `ML.WEIGHTS` and its kin: (what, model).
pub(super) const FUNCTION: &str = "__carrel_ml";

/// Makes the tables.
#[derive(Debug)]
pub(super) struct Tables(pub(super) Store);

impl TableFunctionImpl for Tables {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let text = |at: usize| match args.exprs().get(at) {
            Some(Expr::Literal(
                ScalarValue::Utf8(Some(text))
                | ScalarValue::Utf8View(Some(text))
                | ScalarValue::LargeUtf8(Some(text)),
                _,
            )) => Ok(text.clone()),
            _ => Err(outside(internal("a model table was called with strange arguments", at))),
        };
        let model = self.0.load(&text(1)?).map_err(outside)?;
        let batch = match text(0)?.as_str() {
            "weights" => weights(&model),
            "training_info" => training_info(&model),
            _ => evaluation(&model),
        }
        .map_err(outside)?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

/// `SHOW MODELS`
pub(super) fn models(store: &Store, like: Option<&str>) -> Result<RecordBatch, Problem> {
    let names: Vec<String> =
        store.names().into_iter().filter(|name| like.is_none_or(|pattern| matches(pattern, name))).collect();
    // A file that cannot be read is listed with what is known: its name.
    let models: Vec<Option<Stored>> = names.iter().map(|name| store.load(name).ok()).collect();
    let each = |f: &dyn Fn(&Stored) -> Option<String>| -> ArrayRef {
        Arc::new(models.iter().map(|m| m.as_ref().and_then(f)).collect::<StringArray>())
    };
    let metric = |m: &Stored, wanted: &str| {
        m.training.metrics.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| *value)
    };
    let quality =
        |m: &Option<Stored>| m.as_ref().and_then(|m| metric(m, "roc_auc").or(metric(m, "r2_score")));
    let created = models.iter().map(|m| m.as_ref().map(|m| m.created_ms as i64));
    table(vec![
        ("name", Arc::new(StringArray::from_iter_values(&names))),
        ("model_type", each(&|m| Some(m.model_type.name().to_owned()))),
        ("label", each(&|m| Some(m.label.clone()))),
        (
            "features",
            Arc::new(
                models.iter().map(|m| m.as_ref().map(|m| m.features.len() as i64)).collect::<Int64Array>(),
            ),
        ),
        (
            "training_rows",
            Arc::new(
                models.iter().map(|m| m.as_ref().map(|m| m.training.rows as i64)).collect::<Int64Array>(),
            ),
        ),
        (
            "converged",
            Arc::new(
                models.iter().map(|m| m.as_ref().map(|m| m.training.converged)).collect::<BooleanArray>(),
            ),
        ),
        ("roc_auc_or_r2", Arc::new(models.iter().map(quality).collect::<Float64Array>())),
        ("created", Arc::new(created.collect::<TimestampMillisecondArray>())),
    ])
}

/// `LIKE`: `%` any text, `_` any character, no matter the case.
fn matches(pattern: &str, name: &str) -> bool {
    fn go(p: &[char], n: &[char]) -> bool {
        match p {
            [] => n.is_empty(),
            ['%', rest @ ..] => (0..=n.len()).any(|skip| go(rest, &n[skip..])),
            ['_', rest @ ..] => !n.is_empty() && go(rest, &n[1..]),
            [c, rest @ ..] => n.first() == Some(c) && go(rest, &n[1..]),
        }
    }
    let lower = |text: &str| text.to_lowercase().chars().take(256).collect::<Vec<_>>();
    // Runs of % say nothing more than one does, and would cost.
    let mut pattern = lower(pattern);
    pattern.dedup_by(|a, b| *a == '%' && *b == '%');
    go(&pattern, &lower(name))
}

/// `ML.WEIGHTS`: in the inputs' own units; a text has one weight per category.
fn weights(model: &Stored) -> Result<RecordBatch, Problem> {
    let (mut inputs, mut values) = (StringBuilder::new(), Float64Builder::new());
    let mut errors = Float64Builder::new();
    let (mut categories, mut category_values, mut lengths) =
        (StringBuilder::new(), Float64Builder::new(), Vec::new());
    let mut intercept = model.intercept;
    let mut at = 0;
    let error_of = |at: usize| model.standard_errors.as_ref().and_then(|errors| errors.get(at).copied());
    for feature in &model.features {
        let width = feature.width();
        let own = &model.coefficients[at..at + width];
        inputs.append_value(&feature.name);
        lengths.push(match &feature.input {
            Input::Number { mean, scale } => {
                let weight = own[0] / scale;
                intercept -= weight * mean;
                values.append_value(weight);
                errors.append_option(error_of(at).map(|error| error / scale));
                0
            }
            Input::Flag { mean } => {
                intercept -= own[0] * mean;
                values.append_value(own[0]);
                errors.append_option(error_of(at));
                0
            }
            Input::Category { levels, reference } => {
                values.append_null();
                errors.append_null();
                for (level, weight) in levels.iter().zip(reference.then_some(0.0).iter().chain(own)) {
                    categories.append_option(level.as_deref());
                    category_values.append_value(*weight);
                }
                levels.len()
            }
        });
        at += width;
    }
    inputs.append_value("__INTERCEPT__");
    values.append_value(intercept);
    errors.append_null();
    lengths.push(0);
    let pair = Fields::from(vec![
        Field::new("category", DataType::Utf8, true),
        Field::new("weight", DataType::Float64, false),
    ]);
    let failed = |error| internal("weights could not be put together", error);
    let pairs: Vec<ArrayRef> = vec![Arc::new(categories.finish()), Arc::new(category_values.finish())];
    let pairs = StructArray::try_new(pair.clone(), pairs, None).map_err(failed)?;
    let item = Arc::new(Field::new("item", DataType::Struct(pair), false));
    let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(pairs), None)
        .map_err(failed)?;
    table(vec![
        ("processed_input", Arc::new(inputs.finish())),
        ("weight", Arc::new(values.finish())),
        ("category_weights", Arc::new(lists)),
        ("standard_error", Arc::new(errors.finish())),
    ])
}

/// `ML.TRAINING_INFO`
fn training_info(model: &Stored) -> Result<RecordBatch, Problem> {
    let trace = &model.training.trace;
    let number = |f: &dyn Fn(&super::store::TraceLine) -> Option<f64>| -> ArrayRef {
        Arc::new(trace.iter().map(f).collect::<Float64Array>())
    };
    let whole = |f: &dyn Fn(&super::store::TraceLine) -> u64| -> ArrayRef {
        Arc::new(trace.iter().map(|line| Some(f(line) as i64)).collect::<Int64Array>())
    };
    table(vec![
        ("training_run", whole(&|_| 0)),
        ("iteration", whole(&|line| line.iteration)),
        ("loss", number(&|line| Some(line.loss))),
        ("eval_loss", number(&|line| line.eval_loss)),
        ("learning_rate", number(&|line| Some(line.step))),
        ("duration_ms", whole(&|line| line.duration_ms)),
        ("objective", number(&|line| Some(line.objective))),
        ("gradient_norm", number(&|line| Some(line.gradient_norm))),
    ])
}

/// `ML.EVALUATE` without data: what training found.
fn evaluation(model: &Stored) -> Result<RecordBatch, Problem> {
    let one = |value: &Option<f64>| Arc::new(Float64Array::from(vec![*value])) as ArrayRef;
    table(model.training.metrics.iter().map(|(name, value)| (name.as_str(), one(value))).collect())
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, Problem> {
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    batch(Schema::new(fields), columns.into_iter().map(|(_, array)| array).collect(), rows)
}

/// The names of a model's inputs.
pub(super) fn inputs(features: &[Feature]) -> Vec<&str> {
    debug_assert!(encode::width(features) >= features.iter().filter(|f| f.width() > 0).count());
    features.iter().map(|feature| feature.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_as_in_sql() {
        for (pattern, name, expected) in [
            ("clicks", "clicks", true),
            ("Cl%", "clicks", true),
            ("%ck%", "clicks", true),
            ("c_icks", "clicks", true),
            ("c_cks", "clicks", false),
            ("%%%%%%%%%%%%%%%%%%%%%%%%%%%%x", "clicks", false),
            ("", "clicks", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
