//! A catalog's folder: every folder and every data file in it is a dataset. A cluster is not asked again for a moment.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carrel_source::Access;

use super::{Dataset, Root, Source, data_file, notes};
use crate::place::{Item, Place};

/// How long a cluster's list is good for. What may be read is decided by the cluster at every read, whatever the list says.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Folder {
    schema: String,
    root: Arc<Root>,
    description: Option<String>,
    owner: Option<String>,
    seen: Mutex<Option<(Instant, Vec<Dataset>)>>,
    /// The cluster does not let this user look into the folder itself.
    closed: AtomicBool,
}

impl Folder {
    pub(super) fn new(
        schema: &str,
        root: Arc<Root>,
        description: Option<String>,
        owner: Option<String>,
    ) -> Self {
        let (seen, closed) = (Mutex::default(), AtomicBool::new(false));
        Self { schema: schema.to_owned(), root, description, owner, seen, closed }
    }

    /// The names of the datasets when they were last looked at.
    pub(super) fn known(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let datasets = seen.iter().flat_map(|(_, datasets)| datasets);
        datasets.filter(|dataset| dataset.readable).map(|dataset| dataset.table.clone()).collect()
    }

    /// All datasets, those that may not be read too; none if the folder itself cannot be listed.
    pub(super) async fn list(&self) -> Vec<Dataset> {
        if self.root.is_remote()
            && let Some((looked, datasets)) = &*self.seen.lock().unwrap_or_else(PoisonError::into_inner)
            && looked.elapsed() < FRESH
        {
            return datasets.clone();
        }
        let looked = self.look().await;
        let denied = looked.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        self.closed.store(denied && self.root.is_remote(), Ordering::Relaxed);
        let datasets = match looked {
            Ok(datasets) => datasets,
            // that is for who names a dataset of it
            Err(_) if denied && self.root.is_remote() => Vec::new(),
            Err(error) => {
                tracing::warn!(catalog = self.schema, %error, "a catalog's folder cannot be read");
                Vec::new()
            }
        };
        let seen = (Instant::now(), datasets.clone());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        datasets
    }

    /// Any name in a folder that may not be looked into: reading it says who lacks what, and nothing about what is there.
    pub(super) fn behind_closed_doors(&self, table: &str) -> Option<Dataset> {
        self.closed.load(Ordering::Relaxed).then(|| Dataset {
            schema: self.schema.clone(),
            table: table.to_owned(),
            source: Source { root: self.root.clone(), path: table.to_owned(), format: None },
            description: None,
            owner: None,
            comments: BTreeMap::new(),
            readable: false,
        })
    }

    async fn look(&self) -> std::io::Result<Vec<Dataset>> {
        let place = self.root.open()?;
        let items = place.items("").await?;
        let readable = readable(place, &items).await?;
        let notes = notes::read(place, &self.schema).await;
        let mut found = BTreeMap::<String, Dataset>::new();
        for (item, readable) in items.iter().zip(readable) {
            let table = match data_file(&item.name) {
                _ if item.folder => item.name.as_str(),
                Some((stem, _)) => stem,
                None => continue,
            };
            let table = table.to_lowercase();
            let notes = notes.table.get(&table).cloned().unwrap_or_default();
            // a folder wins over a file of the same name: items are sorted, so the shorter name comes first
            found.entry(table.clone()).or_insert_with(|| Dataset {
                schema: self.schema.clone(),
                table,
                source: Source { root: self.root.clone(), path: item.name.clone(), format: None },
                description: notes.description.or_else(|| self.description.clone()),
                owner: notes.owner.or_else(|| self.owner.clone()),
                comments: notes.columns,
                readable,
            });
        }
        Ok(found.into_values().collect())
    }
}

/// Which of these may be read. Folders of this machine were made for reading; a cluster is asked.
async fn readable(place: &Place, items: &[Item]) -> std::io::Result<Vec<bool>> {
    let Place::Cluster(cluster) = place else { return Ok(vec![true; items.len()]) };
    let names: Vec<_> = items.iter().map(|item| item.name.clone()).collect();
    let access = cluster.access(&names).await?;
    Ok(access.into_iter().map(may).collect())
}

/// Whether a dataset that is named by itself may be read.
pub(super) async fn may_read(source: &Source) -> bool {
    let Ok(Place::Cluster(cluster)) = source.root.open() else { return true };
    let checked = &source.root.checked;
    if let Some((looked, readable)) = *checked.lock().unwrap_or_else(PoisonError::into_inner)
        && looked.elapsed() < FRESH
    {
        return readable;
    }
    let readable = match cluster.access(std::slice::from_ref(&source.path)).await {
        Ok(access) => access.into_iter().all(may),
        Err(error) => {
            tracing::warn!(root = source.root.name(), %error, "a dataset cannot be looked at");
            true
        }
    };
    *checked.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), readable));
    readable
}

/// What could not be found out is shown: reading it will say why.
fn may(access: Access) -> bool {
    matches!(access, Access::Yes | Access::Unknown)
}
