//! Where files lie: beneath a folder of this machine, or beneath a path of a cluster behind the broker. Everything that reads a
//! dataset or a file of the home asks here; nothing else knows the difference.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use object_store::ObjectMeta;
use rustix::fs::FileType;

use crate::beneath::Beneath;
use crate::cluster::Cluster;
use carrel_query::problems::kind_text;

/// A place that holds files.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of this machine.
    Folder(Beneath),
    /// A folder or file of a cluster.
    Cluster(Cluster),
}

/// Something in a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// Its name, without the folders above.
    pub name: String,
    /// A folder, else a file.
    pub folder: bool,
}

/// Longest text that [`Place::text`] reads.
const MOST_TEXT: u64 = 1 << 20;

impl Place {
    /// All data files below a path, or the file itself, in order of their paths.
    pub async fn files(&self, path: &str) -> io::Result<Vec<ObjectMeta>> {
        match self {
            Self::Folder(folder) => blocking(folder, path, Beneath::walk).await,
            Self::Cluster(cluster) => cluster.files(path).await,
        }
    }

    /// The data files that lie in a folder itself, in order of their paths.
    pub async fn files_in(&self, path: &str) -> io::Result<Vec<ObjectMeta>> {
        match self {
            Self::Folder(folder) => blocking(folder, path, Beneath::files_in).await,
            Self::Cluster(cluster) => cluster.files_in(path).await,
        }
    }

    /// What lies in a folder, without what is hidden, in order.
    pub async fn items(&self, path: &str) -> io::Result<Vec<Item>> {
        match self {
            Self::Folder(folder) => {
                let entries = blocking(folder, path, Beneath::entries).await?;
                let item = |(name, kind)| match kind {
                    FileType::Directory => Some(Item { name, folder: true }),
                    FileType::RegularFile => Some(Item { name, folder: false }),
                    _ => None,
                };
                Ok(entries.into_iter().filter_map(item).collect())
            }
            Self::Cluster(cluster) => cluster.items(path).await,
        }
    }

    /// Whether there is a folder at this path.
    pub async fn is_folder(&self, path: &str) -> io::Result<bool> {
        match self {
            Self::Folder(folder) => {
                blocking(folder, path, |folder, path| Ok(folder.kind(path) == Some(FileType::Directory)))
                    .await
            }
            Self::Cluster(cluster) => cluster.is_folder(path).await,
        }
    }

    /// A small text file.
    pub async fn text(&self, path: &str) -> io::Result<String> {
        match self {
            Self::Folder(folder) => {
                blocking(folder, path, |folder, path| {
                    io::read_to_string(io::Read::take(folder.file(path)?, MOST_TEXT))
                })
                .await
            }
            Self::Cluster(cluster) => {
                let files = cluster.files(path).await?;
                let [file] = files.as_slice() else { return Err(io::ErrorKind::IsADirectory.into()) };
                let whole = 0..file.size.min(MOST_TEXT);
                let whole = cluster.ranges(file, std::slice::from_ref(&whole)).await?;
                let text = whole.first().map(|bytes| bytes.to_vec()).unwrap_or_default();
                String::from_utf8(text).map_err(io::Error::other)
            }
        }
    }

    /// Parts of a file, in the order asked for. A file that is shorter than that is an error.
    pub async fn ranges(&self, file: &ObjectMeta, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        match self {
            Self::Folder(folder) => {
                let ranges = ranges.to_vec();
                blocking(folder, file.location.as_ref(), move |folder, path| folder.ranges(path, &ranges))
                    .await
            }
            Self::Cluster(cluster) => cluster.ranges(file, ranges).await,
        }
    }
}

async fn blocking<T: Send + 'static>(
    folder: &Beneath,
    path: &str,
    work: impl FnOnce(&Beneath, &str) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (folder, path) = (folder.clone(), path.to_owned());
    tokio::task::spawn_blocking(move || work(&folder, &path)).await?
}

/// Why a dataset or a file called `label` cannot be read.
pub fn unreadable(label: &str, error: &io::Error) -> Problem {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Problem>()) {
        Some(problem) => problem.clone(),
        None => Problem::new(Ename::FileNotFound, format!("{label} cannot be read: {}", kind_text(error))),
    }
}
