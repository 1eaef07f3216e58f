//! Small texts that belong to a user: settings, workspaces, whatever has a kind and a key.

use crate::{Result, Store, from_micros, micros};
use carrel_hub::UserName;
use rusqlite::{OptionalExtension, Row, params};
use time::OffsetDateTime;

/// One text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key within the kind.
    pub key: String,
    /// The text.
    pub value: String,
    /// When it was written.
    pub updated: OffsetDateTime,
}

impl Store {
    /// One entry.
    pub fn kv_get(&self, user: &UserName, kind: &str, key: &str) -> Result<Option<Entry>> {
        self.read("read a setting", |db| {
            db.prepare_cached(
                "SELECT key, value, updated FROM kv WHERE user = ?1 AND kind = ?2 AND key = ?3",
            )?
            .query_row(params![user.as_str(), kind, key], from_row)
            .optional()
        })
    }

    /// All entries of a kind, by key.
    pub fn kv_list(&self, user: &UserName, kind: &str) -> Result<Vec<Entry>> {
        self.read("list settings", |db| {
            db.prepare_cached(
                "SELECT key, value, updated FROM kv WHERE user = ?1 AND kind = ?2 ORDER BY key",
            )?
            .query_map(params![user.as_str(), kind], from_row)?
            .collect()
        })
    }

    /// Writes an entry.
    pub fn kv_put(
        &mut self,
        user: &UserName,
        kind: &str,
        key: &str,
        value: &str,
        now: OffsetDateTime,
    ) -> Result<()> {
        self.write("write a setting", |tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO kv (user, kind, key, value, updated) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![user.as_str(), kind, key, value, micros(now)])
            .map(|_| ())
        })
    }

    /// Removes an entry.
    pub fn kv_delete(&mut self, user: &UserName, kind: &str, key: &str) -> Result<bool> {
        self.write("remove a setting", |tx| {
            Ok(tx.execute(
                "DELETE FROM kv WHERE user = ?1 AND kind = ?2 AND key = ?3",
                params![user.as_str(), kind, key],
            )? > 0)
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry { key: row.get(0)?, value: row.get(1)?, updated: from_micros(row.get(2)?) })
}
