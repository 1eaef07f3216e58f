//! One engine: its socket, its user, its connections. A connection carries one question at a time.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrel_source::request::MAX_REQUEST;
use carrel_source::{Answer, Code, Failure, Request};
use futures::FutureExt;
use std::io::ErrorKind;

use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, Record};
use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::opened::{Files, Tally};
use crate::question;
use crate::reading::Out;

/// Connections of one engine at a time.
const MOST_CONNECTIONS: usize = 64;

/// Once a question has begun it must be there whole within this time.
const WHOLE: Duration = Duration::from_secs(30);

/// One engine as the broker sees it.
pub(crate) struct Engine {
    pub(crate) who: Identity,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) audit: Arc<Audit>,
    files: Mutex<Files>,
}

impl Engine {
    pub(crate) fn new(who: Identity, cluster: Arc<Cluster>, audit: Arc<Audit>) -> Arc<Self> {
        Arc::new(Self { who, cluster, audit, files: Mutex::default() })
    }

    /// What it has open. Held for a moment only.
    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers on this socket until told to end. Everything that was not ended is then written down as ended.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener, end: CancellationToken) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let accept = async {
            loop {
                let Ok(permit) = room.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (engine, end) = (self.clone(), end.clone());
                        tokio::spawn(async move {
                            let _ = end.run_until_cancelled(engine.converse(stream)).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(kernel = self.who.kernel, %error, "a connection was not accepted");
                        // descriptors may be short for a moment
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        let _ = end.run_until_cancelled(accept).await;
        let left = self.files().finish_all();
        for (statement, tally) in left {
            // its own log line says it if that fails
            let _ = self.write_end(&statement, &tally);
        }
    }

    async fn converse(&self, stream: UnixStream) {
        let (mut input, output) = stream.into_split();
        let mut out = Out::new(output);
        while let Some(request) = next(&mut input).await {
            let last = tokio::select! {
                last = self.answer(request, &mut out) => last,
                // whoever goes away takes the question back
                () = goes_away(&mut input) => return,
            };
            if out.answer(&last).await.is_err() {
                return;
            }
        }
    }

    /// The last frame of an answer; what comes before it has been sent.
    async fn answer(&self, request: Result<Request, Failure>, out: &mut Out) -> Answer {
        let answered = match request {
            Ok(request) => {
                let work = AssertUnwindSafe(question::answer(self, request, out)).catch_unwind();
                work.await.unwrap_or_else(|_| {
                    tracing::error!(kernel = self.who.kernel, "a question was given up after a panic");
                    Err(Failure::new(Code::Internal, "a fault of the broker's, see its log"))
                })
            }
            Err(failure) => Err(failure),
        };
        match answered {
            Ok(()) => Answer::Done,
            Err(failure) => Answer::Failed(failure),
        }
    }

    /// A statement is over.
    pub(crate) fn finish(&self, statement: &str) -> Result<(), Failure> {
        let ended = self.files().finish(statement);
        ended.map_or(Ok(()), |tally| self.write_end(statement, &tally))
    }

    /// Writes down what a statement has read in all.
    pub(crate) fn write_end(&self, statement: &str, tally: &Tally) -> Result<(), Failure> {
        let Tally { files, size, bytes, .. } = tally;
        let record = Record {
            event: "read.end",
            statement,
            files: Some(*files),
            size: Some(*size),
            bytes: Some(*bytes),
            ..Record::default()
        };
        self.audit.write(&self.who, &record)
    }
}

/// The next question; none when the connection is over or broken.
async fn next(input: &mut OwnedReadHalf) -> Option<Result<Request, Failure>> {
    let mut head = [0; 4];
    input.read_exact(&mut head).await.ok()?;
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_REQUEST {
        // what follows cannot be skipped safely: the next read would begin in the middle
        tracing::warn!(length, "a question that is too long");
        return None;
    }
    let mut body = vec![0; length];
    match tokio::time::timeout(WHOLE, input.read_exact(&mut body)).await {
        Ok(Ok(_)) => {}
        _ => return None,
    }
    Some(Request::decode(&body).map_err(|error| {
        tracing::warn!(%error, "a wrong question");
        Failure::new(Code::BadRequest, error.to_string())
    }))
}

/// Returns when the other side closes, or sends something while it is being answered.
async fn goes_away(input: &mut OwnedReadHalf) {
    let mut byte = [0; 1];
    loop {
        match input.read(&mut byte).await {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
