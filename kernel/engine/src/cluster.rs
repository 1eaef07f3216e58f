//! A part of a cluster: files that lie there are listed and read through the broker. Where the cluster says no, its words come out.

mod client;
mod connection;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use carrel_source::request::{MAX_CHECKED, MAX_RANGES, MAX_READ, Purpose};
use carrel_source::{Access, Entry, Location, Request};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::lanes;
use crate::place::Item;
pub use client::Broker;

/// A folder or file of a cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    broker: Arc<Broker>,
    root: Location,
    /// What people call what is read, for the audit.
    dataset: Arc<str>,
}

impl Cluster {
    /// What lies at this place.
    pub fn new(broker: Arc<Broker>, root: Location) -> Self {
        Self { broker, root, dataset: "".into() }
    }

    /// The same, read as this dataset.
    #[must_use]
    pub fn called(&self, dataset: &str) -> Self {
        Self { dataset: dataset.into(), ..self.clone() }
    }

    /// The place itself.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// All data files below a path, or the file itself, in order.
    pub async fn files(&self, path: &str) -> io::Result<Vec<ObjectMeta>> {
        self.listed(path, true).await
    }

    /// The data files that lie in a folder itself, in order.
    pub async fn files_in(&self, path: &str) -> io::Result<Vec<ObjectMeta>> {
        self.listed(path, false).await
    }

    async fn listed(&self, path: &str, recursive: bool) -> io::Result<Vec<ObjectMeta>> {
        let entries = self.list(path, recursive).await?;
        let whole = |entry: &Entry| match (path, entry.path.as_str()) {
            ("", below) => below.to_owned(),
            (path, "") => path.to_owned(),
            (path, below) => format!("{path}/{below}"),
        };
        let mut files: Vec<_> =
            entries.iter().filter(|entry| !entry.folder).map(|entry| meta(&whole(entry), entry)).collect();
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }

    /// What lies in a folder, in order.
    pub async fn items(&self, path: &str) -> io::Result<Vec<Item>> {
        let entries = self.list(path, false).await?;
        let mut items: Vec<_> =
            entries.into_iter().map(|entry| Item { name: entry.path, folder: entry.folder }).collect();
        items.sort();
        Ok(items)
    }

    /// Whether there is a folder at this path.
    pub async fn is_folder(&self, path: &str) -> io::Result<bool> {
        let entries = self.list(path, false).await?;
        Ok(!matches!(entries.as_slice(), [only] if only.path.is_empty()))
    }

    /// Which of these paths may be listed or read.
    pub async fn access(&self, paths: &[String]) -> io::Result<Vec<Access>> {
        let mut all = Vec::with_capacity(paths.len());
        for some in paths.chunks(MAX_CHECKED) {
            let places = some.iter().map(|path| self.at(path)).collect::<io::Result<_>>()?;
            let request = Request::Check { places, purpose: self.purpose() };
            all.extend(self.broker.check(request, some.len()).await?);
        }
        Ok(all)
    }

    /// Parts of a file that was listed, in the order asked for.
    pub async fn ranges(&self, file: &ObjectMeta, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        let at = self.at(file.location.as_ref())?;
        let purpose = self.purpose();
        self.broker.tell_the_end();
        let mut read = Vec::with_capacity(ranges.len());
        for some in portions(ranges) {
            let request = Request::Read {
                file: at.clone(),
                size: file.size,
                modified_ms: file.last_modified.timestamp_millis(),
                ranges: some.iter().map(|range| (range.start, range.end)).collect(),
                purpose: purpose.clone(),
            };
            read.extend(self.broker.read(request, some).await?);
        }
        Ok(joined(read, ranges))
    }

    async fn list(&self, path: &str, recursive: bool) -> io::Result<Vec<Entry>> {
        self.broker.list(Request::List { at: self.at(path)?, recursive, purpose: self.purpose() }).await
    }

    fn at(&self, path: &str) -> io::Result<Location> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        self.root.below(path).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    fn purpose(&self) -> Purpose {
        let statement = lanes::current().map(|run| run.handle.clone()).unwrap_or_default();
        Purpose { statement, dataset: self.dataset.to_string() }
    }
}

/// What is said where a configuration names a cluster and nobody runs a broker.
pub fn no_broker() -> io::Error {
    let problem =
        Problem::new(Ename::SourceUnavailable, "this installation reads no cluster: it has no broker");
    io::Error::other(problem.hint("an administrator can set it up under [hdfs] in carrel.toml"))
}

fn meta(path: &str, entry: &Entry) -> ObjectMeta {
    ObjectMeta {
        location: Path::parse(path).unwrap_or_else(|_| Path::from(path)),
        last_modified: time(entry.modified_ms).into(),
        size: entry.size,
        e_tag: None,
        version: None,
    }
}

fn time(modified_ms: i64) -> SystemTime {
    let since = Duration::from_millis(modified_ms.unsigned_abs());
    let time = match modified_ms {
        0.. => SystemTime::UNIX_EPOCH.checked_add(since),
        _ => SystemTime::UNIX_EPOCH.checked_sub(since),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What one request may ask for at a time: ranges that are too long are cut, many are spread over several requests.
fn portions(ranges: &[Range<u64>]) -> Vec<Vec<Range<u64>>> {
    let mut portions: Vec<Vec<Range<u64>>> = Vec::new();
    let mut room = 0;
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let full = portions.last().is_none_or(|last| room == 0 || last.len() >= MAX_RANGES);
            if full {
                portions.push(Vec::new());
                room = MAX_READ;
            }
            let end = range.end.min(start + room);
            if let Some(last) = portions.last_mut() {
                last.push(start..end);
            }
            room -= end - start;
            start = end;
        }
    }
    portions
}

/// The pieces that ranges were cut into, put together again.
fn joined(pieces: Vec<Bytes>, ranges: &[Range<u64>]) -> Vec<Bytes> {
    let mut pieces = pieces.into_iter();
    let whole = |range: &Range<u64>| {
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut whole = if wanted == 0 { Bytes::new() } else { pieces.next().unwrap_or_default() };
        while whole.len() < wanted {
            let Some(more) = pieces.next() else { break };
            whole = [whole, more].concat().into();
        }
        whole
    };
    ranges.iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ranges_are_cut_and_joined() {
        let ranges = [0..10, 10..10, 5..5 + MAX_READ, 1..3];
        let portions = portions(&ranges);
        assert_eq!(portions, [vec![0..10, 5..MAX_READ - 5], vec![MAX_READ - 5..MAX_READ + 5, 1..3]]);
        let small = [0..3, 4..4, 7..12];
        let pieces = ["abc", "de", "fgh"].map(Bytes::from).to_vec();
        assert_eq!(joined(pieces, &small), ["abc", "", "defgh"]);
        let many = vec![0..1; MAX_RANGES + 1];
        assert_eq!(super::portions(&many).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_RANGES, 1]);
    }
}
