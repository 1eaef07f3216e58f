//! Servers that run whole in a jail of their own: a user's classic server, a service with a command.
//!
//! * [`wire`]: what is said to the jail's `carrel-shim`
//! * [`door`]: the Hub's API for what runs in there, and nothing but that
//! * [`forward`]: requests and websockets that go in, answers that come out
//! * [`environment`]: what such a server is told
//! * [`classic`]: the life of a user's classic server
//! * [`service`]: the life of a service with a command

pub mod classic;
pub mod door;
pub mod environment;
pub mod forward;
pub mod service;
pub mod wire;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use carrel_spawnd::{Exited, JailId, Start};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::lifecycle::Lifecycle;
use crate::spawnd::SpawndHandle;

/// How long an orderly end may take; the shim itself is done earlier.
const END: Duration = Duration::from_secs(15);

/// Starts, finds and ends such servers. Cheap to clone.
#[derive(Clone)]
pub struct Jailed(Arc<Inner>);

struct Inner {
    spawnd: SpawndHandle,
    lifecycle: Lifecycle,
    /// The Hub's API; there once the service is built.
    hub: OnceLock<Router>,
    running: Mutex<HashMap<JailId, Running>>,
    forwarder: forward::Forwarder,
}

/// One that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its jail.
    pub id: JailId,
    /// Where its shim listens.
    pub socket: PathBuf,
    /// Cancelled when it is over; its door closes then.
    pub over: CancellationToken,
}

impl std::fmt::Debug for Jailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jailed")
    }
}

impl Jailed {
    /// None run yet.
    #[must_use]
    pub fn new(spawnd: SpawndHandle, lifecycle: Lifecycle) -> Self {
        let forwarder = forward::Forwarder::default();
        Self(Arc::new(Inner {
            spawnd,
            lifecycle,
            hub: OnceLock::new(),
            running: Mutex::default(),
            forwarder,
        }))
    }

    /// Takes the routes that what runs in jails may reach. Once, before anything is started or found.
    pub fn serve_hub(&self, hub: Router) {
        if self.0.hub.set(hub).is_err() {
            tracing::error!("the hub's routes were given twice");
        }
    }

    /// Builds the jail, opens its door and says the environment: the program runs when this returns, it may not answer yet.
    ///
    /// # Errors
    /// When the jail cannot be built or the program cannot be started.
    pub async fn start(
        &self,
        start: Start,
        speaker: &str,
        environment: &environment::Environment,
    ) -> Result<Running> {
        let id = start.id.clone();
        let (started, _pidfd) = self.0.spawnd.start(start).await?;
        let layers = serde_json::to_string(&started.layers).map_err(Error::internal)?;
        tracing::info!(jail.id = %id, speaker, uid = started.uid, layers, "jail built");
        let begun = async {
            let running = self.open(id.clone(), started.socket, speaker).await?;
            wire::start(&running.socket, environment).await?;
            Ok(running)
        };
        match begun.await {
            Ok(running) => Ok(running),
            Err(error) => {
                self.end(&id).await;
                Err(error)
            }
        }
    }

    /// Takes over one that outlived the gateway before.
    ///
    /// # Errors
    /// When spawnd does not hand out its socket.
    pub async fn open(&self, id: JailId, socket: PathBuf, speaker: &str) -> Result<Running> {
        let listener: OwnedFd = self.0.spawnd.listener(id.clone()).await?;
        let hub =
            self.0.hub.get().cloned().ok_or_else(|| Error::internal("the hub's routes are not known"))?;
        let running = Running { id: id.clone(), socket: socket.clone(), over: CancellationToken::new() };
        let address = door::address_of(&id);
        let ends = [running.over.clone(), self.0.lifecycle.token().clone()];
        door::serve(hub, listener, address, speaker.into(), ends).map_err(Error::internal)?;
        self.0.forwarder.know(&id, socket);
        self.lock().insert(id, running.clone());
        Ok(running)
    }

    /// Whether this one runs.
    #[must_use]
    pub fn find(&self, id: &JailId) -> Option<Running> {
        self.lock().get(id).cloned()
    }

    /// Passes requests on.
    #[must_use]
    pub fn forwarder(&self) -> &forward::Forwarder {
        &self.0.forwarder
    }

    /// Asks it to end in order, then ends its jail; nothing of it is left when this returns. Gives what is known of its end.
    pub async fn end(&self, id: &JailId) -> Option<Exited> {
        let running = self.lock().remove(id);
        if let Some(running) = &running {
            // What counts is the jail's end.
            let _ = tokio::time::timeout(END, wire::stop(&running.socket)).await;
            running.over.cancel();
        }
        self.0.forwarder.forget(id);
        match self.0.spawnd.stop(id.clone()).await {
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => tracing::warn!(jail.id = %id, %error, "cannot end a jail"),
        }
        self.0.spawnd.exit(id.clone()).await.ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JailId, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a server ended, for people: how, and what it wrote last.
#[must_use]
pub fn told(exit: Option<&Exited>) -> String {
    let Some(exit) = exit else { return "it has ended".into() };
    let how = match (exit.reason, exit.code, exit.signal) {
        _ if exit.oom => "it used more memory than it may have".to_owned(),
        (Some(carrel_spawnd::Reason::Wall), ..) => "it had run for as long as it may".to_owned(),
        (Some(carrel_spawnd::Reason::Disk), ..) => "the home had grown far beyond its bound".to_owned(),
        (_, Some(code), _) => format!("it ended with code {code}"),
        (Some(carrel_spawnd::Reason::Asked), ..) => "it was ended".to_owned(),
        (_, None, Some(signal)) => format!("it was ended by signal {signal}"),
        _ => "it has ended".to_owned(),
    };
    if exit.lines.is_empty() { how } else { format!("{how}; it wrote last:\n{}", exit.lines.join("\n")) }
}
