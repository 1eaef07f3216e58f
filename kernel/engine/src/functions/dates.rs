//! Dates, times and intervals.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray, PrimitiveArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use carrel_cell::problem::{Ename, Problem};
use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Timelike};
use datafusion::common::Result;

use super::text::{int, strings};
use super::{DEF, Def, Takes};
use crate::problems::wrap;

const DAY: i64 = 86_400_000_000;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def { name: "__date_part", takes: &[Takes::Text, Takes::Stamp], gives: int, run: part, ..DEF },
    Def {
        name: "__date_and_time",
        takes: &[Takes::Any, Takes::Any],
        gives: stamp,
        run: date_and_time,
        ..DEF
    },
    Def {
        name: "date_diff",
        takes: &[Takes::Text, Takes::Stamp, Takes::Stamp],
        gives: int,
        run: |args, _| differences(args, crossed),
        about: ("date_diff('day', start, end)", "How many boundaries of a part lie between two times."),
        ..DEF
    },
    Def {
        name: "date_sub",
        takes: &[Takes::Text, Takes::Stamp, Takes::Stamp],
        gives: int,
        run: |args, _| differences(args, completed),
        about: ("date_sub('month', start, end)", "How many whole parts lie between two times."),
        ..DEF
    },
    Def {
        name: "age",
        takes: &[Takes::Stamp],
        optional: &[Takes::Stamp],
        gives: interval,
        run: age,
        about: ("age(end, start)", "The time between two times in years, months and days."),
        ..DEF
    },
    Def {
        name: "make_timestamp",
        takes: &[Takes::Int],
        optional: &[Takes::Int, Takes::Int, Takes::Int, Takes::Int, Takes::Double],
        gives: stamp,
        run: make_timestamp,
        about: (
            "make_timestamp(2024, 12, 31, 23, 59, 59.5)",
            "A timestamp from its parts; from microseconds since 1970 with one argument.",
        ),
        ..DEF
    },
    Def {
        name: "epoch_ms",
        takes: &[Takes::Any],
        gives: epoch_type,
        run: |args, to| epoch(args, to, 1_000),
        about: ("epoch_ms(time)", "Milliseconds since 1970; of a number, that time."),
        ..DEF
    },
    Def {
        name: "epoch_us",
        takes: &[Takes::Any],
        gives: epoch_type,
        run: |args, to| epoch(args, to, 1),
        about: ("epoch_us(time)", "Microseconds since 1970; of a number, that time."),
        ..DEF
    },
    Def {
        name: "epoch_ns",
        takes: &[Takes::Stamp],
        gives: int,
        run: epoch_ns,
        about: ("epoch_ns(time)", "Nanoseconds since 1970."),
        ..DEF
    },
    Def {
        name: "time_bucket",
        takes: &[Takes::Interval, Takes::Any],
        optional: &[Takes::Stamp],
        gives: bucket_type,
        run: bucket,
        about: (
            "time_bucket(INTERVAL '15 minutes', time)",
            "The beginning of the piece of time that a time falls into.",
        ),
        ..DEF
    },
    Def {
        name: "__interval_of",
        takes: &[Takes::Text, Takes::Double],
        gives: interval,
        run: interval_of,
        ..DEF
    },
    Def {
        name: "__interval_times",
        takes: &[Takes::Interval, Takes::Double],
        gives: interval,
        run: interval_times,
        ..DEF
    },
    Def {
        name: "to_years",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "year"),
        about: ("to_years(n)", "An interval of so many years."),
        ..DEF
    },
    Def {
        name: "to_months",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "month"),
        about: ("to_months(n)", "An interval of so many months."),
        ..DEF
    },
    Def {
        name: "to_weeks",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "week"),
        about: ("to_weeks(n)", "An interval of so many weeks."),
        ..DEF
    },
    Def {
        name: "to_days",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "day"),
        about: ("to_days(n)", "An interval of so many days."),
        ..DEF
    },
    Def {
        name: "to_hours",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "hour"),
        about: ("to_hours(n)", "An interval of so many hours."),
        ..DEF
    },
    Def {
        name: "to_minutes",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "minute"),
        about: ("to_minutes(n)", "An interval of so many minutes."),
        ..DEF
    },
    Def {
        name: "to_seconds",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "second"),
        about: ("to_seconds(n)", "An interval of so many seconds."),
        ..DEF
    },
    Def {
        name: "to_milliseconds",
        takes: &[Takes::Double],
        gives: interval,
        run: |args, _| of_unit(args, "millisecond"),
        about: ("to_milliseconds(n)", "An interval of so many milliseconds."),
        ..DEF
    },
];

fn stamp(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
}

fn interval(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Interval(IntervalUnit::MonthDayNano))
}

/// The argument at a place, in microseconds of the local time.
fn stamps(args: &[ArrayRef], at: usize) -> Result<TimestampMicrosecondArray> {
    let array = &args[at];
    let plain = match array.data_type() {
        DataType::Timestamp(_, Some(_)) => super::zones::local(array)?,
        _ => arrow::compute::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
    };
    Ok(plain.as_primitive::<TimestampMicrosecondType>().clone())
}

pub(super) fn time_of(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

fn unknown(part: &str, parts: &[&str]) -> datafusion::error::DataFusionError {
    let problem = Problem::new(Ename::ValueError, format!("a time has no part '{part}'"));
    wrap(problem.hint(format!("there are {}", parts.join(", "))).suggest(part, parts))
}

/// Parts that DataFusion's `date_part` does not have.
fn part(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let times = stamps(args, 1)?;
    let rows = strings(args, 0).iter().zip(times.iter()).map(|(name, micros)| {
        let (Some(name), Some(micros)) = (name, micros) else { return Ok(None) };
        let Some(time) = time_of(micros) else { return Ok(None) };
        let year = i64::from(time.year());
        Ok(Some(match name {
            "second" | "seconds" => i64::from(time.second()),
            "isoyear" => i64::from(time.iso_week().year()),
            "yearweek" => i64::from(time.iso_week().year()) * 100 + i64::from(time.iso_week().week()),
            "decade" => year.div_euclid(10),
            "century" => {
                if year > 0 {
                    (year - 1) / 100 + 1
                } else {
                    year / 100 - 1
                }
            }
            "millennium" => {
                if year > 0 {
                    (year - 1) / 1000 + 1
                } else {
                    year / 1000 - 1
                }
            }
            "era" => i64::from(year > 0),
            "julian" => i64::from(time.num_days_from_ce()) + 1_721_425,
            "timezone" => 0,
            other => {
                return Err(unknown(
                    other,
                    &["second", "isoyear", "yearweek", "decade", "century", "millennium", "era", "julian"],
                ));
            }
        }))
    });
    Ok(Arc::new(rows.collect::<Result<Int64Array>>()?))
}

fn date_and_time(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let dates = arrow::compute::cast(&args[0], &DataType::Date32)?;
    let times = arrow::compute::cast(&args[1], &DataType::Time64(TimeUnit::Microsecond))?;
    let made = arrow::compute::binary::<_, _, _, TimestampMicrosecondType>(
        dates.as_primitive::<Date32Type>(),
        times.as_primitive::<Time64MicrosecondType>(),
        |day, time| i64::from(day) * DAY + time,
    )?;
    Ok(Arc::new(made))
}

const PARTS: &[&str] = &[
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "isoyear",
    "decade",
    "century",
    "millennium",
];

fn part_name(name: &str) -> Result<&'static str> {
    let lower = name.to_lowercase();
    let plain = match lower.as_str() {
        "us" | "usec" | "usecs" => "microsecond",
        "ms" | "msec" | "msecs" => "millisecond",
        "s" | "sec" | "secs" => "second",
        "m" | "min" | "mins" => "minute",
        "h" | "hr" | "hrs" => "hour",
        "d" | "dayofmonth" | "dayofyear" | "doy" | "dow" | "weekday" => "day",
        "w" | "isoweek" => "week",
        "mon" | "mons" => "month",
        "y" | "yr" | "yrs" => "year",
        "centuries" => "century",
        "millenia" | "millennia" => "millennium",
        other => other,
    };
    let singular = plain.strip_suffix('s').unwrap_or(plain);
    PARTS
        .iter()
        .find(|part| **part == plain || **part == singular)
        .copied()
        .ok_or_else(|| unknown(name, PARTS))
}

fn differences(args: &[ArrayRef], f: fn(&str, NaiveDateTime, NaiveDateTime) -> i64) -> Result<ArrayRef> {
    let (starts, ends) = (stamps(args, 1)?, stamps(args, 2)?);
    let rows = strings(args, 0).iter().zip(starts.iter().zip(ends.iter())).map(|(name, (start, end))| {
        let (Some(name), Some(start), Some(end)) = (name, start, end) else { return Ok(None) };
        let name = part_name(name)?;
        Ok(time_of(start).zip(time_of(end)).map(|(start, end)| f(name, start, end)))
    });
    Ok(Arc::new(rows.collect::<Result<Int64Array>>()?))
}

fn months(time: NaiveDateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

fn micros(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp_micros()
}

/// Boundaries between two times.
fn crossed(part: &str, start: NaiveDateTime, end: NaiveDateTime) -> i64 {
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
fn completed(part: &str, start: NaiveDateTime, end: NaiveDateTime) -> i64 {
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

fn age(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
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

fn make_timestamp(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
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

fn epoch_type(given: &[DataType]) -> Result<DataType> {
    match given {
        [number] if number.is_numeric() => stamp(given),
        _ => Ok(DataType::Int64),
    }
}

fn epoch(args: &[ArrayRef], to: &DataType, unit: i64) -> Result<ArrayRef> {
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

fn epoch_ns(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let cast = arrow::compute::cast(&args[0], &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    let rows = cast
        .as_primitive::<TimestampMicrosecondType>()
        .unary_opt::<_, Int64Type>(|micros| micros.checked_mul(1_000));
    Ok(Arc::new(rows))
}

fn bucket_type(given: &[DataType]) -> Result<DataType> {
    match given.get(1) {
        Some(DataType::Date32) => Ok(DataType::Date32),
        Some(DataType::Timestamp(_, zone)) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => stamp(given),
    }
}

/// Pieces of months count from 2000-01-01, others from Monday, 2000-01-03, as in DuckDB.
fn bucket(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
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

fn interval_of(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let counts = args[1].as_primitive::<Float64Type>();
    let rows = strings(args, 0).iter().zip(counts.iter()).map(|(unit, count)| match (unit, count) {
        (Some(unit), Some(count)) => of(part_name(unit)?, count).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(rows.collect::<Result<PrimitiveArray<IntervalMonthDayNanoType>>>()?))
}

fn of_unit(args: &[ArrayRef], unit: &str) -> Result<ArrayRef> {
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

fn interval_times(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    #[test]
    fn boundaries_and_whole_parts() {
        let (start, end) = (at("2024-01-31 12:00"), at("2024-03-01 11:00"));
        assert_eq!(crossed("month", start, end), 2);
        assert_eq!(completed("month", start, end), 1);
        assert_eq!((crossed("day", start, end), completed("day", start, end)), (30, 29));
        assert_eq!(crossed("week", at("2024-01-07 00:00"), at("2024-01-08 00:00")), 1);
        assert_eq!(completed("month", end, start), -1);
    }
}
