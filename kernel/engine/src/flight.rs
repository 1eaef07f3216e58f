//! Arrow Flight SQL: what any client may ask, plus Carrel's own actions (docs/architecture.md, "engine").
//! Requests are answered on the serving runtime; statements compute in lanes, and their rows come over a short queue.

mod actions;
mod describe;
mod metadata;
mod prepared;
mod service;
mod status;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::{StatementKind, parse_statement};
use datafusion::common::ParamValues;
use futures::{Stream, StreamExt, stream};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Response, Status};

use crate::activity::{Activity, Busy};
use crate::lanes::{Lanes, Lease};
use crate::output::{Output, plain_schema};
use crate::registry::Registry;
use crate::run::Run;
use crate::session::Session;
use crate::statement::{Ready, execute, prepare};
use status::to_status;

/// Batches that wait for a slow client, per statement.
const QUEUE: usize = 2;

/// Longest statement in bytes.
const LONGEST: usize = 1 << 20;

type DoGet = <Service as FlightService>::DoGetStream;

/// The service: a cheap handle.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    session: Session,
    lanes: Arc<Lanes>,
    registry: Registry,
    activity: Arc<Activity>,
}

enum Piece {
    Schema(SchemaRef),
    Rows(RecordBatch),
    End,
}

impl Service {
    /// Serves a session.
    pub fn new(session: Session, lanes: Arc<Lanes>, activity: Arc<Activity>) -> Self {
        Self(Arc::new(Inner { session, lanes, registry: Registry::default(), activity }))
    }

    /// Is nothing open?
    pub fn is_idle(&self) -> bool {
        self.0.registry.is_idle()
    }

    /// Stops everything.
    pub fn cancel_all(&self) {
        self.0.registry.cancel(None);
    }

    /// Looks at a statement and keeps it for its fetch.
    async fn look(
        &self,
        sql: &str,
        values: Option<ParamValues>,
    ) -> Result<(Arc<Run>, Option<SchemaRef>), Problem> {
        let (run, ready) = self.ready(sql, values).await?;
        let schema = ready.plan().map(|plan| plain_schema(plan.schema().inner()));
        self.0.registry.put(run.clone(), ready);
        Ok((run, schema))
    }

    async fn ready(&self, sql: &str, values: Option<ParamValues>) -> Result<(Arc<Run>, Ready), Problem> {
        if sql.len() > LONGEST {
            return Err(Problem::new(Ename::SyntaxError, "the statement is longer than 1 MiB")
                .hint("keep long lists of values in a file and join with it"));
        }
        let run = Run::new(uuid::Uuid::new_v4().simple().to_string());
        let statement = parse_statement(sql)?;
        let (session, planning) = (self.0.session.clone(), run.clone());
        let is_query = matches!(statement.kind, StatementKind::Query(_));
        let look = async move {
            let ready = prepare(&session, statement, &planning).await?;
            match values {
                Some(values) => ready.bind(values),
                None => Ok(ready),
            }
        };
        if !is_query {
            return Ok((run, look.await?));
        }
        // seen by "cancel all", and stopped when the client goes away
        self.0.registry.running(run.clone());
        let guard = Ended { run: run.clone(), armed: true };
        let lease = self.0.lanes.lease(&run).await?;
        let ready = lease.run(look).await?;
        guard.disarm();
        drop(lease);
        let fresh = run.again();
        self.0.registry.forget(&run.handle);
        Ok((fresh, ready))
    }

    /// The answer to a statement: where its rows are to be fetched.
    fn info(
        &self,
        descriptor: FlightDescriptor,
        run: &Run,
        schema: Option<SchemaRef>,
    ) -> Result<FlightInfo, Status> {
        let handle = run.handle.clone().into_bytes();
        let ticket = TicketStatementQuery { statement_handle: handle.clone().into() };
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.as_any().encode_to_vec()));
        let info =
            FlightInfo::new().with_descriptor(descriptor).with_endpoint(endpoint).with_app_metadata(handle);
        match schema {
            Some(schema) => info
                .try_with_schema(&schema)
                .map_err(|error| to_status(&carrel_query::problems::internal("a schema", &error))),
            None => Ok(info),
        }
    }

    /// Runs a statement that was looked at and streams its rows.
    async fn fetch(&self, handle: &str) -> Result<Response<DoGet>, Status> {
        let Some((run, ready)) = self.0.registry.take(handle) else {
            let gone = match self.0.registry.run(handle) {
                Some(run) if run.cancel.is_cancelled() => run.cancelled(),
                Some(_) => Problem::new(Ename::Unsupported, "this result was fetched already"),
                None => Problem::new(Ename::EngineLost, "the engine no longer has this statement")
                    .hint("run the statement again"),
            };
            return Err(to_status(&gone));
        };
        let (schema, rows) = self.run(run, ready).await.map_err(|problem| to_status(&problem))?;
        Ok(Response::new(encoded(schema, rows)))
    }

    /// Runs a statement; its rows come over a queue. Dropping them stops it.
    async fn run(
        &self,
        run: Arc<Run>,
        ready: Ready,
    ) -> Result<(SchemaRef, impl Stream<Item = Result<RecordBatch, Problem>> + Send + use<>), Problem> {
        let ended = Ended { run: run.clone(), armed: true };
        let busy = self.0.activity.begin();
        let lease = self.0.lanes.lease(&run).await?;
        let (sender, mut receiver) = mpsc::channel(QUEUE);
        lease.spawn(pump(self.0.session.clone(), ready, run.clone(), sender));
        let first = next(&mut receiver, &run).await;
        let schema = match first {
            Some(Ok(Piece::Schema(schema))) => schema,
            Some(Err(problem)) => return Err(problem),
            _ => return Err(run.cancelled()),
        };
        let under_way = UnderWay { run, receiver, ended, _lease: lease, _busy: busy };
        let rows = stream::unfold(Some(under_way), |under_way| async move {
            let mut under_way = under_way?;
            match next(&mut under_way.receiver, &under_way.run).await {
                Some(Ok(Piece::Rows(batch))) => {
                    under_way.run.add_rows(batch.num_rows());
                    Some((Ok(batch), Some(under_way)))
                }
                Some(Ok(Piece::End)) => {
                    under_way.run.finish(true);
                    under_way.ended.disarm();
                    None
                }
                Some(Ok(Piece::Schema(_))) | None => Some((Err(under_way.run.cancelled()), None)),
                Some(Err(problem)) => Some((Err(problem), None)),
            }
        });
        Ok((schema, rows))
    }

    /// Runs a statement to its end; the number of its rows.
    async fn drain(&self, sql: &str, values: Option<ParamValues>) -> Result<i64, Problem> {
        let (run, ready) = self.ready(sql, values).await?;
        let is_query = ready.plan().is_some();
        self.0.registry.running(run.clone());
        let (_, rows) = self.run(run, ready).await?;
        let mut rows = std::pin::pin!(rows);
        let mut seen = 0;
        while let Some(batch) = rows.next().await {
            seen += batch?.num_rows();
        }
        Ok(if is_query { i64::try_from(seen).unwrap_or(i64::MAX) } else { 0 })
    }
}

/// In the lane: does the statement and passes on what comes, ending with `End` or a problem.
async fn pump(session: Session, ready: Ready, run: Arc<Run>, sender: mpsc::Sender<Result<Piece, Problem>>) {
    let work = async {
        let Output { schema, mut rows } = execute(&session, ready, &run).await?.plain();
        let gone = || run.cancelled();
        sender.send(Ok(Piece::Schema(schema))).await.map_err(|_| gone())?;
        while let Some(batch) = rows.next().await {
            sender.send(Ok(Piece::Rows(batch?))).await.map_err(|_| gone())?;
        }
        Ok(())
    };
    let last = crate::panics::guard(&run.handle, work).await.map(|()| Piece::End);
    let _ = sender.send(last).await;
}

/// The next piece, but not past the statement's stop.
async fn next(
    receiver: &mut mpsc::Receiver<Result<Piece, Problem>>,
    run: &Run,
) -> Option<Result<Piece, Problem>> {
    tokio::select! {
        biased;
        piece = receiver.recv() => piece,
        () = run.cancel.cancelled() => Some(Err(run.cancelled())),
    }
}

/// A statement whose rows are being fetched. The order matters: stop, then give the lane back.
struct UnderWay {
    run: Arc<Run>,
    receiver: mpsc::Receiver<Result<Piece, Problem>>,
    ended: Ended,
    _lease: Lease,
    _busy: Busy,
}

/// Stops and ends a run when dropped before its end.
struct Ended {
    run: Arc<Run>,
    armed: bool,
}

impl Ended {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.armed {
            self.run.cancel.cancel();
            self.run.finish(false);
        }
    }
}

/// Batches as Flight data.
fn encoded(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Problem>> + Send + 'static,
) -> DoGet {
    let rows = rows.map(|batch| batch.map_err(|problem| FlightError::Tonic(Box::new(to_status(&problem)))));
    let data = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_dictionary_handling(DictionaryHandling::Hydrate)
        .build(rows)
        .map(|data| data.map_err(Status::from));
    Box::pin(data)
}

/// One batch as Flight data.
fn encoded_batch(batch: RecordBatch) -> Response<DoGet> {
    Response::new(encoded(batch.schema(), stream::iter([Ok(batch)])))
}
