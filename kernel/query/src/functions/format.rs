//! Times as text and back: strftime's patterns (`%Y-%m-%d`) and PostgreSQL's (`YYYY-MM-DD`).

mod patterns;
mod plain;
mod shown;

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use carrel_cell::problem::{Ename, Problem};
use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{NaiveDateTime, NaiveTime};
use datafusion::common::Result;

use super::dates::time_of;
use super::text::{strings, text};
use super::{DEF, Def, Takes};
use crate::problems::wrap;
use patterns::{number_as, postgres, to_number};
use plain::{parsed_plainly, read_dates, read_times, read_type};
pub(crate) use shown::time_text;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "strftime",
        takes: &[Takes::Any, Takes::Any],
        gives: text,
        run: strftime,
        about: ("strftime(time, '%Y-%m-%d %H:%M:%S')", "A time as text."),
        ..DEF
    },
    Def {
        name: "strptime",
        takes: &[Takes::Text, Takes::Text],
        gives: stamp,
        run: |args, _| strptime(args, true),
        about: ("strptime(text, '%d.%m.%Y')", "The time that a text shows."),
        ..DEF
    },
    Def {
        name: "try_strptime",
        takes: &[Takes::Text, Takes::Text],
        gives: stamp,
        run: |args, _| strptime(args, false),
        about: ("try_strptime(text, '%d.%m.%Y')", "The time that a text shows, or NULL."),
        ..DEF
    },
    Def {
        name: "to_char",
        takes: &[Takes::Any, Takes::Text],
        gives: text,
        run: to_char,
        about: (
            "to_char(time, 'YYYY-MM-DD HH24:MI:SS')",
            "A time or a number as text, by PostgreSQL's patterns or strftime's.",
        ),
        ..DEF
    },
    Def {
        name: "date_format",
        takes: &[Takes::Any, Takes::Text],
        gives: text,
        run: strftime,
        about: ("date_format(time, '%Y-%m-%d')", "A time as text."),
        ..DEF
    },
    Def {
        name: "to_date",
        takes: &[Takes::Any],
        optional: &[Takes::Text],
        gives: |_| Ok(DataType::Date32),
        run: to_date,
        about: ("to_date(text, 'DD.MM.YYYY')", "The date that a text shows."),
        ..DEF
    },
    Def {
        name: "to_timestamp",
        takes: &[Takes::Any],
        optional: &[Takes::Text],
        gives: to_timestamp_type,
        run: to_timestamp,
        about: (
            "to_timestamp(text, 'DD.MM.YYYY HH24:MI')",
            "The time that a text shows; of a number, so many seconds since 1970.",
        ),
        ..DEF
    },
    Def {
        name: "__read_time",
        takes: &[Takes::Text, Takes::Text],
        gives: read_type,
        run: |args, _| read_times(args, true),
        ..DEF
    },
    Def {
        name: "__try_read_time",
        takes: &[Takes::Text, Takes::Text],
        gives: read_type,
        run: |args, _| read_times(args, false),
        ..DEF
    },
    Def {
        name: "__read_date",
        takes: &[Takes::Text],
        gives: |_| Ok(DataType::Date32),
        run: |args, _| read_dates(args, true),
        ..DEF
    },
    Def {
        name: "__try_read_date",
        takes: &[Takes::Text],
        gives: |_| Ok(DataType::Date32),
        run: |args, _| read_dates(args, false),
        ..DEF
    },
    Def { name: "__time_text", takes: &[Takes::Any], gives: text, run: |args, _| time_text(&args[0]), ..DEF },
    Def {
        name: "to_number",
        takes: &[Takes::Text],
        optional: &[Takes::Text],
        gives: |_| Ok(DataType::Float64),
        run: to_number,
        about: ("to_number('1,234.5', '9,999.9')", "The number that a text shows."),
        ..DEF
    },
];

fn stamp(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
}

fn wrong(text: String, hint: &str) -> datafusion::error::DataFusionError {
    wrap(Problem::new(Ename::ValueError, text).hint(hint))
}

/// A pattern of strftime, checked. Fractions are microseconds, as in Python and DuckDB.
fn items(pattern: &str, parse: bool) -> Result<Vec<Item<'static>>> {
    let pattern = if parse {
        pattern.replace(".%f", "%.f").replace("%f", "%6f")
    } else {
        pattern.replace("%f", "%6f").replace("%g", "%3f").replace("%n", "%9f")
    };
    let items: Vec<Item<'static>> = StrftimeItems::new(&pattern).map(Item::to_owned).collect();
    if items.iter().any(|item| matches!(item, Item::Error)) {
        return Err(wrong(
            format!("'{pattern}' is no pattern of times"),
            "write %Y %m %d %H %M %S, with other characters between them",
        ));
    }
    Ok(items)
}

/// Local times of any kind of time.
fn times(array: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let plain = match array.data_type() {
        DataType::Timestamp(_, Some(_)) => super::zones::local(array)?,
        DataType::Time32(_) | DataType::Time64(_) => {
            let nanos = arrow::compute::cast(array, &DataType::Time64(TimeUnit::Microsecond))?;
            arrow::compute::cast(&arrow::compute::cast(&nanos, &DataType::Int64)?, &stamp(&[])?)?
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = arrow::compute::cast(array, &DataType::Utf8)?;
            return parsed_plainly(text.as_string::<i32>());
        }
        _ => arrow::compute::cast(array, &stamp(&[])?)?,
    };
    Ok(plain.as_primitive::<TimestampMicrosecondType>().clone())
}

fn strftime(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    // DuckDB takes the two in either order
    let is_text = |array: &ArrayRef| {
        matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    };
    let swapped = is_text(&args[0]) && !is_text(&args[1]);
    let (time, pattern) = if swapped { (1, 0) } else { (0, 1) };
    let patterns = arrow::compute::cast(&args[pattern], &DataType::Utf8)?;
    formatted(&args[time], patterns.as_string::<i32>(), |pattern| pattern.to_owned())
}

fn formatted(array: &ArrayRef, patterns: &StringArray, to_strftime: fn(&str) -> String) -> Result<ArrayRef> {
    let times = times(array)?;
    let mut last: Option<(String, Vec<Item<'static>>)> = None;
    let rows = times.iter().zip(patterns.iter()).map(|(micros, pattern)| {
        let (Some(micros), Some(pattern)) = (micros, pattern) else { return Ok(None) };
        if last.as_ref().is_none_or(|(known, _)| known != pattern) {
            last = Some((pattern.to_owned(), items(&to_strftime(pattern), false)?));
        }
        let (Some((_, items)), Some(time)) = (&last, time_of(micros)) else { return Ok(None) };
        let mut out = String::new();
        write!(out, "{}", time.and_utc().format_with_items(items.iter())).map_err(|_| {
            wrong(format!("a time cannot be written as '{pattern}'"), "leave out parts that it does not have")
        })?;
        Ok(Some(out))
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

/// The time that a text shows by a pattern.
fn read(text: &str, items: &[Item<'static>]) -> Option<NaiveDateTime> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
    if let Ok(time) = parsed.to_datetime() {
        return Some(time.naive_utc());
    }
    if let Ok(time) = parsed.to_naive_datetime_with_offset(0) {
        return Some(time);
    }
    // what the pattern does not have begins at its beginning
    if parsed.day().is_none() && parsed.ordinal().is_none() {
        let _ = parsed.set_day(1);
    }
    if parsed.month().is_none() && parsed.ordinal().is_none() {
        let _ = parsed.set_month(1);
    }
    if parsed.year().is_none() && parsed.year_mod_100().is_none() && parsed.isoyear().is_none() {
        let _ = parsed.set_year(1900);
    }
    let date = parsed.to_naive_date().ok()?;
    if parsed.minute().is_none() {
        let _ = parsed.set_minute(0);
    }
    let time = match (parsed.hour_div_12(), parsed.hour_mod_12()) {
        (None, None) => NaiveTime::MIN,
        _ => parsed.to_naive_time().ok()?,
    };
    Some(date.and_time(time))
}

fn strptime(args: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
    let rows = parsed(strings(args, 0), strings(args, 1), strict, |pattern| pattern.to_owned())?;
    Ok(Arc::new(TimestampMicrosecondArray::from(rows)))
}

fn parsed(
    texts: &StringArray,
    patterns: &StringArray,
    strict: bool,
    to_strftime: fn(&str) -> String,
) -> Result<Vec<Option<i64>>> {
    let mut last: Option<(String, Vec<Item<'static>>)> = None;
    let one = |(text, pattern): (Option<&str>, Option<&str>)| {
        let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
        if last.as_ref().is_none_or(|(known, _)| known != pattern) {
            last = Some((pattern.to_owned(), items(&to_strftime(pattern), true)?));
        }
        let time = last.as_ref().and_then(|(_, items)| read(text, items));
        match time {
            Some(time) => Ok(Some(time.and_utc().timestamp_micros())),
            None if strict => Err(wrong(
                format!("'{text}' is no time of the pattern '{pattern}'"),
                "try_strptime gives NULL where a text does not fit",
            )),
            None => Ok(None),
        }
    };
    texts.iter().zip(patterns.iter()).map(one).collect()
}

fn to_char(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let patterns = strings(args, 1);
    if !args[0].data_type().is_numeric() {
        return formatted(&args[0], patterns, postgres);
    }
    let numbers = arrow::compute::cast(&args[0], &DataType::Float64)?;
    let rows = numbers.as_primitive::<Float64Type>().iter().zip(patterns.iter()).map(|(number, pattern)| {
        let (Some(number), Some(pattern)) = (number, pattern) else { return Ok(None) };
        number_as(number, pattern).map(Some).ok_or_else(|| {
            wrong(
                format!("'{pattern}' is no pattern of numbers"),
                "write 9 or 0 for digits, with . and , as in '9,999.00'",
            )
        })
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

fn to_date(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let of = |micros: i64| i32::try_from(micros.div_euclid(86_400_000_000)).ok();
    if args.len() > 1 {
        let texts = arrow::compute::cast(&args[0], &DataType::Utf8)?;
        let rows = parsed(texts.as_string::<i32>(), strings(args, 1), true, postgres)?;
        return Ok(Arc::new(rows.into_iter().map(|micros| micros.and_then(of)).collect::<Date32Array>()));
    }
    match args[0].data_type() {
        number if number.is_integer() => {
            Ok(arrow::compute::cast(&arrow::compute::cast(&args[0], &DataType::Int32)?, &DataType::Date32)?)
        }
        _ => {
            let times = times(&args[0])?;
            Ok(Arc::new(times.unary_opt::<_, Date32Type>(of)))
        }
    }
}

fn to_timestamp_type(given: &[DataType]) -> Result<DataType> {
    match given.first() {
        Some(number) if number.is_numeric() => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
        }
        Some(DataType::Timestamp(_, zone)) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        _ => stamp(given),
    }
}

fn to_timestamp(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    if args.len() > 1 {
        let texts = arrow::compute::cast(&args[0], &DataType::Utf8)?;
        let rows = parsed(texts.as_string::<i32>(), strings(args, 1), true, postgres)?;
        return Ok(Arc::new(TimestampMicrosecondArray::from(rows)));
    }
    if args[0].data_type().is_numeric() {
        let seconds = arrow::compute::cast(&args[0], &DataType::Float64)?;
        #[expect(clippy::cast_possible_truncation, reason = "saturates far outside of times")]
        let rows = seconds
            .as_primitive::<Float64Type>()
            .unary::<_, TimestampMicrosecondType>(|s| (s * 1e6).round() as i64);
        return Ok(Arc::new(rows.with_timezone("UTC")));
    }
    if matches!(args[0].data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
        return Ok(arrow::compute::cast(&args[0], to)?);
    }
    Ok(Arc::new(times(&args[0])?))
}
