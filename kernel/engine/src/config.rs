//! The engine's configuration file. Unknown keys are refused, with the key that was probably meant.

use std::path::{Path, PathBuf};

use carrel_cell::problem::did_you_mean;
use carrel_source::Location;
use serde::{Deserialize, Deserializer, de};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        message: String,
    },
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Limits and habits.
    pub engine: Engine,
    /// Folders whose entries are tables.
    #[serde(rename = "catalog")]
    pub catalogs: Vec<CatalogEntry>,
    /// Single datasets.
    #[serde(rename = "dataset")]
    pub datasets: Vec<DatasetEntry>,
}

/// `[engine]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Memory that queries may use together; more than that spills or fails.
    #[serde(deserialize_with = "size")]
    pub memory_limit: u64,
    /// Disk that spilling may use.
    #[serde(deserialize_with = "size")]
    pub spill_limit: u64,
    /// Disk that session tables may use together.
    #[serde(deserialize_with = "size")]
    pub tables_limit: u64,
    /// Rows per batch.
    pub batch_size: usize,
    /// A result with more rows ends with an error; 0 is no limit.
    pub max_result_rows: u64,
    /// Threads per running query; 0 is one per core.
    pub threads: usize,
    /// Queries that compute at the same time; more wait.
    pub concurrent_queries: usize,
    /// The engine ends after this long without work; 0 is never.
    pub idle_seconds: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            memory_limit: 1 << 30,
            spill_limit: 8 << 30,
            tables_limit: 8 << 30,
            batch_size: 8192,
            max_result_rows: 0,
            threads: 0,
            concurrent_queries: 4,
            idle_seconds: 600,
        }
    }
}

/// `[[catalog]]`: a folder; every sub-folder and every data file in it is a table of the schema `name`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// The schema's name.
    pub name: String,
    /// The folder.
    pub path: Where,
    /// What it holds.
    #[serde(default)]
    pub description: Option<String>,
    /// Whom to ask.
    #[serde(default)]
    pub owner: Option<String>,
}

/// A folder or file: of this machine by its absolute path, or of a cluster as `hdfs://…`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Where {
    /// On this machine.
    Here(PathBuf),
    /// On a cluster, reached through the broker.
    Cluster(Location),
}

impl TryFrom<String> for Where {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains("://") {
            return text.parse().map(Self::Cluster).map_err(|error| format!("{text:?}: {error}"));
        }
        let path = PathBuf::from(&text);
        if path.is_absolute() {
            Ok(Self::Here(path))
        } else {
            Err(format!("the path {text:?} must be absolute"))
        }
    }
}

/// `[[dataset]]`: one folder or file as one table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// `schema.table`
    pub name: String,
    /// The folder or file.
    pub path: Where,
    /// Its format, if the file names do not tell.
    #[serde(default)]
    pub format: Option<Format>,
    /// What it holds.
    #[serde(default)]
    pub description: Option<String>,
    /// Whom to ask.
    #[serde(default)]
    pub owner: Option<String>,
}

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object per line.
    #[serde(alias = "json", alias = "jsonl")]
    Ndjson,
    /// Arrow IPC files.
    #[serde(alias = "ipc", alias = "feather")]
    Arrow,
    /// Apache Avro
    Avro,
}

impl Config {
    /// Reads the file. Names are checked, paths are not looked at.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Parse { path: path.to_owned(), message })
    }

    /// Reads the text of a configuration file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| explain(text, &error))?;
        config.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let mut seen = std::collections::BTreeSet::new();
        for catalog in &self.catalogs {
            check_name("catalog", &catalog.name, 1)?;
            if catalog.name == "session" || catalog.name == "information_schema" {
                return Err(format!("the catalog name {} is taken", catalog.name));
            }
            if !seen.insert(catalog.name.clone()) {
                return Err(format!("the catalog {} is there twice", catalog.name));
            }
        }
        for dataset in &self.datasets {
            check_name("dataset", &dataset.name, 2)?;
            if !seen.insert(dataset.name.clone()) {
                return Err(format!("the dataset {} is there twice", dataset.name));
            }
        }
        if self.engine.memory_limit < 16 << 20 {
            return Err("engine.memory_limit must be at least 16MiB".to_owned());
        }
        if !(1..=1 << 20).contains(&self.engine.batch_size) {
            return Err("engine.batch_size must be between 1 and 1048576".to_owned());
        }
        if !(1..=64).contains(&self.engine.concurrent_queries) {
            return Err("engine.concurrent_queries must be between 1 and 64".to_owned());
        }
        Ok(self)
    }
}

fn check_name(what: &str, name: &str, parts: usize) -> Result<(), String> {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if name.split('.').count() == parts && name.split('.').all(good) {
        return Ok(());
    }
    let shape = if parts == 1 { "a lower-case word" } else { "schema.table in lower case" };
    Err(format!("the {what} name {name:?} must be {shape} (letters, digits, _)"))
}

/// A TOML error as one line with the line number and, for an unknown key, what was probably meant.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    let place = line.map_or(String::new(), |line| format!("line {line}: "));
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let near = if message.starts_with("unknown field") {
        quoted.next().and_then(|wrong| did_you_mean(wrong, quoted))
    } else {
        None
    };
    let near = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("{place}{message}{near}")
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(bytes),
        Size::Text(text) => parse_size(&text)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not a size such as \"512MiB\""))),
    }
}

/// `512`, `64KB`, `1.5GiB`; decimal and binary units both count in 1024s, as people mean them.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..at].parse().ok()?;
    let shift = match text[at..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "saturates; sizes are far below 2^53"
    )]
    let bytes = (number * (1_u64 << shift) as f64) as u64;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_everything() {
        let text = r#"
            [engine]
            memory_limit = "512MiB"
            spill_limit = 1000
            [[catalog]]
            name = "tpch"
            path = "/d/tpch"
            [[dataset]]
            name = "ads.clicks"
            path = "/d/clicks"
            format = "parquet"
            owner = "ads"
            [[dataset]]
            name = "ads.views"
            path = "hdfs:///data/ads/views"
        "#;
        let config = Config::parse(text).unwrap();
        assert_eq!((config.engine.memory_limit, config.engine.spill_limit), (512 << 20, 1000));
        assert_eq!(config.datasets[0].format, Some(Format::Parquet));
        assert_eq!(config.datasets[1].path, Where::Cluster("hdfs:///data/ads/views".parse().unwrap()));
        assert_eq!(Config::parse("").unwrap().engine.idle_seconds, 600);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, says) in [
            ("[engine]\nmemory_limt = 1", "line 2: unknown field `memory_limt`"),
            ("[engine]\nmemory_limt = 1", "did you mean memory_limit?"),
            ("[engine]\nmemory_limit = \"many\"", "not a size"),
            ("[engine]\nmemory_limit = 1", "at least 16MiB"),
            ("[[catalog]]\nname='A'\npath='/x'", "lower-case"),
            ("[[catalog]]\nname='a'\npath='x'", "absolute"),
            ("[[catalog]]\nname='a'\npath='s3://x/y'", "hdfs://"),
            ("[[catalog]]\nname='a'\npath='hdfs:///x/../y'", "'..'"),
            ("[[dataset]]\nname='a'\npath='/x'", "schema.table"),
            ("[[catalog]]\nname='session'\npath='/x'", "taken"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("1.5 GiB"), Some(3 << 29));
        assert_eq!(parse_size("64kb"), Some(65536));
        assert_eq!(parse_size("x"), None);
    }
}
