//! Shares: who besides its owner may use a server, and what they may do with it.

use crate::{Result, Store, from_micros, micros};
use carrel_hub::{GroupName, Scope, ServerName, UserName};
use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};
use time::OffsetDateTime;

/// Shares of one server, and shares with one user or one group, that there may be.
pub const MOST_SHARES: i64 = 1000;

/// One share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Row number.
    pub id: i64,
    /// The server.
    pub of: SharedServer,
    /// With whom.
    pub with: Recipient,
    /// What it gives, every scope with the server's filter; sorted.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: OffsetDateTime,
}

/// A server that is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedServer {
    /// Its owner's row.
    pub owner_id: i64,
    /// Its owner.
    pub owner: UserName,
    /// Its name.
    pub server: ServerName,
}

/// With whom something is shared, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A user.
    User(UserName),
    /// The members of a group.
    Group(GroupName),
}

/// With whom something is shared, by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareWith {
    /// A user.
    User(i64),
    /// The members of a group.
    Group(i64),
}

impl ShareWith {
    fn column(self) -> (&'static str, i64) {
        match self {
            Self::User(id) => ("user_id", id),
            Self::Group(id) => ("group_id", id),
        }
    }
}

/// Which shares are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shares {
    /// Those of all servers of a user.
    OfOwner(i64),
    /// Those of one server.
    OfServer(i64, ServerName),
    /// What a user has from others, also as a member of a group.
    WithUser(i64),
    /// What the members of a group have.
    WithGroup(i64),
}

/// Part of a list, and how long the whole is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<T> {
    /// What was asked for.
    pub rows: Vec<T>,
    /// How many there are.
    pub total: usize,
}

/// What became of a wish to share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// There is a share with these scopes.
    Share(Share),
    /// There are too many already.
    TooMany,
}

const FROM: &str = "FROM shares s JOIN users o ON o.id = s.owner_id LEFT JOIN users u ON u.id = s.user_id
                    LEFT JOIN groups g ON g.id = s.group_id";
const COLUMNS: &str = "s.id, s.owner_id, o.name, s.server, u.name, g.name, s.scopes, s.created";

impl Store {
    /// Shares in the order in which they were made.
    pub fn shares(&self, which: &Shares, offset: usize, limit: usize) -> Result<Part<Share>> {
        let (condition, mut values) = which.condition();
        self.read("list shares", |db| {
            let total = count(db, &condition, &values)?;
            values.extend([Box::new(wide(limit)) as Box<dyn ToSql>, Box::new(wide(offset))]);
            let n = values.len();
            let rows = db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} {FROM} WHERE {condition} ORDER BY s.id LIMIT ?{} OFFSET ?{n}",
                    n - 1
                ))?
                .query_map(params_from_iter(values), from_row)?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Part { rows, total: usize::try_from(total).unwrap_or(0) })
        })
    }

    /// The share of a server with somebody.
    pub fn share(&self, owner_id: i64, server: &ServerName, with: ShareWith) -> Result<Option<Share>> {
        self.read("find a share", |db| find(db, owner_id, server, with))
    }

    /// What is shared with a user, directly or, with `by_group`, also through groups.
    pub fn scopes_shared_with(&self, user_id: i64, by_group: bool) -> Result<Vec<Scope>> {
        let mut condition = "s.user_id = ?1".to_owned();
        if by_group {
            condition = Shares::WithUser(user_id).condition().0;
        }
        self.read("find what is shared with a user", |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT o.name, s.server, s.scopes FROM shares s JOIN users o ON o.id = s.owner_id WHERE {condition}"
            ))?;
            let rows = query.query_map([user_id], |row| {
                let (owner, server, names): (String, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(scopes(&names, &owner, &server))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
        })
    }

    /// Shares a server; scopes are added to those that were given before.
    pub fn give_share(
        &mut self,
        owner_id: i64,
        server: &ServerName,
        with: ShareWith,
        scopes: &[Scope],
        now: OffsetDateTime,
    ) -> Result<Given> {
        self.write("share a server", |tx| give(tx, owner_id, server, with, scopes, now))
    }

    /// Takes scopes back, all of them if none is named. Gives the share if something is left of it.
    pub fn take_share(
        &mut self,
        owner_id: i64,
        server: &ServerName,
        with: ShareWith,
        scopes: Option<&[Scope]>,
    ) -> Result<Option<Share>> {
        self.write("take a share back", |tx| {
            let Some(share) = find(tx, owner_id, server, with)? else { return Ok(None) };
            let left: Vec<Scope> = share
                .scopes
                .into_iter()
                .filter(|scope| scopes.is_some_and(|taken| !taken.contains(scope)))
                .collect();
            if left.is_empty() {
                tx.execute("DELETE FROM shares WHERE id = ?1", [share.id])?;
                return Ok(None);
            }
            tx.execute("UPDATE shares SET scopes = ?2 WHERE id = ?1", params![share.id, names(&left)])?;
            find(tx, owner_id, server, with)
        })
    }

    /// Takes all shares of a server back; gives how many.
    pub fn delete_shares(&mut self, owner_id: i64, server: &ServerName) -> Result<usize> {
        self.write("take a server's shares back", |tx| {
            tx.execute(
                "DELETE FROM shares WHERE owner_id = ?1 AND server = ?2",
                params![owner_id, server.as_str()],
            )
        })
    }
}

impl Shares {
    fn condition(&self) -> (String, Vec<Box<dyn ToSql>>) {
        match self {
            Self::OfOwner(id) => ("s.owner_id = ?1".into(), vec![Box::new(*id)]),
            Self::OfServer(id, server) => (
                "s.owner_id = ?1 AND s.server = ?2".into(),
                vec![Box::new(*id), Box::new(server.as_str().to_owned())],
            ),
            Self::WithUser(id) => (
                "(s.user_id = ?1 OR s.group_id IN (SELECT group_id FROM members WHERE user_id = ?1))".into(),
                vec![Box::new(*id)],
            ),
            Self::WithGroup(id) => ("s.group_id = ?1".into(), vec![Box::new(*id)]),
        }
    }
}

pub(crate) fn give(
    tx: &Transaction<'_>,
    owner_id: i64,
    server: &ServerName,
    with: ShareWith,
    scopes: &[Scope],
    now: OffsetDateTime,
) -> rusqlite::Result<Given> {
    let (column, whom) = with.column();
    match find(tx, owner_id, server, with)? {
        Some(share) => {
            let all: Vec<Scope> = share.scopes.iter().chain(scopes).cloned().collect();
            tx.execute("UPDATE shares SET scopes = ?2 WHERE id = ?1", params![share.id, names(&all)])?;
        }
        None => {
            let of_server = count(
                tx,
                "s.owner_id = ?1 AND s.server = ?2",
                &[Box::new(owner_id) as Box<dyn ToSql>, Box::new(server.as_str().to_owned())],
            )?;
            let with_them = count(tx, &format!("s.{column} = ?1"), &[Box::new(whom) as Box<dyn ToSql>])?;
            if of_server >= MOST_SHARES || with_them >= MOST_SHARES {
                return Ok(Given::TooMany);
            }
            tx.execute(
                &format!(
                    "INSERT INTO shares (owner_id, server, {column}, scopes, created) VALUES (?1, ?2, ?3, ?4, ?5)"
                ),
                params![owner_id, server.as_str(), whom, names(scopes), micros(now)],
            )?;
        }
    }
    find(tx, owner_id, server, with)?.map(Given::Share).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn find(
    db: &Connection,
    owner_id: i64,
    server: &ServerName,
    with: ShareWith,
) -> rusqlite::Result<Option<Share>> {
    let (column, whom) = with.column();
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM} WHERE s.owner_id = ?1 AND s.server = ?2 AND s.{column} = ?3"
    ))?
    .query_row(params![owner_id, server.as_str(), whom], from_row)
    .optional()
}

fn count(db: &Connection, condition: &str, values: &[Box<dyn ToSql>]) -> rusqlite::Result<i64> {
    db.prepare_cached(&format!("SELECT count(*) FROM shares s WHERE {condition}"))?
        .query_row(params_from_iter(values), |row| row.get(0))
}

/// Scopes as they are kept: their names, each once, sorted.
pub(crate) fn names(scopes: &[Scope]) -> String {
    let mut names: Vec<&str> = scopes.iter().map(Scope::name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// Kept names as scopes of the server. One that no longer exists gives nothing.
pub(crate) fn scopes(names: &str, owner: &str, server: &str) -> Vec<Scope> {
    names.split(' ').filter_map(|name| Scope::parse(name).ok()?.of_server(owner, server).ok()).collect()
}

pub(crate) fn wide(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Owner's row, owner and server, from three columns.
pub(crate) fn server_from(row: &Row<'_>, first: usize) -> rusqlite::Result<SharedServer> {
    let (owner, server): (String, String) = (row.get(first + 1)?, row.get(first + 2)?);
    Ok(SharedServer {
        owner_id: row.get(first)?,
        owner: UserName::parse(&owner).map_err(|e| broken(first + 1, e))?,
        server: ServerName::parse(&server).map_err(|e| broken(first + 2, e))?,
    })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Share> {
    let of = server_from(row, 1)?;
    let with = match row.get::<_, Option<String>>(4)? {
        Some(user) => Recipient::User(UserName::parse(&user).map_err(|e| broken(4, e))?),
        None => {
            let group: String = row.get(5)?;
            Recipient::Group(GroupName::parse(&group).map_err(|e| broken(5, e))?)
        }
    };
    let kept: String = row.get(6)?;
    let scopes = scopes(&kept, of.owner.as_str(), of.server.as_str());
    Ok(Share { id: row.get(0)?, of, with, scopes, created: from_micros(row.get(7)?) })
}

fn broken(column: usize, e: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e))
}
