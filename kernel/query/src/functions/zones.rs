//! Time zones: what a clock in a zone shows, and the time that it means.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use carrel_cell::problem::{Ename, Problem};
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion::common::Result;

use super::text::strings;
use super::{DEF, Def, Takes};
use crate::problems::wrap;

/// The table.
pub(super) const DEFS: &[Def] = &[Def {
    name: "timezone",
    takes: &[Takes::Text, Takes::Stamp],
    gives: other_kind,
    run: convert,
    about: (
        "time AT TIME ZONE 'Europe/Berlin'",
        "Of a time with a zone, what a clock in that zone shows; of one without, the time that the clock means.",
    ),
    ..DEF
}];

/// A time with a zone becomes one without, and the other way round.
fn other_kind(given: &[DataType]) -> Result<DataType> {
    Ok(match given.get(1) {
        Some(DataType::Timestamp(_, Some(_))) => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    })
}

fn convert(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    let times = args[1].as_primitive::<TimestampMicrosecondType>();
    let to_local = matches!(to, DataType::Timestamp(_, None));
    let mut last: Option<(String, Tz)> = None;
    let rows = strings(args, 0).iter().zip(times.iter()).map(|(name, micros)| {
        let (Some(name), Some(micros)) = (name, micros) else { return Ok(None) };
        let zone = match &last {
            Some((known, zone)) if known == name => *zone,
            _ => {
                let zone = zone(name)?;
                last = Some((name.to_owned(), zone));
                zone
            }
        };
        let Some(time) = DateTime::from_timestamp_micros(micros) else { return Ok(None) };
        Ok(Some(if to_local { shown(&zone, time.naive_utc()) } else { meant(&zone, time.naive_utc()) }))
    });
    let made = rows.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(if to_local { made } else { made.with_timezone("UTC") }))
}

/// A zone by its name or offset.
pub(crate) fn zone(name: &str) -> Result<Tz> {
    name.parse().map_err(|_| {
        let problem = Problem::new(Ename::ValueError, format!("there is no time zone '{name}'"));
        wrap(problem.hint("write a name such as 'Europe/Berlin', 'UTC', or an offset such as '+02:00'"))
    })
}

/// What a clock in the zone shows.
fn shown(zone: &Tz, utc: NaiveDateTime) -> i64 {
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    (utc + offset).and_utc().timestamp_micros()
}

/// What a clock in a zone shows, by the zone's name.
pub(super) fn shown_in(name: &str, micros: i64) -> Result<i64> {
    let zone = zone(name)?;
    Ok(DateTime::from_timestamp_micros(micros).map_or(micros, |time| shown(&zone, time.naive_utc())))
}

/// The time that a clock in the zone means. Where the clock was put forward, what it never showed means as much later; where it was put back, it
/// means the later of the two times, as in DuckDB and PostgreSQL.
fn meant(zone: &Tz, local: NaiveDateTime) -> i64 {
    let utc = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => local - offset.fix(),
        MappedLocalTime::Ambiguous(_, later) => local - later.fix(),
        MappedLocalTime::None => {
            let before = zone.offset_from_utc_datetime(&(local - TimeDelta::hours(24))).fix();
            local - before
        }
    };
    utc.and_utc().timestamp_micros()
}

/// Times with a zone as what a clock there shows.
pub(super) fn local(array: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Timestamp(_, Some(name)) = array.data_type() else { return Ok(array.clone()) };
    let zone = zone(name)?;
    let micros =
        arrow::compute::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, Some(name.clone())))?;
    let made = micros.as_primitive::<TimestampMicrosecondType>().unary_opt::<_, TimestampMicrosecondType>(
        |micros| DateTime::from_timestamp_micros(micros).map(|time| shown(&zone, time.naive_utc())),
    );
    Ok(Arc::new(made.with_timezone_opt(None::<Arc<str>>)))
}
