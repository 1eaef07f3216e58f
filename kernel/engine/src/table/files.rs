//! The files of a table: which they are, what they are, and where DataFusion is told that they lie, so that what their folders say
//! (`key=value`) and their own names become columns.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use carrel_cell::problem::{Ename, Problem};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use object_store::ObjectMeta;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Reading;
use crate::catalog::{Packed, Source, data_file, format_of};
use crate::config::Format;
use crate::place::{Place, unreadable};
use crate::snapshot::Laid;

/// Rows that are looked at to find out the columns of CSV and JSON.
const SAMPLE_ROWS: usize = 20_000;

/// Written otherwise in a folder's name that stands for a value: DataFusion reads it back.
const IN_VALUE: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// Left as it is in a URL's path.
pub(super) const IN_URL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'=');

/// The files of a table.
#[derive(Clone, Debug)]
pub struct Files {
    /// All of them.
    pub list: Vec<ObjectMeta>,
    /// Their format.
    pub format: Format,
    /// How they are packed.
    pub packed: Packed,
    /// How they are read, as far as it is known; more is found out when they are opened.
    pub reading: Reading,
    /// Lines that were found out to be no data, as bytes: one number for each file, or none.
    pub(super) skipped: Vec<u64>,
}

impl Files {
    /// Looks which files there are at a place.
    pub async fn find(source: &Source, reading: Reading, label: &str) -> Result<Self, Problem> {
        let place = source.root.open().map_err(|error| unreadable(label, &error))?;
        let all = super::called(place, label).files(&source.path).await;
        let all = all.map_err(|error| unreadable(label, &error))?;
        Self::of(all, source.format, reading, label)
    }

    /// Those of these files that are a table together: of one format, which they tell by their names unless it is told.
    pub fn of(
        all: Vec<ObjectMeta>,
        format: Option<Format>,
        reading: Reading,
        label: &str,
    ) -> Result<Self, Problem> {
        let ending_of = |meta: &ObjectMeta| {
            let name = meta.location.filename()?;
            Some(data_file(name)?.1.to_owned())
        };
        let mut endings: BTreeSet<String> = all.iter().filter_map(ending_of).collect();
        if let Some(format) = reading.format.or(format) {
            let any = endings.iter().any(|ending| format_of(ending).is_some_and(|(is, _)| is == format));
            if any {
                endings.retain(|ending| format_of(ending).is_some_and(|(is, _)| is == format));
            } else if !all.is_empty() {
                // files without a telling name: taken as what was said
                let packed = reading.packed.unwrap_or_else(|| packed_by(&all));
                return Ok(Self { list: all, format, packed, reading, skipped: Vec::new() });
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
        let (format, packed) = format_of(&ending).unwrap_or((Format::Parquet, Packed::No));
        let list = all.into_iter().filter(|meta| ending_of(meta).as_deref() == Some(&ending)).collect();
        let mut reading = reading;
        if ending.starts_with("tsv") && reading.delimiter.is_none() {
            reading.delimiter = Some(b'\t');
        }
        let packed = reading.packed.unwrap_or(packed);
        Ok(Self { list, format, packed, reading, skipped: Vec::new() })
    }

    /// For files that somebody named one by one or by a pattern: folders say nothing unless all of them say the same keys.
    #[must_use]
    pub fn told_by_agreeing_folders(mut self) -> Self {
        if self.reading.partitions.is_none() && self.partitions("").is_err() {
            self.reading.partitions = Some(false);
        }
        self
    }

    /// Changes whenever a file does, or how it is read.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for meta in &self.list {
            (meta.location.as_ref(), meta.size, meta.last_modified).hash(&mut hasher);
        }
        format!("{:?}", self.reading).hash(&mut hasher);
        hasher.finish()
    }

    /// Their size.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|meta| meta.size).sum()
    }

    /// Are they text that can be looked into?
    pub fn plain_text(&self) -> bool {
        matches!(self.format, Format::Csv | Format::Ndjson) && self.packed == Packed::No
    }

    /// What reads them.
    pub(super) fn datafusion_format(&self) -> Arc<dyn FileFormat> {
        let packed = match self.packed {
            Packed::Gzip => FileCompressionType::GZIP,
            Packed::Zstd => FileCompressionType::ZSTD,
            Packed::No => FileCompressionType::UNCOMPRESSED,
        };
        let reading = &self.reading;
        match self.format {
            Format::Parquet => Arc::new(ParquetFormat::default()),
            Format::Arrow => Arc::new(ArrowFormat),
            Format::Avro => Arc::new(AvroFormat),
            Format::Ndjson => Arc::new(
                JsonFormat::default()
                    .with_schema_infer_max_rec(SAMPLE_ROWS)
                    .with_newline_delimited(reading.array != Some(true))
                    .with_file_compression_type(packed),
            ),
            Format::Csv => {
                let nulls: Vec<_> = reading.nulls.iter().map(|text| regex::escape(text)).collect();
                let nulls = (!nulls.is_empty()).then(|| format!("^({}|)$", nulls.join("|")));
                let quote = reading.quote.unwrap_or(b'"');
                Arc::new(
                    CsvFormat::default()
                        .with_has_header(reading.header.unwrap_or(true))
                        .with_delimiter(reading.delimiter.unwrap_or(b','))
                        .with_quote(quote)
                        .with_escape(reading.escape.filter(|escape| *escape != quote))
                        .with_comment(reading.comment)
                        .with_null_regex(nulls)
                        .with_schema_infer_max_rec(SAMPLE_ROWS)
                        .with_file_compression_type(packed),
                )
            }
        }
    }

    /// Columns that are not in the files: the file's name if it is asked for, then what `key=value` folders between the table's
    /// folder and its files say, with a type that fits all values.
    pub(super) fn columns_by_path(&self, root: &str) -> Result<Vec<(String, DataType)>, Problem> {
        let name = self.reading.filename.iter().map(|column| (column.clone(), DataType::Utf8));
        Ok(name.chain(self.partitions(root)?).collect())
    }

    fn partitions(&self, root: &str) -> Result<Vec<(String, DataType)>, Problem> {
        if self.reading.partitions == Some(false) {
            return Ok(Vec::new());
        }
        let mut found: Option<Vec<(String, DataType)>> = None;
        for meta in &self.list {
            let pairs = pairs(below(root, meta));
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

    /// The files where DataFusion is told that they lie: below `root`, first what their path says, as `key=value`, then the rest
    /// of their path. DataFusion passes over files whose path begins with something else. Their own names begin with `address`.
    pub(super) fn laid(&self, root: &str, address: &str) -> Vec<Laid> {
        let hive = self.reading.partitions != Some(false);
        let one = |(at, meta): (usize, &ObjectMeta)| {
            let below = below(root, meta);
            let mut path = Vec::new();
            if let Some(column) = &self.reading.filename {
                let shown = format!("{address}{}", meta.location);
                path.push(format!("{column}={}", utf8_percent_encode(&shown, IN_VALUE)));
            }
            let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
            let (keyed, rest): (Vec<&str>, Vec<&str>) =
                folders.split('/').partition(|folder| hive && folder.contains('='));
            let name = meta.location.filename().unwrap_or_default();
            let parts = keyed.into_iter().chain(rest).chain([name]);
            path.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
            let from = self.skipped.get(at).copied().unwrap_or_default();
            Laid { path: path.join("/"), meta: meta.clone(), from }
        };
        self.list.iter().enumerate().map(one).collect()
    }

    /// Reads the beginning of a file as text; it may end in the middle of a line.
    pub(super) async fn beginning(
        &self,
        place: &Place,
        file: &ObjectMeta,
        bytes: u64,
    ) -> std::io::Result<Vec<u8>> {
        let range = 0..file.size.min(bytes);
        let read = place.ranges(file, std::slice::from_ref(&range)).await?;
        Ok(read.first().map(|bytes| bytes.to_vec()).unwrap_or_default())
    }
}

/// A file's path below the table's folder; of a file that is the table itself its name alone.
fn below<'a>(root: &str, meta: &'a ObjectMeta) -> &'a str {
    meta.location.as_ref().strip_prefix(root).unwrap_or_default().trim_start_matches('/')
}

/// What the folders of a path say.
fn pairs(below: &str) -> Vec<(&str, &str)> {
    let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(|folder| folder.split_once('=')).collect()
}

fn packed_by(files: &[ObjectMeta]) -> Packed {
    let all_end = |ending: &str| {
        files.iter().all(|file| file.location.filename().is_some_and(|name| name.ends_with(ending)))
    };
    if all_end(".gz") {
        Packed::Gzip
    } else if all_end(".zst") {
        Packed::Zstd
    } else {
        Packed::No
    }
}

fn type_of(value: &str) -> DataType {
    let value = percent_decode_str(value).decode_utf8_lossy();
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

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::path::Path;

    fn files(paths: &[&str], reading: Reading) -> Files {
        let meta = |path: &&str| ObjectMeta {
            location: Path::parse(path).unwrap(),
            last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
            size: 1,
            e_tag: None,
            version: None,
        };
        Files::of(paths.iter().map(meta).collect(), None, reading, "t").unwrap()
    }

    #[test]
    fn partition_values_have_types() {
        assert_eq!(type_of("12"), DataType::Int64);
        assert_eq!(type_of("012"), DataType::Utf8);
        assert_eq!(type_of("2026-11-01"), DataType::Date32);
        assert_eq!(type_of("de"), DataType::Utf8);
    }

    #[test]
    fn what_a_path_says_comes_first() {
        let paths = ["t/x/day=1/a.csv", "t/y/day=2/a.csv"];
        let plain = files(&paths, Reading::default());
        let laid: Vec<_> = plain.laid("t", "").into_iter().map(|laid| laid.path).collect();
        assert_eq!(laid, ["day=1/x/a.csv", "day=2/y/a.csv"]);
        assert_eq!(plain.columns_by_path("t").unwrap(), [("day".to_owned(), DataType::Int64)]);
        let reading =
            Reading { filename: Some("file".into()), partitions: Some(false), ..Reading::default() };
        let named = files(&paths, reading);
        assert_eq!(named.laid("t", "")[0].path, "file=t%2Fx%2Fday=1%2Fa.csv/x/day=1/a.csv");
        assert_eq!(named.columns_by_path("t").unwrap(), [("file".to_owned(), DataType::Utf8)]);
        assert_eq!(files(&["t/a.csv"], Reading::default()).laid("t/a.csv", "")[0].path, "a.csv");
    }
}
