//! Which datasets there are: folders and files named by the configuration, looked at when somebody asks, never at start.
//! A catalog's folder may hold `_catalog.toml` with descriptions (`notes`).

mod attached;
mod folder;
mod notes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use crate::beneath::Beneath;
use crate::cluster::{Broker, Cluster};
use crate::config::{Config, DatasetEntry, Format, Where};
use crate::place::Place;
use attached::{Attached, One};
use carrel_source::Location;
use folder::Folder;
use futures::future::join_all;

/// All datasets of the configuration.
#[derive(Debug)]
pub struct Catalog {
    schemas: BTreeMap<String, Schema>,
    attached: Attached,
    broker: Option<Arc<Broker>>,
}

#[derive(Debug, Default)]
struct Schema {
    folder: Option<Folder>,
    single: BTreeMap<String, Dataset>,
}

/// A dataset: where it is and what people say about it.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its schema; empty for what a session attached by itself.
    pub schema: String,
    /// Its name in the schema.
    pub table: String,
    /// Where its files are.
    pub source: Source,
    /// What it holds.
    pub description: Option<String>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// What its columns mean.
    pub comments: BTreeMap<String, String>,
    /// False if the cluster does not let this user read it: then it is not listed, and says so when it is named.
    pub readable: bool,
}

impl Dataset {
    /// `schema.table`
    pub fn name(&self) -> String {
        if self.schema.is_empty() {
            return self.table.clone();
        }
        format!("{}.{}", self.schema, self.table)
    }
}

/// Files: a folder or one file of a place.
#[derive(Clone, Debug)]
pub struct Source {
    /// The place that nothing leads out of.
    pub root: Arc<Root>,
    /// The path beneath it; empty is the root itself.
    pub path: String,
    /// The format, if it was told.
    pub format: Option<Format>,
}

impl Source {
    /// A folder or a file of a cluster: the root is the folder that it is in, so that a file has a name.
    pub fn on_cluster(broker: Option<&Arc<Broker>>, at: &Location, format: Option<Format>) -> Self {
        let (root, path) = match at.parent() {
            Some(parent) => (parent, at.file_name().to_owned()),
            None => (at.clone(), String::new()),
        };
        Self { root: Root::cluster(broker.cloned(), root), path, format }
    }
}

/// A place that is read, opened on first use.
#[derive(Debug)]
pub struct Root {
    name: String,
    at: At,
    opened: OnceLock<Place>,
    /// Whether the user may read it, and when that was asked.
    checked: Mutex<Option<(Instant, bool)>>,
}

#[derive(Debug)]
enum At {
    Folder(PathBuf),
    /// Without a broker it cannot be opened.
    Cluster(Option<Arc<Broker>>, Location),
}

impl Root {
    /// A folder of this machine; `name` tells it from other roots.
    pub fn folder(name: impl Into<String>, path: PathBuf) -> Arc<Self> {
        Self::new(name.into(), At::Folder(path))
    }

    /// A place of a cluster, named by where it is.
    pub fn cluster(broker: Option<Arc<Broker>>, at: Location) -> Arc<Self> {
        let name = format!("hdfs/{}{}", at.cluster().replace(':', "-"), at.path().trim_end_matches('/'));
        Self::new(name, At::Cluster(broker, at))
    }

    fn new(name: String, at: At) -> Arc<Self> {
        Arc::new(Self { name, at, opened: OnceLock::new(), checked: Mutex::default() })
    }

    /// Its name, unlike that of all other roots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the paths of its files begin with where people see them: nothing for a folder of this machine.
    pub fn address(&self) -> String {
        match &self.at {
            At::Folder(_) => String::new(),
            At::Cluster(_, at) => format!("hdfs://{}{}/", at.cluster(), at.path().trim_end_matches('/')),
        }
    }

    /// Whether it is part of a cluster.
    pub fn is_remote(&self) -> bool {
        matches!(self.at, At::Cluster(..))
    }

    /// The opened place.
    pub fn open(&self) -> std::io::Result<&Place> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = match &self.at {
            At::Folder(path) => Place::Folder(Beneath::open(path, &self.name)?),
            At::Cluster(Some(broker), at) => Place::Cluster(Cluster::new(broker.clone(), at.clone())),
            At::Cluster(None, _) => return Err(crate::cluster::no_broker()),
        };
        Ok(self.opened.get_or_init(|| opened))
    }
}

impl Catalog {
    /// The datasets of a configuration; those of a cluster are reached through the broker. Nothing is opened.
    pub fn new(config: &Config, broker: Option<&Arc<Broker>>) -> Self {
        let mut schemas = BTreeMap::<String, Schema>::new();
        for entry in &config.catalogs {
            let root = match &entry.path {
                Where::Here(path) => Root::folder(entry.name.clone(), path.clone()),
                Where::Cluster(at) => Root::cluster(broker.cloned(), at.clone()),
            };
            let folder = Folder::new(&entry.name, root, entry.description.clone(), entry.owner.clone());
            schemas.entry(entry.name.clone()).or_default().folder = Some(folder);
        }
        for entry in &config.datasets {
            let Some((schema, table)) = entry.name.split_once('.') else { continue };
            let dataset = single(entry, schema, table, broker);
            schemas.entry(schema.to_owned()).or_default().single.insert(table.to_owned(), dataset);
        }
        Self { schemas, attached: Attached::default(), broker: broker.cloned() }
    }

    /// The way to the cluster, if there is one.
    pub fn broker(&self) -> Option<&Arc<Broker>> {
        self.broker.as_ref()
    }

    /// The schemas' names.
    pub fn schemas(&self) -> Vec<String> {
        let attached = self.attached.lock();
        let more = attached.iter().filter(|(_, one)| matches!(one, One::Schema(..))).map(|(name, _)| name);
        self.schemas.keys().chain(more).cloned().collect()
    }

    /// A schema's datasets that this user may read.
    pub async fn datasets(&self, schema: &str) -> Vec<Dataset> {
        let mut all = self.with_unreadable(schema).await;
        all.retain(|dataset| dataset.readable);
        all
    }

    /// All datasets that this user may read.
    pub async fn all(&self) -> Vec<Dataset> {
        let names = self.schemas();
        let mut schemas = Vec::new();
        for schema in &names {
            schemas.push(self.datasets(schema));
        }
        let all = join_all(schemas).await.into_iter().flatten();
        all.chain(self.attached_tables()).collect()
    }

    /// The names of a schema's datasets as far as they are known without asking a cluster.
    pub fn known(&self, schema: &str) -> Vec<String> {
        let Some(entry) = self.schemas.get(schema) else {
            return self.attached_schema(schema).map(|folder| folder.known()).unwrap_or_default();
        };
        let mut names: Vec<_> = entry.folder.iter().flat_map(Folder::known).collect();
        names.extend(entry.single.keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    /// The dataset with this name, readable or not.
    pub async fn find(&self, schema: &str, table: &str) -> Option<Dataset> {
        let found = self.with_unreadable(schema).await.into_iter().find(|dataset| dataset.table == table);
        let folder = self.schemas.get(schema).and_then(|entry| entry.folder.as_ref());
        found.or_else(|| folder?.behind_closed_doors(table))
    }

    /// The datasets of any schema with this name; unreadable ones only if there is no other.
    pub async fn find_bare(&self, table: &str) -> Vec<Dataset> {
        if let Some(attached) = self.attached_tables().into_iter().find(|dataset| dataset.table == table) {
            return vec![attached];
        }
        let names = self.schemas();
        let mut schemas = Vec::new();
        for schema in &names {
            schemas.push(self.with_unreadable(schema));
        }
        let all = join_all(schemas).await.into_iter().flatten();
        let found: Vec<_> = all.filter(|dataset| dataset.table == table).collect();
        let readable: Vec<_> = found.iter().filter(|dataset| dataset.readable).cloned().collect();
        if readable.is_empty() { found } else { readable }
    }

    async fn with_unreadable(&self, schema: &str) -> Vec<Dataset> {
        let Some(entry) = self.schemas.get(schema) else {
            return match self.attached_schema(schema) {
                Some(folder) => folder.list().await,
                None => Vec::new(),
            };
        };
        let mut found = BTreeMap::new();
        let mut readable = Vec::new();
        for dataset in entry.single.values() {
            readable.push(folder::may_read(&dataset.source));
        }
        for (dataset, readable) in entry.single.values().zip(join_all(readable).await) {
            found.insert(dataset.table.clone(), Dataset { readable, ..dataset.clone() });
        }
        if let Some(folder) = &entry.folder {
            for dataset in folder.list().await {
                found.entry(dataset.table.clone()).or_insert(dataset);
            }
        }
        found.into_values().collect()
    }

    fn attached_tables(&self) -> Vec<Dataset> {
        let attached = self.attached.lock();
        let table = |one: &One| match one {
            One::Table(_, dataset) => Some(dataset.as_ref().clone()),
            One::Schema(..) => None,
        };
        attached.values().filter_map(table).collect()
    }

    fn attached_schema(&self, name: &str) -> Option<Arc<Folder>> {
        match self.attached.lock().get(name) {
            Some(One::Schema(_, folder)) => Some(folder.clone()),
            _ => None,
        }
    }
}

/// A dataset that the configuration names by itself.
fn single(entry: &DatasetEntry, schema: &str, table: &str, broker: Option<&Arc<Broker>>) -> Dataset {
    let format = entry.format;
    let source = match &entry.path {
        Where::Here(path) => match (path.extension(), path.parent(), path.file_name()) {
            // a path that looks like a file is one: its folder is the root
            (Some(_), Some(parent), Some(name)) => {
                let root = Root::folder(entry.name.clone(), parent.to_owned());
                Source { root, path: name.to_string_lossy().into_owned(), format }
            }
            _ => Source { root: Root::folder(entry.name.clone(), path.clone()), path: String::new(), format },
        },
        Where::Cluster(at) => Source::on_cluster(broker, at, format),
    };
    Dataset {
        schema: schema.to_owned(),
        table: table.to_owned(),
        source,
        description: entry.description.clone(),
        owner: entry.owner.clone(),
        comments: BTreeMap::new(),
        readable: true,
    }
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// Not at all.
    No,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

/// What a data file's name tells: the name without its ending, the ending.
pub fn data_file(name: &str) -> Option<(&str, &str)> {
    let base = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    let (stem, ending) = base.rsplit_once('.')?;
    let whole = &name[stem.len() + 1..];
    (!stem.is_empty() && !ending.is_empty() && format_of(whole).is_some()).then_some((stem, whole))
}

/// Format and packing by a file name's ending, such as `csv.gz`.
pub fn format_of(ending: &str) -> Option<(Format, Packed)> {
    let (base, packed) = match ending.split_once('.') {
        Some((base, "gz")) => (base, Packed::Gzip),
        Some((base, "zst")) => (base, Packed::Zstd),
        Some(_) => return None,
        None => (ending, Packed::No),
    };
    let format = match base {
        "parquet" | "pq" => Format::Parquet,
        "csv" | "tsv" => Format::Csv,
        "ndjson" | "jsonl" | "json" => Format::Ndjson,
        "arrow" | "feather" | "ipc" => Format::Arrow,
        "avro" => Format::Avro,
        _ => return None,
    };
    (packed == Packed::No || matches!(format, Format::Csv | Format::Ndjson)).then_some((format, packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_and_files_are_tables() {
        let dir = tempfile::tempdir().unwrap();
        let tpch = dir.path().join("tpch");
        std::fs::create_dir_all(tpch.join("orders")).unwrap();
        std::fs::write(tpch.join("nation.parquet"), "").unwrap();
        std::fs::write(tpch.join("notes.txt"), "").unwrap();
        std::fs::write(tpch.join("ev.ndjson.gz"), "").unwrap();
        std::fs::write(
            tpch.join("_catalog.toml"),
            "[table.nation]\ndescription='25'\n[table.nation.columns]\nn_name='name'",
        )
        .unwrap();
        let text = format!(
            "[[catalog]]\nname='tpch'\npath={0:?}\nowner='ops'\n[[catalog]]\nname='gone'\npath='/none'\n\
             [[dataset]]\nname='tpch.nation2'\npath='{1}/nation.parquet'",
            tpch.to_str().unwrap(),
            tpch.display()
        );
        let catalog = Catalog::new(&Config::parse(&text).unwrap(), None);
        let names: Vec<_> = catalog.all().await.iter().map(Dataset::name).collect();
        assert_eq!(names, ["tpch.ev", "tpch.nation", "tpch.nation2", "tpch.orders"]);
        assert_eq!(catalog.known("tpch"), ["ev", "nation", "nation2", "orders"]);
        let nation = catalog.find("tpch", "nation").await.unwrap();
        assert_eq!((nation.description.as_deref(), nation.owner.as_deref()), (Some("25"), Some("ops")));
        assert_eq!(nation.comments["n_name"], "name");
        assert_eq!(catalog.find_bare("orders").await.len(), 1);
        assert!(catalog.find("tpch", "none").await.is_none());
    }

    #[test]
    fn endings() {
        assert_eq!(data_file("a.b.csv.gz"), Some(("a.b", "csv.gz")));
        assert_eq!(data_file("x.parquet.gz"), None);
        assert_eq!(data_file("README.md"), None);
    }
}
