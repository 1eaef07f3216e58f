//! Questions answered: folders listed, access looked at, statements ended. Reading is in [`crate::reading`].

use carrel_source::frame::fits;
use carrel_source::names::is_hidden;
use carrel_source::request::Purpose;
use carrel_source::{Access, Answer, Code, Entry, Failure, Location, Request};
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use hdfs_native::Client;
use hdfs_native::client::FileStatus;

use crate::audit::Record;
use crate::engine::Engine;
use crate::reading::{self, Out};

/// Folders listed, and places looked at, at the same time.
const ABREAST: usize = 16;
/// Folders within folders.
const DEEPEST: usize = 32;
/// Entries of one answer.
const MOST_ENTRIES: usize = 1_000_000;

/// Answers a question, up to but without the last frame.
pub(crate) async fn answer(engine: &Engine, request: Request, out: &mut Out) -> Result<(), Failure> {
    match request {
        Request::List { at, recursive, purpose } => list(engine, &at, recursive, &purpose, out).await,
        Request::Check { places, purpose } => check(engine, &places, &purpose, out).await,
        Request::Read { file, size, modified_ms, ranges, purpose } => {
            let wanted = reading::Wanted { file, size, modified_ms, ranges, purpose };
            reading::read(engine, &wanted, out).await
        }
        Request::Finish { statement } => engine.finish(&statement),
    }
}

async fn list(
    engine: &Engine,
    at: &Location,
    recursive: bool,
    purpose: &Purpose,
    out: &mut Out,
) -> Result<(), Failure> {
    let root = engine.cluster.path(at)?;
    let first = folder(engine, root).await;
    let record = Record {
        event: "list",
        statement: &purpose.statement,
        dataset: &purpose.dataset,
        path: root,
        ..Record::default()
    };
    engine.audit.write(&engine.who, &record.judged(first.as_ref()))?;
    let mut batch = Batch::default();
    let mut folders = batch.take(root, first?, recursive, 0);
    let mut listing = FuturesUnordered::new();
    loop {
        while listing.len() < ABREAST {
            let Some((path, depth)) = folders.pop() else { break };
            if depth > DEEPEST {
                let text = format!("folders below {root} are nested more than {DEEPEST} deep");
                return Err(Failure::new(Code::Limit, text).about(path));
            }
            listing.push(async move {
                let found = folder(engine, &path).await;
                (found, depth)
            });
        }
        batch.send(out, false).await?;
        let Some((found, depth)) = listing.next().await else { break };
        folders.extend(batch.take(root, found?, recursive, depth));
        if batch.total > MOST_ENTRIES {
            let text = format!("there are more than {MOST_ENTRIES} files below {root}");
            return Err(Failure::new(Code::Limit, text).about(root));
        }
    }
    batch.send(out, true).await
}

/// What lies in a folder, or the file itself, without hidden names.
async fn folder(engine: &Engine, path: &str) -> Result<Vec<FileStatus>, Failure> {
    let list = |client: Client, path: String| async move { client.list_status(&path, false).await };
    let found = engine.cluster.ask(&engine.who, path, list).await?;
    let visible = |status: &FileStatus| {
        status.path == path || !is_hidden(status.path.rsplit('/').next().unwrap_or_default())
    };
    Ok(found.into_iter().filter(visible).collect())
}

/// Entries that wait to be sent.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
    total: usize,
}

impl Batch {
    /// Takes entries in; with everything below, folders come back to be listed.
    fn take(
        &mut self,
        root: &str,
        found: Vec<FileStatus>,
        recursive: bool,
        depth: usize,
    ) -> Vec<(String, usize)> {
        let mut folders = Vec::new();
        for status in found {
            if recursive && status.isdir {
                folders.push((status.path, depth + 1));
                continue;
            }
            let below = status.path.strip_prefix(root).unwrap_or(&status.path);
            self.bytes += below.len();
            self.total += 1;
            self.entries.push(Entry {
                path: below.trim_start_matches('/').to_owned(),
                size: status.length as u64,
                modified_ms: i64::try_from(status.modification_time).unwrap_or(i64::MAX),
                folder: status.isdir,
            });
        }
        folders
    }

    /// Sends what fills frames; at the end everything.
    async fn send(&mut self, out: &mut Out, all: bool) -> Result<(), Failure> {
        if !all && fits(self.entries.len() * 2, self.bytes * 2) {
            return Ok(());
        }
        self.bytes = 0;
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for entry in std::mem::take(&mut self.entries) {
            if !fits(frame.len() + 1, bytes + entry.path.len()) {
                out.answer(&Answer::Entries(std::mem::take(&mut frame))).await?;
                bytes = 0;
            }
            bytes += entry.path.len();
            frame.push(entry);
        }
        if frame.is_empty() { Ok(()) } else { out.answer(&Answer::Entries(frame)).await }
    }
}

async fn check(
    engine: &Engine,
    places: &[Location],
    purpose: &Purpose,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut looks = Vec::new();
    for place in places {
        looks.push(access(engine, place));
    }
    let found: Vec<Access> = stream::iter(looks).buffered(ABREAST).collect().await;
    let denied = found.iter().filter(|access| **access == Access::Denied).count();
    let reason = if denied > 0 { format!("{denied} denied") } else { String::new() };
    let record = Record {
        event: "check",
        statement: &purpose.statement,
        dataset: &purpose.dataset,
        path: places.first().map_or("", Location::path),
        files: Some(places.len() as u64),
        verdict: "allowed",
        reason: &reason,
        ..Record::default()
    };
    engine.audit.write(&engine.who, &record)?;
    out.answer(&Answer::Checked(found)).await
}

/// Whether a folder may be listed, or a file read.
async fn access(engine: &Engine, place: &Location) -> Access {
    let Ok(path) = engine.cluster.path(place) else { return Access::Missing };
    let look = |client: Client, path: String| async move {
        if client.get_file_info(&path).await?.isdir {
            return match client.list_status_iter(&path, false).next().await {
                Some(Err(error)) => Err(error),
                _ => Ok(()),
            };
        }
        client.read(&path).await.map(|_| ())
    };
    match engine.cluster.ask(&engine.who, path, look).await.map_err(|failure| failure.code) {
        Ok(()) => Access::Yes,
        Err(Code::Denied) => Access::Denied,
        Err(Code::NotFound) => Access::Missing,
        Err(_) => Access::Unknown,
    }
}
