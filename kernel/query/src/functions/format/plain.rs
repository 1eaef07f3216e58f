//! Times as people write them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use chrono::{NaiveDateTime, NaiveTime};
use datafusion::common::Result;

use super::super::text::strings;
use super::{stamp, wrong};

/// With a zone to read local times in, they are times of Greenwich; the cast that follows says which zone shows them.
pub(super) fn read_type(given: &[DataType]) -> Result<DataType> {
    stamp(given)
}

pub(super) fn read_times(args: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
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
                    Some(offset) => super::super::zones::shown_in(zone, micros - offset)?,
                }))
            }
            None if strict => Err(not_a_time(text)),
            None => Ok(None),
        }
    });
    Ok(Arc::new(rows.collect::<Result<TimestampMicrosecondArray>>()?))
}

pub(super) fn read_dates(args: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
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
pub(super) fn parsed_plainly(texts: &StringArray) -> Result<TimestampMicrosecondArray> {
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
}
