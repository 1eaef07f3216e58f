//! Share codes: digests of texts that, until their time is over, anybody who has them may exchange for a share of a server.

use crate::shares::{self, Given, Part, ShareWith, SharedServer};
use crate::{Result, Store, from_micros, micros};
use carrel_hub::{Scope, SecretHash, ServerName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use time::OffsetDateTime;

/// Codes of one server that hold at a time.
pub const MOST_CODES: i64 = 100;

/// One code, without what people are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareCode {
    /// Row number.
    pub id: i64,
    /// The server.
    pub of: SharedServer,
    /// What it gives, every scope with the server's filter; sorted.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: OffsetDateTime,
    /// Until when it holds.
    pub expires: OffsetDateTime,
    /// How often it was exchanged.
    pub exchanges: u64,
    /// When it was exchanged last.
    pub last_exchanged: Option<OffsetDateTime>,
}

/// A code to be made.
#[derive(Debug, Clone)]
pub struct NewShareCode {
    /// The server's owner.
    pub owner_id: i64,
    /// The server.
    pub server: ServerName,
    /// Digest of the code.
    pub hash: SecretHash,
    /// What it gives.
    pub scopes: Vec<Scope>,
    /// Now.
    pub created: OffsetDateTime,
    /// Until when it holds.
    pub expires: OffsetDateTime,
}

/// Which code of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeKey {
    /// By row number.
    Id(i64),
    /// By what it was made of.
    Hash(SecretHash),
}

/// What became of a code that somebody accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// There is a share, or there are too many.
    Given(Given),
    /// The server is the user's own.
    Own,
    /// Nobody gave it out, or its time is over.
    Unknown,
}

const SELECT: &str =
    "SELECT c.id, c.owner_id, o.name, c.server, c.scopes, c.created, c.expires, c.exchanges, c.last_exchanged
                      FROM share_codes c JOIN users o ON o.id = c.owner_id";

impl Store {
    /// Makes a code; `None` if the server has too many.
    pub fn add_share_code(&mut self, new: &NewShareCode) -> Result<Option<ShareCode>> {
        self.write("make a share code", |tx| {
            let held: i64 = tx.query_row(
                "SELECT count(*) FROM share_codes WHERE owner_id = ?1 AND server = ?2 AND expires > ?3",
                params![new.owner_id, new.server.as_str(), micros(new.created)],
                |row| row.get(0),
            )?;
            if held >= MOST_CODES {
                return Ok(None);
            }
            tx.execute(
                "INSERT INTO share_codes (owner_id, server, hash, scopes, created, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    new.owner_id,
                    new.server.as_str(),
                    new.hash.as_bytes().as_slice(),
                    shares::names(&new.scopes),
                    micros(new.created),
                    micros(new.expires)
                ],
            )?;
            tx.query_row(&format!("{SELECT} WHERE c.id = ?1"), [tx.last_insert_rowid()], from_row).map(Some)
        })
    }

    /// Codes of all servers of a user, or of one, that hold; in the order in which they were made.
    pub fn share_codes(
        &self,
        owner_id: i64,
        server: Option<&ServerName>,
        (offset, limit): (usize, usize),
        now: OffsetDateTime,
    ) -> Result<Part<ShareCode>> {
        let condition = "c.owner_id = ?1 AND (?2 IS NULL OR c.server = ?2) AND c.expires > ?3";
        let (server, now) = (server.map(ServerName::as_str), micros(now));
        self.read("list share codes", |db| {
            let total: i64 = db
                .prepare_cached(&format!("SELECT count(*) FROM share_codes c WHERE {condition}"))?
                .query_row(params![owner_id, server, now], |row| row.get(0))?;
            let rows = db
                .prepare_cached(&format!("{SELECT} WHERE {condition} ORDER BY c.id LIMIT ?4 OFFSET ?5"))?
                .query_map(
                    params![owner_id, server, now, shares::wide(limit), shares::wide(offset)],
                    from_row,
                )?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Part { rows, total: usize::try_from(total).unwrap_or(0) })
        })
    }

    /// The code with this digest, while it holds.
    pub fn share_code(&self, hash: &SecretHash, now: OffsetDateTime) -> Result<Option<ShareCode>> {
        self.read("find a share code", |db| find(db, hash, now))
    }

    /// Exchanges a code for a share with a user. It may be exchanged again, by the same or by others.
    pub fn accept_share_code(
        &mut self,
        hash: &SecretHash,
        user_id: i64,
        now: OffsetDateTime,
    ) -> Result<Accepted> {
        self.write("accept a share code", |tx| {
            let Some(code) = find(tx, hash, now)? else { return Ok(Accepted::Unknown) };
            if code.of.owner_id == user_id {
                return Ok(Accepted::Own);
            }
            let with = ShareWith::User(user_id);
            let given = shares::give(tx, code.of.owner_id, &code.of.server, with, &code.scopes, now)?;
            if matches!(given, Given::Share(_)) {
                tx.execute(
                    "UPDATE share_codes SET exchanges = exchanges + 1, last_exchanged = ?2 WHERE id = ?1",
                    params![code.id, micros(now)],
                )?;
            }
            Ok(Accepted::Given(given))
        })
    }

    /// Takes one code of a server back. What it was exchanged for stays.
    pub fn delete_share_code(&mut self, owner_id: i64, server: &ServerName, key: CodeKey) -> Result<bool> {
        self.write("take a share code back", |tx| {
            let server = server.as_str();
            let gone = match key {
                CodeKey::Id(id) => tx.execute(
                    "DELETE FROM share_codes WHERE owner_id = ?1 AND server = ?2 AND id = ?3",
                    params![owner_id, server, id],
                ),
                CodeKey::Hash(hash) => tx.execute(
                    "DELETE FROM share_codes WHERE owner_id = ?1 AND server = ?2 AND hash = ?3",
                    params![owner_id, server, hash.as_bytes().as_slice()],
                ),
            };
            Ok(gone? > 0)
        })
    }

    /// Takes all codes of a server back; gives how many.
    pub fn delete_share_codes(&mut self, owner_id: i64, server: &ServerName) -> Result<usize> {
        self.write("take a server's share codes back", |tx| {
            tx.execute(
                "DELETE FROM share_codes WHERE owner_id = ?1 AND server = ?2",
                params![owner_id, server.as_str()],
            )
        })
    }
}

fn find(db: &Connection, hash: &SecretHash, now: OffsetDateTime) -> rusqlite::Result<Option<ShareCode>> {
    db.prepare_cached(&format!("{SELECT} WHERE c.hash = ?1 AND c.expires > ?2"))?
        .query_row(params![hash.as_bytes().as_slice(), micros(now)], from_row)
        .optional()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ShareCode> {
    let of = shares::server_from(row, 1)?;
    let kept: String = row.get(4)?;
    let scopes = shares::scopes(&kept, of.owner.as_str(), of.server.as_str());
    Ok(ShareCode {
        id: row.get(0)?,
        of,
        scopes,
        created: from_micros(row.get(5)?),
        expires: from_micros(row.get(6)?),
        exchanges: u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
        last_exchanged: row.get::<_, Option<i64>>(8)?.map(from_micros),
    })
}
