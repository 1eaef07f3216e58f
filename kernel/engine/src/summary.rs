//! Summaries of relations: one aggregate a column ([`profile`]) in one pass over the data, and its figures as rows. A plan like any other, so
//! that it stands in FROM, stops when asked, keeps to the memory and tells its progress.

mod figures;
mod profile;
mod sketch;
mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, col, lit};

use crate::column_names::plain_names;
use crate::table::FileTable;
use carrel_query::problems::wrap;
use carrel_query::words::type_name;
use table::SummaryTable;

/// At most this many columns at a time.
const MOST_COLUMNS: usize = 500;

/// DuckDB's columns, and ours behind them.
const FIGURES: &[&str] = &[
    "min",
    "max",
    "approx_unique",
    "avg",
    "std",
    "q25",
    "q50",
    "q75",
    "count",
    "null_percentage",
    "top_values",
    "histogram",
    "exact",
];

/// The plan of a relation's summary: one row a column. That of a whole table of files is kept.
pub(crate) fn planned(plan: LogicalPlan, kept: &Arc<Kept>) -> Result<LogicalPlan> {
    let Some((identity, of)) = Identity::of(&plan) else { return made(plan) };
    let fields = plan.schema().fields();
    let names = plain_names(fields.iter().map(|field| field.name().as_str()));
    let column = |(field, name): (&FieldRef, String)| (field.name().clone(), name, field.data_type().clone());
    let columns = fields.iter().zip(names).map(column).collect();
    let plan = made(plan)?;
    let schema = Arc::new(plan.schema().as_arrow().clone());
    let table = SummaryTable { identity, kept: kept.clone(), plan, schema, of, columns };
    LogicalPlanBuilder::scan("summary", provider_as_source(Arc::new(table)), None)?.build()
}

/// The plan that makes a summary.
fn made(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns: Vec<(Column, DataType)> = plan
        .schema()
        .iter()
        .map(|(table, field)| (Column::new(table.cloned(), field.name()), field.data_type().clone()))
        .collect();
    if columns.is_empty() || columns.len() > MOST_COLUMNS {
        let text = format!("SUMMARIZE takes 1 to {MOST_COLUMNS} columns, here are {}", columns.len());
        let problem = Problem::new(Ename::Unsupported, text);
        return Err(wrap(problem.hint("name the columns: SUMMARIZE SELECT a, b FROM …")));
    }
    let names = plain_names(columns.iter().map(|(column, _)| column.name.as_str()));
    let profile = Arc::new(AggregateUDF::new_from_impl(profile::Profile::new()));
    let mut profiles = Vec::new();
    let mut rows = Vec::new();
    for (at, (column, data_type)) in columns.into_iter().enumerate() {
        let args = vec![Expr::Column(column)];
        let call = AggregateFunction::new_udf(profile.clone(), args, false, None, Vec::new(), None);
        let name = format!("__profile{at}");
        profiles.push(Expr::AggregateFunction(call).alias(&name));
        rows.push(named_struct(vec![
            lit("column_name"),
            lit(names.get(at).cloned().unwrap_or_default()),
            lit("column_type"),
            lit(type_name(&data_type)),
            lit("figures"),
            col(Column::from_name(name)),
        ]));
    }
    let row = || col(Column::from_name("__rows"));
    let mut out = vec![
        get_field(row(), "column_name").alias("column_name"),
        get_field(row(), "column_type").alias("column_type"),
    ];
    let figures = get_field(row(), "figures");
    out.extend(FIGURES.iter().map(|figure| get_field(figures.clone(), *figure).alias(*figure)));
    out.push(lit(now()).alias("as_of"));
    LogicalPlanBuilder::from(plan)
        .aggregate(Vec::<Expr>::new(), profiles)?
        .project([make_array(rows).alias("__rows")])?
        .unnest_column("__rows")?
        .project(out)?
        .build()
}

/// When the data is looked at.
fn now() -> ScalarValue {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ScalarValue::TimestampMicrosecond(i64::try_from(since.as_micros()).ok(), Some("UTC".into()))
}

/// Which files a summary is of, if it is of all rows of one table of files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    label: String,
    files: u64,
    columns: Vec<String>,
}

impl Identity {
    /// The identity of what a plan reads, and the table.
    fn of(plan: &LogicalPlan) -> Option<(Self, FileTable)> {
        let mut node = plan;
        loop {
            node = match node {
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::Projection(projection)
                    if projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
                {
                    &projection.input
                }
                LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
                    let provider = source_as_provider(&scan.source).ok()?;
                    let table = provider.downcast_ref::<FileTable>()?;
                    let columns = plan.schema().fields().iter();
                    let columns = columns.map(|field| format!("{} {}", field.name(), field.data_type()));
                    let identity = Self {
                        label: table.label.clone(),
                        files: table.files.fingerprint(),
                        columns: columns.collect(),
                    };
                    return Some((identity, table.clone()));
                }
                _ => return None,
            };
        }
    }
}

/// Summaries of files that were not changed since. They are small; the session keeps a few.
#[derive(Debug, Default)]
pub struct Kept(Mutex<BTreeMap<Identity, RecordBatch>>);

impl Kept {
    /// Summaries that are kept.
    const MOST: usize = 64;

    /// The summary of exactly these files.
    pub(crate) fn get(&self, identity: &Identity) -> Option<RecordBatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(identity).cloned()
    }

    /// The row of one column, from any kept summary of exactly these files that has it.
    pub(crate) fn of_column(&self, table: &FileTable, column: &str) -> Option<RecordBatch> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = table.files.fingerprint();
        kept.iter().filter(|(known, _)| known.label == table.label && known.files == fingerprint).find_map(
            |(_, summary)| {
                let names = summary.column_by_name("column_name")?.as_string_opt::<i32>()?;
                let row = names.iter().position(|name| name == Some(column))?;
                Some(summary.slice(row, 1))
            },
        )
    }

    /// Keeps one, instead of an older one of the same name.
    pub(crate) fn put(&self, identity: Identity, summary: RecordBatch) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known, _| known.label != identity.label || known.columns != identity.columns);
        if kept.len() >= Self::MOST {
            kept.pop_first();
        }
        kept.insert(identity, summary);
    }
}
