//! Which file of a table is broken: looked for only after reading has failed, because readers do not always say.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;
use object_store::ObjectMeta;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::time::Instant;

use crate::config::Format;
use crate::place::Place;
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

/// The first file that cannot be read; `deep` also decodes the data. Files that cannot be reached are not called broken.
pub async fn find(place: &Place, files: &Files, deep: bool) -> Option<Broken> {
    if files.format != Format::Parquet {
        return None;
    }
    let until = Instant::now() + PATIENCE;
    for meta in &files.list {
        let broken = |what| Some(Broken { path: meta.location.to_string(), what });
        if meta.size < 12 {
            return broken("is too short to be a Parquet file");
        }
        let mut file = Whole { place: place.clone(), meta: meta.clone(), unreachable: Arc::default() };
        let unreachable = file.unreachable.clone();
        let what = if file.get_metadata(None).await.is_err() {
            "is not a whole Parquet file: its footer cannot be read"
        } else if deep && !decodes(file, until).await {
            "is damaged: its data cannot be decoded"
        } else {
            ""
        };
        if !what.is_empty() && !unreachable.load(Ordering::Relaxed) {
            return broken(what);
        }
        if Instant::now() > until {
            return None;
        }
    }
    None
}

async fn decodes(file: Whole, until: Instant) -> bool {
    let Ok(builder) = ParquetRecordBatchStreamBuilder::new(file).await else { return false };
    let Ok(mut rows) = builder.build() else { return false };
    while let Some(batch) = rows.next().await {
        if batch.is_err() {
            return false;
        }
        if Instant::now() > until {
            break;
        }
    }
    true
}

/// A file of a place as the Parquet reader wants it.
struct Whole {
    place: Place,
    meta: ObjectMeta,
    unreachable: Arc<AtomicBool>,
}

impl AsyncFileReader for Whole {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let read = self.place.ranges(&self.meta, &[range]).await.map_err(|error| {
                self.unreachable.store(true, Ordering::Relaxed);
                ParquetError::External(error.into())
            })?;
            Ok(read.into_iter().next().unwrap_or_default())
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.meta.size;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}
