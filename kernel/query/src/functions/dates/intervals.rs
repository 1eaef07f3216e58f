//! Intervals: made of numbers and units, and multiplied.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;

use super::super::text::strings;
use super::part_name;
use crate::problems::wrap;

pub(super) fn interval_of(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let counts = args[1].as_primitive::<Float64Type>();
    let rows = strings(args, 0).iter().zip(counts.iter()).map(|(unit, count)| match (unit, count) {
        (Some(unit), Some(count)) => of(part_name(unit)?, count).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(rows.collect::<Result<PrimitiveArray<IntervalMonthDayNanoType>>>()?))
}

pub(super) fn of_unit(args: &[ArrayRef], unit: &str) -> Result<ArrayRef> {
    let rows = args[0]
        .as_primitive::<Float64Type>()
        .iter()
        .map(|count| count.map(|count| of(unit, count)).transpose());
    Ok(Arc::new(rows.collect::<Result<PrimitiveArray<IntervalMonthDayNanoType>>>()?))
}

fn of(unit: &str, count: f64) -> Result<IntervalMonthDayNano> {
    let (months, days, nanos) = match unit {
        "microsecond" => (0.0, 0.0, count * 1e3),
        "millisecond" => (0.0, 0.0, count * 1e6),
        "second" => (0.0, 0.0, count * 1e9),
        "minute" => (0.0, 0.0, count * 6e10),
        "hour" => (0.0, 0.0, count * 3.6e12),
        "day" => (0.0, count, 0.0),
        "week" => (0.0, count * 7.0, 0.0),
        "month" => (count, 0.0, 0.0),
        "quarter" => (count * 3.0, 0.0, 0.0),
        "year" | "isoyear" => (count * 12.0, 0.0, 0.0),
        "decade" => (count * 120.0, 0.0, 0.0),
        "century" => (count * 1_200.0, 0.0, 0.0),
        _ => (count * 12_000.0, 0.0, 0.0),
    };
    made(months, days, nanos)
}

/// An interval of parts with fractions: a month has 30 days, a day 24 hours, where a fraction has to go down.
fn made(months: f64, days: f64, nanos: f64) -> Result<IntervalMonthDayNano> {
    let days = days + months.fract() * 30.0;
    let nanos = nanos + days.fract() * 8.64e13;
    let (months, days) = (months.trunc(), days.trunc());
    if months.abs() > 2e9 || days.abs() > 2e9 || nanos.abs() > 9.2e18 {
        return Err(wrap(Problem::new(Ename::ValueError, "an interval is too long")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    let made = IntervalMonthDayNano::new(months as i32, days as i32, nanos.round() as i64);
    Ok(made)
}

pub(super) fn interval_times(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (intervals, factors) =
        (args[0].as_primitive::<IntervalMonthDayNanoType>(), args[1].as_primitive::<Float64Type>());
    let rows = intervals.iter().zip(factors.iter()).map(|(interval, factor)| {
        let (Some(interval), Some(factor)) = (interval, factor) else { return Ok(None) };
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of an interval")]
        let nanos = interval.nanoseconds as f64 * factor;
        made(f64::from(interval.months) * factor, f64::from(interval.days) * factor, nanos).map(Some)
    });
    Ok(Arc::new(rows.collect::<Result<PrimitiveArray<IntervalMonthDayNanoType>>>()?))
}
