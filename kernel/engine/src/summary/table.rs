//! The summary of a table of files as a table of its own: it is kept when it was made, taken from what is kept as long as no file
//! changes, and answered from the files' own figures where only such columns are asked for that these tell exactly.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::datasource::{MemTable, TableType};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{Distribution, PhysicalExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;
use futures::stream;

use super::{Identity, Kept, figures, now};
use crate::config::Format;
use crate::table::FileTable;

/// Columns of a summary that the files' own figures can tell.
const TOLD_BY_FILES: [&str; 7] =
    ["column_name", "column_type", "min", "max", "count", "null_percentage", "as_of"];

/// The summary of all rows of a table of files.
#[derive(Debug)]
pub(super) struct SummaryTable {
    pub(super) identity: Identity,
    pub(super) kept: Arc<Kept>,
    /// What makes it.
    pub(super) plan: LogicalPlan,
    pub(super) schema: SchemaRef,
    /// Whose summary it is.
    pub(super) of: FileTable,
    /// Its columns: name in the files, name in the summary, type.
    pub(super) columns: Vec<(String, String, DataType)>,
}

impl SummaryTable {
    /// The summary by the files' own figures, if only `wanted` columns are needed and all of them are exact; the others are NULL.
    async fn by_files(&self, state: &dyn Session, wanted: &[usize]) -> Option<RecordBatch> {
        let told = |at: &usize| TOLD_BY_FILES.contains(&self.schema.field(*at).name().as_str());
        if self.of.files.format != Format::Parquet || !wanted.iter().all(told) {
            return None;
        }
        let mut texts: [Vec<Option<String>>; 4] = Default::default();
        let (mut counts, mut shares) = (Vec::new(), Vec::new());
        for (column, name, data_type) in &self.columns {
            // a greatest value that is no number is not among the files' figures
            if data_type.is_floating() || data_type.is_nested() {
                return None;
            }
            let known = self.of.column_statistics(state, column).await?;
            let (Precision::Exact(rows), Precision::Exact(nulls)) = (known.rows, known.nulls) else {
                return None;
            };
            let bound = |value: Precision<ScalarValue>| match value {
                Precision::Exact(value) => Some(figures::text(&value)),
                _ if nulls == rows => Some(None),
                _ => None,
            };
            let [names, types, least, greatest] = &mut texts;
            names.push(Some(name.clone()));
            types.push(Some(carrel_query::words::type_name(data_type)));
            least.push(bound(known.least)?);
            greatest.push(bound(known.greatest)?);
            counts.push(i64::try_from(rows).ok()?);
            shares.push(figures::null_percentage(rows as u64, nulls as u64));
        }
        let [names, types, least, greatest] =
            texts.map(|texts| Arc::new(StringArray::from(texts)) as ArrayRef);
        let counts: ArrayRef = Arc::new(arrow::array::Int64Array::from(counts));
        let shares: ArrayRef = Arc::new(arrow::array::Float64Array::from(shares));
        let seen = now().to_array_of_size(self.columns.len()).ok()?;
        let columns = self.schema.fields().iter().map(|field| match field.name().as_str() {
            "column_name" => names.clone(),
            "column_type" => types.clone(),
            "min" => least.clone(),
            "max" => greatest.clone(),
            "count" => counts.clone(),
            "null_percentage" => shares.clone(),
            "as_of" => seen.clone(),
            _ => arrow::array::new_null_array(field.data_type(), self.columns.len()),
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect()).ok()
    }
}

#[async_trait]
impl TableProvider for SummaryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let known = match self.kept.get(&self.identity) {
            Some(kept) => Some(RecordBatch::try_new(self.schema.clone(), kept.columns().to_vec())?),
            None => self.by_files(state, projection.unwrap_or(&all)).await,
        };
        if let Some(known) = known {
            let table = MemTable::try_new(self.schema.clone(), vec![vec![known]])?;
            return table.scan(state, projection, filters, limit).await;
        }
        let input = state.create_physical_plan(&self.plan).await?;
        let keep: Arc<dyn ExecutionPlan> =
            Arc::new(Keep { input, kept: self.kept.clone(), identity: self.identity.clone() });
        let Some(projection) = projection else { return Ok(keep) };
        let column = |at: &usize| {
            let name = self.schema.field(*at).name().clone();
            let column = datafusion::physical_expr::expressions::Column::new(&name, *at);
            (Arc::new(column) as Arc<dyn PhysicalExpr>, name)
        };
        Ok(Arc::new(ProjectionExec::try_new(projection.iter().map(column).collect::<Vec<_>>(), keep)?))
    }
}

/// Passes a summary on, and keeps it once it is whole.
#[derive(Debug, Clone)]
struct Keep {
    input: Arc<dyn ExecutionPlan>,
    kept: Arc<Kept>,
    identity: Identity,
}

impl DisplayAs for Keep {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepSummary")
    }
}

impl ExecutionPlan for Keep {
    fn name(&self) -> &'static str {
        "KeepSummary"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[Arc<dyn ExecutionPlan>; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self { input, ..self.as_ref().clone() })),
            Err(_) => internal_err!("a summary has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let whole = self.input.output_partitioning().partition_count() == 1;
        let input = self.input.execute(partition, context)?;
        if !whole {
            return Ok(input);
        }
        let schema = input.schema();
        let (kept, identity, columns) = (self.kept.clone(), self.identity.clone(), schema.clone());
        let passed = stream::unfold((input, Vec::new()), move |(mut input, mut batches)| {
            let (kept, identity, columns) = (kept.clone(), identity.clone(), columns.clone());
            async move {
                let next = input.next().await;
                match &next {
                    Some(Ok(batch)) => batches.push(batch.clone()),
                    Some(Err(_)) => {}
                    None => {
                        if let Ok(summary) = concat_batches(&columns, &batches) {
                            kept.put(identity, summary);
                        }
                    }
                }
                next.map(|next| (next, (input, batches)))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, passed)))
    }
}
