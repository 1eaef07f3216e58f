//! The database on a thread of its own, behind a handle that async code may call.

use crate::error::{Error, Result};
use carrel_store::Store;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use tokio::sync::oneshot;

/// More waiting calls than this and new ones are turned away.
const QUEUE: usize = 4096;

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// Reaches the one [`Store`]. Cheap to clone; the thread ends with the last handle.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    jobs: SyncSender<Job>,
}

impl StoreHandle {
    /// Moves the store to its thread.
    pub fn start(mut store: Store) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        thread::Builder::new().name("store".into()).spawn(move || {
            for job in queue {
                // a panic in one job must not take the database away from all others
                let guarded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut store)));
                if guarded.is_err() {
                    tracing::error!("a database call panicked");
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Runs `f` on the store. One call is the unit of order: nothing runs in between.
    pub async fn call<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Store) -> carrel_store::Result<T> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // whoever asked may have gone away meanwhile
            let _ = answer.send(f(store));
        });
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => Error::NotReady("the database is overloaded".into()),
            TrySendError::Disconnected(_) => Error::internal("the database thread is gone"),
        })?;
        let done = wait.await.map_err(|_| Error::internal("a database call panicked"))?;
        Ok(done?)
    }
}
