//! `DESCRIBE`: the columns of a dataset, a table, a view, a file or a query, without reading data.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use carrel_cell::problem::Problem;
use carrel_cell::statement::{Name, Target};
use carrel_query::words::type_name;
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
