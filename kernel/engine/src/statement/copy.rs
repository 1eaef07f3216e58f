//! `COPY (query) TO 'file'`: Parquet, CSV or NDJSON beneath the home, whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::{Copy, OptionEntry};
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::catalog::{Packed, data_file, format_of};
use crate::config::Format;
use crate::output::Output;
use crate::run::{Run, grouped};
use crate::session::Session;
use carrel_query::problems::disk_full;
use carrel_query::problems::kind_text;
use carrel_query::words::show_size;

/// Writes a query's rows to a file.
pub(super) async fn copy(session: &Session, copy: &Copy, run: &Arc<Run>) -> Result<Output, Problem> {
    let options = Options::read(copy)?;
    let new = session.home().create(&copy.file).map_err(|problem| problem.at(copy.file_span))?;
    let mut output = super::start(session, &copy.query, run).await?;
    run.stage("writing the file");
    let file = new.file().map_err(|error| trouble(copy, &error))?;
    let mut writer = Writer::new(file, &output.schema, &options).map_err(|error| odd(copy, &*error))?;
    let mut rows = 0;
    while let Some(batch) = output.rows.next().await {
        run.check()?;
        let batch = batch?;
        rows += batch.num_rows() as u64;
        // encoding is long work between two awaits: other tasks of this statement go on meanwhile
        writer = tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer))
            .await
            .map_err(|error| carrel_query::problems::internal("writing a file", &error))?
            .map_err(|error| odd(copy, &*error))?;
    }
    writer.finish().map_err(|error| odd(copy, &*error))?;
    run.check()?;
    let bytes = new.finish().map_err(|error| trouble(copy, &error))?;
    Output::says("status", format!("{} rows written to {}, {}", grouped(rows), copy.file, show_size(bytes)))
}

struct Options {
    format: Format,
    header: bool,
    delimiter: u8,
    compression: Compression,
}

impl Options {
    fn read(copy: &Copy) -> Result<Self, Problem> {
        let name = copy.file.rsplit('/').next().unwrap_or_default();
        let ending = data_file(name).map(|(_, ending)| ending);
        let told = ending.and_then(format_of);
        let mut format = match told {
            Some((_, Packed::Gzip | Packed::Zstd)) => {
                return Err(Problem::new(
                    Ename::Unsupported,
                    "compressed text files are read but not written",
                )
                .at(copy.file_span)
                .hint("write .parquet, which is compressed, or .csv"));
            }
            Some((format, Packed::No)) => Some(format),
            None => None,
        };
        let mut options = Self {
            format: Format::Parquet,
            header: true,
            delimiter: if ending == Some("tsv") { b'\t' } else { b',' },
            compression: Compression::ZSTD(ZstdLevel::default()),
        };
        for entry in &copy.options {
            let text = entry.value.to_string().to_lowercase();
            match entry.name.as_str() {
                "format" => {
                    format = Some(match text.as_str() {
                        "json" => Format::Ndjson,
                        text => format_of(text)
                            .map(|(format, _)| format)
                            .ok_or_else(|| bad(entry, "the formats are parquet, csv, json and arrow"))?,
                    });
                }
                "header" => {
                    options.header =
                        entry.value.as_bool().ok_or_else(|| bad(entry, "header is true or false"))?;
                }
                "delimiter" | "delim" | "sep" => {
                    let value = entry.value.as_text().unwrap_or_default();
                    options.delimiter = match value.as_bytes() {
                        [one] => *one,
                        _ if value == "\\t" => b'\t',
                        _ => return Err(bad(entry, "the delimiter is one ASCII character")),
                    };
                }
                "compression" => {
                    options.compression = match text.as_str() {
                        "zstd" => Compression::ZSTD(ZstdLevel::default()),
                        "snappy" => Compression::SNAPPY,
                        "none" | "uncompressed" => Compression::UNCOMPRESSED,
                        _ => return Err(bad(entry, "Parquet's compressions are zstd, snappy and none")),
                    };
                }
                name => {
                    let known = ["format", "header", "delimiter", "compression"];
                    let problem =
                        Problem::new(Ename::BadOption, format!("COPY has no option {name}")).at(entry.span);
                    let problem = problem.suggest(name, known);
                    return Err(match problem.hint {
                        Some(_) => problem,
                        None => problem.hint(format!("there are: {}", known.join(", "))),
                    });
                }
            }
        }
        let Some(format) = format else {
            return Err(Problem::new(Ename::BadOption, format!("'{}' does not say its format", copy.file))
                .at(copy.file_span)
                .hint("end it in .parquet, .csv, .json or .arrow, or add (FORMAT parquet)"));
        };
        if format == Format::Avro {
            return Err(Problem::new(Ename::Unsupported, "Avro files are read, not written")
                .at(copy.file_span)
                .hint("write Parquet instead: end the file in .parquet"));
        }
        options.format = format;
        Ok(options)
    }
}

fn bad(entry: &OptionEntry, hint: &str) -> Problem {
    Problem::new(Ename::BadOption, format!("{} cannot be {}", entry.name, entry.value))
        .at(entry.span)
        .hint(hint)
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Csv(Box<arrow::csv::Writer<BufWriter<File>>>),
    Ndjson(Box<arrow::json::LineDelimitedWriter<BufWriter<File>>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl Writer {
    fn new(file: File, schema: &SchemaRef, options: &Options) -> Result<Self, Fault> {
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(match options.format {
            Format::Parquet => {
                let properties = WriterProperties::builder().set_compression(options.compression).build();
                Self::Parquet(Box::new(ArrowWriter::try_new(file, schema.clone(), Some(properties))?))
            }
            Format::Csv => {
                let builder = arrow::csv::WriterBuilder::new()
                    .with_header(options.header)
                    .with_delimiter(options.delimiter);
                let mut writer = builder.build(file);
                // the header is written with the first batch; an empty result has one too
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
                Self::Csv(Box::new(writer))
            }
            Format::Ndjson => Self::Ndjson(Box::new(arrow::json::LineDelimitedWriter::new(file))),
            Format::Arrow => Self::Arrow(Box::new(FileWriter::try_new(file, schema)?)),
            Format::Avro => return Err("Avro is not written".into()),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        match self {
            Self::Parquet(writer) => writer.write(batch)?,
            Self::Csv(writer) => writer.write(batch)?,
            Self::Ndjson(writer) => writer.write(batch)?,
            Self::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Fault> {
        match self {
            Self::Parquet(mut writer) => {
                writer.finish()?;
                writer.inner_mut().flush()?;
            }
            Self::Csv(writer) => writer.into_inner().flush()?,
            Self::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            Self::Arrow(mut writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
        }
        Ok(())
    }
}

fn odd(copy: &Copy, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<std::io::Error>() {
            return trouble(copy, error);
        }
        cause = inner.source();
    }
    let text = error.to_string();
    if text.contains("os error 28") || text.contains("os error 122") {
        return disk_full();
    }
    Problem::new(Ename::TypeError, format!("'{}' cannot be written: {text}", copy.file))
        .at(copy.file_span)
        .hint("cast columns that the format cannot hold, such as lists in CSV, to VARCHAR")
}

fn trouble(copy: &Copy, error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => disk_full(),
        _ => {
            Problem::new(Ename::DiskLimit, format!("'{}' cannot be written: {}", copy.file, kind_text(error)))
        }
    }
}
