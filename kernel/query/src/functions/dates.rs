//! Dates, times and intervals.

mod differences;
mod intervals;
mod made;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Date32Type, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use carrel_cell::problem::{Ename, Problem};
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use datafusion::common::Result;

use super::text::{int, strings};
use super::{DEF, Def, Takes};
use crate::problems::wrap;
use differences::{age, completed, crossed, differences};
use intervals::{interval_of, interval_times, of_unit};
use made::{bucket, bucket_type, epoch, epoch_ns, epoch_type, make_timestamp};

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
