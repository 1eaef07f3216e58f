//! The ways in which a kernel ends: asked to, idle for too long, by itself, or before it ever ran.

use std::time::Duration;

use carrel_hub::{ServerName, UserName};
use carrel_shim::protocol::Cmd;
use carrel_spawnd::JailId;
use uuid::Uuid;

use super::Kernels;
use super::kernel::Kernel;
use super::watch::End;
use crate::error::{Error, Result, chain};

/// How long a kernel may take to end politely.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long websockets may take to read a dead kernel's last words.
const LAST_WORDS: Duration = Duration::from_secs(10);

impl Kernels {
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

    /// Forgets a kernel that ended by itself.
    pub(super) async fn retire(&self, kernel: &Kernel, end: End) {
        if end == End::Ended || self.lock().remove(&kernel.id).is_none() {
            return;
        }
        kernel.observe(self.0.clock.now(), Some("dead"));
        self.0.sessions.forget_kernel(kernel.id);
        if let Ok(exit) = self.0.spawnd.exit(kernel.jail.clone()).await {
            tracing::warn!(kernel.id = %kernel.id, code = exit.code, signal = exit.signal, oom = exit.oom, "kernel's jail ended");
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

    async fn stop_jail(&self, id: Uuid, jail: JailId) -> Result<()> {
        let stopped = match self.0.spawnd.stop(jail).await {
            Err(Error::NotFound(_)) => Ok(()),
            other => other,
        };
        let id = id.to_string();
        self.0.store.call(move |s| s.delete_kernel(&id)).await?;
        stopped
    }

    /// Undoes a start that failed; why it failed is what the caller is told.
    pub(super) async fn discard(&self, id: Uuid, jail: JailId) {
        if let Err(error) = self.stop_jail(id, jail).await {
            tracing::debug!(kernel.id = %id, error = chain(&error), "nothing to undo of a failed start");
        }
    }

    /// Ends the kernel if it has had nothing to do for longer than the configuration allows.
    pub(super) fn cull(&self, kernel: &Kernel) {
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
}
