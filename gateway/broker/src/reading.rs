//! Reading: the file is the one that was listed, the audit knows of it, then its bytes go out as they come in. A broken stream goes on
//! at the same byte with the blocks looked up anew; when that does not help the answer says so. Never a byte too few.

use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use carrel_source::frame::MAX_DATA;
use carrel_source::request::Purpose;
use carrel_source::{Answer, Code, Failure, Head, Location};
use futures::{FutureExt, Stream, StreamExt};
use hdfs_native::HdfsError;
use hdfs_native::file::FileReader;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::audit::Record;
use crate::engine::Engine;
use crate::failure;
use crate::opened::Key;

/// Ranges with less between them are read in one go; what lies between stays here.
const GAP: u64 = 64 << 10;

/// Pieces (packets of data nodes, often of 4 KiB only) that are there go on together, up to so many bytes: a wake-up and a system call for each
/// would cost more than its deciphering.
const TOGETHER: usize = 256 << 10;

/// So many of these wait to be sent.
const AHEAD: usize = 4;

/// How long is waited before a file is looked up again after its blocks could not be read, each time: a data node that was silent for a moment, or
/// that the name node did not know of yet, is there again.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1500)];

/// What is asked for.
pub(crate) struct Wanted {
    pub(crate) file: Location,
    pub(crate) size: u64,
    pub(crate) modified_ms: i64,
    pub(crate) ranges: Vec<(u64, u64)>,
    pub(crate) purpose: Purpose,
}

/// Where answers go. A client that takes nothing for too long is given up.
pub(crate) struct Out(OwnedWriteHalf);

/// Sends the ranges.
pub(crate) async fn read(engine: &Engine, wanted: &Wanted, out: &mut Out) -> Result<(), Failure> {
    let path = engine.cluster.path(&wanted.file)?;
    let key = Key {
        statement: wanted.purpose.statement.clone(),
        path: path.to_owned(),
        size: wanted.size,
        modified_ms: wanted.modified_ms,
    };
    let mut reader = noted(engine, wanted, &key).await?;
    let mut pauses = PAUSES.iter();
    for group in groups(&wanted.ranges) {
        let mut at = group.whole.start;
        while at < group.whole.end {
            match stream(engine, &reader, &key, &group, &mut at, out).await {
                Ok(()) => {}
                Err(Stopped::Client(failure)) => return Err(failure),
                Err(Stopped::Cluster(failed)) => {
                    engine.files().let_go(&key);
                    let Some(pause) = pauses.next() else { return Err(failed) };
                    tracing::warn!(%failed, path, at, "the blocks are looked up again");
                    sleep(*pause).await;
                    reader = open(engine, &key).await?;
                }
            }
        }
    }
    Ok(())
}

/// The open file. When the statement reads it for the first time that is written down first, also when it is refused.
async fn noted(engine: &Engine, wanted: &Wanted, key: &Key) -> Result<Arc<FileReader>, Failure> {
    let opened = open(engine, key).await;
    let first = engine.files().is_first(key);
    if first || opened.is_err() {
        let record = Record {
            event: "read",
            statement: &key.statement,
            dataset: &wanted.purpose.dataset,
            path: &key.path,
            size: Some(key.size),
            ..Record::default()
        };
        engine.audit.write(&engine.who, &record.judged(opened.as_ref()))?;
    }
    if first && opened.is_ok() {
        let ended = engine.files().note(key);
        if let Some((statement, tally)) = ended {
            engine.write_end(&statement, &tally)?;
        }
    }
    opened
}

async fn open(engine: &Engine, key: &Key) -> Result<Arc<FileReader>, Failure> {
    if let Some(reader) = engine.files().get(key) {
        return Ok(reader);
    }
    let path = key.path.as_str();
    let (status, reader) = engine
        .cluster
        .ask(&engine.who, path, |client, path| async move {
            let status = client.get_file_info(&path).await?;
            if status.isdir {
                return Err(HdfsError::IsADirectoryError(path));
            }
            Ok((status, client.read(&path).await?))
        })
        .await?;
    let modified = i64::try_from(status.modification_time).unwrap_or(i64::MAX);
    if status.length as u64 != key.size || modified != key.modified_ms {
        return Err(failure::changed(path));
    }
    if reader.file_length() as u64 != key.size {
        return Err(failure::unfinished(path));
    }
    let reader = Arc::new(reader);
    engine.files().keep(key.clone(), reader.clone());
    Ok(reader)
}

enum Stopped {
    /// Nobody takes the answer.
    Client(Failure),
    /// The cluster does not go on.
    Cluster(Failure),
}

/// Sends what comes from `at` on, which moves along; returns at the group's end.
async fn stream(
    engine: &Engine,
    reader: &Arc<FileReader>,
    key: &Key,
    group: &Group,
    at: &mut u64,
    out: &mut Out,
) -> Result<(), Stopped> {
    let mut incoming = fetch(engine, reader, *at..group.whole.end)?;
    let patience = engine.cluster.timeout();
    let user = engine.who.user.as_str();
    while *at < group.whole.end {
        let pieces = match timeout(patience, incoming.pieces.recv()).await {
            Ok(Some(pieces)) => pieces,
            Ok(None) => return Err(too_short(key, *at)),
            Err(_) => return Err(Stopped::Cluster(failure::timed_out(&key.path, patience.as_secs()))),
        };
        let mut parts = Vec::with_capacity(pieces.len());
        let mut stopped = None;
        for piece in pieces {
            match piece {
                Ok(piece) if piece.is_empty() => stopped = Some(too_short(key, *at)),
                Ok(piece) => {
                    parts.extend(group.parts(*at, &piece));
                    *at += piece.len() as u64;
                    continue;
                }
                Err(error) => stopped = Some(Stopped::Cluster(failure::of(&error, user, &key.path))),
            }
            break;
        }
        engine.files().count(&key.statement, parts.iter().map(|part| part.len() as u64).sum());
        out.data(parts).await.map_err(Stopped::Client)?;
        if let Some(stopped) = stopped {
            return Err(stopped);
        }
    }
    Ok(())
}

fn too_short(key: &Key, at: u64) -> Stopped {
    let text = format!("{} ends at byte {at} of {}", key.path, key.size);
    Stopped::Cluster(Failure::new(Code::Corrupt, text).about(&key.path))
}

type Piece = Result<Bytes, HdfsError>;

/// Pieces of a file as they come in, some of them ahead of who takes them. Dropping it ends the reading.
struct Incoming {
    pieces: mpsc::Receiver<Vec<Piece>>,
    _reading: AbortOnDropHandle<()>,
}

fn fetch(engine: &Engine, reader: &Arc<FileReader>, range: Range<u64>) -> Result<Incoming, Stopped> {
    let index = |n: u64| {
        usize::try_from(n)
            .map_err(|_| Stopped::Cluster(Failure::new(Code::Limit, "the file is too long for this machine")))
    };
    let (start, length) = (index(range.start)?, index(range.end - range.start)?);
    let (queue, pieces) = mpsc::channel(AHEAD);
    let reader = reader.clone();
    let reading = engine.cluster.spawn(async move {
        let mut stream = std::pin::pin!(reader.read_range_stream(start, length).fuse());
        while let Some(pieces) = together(&mut stream).await {
            if queue.send(pieces).await.is_err() {
                return;
            }
        }
    });
    Ok(Incoming { pieces, _reading: reading })
}

/// The next piece and those behind it that are there already, about [`TOGETHER`] bytes; none at the end.
async fn together(stream: &mut (impl Stream<Item = Piece> + Unpin)) -> Option<Vec<Piece>> {
    let mut pieces = vec![stream.next().await?];
    let mut bytes = 0;
    while let Some(Ok(piece)) = pieces.last() {
        bytes += piece.len();
        if bytes >= TOGETHER {
            break;
        }
        match stream.next().now_or_never() {
            Some(Some(piece)) => pieces.push(piece),
            // the end is seen again by the next call
            Some(None) | None => break,
        }
    }
    Some(pieces)
}

/// Ranges that follow each other closely.
#[derive(Debug, PartialEq)]
struct Group {
    whole: Range<u64>,
    ranges: Vec<Range<u64>>,
}

impl Group {
    /// What of a piece at this place was asked for.
    fn parts(&self, from: u64, piece: &Bytes) -> Vec<Bytes> {
        let end = from + piece.len() as u64;
        let overlap = |range: &Range<u64>| {
            let (start, end) = (range.start.max(from), range.end.min(end));
            let at = |n: u64| usize::try_from(n - from).unwrap_or(usize::MAX).min(piece.len());
            (start < end).then(|| piece.slice(at(start)..at(end)))
        };
        self.ranges.iter().filter_map(overlap).collect()
    }
}

fn groups(ranges: &[(u64, u64)]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (start, end) in ranges {
        let range = *start..*end;
        match groups.last_mut() {
            Some(last) if range.start >= last.whole.end && range.start - last.whole.end <= GAP => {
                last.whole.end = range.end;
                last.ranges.push(range);
            }
            _ => groups.push(Group { whole: range.clone(), ranges: vec![range] }),
        }
    }
    groups
}

impl Out {
    pub(crate) fn new(stream: OwnedWriteHalf) -> Self {
        Self(stream)
    }

    /// Sends a frame.
    pub(crate) async fn answer(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.0.write_all(&answer.encode()).await.map_err(|error| gone(&error))
    }

    /// Sends bytes, as few frames as that takes.
    async fn data(&mut self, parts: Vec<Bytes>) -> Result<(), Failure> {
        for frame in frames(parts) {
            self.frame(&frame).await.map_err(|error| gone(&error))?;
        }
        Ok(())
    }

    /// One frame, from where its bytes lie.
    async fn frame(&mut self, parts: &[Bytes]) -> io::Result<()> {
        let head = Head::of_data(parts.iter().map(Bytes::len).sum());
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        slices.insert(0, IoSlice::new(&head));
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            match self.0.write_vectored(left).await? {
                0 => return Err(ErrorKind::WriteZero.into()),
                sent => IoSlice::advance_slices(&mut left, sent),
            }
        }
        Ok(())
    }
}

/// Parts in lots of at most [`MAX_DATA`] bytes, none of them empty.
fn frames(parts: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let (mut frames, mut frame, mut room) = (Vec::new(), Vec::new(), MAX_DATA);
    for mut part in parts {
        while !part.is_empty() {
            let now = part.split_to(part.len().min(room));
            room -= now.len();
            frame.push(now);
            if room == 0 {
                frames.push(std::mem::take(&mut frame));
                room = MAX_DATA;
            }
        }
    }
    if !frame.is_empty() {
        frames.push(frame);
    }
    frames
}

fn gone(error: &io::Error) -> Failure {
    Failure::new(Code::Internal, format!("the engine went away: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_go_together_and_the_gap_stays_here() {
        let near = groups(&[(0, 4), (6, 8), (8, 9)]);
        assert_eq!(near, [Group { whole: 0..9, ranges: vec![0..4, 6..8, 8..9] }]);
        let piece = Bytes::from_static(b"abcdefghi");
        assert_eq!(near[0].parts(0, &piece), ["abcd", "gh", "i"]);
        assert_eq!(near[0].parts(3, &piece.slice(3..7)), ["d", "g"]);
        assert_eq!(near[0].parts(4, &piece.slice(4..6)), Vec::<Bytes>::new());
    }

    #[test]
    fn far_or_backward_ranges_are_read_by_themselves() {
        let far = GAP + 5;
        let split = groups(&[(0, 4), (far, far + 1), (2, 3)]);
        let wholes: Vec<_> = split.into_iter().map(|group| group.whole).collect();
        assert_eq!(wholes, [0..4, far..far + 1, 2..3]);
    }

    #[test]
    fn frames_keep_every_byte_and_their_bound() {
        let lengths = |frames: Vec<Vec<Bytes>>| -> Vec<usize> {
            frames.iter().map(|frame| frame.iter().map(Bytes::len).sum()).collect()
        };
        let of = |length: usize| Bytes::from(vec![7; length]);
        assert_eq!(lengths(frames(vec![])), [0; 0]);
        assert_eq!(lengths(frames(vec![of(3), of(0), of(4)])), [7]);
        assert_eq!(lengths(frames(vec![of(MAX_DATA)])), [MAX_DATA]);
        assert_eq!(lengths(frames(vec![of(1), of(2 * MAX_DATA + 5)])), [MAX_DATA, MAX_DATA, 6]);
    }

    #[tokio::test]
    async fn pieces_that_are_there_go_together_until_it_is_enough_or_one_failed() {
        let of = |length: usize| -> Piece { Ok(Bytes::from(vec![7; length])) };
        let mut stream =
            futures::stream::iter([of(5), of(TOGETHER), of(1), Err(HdfsError::ChecksumError), of(2)]);
        let mut lots = Vec::new();
        while let Some(pieces) = together(&mut stream).await {
            lots.push(pieces.iter().map(Result::is_ok).collect::<Vec<_>>());
        }
        assert_eq!(lots, [vec![true, true], vec![true, false], vec![true]]);
        // what has not come yet is not waited for
        let mut slow = Box::pin(futures::stream::iter([of(5)]).chain(futures::stream::pending()));
        assert_eq!(together(&mut slow).await.unwrap().len(), 1);
    }
}
