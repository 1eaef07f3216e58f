//! One connection to the broker: frames in, answers out.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use carrel_source::frame::HEAD;
use carrel_source::{Answer, Code, Failure, Head};

/// A connection while it is asked something.
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    /// Something of the answer has come.
    pub(super) answered: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, answered: false }
    }

    /// The next frame; a failure is an error.
    pub(super) fn next(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        self.rest(head)
    }

    /// Bytes that fill these ranges, then the end.
    pub(super) fn fill(&mut self, ranges: &[Range<u64>]) -> io::Result<Vec<Bytes>> {
        let length = |range: &Range<u64>| usize::try_from(range.end.saturating_sub(range.start));
        let mut filled = Vec::with_capacity(ranges.len());
        // What of the current frame has not been read.
        let mut left = 0;
        for range in ranges {
            let mut buffer = vec![0; length(range).map_err(io::Error::other)?];
            let mut at = 0;
            while at < buffer.len() {
                if left == 0 {
                    let head = self.head()?;
                    if !head.is_data() {
                        // the end, or a failure, before all bytes came
                        self.rest(head)?;
                        return Err(short());
                    }
                    left = head.length;
                    continue;
                }
                let now = left.min(buffer.len() - at);
                let Some(part) = buffer.get_mut(at..at + now) else { return Err(unexpected()) };
                self.stream.read_exact(part)?;
                at += now;
                left -= now;
            }
            filled.push(Bytes::from(buffer));
        }
        match (left, self.next()?) {
            (0, Answer::Done) => Ok(filled),
            _ => Err(unexpected()),
        }
    }

    fn head(&mut self) -> io::Result<Head> {
        let mut head = [0; HEAD];
        self.stream.read_exact(&mut head)?;
        self.answered = true;
        Head::decode(head).map_err(io::Error::other)
    }

    fn rest(&mut self, head: Head) -> io::Result<Answer> {
        let mut body = vec![0; head.length];
        self.stream.read_exact(&mut body)?;
        match head.body(&body).map_err(io::Error::other)? {
            Answer::Failed(failure) => Err(failed(failure)),
            answer => Ok(answer),
        }
    }
}

/// An answer that does not fit the question: a fault of the broker's.
pub(super) fn unexpected() -> io::Error {
    io::Error::other("the broker's answer does not fit the question")
}

fn short() -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        Problem::new(Ename::CorruptFile, "a file is shorter than it says"),
    )
}

fn failed(failure: Failure) -> io::Error {
    let Failure { code, message, .. } = failure;
    let problem = |ename| Problem::new(ename, message.clone());
    let (kind, problem) = match code {
        Code::Denied => (
            ErrorKind::PermissionDenied,
            problem(Ename::PolicyDenied).hint("ask the owner of the data for access"),
        ),
        Code::NotFound => (ErrorKind::NotFound, problem(Ename::FileNotFound)),
        Code::Changed => (
            ErrorKind::Other,
            problem(Ename::SourceChanged).hint("run the statement again to read what is there now"),
        ),
        Code::Corrupt => (
            ErrorKind::InvalidData,
            problem(Ename::CorruptFile).hint("tell the owner of the data; other files are not harmed"),
        ),
        Code::Unavailable | Code::TimedOut => {
            (ErrorKind::Other, problem(Ename::SourceUnavailable).hint("run the statement again in a moment"))
        }
        Code::Login | Code::Audit => {
            (ErrorKind::Other, problem(Ename::SourceUnavailable).hint("tell your administrator"))
        }
        Code::Limit => (ErrorKind::Other, problem(Ename::SourceUnavailable)),
        Code::BadRequest | Code::Internal => (ErrorKind::Other, problem(Ename::Internal)),
    };
    io::Error::new(kind, problem)
}
