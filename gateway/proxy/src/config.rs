//! The proxy's configuration file, made by `carrel serve` from `[network]` and `[[allow]]` in `carrel.toml`. Checked whole; read again when it
//! changes, so that a list that was changed holds for kernels that run.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use crate::budget::Bounds;
use crate::policy::{AllowText, Policy};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Invalid { path: PathBuf, message: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    journal: PathBuf,
    ask: String,
    connections: u32,
    requests_per_minute: u32,
    traffic_per_hour: u64,
    idle_seconds: u64,
    connection_seconds: u64,
    #[serde(default)]
    hosts: BTreeMap<String, Vec<IpAddr>>,
    #[serde(default)]
    allow: Vec<AllowText>,
}

/// The whole file.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The folder of the journal.
    pub(crate) journal: PathBuf,
    /// Whom to ask for more.
    pub(crate) ask: String,
    /// What one user may use.
    pub(crate) bounds: Bounds,
    /// Who may reach what.
    pub(crate) policy: Policy,
}

impl Config {
    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text: Text = toml::from_str(text).map_err(|error| error.to_string())?;
        if !text.journal.is_absolute() {
            return Err(format!("journal = {:?} is not an absolute path", text.journal.display()));
        }
        let bounds = Bounds {
            connections: text.connections,
            requests_per_minute: text.requests_per_minute,
            traffic_per_hour: text.traffic_per_hour,
            idle: std::time::Duration::from_secs(text.idle_seconds),
            life: std::time::Duration::from_secs(text.connection_seconds),
        };
        // It stands in the first line of an answer.
        let ask = text.ask.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        Ok(Self { journal: text.journal, ask, bounds, policy: Policy::new(text.allow, text.hosts)? })
    }

    /// For `carrel check`.
    pub(crate) fn summary(&self) -> String {
        format!("{} entries of [[allow]]", self.policy.len())
    }
}

/// The configuration as it is now.
#[derive(Debug)]
pub(crate) struct Live {
    path: PathBuf,
    read: Mutex<(Option<Stamp>, Arc<Config>)>,
}

/// Which state of the file was read.
type Stamp = (u64, u64, i64, i64);

impl Live {
    /// Begins with what was read already.
    pub(crate) fn new(path: PathBuf, config: Config) -> Self {
        Self { path, read: Mutex::new((None, Arc::new(config))) }
    }

    /// What holds now. A file that has become wrong changes nothing but is told of, once.
    pub(crate) fn now(&self) -> Arc<Config> {
        let stamp = std::fs::metadata(&self.path)
            .ok()
            .map(|meta| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp != read.0 {
            read.0 = stamp;
            match Config::load(&self.path) {
                Ok(config) => read.1 = Arc::new(config),
                Err(error) => tracing::error!(%error, "the changed configuration is not taken"),
            }
        }
        read.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "journal = '/j'\nask = \"Grace, désk\\n 7\"\nconnections = 8\nrequests_per_minute = 9\ntraffic_per_hour = 0\nidle_seconds = 5\n\
                        connection_seconds = 6\n";

    #[test]
    fn what_changes_holds_and_what_is_wrong_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.toml");
        std::fs::write(&path, GOOD).unwrap();
        let live = Live::new(path.clone(), Config::load(&path).unwrap());
        assert_eq!(live.now().ask, "Grace, d?sk? 7");
        assert_eq!(live.now().policy.len(), 0);
        std::fs::write(&path, format!("{GOOD}[[allow]]\nhosts = ['a.org']\n")).unwrap();
        assert_eq!(live.now().policy.len(), 1);
        std::fs::write(&path, format!("{GOOD}[[allow]]\nhosts = ['a.org', 'b..org']\n")).unwrap();
        assert_eq!(live.now().policy.len(), 1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(live.now().policy.len(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            (GOOD.replace("'/j'", "'j'"), "absolute"),
            (format!("colour = 1\n{GOOD}"), "unknown field"),
            (GOOD.replace("connections = 8", ""), "missing field"),
        ] {
            let error = Config::parse(&text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
