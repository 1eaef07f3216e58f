//! `[[service]]`: programs that the hub knows by name.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[[service]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    /// Its name.
    pub name: String,
    /// Where its pages are fetched from.
    pub url: Option<String>,
    /// What Carrel starts, in a jail of its own; nothing: it runs elsewhere. `{prefix}` is the installation's folder.
    #[serde(default)]
    pub command: Vec<String>,
    /// Folders that the command needs besides its own environment, shown read-only.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// Added to the command's environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The file with its API token.
    pub token_file: Option<PathBuf>,
    /// The variable with its API token.
    pub token_env: Option<String>,
    /// Whether it may do everything.
    #[serde(default)]
    pub admin: bool,
    /// Whether people are shown it.
    #[serde(default = "yes")]
    pub display: bool,
    /// Told to whoever asks for it.
    #[serde(default)]
    pub info: toml::Table,
    /// Its OAuth client.
    pub oauth_client_id: Option<String>,
    /// Where people are sent back to.
    pub oauth_redirect_uri: Option<String>,
    /// Scopes that it may ask people for.
    #[serde(default)]
    pub oauth_client_allowed_scopes: Vec<String>,
    /// Whether people are not asked.
    #[serde(default)]
    pub oauth_no_confirm: bool,
}

fn yes() -> bool {
    true
}
