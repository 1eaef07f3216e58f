//! Files as a table: which files, which format, which columns; then DataFusion's listing table does the reading.

mod columns;
mod files;
mod look;
mod reading;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use carrel_cell::problem::{Ename, Problem};
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraints, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use percent_encoding::utf8_percent_encode;

use crate::catalog::Source;
use crate::config::Format;
use crate::corrupt;
use crate::place::{Place, unreadable};
use crate::snapshot::{Registered, Snapshot};
use carrel_query::problems;
pub use files::Files;
use files::IN_URL;
pub use reading::{Reading, Value};

/// Bytes that are looked at to estimate the rows of CSV and JSON.
const SAMPLE_BYTES: u64 = 1 << 18;

/// A dataset or a file as a table.
#[derive(Clone, Debug)]
pub struct FileTable {
    inner: ListingTable,
    /// What people call it.
    pub label: String,
    /// Its files.
    pub files: Files,
    /// Where they are.
    pub place: Place,
    /// Columns that are not in the files but in the names of their folders.
    pub partitions: Vec<String>,
    /// Known to DataFusion as long as the table is.
    _store: Arc<Registered>,
}

impl FileTable {
    /// Finds out the columns. Problems are ready for the user.
    pub async fn open(
        state: &SessionState,
        source: Source,
        files: Files,
        label: String,
    ) -> std::result::Result<Self, Problem> {
        let opened = source.root.open().map_err(|error| unreadable(&label, &error))?;
        let place = called(opened, &label);
        let plain = |error: DataFusionError| problems::of(&error, "");
        let files = look::into(files, &place, &label).await?;
        let by_path = files.columns_by_path(&source.path)?;
        let options = ListingOptions::new(files.datafusion_format())
            .with_file_extension("")
            .with_table_partition_cols(by_path.clone());
        let root = format!("{}/{}", source.root.name(), source.path);
        let snapshot = Snapshot::new(
            place.clone(),
            root.trim_end_matches('/'),
            files.laid(&source.path, &source.root.address()),
        );
        let path = utf8_percent_encode(snapshot.location("").as_ref(), IN_URL).to_string();
        let store = snapshot.register(state.runtime_env()).map_err(plain)?;
        let url = ListingTableUrl::parse(format!("{}{path}/", store.url())).map_err(plain)?;
        let schema = match columns::of(state, &options, &url, &store.store, &files, &label).await {
            Ok(schema) => schema,
            Err(problem) => {
                let broken = problem.ename == Ename::CorruptFile;
                let found = if broken { corrupt::find(&place, &files, false).await } else { None };
                return Err(found.map_or(problem, |found| found.problem(&label)));
            }
        };
        if schema.fields().is_empty() {
            return Err(Problem::new(
                Ename::CorruptFile,
                format!("{label} has no columns: its files are empty"),
            ));
        }
        let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(schema);
        let inner = ListingTable::try_new(config)
            .map_err(plain)?
            .with_cache(state.runtime_env().cache_manager.get_file_statistic_cache());
        let partitions = by_path.into_iter().map(|(name, _)| name).collect();
        Ok(Self { inner, label, files, place, partitions, _store: Arc::new(store) })
    }

    /// How many rows: from the files' own figures (exact), else estimated from a sample, else unknown.
    pub async fn rows(&self, state: &SessionState) -> Option<(u64, bool)> {
        if self.files.format == Format::Parquet {
            let listed = self.inner.list_files_for_scan(state, &[], None).await.ok()?;
            return match listed.statistics.num_rows {
                Precision::Exact(rows) => Some((rows as u64, true)),
                Precision::Inexact(rows) => Some((rows as u64, false)),
                Precision::Absent => None,
            };
        }
        if !self.files.plain_text() || self.files.reading.array == Some(true) {
            return None;
        }
        self.estimate_rows().await
    }

    /// What the files' own figures say of a column.
    pub async fn column_statistics(&self, state: &dyn Session, column: &str) -> Option<ColumnFigures> {
        let at = self.inner.schema().index_of(column).ok()?;
        let listed = self.inner.list_files_for_scan(state, &[], None).await.ok()?;
        let known = listed.statistics.column_statistics.get(at)?;
        Some(ColumnFigures {
            rows: listed.statistics.num_rows,
            nulls: known.null_count,
            least: known.min_value.clone(),
            greatest: known.max_value.clone(),
        })
    }

    /// Lines of the first file's first part, scaled up to all bytes.
    async fn estimate_rows(&self) -> Option<(u64, bool)> {
        let files = &self.files;
        let first = files.list.iter().find(|meta| meta.size > 0)?;
        let sample = files.beginning(&self.place, first, SAMPLE_BYTES).await.ok()?;
        let lines = sample.iter().filter(|byte| **byte == b'\n').count() as u64;
        let header = u64::from(files.format == Format::Csv && files.reading.header != Some(false));
        let whole = files.list.len() == 1 && sample.len() as u64 == first.size;
        if whole {
            let last = u64::from(sample.last().is_some_and(|byte| *byte != b'\n'));
            return Some(((lines + last).saturating_sub(header), false));
        }
        let scaled = u128::from(lines) * u128::from(files.bytes()) / (sample.len().max(1) as u128);
        let rows = u64::try_from(scaled).ok()?.saturating_sub(header * files.list.len() as u64);
        // three digits: it is an estimate
        let unit = 10_u64.pow(rows.max(1).ilog10().saturating_sub(2));
        Some((rows / unit * unit, false))
    }
}

/// What the files' own figures say of one column, as far as they have any.
pub struct ColumnFigures {
    /// Rows of all files.
    pub rows: Precision<usize>,
    /// Rows without a value.
    pub nulls: Precision<usize>,
    /// The least value.
    pub least: Precision<ScalarValue>,
    /// The greatest value.
    pub greatest: Precision<ScalarValue>,
}

/// The place, read as this dataset.
pub fn called(place: &Place, label: &str) -> Place {
    match place {
        Place::Cluster(cluster) => Place::Cluster(cluster.called(label)),
        Place::Folder(_) => place.clone(),
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.inner.constraints()
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
        self.inner.scan(state, projection, filters, limit).await
    }

    async fn scan_with_args<'a>(&self, state: &dyn Session, args: ScanArgs<'a>) -> Result<ScanResult> {
        self.inner.scan_with_args(state, args).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }
}
