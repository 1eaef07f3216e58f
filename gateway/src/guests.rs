//! Guests at somebody else's server, whose websockets end when their right to be there does.
//!
//! A request is checked when it comes; a websocket lives on. So every websocket of a caller who is not the server's owner has a [`Stay`]: a
//! task that looks again whenever something was changed through the Hub, and now and then, for what ends by itself or was changed on the
//! command line. The right may end in many places (a share, a group, a role's token, a login, a user), and is asked for in one.

use std::time::Duration;

use carrel_hub::{ServerName, Target};
use carrel_store::User;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::Result;

/// Without a change it is looked again this often.
const EVERY: Duration = Duration::from_secs(15);
/// However much changes, there is this long between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells guests' websockets to look again. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guests(watch::Sender<u64>);

impl Guests {
    /// Something was changed; somebody's right may have ended with it.
    pub fn look_again(&self) {
        self.0.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// How long a websocket may be open.
#[derive(Debug)]
pub struct Stay {
    over: CancellationToken,
    /// Ends the task with the websocket.
    _gone: Option<DropGuard>,
}

impl Stay {
    /// As long as it likes.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { over: CancellationToken::new(), _gone: None }
    }

    /// A caller's at a server: without a limit for its owner, and where the caller is not known.
    #[must_use]
    pub fn begin(app: &App, caller: &Caller, owner: &User, server: &ServerName) -> Self {
        if !caller.is_known() || caller.user().is_some_and(|user| user.id == owner.id) {
            return Self::unlimited();
        }
        let (over, gone) = (CancellationToken::new(), CancellationToken::new());
        let visit = Visit {
            app: app.clone(),
            caller: caller.clone(),
            owner: owner.clone(),
            server: server.clone(),
            over: over.clone(),
        };
        let ended = gone.clone();
        app.lifecycle.spawn(async move {
            tokio::select! {
                () = visit.watch() => {}
                () = ended.cancelled() => {}
                () = visit.app.lifecycle.token().cancelled() => {}
            }
        });
        Self { over, _gone: Some(gone.drop_guard()) }
    }

    /// When the websocket must end. Never, for most.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

struct Visit {
    app: App,
    caller: Caller,
    owner: User,
    server: ServerName,
    over: CancellationToken,
}

impl Visit {
    async fn watch(&self) {
        let mut changes = self.app.guests.0.subscribe();
        // the first look is for what changed between the request's check and here
        loop {
            match self.may_stay().await {
                Ok(true) => {}
                Ok(false) => {
                    let (guest, server) = (self.caller.name(), &self.server);
                    tracing::info!(user.name = %self.owner.name, server.name = %server, guest, "a guest's websocket is closed");
                    return self.over.cancel();
                }
                // a busy database says nothing about the guest
                Err(error) => tracing::warn!(%error, "cannot see whether a guest may stay, looking again"),
            }
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn may_stay(&self) -> Result<bool> {
        let caller = caller::again(&self.app, &self.caller).await?;
        let server = Target::Server(self.owner.name.as_str(), self.server.as_str());
        Ok(caller.has("access:servers", server))
    }
}
