//! `ML.PREDICT` as a scalar function made from one stored model: features in, the prediction out, batch by batch.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use polars::prelude::DataFrame;

use super::frame::{self, Kind};
use super::label::Classes;
use super::learn::predictions;
use super::store::Stored;

/// The function's field with the predicted label.
pub(super) const LABEL: &str = "label";
/// The function's field with the classes' probabilities.
pub(super) const PROBS: &str = "probs";

/// The function of a model: (threshold, features…) → label and probabilities, or a number.
pub(super) fn function(name: String, model: Arc<Stored>) -> ScalarUDF {
    let signature = Signature::any(model.features.len() + 1, Volatility::Immutable);
    ScalarUDF::from(Predict { name, model, signature })
}

#[derive(Debug)]
struct Predict {
    name: String,
    model: Arc<Stored>,
    signature: Signature,
}

impl PartialEq for Predict {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.model.created_ms == other.model.created_ms
    }
}

impl Eq for Predict {}

impl Hash for Predict {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.model.created_ms).hash(state);
    }
}

impl ScalarUDFImpl for Predict {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        check_types(&self.model, types.get(1..).unwrap_or_default())?;
        Ok(match &self.model.classes {
            Some(classes) => DataType::Struct(fields(classes)),
            None => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let threshold = threshold(args.args.first())?;
        let arrays = args
            .args
            .get(1..)
            .unwrap_or_default()
            .iter()
            .map(|value| value.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let frame = features(&self.model, args.number_rows, &arrays).map_err(outside)?;
        let predicted = predictions(&self.model, &frame, &|| Ok(())).map_err(outside)?;
        let array = match &self.model.classes {
            Some(classes) => answer(classes, &predicted, threshold).map_err(outside)?,
            None => Arc::new(Float64Array::from(predicted)) as ArrayRef,
        };
        Ok(ColumnarValue::Array(array))
    }
}

/// A problem on its way through DataFusion.
pub(super) fn outside(problem: Problem) -> DataFusionError {
    DataFusionError::External(Box::new(problem))
}

/// Refuses columns of a type that the model was not trained on.
pub(super) fn check_types(model: &Stored, types: &[DataType]) -> Result<()> {
    for (feature, found) in model.features.iter().zip(types) {
        let suits = match Kind::of(found) {
            _ if found == &DataType::Null => true,
            Some(Kind::Number | Kind::Flag) => feature.kind() != Kind::Text,
            Some(Kind::Text) => feature.kind() == Kind::Text,
            None => false,
        };
        if !suits {
            let wanted = if feature.kind() == Kind::Text { "a text" } else { "a number" };
            return Err(outside(Problem::new(
                Ename::TypeError,
                format!("model {} needs {} as {wanted}, here it is {found}", model.name, feature.name),
            )));
        }
    }
    Ok(())
}

/// The features' frame.
pub(super) fn features(model: &Stored, rows: usize, arrays: &[ArrayRef]) -> Result<DataFrame, Problem> {
    let columns: Vec<_> = model
        .features
        .iter()
        .zip(arrays)
        .map(|(feature, array)| (feature.name.as_str(), array, feature.kind()))
        .collect();
    frame::from_arrays(rows, &columns)
}

fn threshold(value: Option<&ColumnarValue>) -> Result<f64> {
    let array = match value {
        Some(value) => value.to_array(1)?,
        None => return Ok(0.5),
    };
    Ok(array
        .as_primitive_opt::<Float64Type>()
        .filter(|array| !array.is_empty())
        .map_or(0.5, |array| array.value(0)))
}

/// `STRUCT<label, probs ARRAY<STRUCT<label, prob>>>`
fn fields(classes: &Classes) -> Fields {
    let label = Field::new(LABEL, classes.kind.data_type(), false);
    let probs = DataType::List(item(classes));
    Fields::from(vec![label, Field::new(PROBS, probs, false)])
}

fn item(classes: &Classes) -> FieldRef {
    Arc::new(Field::new("item", DataType::Struct(pair(classes)), false))
}

fn pair(classes: &Classes) -> Fields {
    Fields::from(vec![
        Field::new("label", classes.kind.data_type(), false),
        Field::new("prob", DataType::Float64, false),
    ])
}

/// The predicted class and both probabilities, the positive class first.
fn answer(classes: &Classes, predicted: &[f64], threshold: f64) -> Result<ArrayRef, Problem> {
    let failed = |error| super::internal("predictions could not be put together", error);
    let labels = classes.array(predicted.iter().map(|p| *p >= threshold))?;
    let both = classes.array((0..predicted.len() * 2).map(|i| i % 2 == 0))?;
    let probs: Vec<f64> = predicted.iter().flat_map(|p| [*p, 1.0 - p]).collect();
    let pairs = StructArray::try_new(pair(classes), vec![both, Arc::new(Float64Array::from(probs))], None)
        .map_err(failed)?;
    let offsets = OffsetBuffer::from_repeated_length(2, predicted.len());
    let lists = ListArray::try_new(item(classes), offsets, Arc::new(pairs), None).map_err(failed)?;
    StructArray::try_new(fields(classes), vec![labels, Arc::new(lists)], None)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(failed)
}
