//! The plain tables of the file, with their defaults.

use super::text::size;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// `[gateway]`: where it listens and as whom it runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The user that a gateway started by root becomes.
    pub user: String,
    /// Whether browsers reach it over HTTPS only.
    pub https: bool,
    /// Threads that answer requests; 0 is one per processor, at most 8.
    pub threads: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// The largest request body outside of file uploads.
    #[serde(deserialize_with = "size")]
    pub max_body: u64,
    /// How long requests may take to finish when the gateway ends.
    pub drain_seconds: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 8000,
            user: "carrel".into(),
            https: false,
            threads: 0,
            max_connections: 4096,
            max_body: 32 << 20,
            drain_seconds: 5,
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".into() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable at a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Readable.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[paths]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathSettings {
    /// Programs and assets; `None` takes the folder that `carrel` was installed into.
    pub prefix: Option<PathBuf>,
    /// Sockets and jails; `None` takes the usual place.
    pub runtime: Option<PathBuf>,
}

/// `[auth]`: local accounts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSettings {
    /// Days until a browser must sign in again.
    pub login_days: u32,
    /// Whether the first start makes `admin` and `demo`.
    pub first_users: bool,
    /// Wrong passwords for one name before it has to wait.
    pub tries_per_name: u32,
    /// Wrong passwords from one address before it has to wait.
    pub tries_per_address: u32,
    /// How long it waits.
    pub wait_seconds: u64,
    /// The shortest password that may be set.
    pub min_password: usize,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            login_days: 14,
            first_users: true,
            tries_per_name: 8,
            tries_per_address: 40,
            wait_seconds: 60,
            min_password: 8,
        }
    }
}

/// `[hub]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubSettings {
    /// Named servers a user may have; 0 is none.
    pub named_servers: u32,
    /// Entries of a list if the caller asks for no number.
    pub page_default: usize,
    /// The most entries of a list.
    pub page_max: usize,
    /// Where `/user/{name}/` leads.
    pub default_path: String,
    /// Hosts, beside this machine, on which services made through the API may lie.
    pub service_hosts: Vec<String>,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            named_servers: 3,
            page_default: 50,
            page_max: 200,
            default_path: "lab".into(),
            service_hosts: Vec::new(),
        }
    }
}

/// `[kernels]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelSettings {
    /// The kernel that new notebooks get.
    pub default: String,
    /// Kernels one user may run at once.
    pub per_user: usize,
    /// A kernel without work and without browser ends after this long; 0 is never.
    pub idle_seconds: u64,
}

impl Default for KernelSettings {
    fn default() -> Self {
        Self { default: "carrel".into(), per_user: 20, idle_seconds: 0 }
    }
}

/// `[sandbox]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxSettings {
    /// How jails are built.
    pub mode: carrel_spawnd::ModePreference,
    /// Layers without which no jail starts; empty takes the usual ones.
    pub required: Vec<carrel_spawnd::LayerName>,
    /// The first uid given to users.
    pub uid_base: u32,
    /// How many uids may be given.
    pub uid_count: u32,
    /// Jails at once.
    pub max_jails: usize,
    /// Device nodes of the profile `kernel+gpu`.
    pub devices: Vec<PathBuf>,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            mode: carrel_spawnd::ModePreference::Auto,
            required: Vec::new(),
            uid_base: 200_000,
            uid_count: 60_000,
            max_jails: 2000,
            devices: Vec::new(),
        }
    }
}
