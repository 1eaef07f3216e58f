//! What must survive a restart: users, groups, password hashes, tokens, logins, services, OAuth clients and codes, servers, shares,
//! kernels, sessions and small settings.
//!
//! One [`Store`] is one connection and is used from one thread; the gateway keeps it on a thread of its own. Every public function is
//! one transaction. The store knows neither HTTP nor who is asking, and takes the time as an argument.
//!
//! Functions live beside their table: [`users`], [`groups`], [`tokens`], [`logins`], [`services`], [`clients`], [`codes`],
//! [`servers`], [`shares`], [`share_codes`], [`kernels`], [`kv`].

pub mod clients;
pub mod codes;
mod error;
pub mod groups;
pub mod kernels;
pub mod kv;
pub mod logins;
pub mod servers;
pub mod services;
pub mod share_codes;
pub mod shares;
pub mod tokens;
pub mod users;

#[cfg(test)]
mod contract;

pub use clients::{ClientOf, NewClient, OAuthClient, StandsFor};
pub use codes::{AuthCode, CodeState};
pub use error::{Error, Result};
pub use groups::Group;
pub use kernels::{KernelRow, SessionRow};
pub use logins::{Login, NewLogin};
pub use servers::Server;
pub use services::{NewService, Service, ServiceClient};
pub use share_codes::{Accepted, CodeKey, NewShareCode, ShareCode};
pub use shares::{Given, Part, Recipient, Share, ShareWith, SharedServer, Shares};
pub use tokens::{NewToken, Token, TokenOwner};
pub use users::User;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;
use time::OffsetDateTime;

/// One step each, in order; a database says in `user_version` how many it has taken.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_oauth.sql"),
    include_str!("../migrations/0003_shares.sql"),
];

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

impl Store {
    /// Opens the file, makes it if it is missing, and brings it to the present version.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)
            .map_err(|source| Error::Open { path: path.to_owned(), source })?;
        Self::prepare(db)
    }

    /// A store that is gone when it is dropped.
    pub fn in_memory() -> Result<Self> {
        let db =
            Connection::open_in_memory().map_err(|source| Error::Open { path: ":memory:".into(), source })?;
        Self::prepare(db)
    }

    fn prepare(db: Connection) -> Result<Self> {
        db.busy_timeout(Duration::from_secs(5)).map_err(Error::doing("set the busy timeout"))?;
        db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;")
            .map_err(Error::doing("set up the database"))?;
        db.set_prepared_statement_cache_capacity(64);
        let mut store = Self { db };
        store.migrate()?;
        Ok(store)
    }

    fn migrate(&mut self) -> Result<()> {
        let version: i64 = self
            .db
            .query_row("PRAGMA user_version", [], |r| r.get(0))
            .map_err(Error::doing("read the database version"))?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if version > known {
            return Err(Error::TooNew { found: version, known });
        }
        for (step, sql) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > version) {
            self.write("migrate the database", |tx| {
                tx.execute_batch(sql)?;
                tx.pragma_update(None, "user_version", step)
            })?;
        }
        Ok(())
    }

    /// Reads the whole database once and asks SQLite whether it is sound.
    pub fn check(&self) -> Result<()> {
        let answer: String = self
            .db
            .query_row("PRAGMA quick_check(1)", [], |r| r.get(0))
            .map_err(Error::doing("check the database"))?;
        if answer == "ok" { Ok(()) } else { Err(Error::Damaged(answer)) }
    }

    /// Runs `f` in one transaction that is committed if `f` succeeds and undone otherwise.
    pub(crate) fn write<T>(
        &mut self,
        attempt: &'static str,
        f: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Error::doing(attempt))?;
        let value = f(&tx).map_err(Error::doing(attempt))?;
        tx.commit().map_err(Error::doing(attempt))?;
        Ok(value)
    }

    /// Runs `f` on the connection, for reading.
    pub(crate) fn read<T>(
        &self,
        attempt: &'static str,
        f: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        f(&self.db).map_err(Error::doing(attempt))
    }
}

/// A kept list of words.
fn words(text: &str) -> Vec<String> {
    text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// A time as it is kept.
pub fn micros(t: OffsetDateTime) -> i64 {
    i64::try_from(t.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

/// A kept time.
pub fn from_micros(us: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
