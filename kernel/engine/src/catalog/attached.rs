//! What a session has attached: places on the cluster under names of its own, kept in scratch so that an engine that comes back has them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrel_cell::problem::{Ename, Problem};
use carrel_source::Location;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{Catalog, Dataset, Root, Source, data_file};
use crate::cluster::{Broker, no_broker};
use crate::place::Item;
use crate::scratch::Scratch;

/// Its file in scratch.
const FILE: &str = "attached.json";

/// By name.
#[derive(Debug, Default)]
pub(super) struct Attached(Mutex<BTreeMap<String, One>>);

#[derive(Clone, Debug)]
pub(super) enum One {
    Table(Location, Box<Dataset>),
    Schema(Location, Arc<Folder>),
}

/// As it is written.
#[derive(Deserialize, Serialize)]
struct Kept {
    name: String,
    at: Location,
    table: bool,
}

impl Attached {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl One {
    fn new(name: &str, at: Location, table: bool, broker: &Arc<Broker>) -> Self {
        if !table {
            let root = Root::cluster(Some(broker.clone()), at.clone());
            return Self::Schema(at, Arc::new(Folder::new(name, root, None, None)));
        }
        let source = Source::on_cluster(Some(broker), &at, None);
        let dataset = Dataset {
            schema: String::new(),
            table: name.to_owned(),
            source,
            description: Some(format!("attached from {at}")),
            owner: None,
            comments: BTreeMap::new(),
            readable: true,
        };
        Self::Table(at, Box::new(dataset))
    }
}

impl Catalog {
    /// Whether a schema or something attached has this name.
    pub fn has(&self, name: &str) -> bool {
        self.schemas.contains_key(name) || self.attached.lock().contains_key(name)
    }

    /// The names of what is attached.
    pub fn attached(&self) -> Vec<String> {
        self.attached.lock().keys().cloned().collect()
    }

    /// Looks at a place and attaches it; gives what it is in words.
    ///
    /// # Errors
    /// When it cannot be listed, or holds nothing.
    pub async fn attach(&self, name: &str, at: Location) -> io::Result<&'static str> {
        let Some(broker) = &self.broker else { return Err(no_broker()) };
        let one = One::new(name, at.clone(), true, broker);
        let One::Table(_, dataset) = &one else { return Err(io::ErrorKind::Other.into()) };
        let Source { root, path, .. } = &dataset.source;
        let items = root.open()?.items(path).await?;
        let table = is_table(&items);
        if items.is_empty() {
            let problem = Problem::new(Ename::FileNotFound, format!("{at} is empty"));
            return Err(io::Error::other(problem.hint("hidden and unfinished files do not count")));
        }
        let one = if table { one } else { One::new(name, at, false, broker) };
        self.attached.lock().insert(name.to_owned(), one);
        Ok(if table { "a table" } else { "a schema" })
    }

    /// Whether there was such a thing to take away.
    pub fn detach(&self, name: &str) -> bool {
        self.attached.lock().remove(name).is_some()
    }

    /// Takes everything away.
    pub fn detach_all(&self) {
        self.attached.lock().clear();
    }

    /// Writes it down in scratch.
    ///
    /// # Errors
    /// When scratch is full.
    pub fn save(&self, scratch: &Scratch) -> Result<(), Problem> {
        let kept: Vec<Kept> = self.attached.lock().iter().map(|(name, one)| kept(name, one)).collect();
        let bytes = serde_json::to_vec(&kept).map_err(|error| {
            carrel_query::problems::internal("what is attached cannot be written", &error)
        })?;
        scratch.put(FILE, &bytes)
    }

    /// Reads what an earlier engine of the session wrote down. Nothing is looked at.
    pub fn load(&self, scratch: &Scratch) {
        let (Some(broker), Ok(bytes)) = (&self.broker, std::fs::read(scratch.path().join(FILE))) else {
            return;
        };
        let kept: Vec<Kept> = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was attached cannot be read");
            Vec::new()
        });
        let ones = kept.into_iter().map(|Kept { name, at, table }| {
            let one = One::new(&name, at, table, broker);
            (name, one)
        });
        self.attached.lock().extend(ones);
    }
}

fn kept(name: &str, one: &One) -> Kept {
    let (at, table) = match one {
        One::Table(at, _) => (at, true),
        One::Schema(at, _) => (at, false),
    };
    Kept { name: name.to_owned(), at: at.clone(), table }
}

/// Files, or folders that are partitions of files, are one table.
fn is_table(items: &[Item]) -> bool {
    if items.iter().any(|item| !item.folder && (item.name.is_empty() || data_file(&item.name).is_some())) {
        return true;
    }
    // where only files are whose names do not tell, reading says so
    items.iter().find(|item| item.folder).is_none_or(|folder| folder.name.contains('='))
}
