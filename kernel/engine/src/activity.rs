//! Is anybody using this engine? Requests and streams are counted; an engine that nobody uses ends by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts what is under way.
#[derive(Debug)]
pub struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    busy: usize,
    since: Instant,
}

impl Activity {
    /// Nothing is under way, since now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { busy: 0, since: Instant::now() })))
    }

    /// Something is under way until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.lock().busy += 1;
        Busy(self.clone())
    }

    /// How long nothing was under way.
    pub fn idle_for(&self) -> Duration {
        let state = self.lock();
        if state.busy > 0 { Duration::ZERO } else { state.since.elapsed() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something under way.
#[derive(Debug)]
pub struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        state.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let activity = Activity::new();
        let a = activity.begin();
        let b = activity.begin();
        drop(a);
        assert_eq!(activity.idle_for(), Duration::ZERO);
        drop(b);
        let before = activity.idle_for();
        std::thread::yield_now();
        assert!(activity.idle_for() >= before);
    }
}
