//! A total for each of many groups.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, UInt64Array,
};
use arrow::datatypes::{DataType, UInt64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::{Total, What, average, each, overflow, scale_of};

/// A total for each group.
pub(super) struct Totals {
    what: What,
    sums: Vec<i128>,
    counts: Vec<u64>,
}

impl Totals {
    pub(super) fn new(what: What) -> Self {
        Self { what, sums: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.grow(total);
        each(&values[0], |row, value| {
            if filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row)) {
                return Ok(());
            }
            let group = groups[row];
            self.sums[group] = self.sums[group].checked_add(value).ok_or_else(overflow)?;
            self.counts[group] += 1;
            Ok(())
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.grow(total);
        let counts = states[1].as_primitive::<UInt64Type>();
        each(&states[0], |row, value| {
            let group = groups[row];
            self.sums[group] = self.sums[group].checked_add(value).ok_or_else(overflow)?;
            self.counts[group] += counts.value(row);
            Ok(())
        })
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = (emit.take_needed(&mut self.sums), emit.take_needed(&mut self.counts));
        let rows = sums.into_iter().zip(counts);
        Ok(match self.what {
            What::Whole => {
                let rows = rows.map(|(sum, count)| match count {
                    0 => Ok(None),
                    _ => i64::try_from(sum).map(Some).map_err(|_| overflow()),
                });
                Arc::new(rows.collect::<Result<Int64Array>>()?)
            }
            What::Average(scale) => {
                let rows = rows.map(|(sum, count)| (count > 0).then(|| average(sum, count, scale)));
                Arc::new(rows.collect::<Float64Array>())
            }
        })
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums = Decimal128Array::from(emit.take_needed(&mut self.sums));
        let sums = sums.with_data_type(DataType::Decimal128(38, scale_of(self.what)));
        let counts = UInt64Array::from(emit.take_needed(&mut self.counts));
        Ok(vec![Arc::new(sums), Arc::new(counts)])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let (mut sums, mut counts) = (vec![0_i128; rows], vec![0_u64; rows]);
        each(&values[0], |row, value| {
            if filter.is_none_or(|filter| !filter.is_null(row) && filter.value(row)) {
                sums[row] = value;
                counts[row] = 1;
            }
            Ok(())
        })?;
        let sums = Decimal128Array::from(sums).with_data_type(DataType::Decimal128(38, scale_of(self.what)));
        Ok(vec![Arc::new(sums), Arc::new(UInt64Array::from(counts))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * 16 + self.counts.capacity() * 8
    }
}

/// An average of different values.
#[derive(Debug)]
pub(super) struct Distinct {
    pub(super) total: Total,
    pub(super) seen: std::collections::HashSet<i128>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each(&values[0], |_, value| {
            self.seen.insert(value);
            Ok(())
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|list| self.update_batch(&[list]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let scale = scale_of(self.total.what);
        let values: Vec<_> =
            self.seen.iter().map(|value| ScalarValue::Decimal128(Some(*value), 38, scale)).collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Decimal128(38, scale)))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = Total::new(self.total.what);
        for value in &self.seen {
            total.sum = total.sum.checked_add(*value).ok_or_else(overflow)?;
            total.count += 1;
        }
        total.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.capacity() * 24
    }
}
