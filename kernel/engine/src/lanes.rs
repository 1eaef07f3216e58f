//! Where statements compute: each in a runtime of its own, apart from the one that serves, so that answering goes on
//! under load, and so that it can be seen whether a stopped statement's work really ended. What does not end in time
//! takes the process down: session tables are on disk, and the engine is started again by the next connection.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carrel_cell::problem::{Ename, Problem};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::run::Run;

/// How long stopped work may go on: users are promised an idle machine within 2 s, and a loaded one needs its time to stop in order.
pub const GRACE: Duration = Duration::from_millis(1500);

/// Lanes kept for reuse.
const IDLE: usize = 2;

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(3);

/// The exit status of an engine that ended itself because stopped work went on.
pub const EXIT_STUCK: i32 = 75;

/// Runtimes for statements: a few, kept for reuse.
pub struct Lanes {
    idle: Mutex<Vec<Lane>>,
    permits: Arc<Semaphore>,
    threads: usize,
    serving: Handle,
    stuck: Box<dyn Fn(&str) + Send + Sync>,
}

struct Lane {
    /// There until the lane is dropped.
    runtime: Option<Runtime>,
    meter: Arc<Meter>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        // waits for nothing, so that a lane may be dropped anywhere
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The statement that a lane computes.
#[derive(Default)]
struct Meter(Mutex<Option<Arc<Run>>>);

thread_local! {
    static METER: RefCell<Option<Arc<Meter>>> = const { RefCell::new(None) };
}

/// Counts bytes read for the statement whose lane this thread belongs to.
pub fn count_bytes(bytes: u64) {
    if let Some(run) = current() {
        run.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The statement whose lane this thread belongs to.
pub fn current() -> Option<Arc<Run>> {
    METER.with_borrow(|meter| meter.as_ref()?.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

impl Lanes {
    /// At most `most` statements at a time, each on `threads` threads. `stuck` is called with a statement's handle when
    /// its work did not end: it is expected not to return. Call it within the serving runtime.
    pub fn new(threads: usize, most: usize, stuck: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(most)),
            threads,
            serving: Handle::current(),
            stuck: Box::new(stuck),
        })
    }

    /// A lane for a statement; waits while all are taken, unless the statement is stopped.
    pub async fn lease(self: &Arc<Self>, run: &Arc<Run>) -> Result<Lease, Problem> {
        if self.permits.available_permits() == 0 {
            run.stage("waiting for other statements");
        }
        let permit = tokio::select! {
            permit = self.permits.clone().acquire_owned() => permit,
            () = run.cancel.cancelled() => return Err(run.cancelled()),
        };
        let Ok(permit) = permit else { return Err(Problem::new(Ename::EngineLost, "the engine is ending")) };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lane = match idle {
            Some(lane) => lane,
            None => Lane::new(self.threads)?,
        };
        lane.meter.set(Some(run.clone()));
        Ok(Lease { lane: Some(lane), lanes: self.clone(), run: run.clone(), permit: Some(permit) })
    }

    /// Waits for a lane's work to end, then keeps the lane for reuse.
    async fn settle(self: Arc<Self>, lane: Lane, run: Arc<Run>, permit: Option<OwnedSemaphorePermit>) {
        let deadline = Instant::now() + GRACE;
        while lane.runtime.as_ref().is_some_and(|runtime| runtime.metrics().num_alive_tasks() > 0) {
            if Instant::now() >= deadline {
                (self.stuck)(&run.handle);
                return;
            }
            tokio::time::sleep(TICK).await;
        }
        lane.meter.set(None);
        drop(permit);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(lane);
        }
    }
}

impl Lane {
    fn new(threads: usize) -> Result<Self, Problem> {
        let meter = Arc::<Meter>::default();
        let counted = meter.clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("compute")
            .thread_stack_size(8 << 20)
            .on_thread_start(move || METER.set(Some(counted.clone())))
            .enable_all()
            .build()
            .map_err(|error| {
                Problem::new(Ename::MemoryLimit, format!("no threads for this statement: {error}"))
            })?;
        Ok(Self { runtime: Some(runtime), meter })
    }
}

impl Meter {
    fn set(&self, run: Option<Arc<Run>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }
}

/// A statement's lane; given back when dropped.
pub struct Lease {
    lane: Option<Lane>,
    lanes: Arc<Lanes>,
    run: Arc<Run>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// Runs a future in the lane. It is dropped when the statement is stopped.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.run.cancel.clone();
        if let Some(runtime) = self.lane.as_ref().and_then(|lane| lane.runtime.as_ref()) {
            runtime.spawn(async move {
                let _ = cancel.run_until_cancelled_owned(work).await;
            });
        }
    }

    /// Runs a future in the lane and waits for its answer, but not past the statement's stop.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, wait) = tokio::sync::oneshot::channel();
        let handle = self.run.handle.clone();
        self.spawn(async move {
            let _ = answer.send(crate::panics::guard(&handle, work).await);
        });
        tokio::select! {
            answer = wait => answer.unwrap_or_else(|_| Err(self.run.cancelled())),
            () = self.run.cancel.cancelled() => Err(self.run.cancelled()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            let settle = self.lanes.clone().settle(lane, self.run.clone(), self.permit.take());
            self.lanes.serving.spawn(settle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn work_that_yields_ends_when_stopped_and_the_lane_is_used_again() {
        let lanes = Lanes::new(1, 1, |_| panic!("stuck"));
        for _ in 0..2 {
            let run = Run::new("a");
            let lease = lanes.lease(&run).await.unwrap();
            let (started, mut wait) = mpsc::channel(1);
            lease.spawn(async move {
                count_bytes(7);
                let _ = started.send(()).await;
                std::future::pending::<()>().await;
            });
            wait.recv().await.unwrap();
            run.cancel.cancel();
            drop(lease);
            assert_eq!(run.bytes.load(Ordering::Relaxed), 7);
        }
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_reported() {
        let (stuck, mut wait) = mpsc::unbounded_channel();
        let lanes = Lanes::new(1, 1, move |handle| {
            let _ = stuck.send(handle.to_owned());
        });
        let run = Run::new("loops");
        let lease = lanes.lease(&run).await.unwrap();
        let done = tokio_util::sync::CancellationToken::new();
        let until = done.clone();
        let (started, begun) = tokio::sync::oneshot::channel();
        lease.spawn(async move {
            let _ = started.send(());
            while !until.is_cancelled() {
                std::hint::spin_loop();
            }
        });
        begun.await.unwrap();
        run.cancel.cancel();
        drop(lease);
        assert_eq!(wait.recv().await.unwrap(), "loops");
        done.cancel();
    }

    #[tokio::test]
    async fn a_waiting_statement_can_be_stopped() {
        let lanes = Lanes::new(1, 1, |_| ());
        let first = Run::new("first");
        let _held = lanes.lease(&first).await.unwrap();
        let second = Run::new("second");
        second.cancel.cancel();
        assert_eq!(lanes.lease(&second).await.err().unwrap().ename, Ename::Cancelled);
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_problem_with_a_reference() {
        let lanes = Lanes::new(1, 1, |_| ());
        let run = Run::new("p");
        let lease = lanes.lease(&run).await.unwrap();
        let broken = run.clone();
        let boom = async move {
            assert!(broken.is_finished(), "boom");
            Ok(())
        };
        let problem = lease.run(boom).await.unwrap_err();
        assert_eq!(problem.ename, Ename::Internal);
        assert!(!problem.message.contains("boom"), "{problem}");
    }
}
