//! The configuration: one TOML file, checked whole before anything is touched.
//!
//! [`keys`] lists every key with its default and its explanation; the commented template, `docs/config.md` and the search for unknown keys
//! come from that one list. [`Config::load`] gives values that hold: ranges are checked, sizes are bytes, paths are absolute.

pub mod classic;
pub mod hdfs;
pub mod keys;
pub mod limits;
pub mod network;
pub mod roles;
mod sections;
pub mod services;
pub mod text;

use limits::{LimitRule, Limits};
pub use sections::{
    AuthSettings, Gateway, HubSettings, KernelSettings, LogFormat, LogSettings, PathSettings, SandboxSettings,
};

use serde::Deserialize;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a configuration was refused; the text says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}{}", path.display(), hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file exists already.
    #[error("{} exists already; it is left as it is", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it says is wrong.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
}

fn hint(e: &std::io::Error) -> &'static str {
    if e.kind() == std::io::ErrorKind::NotFound { "; make one with `carrel init`" } else { "" }
}

/// Everything an administrator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[gateway]`
    #[serde(default)]
    pub gateway: Gateway,
    /// `[log]`
    #[serde(default)]
    pub log: LogSettings,
    /// `[paths]`
    #[serde(default)]
    pub paths: PathSettings,
    /// `[auth]`
    #[serde(default)]
    pub auth: AuthSettings,
    /// `[hub]`
    #[serde(default)]
    pub hub: HubSettings,
    /// `[kernels]`
    #[serde(default)]
    pub kernels: KernelSettings,
    /// `[sandbox]`
    #[serde(default)]
    pub sandbox: SandboxSettings,
    /// `[limits.*]`
    #[serde(default)]
    pub limits: Limits,
    /// `[[limit]]`
    #[serde(default, rename = "limit")]
    pub limit_rules: Vec<LimitRule>,
    /// `[classic]`
    #[serde(default)]
    pub classic: classic::ClassicSettings,
    /// `[hdfs]`
    #[serde(default)]
    pub hdfs: hdfs::HdfsSettings,
    /// `[network]`
    #[serde(default)]
    pub network: network::NetworkSettings,
    /// `[[allow]]`
    #[serde(default)]
    pub allow: Vec<network::AllowRule>,
    /// `[[profile]]`
    #[serde(default, rename = "profile")]
    pub profiles: Vec<network::ProfileSettings>,
    /// `[[role]]`
    #[serde(default, rename = "role")]
    pub role_settings: Vec<roles::RoleSettings>,
    /// `[[service]]`
    #[serde(default, rename = "service")]
    pub services: Vec<services::ServiceSettings>,
    /// `[engine]`, handed to the engine, which checks the values.
    #[serde(default)]
    pub engine: toml::Table,
    /// `[[catalog]]`, handed to the engine.
    #[serde(default, rename = "catalog")]
    pub catalogs: Vec<toml::Table>,
    /// `[[dataset]]`, handed to the engine.
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<toml::Table>,
    /// The folder that holds everything that must survive; where the file lies, or `--state`.
    #[serde(skip)]
    pub state: PathBuf,
}

impl Config {
    /// Reads and checks a file. `state` is the folder it speaks of.
    pub fn load(path: &Path, state: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, state).map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    /// Reads and checks a text.
    pub fn parse(text: &str, state: &Path) -> Result<Self, String> {
        let table: toml::Table = text::parse(text)?;
        keys::refuse_unknown(text, &table)?;
        let mut config: Self = toml::from_str(text).map_err(|e| text::explain(text, &e))?;
        state.clone_into(&mut config.state);
        config.check()?;
        Ok(config)
    }

    /// All defaults, for this state folder.
    pub fn defaults(state: &Path) -> Self {
        Self {
            gateway: Gateway::default(),
            log: LogSettings::default(),
            paths: PathSettings::default(),
            auth: AuthSettings::default(),
            hub: HubSettings::default(),
            kernels: KernelSettings::default(),
            sandbox: SandboxSettings::default(),
            limits: Limits::default(),
            limit_rules: Vec::new(),
            classic: classic::ClassicSettings::default(),
            hdfs: hdfs::HdfsSettings::default(),
            network: network::NetworkSettings::default(),
            allow: Vec::new(),
            profiles: Vec::new(),
            role_settings: Vec::new(),
            services: Vec::new(),
            engine: toml::Table::new(),
            catalogs: Vec::new(),
            datasets: Vec::new(),
            state: state.to_owned(),
        }
    }

    /// Writes a fresh configuration file; an existing one is never touched.
    pub fn write_template(path: &Path, prefix: Option<&Path>, port: Option<u16>) -> Result<(), ConfigError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AlreadyExists => ConfigError::Exists(path.to_owned()),
            _ => ConfigError::Write { path: path.to_owned(), source },
        };
        let text = keys::template(prefix, port);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }

    fn check(&self) -> Result<(), String> {
        let between = |key: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(format!("{key} must be between {min} and {max}, not {value}"))
            }
        };
        let len = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        between("gateway.max_connections", len(self.gateway.max_connections), 16, 1_000_000)?;
        between("gateway.max_body", self.gateway.max_body, 64 << 10, 1 << 30)?;
        between("gateway.drain_seconds", self.gateway.drain_seconds, 0, 600)?;
        between("gateway.threads", len(self.gateway.threads), 0, 256)?;
        between("auth.login_days", self.auth.login_days.into(), 1, 365)?;
        between("auth.tries_per_name", self.auth.tries_per_name.into(), 1, 1000)?;
        between("auth.tries_per_address", self.auth.tries_per_address.into(), 1, 100_000)?;
        between("auth.wait_seconds", self.auth.wait_seconds, 1, 86_400)?;
        between("auth.min_password", len(self.auth.min_password), 4, 256)?;
        between("hub.page_default", len(self.hub.page_default), 1, len(self.hub.page_max))?;
        between("hub.page_max", len(self.hub.page_max), 1, 10_000)?;
        between("kernels.per_user", len(self.kernels.per_user), 1, 10_000)?;
        between("sandbox.uid_base", self.sandbox.uid_base.into(), 10_000, 4_000_000_000)?;
        between("sandbox.uid_count", self.sandbox.uid_count.into(), 1, 100_000_000)?;
        between("sandbox.max_jails", len(self.sandbox.max_jails), 1, 100_000)?;
        roles::roles(&self.role_settings)?;
        crate::services::configured::check(self)?;
        limits::check(&self.limits, &self.limit_rules)?;
        self.classic.check()?;
        self.hdfs.check()?;
        network::check(&self.network, &self.allow, &self.profiles, &self.sandbox.devices)?;
        if self.gateway.user.is_empty() || matches!(self.gateway.user.as_str(), "root" | "0") {
            return Err("gateway.user must be an ordinary user, not root".into());
        }
        if self.hub.default_path.starts_with('/') || self.hub.default_path.contains("..") {
            return Err("hub.default_path must be a path below the user's address, such as \"lab\"".into());
        }
        if !matches!(self.log.level.as_str(), "error" | "warn" | "info" | "debug" | "trace") {
            return Err(format!(
                "log.level {:?} is no level: use error, warn, info, debug or trace",
                self.log.level
            ));
        }
        for (key, path) in [("paths.prefix", &self.paths.prefix), ("paths.runtime", &self.paths.runtime)] {
            if path.as_ref().is_some_and(|p| !p.is_absolute()) {
                return Err(format!("{key} must be an absolute path"));
            }
        }
        for (what, table) in
            self.catalogs.iter().map(|t| ("catalog", t)).chain(self.datasets.iter().map(|t| ("dataset", t)))
        {
            let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
            let (name, path) = (text("name"), text("path").unwrap_or_default());
            if name.is_none() || !(Path::new(path).is_absolute() || path.starts_with("hdfs://")) {
                return Err(format!("every [[{what}]] needs a name and an absolute path, or hdfs://…"));
            }
            if path.starts_with("hdfs://") && self.hdfs.config.is_none() {
                let name = name.unwrap_or_default();
                return Err(format!("the [[{what}]] {name} lies on HDFS: set hdfs.config"));
            }
        }
        Ok(())
    }

    /// All roles: the default ones and the configured.
    pub fn roles(&self) -> carrel_hub::Roles {
        // checked when the file was read
        roles::roles(&self.role_settings).unwrap_or_default()
    }

    /// Where programs and assets lie.
    pub fn prefix(&self) -> PathBuf {
        self.paths.prefix.clone().unwrap_or_else(installed_prefix)
    }

    /// Where the gateway keeps what nobody else may touch: database, keys, lock.
    pub fn private(&self) -> PathBuf {
        self.state.join("gateway")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.private().join("carrel.db")
    }
}

/// The folder above the `bin` that this program runs from, else the usual one.
fn installed_prefix() -> PathBuf {
    let exe = std::env::current_exe().ok();
    let prefix = exe.as_deref().and_then(Path::parent).filter(|p| p.ends_with("bin")).and_then(Path::parent);
    prefix.map_or_else(|| PathBuf::from("/opt/carrel"), Path::to_owned)
}

#[cfg(test)]
mod tests;
