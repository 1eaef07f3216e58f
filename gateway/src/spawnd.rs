//! `carrel-spawnd` for async code: the blocking client, called on the blocking pool.
//!
//! Two connections: one for what is answered at once, one for `stop`, which waits until a jail is gone.

use crate::error::{Error, Result};
use carrel_spawnd::{
    Client, ClientError, Exited, Hello, JailId, JailInfo, ShutdownJails, Start, Started, Stats,
};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Reaches spawnd. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpawndHandle(Option<Arc<Clients>>);

#[derive(Debug)]
struct Clients {
    quick: Client,
    patient: Client,
}

impl SpawndHandle {
    /// Connects to spawnd's socket.
    pub fn connect(socket: &Path) -> std::result::Result<Self, ClientError> {
        let (quick, patient) = (Client::connect(socket)?, Client::connect(socket)?);
        Ok(Self(Some(Arc::new(Clients { quick, patient }))))
    }

    /// A handle without spawnd: every request is answered with [`Error::NotReady`]. For tests without a socket.
    pub fn absent() -> Self {
        Self(None)
    }

    /// Who is there, and which layers this host gives.
    pub async fn hello(&self) -> Result<Hello> {
        self.ask(|c| c.quick.hello()).await
    }

    /// Starts a jail; the descriptor is a pidfd of its pid 1.
    pub async fn start(&self, start: Start) -> Result<(Started, OwnedFd)> {
        self.ask(move |c| c.quick.start(start)).await
    }

    /// All running jails.
    pub async fn list(&self) -> Result<Vec<JailInfo>> {
        self.ask(|c| c.quick.list()).await
    }

    /// Where what runs in a server's jail speaks to the gateway: a listening socket.
    pub async fn listener(&self, id: JailId) -> Result<OwnedFd> {
        self.ask(move |c| c.quick.listener(id)).await
    }

    /// Ends a jail; returns when nothing of it is left.
    pub async fn stop(&self, id: JailId) -> Result<()> {
        self.ask(move |c| c.patient.stop(id)).await
    }

    /// What a running jail uses.
    pub async fn stats(&self, id: JailId) -> Result<Stats> {
        self.ask(move |c| c.quick.stats(id)).await
    }

    /// How an ended jail ended.
    pub async fn exit(&self, id: JailId) -> Result<Exited> {
        self.ask(move |c| c.quick.exit(id)).await
    }

    /// Keeps a descriptor across a restart of the gateway.
    pub async fn fd_put(&self, tag: String, fd: OwnedFd) -> Result<()> {
        self.ask(move |c| c.quick.fd_put(&tag, fd)).await
    }

    /// Takes kept descriptors back.
    pub async fn fd_take(&self, prefix: String, max: usize) -> Result<Vec<(String, OwnedFd)>> {
        self.ask(move |c| c.quick.fd_take(&prefix, max)).await
    }

    /// Forgets a kept descriptor.
    pub async fn fd_drop(&self, tag: String) -> Result<()> {
        self.ask(move |c| c.quick.fd_drop(&tag)).await
    }

    /// Asks spawnd to end once no jail is left; gives how many still run.
    pub async fn shutdown(&self, jails: ShutdownJails) -> Result<usize> {
        self.ask(move |c| c.patient.shutdown(jails)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Clients) -> std::result::Result<T, ClientError> + Send + 'static,
    ) -> Result<T> {
        let clients = self.0.clone().ok_or_else(|| Error::NotReady("the sandbox is not available".into()))?;
        tokio::task::spawn_blocking(move || f(&clients))
            .await
            .map_err(|e| Error::internal(format!("a call to spawnd panicked: {e}")))?
            .map_err(Error::from)
    }
}
