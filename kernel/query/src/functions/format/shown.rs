//! Times cast to text, as PostgreSQL and DuckDB write them: `2024-01-01 10:00:00.5+01`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use chrono::DateTime;
use datafusion::common::Result;

use super::super::zones;

const SECOND: i64 = 1_000_000_000;

/// Times of any unit, with or without a zone, as text.
pub(crate) fn time_text(array: &ArrayRef) -> Result<ArrayRef> {
    let micros = |array: &ArrayRef, zone: Option<Arc<str>>| {
        arrow::compute::cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))
    };
    let mut out = StringBuilder::new();
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, None) => {
            for nanos in array.as_primitive::<TimestampNanosecondType>() {
                append(&mut out, nanos, None);
            }
        }
        DataType::Timestamp(_, zone @ Some(_)) => {
            let local = zones::local(array)?;
            let utc = micros(array, zone.clone())?;
            let both = local.as_primitive::<TimestampMicrosecondType>().iter();
            for (local, utc) in both.zip(utc.as_primitive::<TimestampMicrosecondType>()) {
                let east = local.zip(utc).map(|(local, utc)| (local - utc) / 1_000_000);
                append(&mut out, local.and_then(|micros| micros.checked_mul(1000)), east);
            }
        }
        _ => {
            for at in micros(array, None)?.as_primitive::<TimestampMicrosecondType>() {
                append(&mut out, at.and_then(|micros| micros.checked_mul(1000)), None);
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn append(out: &mut StringBuilder, nanos: Option<i64>, east: Option<i64>) {
    let time = nanos
        .and_then(|nanos| DateTime::from_timestamp(nanos.div_euclid(SECOND), 0).map(|time| (time, nanos)));
    let Some((time, nanos)) = time else {
        out.append_null();
        return;
    };
    // writing to a builder does not fail
    let _ = write!(out, "{}", time.naive_utc().format("%Y-%m-%d %H:%M:%S"));
    let fraction = nanos.rem_euclid(SECOND);
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    if let Some(east) = east {
        let minutes = east.abs() / 60;
        let _ = write!(out, "{}{:02}", if east < 0 { '-' } else { '+' }, minutes / 60);
        if minutes % 60 != 0 {
            let _ = write!(out, ":{:02}", minutes % 60);
        }
    }
    out.append_value("");
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray};

    use super::*;

    fn shown(array: impl Array + 'static) -> String {
        let texts = time_text(&(Arc::new(array) as ArrayRef)).unwrap();
        texts.as_string::<i32>().value(0).to_owned()
    }

    #[test]
    fn times_are_written_as_in_sql() {
        assert_eq!(shown(TimestampMillisecondArray::from(vec![1_704_103_200_500])), "2024-01-01 10:00:00.5");
        assert_eq!(shown(TimestampNanosecondArray::from(vec![-1])), "1969-12-31 23:59:59.999999999");
        let zoned = |zone: &str| TimestampMillisecondArray::from(vec![1_704_103_200_000]).with_timezone(zone);
        assert_eq!(shown(zoned("UTC")), "2024-01-01 10:00:00+00");
        assert_eq!(shown(zoned("+05:30")), "2024-01-01 15:30:00+05:30");
        assert_eq!(shown(zoned("America/New_York")), "2024-01-01 05:00:00-05");
    }
}
