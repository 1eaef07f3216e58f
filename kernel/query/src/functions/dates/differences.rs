//! How far times are apart: in boundaries, in whole parts, as an interval.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use chrono::{Datelike, Months, NaiveDateTime};
use datafusion::common::Result;

use super::super::text::strings;
use super::{DAY, part_name, stamps, time_of};

pub(super) fn differences(
    args: &[ArrayRef],
    f: fn(&str, NaiveDateTime, NaiveDateTime) -> i64,
) -> Result<ArrayRef> {
    let (starts, ends) = (stamps(args, 1)?, stamps(args, 2)?);
    let rows = strings(args, 0).iter().zip(starts.iter().zip(ends.iter())).map(|(name, (start, end))| {
        let (Some(name), Some(start), Some(end)) = (name, start, end) else { return Ok(None) };
        let name = part_name(name)?;
        Ok(time_of(start).zip(time_of(end)).map(|(start, end)| f(name, start, end)))
    });
    Ok(Arc::new(rows.collect::<Result<Int64Array>>()?))
}

pub(super) fn months(time: NaiveDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

pub(super) fn micros(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp_micros()
}

/// Boundaries between two times.
pub(super) fn crossed(part: &str, start: NaiveDateTime, end: NaiveDateTime) -> i64 {
    let pieces = |length: i64| micros(end).div_euclid(length) - micros(start).div_euclid(length);
    match part {
        "microsecond" => pieces(1),
        "millisecond" => pieces(1_000),
        "second" => pieces(1_000_000),
        "minute" => pieces(60_000_000),
        "hour" => pieces(3_600_000_000),
        "day" => pieces(DAY),
        // weeks begin on Monday: 1970-01-01 was a Thursday
        "week" => (micros(end) + 3 * DAY).div_euclid(7 * DAY) - (micros(start) + 3 * DAY).div_euclid(7 * DAY),
        "month" => months(end) - months(start),
        "quarter" => months(end).div_euclid(3) - months(start).div_euclid(3),
        "year" => i64::from(end.year() - start.year()),
        "isoyear" => i64::from(end.iso_week().year() - start.iso_week().year()),
        "decade" => i64::from(end.year().div_euclid(10) - start.year().div_euclid(10)),
        "century" => i64::from((end.year() - 1).div_euclid(100) - (start.year() - 1).div_euclid(100)),
        _ => i64::from((end.year() - 1).div_euclid(1000) - (start.year() - 1).div_euclid(1000)),
    }
}

/// Whole parts between two times.
pub(super) fn completed(part: &str, start: NaiveDateTime, end: NaiveDateTime) -> i64 {
    if end < start {
        return -completed(part, end, start);
    }
    let span = micros(end) - micros(start);
    let whole_months = || {
        let between = months(end) - months(start);
        let count = u32::try_from(between).unwrap_or(u32::MAX);
        let reached = start.checked_add_months(Months::new(count)).is_some_and(|time| time <= end);
        // the last day of a month counts as the same day of any longer month
        if reached { between } else { between - 1 }
    };
    match part {
        "microsecond" => span,
        "millisecond" => span / 1_000,
        "second" => span / 1_000_000,
        "minute" => span / 60_000_000,
        "hour" => span / 3_600_000_000,
        "day" => span / DAY,
        "week" => span / (7 * DAY),
        "month" => whole_months(),
        "quarter" => whole_months() / 3,
        "year" | "isoyear" => whole_months() / 12,
        "decade" => whole_months() / 120,
        "century" => whole_months() / 1200,
        _ => whole_months() / 12_000,
    }
}

pub(super) fn age(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let ends = stamps(args, 0)?;
    let (ends, starts) = if args.len() > 1 {
        (ends, stamps(args, 1)?)
    } else {
        let today = chrono::Utc::now().date_naive().and_time(chrono::NaiveTime::MIN);
        (TimestampMicrosecondArray::from_value(micros(today), ends.len()), ends)
    };
    let rows = ends.iter().zip(starts.iter()).map(|(end, start)| {
        let (end, start) = (time_of(end?)?, time_of(start?)?);
        let (sign, late, early) = if end >= start { (1, end, start) } else { (-1, start, end) };
        let count = completed("month", early, late);
        let reached = early.checked_add_months(Months::new(u32::try_from(count).ok()?))?;
        let rest = micros(late) - micros(reached);
        let (days, nanos) = (rest / DAY, rest % DAY * 1_000);
        Some(IntervalMonthDayNano::new(
            sign * i32::try_from(count).ok()?,
            sign * i32::try_from(days).ok()?,
            i64::from(sign) * nanos,
        ))
    });
    Ok(Arc::new(rows.collect::<IntervalMonthDayNanoArray>()))
}
