//! `ML.EVALUATE` on data as an aggregate function made from one stored model: label and features in, metrics out.
//! Exact, so it keeps a prediction and a label of 8 bytes each for every row; DataFusion counts them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use carrel_cell::problem::Problem;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::frame::{self, Kind};
use super::internal;
use super::learn::{judge, metric_names, predictions};
use super::predict::{check_types, features, outside};
use super::store::Stored;

/// The function of a model: (threshold, label, features…) → a struct of metrics.
pub(super) fn function(name: String, model: Arc<Stored>) -> AggregateUDF {
    let signature = Signature::any(model.features.len() + 2, Volatility::Immutable);
    AggregateUDF::from(Evaluate { name, model, signature })
}

#[derive(Debug)]
struct Evaluate {
    name: String,
    model: Arc<Stored>,
    signature: Signature,
}

impl PartialEq for Evaluate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.model.created_ms == other.model.created_ms
    }
}

impl Eq for Evaluate {}

impl Hash for Evaluate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.model.created_ms).hash(state);
    }
}

impl AggregateUDFImpl for Evaluate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        check_types(&self.model, types.get(2..).unwrap_or_default())?;
        Ok(DataType::Struct(fields(&self.model)))
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Judge {
            model: self.model.clone(),
            threshold: 0.5,
            predictions: Vec::new(),
            labels: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |what: &str| {
            let name = format!("{}[{what}]", args.name);
            Arc::new(Field::new(name, DataType::List(item()), true)) as FieldRef
        };
        Ok(vec![list("threshold"), list("predictions"), list("labels")])
    }
}

fn item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float64, true))
}

fn fields(model: &Stored) -> Fields {
    metric_names(model.model_type).iter().map(|name| Field::new(*name, DataType::Float64, true)).collect()
}

#[derive(Debug)]
struct Judge {
    model: Arc<Stored>,
    threshold: f64,
    predictions: Vec<f64>,
    labels: Vec<f64>,
}

impl Judge {
    fn add(&mut self, values: &[ArrayRef]) -> Result<(), Problem> {
        let [threshold, label, inputs @ ..] = values else {
            return Err(internal("evaluation was called with too few arguments", values.len()));
        };
        if let Some(threshold) = threshold.as_primitive_opt::<Float64Type>().filter(|array| !array.is_empty())
        {
            self.threshold = threshold.value(0);
        }
        let rows = label.len();
        let frame = features(&self.model, rows, inputs)?;
        let predicted = predictions(&self.model, &frame, &|| Ok(()))?;
        let kind = self.model.classes.as_ref().map_or(Kind::Number, |classes| classes.kind.kind());
        let name = self.model.label.as_str();
        let label = frame::from_arrays(rows, &[(name, label, kind)])?;
        let labels = match &self.model.classes {
            Some(classes) => classes.codes(&label, name)?,
            None => {
                let polars = |error| internal("the label could not be read", error);
                label.column(name).map_err(polars)?.f64().map_err(polars)?.iter().collect()
            }
        };
        for (prediction, label) in predicted.into_iter().zip(labels) {
            if let Some(label) = label.filter(|label| label.is_finite()) {
                self.predictions.push(prediction);
                self.labels.push(label);
            }
        }
        Ok(())
    }
}

impl Accumulator for Judge {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values).map_err(outside)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let numbers = |at: usize| -> Result<Vec<f64>> {
            let lists = states.get(at).and_then(|state| state.as_list_opt::<i32>());
            let lists = lists.ok_or_else(|| outside(internal("evaluation was given a strange state", at)))?;
            Ok(lists
                .iter()
                .flatten()
                .flat_map(|list| list.as_primitive::<Float64Type>().values().to_vec())
                .collect())
        };
        if let Some(threshold) = numbers(0)?.first() {
            self.threshold = *threshold;
        }
        self.predictions.extend(numbers(1)?);
        self.labels.extend(numbers(2)?);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |values: Vec<f64>| -> Result<ScalarValue> {
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            let values = Arc::new(Float64Array::from(values));
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(item(), offsets, values, None)?)))
        };
        // A part that saw no rows does not know the threshold either.
        let threshold = if self.labels.is_empty() { Vec::new() } else { vec![self.threshold] };
        Ok(vec![
            list(threshold)?,
            list(std::mem::take(&mut self.predictions))?,
            list(std::mem::take(&mut self.labels))?,
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let metrics = judge(&self.model, &self.predictions, &self.labels, self.threshold);
        let arrays = metrics
            .into_iter()
            .map(|(_, value)| Arc::new(Float64Array::from(vec![value])) as ArrayRef)
            .collect();
        let array = StructArray::try_new(fields(&self.model), arrays, None)?;
        Ok(ScalarValue::Struct(Arc::new(array)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + 8 * (self.predictions.capacity() + self.labels.capacity())
    }
}
