//! SQL's type names, PostgreSQL's, DuckDB's and BigQuery's, as Arrow's types. Times are in microseconds, so that year 1 and year 9999
//! both fit.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, ObjectName, TimezoneInfo,
};

/// The most digits of a decimal.
const DIGITS: u8 = 38;

/// Translates type names; times with a zone are kept in this one.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) zone: Arc<str>,
}

impl TypePlanner for Types {
    fn plan_type_field(&self, sql: &Sql) -> Result<Option<FieldRef>> {
        Ok(self.arrow(sql)?.map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}

impl Types {
    /// Arrow's type, or none if there is none.
    pub(super) fn arrow(&self, sql: &Sql) -> Result<Option<DataType>> {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        Ok(Some(match sql {
            Sql::Boolean | Sql::Bool => DataType::Boolean,
            Sql::TinyInt(_) => DataType::Int8,
            Sql::SmallInt(_) | Sql::Int2(_) | Sql::Int16 => DataType::Int16,
            Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::MediumInt(_) | Sql::Int32 => DataType::Int32,
            Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Int64,
            Sql::TinyIntUnsigned(_) | Sql::UInt8 => DataType::UInt8,
            Sql::SmallIntUnsigned(_) | Sql::Int2Unsigned(_) | Sql::UInt16 => DataType::UInt16,
            Sql::IntUnsigned(_) | Sql::IntegerUnsigned(_) | Sql::Int4Unsigned(_) | Sql::UInt32 => {
                DataType::UInt32
            }
            Sql::BigIntUnsigned(_) | Sql::Int8Unsigned(_) | Sql::UInt64 => DataType::UInt64,
            Sql::Int128 => DataType::Decimal128(DIGITS, 0),
            Sql::Float(ExactNumberInfo::Precision(bits)) if *bits > 24 => DataType::Float64,
            Sql::Float(_) | Sql::Real | Sql::Float4 | Sql::Float32 => DataType::Float32,
            Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => DataType::Float64,
            Sql::Numeric(info) | Sql::Decimal(info) | Sql::Dec(info) => decimal(info)?,
            Sql::BigNumeric(_) | Sql::BigDecimal(_) => DataType::Decimal256(76, 38),
            Sql::Varchar(_)
            | Sql::Nvarchar(_)
            | Sql::Char(_)
            | Sql::Character(_)
            | Sql::CharacterVarying(_)
            | Sql::CharVarying(_)
            | Sql::Text
            | Sql::String(_)
            | Sql::JSON
            | Sql::JSONB
            | Sql::Uuid => DataType::Utf8View,
            Sql::Bytea | Sql::Blob(_) | Sql::Binary(_) | Sql::Varbinary(_) | Sql::Bytes(_) => {
                DataType::Binary
            }
            Sql::Date => DataType::Date32,
            Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(Microsecond),
            Sql::Datetime(_) => DataType::Timestamp(Microsecond, None),
            Sql::Timestamp(precision, zone) => {
                let unit = match precision {
                    Some(0) => Second,
                    Some(1..=3) => Millisecond,
                    Some(7..) => Nanosecond,
                    _ => Microsecond,
                };
                let zoned = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
                DataType::Timestamp(unit, zoned.then(|| self.zone.clone()))
            }
            Sql::Interval { fields: None, .. } => DataType::Interval(IntervalUnit::MonthDayNano),
            Sql::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::Parenthesis(item)) => {
                list(self.must(item)?)
            }
            Sql::Array(ArrayElemTypeDef::SquareBracket(item, None)) => list(self.must(item)?),
            Sql::Array(ArrayElemTypeDef::SquareBracket(item, Some(size))) => {
                let Ok(size) = i32::try_from(*size) else {
                    return plan_err!("an array of {size} is too long");
                };
                DataType::FixedSizeList(Arc::new(Field::new_list_field(self.must(item)?, true)), size)
            }
            Sql::Struct(fields, _) => {
                let mut found = Vec::with_capacity(fields.len());
                for (i, field) in fields.iter().enumerate() {
                    let name =
                        field.field_name.as_ref().map_or_else(|| format!("c{i}"), |name| name.value.clone());
                    found.push(Field::new(name, self.must(&field.field_type)?, true));
                }
                DataType::Struct(Fields::from(found))
            }
            Sql::Map(key, value) => map(self.must(key)?, self.must(value)?),
            Sql::Custom(name, words) => return self.custom(name, words),
            _ => return Ok(None),
        }))
    }

    fn must(&self, sql: &Sql) -> Result<DataType> {
        match self.arrow(sql)? {
            Some(data_type) => Ok(data_type),
            None => plan_err!("the type {sql} is not supported"),
        }
    }

    fn custom(&self, name: &ObjectName, words: &[String]) -> Result<Option<DataType>> {
        let name = name.to_string().to_uppercase();
        if !words.is_empty() {
            return plan_err!("the type {name} is not supported");
        }
        Ok(Some(match name.as_str() {
            "HUGEINT" | "INT128" => DataType::Decimal128(DIGITS, 0),
            "LONG" | "SIGNED" => DataType::Int64,
            "SHORT" => DataType::Int16,
            "BYTE" | "BYTEINT" | "INT1" => DataType::Int8,
            "UTINYINT" => DataType::UInt8,
            "USMALLINT" => DataType::UInt16,
            "UINTEGER" => DataType::UInt32,
            "UBIGINT" => DataType::UInt64,
            "LOGICAL" => DataType::Boolean,
            "BPCHAR" | "NAME" => DataType::Utf8View,
            "TIMESTAMP_S" => DataType::Timestamp(TimeUnit::Second, None),
            "TIMESTAMP_MS" => DataType::Timestamp(TimeUnit::Millisecond, None),
            "TIMESTAMP_US" | "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "TIMESTAMP_NS" => DataType::Timestamp(TimeUnit::Nanosecond, None),
            "TIMESTAMP_LTZ" | "TIMESTAMP_TZ" => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(self.zone.clone()))
            }
            _ => return plan_err!("there is no type {name}"),
        }))
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=DIGITS), Ok(s)) if s >= 0 && i16::from(s) <= i16::from(p) => {
            Ok(DataType::Decimal128(p, s))
        }
        (Ok(p @ 39..=76), Ok(s)) if s >= 0 && i16::from(s) <= i16::from(p) => Ok(DataType::Decimal256(p, s)),
        _ => plan_err!(
            "DECIMAL({precision},{scale}) is not supported: it has 1 to 76 digits, the scale not more than these"
        ),
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn map(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}
