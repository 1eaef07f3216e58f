//! A folder that is read: everything is opened beneath the folder's descriptor, so no link and no `..` leads out of it, and no host
//! path appears in an error.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use carrel_source::names::is_hidden;
use object_store::ObjectMeta;
use object_store::path::Path;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

/// A folder that is read.
#[derive(Clone)]
pub struct Beneath {
    root: Arc<OwnedFd>,
    name: Arc<str>,
}

/// At most this many folders deep.
const DEPTH: usize = 32;

impl Beneath {
    /// Opens a folder; `name` stands for it in errors.
    pub fn open(path: &std::path::Path, name: &str) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { root: Arc::new(root), name: name.into() })
    }

    /// The folder itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens something beneath it.
    pub fn open_at(&self, path: &str, flags: OFlags, mode: Mode) -> std::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&*self.root, path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, mode, resolve)?)
    }

    /// Opens a plain file to read.
    pub fn file(&self, path: &str) -> std::io::Result<File> {
        let file = File::from(self.open_at(path, OFlags::RDONLY, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a plain file"));
        }
        Ok(file)
    }

    /// Is it a folder, a file or nothing?
    pub fn kind(&self, path: &str) -> Option<FileType> {
        let fd = self.open_at(path, OFlags::RDONLY, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    /// The entries of one folder, without hidden ones: name, kind.
    pub fn entries(&self, path: &str) -> std::io::Result<Vec<(String, FileType)>> {
        let fd = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if is_hidden(name) {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::RegularFile | FileType::Directory => entry.file_type(),
                _ => match rustix::fs::statat(&fd, entry.file_name(), AtFlags::empty()) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                },
            };
            entries.push((name.to_owned(), kind));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    /// All plain files below a folder, or the file itself.
    pub fn walk(&self, path: &str) -> std::io::Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        if self.kind(path) != Some(FileType::Directory) {
            found.push(meta(&self.file(path)?, path)?);
            return Ok(found);
        }
        let mut todo = vec![(path.to_owned(), 0)];
        while let Some((folder, depth)) = todo.pop() {
            for (name, kind) in self.entries(&folder)? {
                let below = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if kind == FileType::Directory {
                    if depth >= DEPTH {
                        return Err(std::io::Error::other(format!(
                            "folders are nested more than {DEPTH} deep"
                        )));
                    }
                    todo.push((below, depth + 1));
                } else if kind == FileType::RegularFile {
                    found.extend(self.look(&below)?);
                }
            }
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// The plain files in a folder itself.
    pub fn files_in(&self, path: &str) -> std::io::Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        for (name, kind) in self.entries(path)? {
            if kind == FileType::RegularFile {
                found.extend(self.look(&if path.is_empty() { name } else { format!("{path}/{name}") })?);
            }
        }
        Ok(found)
    }

    /// A file of a listing. A link that leads out or nowhere is not ours to read; anything else would be missing from the answer.
    fn look(&self, path: &str) -> std::io::Result<Option<ObjectMeta>> {
        match self.file(path) {
            Ok(file) => meta(&file, path).map(Some),
            Err(error) if leads_away(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Parts of a file, in the order asked for.
    pub fn ranges(&self, path: &str, ranges: &[Range<u64>]) -> std::io::Result<Vec<Bytes>> {
        let file = self.file(path)?;
        ranges.iter().map(|range| read(&file, range)).collect()
    }
}

fn leads_away(error: &std::io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(errno, Some(rustix::io::Errno::XDEV | rustix::io::Errno::LOOP | rustix::io::Errno::NOENT))
}

fn meta(file: &File, path: &str) -> std::io::Result<ObjectMeta> {
    let data = file.metadata()?;
    let modified = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(ObjectMeta {
        // as it is on disk: `Path::from` would encode it once more
        location: Path::parse(path).unwrap_or_else(|_| Path::from(path)),
        last_modified: modified.into(),
        size: data.len(),
        e_tag: None,
        version: None,
    })
}

fn read(file: &File, range: &Range<u64>) -> std::io::Result<Bytes> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(std::io::Error::other)?;
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}

impl fmt::Display for Beneath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Beneath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beneath({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_beneath_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("in/a")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(dir.path().join("in/a/x.csv"), "hello").unwrap();
        std::fs::write(dir.path().join("in/_hidden"), "h").unwrap();
        std::os::unix::fs::symlink("../secret", dir.path().join("in/out")).unwrap();
        std::os::unix::fs::symlink("a/x.csv", dir.path().join("in/same")).unwrap();
        let store = Beneath::open(&dir.path().join("in"), "in").unwrap();
        let names: Vec<_> = store.walk("").unwrap().iter().map(|meta| meta.location.to_string()).collect();
        assert_eq!(names, ["a/x.csv", "same"]);
        assert_eq!(store.ranges("a/x.csv", &[1..3, 0..1]).unwrap(), ["el", "h"]);
        assert!(store.ranges("a/x.csv", &[1..2, 1..6]).is_err());
        for bad in ["out", "../secret", "/etc/passwd"] {
            assert!(store.file(bad).is_err(), "{bad}");
        }
    }
}
