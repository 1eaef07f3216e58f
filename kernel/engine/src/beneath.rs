//! A folder as DataFusion's object store: everything is opened beneath the folder's descriptor, so no link and no
//! `..` leads out of it, and no host path appears in an error. It only reads.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::lanes::count_bytes;

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
            if name.starts_with('.') || name.starts_with('_') {
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
                if kind == FileType::Directory && depth < DEPTH {
                    todo.push((below, depth + 1));
                } else if kind == FileType::RegularFile {
                    // a link that leads out is not ours to read
                    if let Ok(file) = self.file(&below) {
                        found.push(meta(&file, &below)?);
                    }
                }
            }
        }
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    fn error(&self, path: &str, source: std::io::Error) -> Error {
        let path = format!("{}/{path}", self.name);
        let source = Box::new(source);
        match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Error::NotFound { path, source }
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::CrossesDevices => {
                Error::PermissionDenied { path, source }
            }
            _ => Error::Generic { store: "folder", source },
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this)).await?
    }

    fn refuse<T>(&self, operation: &str) -> Result<T> {
        Err(Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() })
    }
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
    count_bytes(len as u64);
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

fn location_ending(location: &Path) -> Option<&str> {
    location.filename()?.rsplit_once('.').map(|(_, ending)| ending)
}

/// Bytes per piece where a whole file is streamed (CSV, JSON).
const PIECE: u64 = 1 << 20;

#[async_trait]
impl ObjectStore for Beneath {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        let (file, meta, range) = self
            .blocking(move |this| {
                let path = location.as_ref();
                let file = this.file(path).map_err(|error| this.error(path, error))?;
                let meta = meta(&file, path).map_err(|error| this.error(path, error))?;
                options.check_preconditions(&meta)?;
                let range = match &options.range {
                    Some(range) => range
                        .as_range(meta.size)
                        .map_err(|source| Error::Generic { store: "folder", source: Box::new(source) })?,
                    None => 0..meta.size,
                };
                Ok((Arc::new(file), meta, range))
            })
            .await?;
        if matches!(location_ending(&meta.location), Some("arrow" | "feather" | "ipc")) {
            // the reader of Arrow files wants to seek
            let file = file
                .try_clone()
                .map_err(|source| Error::Generic { store: "folder", source: Box::new(source) })?;
            count_bytes(range.end - range.start);
            let payload = GetResultPayload::File(file, meta.location.as_ref().into());
            return Ok(GetResult { payload, meta, range, attributes: Attributes::new() });
        }
        let pieces = stream::iter((range.start..range.end).step_by(PIECE as usize));
        let end = range.end;
        let payload = pieces
            .map(move |start| {
                let file = file.clone();
                tokio::task::spawn_blocking(move || read(&file, &(start..(start + PIECE).min(end))))
            })
            .buffered(2)
            .map(|read| match read {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(source)) => Err(Error::Generic { store: "folder", source: Box::new(source) }),
                Err(source) => Err(Error::JoinError { source }),
            });
        let payload = GetResultPayload::Stream(Box::pin(payload));
        Ok(GetResult { payload, meta, range, attributes: Attributes::new() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        self.blocking(move |this| {
            let path = location.as_ref();
            let file = this.file(path).map_err(|error| this.error(path, error))?;
            let read = |range| read(&file, range).map_err(|error| this.error(path, error));
            ranges.iter().map(read).collect()
        })
        .await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.map(ToString::to_string).unwrap_or_default();
        let this = self.clone();
        stream::once(async move {
            let walk = this
                .blocking(move |this| match this.walk(&prefix) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                    walk => walk.map_err(|error| this.error(&prefix, error)),
                })
                .await?;
            Ok::<_, Error>(stream::iter(walk.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.map(ToString::to_string).unwrap_or_default();
        self.blocking(move |this| {
            let mut listed = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
            for (name, kind) in this.entries(&prefix).map_err(|error| this.error(&prefix, error))? {
                let below = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                if kind == FileType::Directory {
                    listed.common_prefixes.push(Path::from(below));
                } else if let Ok(file) = this.file(&below) {
                    listed.objects.push(meta(&file, &below).map_err(|error| this.error(&below, error))?);
                }
            }
            Ok(listed)
        })
        .await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.refuse("put")
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.refuse("put")
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::iter([self.refuse("delete")]).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        self.refuse("copy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn reads_beneath_and_nowhere_else() {
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
        let path = Path::from("a/x.csv");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "hello");
        assert_eq!(store.get_range(&path, 1..3).await.unwrap(), "el");
        assert_eq!(store.head(&path).await.unwrap().size, 5);
        for bad in ["out", "../secret", "/etc/passwd"] {
            assert!(store.file(bad).is_err(), "{bad}");
        }
        assert!(store.put(&path, "x".into()).await.is_err());
        let error = store.get(&Path::from("none")).await.unwrap_err().to_string();
        assert!(!error.contains(dir.path().to_str().unwrap()), "{error}");
    }
}
