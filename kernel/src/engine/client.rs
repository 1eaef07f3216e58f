//! The Flight SQL client. One connection, opened when first needed and again after it broke.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{Action, FlightDescriptor, Ticket};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use prost::Message;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{Failure, Source};

/// Bytes of one message of the engine: a batch can be large, a mistake must not be endless.
const MESSAGE: usize = 256 << 20;
/// Bytes of the answer to an action.
const ACTION: usize = 16 << 20;
/// A request that fails faster than this failed on a connection that was dead before it.
const STALE: Duration = Duration::from_millis(250);

/// A client of the engine.
pub struct Engine {
    source: Source,
    /// The connection, with the socket that it was opened to.
    open: Mutex<Option<(PathBuf, Channel)>>,
}

/// What the engine says to a statement: where its rows are.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Names the statement in actions.
    pub handle: Bytes,
    ticket: Option<Ticket>,
}

/// Rows of a statement, fetched as they are asked for. Dropping it ends the fetching.
pub struct Rows {
    stream: FlightRecordBatchStream,
}

impl Engine {
    /// A client; nothing is opened yet.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, open: Mutex::new(None) }
    }

    /// Plans a statement. A connection that broke while nothing was asked (an engine that idled away) is opened anew, once.
    ///
    /// # Errors
    /// The engine's refusal, or that it cannot be reached.
    pub async fn statement(&self, sql: &str) -> Result<Answer, Failure> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let asked = Instant::now();
        let info = match self.client().await?.get_flight_info(descriptor.clone()).await {
            Err(status) if broken(&status) && asked.elapsed() < STALE => {
                self.forget();
                self.client().await?.get_flight_info(descriptor).await
            }
            answer => answer,
        };
        let info = info.map_err(|status| self.failed(status))?.into_inner();
        let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
        let handle = match (&info.app_metadata, &ticket) {
            (metadata, Some(ticket)) if metadata.is_empty() => ticket.ticket.clone(),
            (metadata, _) => metadata.clone(),
        };
        Ok(Answer { handle, ticket })
    }

    /// Begins to fetch the rows of a statement; `None` if it has none.
    ///
    /// # Errors
    /// The engine's refusal, or that it cannot be reached.
    pub async fn rows(&self, answer: &Answer) -> Result<Option<Rows>, Failure> {
        let Some(ticket) = answer.ticket.clone() else { return Ok(None) };
        let data =
            self.client().await?.do_get(ticket).await.map_err(|status| self.failed(status))?.into_inner();
        let data = data.map_err(|status| FlightError::Tonic(Box::new(status)));
        Ok(Some(Rows { stream: FlightRecordBatchStream::new_from_flight_data(data) }))
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// What the engine says while it computes.
    pub async fn next(&self, rows: &mut Rows) -> Result<Option<RecordBatch>, Failure> {
        match rows.stream.next().await {
            None => Ok(None),
            Some(Ok(batch)) => Ok(Some(batch)),
            Some(Err(FlightError::Tonic(status))) => Err(self.failed(*status)),
            Some(Err(error)) => Err(Failure::Unreadable(error)),
        }
    }

    /// One of Carrel's actions; the whole answer.
    ///
    /// # Errors
    /// The engine's refusal, or that it cannot be reached.
    pub async fn action(&self, name: &str, body: Bytes) -> Result<Bytes, Failure> {
        let action = Action { r#type: name.to_owned(), body };
        let mut stream =
            self.client().await?.do_action(action).await.map_err(|status| self.failed(status))?.into_inner();
        let mut answer = BytesMut::new();
        while let Some(part) = stream.message().await.map_err(|status| self.failed(status))? {
            if answer.len() + part.body.len() > ACTION {
                return Err(Failure::Status(Box::new(Status::out_of_range("the answer is too large"))));
            }
            answer.extend_from_slice(&part.body);
        }
        Ok(answer.freeze())
    }

    /// An action whose answer is JSON.
    ///
    /// # Errors
    /// As [`Engine::action`], or an answer of another shape.
    pub async fn json<T: DeserializeOwned>(&self, name: &str, body: Bytes) -> Result<T, Failure> {
        let answer = self.action(name, body).await?;
        serde_json::from_slice(&answer).map_err(Failure::Json)
    }

    /// Ends an engine of our own; one that was given goes on.
    pub async fn end(&self) {
        self.forget();
        if let Source::Own(own) = &self.source {
            own.end().await;
        }
    }

    async fn client(&self) -> Result<FlightServiceClient<Channel>, Failure> {
        let path = match &self.source {
            Source::Given(path) => path.clone(),
            Source::Own(own) => own.ready().await?,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match &*open {
            Some((to, channel)) if *to == path => channel.clone(),
            _ => {
                let channel = channel(&path);
                *open = Some((path, channel.clone()));
                channel
            }
        };
        Ok(FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE))
    }

    /// Notes a broken connection, so that the next statement opens a new one.
    fn failed(&self, status: Status) -> Failure {
        if broken(&status) {
            self.forget();
            return Failure::Lost(Box::new(status));
        }
        Failure::Status(Box::new(status))
    }

    fn forget(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Rows {
    /// The columns, once the first batch or the end was seen.
    #[must_use]
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.stream.schema()
    }
}

/// A connection that opens when it is first used.
fn channel(path: &Path) -> Channel {
    let path = path.to_owned();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://engine").connect_with_connector_lazy(connect)
}

/// Did the connection break, rather than the engine answer? What the engine says itself has no source in the transport.
fn broken(status: &Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    match status.code() {
        Code::Unavailable => true,
        Code::Unknown | Code::Internal | Code::Cancelled => transport && status.metadata().is_empty(),
        _ => false,
    }
}
