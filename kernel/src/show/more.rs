//! What has not been fetched of the last result, for `SHOW MORE`: the engine waits with the next rows until they are asked for, another statement
//! runs, or nobody asked for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};

use crate::engine::{Answer, Engine, Rows};

/// How long the engine waits.
const WAITS: Duration = Duration::from_secs(300);
/// How long it may take to hear that it need not go on.
const CANCEL: Duration = Duration::from_millis(500);

/// The rest of a result.
pub(crate) struct Rest {
    pub(super) answer: Answer,
    pub(super) rows: Rows,
    /// Rows that came with the last ones that were shown.
    pub(super) over: RecordBatch,
    /// Rows that were shown.
    pub(super) shown: usize,
}

/// Keeps the rest of one result.
#[derive(Clone)]
pub(crate) struct More {
    engine: Arc<Engine>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    rest: Option<Rest>,
    /// Counts results, so that a clock knows whether it is still about this one.
    number: u64,
}

impl More {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, kept: Arc::default() }
    }

    /// Keeps a rest, for a while.
    pub(crate) fn keep(&self, rest: Rest) {
        let number = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.number += 1;
            kept.rest = Some(rest);
            kept.number
        };
        let more = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WAITS).await;
            let_go(&more.engine, more.take_if(|kept| kept.number == number)).await;
        });
    }

    /// The rest, which is not kept any more.
    pub(crate) fn take(&self) -> Result<Rest, Problem> {
        self.take_if(|_| true).ok_or_else(|| {
            Problem::new(Ename::ValueError, "there are no more rows to show").hint(
                "SHOW MORE goes on with the last result, if that was not complete, no other statement ran since and it is not older than 5 minutes",
            )
        })
    }

    /// Another statement runs: nobody will ask for the rest.
    pub(crate) async fn forget(&self) {
        let_go(&self.engine, self.take_if(|_| true)).await;
    }

    fn take_if(&self, wanted: impl FnOnce(&Kept) -> bool) -> Option<Rest> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted(&kept) { kept.rest.take() } else { None }
    }
}

/// Tells the engine that the rest is not wanted, without waiting long for it.
pub(super) async fn let_go(engine: &Engine, rest: Option<Rest>) {
    let Some(Rest { answer, rows, .. }) = rest else { return };
    drop(rows);
    let told: Bytes = answer.handle;
    let _ = tokio::time::timeout(CANCEL, engine.action("carrel.cancel", told)).await;
}
