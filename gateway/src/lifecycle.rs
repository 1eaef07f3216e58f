//! The end of the program: one token that says "stop", one tracker that knows which tasks still run.

use std::future::Future;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the program ends and whether it is ready. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    token: CancellationToken,
    tasks: TaskTracker,
    ready: watch::Sender<bool>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { token: CancellationToken::new(), tasks: TaskTracker::new(), ready: watch::Sender::new(false) }
    }
}

impl Lifecycle {
    /// Cancelled once, when the program shall end. Websockets close with 1012 on it.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a task that the end of the program waits for (up to the drain deadline).
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Says that everything from before the restart has been adopted.
    pub fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Whether adoption is over.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until adoption is over.
    pub async fn ready(&self) {
        let mut seen = self.ready.subscribe();
        // the sender lives in self, so waiting cannot fail
        let _ = seen.wait_for(|ready| *ready).await;
    }

    /// Asks everything to stop and waits for the tracked tasks.
    pub async fn drain(&self) {
        self.token.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
