//! Times made of numbers, numbers made of times, and times put into buckets.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNanoType, TimeUnit, TimestampMicrosecondType,
};
use carrel_cell::problem::{Ename, Problem};
use chrono::NaiveDate;
use datafusion::common::Result;

use super::differences::{micros, months};
use super::{DAY, stamp, stamps, time_of};
use crate::problems::wrap;

pub(super) fn make_timestamp(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let whole = |at: usize, row: usize| {
        let array = args.get(at)?.as_primitive::<Int64Type>();
        (!array.is_null(row)).then(|| array.value(row))
    };
    let rows = (0..args[0].len()).map(|row| {
        if args.len() == 1 {
            return Ok(whole(0, row));
        }
        let seconds = match args.get(5) {
            None => Some(0.0),
            Some(array) => {
                let array = array.as_primitive::<Float64Type>();
                (!array.is_null(row)).then(|| array.value(row))
            }
        };
        let or_zero = |at: usize| if args.len() > at { whole(at, row) } else { Some(0) };
        let parts = (whole(0, row), whole(1, row), whole(2, row), or_zero(3), or_zero(4), seconds);
        let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(seconds)) = parts else {
            return Ok(None);
        };
        let time = i32::try_from(year)
            .ok()
            .zip(u32::try_from(month).ok().zip(u32::try_from(day).ok()))
            .and_then(|(year, (month, day))| NaiveDate::from_ymd_opt(year, month, day))
            .zip(u32::try_from(hour).ok().zip(u32::try_from(minute).ok()))
            .and_then(|(date, (hour, minute))| date.and_hms_opt(hour, minute, 0));
        match time {
            Some(time) if (0.0..60.0).contains(&seconds) => {
                #[expect(clippy::cast_possible_truncation, reason = "below 60 seconds")]
                let rest = (seconds * 1e6).round() as i64;
                Ok(Some(micros(time) + rest))
            }
            _ => Err(wrap(Problem::new(
                Ename::ValueError,
                format!("there is no time {year}-{month:02}-{day:02} {hour:02}:{minute:02}:{seconds:02}"),
            ))),
        }
    });
    Ok(Arc::new(rows.collect::<Result<TimestampMicrosecondArray>>()?))
}

pub(super) fn epoch_type(given: &[DataType]) -> Result<DataType> {
    match given {
        [number] if number.is_numeric() => stamp(given),
        _ => Ok(DataType::Int64),
    }
}

pub(super) fn epoch(args: &[ArrayRef], to: &DataType, unit: i64) -> Result<ArrayRef> {
    if *to == DataType::Int64 {
        let cast = arrow::compute::cast(&args[0], &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let rows = cast
            .as_primitive::<TimestampMicrosecondType>()
            .unary::<_, Int64Type>(|micros| micros.div_euclid(unit));
        return Ok(Arc::new(rows));
    }
    let number = arrow::compute::cast(&args[0], &DataType::Int64)?;
    let rows =
        number.as_primitive::<Int64Type>().unary_opt::<_, TimestampMicrosecondType>(|n| n.checked_mul(unit));
    Ok(Arc::new(rows))
}

pub(super) fn epoch_ns(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let cast = arrow::compute::cast(&args[0], &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let rows = cast
        .as_primitive::<TimestampMicrosecondType>()
        .unary_opt::<_, Int64Type>(|micros| micros.checked_mul(1_000));
    Ok(Arc::new(rows))
}

pub(super) fn bucket_type(given: &[DataType]) -> Result<DataType> {
    match given.get(1) {
        Some(DataType::Date32) => Ok(DataType::Date32),
        Some(DataType::Timestamp(_, zone)) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => stamp(given),
    }
}

/// Pieces of months count from 2000-01-01, others from Monday, 2000-01-03, as in DuckDB.
pub(super) fn bucket(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    let widths = args[0].as_primitive::<IntervalMonthDayNanoType>();
    let times = arrow::compute::cast(&args[1], &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let origins = if args.len() > 2 { Some(stamps(args, 2)?) } else { None };
    let wrong = |text: &str| wrap(Problem::new(Ename::ValueError, text));
    let rows = widths.iter().zip(times.iter()).enumerate().map(|(row, (width, time))| {
        let (Some(width), Some(time)) = (width, time) else { return Ok(None) };
        let origin =
            origins.as_ref().filter(|origins| !origins.is_null(row)).map(|origins| origins.value(row));
        if width.months != 0 {
            if width.days != 0 || width.nanoseconds != 0 || width.months < 0 {
                return Err(wrong("time_bucket takes months or days and hours, not both"));
            }
            let Some(time) = time_of(time) else { return Ok(None) };
            let origin = origin.and_then(time_of).map_or(2000 * 12, months);
            let width = i64::from(width.months);
            let at = origin + (months(time) - origin).div_euclid(width) * width;
            let start = i32::try_from(at.div_euclid(12))
                .ok()
                .zip(u32::try_from(at.rem_euclid(12) + 1).ok())
                .and_then(|(year, month)| NaiveDate::from_ymd_opt(year, month, 1));
            return Ok(start.map(|start| micros(start.and_time(chrono::NaiveTime::MIN))));
        }
        let width = i64::from(width.days) * DAY + width.nanoseconds / 1_000;
        if width <= 0 {
            return Err(wrong("time_bucket takes a positive interval"));
        }
        let origin = origin.unwrap_or(946_857_600_000_000);
        Ok(Some(origin + (time - origin).div_euclid(width) * width))
    });
    let made: ArrayRef = Arc::new(rows.collect::<Result<TimestampMicrosecondArray>>()?);
    match to {
        DataType::Timestamp(_, Some(zone)) => {
            Ok(Arc::new(made.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(zone.clone())))
        }
        to => Ok(arrow::compute::cast(&made, to)?),
    }
}
