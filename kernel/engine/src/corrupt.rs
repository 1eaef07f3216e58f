//! Which file of a table is broken: looked for only after reading has failed, because readers do not always say.

use std::fs::File;
use std::time::{Duration, Instant};

use carrel_cell::problem::{Ename, Problem};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::beneath::Beneath;
use crate::config::Format;
use crate::table::Files;

/// How long to look.
const PATIENCE: Duration = Duration::from_secs(3);

/// A broken file.
#[derive(Debug)]
pub struct Broken {
    path: String,
    what: &'static str,
}

impl Broken {
    /// What the user is told.
    pub fn problem(&self, label: &str) -> Problem {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let file = if label.contains(name) { label.to_owned() } else { format!("{} of {label}", self.path) };
        Problem::new(Ename::CorruptFile, format!("the file {file} {}", self.what))
            .hint("ask the owner of the data to write it again; other files are not harmed")
    }
}

/// The first file that cannot be read; `deep` also decodes the data.
pub fn find(opened: &Beneath, files: &Files, deep: bool) -> Option<Broken> {
    if files.format != Format::Parquet {
        return None;
    }
    let until = Instant::now() + PATIENCE;
    for meta in &files.list {
        let path = meta.location.as_ref();
        let Ok(file) = opened.file(path) else { continue };
        let broken = |what| Some(Broken { path: path.to_owned(), what });
        if meta.size < 12 {
            return broken("is too short to be a Parquet file");
        }
        if ParquetMetaDataReader::new().parse_and_finish(&file).is_err() {
            return broken("is not a whole Parquet file: its footer cannot be read");
        }
        if deep && !decodes(file, until) {
            return broken("is damaged: its data cannot be decoded");
        }
        if Instant::now() > until {
            return None;
        }
    }
    None
}

fn decodes(file: File, until: Instant) -> bool {
    let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(file) else { return false };
    let Ok(reader) = builder.build() else { return false };
    for batch in reader {
        if batch.is_err() {
            return false;
        }
        if Instant::now() > until {
            break;
        }
    }
    true
}
