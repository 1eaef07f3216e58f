//! `_catalog.toml` in a catalog's folder: what people should know. `[table.clicks] description = "…", owner = "…"` and
//! `[table.clicks.columns] clicked = "…"`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::place::Place;

/// The file's name.
const FILE: &str = "_catalog.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Notes {
    pub(super) table: BTreeMap<String, TableNotes>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TableNotes {
    pub(super) description: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) columns: BTreeMap<String, String>,
}

/// The notes of a catalog; none if there is no such file, or it is no TOML.
pub(super) async fn read(place: &Place, schema: &str) -> Notes {
    let Ok(text) = place.text(FILE).await else { return Notes::default() };
    toml::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(catalog = schema, %error, "_catalog.toml cannot be read");
        Notes::default()
    })
}
