//! Browser logins: one row per cookie.

use crate::{Result, Store, from_micros, micros};
use carrel_hub::SecretHash;
use rusqlite::{OptionalExtension, Row, params};
use time::OffsetDateTime;

/// One login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Row number.
    pub id: i64,
    /// Whose.
    pub user_id: i64,
    /// Ties the cookies of one login together.
    pub session_id: String,
    /// When it began.
    pub created: OffsetDateTime,
    /// When it ends.
    pub expires: OffsetDateTime,
}

/// A login to be made.
#[derive(Debug, Clone)]
pub struct NewLogin {
    /// Whose.
    pub user_id: i64,
    /// Digest of the cookie's secret.
    pub hash: SecretHash,
    /// The session's id.
    pub session_id: String,
    /// Now.
    pub created: OffsetDateTime,
    /// When it ends.
    pub expires: OffsetDateTime,
}

const COLUMNS: &str = "id, user_id, session_id, created, expires";

impl Store {
    /// Adds a login.
    pub fn add_login(&mut self, new: &NewLogin) -> Result<Login> {
        self.write("add a login", |tx| {
            tx.execute(
                "INSERT INTO logins (user_id, hash, session_id, created, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    new.user_id,
                    new.hash.as_bytes().as_slice(),
                    new.session_id,
                    micros(new.created),
                    micros(new.expires)
                ],
            )?;
            let id = tx.last_insert_rowid();
            tx.query_row(&format!("SELECT {COLUMNS} FROM logins WHERE id = ?1"), [id], from_row)
        })
    }

    /// The login with this digest, unless it has ended.
    pub fn login_by_hash(&self, hash: &SecretHash, now: OffsetDateTime) -> Result<Option<Login>> {
        self.read("find a login", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM logins WHERE hash = ?1 AND expires > ?2"))?
                .query_row(params![hash.as_bytes().as_slice(), micros(now)], from_row)
                .optional()
        })
    }

    /// The login with this row number, unless it has ended.
    pub fn login_by_id(&self, id: i64, now: OffsetDateTime) -> Result<Option<Login>> {
        self.read("find a login", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM logins WHERE id = ?1 AND expires > ?2"))?
                .query_row(params![id, micros(now)], from_row)
                .optional()
        })
    }

    /// Ends a login and revokes the tokens and codes that belong to it.
    pub fn delete_login(&mut self, id: i64) -> Result<()> {
        self.write("end a login", |tx| {
            for table in ["tokens", "oauth_codes"] {
                tx.execute(
                    &format!(
                        "DELETE FROM {table} WHERE session_id = (SELECT session_id FROM logins WHERE id = ?1)"
                    ),
                    [id],
                )?;
            }
            tx.execute("DELETE FROM logins WHERE id = ?1", [id]).map(|_| ())
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Login> {
    Ok(Login {
        id: row.get(0)?,
        user_id: row.get(1)?,
        session_id: row.get(2)?,
        created: from_micros(row.get(3)?),
        expires: from_micros(row.get(4)?),
    })
}
