//! The statements that clients hold handles of: looked at, running, done, prepared. All bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use crate::run::Run;
use crate::statement::Ready;

/// Statements that are remembered, for their figures.
const KEPT: usize = 256;

/// Prepared statements at a time.
const PREPARED: usize = 256;

/// A statement that was looked at and not fetched keeps the engine alive this long.
const WAITS: Duration = Duration::from_secs(60);

/// The statements of this engine.
#[derive(Default)]
pub struct Registry(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    statements: VecDeque<Entry>,
    prepared: VecDeque<(String, Prepared)>,
}

struct Entry {
    run: Arc<Run>,
    ready: Option<Ready>,
    since: Instant,
}

/// A prepared statement and the values of its parameters.
#[derive(Clone)]
pub struct Prepared {
    /// Its text.
    pub sql: String,
    /// The first row holds the values.
    pub values: Option<RecordBatch>,
}

impl Registry {
    /// Keeps a statement until it is fetched.
    pub fn put(&self, run: Arc<Run>, ready: Ready) {
        let mut inner = self.lock();
        while inner.statements.len() >= KEPT {
            // the oldest that does not run
            let at =
                inner.statements.iter().position(|entry| entry.ready.is_some() || entry.run.is_finished());
            match at {
                Some(at) => drop(inner.statements.remove(at)),
                None => break,
            }
        }
        inner.statements.push_back(Entry { run, ready: Some(ready), since: Instant::now() });
    }

    /// Takes a statement to run it; `None` if there is none or it was taken.
    pub fn take(&self, handle: &str) -> Option<(Arc<Run>, Ready)> {
        let mut inner = self.lock();
        let entry = inner.statements.iter_mut().find(|entry| entry.run.handle == handle)?;
        Some((entry.run.clone(), entry.ready.take()?))
    }

    /// The run with this handle.
    pub fn run(&self, handle: &str) -> Option<Arc<Run>> {
        self.lock().statements.iter().find(|entry| entry.run.handle == handle).map(|entry| entry.run.clone())
    }

    /// Notes a statement that runs at once.
    pub fn running(&self, run: Arc<Run>) {
        let mut inner = self.lock();
        while inner.statements.len() >= KEPT
            && inner.statements.front().is_some_and(|entry| entry.run.is_finished())
        {
            inner.statements.pop_front();
        }
        inner.statements.push_back(Entry { run, ready: None, since: Instant::now() });
    }

    /// Forgets a statement that gets a new entry under the same handle.
    pub fn forget(&self, handle: &str) {
        self.lock().statements.retain(|entry| entry.run.handle != handle);
    }

    /// Stops one statement, or all; says how many.
    pub fn cancel(&self, handle: Option<&str>) -> usize {
        let mut inner = self.lock();
        let mut stopped = 0;
        for entry in &mut inner.statements {
            if handle.is_none_or(|handle| handle == entry.run.handle) && !entry.run.is_finished() {
                entry.run.cancel.cancel();
                if entry.ready.take().is_some() {
                    entry.run.finish(false);
                }
                stopped += 1;
            }
        }
        stopped
    }

    /// Does anybody still wait for something?
    pub fn is_idle(&self) -> bool {
        let mut inner = self.lock();
        for entry in &mut inner.statements {
            if entry.since.elapsed() > WAITS && entry.ready.take().is_some() {
                entry.run.finish(false);
            }
        }
        inner.prepared.is_empty() && inner.statements.iter().all(|entry| entry.ready.is_none())
    }

    /// Keeps a prepared statement; `false` if there are too many.
    pub fn prepare(&self, handle: &str, prepared: Prepared) -> bool {
        let mut inner = self.lock();
        if inner.prepared.len() >= PREPARED {
            return false;
        }
        inner.prepared.push_back((handle.to_owned(), prepared));
        true
    }

    /// A prepared statement.
    pub fn prepared(&self, handle: &str) -> Option<Prepared> {
        self.lock().prepared.iter().find(|(name, _)| name == handle).map(|(_, prepared)| prepared.clone())
    }

    /// Gives a prepared statement its values.
    pub fn bind(&self, handle: &str, values: RecordBatch) -> bool {
        let mut inner = self.lock();
        match inner.prepared.iter_mut().find(|(name, _)| name == handle) {
            Some((_, prepared)) => {
                prepared.values = Some(values);
                true
            }
            None => false,
        }
    }

    /// Forgets a prepared statement.
    pub fn close(&self, handle: &str) {
        self.lock().prepared.retain(|(name, _)| name != handle);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
