//! `DESCRIBE`: the columns of a dataset, a table, a view, a file or a query, without reading data.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use carrel_cell::problem::Problem;
use carrel_cell::statement::{Name, Target};
use datafusion::common::TableReference;

use crate::names;
use crate::output::{Output, text_table};
use crate::run::Run;
use crate::session::Session;
use crate::table::FileTable;

const COLUMNS: &[&str] = &["column_name", "column_type", "nullable", "key", "comment"];

/// The columns.
pub(super) async fn describe(session: &Session, target: &Target, run: &Arc<Run>) -> Result<Output, Problem> {
    let planned = super::plan_target(session, target, run).await?;
    let (comments, partitions) = match target {
        Target::Name(name) => about(session, name).await,
        _ => Default::default(),
    };
    let schema = planned.plan.schema();
    let rows = schema.fields().iter().map(|field| {
        let comment = comments.get(field.name()).or_else(|| field.metadata().get("comment"));
        vec![
            Some(field.name().clone()),
            Some(type_name(field.data_type())),
            Some(if field.is_nullable() { "YES" } else { "NO" }.to_owned()),
            partitions.contains(field.name()).then(|| "partition".to_owned()),
            comment.cloned(),
        ]
    });
    Ok(Output::whole(text_table(COLUMNS, rows.collect())?))
}

/// The columns of a plan, where nothing more is known of them.
pub(crate) fn describe_schema(schema: &datafusion::common::DFSchema) -> Result<RecordBatch, Problem> {
    let rows = schema.fields().iter().map(|field| {
        vec![
            Some(field.name().clone()),
            Some(type_name(field.data_type())),
            Some(if field.is_nullable() { "YES" } else { "NO" }.to_owned()),
            None,
            field.metadata().get("comment").cloned(),
        ]
    });
    text_table(COLUMNS, rows.collect())
}

/// The comments and partition columns of a dataset.
async fn about(session: &Session, name: &Name) -> (BTreeMap<String, String>, Vec<String>) {
    let (dataset, reference) = match name.parts.as_slice() {
        [table] => {
            let mut found = session.catalog().find_bare(table).await;
            (if found.len() == 1 { found.pop() } else { None }, TableReference::bare(table.as_str()))
        }
        [schema, table] => (
            session.catalog().find(schema, table).await,
            TableReference::partial(schema.as_str(), table.as_str()),
        ),
        _ => return Default::default(),
    };
    let table = names::resolve(session, &reference).await.ok();
    let files = table.as_ref().and_then(|table| table.downcast_ref::<FileTable>());
    let Some(files) = files else { return Default::default() };
    (dataset.map(|dataset| dataset.comments).unwrap_or_default(), files.partitions.clone())
}

/// A type as SQL writes it.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INTEGER UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float16 | DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("DECIMAL({p},{s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTEA".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            let zone = if zone.is_some() { " WITH TIME ZONE" } else { "" };
            format!("TIMESTAMP({digits}){zone}")
        }
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Dictionary(_, value) => type_name(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => {
            format!("{}[]", type_name(item.data_type()))
        }
        DataType::FixedSizeList(item, n) => format!("{}[{n}]", type_name(item.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<_> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
                .collect();
            format!("STRUCT({})", parts.join(", "))
        }
        other => other.to_string().to_uppercase(),
    }
}
