//! Kernels and sessions: what must be adopted after a restart.

use crate::{Result, Store, from_micros, micros};
use rusqlite::{Row, params};
use time::OffsetDateTime;

/// A kernel that was started and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRow {
    /// Jupyter's id.
    pub id: String,
    /// Whose.
    pub user: String,
    /// Of which server; empty for the default one.
    pub server: String,
    /// The kernelspec.
    pub name: String,
    /// The sandbox's id.
    pub jail_id: String,
    /// Where it began, below the home.
    pub cwd: String,
    /// When it was started.
    pub created: OffsetDateTime,
    /// The last sign of life that was written down.
    pub last_activity: OffsetDateTime,
}

/// A session: a notebook (or console) and its kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// Whose.
    pub user: String,
    /// Of which server; empty for the default one.
    pub server: String,
    /// The notebook's path, or whatever the client named it by.
    pub path: String,
    /// Its display name.
    pub name: String,
    /// `notebook`, `console`, `file` …
    pub kind: String,
    /// Its kernel.
    pub kernel_id: String,
    /// When it was made.
    pub created: OffsetDateTime,
}

impl Store {
    /// All kernels of everybody, oldest first.
    pub fn kernels(&self) -> Result<Vec<KernelRow>> {
        self.read("list kernels", |db| {
            db.prepare_cached(
                "SELECT id, user, server, name, jail_id, cwd, created, last_activity FROM kernels ORDER BY created, id",
            )?
            .query_map([], kernel)?
            .collect()
        })
    }

    /// Writes a kernel, new or changed.
    pub fn put_kernel(&mut self, k: &KernelRow) -> Result<()> {
        self.write("write a kernel", |tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO kernels (id, user, server, name, jail_id, cwd, created, last_activity)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                k.id,
                k.user,
                k.server,
                k.name,
                k.jail_id,
                k.cwd,
                micros(k.created),
                micros(k.last_activity)
            ])
            .map(|_| ())
        })
    }

    /// Writes when kernels last gave a sign of life.
    pub fn touch_kernels(&mut self, seen: &[(String, OffsetDateTime)]) -> Result<()> {
        self.write("write kernels' activity", |tx| {
            let mut write =
                tx.prepare_cached("UPDATE kernels SET last_activity = max(last_activity, ?2) WHERE id = ?1")?;
            seen.iter().try_for_each(|(id, at)| write.execute(params![id, micros(*at)]).map(|_| ()))
        })
    }

    /// Removes a kernel and the sessions that had it.
    pub fn delete_kernel(&mut self, id: &str) -> Result<()> {
        self.write("remove a kernel", |tx| {
            tx.execute("DELETE FROM sessions WHERE kernel_id = ?1", [id])?;
            tx.execute("DELETE FROM kernels WHERE id = ?1", [id]).map(|_| ())
        })
    }

    /// All sessions of everybody, oldest first.
    pub fn sessions(&self) -> Result<Vec<SessionRow>> {
        self.read("list sessions", |db| {
            db.prepare_cached(
                "SELECT id, user, server, path, name, type, kernel_id, created FROM sessions ORDER BY created, id",
            )?
            .query_map([], session)?
            .collect()
        })
    }

    /// Writes a session, new or changed.
    pub fn put_session(&mut self, s: &SessionRow) -> Result<()> {
        self.write("write a session", |tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO sessions (id, user, server, path, name, type, kernel_id, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![s.id, s.user, s.server, s.path, s.name, s.kind, s.kernel_id, micros(s.created)])
            .map(|_| ())
        })
    }

    /// Removes a session.
    pub fn delete_session(&mut self, id: &str) -> Result<()> {
        self.write("remove a session", |tx| {
            tx.execute("DELETE FROM sessions WHERE id = ?1", [id]).map(|_| ())
        })
    }
}

fn kernel(row: &Row<'_>) -> rusqlite::Result<KernelRow> {
    Ok(KernelRow {
        id: row.get(0)?,
        user: row.get(1)?,
        server: row.get(2)?,
        name: row.get(3)?,
        jail_id: row.get(4)?,
        cwd: row.get(5)?,
        created: from_micros(row.get(6)?),
        last_activity: from_micros(row.get(7)?),
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        user: row.get(1)?,
        server: row.get(2)?,
        path: row.get(3)?,
        name: row.get(4)?,
        kind: row.get(5)?,
        kernel_id: row.get(6)?,
        created: from_micros(row.get(7)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_hub::UserName;

    #[test]
    fn kernels_and_sessions_come_back_and_go_together() {
        let mut store = Store::in_memory().unwrap();
        let at = from_micros(5_000_000);
        store.add_users(&[UserName::parse("ada").unwrap()], false, at).unwrap();
        let k = KernelRow {
            id: "k1".into(),
            user: "ada".into(),
            server: String::new(),
            name: "carrel".into(),
            jail_id: "k-1".into(),
            cwd: "a/b".into(),
            created: at,
            last_activity: at,
        };
        let s = SessionRow {
            id: "s1".into(),
            user: "ada".into(),
            server: String::new(),
            path: "x.ipynb".into(),
            name: "x".into(),
            kind: "notebook".into(),
            kernel_id: "k1".into(),
            created: at,
        };
        store.put_kernel(&k).unwrap();
        store.put_session(&s).unwrap();
        let moved = SessionRow { path: "y.ipynb".into(), ..s };
        store.put_session(&moved).unwrap();
        assert_eq!((store.kernels().unwrap(), store.sessions().unwrap()), (vec![k.clone()], vec![moved]));
        assert!(store.put_kernel(&KernelRow { user: "nobody".into(), id: "k2".into(), ..k }).is_err());
        let later = from_micros(9_000_000);
        store.touch_kernels(&[("k1".into(), later), ("gone".into(), later)]).unwrap();
        assert_eq!(store.kernels().unwrap()[0].last_activity, later);
        store.delete_kernel("k1").unwrap();
        assert!(store.kernels().unwrap().is_empty() && store.sessions().unwrap().is_empty());
    }
}
