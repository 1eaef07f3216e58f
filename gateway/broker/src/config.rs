//! The broker's configuration file, made by `carrel serve` from `[hdfs]` in `carrel.toml`. Checked whole before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::keytab;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {message}", path.display())]
    Invalid { path: PathBuf, message: String },
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The folder with `core-site.xml` and `hdfs-site.xml`.
    pub(crate) hadoop: PathBuf,
    /// One or several `krb5.conf`, separated by colons, if it is not the usual one.
    #[serde(default)]
    pub(crate) krb5: Option<String>,
    /// Who the broker is to the cluster; without it there is no Kerberos.
    #[serde(default)]
    pub(crate) principal: Option<String>,
    /// The principal's keytab.
    #[serde(default)]
    pub(crate) keytab: Option<PathBuf>,
    /// The folder of the audit.
    pub(crate) audit: PathBuf,
    /// Carrel's users by the name that the sandbox knows, and their names on the cluster, where the two differ.
    #[serde(default)]
    pub(crate) users: BTreeMap<String, String>,
    /// Names on the cluster that nobody is ever read as.
    #[serde(default)]
    pub(crate) never: BTreeSet<String>,
    /// How long the cluster may be silent.
    #[serde(default = "default_timeout")]
    pub(crate) timeout_seconds: u64,
}

fn default_timeout() -> u64 {
    60
}

impl Config {
    /// Reads the file. The keytab must be there, readable for this program and for nobody but its owner and group.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let invalid = |message: String| ConfigError::Invalid { path: path.to_owned(), message };
        let config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let krb5 = self.krb5.iter().flat_map(|paths| paths.split(':')).map(|path| ("krb5", Path::new(path)));
        let folders = [("hadoop", self.hadoop.as_path()), ("audit", &self.audit)];
        for (name, path) in folders.into_iter().chain(krb5) {
            if !path.is_absolute() {
                return Err(format!("{name} = {:?} is not an absolute path", path.display()));
            }
            if !path.exists() {
                return Err(format!("{name} = {:?} is not there", path.display()));
            }
        }
        // two replicas may be waited for in turn, and an engine waits for 180 s
        if !(1..=75).contains(&self.timeout_seconds) {
            return Err("timeout_seconds is between 1 and 75".to_owned());
        }
        match (&self.principal, &self.keytab) {
            (Some(principal), Some(keytab)) => check_keytab(keytab, principal),
            (None, None) => Ok(()),
            (Some(_), None) => Err("principal is set and keytab is not".to_owned()),
            (None, Some(_)) => Err("keytab is set and principal is not".to_owned()),
        }
    }

    /// How long the cluster may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

fn check_keytab(keytab: &Path, principal: &str) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let shown = keytab.display();
    let meta =
        std::fs::metadata(keytab).map_err(|error| format!("the keytab {shown} cannot be used: {error}"))?;
    if meta.mode() & 0o007 != 0 {
        return Err(format!("the keytab {shown} is open to everybody; do: chmod o= {shown}"));
    }
    let uid = rustix::process::geteuid().as_raw();
    let held = keytab::principals(keytab)
        .map_err(|error| format!("the keytab {shown} cannot be used by uid {uid}: {error}"))?;
    if held.iter().any(|held| held == principal) {
        return Ok(());
    }
    let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
    Err(format!("the keytab {shown} holds no key of {principal}; it holds {held}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(dir: &Path, more: &str) -> Result<Config, String> {
        let text = format!("hadoop = {dir:?}\naudit = {dir:?}\n{more}");
        let path = dir.join("broker.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let keytab = dir.path().join("k");
        // 05 02, a record of 23 bytes: one component, realm R, component b
        let record = [5, 2, 0, 0, 0, 21, 0, 1, 0, 1, b'R', 0, 1, b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        std::fs::write(&keytab, record).unwrap();
        std::fs::set_permissions(&keytab, std::fs::Permissions::from_mode(0o640)).unwrap();
        let both = format!("principal = 'b@R'\nkeytab = {keytab:?}\n");
        assert_eq!(parse(dir.path(), &both).unwrap().timeout(), Duration::from_secs(60));
        assert!(parse(dir.path(), "").unwrap().principal.is_none());
        for (more, says) in [
            ("principal = 'b@R'\n", "keytab is not"),
            ("principal = 'b@R'\nkeytab = '/none'\n", "cannot be used"),
            ("krb5 = '/etc:/none'\n", "is not there"),
            (&format!("principal = 'c@R'\nkeytab = {keytab:?}\n"), "it holds b@R"),
            (
                &format!("principal = 'c@R'\nkeytab = {:?}\n", dir.path().join("broker.toml")),
                "open to everybody",
            ),
            ("timeout_seconds = 0\n", "between 1 and 75"),
            ("keytabb = 'x'\n", "unknown field"),
        ] {
            let said = parse(dir.path(), more).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
        std::fs::set_permissions(&keytab, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(parse(dir.path(), &both).unwrap_err().contains("chmod o="));
    }
}
