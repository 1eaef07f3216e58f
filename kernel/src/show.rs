//! One statement: asked, fetched as far as it is drawn, drawn. Stops as soon as the user interrupts.

mod more;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use carrel_cell::bundle::MimeBundle;
use carrel_cell::caption::{self, Stats};
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::progress::{Progress, ended_bundle, progress_bundle};
use carrel_cell::table::{self, Limits, Table};
use carrel_channels::Output;
use serde_json::{Map, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::{Answer, Engine, Failure, ProgressReply, Rows, StatsReply, problem_of};
use crate::values;
pub(crate) use more::{More, Rest};

/// A bar is shown when a statement takes longer than this …
const PATIENCE: Duration = Duration::from_millis(500);
/// … and is drawn anew this often.
const BETWEEN: Duration = Duration::from_millis(300);
/// How long the engine may take to say how a statement went; the result is shown without it.
const STATS: Duration = Duration::from_millis(500);
/// How long an interrupt may take to reach the engine.
const CANCEL: Duration = Duration::from_millis(500);

/// What a statement puts into the cell.
pub(crate) struct Shown {
    /// The formats.
    pub(crate) bundle: MimeBundle,
    /// `{"carrel": {query_id, rows, complete, bytes_scanned}}`
    pub(crate) metadata: Map<String, serde_json::Value>,
}

/// Runs one statement and returns what is to be shown, and what is left to be fetched.
pub(crate) async fn statement(
    engine: &Arc<Engine>,
    sql: &str,
    most_rows: usize,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<(Shown, Option<Rest>), Problem> {
    let begun = Instant::now();
    let answer = planned(engine, sql, cancel, begun).await?;
    let asked = fetched(engine, Whole::new(answer), most_rows, output, cancel, begun).await?;
    Ok((shown(&asked)?, asked.rest))
}

/// The next rows of a result.
pub(crate) async fn next(
    engine: &Arc<Engine>,
    rest: Rest,
    most_rows: usize,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<(Shown, Option<Rest>), Problem> {
    let Rest { answer, rows, over, shown: before } = rest;
    let whole = Whole { answer, before, source: Some((rows, over)) };
    let asked = fetched(engine, whole, most_rows, output, cancel, Instant::now()).await?;
    Ok((shown(&asked)?, asked.rest))
}

fn shown(Asked { answer, fetched, stats, .. }: &Asked) -> Result<Shown, Problem> {
    let mut table = Table {
        columns: fetched.schema.as_deref().map(values::columns).unwrap_or_default(),
        ..Table::default()
    };
    for batch in &fetched.batches {
        let drawn = values::append_rows(batch, usize::MAX, &mut table.rows);
        drawn.map_err(|error| problem_of(&Failure::Draw(error)))?;
    }
    Ok(draw(answer, &table, stats))
}

/// A statement that ran.
pub(crate) struct Asked {
    answer: Answer,
    /// Its rows.
    pub(crate) fetched: Fetched,
    /// What it took.
    pub(crate) stats: Stats,
    /// What is left.
    rest: Option<Rest>,
}

impl Asked {
    /// Names it in the journal.
    pub(crate) fn query_id(&self) -> String {
        query_id(&self.answer.handle)
    }
}

/// Runs one statement and fetches at most so many rows; the engine need not go on with others.
pub(crate) async fn ask(
    engine: &Arc<Engine>,
    sql: &str,
    most_rows: usize,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<Asked, Problem> {
    let begun = Instant::now();
    let answer = planned(engine, sql, cancel, begun).await?;
    let mut asked = fetched(engine, Whole::new(answer), most_rows, output, cancel, begun).await?;
    more::let_go(engine, asked.rest.take()).await;
    Ok(asked)
}

async fn planned(
    engine: &Engine,
    sql: &str,
    cancel: &CancellationToken,
    begun: Instant,
) -> Result<Answer, Problem> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(stop(engine, Bytes::new(), begun).await),
        answer = engine.statement(sql) => answer.map_err(|failure| problem_of(&failure)),
    }
}

/// A result, as far as it was not fetched yet.
struct Whole {
    answer: Answer,
    /// Rows that were shown earlier.
    before: usize,
    source: Source,
}

/// Where more rows come from, with rows that came already.
type Source = Option<(Rows, RecordBatch)>;

impl Whole {
    fn new(answer: Answer) -> Self {
        Self { answer, before: 0, source: None }
    }
}

/// Fetches at most so many rows, with a bar if that takes its time.
async fn fetched(
    engine: &Arc<Engine>,
    Whole { answer, before, source }: Whole,
    most_rows: usize,
    output: &Output,
    cancel: &CancellationToken,
    begun: Instant,
) -> Result<Asked, Problem> {
    let bar = Bar::start(engine, &answer, output, begun);
    let fetched = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(stop(engine, answer.handle.clone(), begun).await),
        fetched = fetch(engine, &answer, source, most_rows) => fetched.map_err(|failure| problem_of(&failure)),
    };
    match fetched {
        Ok((fetched, source)) => {
            let stats = stats(engine, &answer, before, &fetched, begun).await;
            bar.end(&caption::caption(&stats)).await;
            let shown = before + fetched.rows;
            let rest = source.map(|(rows, over)| Rest { answer: answer.clone(), rows, over, shown });
            Ok(Asked { answer, fetched, stats, rest })
        }
        Err(problem) => {
            let after = caption::seconds(begun.elapsed().as_secs_f64());
            bar.end(&format!("{} after {after}", problem.ename)).await;
            Err(problem)
        }
    }
}

/// The user interrupted: tells the engine, without waiting long for it.
async fn stop(engine: &Engine, handle: Bytes, begun: Instant) -> Problem {
    let _ = tokio::time::timeout(CANCEL, engine.action("carrel.cancel", handle)).await;
    let after = caption::seconds(begun.elapsed().as_secs_f64());
    Problem::new(Ename::Cancelled, format!("interrupted after {after}"))
}

/// Rows of a statement, as many as were wanted.
#[derive(Default)]
pub(crate) struct Fetched {
    /// The columns; none for a statement without rows.
    pub(crate) schema: Option<SchemaRef>,
    /// The rows.
    pub(crate) batches: Vec<RecordBatch>,
    /// Are these all?
    pub(crate) complete: bool,
    rows: usize,
}

impl Fetched {
    /// Takes of a batch what is drawn; the rest, if there is one.
    fn take(&mut self, batch: &RecordBatch, most_rows: usize) -> Option<RecordBatch> {
        let taken = batch.num_rows().min(most_rows - self.rows);
        self.rows += taken;
        self.batches.push(batch.slice(0, taken));
        (taken < batch.num_rows()).then(|| batch.slice(taken, batch.num_rows() - taken))
    }
}

/// Fetches what is drawn, and reads on just far enough to know whether that is all.
async fn fetch(
    engine: &Engine,
    answer: &Answer,
    source: Source,
    most_rows: usize,
) -> Result<(Fetched, Source), Failure> {
    let mut fetched = Fetched { complete: true, ..Fetched::default() };
    let (mut rows, mut next) = match source {
        Some((rows, over)) => (rows, Some(over)),
        None => match engine.rows(answer).await? {
            Some(rows) => (rows, None),
            None => return Ok((fetched, None)),
        },
    };
    loop {
        let batch = match next.take() {
            Some(batch) => batch,
            None => match engine.next(&mut rows).await? {
                Some(batch) => batch,
                None => break,
            },
        };
        if let Some(over) = fetched.take(&batch, most_rows) {
            fetched.complete = false;
            fetched.schema = rows.schema().cloned();
            return Ok((fetched, Some((rows, over))));
        }
    }
    fetched.schema = rows.schema().cloned();
    Ok((fetched, None))
}

async fn stats(engine: &Engine, answer: &Answer, before: usize, fetched: &Fetched, begun: Instant) -> Stats {
    let asked = engine.json::<StatsReply>("carrel.stats", answer.handle.clone());
    let reply = match tokio::time::timeout(STATS, asked).await {
        Ok(Ok(reply)) => reply,
        _ => StatsReply::default(),
    };
    // A result that goes on was begun earlier.
    let took = reply.elapsed_ms.filter(|_| before == 0);
    Stats {
        before: before as u64,
        rows: fetched.rows as u64,
        complete: fetched.complete,
        seconds: took.map_or_else(|| begun.elapsed().as_secs_f64(), |ms| ms / 1000.0),
        bytes_scanned: reply.bytes_scanned,
        bytes_total: reply.bytes_total,
    }
}

fn draw(answer: &Answer, table: &Table, stats: &Stats) -> Shown {
    let bundle = if table.columns.is_empty() {
        MimeBundle::text(caption::done(stats))
    } else {
        table::bundle(table, &caption::caption(stats), Limits::default())
    };
    let carrel = json!({
        "query_id": query_id(&answer.handle),
        "rows": stats.rows,
        "rows_before": stats.before,
        "complete": stats.complete,
        "bytes_scanned": stats.bytes_scanned,
    });
    Shown { bundle, metadata: Map::from_iter([("carrel".to_owned(), carrel)]) }
}

/// The handle as text; the engine is free to make it of bytes.
fn query_id(handle: &[u8]) -> String {
    match std::str::from_utf8(handle) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => handle.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The bar of a statement that takes its time: one output, drawn anew.
struct Bar {
    task: JoinHandle<()>,
    shown: Arc<AtomicBool>,
    id: String,
    output: Output,
}

impl Bar {
    fn start(engine: &Arc<Engine>, answer: &Answer, output: &Output, begun: Instant) -> Self {
        let shown = Arc::new(AtomicBool::new(false));
        let id = format!("carrel-{}", uuid::Uuid::new_v4().simple());
        let drawing = draw_bar(
            Arc::clone(engine),
            answer.handle.clone(),
            output.clone(),
            id.clone(),
            Arc::clone(&shown),
            begun,
        );
        Self { task: tokio::spawn(drawing), shown, id, output: output.clone() }
    }

    /// Puts a line in the bar's place, if there is a bar.
    async fn end(self, line: &str) {
        self.task.abort();
        let _ = self.task.await;
        if self.shown.load(Ordering::Relaxed) {
            self.output.update_display(ended_bundle(line).into_map(), Map::new(), &self.id).await;
        }
    }
}

async fn draw_bar(
    engine: Arc<Engine>,
    handle: Bytes,
    output: Output,
    id: String,
    shown: Arc<AtomicBool>,
    begun: Instant,
) {
    tokio::time::sleep(PATIENCE.saturating_sub(begun.elapsed())).await;
    loop {
        let Ok(reply) = engine.json::<ProgressReply>("carrel.progress", handle.clone()).await else { return };
        let progress = Progress {
            rows: reply.rows,
            bytes_scanned: reply.bytes_scanned,
            bytes_total: reply.bytes_total,
            seconds: begun.elapsed().as_secs_f64(),
            stage: reply.stage,
            fraction: reply.fraction,
        };
        let bundle = progress_bundle(&progress).into_map();
        if shown.swap(true, Ordering::Relaxed) {
            output.update_display(bundle, Map::new(), &id).await;
        } else {
            output.display(bundle, Map::new(), Some(&id)).await;
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_id_is_text() {
        assert_eq!(query_id(b"q-17"), "q-17");
        assert_eq!(query_id(&[0xff, 1]), "ff01");
    }
}
