//! Aggregates that need all values of a group: mode, exact quantiles, entropy, histogram, and the value of a query that must have one row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, new_empty_array};
use arrow::compute::{SortOptions, concat, filter, is_not_null, partition, sort, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::problems::wrap;
use crate::words::type_name;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Mode,
    QuantileDisc,
    Mad,
    Entropy,
    Histogram,
    Single,
}

pub(super) fn all() -> Vec<AggregateUDF> {
    [
        ("mode", Kind::Mode),
        ("quantile_disc", Kind::QuantileDisc),
        ("mad", Kind::Mad),
        ("entropy", Kind::Entropy),
        ("histogram", Kind::Histogram),
        ("__single_value", Kind::Single),
    ]
    .into_iter()
    .map(|(name, kind)| {
        AggregateUDF::new_from_impl(Collect {
            name,
            kind,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
    .collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collect {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

fn map_of(key: DataType) -> DataType {
    let fields =
        Fields::from(vec![Field::new("key", key, false), Field::new("value", DataType::UInt64, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let plain = |data_type: &DataType| match data_type {
            DataType::Dictionary(_, value) => value.as_ref().clone(),
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            other => other.clone(),
        };
        let refuse = |data_type: &DataType| {
            let text = format!("{} does not take {}", self.name, type_name(data_type));
            Err(wrap(Problem::new(Ename::TypeError, text)))
        };
        match (self.kind, given) {
            (Kind::QuantileDisc, [value, share]) if share.is_numeric() => {
                Ok(vec![plain(value), DataType::Float64])
            }
            (Kind::QuantileDisc, [_, share]) => refuse(share),
            (Kind::Mad, [value]) if value.is_numeric() || value.is_null() => Ok(vec![DataType::Float64]),
            (Kind::Mad, [value]) => refuse(value),
            (Kind::Single, [value]) => Ok(vec![value.clone()]),
            (Kind::Mode | Kind::Entropy | Kind::Histogram, [value]) => Ok(vec![plain(value)]),
            _ => plan_err!("Function '{}' does not take {} arguments", self.name, given.len()),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        Ok(match (self.kind, given.first()) {
            (Kind::Entropy | Kind::Mad, _) => DataType::Float64,
            (Kind::Histogram, Some(key)) => map_of(key.clone()),
            (_, Some(value)) => value.clone(),
            (_, None) => DataType::Null,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        Ok(Box::new(Values {
            kind: self.kind,
            data_type,
            arrays: Vec::new(),
            skip: 0,
            share: None,
            bytes: 0,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let data_type = args.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let list = DataType::List(Arc::new(Field::new_list_field(data_type, true)));
        Ok(vec![
            Arc::new(Field::new(format!("{}[values]", args.name), list, true)),
            Arc::new(Field::new(format!("{}[share]", args.name), DataType::Float64, true)),
        ])
    }
}

/// All values of a group, NULLs left out where they do not count.
#[derive(Debug)]
struct Values {
    kind: Kind,
    data_type: DataType,
    arrays: Vec<ArrayRef>,
    /// Values at the front that left the window.
    skip: usize,
    share: Option<f64>,
    bytes: usize,
}

impl Values {
    fn push(&mut self, array: &ArrayRef) -> Result<()> {
        let array = if self.kind == Kind::Single || array.null_count() == 0 && !array.data_type().is_null() {
            array.clone()
        } else {
            filter(array, &is_not_null(array)?)?
        };
        if array.is_empty() {
            return Ok(());
        }
        if self.kind == Kind::Single
            && self.arrays.iter().map(|array| array.len()).sum::<usize>() + array.len() > 1
        {
            let problem =
                Problem::new(Ename::ValueError, "a query that is used as one value gave more than one row");
            return Err(wrap(
                problem.hint("add LIMIT 1, an aggregate such as max(…), or a condition that leaves one row"),
            ));
        }
        // a group's values are a slice of a batch, which would be kept whole
        let bytes = array.to_data().get_slice_memory_size()?;
        let rows = UInt32Array::from_iter_values((0_u32..).take(array.len()));
        let whole = array.get_array_memory_size() <= 2 * bytes;
        self.arrays.push(if whole { array } else { take(&array, &rows, None)? });
        self.bytes += bytes + size_of::<ArrayRef>();
        Ok(())
    }

    fn all(&self) -> Result<ArrayRef> {
        if self.arrays.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        let arrays: Vec<&dyn Array> = self.arrays.iter().map(AsRef::as_ref).collect();
        let all = concat(&arrays)?;
        Ok(all.slice(self.skip.min(all.len()), all.len().saturating_sub(self.skip)))
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if let Some(shares) = values.get(1) {
            let shares = shares.as_primitive::<Float64Type>();
            self.share = self.share.or_else(|| shares.iter().flatten().next());
        }
        self.push(&values[0])
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        // what leaves a window is what came into it first
        self.skip += values[0].len() - values[0].null_count();
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.kind != Kind::Single
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if let Some(shares) = states.get(1) {
            self.share = self.share.or_else(|| shares.as_primitive::<Float64Type>().iter().flatten().next());
        }
        for list in states[0].as_list::<i32>().iter().flatten() {
            self.push(&list)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let all = self.all()?;
        let values =
            (0..all.len()).map(|row| ScalarValue::try_from_array(&all, row)).collect::<Result<Vec<_>>>()?;
        let list = ScalarValue::new_list_nullable(&values, &self.data_type);
        Ok(vec![ScalarValue::List(list), ScalarValue::Float64(self.share)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let all = self.all()?;
        match self.kind {
            Kind::Single => match all.len() {
                0 => ScalarValue::try_from(&self.data_type),
                _ => ScalarValue::try_from_array(&all, 0),
            },
            Kind::Mode => mode(&all, &self.data_type),
            Kind::QuantileDisc => quantile(&all, &self.data_type, self.share),
            Kind::Mad => mad(&all),
            Kind::Entropy => entropy(&all),
            Kind::Histogram => histogram(&all, &self.data_type),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }
}

/// Runs of equal values: where each begins in the sorted order, and how long it is.
fn runs(all: &ArrayRef) -> Result<(UInt32Array, Vec<(usize, usize)>)> {
    let order = sort_to_indices(all, None, None)?;
    let sorted = take(all, &order, None)?;
    let ranges = partition(&[sorted])?.ranges();
    Ok((order, ranges.into_iter().map(|range| (range.start, range.len())).collect()))
}

/// The most frequent value; of several, the one that came first.
fn mode(all: &ArrayRef, data_type: &DataType) -> Result<ScalarValue> {
    if all.is_empty() {
        return ScalarValue::try_from(data_type);
    }
    let (order, runs) = runs(all)?;
    let first = |(start, length): (usize, usize)| {
        (start..start + length).map(|at| order.value(at)).min().unwrap_or(0)
    };
    let best = runs.into_iter().max_by_key(|run| (run.1, std::cmp::Reverse(first(*run))));
    let at = best.map_or(0, first);
    ScalarValue::try_from_array(all, at as usize)
}

/// The smallest value that so many of all values are not above.
fn quantile(all: &ArrayRef, data_type: &DataType, share: Option<f64>) -> Result<ScalarValue> {
    let Some(share) = share.filter(|share| (0.0..=1.0).contains(share)) else {
        if all.is_empty() {
            return ScalarValue::try_from(data_type);
        }
        return Err(wrap(Problem::new(Ename::ValueError, "a quantile is from 0 to 1")));
    };
    if all.is_empty() {
        return ScalarValue::try_from(data_type);
    }
    let sorted = sort(all, Some(SortOptions { descending: false, nulls_first: false }))?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among the values"
    )]
    let at = ((share * sorted.len() as f64).ceil() as usize).saturating_sub(1).min(sorted.len() - 1);
    ScalarValue::try_from_array(&sorted, at)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => values.get(middle).copied(),
        _ => Some(f64::midpoint(*values.get(middle - 1)?, *values.get(middle)?)),
    }
}

/// The median distance from the median.
fn mad(all: &ArrayRef) -> Result<ScalarValue> {
    let values: Vec<f64> = all.as_primitive::<Float64Type>().iter().flatten().collect();
    let Some(middle) = median(values.clone()) else { return Ok(ScalarValue::Float64(None)) };
    Ok(ScalarValue::Float64(median(values.into_iter().map(|value| (value - middle).abs()).collect())))
}

#[expect(clippy::cast_precision_loss, reason = "shares of counts")]
fn entropy(all: &ArrayRef) -> Result<ScalarValue> {
    if all.is_empty() {
        return Ok(ScalarValue::Float64(Some(0.0)));
    }
    let (_, runs) = runs(all)?;
    let total = all.len() as f64;
    let sum: f64 = runs.into_iter().map(|(_, n)| n as f64 / total).map(|share| -share * share.log2()).sum();
    Ok(ScalarValue::Float64(Some(sum)))
}

/// How often each value occurs, in order.
fn histogram(all: &ArrayRef, data_type: &DataType) -> Result<ScalarValue> {
    if all.is_empty() {
        return ScalarValue::try_from(&map_of(data_type.clone()));
    }
    let (order, runs) = runs(all)?;
    let places: UInt32Array = runs.iter().map(|(start, _)| Some(order.value(*start))).collect();
    let keys = take(all, &places, None)?;
    let counts: arrow::array::UInt64Array = runs.iter().map(|(_, n)| Some(*n as u64)).collect();
    let fields = Fields::from(vec![
        Field::new("key", data_type.clone(), false),
        Field::new("value", DataType::UInt64, true),
    ]);
    let length = keys.len();
    let entries = arrow::array::StructArray::new(fields.clone(), vec![keys, Arc::new(counts)], None);
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([length]);
    let map = arrow::array::MapArray::try_new(field, offsets, entries, None, false)?;
    Ok(ScalarValue::Map(Arc::new(map)))
}
