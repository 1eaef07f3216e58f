//! API tokens: digests, never the tokens themselves.

use crate::{Result, Store, from_micros, micros, words};
use carrel_hub::SecretHash;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use time::OffsetDateTime;

/// One API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Row number.
    pub id: i64,
    /// Whose it is.
    pub owner: TokenOwner,
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
    /// Who asked for it, for people.
    pub client: String,
    /// The OAuth client that it was issued to, if one asked for it.
    pub client_id: Option<String>,
}

/// Whose a token is, by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOwner {
    /// A user's.
    User(i64),
    /// A service's.
    Service(i64),
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub owner: TokenOwner,
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
    /// Who asks for it, for people.
    pub client: String,
    /// The OAuth client that it is issued to, if one asks for it.
    pub client_id: Option<String>,
}

const COLUMNS: &str = "id, user_id, service_id, prefix, scopes, note, created, expires, last_activity, session_id, client, client_id";

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

    /// One token, unless it has ended.
    pub fn token_by_id(&self, id: i64, now: OffsetDateTime) -> Result<Option<Token>> {
        self.read("find a token", |db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM tokens WHERE id = ?1 AND (expires IS NULL OR expires > ?2)"
            ))?
            .query_row(params![id, micros(now)], from_row)
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
        self.write("add a token", |tx| insert(tx, new))
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

    /// Revokes one token of a user. If it was issued to an OAuth client, all of the user's tokens of that client go with it, as in
    /// JupyterHub: to take an application's access away means all of it.
    pub fn delete_token(&mut self, user_id: i64, id: i64) -> Result<bool> {
        self.write("revoke a token", |tx| {
            tx.execute(
                "DELETE FROM tokens WHERE user_id = ?1 AND id <> ?2
                 AND client_id = (SELECT client_id FROM tokens WHERE user_id = ?1 AND id = ?2)",
                [user_id, id],
            )?;
            Ok(tx.execute("DELETE FROM tokens WHERE user_id = ?1 AND id = ?2", [user_id, id])? > 0)
        })
    }

    /// Removes tokens, codes and logins that have ended; gives how many.
    pub fn delete_expired(&mut self, now: OffsetDateTime) -> Result<usize> {
        self.write("remove what has ended", |tx| {
            let now = [micros(now)];
            let tokens = tx.execute("DELETE FROM tokens WHERE expires <= ?1", now)?;
            let codes = tx.execute("DELETE FROM oauth_codes WHERE expires <= ?1", now)?
                + tx.execute("DELETE FROM share_codes WHERE expires <= ?1", now)?;
            Ok(tokens + codes + tx.execute("DELETE FROM logins WHERE expires <= ?1", now)?)
        })
    }
}

pub(crate) fn insert(tx: &Transaction<'_>, new: &NewToken) -> rusqlite::Result<Token> {
    let (user_id, service_id) = match new.owner {
        TokenOwner::User(id) => (Some(id), None),
        TokenOwner::Service(id) => (None, Some(id)),
    };
    tx.prepare_cached(
        "INSERT INTO tokens (user_id, service_id, hash, prefix, scopes, note, created, expires, session_id, client, client_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        user_id,
        service_id,
        new.hash.as_bytes().as_slice(),
        new.prefix,
        new.scopes.join(" "),
        new.note,
        micros(new.created),
        new.expires.map(micros),
        new.session_id,
        new.client,
        new.client_id
    ])?;
    let id = tx.last_insert_rowid();
    tx.query_row(&format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1"), [id], from_row)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Token> {
    let scopes: String = row.get(4)?;
    let owner = match row.get::<_, Option<i64>>(1)? {
        Some(user) => TokenOwner::User(user),
        None => TokenOwner::Service(row.get(2)?),
    };
    Ok(Token {
        id: row.get(0)?,
        owner,
        prefix: row.get(3)?,
        scopes: words(&scopes),
        note: row.get(5)?,
        created: from_micros(row.get(6)?),
        expires: row.get::<_, Option<i64>>(7)?.map(from_micros),
        last_activity: row.get::<_, Option<i64>>(8)?.map(from_micros),
        session_id: row.get(9)?,
        client: row.get(10)?,
        client_id: row.get(11)?,
    })
}
