//! Which datasets there are: folders and files named by the configuration, listed when somebody asks, never at start.
//! A catalog's folder may hold `_catalog.toml` with descriptions: `[table.clicks] description = "…", owner = "…"` and
//! `[table.clicks.columns] clicked = "…"`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustix::fs::FileType;
use serde::Deserialize;

use crate::beneath::Beneath;
use crate::config::{Config, Format};

/// All datasets of the configuration.
#[derive(Debug)]
pub struct Catalog {
    schemas: BTreeMap<String, Schema>,
}

#[derive(Debug, Default)]
struct Schema {
    folder: Option<Folder>,
    single: BTreeMap<String, Dataset>,
}

#[derive(Debug)]
struct Folder {
    root: Arc<Root>,
    description: Option<String>,
    owner: Option<String>,
}

/// A dataset: where it is and what people say about it.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its schema.
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
}

impl Dataset {
    /// `schema.table`
    pub fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

/// Files: a folder or one file beneath a root.
#[derive(Clone, Debug)]
pub struct Source {
    /// The folder that nothing leads out of.
    pub root: Arc<Root>,
    /// The path beneath it; empty is the root itself.
    pub path: String,
    /// The format, if it was told.
    pub format: Option<Format>,
}

/// A folder of the host that is read, opened on first use.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    url: String,
    opened: OnceLock<Beneath>,
}

impl Root {
    /// A folder; `url` names it among DataFusion's stores.
    pub fn new(path: PathBuf, url: String) -> Arc<Self> {
        Arc::new(Self { path, url, opened: OnceLock::new() })
    }

    /// `data://name/`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The opened folder.
    pub fn open(&self) -> std::io::Result<&Beneath> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let name = self.url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let opened = Beneath::open(&self.path, name)?;
        Ok(self.opened.get_or_init(|| opened))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Notes {
    table: BTreeMap<String, TableNotes>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TableNotes {
    description: Option<String>,
    owner: Option<String>,
    columns: BTreeMap<String, String>,
}

impl Catalog {
    /// The datasets of a configuration. Nothing is opened.
    pub fn new(config: &Config) -> Self {
        let mut schemas = BTreeMap::<String, Schema>::new();
        for entry in &config.catalogs {
            let root = Root::new(entry.path.clone(), format!("data://{}/", entry.name.replace('_', "-")));
            let folder = Folder { root, description: entry.description.clone(), owner: entry.owner.clone() };
            schemas.entry(entry.name.clone()).or_default().folder = Some(folder);
        }
        for (i, entry) in config.datasets.iter().enumerate() {
            let Some((schema, table)) = entry.name.split_once('.') else { continue };
            let url = format!("data://{}-{i}/", entry.name.replace(['_', '.'], "-"));
            let (folder, path) = match (entry.path.extension(), entry.path.parent(), entry.path.file_name()) {
                // a path that looks like a file is one: its folder is the root
                (Some(_), Some(parent), Some(name)) => {
                    (parent.to_owned(), name.to_string_lossy().into_owned())
                }
                _ => (entry.path.clone(), String::new()),
            };
            let dataset = Dataset {
                schema: schema.to_owned(),
                table: table.to_owned(),
                source: Source { root: Root::new(folder, url), path, format: entry.format },
                description: entry.description.clone(),
                owner: entry.owner.clone(),
                comments: BTreeMap::new(),
            };
            schemas.entry(schema.to_owned()).or_default().single.insert(table.to_owned(), dataset);
        }
        Self { schemas }
    }

    /// The schemas' names.
    pub fn schemas(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    /// A schema's datasets.
    pub fn datasets(&self, schema: &str) -> Vec<Dataset> {
        let Some(entry) = self.schemas.get(schema) else { return Vec::new() };
        let mut found = entry.single.clone();
        if let Some(folder) = &entry.folder {
            for dataset in folder.list(schema) {
                found.entry(dataset.table.clone()).or_insert(dataset);
            }
        }
        found.into_values().collect()
    }

    /// All datasets.
    pub fn all(&self) -> Vec<Dataset> {
        self.schemas.keys().flat_map(|schema| self.datasets(schema)).collect()
    }

    /// The dataset with this name.
    pub fn find(&self, schema: &str, table: &str) -> Option<Dataset> {
        self.datasets(schema).into_iter().find(|dataset| dataset.table == table)
    }

    /// The datasets of any schema with this name.
    pub fn find_bare(&self, table: &str) -> Vec<Dataset> {
        self.all().into_iter().filter(|dataset| dataset.table == table).collect()
    }
}

impl Folder {
    fn list(&self, schema: &str) -> Vec<Dataset> {
        let entries = self.root.open().and_then(|opened| opened.entries(""));
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(catalog = schema, %error, "a catalog's folder cannot be read");
                return Vec::new();
            }
        };
        let notes = self.notes(schema);
        let mut found = BTreeMap::<String, Dataset>::new();
        for (name, kind) in entries {
            let table = match kind {
                FileType::Directory => name.as_str(),
                FileType::RegularFile => match data_file(&name) {
                    Some((stem, _)) => stem,
                    None => continue,
                },
                _ => continue,
            };
            let table = table.to_lowercase();
            let notes = notes.table.get(&table).cloned().unwrap_or_default();
            // a folder wins over a file of the same name: `entries` is sorted, so the shorter name comes first
            found.entry(table.clone()).or_insert_with(|| Dataset {
                schema: schema.to_owned(),
                table,
                source: Source { root: self.root.clone(), path: name.clone(), format: None },
                description: notes.description.or_else(|| self.description.clone()),
                owner: notes.owner.or_else(|| self.owner.clone()),
                comments: notes.columns,
            });
        }
        found.into_values().collect()
    }

    fn notes(&self, schema: &str) -> Notes {
        let text = self.root.open().and_then(|opened| std::io::read_to_string(opened.file("_catalog.toml")?));
        let Ok(text) = text else { return Notes::default() };
        toml::from_str(&text).unwrap_or_else(|error| {
            tracing::warn!(catalog = schema, %error, "_catalog.toml cannot be read");
            Notes::default()
        })
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
        _ => return None,
    };
    (packed == Packed::No || matches!(format, Format::Csv | Format::Ndjson)).then_some((format, packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_files_are_tables() {
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
        let catalog = Catalog::new(&Config::parse(&text).unwrap());
        let names: Vec<_> = catalog.all().iter().map(Dataset::name).collect();
        assert_eq!(names, ["tpch.ev", "tpch.nation", "tpch.nation2", "tpch.orders"]);
        let nation = catalog.find("tpch", "nation").unwrap();
        assert_eq!((nation.description.as_deref(), nation.owner.as_deref()), (Some("25"), Some("ops")));
        assert_eq!(nation.comments["n_name"], "name");
        assert_eq!(catalog.find_bare("orders").len(), 1);
        assert!(catalog.find("tpch", "none").is_none());
    }

    #[test]
    fn endings() {
        assert_eq!(data_file("a.b.csv.gz"), Some(("a.b", "csv.gz")));
        assert_eq!(data_file("x.parquet.gz"), None);
        assert_eq!(data_file("README.md"), None);
    }
}
