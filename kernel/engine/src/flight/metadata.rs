//! What Flight SQL clients ask about the server: catalogs, schemas, tables, types, capabilities.

use std::sync::OnceLock;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, Nullable, Searchable, SqlInfo, XdbcDataType,
};
use carrel_cell::problem::Problem;
use datafusion::common::TableReference;

use crate::names::{self, CATALOG, SESSION};
use crate::output::plain_schema;
use crate::session::Session;
use carrel_query::problems::internal;

type Built = Result<RecordBatch, Problem>;

fn odd(error: impl std::fmt::Display) -> Problem {
    internal("metadata", &error)
}

/// One catalog.
pub(super) fn catalogs(query: CommandGetCatalogs) -> Built {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    builder.build().map_err(odd)
}

/// The session's schema and those of the datasets.
pub(super) fn schemas(session: &Session, query: CommandGetDbSchemas) -> Built {
    let mut builder = query.into_builder();
    builder.append(CATALOG, SESSION);
    for schema in session.catalog().schemas() {
        builder.append(CATALOG, schema);
    }
    builder.build().map_err(odd)
}

/// Session tables, views and datasets; their columns too, if asked. A dataset that cannot be opened has none.
pub(super) async fn tables(session: &Session, query: CommandGetTables) -> Built {
    let with_schema = query.include_schema;
    let wanted = query.table_name_filter_pattern.clone();
    let mut builder = query.into_builder();
    let mut all = Vec::new();
    for entry in session.scratch().entries() {
        all.push((SESSION.to_owned(), entry.name, if entry.view { "VIEW" } else { "TABLE" }));
    }
    for dataset in session.catalog().all().await {
        all.push((dataset.schema, dataset.table, "TABLE"));
    }
    for (schema, table, kind) in all {
        let exact = wanted.as_deref().filter(|pattern| !pattern.contains(['%', '_']));
        let mut columns = Schema::empty();
        if with_schema && exact.is_none_or(|exact| exact == table) {
            let name = TableReference::full(CATALOG, schema.as_str(), table.as_str());
            match names::resolve(session, &name).await {
                Ok(provider) => columns = plain_schema(&provider.schema()).as_ref().clone(),
                Err(problem) => tracing::warn!(dataset = table, %problem, "a dataset cannot be opened"),
            }
        }
        builder.append(CATALOG, schema, table, kind, &columns).map_err(odd)?;
    }
    builder.build().map_err(odd)
}

/// Tables and views.
pub(super) fn table_types(query: CommandGetTableTypes) -> Built {
    let mut builder = query.into_builder();
    builder.append("TABLE");
    builder.append("VIEW");
    builder.build().map_err(odd)
}

/// What this server is and can.
pub(super) fn sql_info(query: CommandGetSqlInfo) -> Built {
    static INFO: OnceLock<Option<SqlInfoData>> = OnceLock::new();
    let data = INFO.get_or_init(|| {
        let mut builder = SqlInfoDataBuilder::new();
        builder.append(SqlInfo::FlightSqlServerName, "Carrel");
        builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        builder.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
        builder.append(SqlInfo::FlightSqlServerReadOnly, false);
        builder.append(SqlInfo::FlightSqlServerSql, true);
        builder.append(SqlInfo::FlightSqlServerSubstrait, false);
        builder.append(SqlInfo::FlightSqlServerCancel, true);
        builder.append(SqlInfo::FlightSqlServerTransaction, 0_i32);
        builder.append(SqlInfo::FlightSqlServerBulkIngestion, true);
        builder.append(SqlInfo::SqlDdlCatalog, false);
        builder.append(SqlInfo::SqlDdlSchema, false);
        builder.append(SqlInfo::SqlDdlTable, true);
        builder.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        builder.build().ok()
    });
    let Some(data) = data else { return Err(odd("the list of capabilities cannot be built")) };
    query.into_builder(data).build().map_err(odd)
}

/// The types that results have.
pub(super) fn types(query: CommandGetXdbcTypeInfo) -> Built {
    static TYPES: OnceLock<Option<XdbcTypeInfoData>> = OnceLock::new();
    let data = TYPES.get_or_init(|| {
        let mut builder = XdbcTypeInfoDataBuilder::new();
        for (name, kind, size, quote) in [
            ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
            ("INTEGER", XdbcDataType::XdbcInteger, 32, None),
            ("BIGINT", XdbcDataType::XdbcBigint, 64, None),
            ("DOUBLE", XdbcDataType::XdbcDouble, 53, None),
            ("DECIMAL", XdbcDataType::XdbcDecimal, 38, None),
            ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, Some("'")),
            ("DATE", XdbcDataType::XdbcDate, 10, Some("'")),
            ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, Some("'")),
            ("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX, Some("'")),
        ] {
            builder.append(XdbcTypeInfo {
                type_name: name.to_owned(),
                data_type: kind,
                column_size: Some(size),
                literal_prefix: quote.map(str::to_owned),
                literal_suffix: quote.map(str::to_owned),
                nullable: Nullable::NullabilityNullable,
                case_sensitive: kind == XdbcDataType::XdbcVarchar,
                searchable: Searchable::Full,
                sql_data_type: kind,
                ..XdbcTypeInfo::default()
            });
        }
        builder.build().ok()
    });
    let Some(data) = data else { return Err(odd("the list of types cannot be built")) };
    query.into_builder(data).build().map_err(odd)
}
