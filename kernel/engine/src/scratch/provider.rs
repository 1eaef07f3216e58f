//! A session table for DataFusion: an Arrow IPC file read batch by batch, several parts at a time.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use futures::stream;

use crate::lanes::count_bytes;

/// A session table.
#[derive(Clone, Debug)]
pub struct ScratchTable {
    path: PathBuf,
    schema: SchemaRef,
    batches: usize,
    rows: Option<u64>,
    bytes: u64,
}

impl ScratchTable {
    /// Reads the footer.
    pub fn open(path: &Path) -> std::result::Result<Self, ArrowError> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let reader = FileReader::try_new_buffered(file, None)?;
        let rows = reader.custom_metadata().get(super::ROWS).and_then(|rows| rows.parse().ok());
        Ok(Self {
            path: path.to_owned(),
            schema: reader.schema(),
            batches: reader.num_batches(),
            rows,
            bytes,
        })
    }

    /// How many rows it has.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Its size on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[async_trait]
impl TableProvider for ScratchTable {
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
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let parts = state.config().target_partitions().clamp(1, self.batches.max(1));
        let scan = ScratchScan {
            table: self.clone(),
            schema,
            projection: projection.cloned(),
            parts,
            limit,
            metrics: ExecutionPlanMetricsSet::new(),
        };
        Ok(DataSourceExec::from_data_source(scan))
    }
}

#[derive(Clone, Debug)]
struct ScratchScan {
    table: ScratchTable,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    parts: usize,
    limit: Option<usize>,
    metrics: ExecutionPlanMetricsSet,
}

impl DataSource for ScratchScan {
    fn open(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let file = BufReader::with_capacity(1 << 16, File::open(&self.table.path)?);
        let reader = FileReader::try_new(file, self.projection.clone())?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let share = self.table.bytes / (self.table.batches.max(1) as u64);
        let (parts, batches) = (self.parts, self.table.batches);
        let left = self.limit.unwrap_or(usize::MAX);
        let rows = stream::unfold((reader, partition, left), move |(mut reader, at, left)| {
            let metrics = metrics.clone();
            async move {
                if at >= batches || left == 0 {
                    return None;
                }
                let read = tokio::task::spawn_blocking(move || {
                    let batch = read_batch(&mut reader, at);
                    (reader, batch)
                })
                .await;
                let (reader, batch) = match read {
                    Ok(read) => read,
                    Err(error) => return Some((Err(DataFusionError::External(Box::new(error))), None?)),
                };
                count_bytes(share);
                let batch = batch.map(|batch| batch.slice(0, batch.num_rows().min(left)));
                let rows = batch.as_ref().map_or(left, RecordBatch::num_rows);
                metrics.record_output(rows);
                Some((batch, (reader, at + parts, left - rows)))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows)))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "session table, columns=[{}]", columns.join(", "))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.parts)
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(self.schema.clone())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let (Some(rows), None) = (self.table.rows, partition) {
            statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
            if self.limit.is_some() {
                statistics.num_rows = Precision::Absent;
            }
        }
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(Arc::new(Self { limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.metrics.clone()
    }

    fn try_swapping_with_projection(&self, _: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

fn read_batch(reader: &mut FileReader<BufReader<File>>, at: usize) -> Result<RecordBatch> {
    reader.set_index(at)?;
    match reader.next() {
        Some(batch) => Ok(batch?),
        None => Err(DataFusionError::Execution("the table ends early".to_owned())),
    }
}
