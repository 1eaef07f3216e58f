//! What one running desk has: the home, the notebooks it trusts, uploads, terminals, and how busy it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::error::Error;
use crate::home::Home;
use crate::terminal::Terminals;
use crate::trust::Trust;
use crate::uploads::Uploads;

/// The state behind every request.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) home: Home,
    pub(crate) trust: Trust,
    pub(crate) uploads: Uploads,
    pub(crate) terminals: Arc<Terminals>,
    /// Largest request body, and largest notebook that is read.
    pub(crate) max_body: u64,
    /// Large bodies are held in memory one at a time.
    pub(crate) large: Arc<Semaphore>,
    activity: Mutex<Instant>,
    running: AtomicUsize,
}

impl Desk {
    pub(crate) fn new(home: Home, max_body: u64) -> Desk {
        let trust = Trust::load(&home);
        Desk {
            home,
            trust,
            uploads: Uploads::default(),
            terminals: Arc::default(),
            max_body,
            large: Arc::new(Semaphore::new(1)),
            activity: Mutex::new(Instant::now()),
            running: AtomicUsize::new(0),
        }
    }

    /// Runs something that may block on the disk on a thread for that.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Desk>,
        work: impl FnOnce(&Desk) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let desk = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&desk)).await.map_err(|e| Error::Io {
            doing: "finish the work on",
            path: "the request".into(),
            source: std::io::Error::other(e),
        })?
    }

    /// Marks a request as running until the guard is dropped.
    pub(crate) fn busy(self: &Arc<Desk>) -> Busy {
        self.running.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// How long nothing has happened; zero while a request runs or a terminal is open.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        if self.running.load(Ordering::Relaxed) > 0 || !self.terminals.is_empty() {
            self.touch(now);
        }
        now.saturating_duration_since(*self.activity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn touch(&self, now: Instant) {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// One running request.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Desk>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.touch(Instant::now());
    }
}
