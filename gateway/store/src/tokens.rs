//! API tokens: digests, never the tokens themselves.

use crate::{Result, Store, from_micros, micros};
use carrel_hub::SecretHash;
use rusqlite::{OptionalExtension, Row, params};
use time::OffsetDateTime;

/// One API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Row number.
    pub id: i64,
    /// Its owner's row.
    pub user_id: i64,
    /// Its first characters.
    pub prefix: String,
    /// Scopes as asked for.
    pub scopes: Vec<String>,
    /// What the owner wrote about it.
    pub note: String,
    /// When it was made.
    pub created: OffsetDateTime,
    /// When it ends.
    pub expires: Option<OffsetDateTime>,
    /// When it was last used.
    pub last_activity: Option<OffsetDateTime>,
    /// The login it belongs to, if any.
    pub session_id: Option<String>,
    /// Who asked for it.
    pub client: String,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its owner's row.
    pub user_id: i64,
    /// Digest of the secret.
    pub hash: SecretHash,
    /// First characters of the secret.
    pub prefix: String,
    /// Scopes as asked for.
    pub scopes: Vec<String>,
    /// What it is for.
    pub note: String,
    /// Now.
    pub created: OffsetDateTime,
    /// When it ends.
    pub expires: Option<OffsetDateTime>,
    /// The login it belongs to, if any.
    pub session_id: Option<String>,
    /// Who asks for it.
    pub client: String,
}

const COLUMNS: &str =
    "id, user_id, prefix, scopes, note, created, expires, last_activity, session_id, client";

impl Store {
    /// The token with this digest, unless it has ended.
    pub fn token_by_hash(&self, hash: &SecretHash, now: OffsetDateTime) -> Result<Option<Token>> {
        self.read("find a token", |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens WHERE hash = ?1 AND (expires IS NULL OR expires > ?2)"
            ))?
            .query_row(params![hash.as_bytes().as_slice(), micros(now)], from_row)
            .optional()
        })
    }

    /// A user's tokens that have not ended, oldest first.
    pub fn tokens_of(&self, user_id: i64, now: OffsetDateTime) -> Result<Vec<Token>> {
        self.read("list tokens", |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens WHERE user_id = ?1 AND (expires IS NULL OR expires > ?2) ORDER BY id"
            ))?
            .query_map(params![user_id, micros(now)], from_row)?
            .collect()
        })
    }

    /// One token of a user that has not ended.
    pub fn token_of(&self, user_id: i64, id: i64, now: OffsetDateTime) -> Result<Option<Token>> {
        self.read("find a token", |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens WHERE user_id = ?1 AND id = ?2 AND (expires IS NULL OR expires > ?3)"
            ))?
            .query_row(params![user_id, id, micros(now)], from_row)
            .optional()
        })
    }

    /// Adds a token.
    pub fn add_token(&mut self, new: &NewToken) -> Result<Token> {
        self.write("add a token", |tx| {
            tx.prepare_cached(
                "INSERT INTO tokens (user_id, hash, prefix, scopes, note, created, expires, session_id, client)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                new.user_id,
                new.hash.as_bytes().as_slice(),
                new.prefix,
                new.scopes.join(" "),
                new.note,
                micros(new.created),
                new.expires.map(micros),
                new.session_id,
                new.client
            ])?;
            let id = tx.last_insert_rowid();
            tx.query_row(&format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1"), [id], from_row)
        })
    }

    /// Notes that a token was used.
    pub fn touch_token(&mut self, id: i64, at: OffsetDateTime) -> Result<()> {
        self.write("note a token's use", |tx| {
            tx.prepare_cached(
                "UPDATE tokens SET last_activity = ?2 WHERE id = ?1 AND coalesce(last_activity, 0) < ?2",
            )?
            .execute(params![id, micros(at)])
            .map(|_| ())
        })
    }

    /// Revokes one token of a user.
    pub fn delete_token(&mut self, user_id: i64, id: i64) -> Result<bool> {
        self.write("revoke a token", |tx| {
            Ok(tx.execute("DELETE FROM tokens WHERE user_id = ?1 AND id = ?2", [user_id, id])? > 0)
        })
    }

    /// Removes tokens and logins that have ended; gives how many.
    pub fn delete_expired(&mut self, now: OffsetDateTime) -> Result<usize> {
        self.write("remove what has ended", |tx| {
            let tokens = tx.execute("DELETE FROM tokens WHERE expires <= ?1", [micros(now)])?;
            Ok(tokens + tx.execute("DELETE FROM logins WHERE expires <= ?1", [micros(now)])?)
        })
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Token> {
    let scopes: String = row.get(3)?;
    Ok(Token {
        id: row.get(0)?,
        user_id: row.get(1)?,
        prefix: row.get(2)?,
        scopes: scopes.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        note: row.get(4)?,
        created: from_micros(row.get(5)?),
        expires: row.get::<_, Option<i64>>(6)?.map(from_micros),
        last_activity: row.get::<_, Option<i64>>(7)?.map(from_micros),
        session_id: row.get(8)?,
        client: row.get(9)?,
    })
}
