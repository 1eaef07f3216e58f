//! Servers: which a user has, and which of them run.

use crate::{Result, Store, from_micros, micros};
use carrel_hub::ServerName;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// One server of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Whose.
    pub user_id: i64,
    /// Its name; empty for the default server.
    pub name: ServerName,
    /// What people call it.
    pub display_name: Option<String>,
    /// What its user asked for.
    pub options: Map<String, Value>,
    /// When the row was made.
    pub created: OffsetDateTime,
    /// Since when it runs; `None` if it is stopped.
    pub started: Option<OffsetDateTime>,
    /// The last sign of life.
    pub last_activity: Option<OffsetDateTime>,
}

const COLUMNS: &str = "user_id, name, display_name, options, created, started, last_activity";

impl Store {
    /// All servers of everybody.
    pub fn servers(&self) -> Result<Vec<Server>> {
        self.read("list servers", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM servers ORDER BY user_id, name"))?
                .query_map([], from_row)?
                .collect()
        })
    }

    /// A user's servers by name.
    pub fn servers_of(&self, user_id: i64) -> Result<Vec<Server>> {
        self.read("list a user's servers", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM servers WHERE user_id = ?1 ORDER BY name"))?
                .query_map([user_id], from_row)?
                .collect()
        })
    }

    /// One server.
    pub fn server(&self, user_id: i64, name: &ServerName) -> Result<Option<Server>> {
        self.read("find a server", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM servers WHERE user_id = ?1 AND name = ?2"))?
                .query_row(params![user_id, name.as_str()], from_row)
                .optional()
        })
    }

    /// Writes a server, new or changed.
    pub fn put_server(&mut self, s: &Server) -> Result<()> {
        let options = Value::Object(s.options.clone()).to_string();
        self.write("write a server", |tx| {
            tx.prepare_cached(
                "INSERT INTO servers (user_id, name, display_name, options, created, started, last_activity)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (user_id, name) DO UPDATE SET display_name = ?3, options = ?4, started = ?6,
                   last_activity = max(coalesce(last_activity, 0), coalesce(?7, 0))",
            )?
            .execute(params![
                s.user_id,
                s.name.as_str(),
                s.display_name,
                options,
                micros(s.created),
                s.started.map(micros),
                s.last_activity.map(micros)
            ])
            .map(|_| ())
        })
    }

    /// Gives a stopped server another name. A taken name is [`crate::Error::Conflict`].
    pub fn rename_server(&mut self, user_id: i64, from: &ServerName, to: &ServerName) -> Result<()> {
        self.write("rename a server", |tx| {
            tx.execute(
                "UPDATE servers SET name = ?3 WHERE user_id = ?1 AND name = ?2",
                params![user_id, from.as_str(), to.as_str()],
            )
            .map(|_| ())
        })
    }

    /// Notes a sign of life of a server; earlier ones are ignored.
    pub fn touch_server(&mut self, user_id: i64, name: &ServerName, at: OffsetDateTime) -> Result<()> {
        self.write("note activity", |tx| {
            tx.prepare_cached(
                "UPDATE servers SET last_activity = ?3 WHERE user_id = ?1 AND name = ?2 AND coalesce(last_activity, 0) < ?3",
            )?
            .execute(params![user_id, name.as_str(), micros(at)])
            .map(|_| ())
        })
    }

    /// Forgets a server.
    pub fn delete_server(&mut self, user_id: i64, name: &ServerName) -> Result<bool> {
        self.write("remove a server", |tx| {
            Ok(tx.execute(
                "DELETE FROM servers WHERE user_id = ?1 AND name = ?2",
                params![user_id, name.as_str()],
            )? > 0)
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Server> {
    let name: String = row.get(1)?;
    let name = ServerName::parse(&name).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e))
    })?;
    let options: String = row.get(3)?;
    Ok(Server {
        user_id: row.get(0)?,
        name,
        display_name: row.get(2)?,
        options: serde_json::from_str(&options).unwrap_or_default(),
        created: from_micros(row.get(4)?),
        started: row.get::<_, Option<i64>>(5)?.map(from_micros),
        last_activity: row.get::<_, Option<i64>>(6)?.map(from_micros),
    })
}
