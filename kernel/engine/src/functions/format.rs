//! Times as text and back: strftime's patterns (`%Y-%m-%d`) and PostgreSQL's (`YYYY-MM-DD`).

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use carrel_cell::problem::{Ename, Problem};
use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{NaiveDateTime, NaiveTime};
use datafusion::common::Result;

use super::dates::time_of;
use super::text::{strings, text};
use super::{DEF, Def, Takes};
use crate::problems::wrap;

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

/// PostgreSQL's pattern as strftime's, longest words first.
fn postgres(pattern: &str) -> String {
    if pattern.contains('%') {
        return pattern.to_owned();
    }
    const WORDS: &[(&str, &str)] = &[
        ("YYYY", "%Y"),
        ("yyyy", "%Y"),
        ("YY", "%y"),
        ("yy", "%y"),
        ("IYYY", "%G"),
        ("IW", "%V"),
        ("WW", "%U"),
        ("MONTH", "%B"),
        ("Month", "%B"),
        ("month", "%B"),
        ("MON", "%b"),
        ("Mon", "%b"),
        ("mon", "%b"),
        ("MM", "%m"),
        ("mm", "%m"),
        ("DDD", "%j"),
        ("DD", "%d"),
        ("dd", "%d"),
        ("DAY", "%A"),
        ("Day", "%A"),
        ("day", "%A"),
        ("DY", "%a"),
        ("Dy", "%a"),
        ("dy", "%a"),
        ("ID", "%u"),
        ("D", "%w"),
        ("HH24", "%H"),
        ("hh24", "%H"),
        ("HH12", "%I"),
        ("hh12", "%I"),
        ("HH", "%I"),
        ("hh", "%I"),
        ("MI", "%M"),
        ("mi", "%M"),
        ("SS", "%S"),
        ("ss", "%S"),
        ("MS", "%3f"),
        ("US", "%6f"),
        ("AM", "%p"),
        ("PM", "%p"),
        ("am", "%P"),
        ("pm", "%P"),
        ("TZ", "%Z"),
        ("OF", "%:z"),
        ("Q", "%q"),
        ("J", "%J"),
    ];
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('"') {
            let (quoted, after) = after.split_once('"').unwrap_or((after, ""));
            out.push_str(&quoted.replace('%', "%%"));
            rest = after;
            continue;
        }
        rest = rest.strip_prefix("FM").unwrap_or(rest);
        let word = WORDS.iter().filter(|(word, _)| rest.starts_with(word)).max_by_key(|(word, _)| word.len());
        match word {
            Some((word, meaning)) => {
                out.push_str(meaning);
                rest = &rest[word.len()..];
            }
            None => {
                let c = rest.chars().next().unwrap_or(c);
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
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

/// A number by a pattern of 9, 0, `.`, `,` and FM.
fn number_as(number: f64, pattern: &str) -> Option<String> {
    let (filled, pattern) = match pattern.strip_prefix("FM") {
        Some(rest) => (false, rest),
        None => (true, pattern),
    };
    if !pattern.chars().all(|c| matches!(c, '9' | '0' | '.' | ',')) {
        return None;
    }
    let (whole, digits) = pattern.split_once('.').unwrap_or((pattern, ""));
    let text = format!("{:.*}", digits.len(), number.abs());
    let (number_whole, number_digits) = text.split_once('.').unwrap_or((&text, ""));
    let zeros = whole.chars().skip_while(|c| *c != '0').filter(|c| *c != ',').count();
    let places = whole.chars().filter(|c| *c != ',').count();
    let number_whole =
        if number_whole == "0" && zeros == 0 && !digits.is_empty() { "" } else { number_whole };
    if number_whole.len() > places {
        return Some(pattern.replace(['9', '0'], "#"));
    }
    let padded = format!("{number_whole:0>zeros$}");
    let mut out = String::new();
    let mut left = padded.chars().rev();
    let mut next = left.next();
    for c in whole.chars().rev() {
        let Some(digit) = next else { break };
        if c == ',' {
            out.push(',');
            continue;
        }
        out.push(digit);
        next = left.next();
    }
    let mut out: String = out.trim_end_matches(',').chars().rev().collect();
    if number < 0.0 {
        out.insert(0, '-');
    }
    if !digits.is_empty() {
        out.push('.');
        out.push_str(number_digits);
    }
    let width = pattern.len() + 1;
    Some(if filled { format!("{out:>width$}") } else { out })
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

fn to_number(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = strings(args, 0).iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        let kept: String =
            text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+')).collect();
        match kept.parse::<f64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                Err(wrong(format!("'{text}' is no number"), "TRY_CAST(x AS DOUBLE) gives NULL instead"))
            }
        }
    });
    Ok(Arc::new(rows.collect::<Result<Float64Array>>()?))
}

/// With a zone to read local times in, they are times of Greenwich; the cast that follows says which zone shows them.
fn read_type(given: &[DataType]) -> Result<DataType> {
    stamp(given)
}

fn read_times(args: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
    let rows = strings(args, 0).iter().zip(strings(args, 1).iter()).map(|(text, zone)| {
        let Some(text) = text else { return Ok(None) };
        match plain_time(text) {
            Some((local, offset)) => {
                let micros = local.and_utc().timestamp_micros();
                // a time without a zone is local: Arrow's cast takes it as one of the zone that it is cast to
                let zone = zone.unwrap_or("");
                Ok(Some(match offset {
                    None => micros,
                    Some(offset) if zone.is_empty() => micros - offset,
                    Some(offset) => super::zones::shown_in(zone, micros - offset)?,
                }))
            }
            None if strict => Err(not_a_time(text)),
            None => Ok(None),
        }
    });
    Ok(Arc::new(rows.collect::<Result<TimestampMicrosecondArray>>()?))
}

fn read_dates(args: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
    let rows = strings(args, 0).iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        match plain_time(text) {
            Some((local, _)) => {
                let days = local.and_utc().timestamp().div_euclid(86_400);
                Ok(i32::try_from(days).ok())
            }
            None if strict => Err(wrong(
                format!("'{text}' is no date"),
                "write '2024-12-31'; strptime(text, '%d.%m.%Y') reads other forms, TRY_CAST gives NULL",
            )),
            None => Ok(None),
        }
    });
    Ok(Arc::new(rows.collect::<Result<Date32Array>>()?))
}

/// Texts of the usual forms: a date, or a date and a time with or without seconds, a fraction and a zone.
fn parsed_plainly(texts: &StringArray) -> Result<TimestampMicrosecondArray> {
    let rows = texts.iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        match plain_time(text) {
            Some((time, offset)) => Ok(Some(time.and_utc().timestamp_micros() - offset.unwrap_or(0))),
            None => Err(not_a_time(text)),
        }
    });
    rows.collect()
}

pub(crate) fn not_a_time(text: &str) -> datafusion::error::DataFusionError {
    wrong(
        format!("'{text}' is no time"),
        "write '2024-12-31' or '2024-12-31 23:59:59'; strptime(text, '%d.%m.%Y') reads other forms",
    )
}

/// A time as people write it, and microseconds east of Greenwich if it says so.
pub(crate) fn plain_time(text: &str) -> Option<(NaiveDateTime, Option<i64>)> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("epoch") {
        return Some((chrono::DateTime::UNIX_EPOCH.naive_utc(), None));
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let date = plain_date(date)?;
    if rest.is_empty() {
        return Some((date.and_time(NaiveTime::MIN), None));
    }
    let end =
        rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.' | ','))).unwrap_or(rest.len());
    let (clock, zone) = (&rest[..end], rest[end..].trim());
    let time = plain_clock(clock)?;
    let local = date.and_time(time);
    let offset = match zone {
        "" => None,
        "Z" | "z" | "UTC" | "utc" | "GMT" => Some(0),
        zone => Some(offset_of(zone, local)?),
    };
    Some((local, offset))
}

fn plain_date(text: &str) -> Option<chrono::NaiveDate> {
    let separator = if text.contains('/') { '/' } else { '-' };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut parts = digits.split(separator);
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str, most: usize| {
        !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit())
    };
    if parts.next().is_some() || !digits(year, 6) || year.len() < 4 || !digits(month, 2) || !digits(day, 2) {
        return None;
    }
    chrono::NaiveDate::from_ymd_opt(sign * year.parse::<i32>().ok()?, month.parse().ok()?, day.parse().ok()?)
}

fn plain_clock(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    if parts.next().is_some() || hour.is_empty() || hour.len() > 2 || minute.len() != 2 {
        return None;
    }
    let (second, fraction) = second.split_once(['.', ',']).unwrap_or((second, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) || second.len() > 2 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    NaiveTime::from_hms_nano_opt(hour.parse().ok()?, minute.parse().ok()?, second.parse().ok()?, nanos)
}

fn offset_of(zone: &str, local: NaiveDateTime) -> Option<i64> {
    let sign = match zone.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => {
            use chrono::{Offset, TimeZone};
            let zone: arrow::array::timezone::Tz = zone.parse().ok()?;
            let offset = zone.offset_from_local_datetime(&local).earliest()?;
            return Some(i64::from(offset.fix().local_minus_utc()) * 1_000_000);
        }
    };
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.parse::<i64>().ok()?, 0),
        4 => (digits[..2].parse::<i64>().ok()?, digits[2..].parse::<i64>().ok()?),
        _ => return None,
    };
    (hours < 16 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        for (text, is) in [
            ("2024-02-03", Some("2024-02-03 00:00:00")),
            ("2024-02-03 04:05", Some("2024-02-03 04:05:00")),
            ("2024-2-3T04:05:06.789Z", Some("2024-02-03 04:05:06.789")),
            ("2024/02/03 4:05:06", Some("2024-02-03 04:05:06")),
            ("2024-02-03 04:05:06+02", Some("2024-02-03 02:05:06")),
            ("2024-02-03 04:05:06 -0530", Some("2024-02-03 09:35:06")),
            ("2024-07-01 12:00 Europe/Berlin", Some("2024-07-01 10:00:00")),
            ("9999-12-31 23:59:59", Some("9999-12-31 23:59:59")),
            ("2024-02-30", None),
            ("2024-02-03 25:00", None),
            ("03.02.2024", None),
            ("2024-02-03x", None),
            ("", None),
        ] {
            let found = plain_time(text).map(|(time, offset)| {
                (time - chrono::TimeDelta::microseconds(offset.unwrap_or(0))).to_string()
            });
            assert_eq!(found.as_deref(), is, "{text}");
        }
    }

    #[test]
    fn postgres_patterns() {
        assert_eq!(postgres("YYYY-MM-DD HH24:MI:SS"), "%Y-%m-%d %H:%M:%S");
        assert_eq!(postgres("FMMonth \"at\" DD"), "%B at %d");
        assert_eq!(number_as(1234.5, "FM9,999.00").as_deref(), Some("1,234.50"));
        assert_eq!(number_as(-7.0, "FM000").as_deref(), Some("-007"));
        assert_eq!(number_as(12345.0, "FM999").as_deref(), Some("###"));
    }
}
