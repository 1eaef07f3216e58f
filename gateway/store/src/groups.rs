//! Groups, their members and properties.

use crate::{Result, Store};
use carrel_hub::{GroupName, UserName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Row number.
    pub id: i64,
    /// The name.
    pub name: GroupName,
    /// Names of the members, sorted.
    pub users: Vec<String>,
    /// Whatever an admin noted.
    pub properties: Map<String, Value>,
}

impl Store {
    /// All groups by name, with members.
    pub fn groups(&self) -> Result<Vec<Group>> {
        self.read("list groups", |db| {
            let mut q = db.prepare_cached("SELECT id, name, properties FROM groups ORDER BY name")?;
            let mut groups: Vec<Group> = q.query_map([], from_row)?.collect::<rusqlite::Result<_>>()?;
            let mut members: BTreeMap<i64, Vec<String>> = BTreeMap::new();
            let mut q = db.prepare_cached(
                "SELECT m.group_id, u.name FROM members m JOIN users u ON u.id = m.user_id ORDER BY u.name",
            )?;
            for row in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
                let (group, user): (i64, String) = row?;
                members.entry(group).or_default().push(user);
            }
            for g in &mut groups {
                g.users = members.remove(&g.id).unwrap_or_default();
            }
            Ok(groups)
        })
    }

    /// One group with its members.
    pub fn group(&self, name: &GroupName) -> Result<Option<Group>> {
        self.read("find a group", |db| find(db, name))
    }

    /// The names of a user's groups, sorted.
    pub fn groups_of(&self, user_id: i64) -> Result<Vec<String>> {
        self.read("list a user's groups", |db| {
            db.prepare_cached("SELECT g.name FROM groups g JOIN members m ON m.group_id = g.id WHERE m.user_id = ?1 ORDER BY g.name")?
                .query_map([user_id], |r| r.get(0))?
                .collect()
        })
    }

    /// The same for the user whose home has this name.
    pub fn groups_of_folder(&self, folder: &str) -> Result<Vec<String>> {
        self.read("list a user's groups", |db| {
            db.prepare_cached("SELECT g.name FROM groups g JOIN members m ON m.group_id = g.id JOIN users u ON u.id = m.user_id WHERE u.folder = ?1 ORDER BY g.name")?
                .query_map([folder], |r| r.get(0))?
                .collect()
        })
    }

    /// The members of each of these groups; unknown groups are left out.
    pub fn members_of(&self, groups: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>> {
        self.read("list members", |db| {
            let mut q = db.prepare_cached(
                "SELECT u.name FROM members m JOIN users u ON u.id = m.user_id JOIN groups g ON g.id = m.group_id WHERE g.name = ?1",
            )?;
            groups.iter().map(|g| Ok((g.clone(), q.query_map([g], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?))).collect()
        })
    }

    /// Adds groups with the same first members, skipping groups that exist; gives the new ones.
    pub fn add_groups(&mut self, names: &[GroupName], user_ids: &[i64]) -> Result<Vec<Group>> {
        self.write("add groups", |tx| {
            let mut made = Vec::new();
            for name in names {
                if tx.execute("INSERT OR IGNORE INTO groups (name) VALUES (?1)", [name.as_str()])? == 0 {
                    continue;
                }
                let id = tx.last_insert_rowid();
                add_members(tx, id, user_ids)?;
                made.extend(find(tx, name)?);
            }
            Ok(made)
        })
    }

    /// Adds members; those that are already in stay.
    pub fn add_members(&mut self, group_id: i64, user_ids: &[i64]) -> Result<()> {
        self.write("add members", |tx| add_members(tx, group_id, user_ids))
    }

    /// Removes members; those that are not in do not matter.
    pub fn remove_members(&mut self, group_id: i64, user_ids: &[i64]) -> Result<()> {
        self.write("remove members", |tx| {
            let mut q = tx.prepare_cached("DELETE FROM members WHERE group_id = ?1 AND user_id = ?2")?;
            user_ids.iter().try_for_each(|u| q.execute(params![group_id, u]).map(|_| ()))
        })
    }

    /// Replaces a group's properties.
    pub fn set_group_properties(&mut self, group_id: i64, properties: &Map<String, Value>) -> Result<()> {
        let text = Value::Object(properties.clone()).to_string();
        self.write("set group properties", |tx| {
            tx.execute("UPDATE groups SET properties = ?2 WHERE id = ?1", params![group_id, text]).map(|_| ())
        })
    }

    /// Removes a group.
    pub fn delete_group(&mut self, group_id: i64) -> Result<bool> {
        self.write("delete a group", |tx| Ok(tx.execute("DELETE FROM groups WHERE id = ?1", [group_id])? > 0))
    }

    /// The row numbers of these users; an unknown name is given back as the error.
    pub fn user_ids(&self, names: &[UserName]) -> Result<std::result::Result<Vec<i64>, UserName>> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            match self.user(name)? {
                Some(u) => ids.push(u.id),
                None => return Ok(Err(name.clone())),
            }
        }
        Ok(Ok(ids))
    }
}

fn add_members(db: &Connection, group_id: i64, user_ids: &[i64]) -> rusqlite::Result<()> {
    let mut q = db.prepare_cached("INSERT OR IGNORE INTO members (group_id, user_id) VALUES (?1, ?2)")?;
    user_ids.iter().try_for_each(|u| q.execute(params![group_id, u]).map(|_| ()))
}

fn find(db: &Connection, name: &GroupName) -> rusqlite::Result<Option<Group>> {
    let found = db
        .prepare_cached("SELECT id, name, properties FROM groups WHERE name = ?1")?
        .query_row([name.as_str()], from_row)
        .optional()?;
    let Some(mut group) = found else { return Ok(None) };
    group.users = db
        .prepare_cached("SELECT u.name FROM members m JOIN users u ON u.id = m.user_id WHERE m.group_id = ?1 ORDER BY u.name")?
        .query_map([group.id], |r| r.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(group))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Group> {
    let text: String = row.get(1)?;
    let name = GroupName::parse(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e))
    })?;
    let properties: String = row.get(2)?;
    Ok(Group {
        id: row.get(0)?,
        name,
        users: Vec::new(),
        properties: serde_json::from_str(&properties).unwrap_or_default(),
    })
}
