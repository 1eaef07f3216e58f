//! The users' kernels: one registry, one task per kernel, and what else runs in a user's jails.
//!
//! * [`kernel`]: one running kernel and who is attached to it
//! * [`watch`]: its task, which holds the shim's control connection
//! * [`sessions`]: pairs of notebook and kernel
//! * [`desk`]: the users' file helpers
//! * `adopt`, `end`: finding the living ones again, and the ways in which a kernel ends
//! * [`resume`], [`tcp`]: what survives when the gateway is killed
//! * [`specs`], [`events`]: which kernels there are, and who is told what happens to them
//!
//! A kernel lives in its jail whether a gateway runs or not. [`Kernels::adopt`] finds the living ones again; until it is done every
//! question is answered with "not ready", never with "does not exist".

mod adopt;
pub mod desk;
mod end;
pub mod events;
pub(crate) mod groups;
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
use carrel_shim::protocol::{Cmd, State as Life};
use carrel_spawnd::{Profile, RelPath, Start};
use carrel_store::KernelRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use desk::Desks;
use events::Events;
use kernel::{Kernel, Parts};
use sessions::Sessions;
use specs::Specs;

/// How long a kernel may take to be interrupted, restarted.
const INTERRUPT: Duration = Duration::from_secs(10);
const RESTART: Duration = Duration::from_secs(60);

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

    /// Whether anybody else has a websocket open to a kernel.
    #[must_use]
    pub fn has_company(&self, owner: &Owner) -> bool {
        self.lock().values().any(|kernel| kernel.owner.user != owner.user && kernel.connections() > 0)
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

    /// Connects to a kernel's shim, registers the kernel and starts its task.
    async fn watch(&self, parts: Parts) -> Result<Kernel> {
        let (kernel, orders) = Kernel::new(parts, "starting".into());
        let shim = ShimConn::connect(&kernel.socket, watch::hello(&kernel))
            .await
            .map_err(|error| Error::upstream("the kernel did not start", &error))?;
        let state = &shim.welcome.kernel;
        if state.state == Life::Dead {
            let why = state.why.clone().unwrap_or_else(|| "its program has ended".to_owned());
            return Err(Error::Upstream { outside: format!("the kernel did not start: {why}"), inside: why });
        }
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
