//! The broker's client: one question at a time on a connection, on threads that may wait. Dropping a question closes its connection,
//! which stops the broker's work for it.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use carrel_source::{Access, Answer, Entry, Request};

use super::connection::{Connection, unexpected};
use crate::lanes;

/// Connections kept for the next question.
const IDLE: usize = 16;

/// The broker gives up on a cluster that is silent for less than this, and says so.
const SILENCE: Duration = Duration::from_secs(180);

/// The way to the broker.
#[derive(Debug)]
pub struct Broker {
    socket: PathBuf,
    idle: Mutex<Vec<UnixStream>>,
    /// Statements that have read something and are not over.
    reading: Mutex<HashSet<String>>,
}

impl Broker {
    /// The broker at this socket; nothing is opened.
    pub fn at(socket: PathBuf) -> Arc<Self> {
        Arc::new(Self { socket, idle: Mutex::default(), reading: Mutex::default() })
    }

    /// Entries of a folder.
    pub(super) async fn list(self: &Arc<Self>, request: Request) -> io::Result<Vec<Entry>> {
        self.ask(request, |connection| {
            let mut all = Vec::new();
            loop {
                match connection.next()? {
                    Answer::Entries(some) => all.extend(some),
                    Answer::Done => return Ok(all),
                    _ => return Err(unexpected()),
                }
            }
        })
        .await
    }

    /// What may be used of so many places.
    pub(super) async fn check(self: &Arc<Self>, request: Request, places: usize) -> io::Result<Vec<Access>> {
        let answer = self
            .ask(request, |connection| match (connection.next()?, connection.next()?) {
                (Answer::Checked(access), Answer::Done) => Ok(access),
                _ => Err(unexpected()),
            })
            .await?;
        if answer.len() == places { Ok(answer) } else { Err(unexpected()) }
    }

    /// The bytes of these ranges, which the request asks for.
    pub(super) async fn read(
        self: &Arc<Self>,
        request: Request,
        ranges: Vec<Range<u64>>,
    ) -> io::Result<Vec<Bytes>> {
        self.ask(request, move |connection| connection.fill(&ranges)).await
    }

    /// Sees to it that the broker hears of the end of the statement that reads now.
    pub(super) fn tell_the_end(self: &Arc<Self>) {
        let Some(run) = lanes::current() else { return };
        if !lock(&self.reading).insert(run.handle.clone()) {
            return;
        }
        let (broker, statement) = (self.clone(), run.handle.clone());
        run.at_end(Box::new(move || broker.finish(statement)));
    }

    fn finish(self: Arc<Self>, statement: String) {
        lock(&self.reading).remove(&statement);
        let tell = move || {
            let request = Request::Finish { statement };
            let told = self.exchange(&request, &Closer::default(), |connection| match connection.next()? {
                Answer::Done => Ok(()),
                _ => Err(unexpected()),
            });
            if let Err(error) = told {
                tracing::warn!(%error, "the broker was not told of a statement's end");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(tell)),
            Err(_) => tell(),
        }
    }

    /// Asks, away from the threads that compute.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        request: Request,
        take: impl Fn(&mut Connection) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (broker, closer) = (self.clone(), Closer::default());
        let _closes = CloseOnDrop(closer.clone());
        tokio::task::spawn_blocking(move || broker.exchange(&request, &closer, take)).await?
    }

    fn exchange<T>(
        &self,
        request: &Request,
        closer: &Closer,
        take: impl Fn(&mut Connection) -> io::Result<T>,
    ) -> io::Result<T> {
        let question = request.encode();
        loop {
            let kept = lock(&self.idle).pop();
            let reused = kept.is_some();
            let stream = match kept {
                Some(stream) => stream,
                None => self.connect()?,
            };
            closer.watch(&stream)?;
            let mut connection = Connection::new(stream);
            let answer = connection.stream.write_all(&question).and_then(|()| take(&mut connection));
            let wanted = closer.release();
            match answer {
                Ok(answer) => {
                    let mut idle = lock(&self.idle);
                    if wanted && idle.len() < IDLE {
                        idle.push(connection.stream);
                    }
                    return Ok(answer);
                }
                // a broker that began anew has closed the connections of the one before
                Err(error) if reused && !connection.answered && went_away(&error) => {}
                Err(error) => return Err(explained(error)),
            }
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket).map_err(|error| {
            tracing::warn!(%error, "the broker cannot be reached");
            unavailable("the cluster cannot be reached: no broker answers")
        })?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(stream)
    }
}

/// Closes the connection of a question that nobody waits for any more.
#[derive(Clone, Default)]
struct Closer(Arc<Mutex<Watched>>);

#[derive(Default)]
struct Watched {
    stream: Option<UnixStream>,
    unwanted: bool,
}

struct CloseOnDrop(Closer);

impl Closer {
    fn watch(&self, stream: &UnixStream) -> io::Result<()> {
        let mut watched = lock(&self.0);
        if watched.unwanted {
            return Err(ErrorKind::Interrupted.into());
        }
        watched.stream = Some(stream.try_clone()?);
        Ok(())
    }

    /// Whether the question was still wanted.
    fn release(&self) -> bool {
        let mut watched = lock(&self.0);
        watched.stream = None;
        !watched.unwanted
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let mut watched = lock(&self.0.0);
        watched.unwanted = true;
        if let Some(stream) = watched.stream.take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn went_away(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        && error.get_ref().is_none_or(|inner| !inner.is::<Problem>())
}

/// Ours come through as they are; the transport's own get words.
fn explained(error: io::Error) -> io::Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Problem>()) {
        return error;
    }
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            unavailable(&format!("the broker has not answered for {} s", SILENCE.as_secs()))
        }
        _ if went_away(&error) => unavailable("the broker ended while it answered"),
        _ => error,
    }
}

fn unavailable(text: &str) -> io::Error {
    let problem = Problem::new(Ename::SourceUnavailable, text);
    io::Error::other(problem.hint("run the statement again; if that does not help, tell your administrator"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use carrel_source::{Code, Failure, Head, Location};

    use super::*;

    fn listen() -> (tempfile::TempDir, UnixListener, Arc<Broker>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.sock");
        let listener = UnixListener::bind(&path).unwrap();
        (dir, listener, Broker::at(path))
    }

    fn question(stream: &mut UnixStream) -> Request {
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_le_bytes(head) as usize];
        stream.read_exact(&mut body).unwrap();
        Request::decode(&body).unwrap()
    }

    fn read(ranges: &[(u64, u64)]) -> Request {
        let file = Location::on_default("/data/x").unwrap();
        let (size, modified_ms, purpose) = (100, 1, Default::default());
        Request::Read { file, size, modified_ms, ranges: ranges.to_vec(), purpose }
    }

    #[tokio::test]
    async fn data_fills_ranges_whatever_the_frames() {
        let (_dir, listener, broker) = listen();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..2 {
                question(&mut stream);
                for part in ["a", "bcd", "ef"] {
                    stream.write_all(&Head::of_data(part.len())).unwrap();
                    stream.write_all(part.as_bytes()).unwrap();
                }
                stream.write_all(&Answer::Done.encode()).unwrap();
            }
        });
        // the second time over the same connection
        for _ in 0..2 {
            let got = broker.read(read(&[(0, 2), (10, 14)]), vec![0..2, 10..14]).await.unwrap();
            assert_eq!(got, ["ab", "cdef"]);
        }
        served.join().unwrap();
    }

    #[tokio::test]
    async fn too_little_or_too_much_is_an_error() {
        for parts in [vec!["abc"], vec!["abcd", "e"]] {
            let (_dir, listener, broker) = listen();
            let served = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                question(&mut stream);
                for part in parts {
                    let _ = stream.write_all(&Answer::Data(part.as_bytes().to_vec()).encode());
                }
                let _ = stream.write_all(&Answer::Done.encode());
            });
            assert!(broker.read(read(&[(0, 1), (1, 4)]), vec![0..1, 1..4]).await.is_err());
            served.join().unwrap();
        }
    }

    #[tokio::test]
    async fn failures_are_problems_and_a_broker_that_went_away_is_asked_again_once() {
        let (_dir, listener, broker) = listen();
        let served = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            question(&mut first);
            first.write_all(&Answer::Done.encode()).unwrap();
            drop(first);
            let (mut second, _) = listener.accept().unwrap();
            question(&mut second);
            let failure = Failure::new(Code::Denied, "eve may not read /data");
            second.write_all(&Answer::Failed(failure).encode()).unwrap();
            let (mut third, _) = listener.accept().unwrap();
            question(&mut third);
            third.write_all(&[1, 0]).unwrap();
        });
        let at = Location::on_default("/data").unwrap();
        let list = || Request::List { at: at.clone(), recursive: false, purpose: Default::default() };
        assert!(broker.list(list()).await.unwrap().is_empty());
        let denied = broker.list(list()).await.unwrap_err();
        let problem = denied.get_ref().unwrap().downcast_ref::<Problem>().unwrap();
        assert_eq!(
            (problem.ename, problem.message.as_str()),
            (Ename::PolicyDenied, "eve may not read /data")
        );
        let cut = broker.list(list()).await.unwrap_err();
        let problem = cut.get_ref().unwrap().downcast_ref::<Problem>().unwrap();
        assert_eq!(problem.ename, Ename::SourceUnavailable);
        served.join().unwrap();
    }

    #[tokio::test]
    async fn a_dropped_question_closes_its_connection() {
        let (_dir, listener, broker) = listen();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            question(&mut stream);
            // nothing is answered; the client goes away
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        });
        let at = Location::on_default("/data").unwrap();
        let request = Request::List { at, recursive: false, purpose: Default::default() };
        let waited = tokio::time::timeout(Duration::from_millis(50), broker.list(request)).await;
        assert!(waited.is_err());
        served.join().unwrap();
    }
}
