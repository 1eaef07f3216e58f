//! The users' kernels: one registry, one task per kernel, and what else runs in a user's jails.
//!
//! * [`kernel`]: one running kernel and who is attached to it
//! * [`watch`]: its task, which holds the shim's control connection
//! * [`sessions`]: pairs of notebook and kernel
//! * [`desk`]: the users' file helpers
//! * [`resume`], [`tcp`]: what survives when the gateway is killed
//! * [`specs`], [`events`]: which kernels there are, and who is told what happens to them
//!
//! A kernel lives in its jail whether a gateway runs or not. [`Kernels::adopt`] finds the living ones again; until it is done every
//! question is answered with "not ready", never with "does not exist".

pub mod desk;
pub mod events;
mod groups;
pub mod kernel;
mod limits;
pub mod resume;
pub mod sessions;
pub mod specs;
pub mod tcp;
pub mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use carrel_hub::{ServerName, UserName};
use carrel_shim::client::ShimConn;
use carrel_shim::protocol::Cmd;
use carrel_spawnd::{JailInfo, Profile, RelPath, Start};
use carrel_store::KernelRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result, chain};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use desk::Desks;
use events::Events;
use kernel::{Kernel, Parts};
use sessions::Sessions;
use specs::Specs;
use watch::End;

/// How long a kernel may take to be interrupted, restarted, ended.
const INTERRUPT: Duration = Duration::from_secs(10);
const RESTART: Duration = Duration::from_secs(60);
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long websockets may take to read a dead kernel's last words.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Whose kernel, and of which of the user's servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The user.
    pub user: UserName,
    /// The server; the default one has the empty name.
    pub server: ServerName,
}

/// Reaches all kernels. Cheap to clone.
#[derive(Clone)]
pub struct Kernels(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    store: StoreHandle,
    spawnd: SpawndHandle,
    clock: Clock,
    lifecycle: Lifecycle,
    metrics: Metrics,
    specs: Specs,
    desks: Desks,
    events: Events,
    sessions: Sessions,
    started: OffsetDateTime,
    table: Mutex<HashMap<Uuid, Kernel>>,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kernels")
    }
}

/// What a new kernel shall be.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// The kernelspec; none is the default.
    pub spec: Option<&'a str>,
    /// The id that the client chose, if any.
    pub id: Option<Uuid>,
    /// The folder to begin in, below the home.
    pub cwd: &'a str,
}

impl Kernels {
    /// An empty registry; [`Self::adopt`] fills it.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        store: StoreHandle,
        spawnd: SpawndHandle,
        clock: Clock,
        lifecycle: Lifecycle,
        metrics: Metrics,
    ) -> Self {
        let specs = Specs::load(&config.prefix().join("share/kernels"), &config.kernels.default);
        Self(Arc::new(Inner {
            desks: Desks::new(spawnd.clone(), store.clone()),
            events: Events::new(clock.clone()),
            sessions: Sessions::new(store.clone()),
            started: clock.now(),
            table: Mutex::default(),
            config,
            store,
            spawnd,
            clock,
            lifecycle,
            metrics,
            specs,
        }))
    }

    /// Starts a kernel and waits until its shim answers. The kernel itself may still be starting.
    ///
    /// # Errors
    /// When there is no such kernelspec, the folder is not below the home, a bound is reached, or the jail cannot be built.
    pub async fn start(
        &self,
        owner: &Owner,
        jail_user: &carrel_spawnd::UserName,
        wanted: Wanted<'_>,
    ) -> Result<Kernel> {
        self.ready()?;
        let begun = Instant::now();
        let spec = self.0.specs.resolve(wanted.spec).ok_or_else(|| no_such_spec(wanted.spec))?.to_owned();
        let cwd: RelPath = tidy(wanted.cwd).parse().map_err(|e| Error::Malformed(format!("path: {e}")))?;
        let id = wanted.id.unwrap_or_else(Uuid::new_v4);
        let most = self.0.config.kernels.per_user;
        if self.lock().values().filter(|kernel| kernel.owner.user == owner.user).count() >= most {
            return Err(Error::TooMany {
                message: format!("{most} kernels run already; shut one down first"),
                retry_after: 30,
            });
        }
        if self.lock().contains_key(&id) {
            return Err(Error::Conflict(format!("a kernel with id {id} exists")));
        }
        let now = self.0.clock.now();
        let jail: carrel_spawnd::JailId = format!("k-{id}").parse().map_err(Error::internal)?;
        let row = KernelRow {
            id: id.to_string(),
            user: owner.user.to_string(),
            server: owner.server.to_string(),
            name: spec.clone(),
            jail_id: jail.to_string(),
            cwd: cwd.to_string(),
            created: now,
            last_activity: now,
        };
        // The row first: a gateway killed in between finds the jail again, or the row without one, never a jail without a row.
        self.0.store.call(move |s| s.put_kernel(&row)).await?;
        let start = Start {
            user: jail_user.clone(),
            id: jail.clone(),
            profile: Profile::Kernel,
            kernelspec: Some(spec.parse().map_err(Error::internal)?),
            cwd,
            groups: groups::of(&self.0.store, jail_user).await?,
        };
        let started = async {
            let (started, _pidfd) = self.0.spawnd.start(start).await?;
            // What a security officer asks first: which layers of the jail hold.
            let layers = serde_json::to_string(&started.layers).map_err(Error::internal)?;
            tracing::info!(kernel.id = %id, user.name = %owner.user, uid = started.uid, layers, "jail built");
            let parts = Parts {
                id,
                owner: owner.clone(),
                spec: spec.clone(),
                jail: jail.clone(),
                socket: started.socket,
                created: now,
            };
            self.watch(parts).await
        };
        let kernel = match started.await {
            Ok(kernel) => kernel,
            Err(error) => {
                self.discard(id, jail).await;
                return Err(error);
            }
        };
        let took = begun.elapsed();
        self.0.metrics.observe(
            "carrel_kernel_start_seconds",
            "Time until a new kernel's shim answered.",
            &[("kernel", &spec)],
            took,
        );
        tracing::info!(kernel.id = %id, user.name = %owner.user, kernelspec = spec, took_ms = took.as_millis(), "kernel started");
        self.0.events.kernel(owner, "start", &id.to_string(), &spec);
        Ok(kernel)
    }

    /// One kernel of this owner.
    ///
    /// # Errors
    /// When there is none, or it is not known yet.
    pub fn get(&self, owner: &Owner, id: &str) -> Result<Kernel> {
        self.ready()?;
        let kernel = id.parse().ok().and_then(|id| self.find(id)).filter(|kernel| kernel.owner == *owner);
        kernel.ok_or_else(|| Error::NotFound(format!("Kernel does not exist: {id}")))
    }

    /// All kernels of this owner, oldest first.
    ///
    /// # Errors
    /// When they are not known yet.
    pub fn list(&self, owner: &Owner) -> Result<Vec<Kernel>> {
        self.ready()?;
        let mut kernels: Vec<Kernel> =
            self.lock().values().filter(|kernel| kernel.owner == *owner).cloned().collect();
        kernels.sort_by_key(|kernel| (kernel.created, kernel.id));
        Ok(kernels)
    }

    /// Interrupts whatever the kernel runs.
    ///
    /// # Errors
    /// When the shim cannot, or does not answer.
    pub async fn interrupt(&self, kernel: &Kernel) -> Result<()> {
        kernel.order(Cmd::Interrupt, INTERRUPT).await?;
        self.0.events.kernel(&kernel.owner, "interrupt", &kernel.id.to_string(), &kernel.spec);
        Ok(())
    }

    /// Ends the kernel's process and starts it again; the id, its websockets and sessions stay. Returns when it answers.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart(&self, kernel: &Kernel) -> Result<()> {
        kernel.order(Cmd::Restart, RESTART).await?;
        self.0.events.kernel(&kernel.owner, "restart", &kernel.id.to_string(), &kernel.spec);
        Ok(())
    }

    /// Ends the kernel and its jail; nothing of it is left when this returns.
    ///
    /// # Errors
    /// When its jail cannot be ended.
    pub async fn end(&self, kernel: &Kernel) -> Result<()> {
        if self.lock().remove(&kernel.id).is_none() {
            return Err(Error::NotFound(format!("Kernel does not exist: {}", kernel.id)));
        }
        self.0.sessions.forget_kernel(kernel.id);
        // On a task of its own: a client that goes away must not leave it half ended.
        let (me, kernel) = (self.clone(), kernel.clone());
        let done = self.0.lifecycle.spawn(async move {
            // The polite way first, for its exit handlers; the jail's end is what counts.
            if let Err(error) = kernel.order(Cmd::Shutdown, SHUTDOWN).await {
                tracing::debug!(kernel.id = %kernel.id, %error, "kernel was not ended politely");
            }
            kernel.ended.cancel();
            me.stop_jail(kernel.id, kernel.jail.clone()).await?;
            tracing::info!(kernel.id = %kernel.id, "kernel ended");
            me.0.events.kernel(&kernel.owner, "shutdown", &kernel.id.to_string(), &kernel.spec);
            Ok(())
        });
        done.await.map_err(|e| Error::internal(format!("ending a kernel panicked: {e}")))?
    }

    /// Ends all kernels of a user, or of one of the user's servers.
    ///
    /// # Errors
    /// The first failure, after all were tried.
    pub async fn stop_user(&self, user: &UserName, server: Option<&ServerName>) -> Result<()> {
        let theirs: Vec<Kernel> = self
            .lock()
            .values()
            .filter(|kernel| {
                kernel.owner.user == *user && server.is_none_or(|server| kernel.owner.server == *server)
            })
            .cloned()
            .collect();
        let ended = futures::future::join_all(theirs.iter().map(|kernel| self.end(kernel))).await;
        ended.into_iter().find(|done| !matches!(done, Ok(()) | Err(Error::NotFound(_)))).unwrap_or(Ok(()))
    }

    /// Lets go of all kernels, which live on. What was seen of them is written down for the next gateway.
    pub async fn shutdown(&self) {
        let seen: Vec<(String, OffsetDateTime)> = self
            .lock()
            .values()
            .map(|kernel| (kernel.id.to_string(), kernel.state().last_activity))
            .collect();
        let written = self.0.store.call(move |s| s.touch_kernels(&seen)).await;
        if let Err(error) = written {
            tracing::warn!(%error, "the kernels' last activity was not saved");
        }
    }

    /// Finds the kernels that outlived the gateway before, and ends jails that nobody knows. Call once, before requests are answered.
    ///
    /// # Errors
    /// When store or spawnd cannot be asked.
    pub async fn adopt(&self) -> Result<usize> {
        let rows = self.0.store.call(|s| s.kernels()).await?;
        let mut jails: HashMap<String, JailInfo> = self
            .0
            .spawnd
            .list()
            .await?
            .into_iter()
            .filter(|jail| jail.profile == Profile::Kernel)
            .map(|jail| (jail.id.to_string(), jail))
            .collect();
        let pairs: Vec<_> = rows.into_iter().map(|row| (jails.remove(&row.jail_id), row)).collect();
        let adopted =
            futures::future::join_all(pairs.into_iter().map(|(jail, row)| self.adopt_one(row, jail))).await;
        for (id, jail) in jails {
            tracing::warn!(jail.id = id, jail.user = %jail.user, "a kernel's jail without an owner is ended");
            if let Err(error) = self.0.spawnd.stop(jail.id).await {
                tracing::warn!(jail.id = id, %error, "cannot end a jail");
            }
        }
        self.0.sessions.load(|id| self.find(id).is_some()).await?;
        let sockets = resume::take_back(self).await?;
        let count = adopted.into_iter().filter(|adopted| *adopted).count();
        tracing::info!(kernels = count, websockets = sockets, "kernels adopted");
        Ok(count)
    }

    async fn adopt_one(&self, row: KernelRow, jail: Option<JailInfo>) -> bool {
        let names = (row.id.parse::<Uuid>(), UserName::parse(&row.user), ServerName::parse(&row.server));
        let found = match (names, jail) {
            ((Ok(id), Ok(user), Ok(server)), Some(jail)) => {
                let parts = Parts {
                    id,
                    owner: Owner { user, server },
                    spec: row.name,
                    jail: jail.id.clone(),
                    socket: jail.socket,
                    created: row.created,
                };
                match self.watch(parts).await {
                    Ok(kernel) => {
                        kernel.observe(row.last_activity, None);
                        return true;
                    }
                    Err(error) => {
                        tracing::warn!(kernel.id = %id, %error, "kernel cannot be adopted and is ended");
                        Some(jail.id)
                    }
                }
            }
            (_, jail) => jail.map(|jail| jail.id),
        };
        if let Some(jail) = found
            && let Err(error) = self.0.spawnd.stop(jail).await
        {
            tracing::warn!(kernel.id = row.id, %error, "cannot end a jail");
        }
        tracing::info!(kernel.id = row.id, "kernel did not outlive the restart");
        let id = row.id;
        if let Err(error) = self.0.store.call(move |s| s.delete_kernel(&id)).await {
            tracing::warn!(%error, "cannot forget a kernel");
        }
        false
    }

    /// Connects to a kernel's shim, registers the kernel and starts its task.
    async fn watch(&self, parts: Parts) -> Result<Kernel> {
        let (kernel, orders) = Kernel::new(parts, "starting".into());
        let shim = ShimConn::connect(&kernel.socket, watch::hello(&kernel))
            .await
            .map_err(|error| Error::upstream("the kernel did not start", &error))?;
        kernel.observe(kernel.created, Some(&shim.welcome.kernel.execution_state));
        self.lock().insert(kernel.id, kernel.clone());
        let (me, watched) = (self.clone(), kernel.clone());
        // Not tracked: it lasts as long as the kernel, which a gateway's end does not end.
        tokio::spawn(async move {
            let end = watch::run(me.clone(), watched.clone(), shim, orders).await;
            me.retire(&watched, end).await;
        });
        Ok(kernel)
    }

    /// Forgets a kernel that ended by itself.
    async fn retire(&self, kernel: &Kernel, end: End) {
        if end == End::Ended || self.lock().remove(&kernel.id).is_none() {
            return;
        }
        kernel.observe(self.0.clock.now(), Some("dead"));
        self.0.sessions.forget_kernel(kernel.id);
        if let Ok(exit) = self.0.spawnd.exit(kernel.jail.clone()).await {
            tracing::warn!(kernel.id = %kernel.id, code = exit.code, signal = exit.signal, oom = exit.oom, "kernel's jail ended");
            if let Some(notice) = limits::of_exit(&exit) {
                kernel.notify(notice);
            }
        }
        // Its last messages are still in the shim's log.
        if tokio::time::timeout(LAST_WORDS, kernel.deserted()).await.is_err() {
            kernel.ended.cancel();
        }
        if let Err(error) = self.stop_jail(kernel.id, kernel.jail.clone()).await {
            tracing::warn!(kernel.id = %kernel.id, %error, "cannot end a dead kernel's jail");
        }
        kernel.ended.cancel();
    }

    async fn stop_jail(&self, id: Uuid, jail: carrel_spawnd::JailId) -> Result<()> {
        let stopped = match self.0.spawnd.stop(jail).await {
            Err(Error::NotFound(_)) => Ok(()),
            other => other,
        };
        let id = id.to_string();
        self.0.store.call(move |s| s.delete_kernel(&id)).await?;
        stopped
    }

    /// Undoes a start that failed; why it failed is what the caller is told.
    async fn discard(&self, id: Uuid, jail: carrel_spawnd::JailId) {
        if let Err(error) = self.stop_jail(id, jail).await {
            tracing::debug!(kernel.id = %id, error = chain(&error), "nothing to undo of a failed start");
        }
    }

    /// Ends the kernel if it has had nothing to do for longer than the configuration allows.
    fn cull(&self, kernel: &Kernel) {
        let limit = self.0.config.kernels.idle_seconds;
        let state = kernel.state();
        let idle = (self.0.clock.now() - state.last_activity).whole_seconds();
        if limit == 0
            || kernel.connections() > 0
            || state.execution_state != "idle"
            || idle < i64::try_from(limit).unwrap_or(i64::MAX)
        {
            return;
        }
        tracing::info!(kernel.id = %kernel.id, idle_seconds = idle, "kernel ended for idleness");
        let (me, kernel) = (self.clone(), kernel.clone());
        self.0.lifecycle.spawn(async move {
            if let Err(error) = me.end(&kernel).await {
                tracing::warn!(kernel.id = %kernel.id, %error, "cannot end an idle kernel");
            }
        });
    }

    fn ready(&self) -> Result<()> {
        if self.0.lifecycle.is_ready() {
            Ok(())
        } else {
            Err(Error::NotReady("starting up, try again".into()))
        }
    }

    /// A kernel by its id, whoever owns it.
    pub(crate) fn find(&self, id: Uuid) -> Option<Kernel> {
        self.lock().get(&id).cloned()
    }

    /// Which kernels can be started.
    #[must_use]
    pub fn specs(&self) -> &Specs {
        &self.0.specs
    }

    /// The users' file helpers.
    #[must_use]
    pub fn desks(&self) -> &Desks {
        &self.0.desks
    }

    /// The event bus.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Since when this gateway runs.
    #[must_use]
    pub fn started(&self) -> OffsetDateTime {
        self.0.started
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn spawnd(&self) -> &SpawndHandle {
        &self.0.spawnd
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Kernel>> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer for a kernelspec that does not exist.
#[must_use]
pub fn no_such_spec(name: Option<&str>) -> Error {
    Error::NotFound(format!("No such kernel named {}", name.unwrap_or("(the default)")))
}

/// A path as clients write it, as a path below the home: no slashes around it or twice.
fn tidy(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Owner {
        pub(crate) fn of(user: &str, server: &str) -> Self {
            Self { user: UserName::parse(user).unwrap(), server: ServerName::parse(server).unwrap() }
        }
    }

    #[test]
    fn paths_are_tidied_but_never_climb() {
        assert_eq!(tidy("/a//b/"), "a/b");
        assert_eq!(tidy(""), "");
        assert_eq!(tidy("./a"), "a");
        assert!(tidy("a/../../b").parse::<RelPath>().is_err());
    }
}
