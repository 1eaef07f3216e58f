//! Session tables and views on disk: a table is an uncompressed Arrow IPC file that polars and pyarrow can map, a view
//! is its SQL. Both are written beside their place and renamed into it, so an engine that ends at any moment leaves
//! only whole ones, and the next engine finds them.

pub mod provider;

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use carrel_cell::problem::{Ename, Problem};

use crate::output::{plain_batch, plain_schema};
use carrel_query::problems::disk_full;
use carrel_query::problems::kind_text;
use carrel_query::words::show_size;
use provider::ScratchTable;

/// The scratch folder of a session.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    tables_limit: u64,
}

/// What `SHOW TABLES` tells.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Is it a view?
    pub view: bool,
    /// Size on disk.
    pub bytes: u64,
    /// When it was made.
    pub created: SystemTime,
}

/// The footer's key for the number of rows.
const ROWS: &str = "carrel.rows";

impl Scratch {
    /// Opens the folder, makes what is missing and removes what an earlier engine left half done.
    pub fn open(path: &Path, tables_limit: u64) -> Result<Self, Problem> {
        let scratch = Self { path: path.to_owned(), tables_limit };
        for folder in ["tables", "views", "spill"] {
            std::fs::create_dir_all(path.join(folder))
                .map_err(|error| trouble("scratch cannot be used", &error))?;
        }
        for folder in ["tables", "views", "."] {
            for entry in scratch.list(folder) {
                if entry.0.starts_with(".part-") {
                    let _ = std::fs::remove_file(path.join(folder).join(entry.0));
                }
            }
        }
        for (name, _) in scratch.list("spill") {
            let left = path.join("spill").join(name);
            let _ = std::fs::remove_dir_all(&left).or_else(|_| std::fs::remove_file(&left));
        }
        Ok(scratch)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where queries spill.
    pub fn spill(&self) -> PathBuf {
        self.path.join("spill")
    }

    /// Tables and views by name.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (folder, ending, view) in [("tables", ".arrow", false), ("views", ".sql", true)] {
            for (file, meta) in self.list(folder) {
                let Some(name) = file.strip_suffix(ending).and_then(name_of) else { continue };
                let created = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push(Entry { name, view, bytes: meta.len(), created });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// The table or view with this name.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.entries().into_iter().find(|entry| entry.name == name)
    }

    /// A table to read.
    pub fn table(&self, name: &str) -> Result<Option<Arc<ScratchTable>>, Problem> {
        let path = self.table_path(name);
        if !path.exists() {
            return Ok(None);
        }
        ScratchTable::open(&path).map(|table| Some(Arc::new(table))).map_err(|error| {
            Problem::new(Ename::CorruptFile, format!("the table {name} cannot be read: {error}"))
                .hint(format!("make it again with CREATE OR REPLACE TABLE {name} AS …"))
        })
    }

    /// A view's SQL.
    pub fn view(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.view_path(name)).ok()
    }

    /// Begins a table that takes the place of an older one when it is finished.
    pub fn writer(&self, name: &str, schema: &SchemaRef) -> Result<TableWriter, Problem> {
        check_name(name)?;
        let used: u64 =
            self.entries().iter().filter(|entry| entry.name != name).map(|entry| entry.bytes).sum();
        let schema = plain_schema(schema);
        let temp = self.path.join("tables").join(part());
        let open = || FileWriter::try_new(Counted::create(&temp)?, &schema);
        let writer = open().map_err(|error| arrow_trouble(name, &error))?;
        let left = self.tables_limit.saturating_sub(used);
        let (limit, target) = (self.tables_limit, self.table_path(name));
        let view = self.view_path(name);
        Ok(TableWriter {
            name: name.to_owned(),
            schema,
            writer: Some(writer),
            temp,
            target,
            view,
            rows: 0,
            left,
            limit,
        })
    }

    /// Keeps a view.
    pub fn put_view(&self, name: &str, sql: &str) -> Result<(), Problem> {
        check_name(name)?;
        self.put(&format!("views/{}.sql", file_name(name)), sql.as_bytes())?;
        let _ = std::fs::remove_file(self.table_path(name));
        Ok(())
    }

    /// Removes a table or a view.
    pub fn remove(&self, entry: &Entry) -> Result<(), Problem> {
        let path = if entry.view { self.view_path(&entry.name) } else { self.table_path(&entry.name) };
        std::fs::remove_file(path)
            .map_err(|error| trouble(&format!("{} cannot be dropped", entry.name), &error))
    }

    /// Writes a small file at once: whole, or not.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), Problem> {
        let target = self.path.join(path);
        let temp = target.with_file_name(part());
        let written = std::fs::write(&temp, bytes).and_then(|()| std::fs::rename(&temp, &target));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&temp);
            trouble("scratch cannot be written", &error)
        })
    }

    fn table_path(&self, name: &str) -> PathBuf {
        self.path.join("tables").join(format!("{}.arrow", file_name(name)))
    }

    fn view_path(&self, name: &str) -> PathBuf {
        self.path.join("views").join(format!("{}.sql", file_name(name)))
    }

    fn list(&self, folder: &str) -> Vec<(String, std::fs::Metadata)> {
        let Ok(dir) = std::fs::read_dir(self.path.join(folder)) else { return Vec::new() };
        dir.filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?))
        })
        .collect()
    }
}

/// A table being written; it appears when finished, and leaves nothing when dropped before.
pub struct TableWriter {
    name: String,
    schema: SchemaRef,
    writer: Option<FileWriter<Counted>>,
    temp: PathBuf,
    target: PathBuf,
    view: PathBuf,
    rows: u64,
    left: u64,
    limit: u64,
}

impl TableWriter {
    /// Appends rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let batch = plain_batch(batch, &self.schema)?;
        self.rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(|error| arrow_trouble(&self.name, &error))?;
        if writer.get_ref().bytes > self.left {
            let limit = show_size(self.limit);
            return Err(Problem::new(
                Ename::DiskLimit,
                format!("the session's tables would take more than {limit}"),
            )
            .hint("select fewer rows or columns, or drop tables that are not needed (SHOW TABLES)"));
        }
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Puts the table in its place.
    pub fn finish(mut self) -> Result<(), Problem> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        writer.write_metadata(ROWS, self.rows.to_string());
        let finished = writer.finish().and_then(|()| Ok(writer.get_mut().inner.flush()?));
        finished.map_err(|error| arrow_trouble(&self.name, &error))?;
        std::fs::rename(&self.temp, &self.target)
            .map_err(|error| trouble(&format!("the table {} cannot be kept", self.name), &error))?;
        let _ = std::fs::remove_file(&self.view);
        Ok(())
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temp);
    }
}

struct Counted {
    inner: BufWriter<File>,
    bytes: u64,
}

impl Counted {
    fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { inner: BufWriter::with_capacity(1 << 18, File::create_new(path)?), bytes: 0 })
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn part() -> String {
    format!(".part-{}", uuid::Uuid::new_v4().simple())
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > 80 {
        return Err(Problem::new(Ename::SyntaxError, "a name has 1 to 80 characters"));
    }
    Ok(())
}

/// A name as a file name: anything but lower-case letters, digits and `_` as `%xx`.
fn file_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}

fn name_of(file: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = file.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn arrow_trouble(name: &str, error: &arrow::error::ArrowError) -> Problem {
    match error {
        arrow::error::ArrowError::IoError(_, error) => {
            trouble(&format!("the table {name} cannot be written"), error)
        }
        error => Problem::new(Ename::ValueError, format!("the table {name} cannot be written: {error}")),
    }
}

fn trouble(what: &str, error: &std::io::Error) -> Problem {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(),
        _ => Problem::new(Ename::Internal, format!("{what}: {}", kind_text(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text_table;

    #[test]
    fn tables_come_back_and_half_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(dir.path(), 1 << 20).unwrap();
        let batch = text_table(&["a"], vec![vec![Some("x".into())], vec![None]]).unwrap();
        let mut writer = scratch.writer("T é", &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let mut half = scratch.writer("half", &batch.schema()).unwrap();
        half.write(&batch).unwrap();
        std::mem::forget(half);
        scratch.put_view("v", "SELECT 1").unwrap();

        let again = Scratch::open(dir.path(), 1 << 20).unwrap();
        let names: Vec<_> = again.entries().into_iter().map(|entry| (entry.name, entry.view)).collect();
        assert_eq!(names, [("T é".to_owned(), false), ("v".to_owned(), true)]);
        assert_eq!(again.table("T é").unwrap().unwrap().rows(), Some(2));
        assert_eq!(again.view("v").as_deref(), Some("SELECT 1"));
        assert_eq!(std::fs::read_dir(dir.path().join("tables")).unwrap().count(), 1);
        again.remove(&again.entry("v").unwrap()).unwrap();
        assert!(again.entry("v").is_none());
    }

    #[test]
    fn the_limit_holds_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(dir.path(), 2000).unwrap();
        let batch = text_table(&["a"], vec![vec![Some("x".repeat(3000))]]).unwrap();
        let mut writer = scratch.writer("big", &batch.schema()).unwrap();
        assert_eq!(writer.write(&batch).unwrap_err().ename, Ename::DiskLimit);
        drop(writer);
        assert!(scratch.entries().is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join("tables")).unwrap().count(), 0);
    }

    #[test]
    fn a_broken_table_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(dir.path(), 1 << 20).unwrap();
        std::fs::write(dir.path().join("tables/bad.arrow"), "ARROW1 not").unwrap();
        assert_eq!(scratch.table("bad").unwrap_err().ename, Ename::CorruptFile);
    }
}
