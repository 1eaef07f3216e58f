//! The users' servers: one table, one owner, moved on by [`carrel_hub::server::step`].
//!
//! A server in Carrel is a state, not a process: starting one writes a row, and its user's desk and kernels come on demand. So a start takes
//! about a millisecond. A stop ends the server's kernels, and the user's desk with the last of the user's servers. A classic server
//! (`user_options` with `"profile": "classic"`) is a process: [`whole`] has what differs.

mod whole;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::jailed::classic::{self, Classic};
use crate::kernels::Kernels;
use crate::metrics::Metrics;
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use carrel_hub::server::{Event, Refused, step};
use carrel_hub::{ServerName, ServerState};
use carrel_spawnd::{JailInfo, Profile};
use carrel_store::{Server, User};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use time::OffsetDateTime;

/// Reaches the servers. Cheap to clone.
#[derive(Clone)]
pub struct ServersHandle(Arc<Inner>);

type Key = (i64, ServerName);

struct Inner {
    table: Mutex<HashMap<Key, Entry>>,
    store: StoreHandle,
    spawnd: SpawndHandle,
    kernels: Kernels,
    classic: Classic,
    clock: Clock,
    metrics: Metrics,
    /// Why servers did not start, or ended by themselves; until they are started again.
    failures: Mutex<HashMap<Key, String>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    state: ServerState,
    /// Whether it is a whole server in a jail.
    classic: bool,
    /// Activity that is not in the store yet.
    touched: Option<OffsetDateTime>,
}

const STOPPED: Entry = Entry { state: ServerState::Stopped, classic: false, touched: None };

impl std::fmt::Debug for ServersHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServersHandle")
    }
}

impl ServersHandle {
    /// An empty table; [`Self::load`] fills it.
    pub fn new(
        store: StoreHandle,
        spawnd: SpawndHandle,
        kernels: Kernels,
        classic: Classic,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let (table, failures) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { table, store, spawnd, kernels, classic, clock, metrics, failures }))
    }

    /// Takes over what ran before a restart.
    pub async fn load(&self) -> Result<()> {
        let rows = self.0.store.call(|s| s.servers()).await?;
        let mut table = self.lock();
        for row in rows {
            let state = row.started.map_or(ServerState::Stopped, |started| ServerState::Ready { started });
            // An option that is wrong by now started nothing of the kind.
            let classic = classic::is_wanted(&row.options).unwrap_or(false);
            table.insert((row.user_id, row.name), Entry { state, classic, touched: None });
        }
        Ok(())
    }

    /// What a server is doing.
    pub fn state(&self, user_id: i64, name: &ServerName) -> ServerState {
        self.lock().get(&(user_id, name.clone())).map_or(ServerState::Stopped, |e| e.state)
    }

    /// Whether the user has a server of this name, running or not.
    pub fn exists(&self, user_id: i64, name: &ServerName) -> bool {
        self.lock().contains_key(&(user_id, name.clone()))
    }

    /// How many servers run.
    pub fn running(&self) -> usize {
        self.lock().values().filter(|e| e.state.is_ready()).count()
    }

    /// Notes that somebody used a server. Written to the store now and then.
    pub fn touch(&self, user_id: i64, name: &ServerName, at: OffsetDateTime) {
        if let Some(entry) = self.lock().get_mut(&(user_id, name.clone())) {
            entry.touched = Some(entry.touched.map_or(at, |t| t.max(at)));
        }
    }

    /// Writes a server's row without starting it.
    pub async fn define(&self, row: Server) -> Result<()> {
        let key = (row.user_id, row.name.clone());
        self.0.store.call(move |s| s.put_server(&row)).await?;
        self.lock().entry(key).or_insert(STOPPED);
        Ok(())
    }

    /// Starts a server. `change` replaces what its user asked for before. A classic one is still starting when this returns.
    pub async fn start(&self, user: &User, name: &ServerName, change: Change) -> Result<()> {
        let begun = Instant::now();
        let now = self.0.clock.now();
        let (id, wanted) = (user.id, name.clone());
        let found = self.0.store.call(move |s| s.server(id, &wanted)).await?;
        let mut row = found.unwrap_or_else(|| Change::default().row(id, name, now));
        change.apply(&mut row);
        row.last_activity = Some(now);
        if classic::is_wanted(&row.options)? {
            self.0.classic.admit(user).await?;
            return self.start_whole(user, row).await;
        }
        self.begin(user, name, false)?;
        row.started = Some(now);
        let written = self.0.store.call(move |s| s.put_server(&row)).await;
        let event = match &written {
            Ok(()) => Event::Started,
            Err(e) => Event::StartFailed(e.to_string()),
        };
        self.step(user, name, event)?;
        let status = if written.is_ok() { "success" } else { "failure" };
        let took = begun.elapsed();
        self.0.metrics.observe(
            "jupyterhub_server_spawn_duration_seconds",
            "Time taken for server spawning operation",
            &[("status", status)],
            took,
        );
        written?;
        tracing::info!(user.name = %user.name, server.name = %name, took_us = took.as_micros(), "server started");
        Ok(())
    }

    /// Stops a server: its kernels, and the user's desk if no other server of the user runs.
    pub async fn stop(&self, user: &User, name: &ServerName) -> Result<()> {
        self.step(user, name, Event::Stop)?;
        let (me, user, name) = (self.clone(), user.clone(), name.clone());
        // on a task of its own: a caller who goes away must not leave it half stopped
        let done = tokio::spawn(async move { me.finish_stop(&user, &name).await }).await;
        done.map_err(|e| Error::internal(format!("stopping a server panicked: {e}")))?
    }

    async fn finish_stop(&self, user: &User, name: &ServerName) -> Result<()> {
        let ended = self.end_jails(user, name).await;
        let (id, wanted) = (user.id, name.clone());
        let written = self
            .0
            .store
            .call(move |s| match s.server(id, &wanted)? {
                Some(row) => s.put_server(&Server { started: None, ..row }),
                None => Ok(()),
            })
            .await;
        self.step(user, name, Event::Stopped)?;
        tracing::info!(user.name = %user.name, server.name = %name, "server stopped");
        ended.and(written)
    }

    async fn end_jails(&self, user: &User, name: &ServerName) -> Result<()> {
        if self.is_classic(user.id, name) {
            self.0.classic.finish(user, name).await?;
        }
        self.0.kernels.stop_user(&user.name, Some(name)).await?;
        let others =
            self.lock().iter().any(|((id, n), e)| *id == user.id && n != name && e.state.is_active());
        if others {
            return Ok(());
        }
        for jail in self.jails_of(user).await? {
            if jail.profile == Profile::Desk {
                self.0.spawnd.stop(jail.id).await?;
            }
        }
        Ok(())
    }

    /// Stops whatever runs of a user, for deletion. Servers that are just starting or stopping make it fail with a conflict.
    pub async fn stop_all(&self, user: &User) -> Result<()> {
        let names: Vec<(ServerName, ServerState)> = {
            let table = self.lock();
            table
                .iter()
                .filter(|((id, _), _)| *id == user.id)
                .map(|((_, n), e)| (n.clone(), e.state))
                .collect()
        };
        for (name, state) in names.iter().filter(|(_, s)| s.is_active()) {
            if state.pending().is_some() {
                return Err(Error::Malformed(format!(
                    "{}'s server {name:?} is pending, try again",
                    user.name
                )));
            }
            self.stop(user, name).await?;
        }
        Ok(())
    }

    /// Forgets all servers of a user whose row is gone.
    pub fn forget_user(&self, user_id: i64) {
        self.lock().retain(|(id, _), _| *id != user_id);
    }

    /// Forgets one stopped server.
    pub async fn remove(&self, user: &User, name: &ServerName) -> Result<()> {
        let (id, wanted) = (user.id, name.clone());
        self.0.store.call(move |s| s.delete_server(id, &wanted)).await?;
        self.lock().remove(&(user.id, name.clone()));
        Ok(())
    }

    /// Gives a stopped server another name.
    pub async fn rename(&self, user: &User, from: &ServerName, to: &ServerName) -> Result<()> {
        let (id, a, b) = (user.id, from.clone(), to.clone());
        self.0.store.call(move |s| s.rename_server(id, &a, &b)).await?;
        let mut table = self.lock();
        table.remove(&(user.id, from.clone()));
        table.insert((user.id, to.clone()), STOPPED);
        Ok(())
    }

    /// The jails of one user.
    pub async fn jails_of(&self, user: &User) -> Result<Vec<JailInfo>> {
        let mut jails = self.0.spawnd.list().await?;
        jails.retain(|j| j.user.as_str() == user.folder);
        Ok(jails)
    }

    /// Writes noted activity to the store.
    pub async fn flush(&self) -> Result<()> {
        let touched: Vec<(Key, OffsetDateTime)> = {
            let mut table = self.lock();
            table.iter_mut().filter_map(|(k, e)| e.touched.take().map(|t| (k.clone(), t))).collect()
        };
        if touched.is_empty() {
            return Ok(());
        }
        self.0
            .store
            .call(move |s| {
                touched.iter().try_for_each(|((user, name), at)| {
                    s.touch_server(*user, name, *at)?;
                    s.touch_user(*user, *at)
                })
            })
            .await
    }

    /// The first step of a start.
    fn begin(&self, user: &User, name: &ServerName, classic: bool) -> Result<()> {
        self.step(user, name, Event::Start)?;
        if let Some(entry) = self.lock().get_mut(&(user.id, name.clone())) {
            entry.classic = classic;
        }
        self.failures().remove(&(user.id, name.clone()));
        Ok(())
    }

    fn step(&self, user: &User, name: &ServerName, event: Event) -> Result<()> {
        let mut table = self.lock();
        let entry = table.entry((user.id, name.clone())).or_insert(STOPPED);
        match step(entry.state, event, self.0.clock.now()) {
            Ok((next, _)) => {
                entry.state = next;
                Ok(())
            }
            Err(refused) => Err(refusal(user, name, refused)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(user: &User, name: &ServerName, refused: Refused) -> Error {
    let which = if name.is_default() { user.name.to_string() } else { format!("{}:{name}", user.name) };
    match refused {
        Refused::Unexpected => Error::internal(format!("server {which}: unexpected event")),
        r => Error::Malformed(format!("{which} {r}")),
    }
}

/// What a request changes about a server; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub display_name: Option<String>,
    /// What its user asks for.
    pub options: Option<Map<String, Value>>,
}

impl Change {
    /// Changes a row.
    pub fn apply(self, row: &mut Server) {
        if let Some(name) = self.display_name {
            row.display_name = Some(name);
        }
        if let Some(options) = self.options {
            row.options = options;
        }
    }

    /// A new row.
    pub fn row(self, user_id: i64, name: &ServerName, now: OffsetDateTime) -> Server {
        let mut row = Server {
            user_id,
            name: name.clone(),
            display_name: None,
            options: Map::new(),
            created: now,
            started: None,
            last_activity: None,
        };
        self.apply(&mut row);
        row
    }
}
