//! Arrow values and types as people read them: exact, NULL told from text, nested values on one line.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use carrel_cell::table::Column;

/// Characters after which a nested value is folded.
const FOLD: usize = 200;

/// The headings of a result.
pub fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &std::sync::Arc<Field>| Column {
        name: field.name().clone(),
        type_name: type_name(field.data_type()),
        numeric: is_numeric(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// Appends the first `most` rows of a batch, each value as text and NULL as `None`.
///
/// # Errors
/// When a type has no text form, or a time zone is not known.
pub fn append_rows(
    batch: &RecordBatch,
    most: usize,
    rows: &mut Vec<Vec<Option<String>>>,
) -> Result<(), ArrowError> {
    let options = options();
    let columns =
        batch.columns().iter().map(|column| Ok((column, ArrayFormatter::try_new(column, &options)?)));
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    for row in 0..batch.num_rows().min(most) {
        let values = columns.iter().map(|(column, formatter)| value(column, formatter, row));
        rows.push(values.collect::<Result<_, _>>()?);
    }
    Ok(())
}

fn value(
    column: &ArrayRef,
    formatter: &ArrayFormatter<'_>,
    row: usize,
) -> Result<Option<String>, ArrowError> {
    // Logical nulls: a dictionary may point to a null, and a column of type NULL has no validity at all.
    if column.is_null(row) || matches!(column.data_type(), DataType::Null) {
        return Ok(None);
    }
    let text = formatter.value(row).try_to_string()?;
    if matches!(column.data_type(), DataType::Dictionary(..)) && dictionary_null(column, row) {
        return Ok(None);
    }
    Ok(Some(if column.data_type().is_nested() { fold(text) } else { text }))
}

fn dictionary_null(column: &ArrayRef, row: usize) -> bool {
    column.logical_nulls().is_some_and(|nulls| nulls.is_null(row))
}

/// A long nested value is cut, and says so.
fn fold(text: String) -> String {
    carrel_cell::table::shorten(&text, FOLD)
}

pub(crate) fn options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_display_error(false)
        .with_null("NULL")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
        .with_datetime_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_time_format(Some("%H:%M:%S%.f"))
        .with_duration_format(DurationFormat::Pretty)
}

fn is_numeric(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_numeric(value),
        other => other.is_numeric(),
    }
}

/// The type as users write it in SQL.
pub fn type_name(data_type: &DataType) -> String {
    let list = |item: &Field| format!("{}[]", type_name(item.data_type()));
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt8 => "tinyint unsigned".to_owned(),
        DataType::UInt16 => "smallint unsigned".to_owned(),
        DataType::UInt32 => "integer unsigned".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float16 => "half".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".to_owned(),
        DataType::FixedSizeBinary(size) => format!("bytea({size})"),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(unit, None) => format!("timestamp({})", digits(*unit)),
        DataType::Timestamp(unit, Some(zone)) => {
            format!("timestamp({}) with time zone {zone}", digits(*unit))
        }
        DataType::Duration(_) | DataType::Interval(_) => "interval".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => list(item),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("struct({})", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("map({}, {})", type_name(fields[0].data_type()), type_name(fields[1].data_type()))
            }
            _ => "map".to_owned(),
        },
        DataType::Dictionary(_, value) => type_name(value),
        DataType::RunEndEncoded(_, values) => type_name(values.data_type()),
        other => other.to_string(),
    }
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
        ListArray, NullArray, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    fn check(array: impl Array + 'static, expected: &[Option<&str>]) {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(array) as ArrayRef)]).unwrap();
        let mut rows = Vec::new();
        append_rows(&batch, usize::MAX, &mut rows).unwrap();
        let got: Vec<Option<&str>> = rows.iter().map(|row| row[0].as_deref()).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn numbers_are_exact() {
        check(Int64Array::from(vec![Some(i64::MIN), None]), &[Some("-9223372036854775808"), None]);
        check(UInt64Array::from(vec![u64::MAX]), &[Some("18446744073709551615")]);
        check(
            Float64Array::from(vec![0.1, 1e300, f64::NAN, -0.0]),
            &[Some("0.1"), Some("1e300"), Some("NaN"), Some("-0.0")],
        );
        let decimals = Decimal128Array::from(vec![123_456_789_012_345_678_901_i128, -5])
            .with_precision_and_scale(38, 2)
            .unwrap();
        check(decimals, &[Some("1234567890123456789.01"), Some("-0.05")]);
        check(BooleanArray::from(vec![true]), &[Some("true")]);
    }

    #[test]
    fn times_keep_their_digits_and_zone() {
        let micros = 1_793_620_800_123_456;
        check(TimestampMicrosecondArray::from(vec![micros]), &[Some("2026-11-02 12:00:00.123456")]);
        check(
            TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"),
            &[Some("2026-11-02 12:00:00.123456+00:00")],
        );
        let berlin = TimestampNanosecondArray::from(vec![micros * 1000]).with_timezone("Europe/Berlin");
        check(berlin, &[Some("2026-11-02 13:00:00.123456+01:00")]);
        check(Date32Array::from(vec![0]), &[Some("1970-01-01")]);
    }

    #[test]
    fn null_is_told_from_text_and_nested_is_folded() {
        check(StringArray::from(vec![Some("NULL"), None, Some("")]), &[Some("NULL"), None, Some("")]);
        check(NullArray::new(1), &[None]);
        let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None].into_iter().collect();
        check(dictionary, &[Some("a"), None]);
        check(BinaryArray::from(vec![&b"\x00\xff"[..]]), &[Some("00ff")]);
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None]), None]);
        check(list, &[Some("[1, NULL]"), None]);
        let long = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1); 500])]);
        let batch = RecordBatch::try_from_iter([("x", Arc::new(long) as ArrayRef)]).unwrap();
        let mut rows = Vec::new();
        append_rows(&batch, 1, &mut rows).unwrap();
        assert!(rows[0][0].as_deref().unwrap().ends_with("… (1500 characters)"));
    }

    #[test]
    fn types_are_named_as_in_sql() {
        let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(type_name(&zone), "timestamp(6) with time zone UTC");
        assert_eq!(type_name(&DataType::new_list(DataType::Decimal128(10, 2), true)), "decimal(10,2)[]");
    }
}
