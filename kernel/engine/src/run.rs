//! One running statement: its stop signal, and what can be told about it while it runs and after.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use carrel_cell::problem::{Ename, Problem};
use datafusion::physical_plan::ExecutionPlan;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::scanned::{Scanned, scanned};

/// One running statement. Shared between who runs it, who asks about it and who stops it.
#[derive(Debug)]
pub struct Run {
    /// Its name.
    pub handle: String,
    /// Cancelled when the user or the client's going away stops it.
    pub cancel: CancellationToken,
    /// Bytes read for it; counted where files are read.
    pub bytes: AtomicU64,
    started: Instant,
    rows: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: String,
    fraction: Option<f64>,
    plans: Vec<Arc<dyn ExecutionPlan>>,
    files_total: u64,
    bytes_total: u64,
    ended: Option<(Duration, bool, Scanned)>,
    at_end: Vec<AtEnd>,
}

/// Something to be done when a statement ends. It does not wait for anything.
pub type AtEnd = Box<dyn FnOnce() + Send>;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} plans)", self.stage, self.plans.len())
    }
}

/// The answer to `carrel.progress`.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    rows: u64,
    bytes_scanned: u64,
    bytes_total: u64,
    elapsed_ms: u64,
    stage: String,
    fraction: Option<f64>,
}

/// The answer to `carrel.stats`.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Rows handed out.
    pub rows: u64,
    /// Were they all?
    pub complete: bool,
    /// Since the statement began, until its end.
    pub elapsed_ms: u64,
    /// Bytes read from files.
    pub bytes_scanned: u64,
    /// Size of all files that it could have read.
    pub bytes_total: u64,
    /// Files read.
    pub files: u64,
    /// Files that it could have read.
    pub files_total: u64,
    /// Row groups read.
    pub row_groups: u64,
    /// Row groups in the files that were opened.
    pub row_groups_total: u64,
}

impl Run {
    /// A statement that begins now.
    pub fn new(handle: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            handle: handle.into(),
            cancel: CancellationToken::new(),
            bytes: AtomicU64::new(0),
            started: Instant::now(),
            rows: AtomicU64::new(0),
            state: Mutex::new(State { stage: "planning".to_owned(), ..State::default() }),
        })
    }

    /// The same statement, from now on: it was looked at and will run. What is to be done at its end goes along.
    pub fn again(&self) -> Arc<Self> {
        let fresh = Self::new(self.handle.clone());
        fresh.lock().at_end = std::mem::take(&mut self.lock().at_end);
        fresh
    }

    /// Fails once the statement was stopped: call it in every loop that may take long.
    pub fn check(&self) -> Result<(), Problem> {
        if self.cancel.is_cancelled() { Err(self.cancelled()) } else { Ok(()) }
    }

    /// What a stopped statement says.
    pub fn cancelled(&self) -> Problem {
        let seconds = self.started.elapsed().as_secs_f64();
        let rows = self.lock().scanned().rows;
        let read = if rows > 0 { format!(", {} rows read", grouped(rows)) } else { String::new() };
        Problem::new(Ename::Cancelled, format!("cancelled after {seconds:.1} s{read}"))
    }

    /// What it does now, in one or two words.
    pub fn stage(&self, stage: impl Into<String>) {
        self.lock().stage = stage.into();
    }

    /// How much is done, 0 to 1, where the work itself knows; otherwise it is estimated from the scans.
    pub fn fraction(&self, fraction: f64) {
        self.lock().fraction = Some(fraction.clamp(0.0, 1.0));
    }

    /// Counts rows handed out.
    pub fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// A plan whose scans count as this statement's.
    pub fn watch(&self, plan: Arc<dyn ExecutionPlan>) {
        self.lock().plans.push(plan);
    }

    /// Files that it may read, and their size.
    pub fn expect_files(&self, files: u64, bytes: u64) {
        let mut state = self.lock();
        state.files_total += files;
        state.bytes_total += bytes;
    }

    /// Does something when the statement ends; at once if it has.
    pub fn at_end(&self, work: AtEnd) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.at_end.push(work);
        } else {
            drop(state);
            work();
        }
    }

    /// The end: freezes the figures and lets the plans go.
    pub fn finish(&self, complete: bool) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        let scanned = state.scanned();
        state.ended = Some((self.started.elapsed(), complete, scanned));
        state.plans.clear();
        state.stage = "done".to_owned();
        let work = std::mem::take(&mut state.at_end);
        drop(state);
        for work in work {
            work();
        }
    }

    /// Is it over?
    pub fn is_finished(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Where it stands.
    pub fn progress(&self) -> Progress {
        let state = self.lock();
        let scanned = state.scanned();
        let elapsed = state.ended.as_ref().map_or_else(|| self.started.elapsed(), |ended| ended.0);
        Progress {
            rows: self.rows.load(Ordering::Relaxed).max(scanned.rows),
            bytes_scanned: self.bytes.load(Ordering::Relaxed),
            bytes_total: state.bytes_total,
            elapsed_ms: millis(elapsed),
            stage: state.stage.clone(),
            fraction: if state.ended.is_some() { Some(1.0) } else { state.fraction.or(scanned.fraction()) },
        }
    }

    /// What it took.
    pub fn stats(&self) -> Stats {
        let state = self.lock();
        let scanned = state.scanned();
        let (elapsed, complete) =
            state.ended.as_ref().map_or_else(|| (self.started.elapsed(), false), |ended| (ended.0, ended.1));
        Stats {
            rows: self.rows.load(Ordering::Relaxed),
            complete,
            elapsed_ms: millis(elapsed),
            bytes_scanned: self.bytes.load(Ordering::Relaxed),
            bytes_total: state.bytes_total,
            files: scanned.files.min(state.files_total),
            files_total: state.files_total,
            row_groups: scanned.row_groups,
            row_groups_total: scanned.row_groups_total,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn scanned(&self) -> Scanned {
        match &self.ended {
            Some((_, _, scanned)) => scanned.clone(),
            None => self.plans.iter().map(scanned).fold(Scanned::default(), Scanned::plus),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `12,345,678`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_statement_says_so_once_asked() {
        let run = Run::new("a");
        assert!(run.check().is_ok());
        run.cancel.cancel();
        assert_eq!(run.check().unwrap_err().ename, Ename::Cancelled);
    }

    #[test]
    fn figures_stay_after_the_end() {
        let run = Run::new("a");
        run.add_rows(5);
        assert!(!run.stats().complete);
        run.finish(true);
        run.finish(false);
        assert!(run.stats().complete && run.is_finished());
        assert_eq!(run.stats().rows, 5);
        assert_eq!(run.progress().fraction, Some(1.0));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([grouped(7), grouped(1000), grouped(1_234_567)], ["7", "1,000", "1,234,567"]);
    }
}
