//! Writing one Parquet file: the settings that every demo table shares.

use std::{fs, path::Path};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::Compression,
    file::properties::WriterProperties,
};

use super::{DemoError, io_at};

/// Rows of a row group: small enough that a file has several, so that pruning has something to prune.
pub(super) const GROUP: usize = 50_000;

/// A part's file name.
pub(super) fn part(index: usize) -> String {
    format!("part-{index:04}.parquet")
}

/// Writes all batches to a new file.
pub(super) fn write(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, DemoError>>,
) -> Result<(), DemoError> {
    let parquet = |source| DemoError::Parquet { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_at(folder))?;
    }
    let file = fs::File::create(path).map_err(io_at(path))?;
    // The Arrow schema is left out of the file: plain Parquet types say it all, to every reader.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(file, schema.clone(), options).map_err(parquet)?;
    for batch in batches {
        writer.write(&batch?).map_err(parquet)?;
    }
    writer.close().map_err(parquet)?;
    Ok(())
}
