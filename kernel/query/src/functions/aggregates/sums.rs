//! `sum` of whole numbers and `avg` of decimals, both on 128 bits: nothing wraps around. For other types DataFusion's own are used.

mod totals;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

use crate::problems::wrap;
use crate::words::type_name;
use totals::{Distinct, Totals};

/// What becomes of the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A whole number.
    Whole,
    /// The average of decimals with so many digits behind the point.
    Average(i8),
}

/// `sum`
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

/// `avg`
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Average {
    inner: Arc<AggregateUDF>,
    signature: Signature,
    aliases: Vec<String>,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { inner: sum_udaf(), signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl Average {
    pub(super) fn new() -> Self {
        Self {
            inner: avg_udaf(),
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: vec!["mean".to_owned()],
        }
    }
}

fn of_sum(args: &AccumulatorArgs<'_>) -> Option<What> {
    let whole = *args.return_field.data_type() == DataType::Int64 && !args.is_distinct;
    whole.then_some(What::Whole)
}

fn of_average(args: &AccumulatorArgs<'_>) -> Option<What> {
    match args.expr_fields.first().map(|field| field.data_type()) {
        Some(DataType::Decimal128(_, scale)) => Some(What::Average(*scale)),
        _ => None,
    }
}

fn state_fields(args: &StateFieldsArgs<'_>, scale: i8) -> Vec<FieldRef> {
    vec![
        Arc::new(Field::new(format_state_name(args.name, "sum"), DataType::Decimal128(38, scale), true)),
        Arc::new(Field::new(format_state_name(args.name, "count"), DataType::UInt64, true)),
    ]
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [DataType::Boolean] => Ok(vec![DataType::Int64]),
            [number] if number.is_integer() && *number != DataType::UInt64 => Ok(vec![DataType::Int64]),
            [DataType::UInt64] => Ok(vec![DataType::Decimal128(20, 0)]),
            [DataType::Null] => Ok(vec![DataType::Int64]),
            [float] if float.is_floating() => Ok(vec![DataType::Float64]),
            [other] if other.is_decimal() || matches!(other, DataType::Duration(_)) => {
                Ok(vec![other.clone()])
            }
            [DataType::Dictionary(_, value)] => self.coerce_types(std::slice::from_ref(value)),
            _ => Err(refused("sum", given)),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.inner.return_type(&self.coerce_types(given)?)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match of_sum(&args) {
            Some(what) => Ok(Box::new(Total::new(what))),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if *args.return_field.data_type() == DataType::Int64 && !args.is_distinct {
            return Ok(state_fields(&args, 0));
        }
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        of_sum(&args).is_some() || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match of_sum(&args) {
            Some(what) => Ok(Box::new(Totals::new(what))),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match of_sum(&args) {
            Some(what) => Ok(Box::new(Total::new(what))),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&datafusion::logical_expr::Documentation> {
        self.inner.documentation()
    }
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [decimal @ DataType::Decimal128(..)] => Ok(vec![decimal.clone()]),
            [DataType::Decimal32(p, s) | DataType::Decimal64(p, s)] => Ok(vec![DataType::Decimal128(*p, *s)]),
            [DataType::Boolean | DataType::Null] => Ok(vec![DataType::Float64]),
            [duration @ DataType::Duration(_)] => Ok(vec![duration.clone()]),
            [DataType::Dictionary(_, value)] => self.coerce_types(std::slice::from_ref(value)),
            [number] if number.is_numeric() => Ok(vec![DataType::Float64]),
            _ => Err(refused("avg", given)),
        }
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match self.coerce_types(given)?.as_slice() {
            [DataType::Decimal128(..)] => Ok(DataType::Float64),
            other => self.inner.return_type(other),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match of_average(&args) {
            Some(what) if args.is_distinct => {
                Ok(Box::new(Distinct { total: Total::new(what), seen: Default::default() }))
            }
            Some(what) => Ok(Box::new(Total::new(what))),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match args.input_fields.first().map(|field| field.data_type().clone()) {
            Some(decimal @ DataType::Decimal128(..)) if args.is_distinct => {
                let list = DataType::List(Arc::new(Field::new_list_field(decimal, true)));
                Ok(vec![Arc::new(Field::new(format_state_name(args.name, "values"), list, true))])
            }
            Some(DataType::Decimal128(_, scale)) => Ok(state_fields(&args, scale)),
            _ => self.inner.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match of_average(&args) {
            Some(_) => !args.is_distinct,
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match of_average(&args) {
            Some(what) => Ok(Box::new(Totals::new(what))),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match of_average(&args) {
            Some(what) => Ok(Box::new(Total::new(what))),
            None => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&datafusion::logical_expr::Documentation> {
        self.inner.documentation()
    }
}

fn refused(name: &str, given: &[DataType]) -> datafusion::error::DataFusionError {
    wrap(match given {
        [one] => Problem::new(Ename::TypeError, format!("{name} does not take {}", type_name(one)))
            .hint(format!("{name} takes numbers")),
        _ => Problem::new(Ename::TypeError, format!("{name} does not take {} arguments", given.len())),
    })
}

fn overflow() -> datafusion::error::DataFusionError {
    wrap(
        Problem::new(Ename::ValueError, "the sum is too large for BIGINT")
            .hint("sum decimals or doubles: sum(CAST(x AS DECIMAL(38)))"),
    )
}

fn scale_of(what: What) -> i8 {
    match what {
        What::Whole => 0,
        What::Average(scale) => scale,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an average is a double")]
fn average(sum: i128, count: u64, scale: i8) -> f64 {
    // first whole numbers, so that the double is the nearest one
    let power = 10_i128.checked_pow(u32::try_from(scale).unwrap_or(0)).unwrap_or(1);
    sum as f64 / (power as f64 * count as f64)
}

/// Values of the argument as 128 bits with what is NULL.
fn each(array: &ArrayRef, mut f: impl FnMut(usize, i128) -> Result<()>) -> Result<()> {
    match array.data_type() {
        DataType::Decimal128(..) => {
            let array = array.as_primitive::<Decimal128Type>();
            for (row, value) in array.iter().enumerate() {
                if let Some(value) = value {
                    f(row, value)?;
                }
            }
        }
        _ => {
            let array = arrow::compute::cast(array, &DataType::Int64)?;
            for (row, value) in array.as_primitive::<Int64Type>().iter().enumerate() {
                if let Some(value) = value {
                    f(row, i128::from(value))?;
                }
            }
        }
    }
    Ok(())
}

/// One total.
#[derive(Debug)]
struct Total {
    what: What,
    sum: i128,
    count: u64,
}

impl Total {
    fn new(what: What) -> Self {
        Self { what, sum: 0, count: 0 }
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |_, value| {
            self.sum = self.sum.checked_add(value).ok_or_else(overflow)?;
            self.count += 1;
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |_, value| {
            self.sum = self.sum.checked_sub(value).ok_or_else(overflow)?;
            self.count -= 1;
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[1].as_primitive::<UInt64Type>();
        each(&states[0], |row, value| {
            self.sum = self.sum.checked_add(value).ok_or_else(overflow)?;
            self.count += counts.value(row);
            Ok(())
        })
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Decimal128(Some(self.sum), 38, scale_of(self.what));
        Ok(vec![sum, ScalarValue::UInt64(Some(self.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match (self.what, self.count) {
            (What::Whole, 0) => Ok(ScalarValue::Int64(None)),
            (What::Average(_), 0) => Ok(ScalarValue::Float64(None)),
            (What::Whole, _) => {
                Ok(ScalarValue::Int64(Some(i64::try_from(self.sum).map_err(|_| overflow())?)))
            }
            (What::Average(scale), count) => Ok(ScalarValue::Float64(Some(average(self.sum, count, scale)))),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
