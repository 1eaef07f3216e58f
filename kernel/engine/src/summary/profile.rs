//! `__profile(x)`: everything that SUMMARIZE tells of a column, gathered in one pass.

use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, ListArray, UInt64Array, new_empty_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, UInt64Type};
use datafusion::common::hash_utils::{HLL_RANDOM_STATE, create_hashes};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::figures::{self, Figures};
use super::sketch::{Drawn, Sketch};

/// The aggregate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    signature: Signature,
}

impl Profile {
    pub(super) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Profile {
    fn name(&self) -> &str {
        "__profile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(figures::fields()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let given = args.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        Ok(Box::new(Gathered::new(given)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let given = args.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let value = plain(&given);
        let field = |name: &str, data_type: DataType| {
            Arc::new(Field::new(format!("{}[{name}]", args.name), data_type, true))
        };
        Ok(vec![
            field("rows", DataType::Int64),
            field("count", DataType::Int64),
            field("numbers", DataType::Int64),
            field("mean", DataType::Float64),
            field("squares", DataType::Float64),
            field("min", value.clone()),
            field("max", value.clone()),
            field("registers", DataType::Binary),
            field("drawn", DataType::UInt64),
            field("keys", list(DataType::UInt64)),
            field("counts", list(DataType::Int64)),
            field("values", list(value)),
        ])
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The type of the values themselves.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain(value),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other.clone(),
    }
}

/// Can values be sorted and told from each other?
fn is_simple(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || data_type.is_temporal() && !matches!(data_type, DataType::Duration(_) | DataType::Interval(_))
        || matches!(data_type, DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// What is known of the values so far.
#[derive(Debug)]
struct Gathered {
    data_type: DataType,
    rows: i64,
    count: i64,
    moments: Moments,
    /// The least and the greatest, and the values: of types that have an order.
    simple: Option<(MinAccumulator, MaxAccumulator, Sketch)>,
    hashes: Vec<u64>,
}

/// A mean and the sum of squares around it.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    numbers: i64,
    mean: f64,
    squares: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows in an average")]
impl Moments {
    fn of(values: &Float64Array) -> Self {
        let numbers = i64::try_from(values.len() - values.null_count()).unwrap_or(i64::MAX);
        if numbers == 0 {
            return Self::default();
        }
        let mean = values.iter().flatten().sum::<f64>() / numbers as f64;
        let squares = values.iter().flatten().map(|value| (value - mean) * (value - mean)).sum();
        Self { numbers, mean, squares }
    }

    /// Both together, by Chan, Golub and LeVeque.
    fn merged(self, other: Self) -> Self {
        if self.numbers == 0 || other.numbers == 0 {
            return if self.numbers == 0 { other } else { self };
        }
        let numbers = self.numbers + other.numbers;
        let (delta, share) = (other.mean - self.mean, other.numbers as f64 / numbers as f64);
        let squares = self.squares + other.squares + delta * delta * self.numbers as f64 * share;
        Self { numbers, mean: self.mean + delta * share, squares }
    }

    fn deviation(self) -> Option<f64> {
        (self.numbers > 1).then(|| (self.squares / (self.numbers - 1) as f64).sqrt())
    }
}

impl Gathered {
    fn new(given: DataType) -> Result<Self> {
        let data_type = plain(&given);
        let simple = match is_simple(&data_type) {
            true => Some((
                MinAccumulator::try_new(&data_type)?,
                MaxAccumulator::try_new(&data_type)?,
                Sketch::default(),
            )),
            false => None,
        };
        Ok(Self { data_type, rows: 0, count: 0, moments: Moments::default(), simple, hashes: Vec::new() })
    }
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [given] = values else { return Err(exec_datafusion_err!("one column was expected")) };
        let array = if given.data_type() == &self.data_type {
            given.clone()
        } else {
            arrow::compute::cast(given, &self.data_type)?
        };
        let nulls = array.logical_nulls();
        let missing = nulls.as_ref().map_or(0, |nulls| nulls.null_count());
        self.rows += i64::try_from(array.len()).unwrap_or(i64::MAX);
        self.count += i64::try_from(array.len() - missing).unwrap_or(i64::MAX);
        if self.data_type.is_numeric() {
            let numbers = arrow::compute::cast(&array, &DataType::Float64)?;
            self.moments = self.moments.merged(Moments::of(numbers.as_primitive::<Float64Type>()));
        }
        let Some((min, max, sketch)) = &mut self.simple else { return Ok(()) };
        min.update_batch(std::slice::from_ref(&array))?;
        max.update_batch(std::slice::from_ref(&array))?;
        self.hashes.clear();
        self.hashes.resize(array.len(), 0);
        create_hashes([&array], &HLL_RANDOM_STATE, &mut self.hashes)?;
        for (row, hash) in self.hashes.iter().enumerate() {
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                sketch.add(*hash, 1, || {
                    ScalarValue::try_from_array(&array, row).map(|value| value.compacted())
                })?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let part =
            |at: usize| states.get(at).ok_or_else(|| exec_datafusion_err!("a part of a profile is missing"));
        let int =
            |at: usize| Ok::<_, datafusion::error::DataFusionError>(part(at)?.as_primitive::<Int64Type>());
        let (rows, counts, numbers) = (int(0)?, int(1)?, int(2)?);
        let (means, squares) =
            (part(3)?.as_primitive::<Float64Type>(), part(4)?.as_primitive::<Float64Type>());
        for row in 0..rows.len() {
            self.rows += rows.value(row);
            self.count += counts.value(row);
            let moments =
                Moments { numbers: numbers.value(row), mean: means.value(row), squares: squares.value(row) };
            self.moments = self.moments.merged(moments);
        }
        let Some((min, max, sketch)) = &mut self.simple else { return Ok(()) };
        min.merge_batch(std::slice::from_ref(part(5)?))?;
        max.merge_batch(std::slice::from_ref(part(6)?))?;
        let (registers, drawn) = (part(7)?.as_binary::<i32>(), part(8)?.as_primitive::<UInt64Type>());
        let (keys, times, values) =
            (part(9)?.as_list::<i32>(), part(10)?.as_list::<i32>(), part(11)?.as_list::<i32>());
        for row in 0..rows.len() {
            let (keys, times, values) = (keys.value(row), times.value(row), values.value(row));
            let (keys, times) = (keys.as_primitive::<UInt64Type>(), times.as_primitive::<Int64Type>());
            let other = if registers.is_null(row) {
                let mut few = Sketch::default();
                for at in 0..keys.len() {
                    few.add(keys.value(at), times.value(at), || ScalarValue::try_from_array(&values, at))?;
                }
                few
            } else {
                let sample = (0..keys.len()).map(|at| {
                    Ok(Drawn { number: keys.value(at), value: ScalarValue::try_from_array(&values, at)? })
                });
                Sketch::Many {
                    registers: registers.value(row).to_vec(),
                    sample: sample.collect::<Result<BinaryHeap<_>>>()?,
                    drawn: drawn.value(row),
                }
            };
            *sketch = std::mem::take(sketch).merged(other);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let null = ScalarValue::try_from(&self.data_type)?;
        let (mut least, mut greatest) = (null.clone(), null);
        let (mut keys, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (mut registers, mut drawn) = (None, 0);
        if let Some((min, max, sketch)) = &mut self.simple {
            (least, greatest) = (min.evaluate()?, max.evaluate()?);
            match std::mem::take(sketch) {
                Sketch::Few(counts) => {
                    for (key, (count, value)) in counts {
                        keys.push(key);
                        times.push(count);
                        values.push(value);
                    }
                }
                Sketch::Many { registers: all, sample, drawn: count } => {
                    (registers, drawn) = (Some(all), count);
                    for Drawn { number, value } in sample {
                        keys.push(number);
                        times.push(1);
                        values.push(value);
                    }
                }
            }
        }
        let values = if values.is_empty() {
            new_empty_array(&self.data_type)
        } else {
            ScalarValue::iter_to_array(values)?
        };
        let one = |array: ArrayRef| {
            let field = Arc::new(Field::new_list_field(array.data_type().clone(), true));
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([array.len()]);
            ScalarValue::List(Arc::new(ListArray::new(field, offsets, array, None)))
        };
        let registers = BinaryArray::from_iter([registers]);
        Ok(vec![
            ScalarValue::from(self.rows),
            ScalarValue::from(self.count),
            ScalarValue::from(self.moments.numbers),
            ScalarValue::from(self.moments.mean),
            ScalarValue::from(self.moments.squares),
            least,
            greatest,
            ScalarValue::try_from_array(&registers, 0)?,
            ScalarValue::from(drawn),
            one(Arc::new(UInt64Array::from(keys))),
            one(Arc::new(Int64Array::from(times))),
            one(values),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let moments = self.moments;
        let mut figures = Figures {
            data_type: self.data_type.clone(),
            rows: self.rows,
            count: self.count,
            mean: (moments.numbers > 0).then_some(moments.mean),
            deviation: moments.deviation(),
            least: ScalarValue::Null,
            greatest: ScalarValue::Null,
            sketch: None,
        };
        if let Some((min, max, sketch)) = &mut self.simple {
            (figures.least, figures.greatest) = (min.evaluate()?, max.evaluate()?);
            figures.sketch = Some(std::mem::take(sketch));
        }
        figures.told()
    }

    fn size(&self) -> usize {
        let kept = self.simple.as_ref().map_or(0, |(_, _, sketch)| sketch.size());
        size_of_val(self) + self.hashes.capacity() * size_of::<u64>() + kept
    }
}
