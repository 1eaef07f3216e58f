//! Sessions: which notebook uses which kernel. Kept in memory, written through to the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrel_hub::{ServerName, UserName};
use carrel_store::SessionRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Owner;
use crate::error::{Error, Result};
use crate::store::StoreHandle;

/// Sessions of one owner.
const MOST: usize = 500;
/// The longest path or name of one.
const LONGEST: usize = 4096;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub owner: Owner,
    /// The notebook's path, or whatever the client named it by.
    pub path: String,
    /// Its display name.
    pub name: String,
    /// `notebook`, `console`, `file` …
    pub kind: String,
    /// Its kernel.
    pub kernel: Uuid,
    /// When it was made.
    pub created: OffsetDateTime,
}

/// All sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions {
    store: StoreHandle,
    table: Arc<Mutex<HashMap<Uuid, Session>>>,
    making: Arc<Mutex<HashMap<Owner, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Sessions {
    /// None yet.
    #[must_use]
    pub fn new(store: StoreHandle) -> Self {
        Self { store, table: Arc::default(), making: Arc::default() }
    }

    /// Reads those whose kernel lives.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, lives: impl Fn(Uuid) -> bool) -> Result<()> {
        for row in self.store.call(|s| s.sessions()).await? {
            match Session::from_row(&row).filter(|session| lives(session.kernel)) {
                Some(session) => drop(self.lock().insert(session.id, session)),
                None => self.store.call(move |s| s.delete_session(&row.id)).await?,
            }
        }
        Ok(())
    }

    /// One at a time per owner: two requests for the same notebook must not start two kernels.
    pub async fn making(&self, owner: &Owner) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            making.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(making.entry(owner.clone()).or_default())
        };
        lock.lock_owned().await
    }

    /// All of an owner, oldest first.
    #[must_use]
    pub fn list(&self, owner: &Owner) -> Vec<Session> {
        let mut found: Vec<Session> =
            self.lock().values().filter(|session| session.owner == *owner).cloned().collect();
        found.sort_by_key(|session| (session.created, session.id));
        found
    }

    /// One of an owner.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, owner: &Owner, id: &str) -> Result<Session> {
        let found = id.parse().ok().and_then(|id: Uuid| self.lock().get(&id).cloned());
        found
            .filter(|session| session.owner == *owner)
            .ok_or_else(|| Error::NotFound(format!("Session not found: session_id={id}")))
    }

    /// The one with this path.
    #[must_use]
    pub fn by_path(&self, owner: &Owner, path: &str) -> Option<Session> {
        self.lock().values().find(|session| session.owner == *owner && session.path == path).cloned()
    }

    /// Adds or changes one.
    ///
    /// # Errors
    /// When it is too large, there are too many, or the store fails (then nothing changed).
    pub async fn put(&self, session: Session) -> Result<()> {
        if session.path.len() > LONGEST || session.name.len() > LONGEST || session.kind.len() > 128 {
            return Err(Error::Malformed("the session's path, name or type is too long".into()));
        }
        let known = self.lock().contains_key(&session.id);
        if !known && self.list(&session.owner).len() >= MOST {
            return Err(Error::TooMany {
                message: format!("{MOST} sessions exist already"),
                retry_after: 60,
            });
        }
        let row = session.to_row();
        self.store.call(move |s| s.put_session(&row)).await?;
        self.lock().insert(session.id, session);
        Ok(())
    }

    /// Removes one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, id: Uuid) -> Result<()> {
        self.lock().remove(&id);
        self.store.call(move |s| s.delete_session(&id.to_string())).await
    }

    /// Forgets those of a kernel that is gone; the store forgets them with the kernel.
    pub fn forget_kernel(&self, kernel: Uuid) {
        self.lock().retain(|_, session| session.kernel != kernel);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Session>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn to_row(&self) -> SessionRow {
        SessionRow {
            id: self.id.to_string(),
            user: self.owner.user.to_string(),
            server: self.owner.server.to_string(),
            path: self.path.clone(),
            name: self.name.clone(),
            kind: self.kind.clone(),
            kernel_id: self.kernel.to_string(),
            created: self.created,
        }
    }

    fn from_row(row: &SessionRow) -> Option<Self> {
        Some(Self {
            id: row.id.parse().ok()?,
            owner: Owner {
                user: UserName::parse(&row.user).ok()?,
                server: ServerName::parse(&row.server).ok()?,
            },
            path: row.path.clone(),
            name: row.name.clone(),
            kind: row.kind.clone(),
            kernel: row.kernel_id.parse().ok()?,
            created: row.created,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_store::Store;

    fn session(path: &str, kernel: u128) -> Session {
        Session {
            id: Uuid::new_v4(),
            owner: Owner::of("ada", ""),
            path: path.into(),
            name: "n".into(),
            kind: "notebook".into(),
            kernel: Uuid::from_u128(kernel),
            created: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn sessions_survive_in_the_store_and_belong_to_their_owner() {
        let mut store = Store::in_memory().unwrap();
        store.add_users(&[UserName::parse("ada").unwrap()], false, OffsetDateTime::UNIX_EPOCH).unwrap();
        let store = StoreHandle::start(store).unwrap();
        let sessions = Sessions::new(store.clone());
        let (a, b) = (session("a.ipynb", 1), session("b.ipynb", 2));
        sessions.put(a.clone()).await.unwrap();
        sessions.put(b.clone()).await.unwrap();
        assert_eq!(sessions.by_path(&a.owner, "b.ipynb"), Some(b.clone()));
        assert_eq!(sessions.by_path(&Owner::of("bob", ""), "b.ipynb"), None);
        assert!(sessions.get(&Owner::of("bob", ""), &a.id.to_string()).is_err());

        let again = Sessions::new(store.clone());
        again.load(|kernel| kernel == b.kernel).await.unwrap();
        assert_eq!(again.list(&a.owner), vec![b.clone()]);
        assert_eq!(store.call(|s| s.sessions()).await.unwrap().len(), 1);
        again.forget_kernel(b.kernel);
        assert!(again.list(&a.owner).is_empty());
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused() {
        let sessions = Sessions::new(StoreHandle::start(Store::in_memory().unwrap()).unwrap());
        let long = session(&"x".repeat(LONGEST + 1), 1);
        assert!(matches!(sessions.put(long).await, Err(Error::Malformed(_))));
    }
}
