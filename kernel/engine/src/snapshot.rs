//! The files of a table as they were when they were listed, as DataFusion's object store: one statement sees one state of a table,
//! and nothing is listed twice. It only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::lanes::count_bytes;
use crate::place::Place;

/// Bytes per piece where a whole file is streamed (CSV, JSON, Avro).
const PIECE: u64 = 4 << 20;

/// Pieces on their way at the same time.
const AHEAD: usize = 2;

/// A table's files. Their locations begin with the root's name, so that what DataFusion remembers by location is never another's.
pub struct Snapshot {
    place: Place,
    root: Arc<str>,
    /// By location.
    files: BTreeMap<Path, Held>,
}

/// A file and where it is to be found in a snapshot.
#[derive(Debug)]
pub struct Laid {
    /// Below the root.
    pub path: String,
    /// The file in its place.
    pub meta: ObjectMeta,
    /// The byte that it begins with here.
    pub from: u64,
}

/// A file; its location is the path in the place.
#[derive(Clone)]
struct Held {
    file: ObjectMeta,
    from: u64,
}

impl Held {
    /// The file as it is seen here.
    fn located(&self, location: &Path) -> ObjectMeta {
        let size = self.file.size.saturating_sub(self.from);
        ObjectMeta { location: location.clone(), size, ..self.file.clone() }
    }

    async fn read(&self, place: &Place, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let moved: Vec<_> =
            ranges.iter().map(|range| range.start + self.from..range.end + self.from).collect();
        let read = place.ranges(&self.file, &moved).await.map_err(|error| failed(&self.file, error))?;
        count_bytes(read.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(read)
    }
}

/// A snapshot that DataFusion knows, until this is dropped.
pub struct Registered {
    runtime: Arc<RuntimeEnv>,
    url: ObjectStoreUrl,
    /// The store itself.
    pub store: Arc<Snapshot>,
}

impl Snapshot {
    /// The files of a table; `root` names the place among all places.
    pub fn new(place: Place, root: &str, files: Vec<Laid>) -> Self {
        let root: Arc<str> = root.into();
        let held = |laid: Laid| (locate(&root, &laid.path), Held { file: laid.meta, from: laid.from });
        Self { place, root: root.clone(), files: files.into_iter().map(held).collect() }
    }

    /// Where a path of the place is found in here.
    pub fn location(&self, path: &str) -> Path {
        locate(&self.root, path)
    }

    /// The files, with their locations in here.
    pub fn files(&self) -> Vec<ObjectMeta> {
        self.files.iter().map(|(location, held)| held.located(location)).collect()
    }

    /// Makes it known to DataFusion under an address of its own.
    pub fn register(self, runtime: &Arc<RuntimeEnv>) -> datafusion::error::Result<Registered> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let url = ObjectStoreUrl::parse(format!("files://{}", COUNT.fetch_add(1, Ordering::Relaxed)))?;
        let store = Arc::new(self);
        runtime.register_object_store(url.as_ref(), store.clone());
        Ok(Registered { runtime: runtime.clone(), url, store })
    }

    fn find(&self, location: &Path) -> Result<&Held> {
        self.files.get(location).ok_or_else(|| Error::NotFound {
            path: location.to_string(),
            source: "it was not there when the table was looked at".into(),
        })
    }
}

impl Registered {
    /// Its address.
    pub fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = self.runtime.deregister_object_store(self.url.as_ref());
    }
}

fn locate(root: &str, path: &str) -> Path {
    // as it is on disk: `Path::from` would encode it once more
    let whole = if path.is_empty() { root.to_owned() } else { format!("{root}/{path}") };
    Path::parse(&whole).unwrap_or_else(|_| Path::from(whole))
}

fn failed(file: &ObjectMeta, source: std::io::Error) -> Error {
    let path = file.location.to_string();
    match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Error::NotFound { path, source: source.into() }
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::CrossesDevices => {
            Error::PermissionDenied { path, source: source.into() }
        }
        _ => Error::Generic { store: "files", source: source.into() },
    }
}

fn ending(location: &Path) -> Option<&str> {
    location.filename()?.rsplit_once('.').map(|(_, ending)| ending)
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({}, {} files)", self.root, self.files.len())
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.url, self.store)
    }
}

#[async_trait]
impl ObjectStore for Snapshot {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let held = self.find(location)?;
        let meta = held.located(location);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range
                .as_range(meta.size)
                .map_err(|source| Error::Generic { store: "files", source: Box::new(source) })?,
            None => 0..meta.size,
        };
        if options.head {
            let payload = GetResultPayload::Stream(stream::empty().boxed());
            return Ok(GetResult { payload, meta, range, attributes: Attributes::new() });
        }
        if let Place::Folder(folder) = &self.place
            && matches!(ending(location), Some("arrow" | "feather" | "ipc"))
        {
            // the reader of Arrow files wants to seek
            let opened =
                folder.file(held.file.location.as_ref()).map_err(|error| failed(&held.file, error))?;
            count_bytes(range.end - range.start);
            let payload = GetResultPayload::File(opened, location.as_ref().into());
            return Ok(GetResult { payload, meta, range, attributes: Attributes::new() });
        }
        let (place, held, end) = (self.place.clone(), held.clone(), range.end);
        let payload = stream::iter((range.start..range.end).step_by(PIECE as usize))
            .map(move |start| {
                let (place, held) = (place.clone(), held.clone());
                async move {
                    let piece = start..(start + PIECE).min(end);
                    let mut pieces = held.read(&place, std::slice::from_ref(&piece)).await?;
                    Ok(pieces.pop().unwrap_or_default())
                }
            })
            .buffered(AHEAD)
            .boxed();
        let payload = GetResultPayload::Stream(payload);
        Ok(GetResult { payload, meta, range, attributes: Attributes::new() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.find(location)?.read(&self.place, ranges).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let wanted = |location: &Path| prefix.is_none_or(|prefix| location.prefix_matches(prefix));
        let files = self.files.iter().filter(|(location, _)| wanted(location));
        let files: Vec<_> = files.map(|(location, held)| Ok(held.located(location))).collect();
        stream::iter(files).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        let prefix = prefix.unwrap_or(&root);
        let (mut folders, mut objects) = (BTreeSet::new(), Vec::new());
        for (location, held) in &self.files {
            let Some(mut parts) = location.prefix_match(prefix) else { continue };
            let Some(first) = parts.next() else { continue };
            if parts.next().is_some() {
                folders.insert(prefix.clone().join(first));
            } else {
                objects.push(held.located(location));
            }
        }
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        refused("put")
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        refused("put")
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::iter([refused("delete")]).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refused("copy")
    }
}

fn refused<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: "files".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beneath::Beneath;
    use object_store::ObjectStoreExt;

    async fn some() -> (tempfile::TempDir, Snapshot) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("t/day=1")).unwrap();
        std::fs::write(dir.path().join("t/day=1/a.csv"), "hello").unwrap();
        std::fs::write(dir.path().join("t/b.csv"), "x").unwrap();
        let place = Place::Folder(Beneath::open(dir.path(), "root").unwrap());
        let laid = |meta: ObjectMeta| Laid { path: meta.location.to_string(), meta, from: 0 };
        let files = place.files("t").await.unwrap().into_iter().map(laid).collect();
        (dir, Snapshot::new(place, "root", files))
    }

    #[tokio::test]
    async fn reads_what_was_listed_and_nothing_else() {
        let (dir, store) = some().await;
        std::fs::write(dir.path().join("t/later.csv"), "x").unwrap();
        let path = Path::from("root/t/day=1/a.csv");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "hello");
        assert_eq!(store.get_range(&path, 1..3).await.unwrap(), "el");
        assert_eq!(store.get_ranges(&path, &[0..1, 4..5]).await.unwrap(), ["h", "o"]);
        assert_eq!(store.head(&path).await.unwrap().size, 5);
        assert!(store.get(&Path::from("root/t/later.csv")).await.is_err());
        assert!(store.put(&path, "x".into()).await.is_err());
        std::fs::write(dir.path().join("t/day=1/a.csv"), "hel").unwrap();
        let error = store.get_range(&path, 1..5).await.unwrap_err().to_string();
        assert!(!error.contains(dir.path().to_str().unwrap()), "{error}");
    }

    #[tokio::test]
    async fn lists_by_prefix_and_by_folder() {
        let (_dir, store) = some().await;
        let all: Vec<_> = store.list(Some(&Path::from("root/t"))).collect().await;
        assert_eq!(all.len(), 2);
        let top = store.list_with_delimiter(Some(&Path::from("root/t"))).await.unwrap();
        assert_eq!(top.common_prefixes, [Path::from("root/t/day=1")]);
        assert_eq!(top.objects.len(), 1);
        assert_eq!(top.objects[0].location, Path::from("root/t/b.csv"));
        assert!(store.list_with_delimiter(Some(&Path::from("other"))).await.unwrap().objects.is_empty());
    }
}
