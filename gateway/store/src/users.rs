//! Users and their password hashes.

use crate::{Result, Store, from_micros, micros};
use carrel_hub::UserName;
use rusqlite::{Connection, OptionalExtension, Row, params};
use time::OffsetDateTime;

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Row number; stable for life.
    pub id: i64,
    /// The name.
    pub name: UserName,
    /// The sandbox's name of this user; unlike the name it never changes.
    pub folder: String,
    /// Whether the user holds the admin role.
    pub admin: bool,
    /// When the row was made.
    pub created: OffsetDateTime,
    /// The last sign of life.
    pub last_activity: Option<OffsetDateTime>,
}

const COLUMNS: &str = "id, name, folder, admin, created, last_activity";

impl Store {
    /// All users, oldest first.
    pub fn users(&self) -> Result<Vec<User>> {
        self.read("list users", |db| {
            let mut q = db.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY id"))?;
            q.query_map([], from_row)?.collect()
        })
    }

    /// How many users there are.
    pub fn count_users(&self) -> Result<u64> {
        let n: i64 =
            self.read("count users", |db| db.query_row("SELECT count(*) FROM users", [], |r| r.get(0)))?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    /// One user.
    pub fn user(&self, name: &UserName) -> Result<Option<User>> {
        self.read("find a user", |db| find(db, name))
    }

    /// One user by row number.
    pub fn user_by_id(&self, id: i64) -> Result<Option<User>> {
        self.read("find a user", |db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?1"))?
                .query_row([id], from_row)
                .optional()
        })
    }

    /// Adds users, skipping those that exist; gives the new ones, in the order asked for.
    pub fn add_users(&mut self, names: &[UserName], admin: bool, now: OffsetDateTime) -> Result<Vec<User>> {
        self.write("add users", |tx| {
            let mut made = Vec::new();
            for name in names {
                if find(tx, name)?.is_some() {
                    continue;
                }
                let folder = free_folder(tx, name)?;
                tx.prepare_cached(
                    "INSERT INTO users (name, folder, admin, created) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![name.as_str(), folder, admin, micros(now)])?;
                made.extend(find(tx, name)?);
            }
            Ok(made)
        })
    }

    /// Changes a user's name, admin flag or both. A taken name is [`crate::Error::Conflict`].
    pub fn change_user(&mut self, id: i64, name: Option<&UserName>, admin: Option<bool>) -> Result<()> {
        self.write("change a user", |tx| {
            tx.execute(
                "UPDATE users SET name = coalesce(?2, name), admin = coalesce(?3, admin) WHERE id = ?1",
                params![id, name.map(UserName::as_str), admin],
            )
            .map(|_| ())
        })
    }

    /// Removes a user with everything that hangs on the row.
    pub fn delete_user(&mut self, id: i64) -> Result<bool> {
        self.write("delete a user", |tx| Ok(tx.execute("DELETE FROM users WHERE id = ?1", [id])? > 0))
    }

    /// Notes a sign of life; earlier ones are ignored.
    pub fn touch_user(&mut self, id: i64, at: OffsetDateTime) -> Result<()> {
        self.write("note activity", |tx| {
            tx.prepare_cached(
                "UPDATE users SET last_activity = ?2 WHERE id = ?1 AND coalesce(last_activity, 0) < ?2",
            )?
            .execute(params![id, micros(at)])
            .map(|_| ())
        })
    }

    /// A user's password hash.
    pub fn password_hash(&self, id: i64) -> Result<Option<String>> {
        self.read("read a password hash", |db| {
            db.query_row("SELECT hash FROM passwords WHERE user_id = ?1", [id], |r| r.get(0)).optional()
        })
    }

    /// Sets a user's password hash and ends the user's logins, which the old password opened, with the tokens that belong to them.
    pub fn set_password_hash(&mut self, id: i64, hash: &str, now: OffsetDateTime) -> Result<()> {
        self.write("set a password", |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO passwords (user_id, hash, changed) VALUES (?1, ?2, ?3)",
                params![id, hash, micros(now)],
            )?;
            for table in ["tokens", "oauth_codes"] {
                tx.execute(
                    &format!("DELETE FROM {table} WHERE session_id IN (SELECT session_id FROM logins WHERE user_id = ?1)"),
                    [id],
                )?;
            }
            tx.execute("DELETE FROM logins WHERE user_id = ?1", [id]).map(|_| ())
        })
    }
}

fn find(db: &Connection, name: &UserName) -> rusqlite::Result<Option<User>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE name = ?1"))?
        .query_row([name.as_str()], from_row)
        .optional()
}

/// The user's folder-safe name, or that with a number if a renamed user still owns it.
fn free_folder(db: &Connection, name: &UserName) -> rusqlite::Result<String> {
    let wanted = name.escaped();
    let mut taken = db.prepare_cached("SELECT 1 FROM users WHERE folder = ?1")?;
    if !taken.exists([&wanted])? {
        return Ok(wanted);
    }
    let base: String = wanted.chars().take(50).collect();
    for n in 2_u32.. {
        let next = format!("{base}--{n}");
        if !taken.exists([&next])? {
            return Ok(next);
        }
    }
    Ok(wanted)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    let text: String = row.get(1)?;
    let name = UserName::parse(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e))
    })?;
    Ok(User {
        id: row.get(0)?,
        name,
        folder: row.get(2)?,
        admin: row.get(3)?,
        created: from_micros(row.get(4)?),
        last_activity: row.get::<_, Option<i64>>(5)?.map(from_micros),
    })
}
