//! Files as a table: which files, which format, which columns; then DataFusion's listing table does the reading.

mod columns;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use carrel_cell::problem::{Ename, Problem};
use datafusion::catalog::{ScanArgs, ScanResult, Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraints, Result, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::catalog::{Packed, Source, data_file, format_of};
use crate::config::Format;
use crate::corrupt;
use crate::place::{Place, unreadable};
use crate::snapshot::{Registered, Snapshot};
use carrel_query::problems;

/// Rows that are looked at to find out the columns of CSV and JSON.
const SAMPLE_ROWS: usize = 20_000;

/// Bytes that are looked at to estimate the rows of CSV and JSON.
const SAMPLE_BYTES: u64 = 1 << 18;

/// Left as it is in a URL's path.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'=');

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

/// The files of a table.
#[derive(Clone, Debug)]
pub struct Files {
    /// All of them.
    pub list: Vec<ObjectMeta>,
    /// Their format.
    pub format: Format,
    /// Their names' ending, such as `csv.gz`.
    pub ending: String,
}

impl Files {
    /// Looks which files there are.
    pub async fn find(source: &Source, label: &str) -> std::result::Result<Self, Problem> {
        let place = source.root.open().map_err(|error| unreadable(label, &error))?;
        let all = called(place, label).files(&source.path).await;
        let all = all.map_err(|error| unreadable(label, &error))?;
        let ending_of = |meta: &ObjectMeta| {
            let name = meta.location.filename()?;
            Some(data_file(name)?.1.to_owned())
        };
        let mut endings: BTreeSet<String> = all.iter().filter_map(ending_of).collect();
        if let Some(format) = source.format {
            let any = endings.iter().any(|ending| format_of(ending).is_some_and(|(is, _)| is == format));
            if any {
                endings.retain(|ending| format_of(ending).is_some_and(|(is, _)| is == format));
            } else if !all.is_empty() {
                // files without a telling name: taken as what the configuration says
                return Ok(Self { list: all, format, ending: String::new() });
            }
        }
        let mut endings = endings.into_iter();
        let (Some(ending), None) = (endings.next(), endings.next()) else {
            let problem = match all.iter().any(|meta| ending_of(meta).is_some()) {
                true => Problem::new(Ename::Unsupported, format!("{label} mixes files of several formats"))
                    .hint("a table's files have one format; name one file by its path, or ask its owner"),
                false => Problem::new(Ename::FileNotFound, format!("{label} holds no data files"))
                    .hint("files that are read end in .parquet, .csv, .tsv, .ndjson, .jsonl, .json, .avro or .arrow (text also .gz, .zst)"),
            };
            return Err(problem);
        };
        let format = format_of(&ending).map_or(Format::Parquet, |(format, _)| format);
        let list = all.into_iter().filter(|meta| ending_of(meta).as_deref() == Some(&ending)).collect();
        Ok(Self { list, format, ending })
    }

    /// Changes whenever a file does.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for meta in &self.list {
            (meta.location.as_ref(), meta.size, meta.last_modified).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Their size.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|meta| meta.size).sum()
    }

    fn datafusion_format(&self) -> Arc<dyn FileFormat> {
        let packed = match format_of(&self.ending) {
            Some((_, Packed::Gzip)) => FileCompressionType::GZIP,
            Some((_, Packed::Zstd)) => FileCompressionType::ZSTD,
            _ => FileCompressionType::UNCOMPRESSED,
        };
        match self.format {
            Format::Parquet => Arc::new(ParquetFormat::default()),
            Format::Arrow => Arc::new(ArrowFormat),
            Format::Avro => Arc::new(AvroFormat),
            Format::Ndjson => Arc::new(
                JsonFormat::default()
                    .with_schema_infer_max_rec(SAMPLE_ROWS)
                    .with_file_compression_type(packed),
            ),
            Format::Csv => {
                let delimiter = if self.ending.starts_with("tsv") { b'\t' } else { b',' };
                Arc::new(
                    CsvFormat::default()
                        .with_has_header(true)
                        .with_delimiter(delimiter)
                        .with_schema_infer_max_rec(SAMPLE_ROWS)
                        .with_file_compression_type(packed),
                )
            }
        }
    }

    /// `key=value` folders between the table's folder and its files, with a type that fits all values.
    fn partitions(&self, root: &str) -> std::result::Result<Vec<(String, DataType)>, Problem> {
        let mut found: Option<Vec<(String, DataType)>> = None;
        for meta in &self.list {
            let below = meta.location.as_ref().strip_prefix(root).unwrap_or_default();
            let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
            let pairs: Vec<_> = folders.split('/').filter_map(|folder| folder.split_once('=')).collect();
            match &mut found {
                None => {
                    let typed = pairs.iter().map(|(key, value)| ((*key).to_owned(), type_of(value)));
                    found = Some(typed.collect());
                }
                Some(known) => {
                    if !known.iter().map(|(key, _)| key.as_str()).eq(pairs.iter().map(|(key, _)| *key)) {
                        return Err(Problem::new(
                            Ename::CorruptFile,
                            "its folders disagree about the partition keys",
                        ));
                    }
                    for ((_, known), (_, value)) in known.iter_mut().zip(&pairs) {
                        if *known != type_of(value) {
                            *known = DataType::Utf8;
                        }
                    }
                }
            }
        }
        Ok(found.unwrap_or_default())
    }
}

fn type_of(value: &str) -> DataType {
    let number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    let parts: Vec<_> = value.split('-').collect();
    let digits = |part: &&str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    if number {
        DataType::Int64
    } else if matches!(parts.as_slice(), [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2)) {
        DataType::Date32
    } else {
        DataType::Utf8
    }
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
        let partitions = files.partitions(&source.path)?;
        let ending = if files.ending.is_empty() { String::new() } else { format!(".{}", files.ending) };
        let options = ListingOptions::new(files.datafusion_format())
            .with_file_extension(ending)
            .with_table_partition_cols(partitions.clone());
        let one_file = matches!(files.list.as_slice(), [only] if only.location.as_ref() == source.path);
        let snapshot = Snapshot::new(place.clone(), source.root.name(), &files.list);
        let path = utf8_percent_encode(snapshot.location(&source.path).as_ref(), IN_URL).to_string();
        let store = snapshot.register(state.runtime_env()).map_err(plain)?;
        let slash = if one_file { "" } else { "/" };
        let url = ListingTableUrl::parse(format!("{}{path}{slash}", store.url())).map_err(plain)?;
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
        let partitions = partitions.into_iter().map(|(name, _)| name).collect();
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
        if !matches!(self.files.ending.as_str(), "csv" | "tsv" | "json" | "ndjson" | "jsonl") {
            return None;
        }
        self.estimate_rows().await
    }

    /// What the files' own figures say of a column.
    pub async fn column_statistics(&self, state: &SessionState, column: &str) -> Option<ColumnFigures> {
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
        let range = 0..first.size.min(SAMPLE_BYTES);
        let sample = self.place.ranges(first, std::slice::from_ref(&range)).await.ok()?.pop()?;
        let lines = sample.iter().filter(|byte| **byte == b'\n').count() as u64;
        let header = u64::from(files.format == Format::Csv);
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
fn called(place: &Place, label: &str) -> Place {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_values_have_types() {
        assert_eq!(type_of("12"), DataType::Int64);
        assert_eq!(type_of("012"), DataType::Utf8);
        assert_eq!(type_of("2026-11-01"), DataType::Date32);
        assert_eq!(type_of("de"), DataType::Utf8);
    }
}
