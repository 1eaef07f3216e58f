//! Terminals: named shells on ptys, shared by any number of browser tabs.
//!
//! Each terminal is one task (`actor`) that owns the pty, the shell and the scrollback; the registry here holds the
//! handles to talk to it. `start` prepares a shell, `keeper` and `child` are what runs between desk and shell, `socket` is
//! one tab.

mod actor;
pub(crate) mod child;
pub(crate) mod keeper;
mod pty;
mod scrollback;
pub(crate) mod socket;
pub(crate) mod start;
mod strays;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

use crate::error::Error;
use crate::model::iso;
use crate::terminal::actor::{Actor, Command};
use crate::terminal::pty::Keepers;
use crate::terminal::start::Shell;

/// Terminals of one user at once.
const MAX_TERMINALS: usize = 32;
/// Commands and keystrokes that wait for a terminal.
const QUEUE: usize = 64;
/// Longest wait for a terminal's processes to be gone.
const GOODBYE: Duration = Duration::from_secs(9);

/// The open terminals by name.
#[derive(Debug, Default)]
pub(crate) struct Terminals {
    open: Mutex<BTreeMap<String, Handle>>,
    keepers: Keepers,
}

/// Jupyter's model of a terminal.
#[derive(Debug, Serialize)]
pub(crate) struct Model {
    name: String,
    last_activity: String,
}

/// A way to talk to one terminal.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
    input: mpsc::Sender<Vec<u8>>,
    kill: Arc<watch::Sender<bool>>,
    /// True once the shell is gone and everything it wrote has been sent.
    ended: watch::Receiver<bool>,
    active: Arc<Activity>,
}

/// When a terminal was last written to or read from.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<OffsetDateTime>);

impl Activity {
    fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = OffsetDateTime::now_utc();
    }

    fn get(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminals {
    /// All of them.
    pub(crate) fn list(&self) -> Vec<Model> {
        self.lock().iter().map(|(name, handle)| handle.model(name)).collect()
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// One by name.
    pub(crate) fn get(&self, name: &str) -> Result<Model, Error> {
        self.lock().get(name).map(|handle| handle.model(name)).ok_or_else(|| not_found(name))
    }

    /// Starts a shell. A name that is taken means the terminal that has it.
    pub(crate) fn create(self: &Arc<Self>, shell: Shell) -> Result<Model, Error> {
        let mut open = self.lock();
        if let Some(name) = &shell.name
            && let Some(handle) = open.get(name)
        {
            return Ok(handle.model(name));
        }
        if open.len() >= MAX_TERMINALS {
            return Err(Error::Busy(format!("{MAX_TERMINALS} terminals are open already: close one")));
        }
        let name = match &shell.name {
            Some(name) => name.clone(),
            None => (1u32..).map(|n| n.to_string()).find(|n| !open.contains_key(n)).unwrap_or_default(),
        };
        let pty = pty::spawn(&shell, &self.keepers)?;
        let (commands, commanded) = mpsc::channel(QUEUE);
        let (input, typed) = mpsc::channel(QUEUE);
        let (kill, killed) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let active = Arc::new(Activity(Mutex::new(OffsetDateTime::now_utc())));
        let handle = Handle { commands, input, kill: Arc::new(kill), ended, active: Arc::clone(&active) };
        let model = handle.model(&name);
        open.insert(name.clone(), handle);
        drop(open);
        let terminals = Arc::clone(self);
        tokio::spawn(async move {
            Actor::new(pty, active).run(commanded, typed, killed).await;
            terminals.lock().remove(&name);
            let _ = end.send(true);
        });
        Ok(model)
    }

    /// Ends a terminal and every process that came of it; returns when they are gone.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        let handle = self.handle(name)?;
        handle.end().await;
        Ok(())
    }

    /// Ends all of them.
    pub(crate) async fn shutdown(&self) {
        let handles: Vec<Handle> = self.lock().values().cloned().collect();
        futures::future::join_all(handles.iter().map(Handle::end)).await;
    }

    fn handle(&self, name: &str) -> Result<Handle, Error> {
        self.lock().get(name).cloned().ok_or_else(|| not_found(name))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn model(&self, name: &str) -> Model {
        Model { name: name.to_owned(), last_activity: iso(self.active.get()) }
    }

    async fn end(&self) {
        let _ = self.kill.send(true);
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(GOODBYE, ended.wait_for(|ended| *ended)).await;
    }
}

fn not_found(name: &str) -> Error {
    Error::NoSuch(format!("Terminal not found: {name}"))
}
