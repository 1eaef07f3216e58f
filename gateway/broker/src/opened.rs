//! What one engine has open and has read: files stay open for a moment, and every statement's files and bytes are added up for the audit.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hdfs_native::file::FileReader;
use tokio::time::Instant;

/// An open file's blocks are where they were for so long; then it is looked up again.
const FRESH: Duration = Duration::from_secs(60);
/// Files kept open, and statements and their paths remembered.
const MOST_FILES: usize = 512;
const MOST_STATEMENTS: usize = 256;
const MOST_PATHS: usize = 100_000;

/// Of one engine.
#[derive(Default)]
pub(crate) struct Files {
    open: HashMap<Key, (Arc<FileReader>, Instant)>,
    order: VecDeque<Key>,
    statements: HashMap<String, Tally>,
}

/// A file as a statement sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) statement: String,
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) modified_ms: i64,
}

/// What a statement has read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    paths: HashSet<String>,
    pub(crate) files: u64,
    pub(crate) size: u64,
    pub(crate) bytes: u64,
}

impl Files {
    /// The open file, unless it is too old.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<FileReader>> {
        let (reader, since) = self.open.get(key)?;
        (since.elapsed() < FRESH).then(|| reader.clone())
    }

    /// Keeps a file open.
    pub(crate) fn keep(&mut self, key: Key, reader: Arc<FileReader>) {
        while self.open.len() >= MOST_FILES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.open.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.open.insert(key, (reader, Instant::now()));
    }

    /// Lets go of a file that could not be read.
    pub(crate) fn let_go(&mut self, key: &Key) {
        self.open.remove(key);
        self.order.retain(|kept| kept != key);
    }

    /// Whether a statement has not read this file before; from now on it has.
    pub(crate) fn is_first(&mut self, key: &Key) -> bool {
        let Some(tally) = self.statements.get(&key.statement) else { return true };
        !tally.paths.contains(&key.path)
    }

    /// Notes that a statement reads this file. A statement that nobody ended and that makes room comes back, to be written down.
    pub(crate) fn note(&mut self, key: &Key) -> Option<(String, Tally)> {
        if key.statement.is_empty() {
            return None;
        }
        let full = self.statements.len() >= MOST_STATEMENTS && !self.statements.contains_key(&key.statement);
        let oldest = if full { self.statements.keys().next().cloned() } else { None };
        let ended = oldest.and_then(|statement| self.finish(&statement).map(|tally| (statement, tally)));
        let tally = self.statements.entry(key.statement.clone()).or_default();
        if tally.paths.len() < MOST_PATHS && tally.paths.insert(key.path.clone()) {
            tally.files += 1;
            tally.size += key.size;
        }
        ended
    }

    /// Counts bytes that a statement got.
    pub(crate) fn count(&mut self, statement: &str, bytes: u64) {
        if let Some(tally) = self.statements.get_mut(statement) {
            tally.bytes += bytes;
        }
    }

    /// A statement is over: its files are let go.
    pub(crate) fn finish(&mut self, statement: &str) -> Option<Tally> {
        self.open.retain(|key, _| key.statement != statement);
        self.order.retain(|key| key.statement != statement);
        self.statements.remove(statement)
    }

    /// The engine is gone: everything is over.
    pub(crate) fn finish_all(&mut self) -> Vec<(String, Tally)> {
        self.open.clear();
        self.order.clear();
        self.statements.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(statement: &str, path: &str) -> Key {
        Key { statement: statement.into(), path: path.into(), size: 10, modified_ms: 0 }
    }

    #[test]
    fn a_file_is_first_once_a_statement_and_bytes_add_up() {
        let mut files = Files::default();
        let (a, b) = (key("s", "/a"), key("s", "/b"));
        assert!(files.is_first(&a));
        assert!(files.note(&a).is_none() && files.note(&b).is_none());
        assert!(!files.is_first(&a) && files.is_first(&key("t", "/a")));
        files.count("s", 5);
        files.count("s", 6);
        let tally = files.finish("s").unwrap();
        assert_eq!((tally.files, tally.size, tally.bytes), (2, 20, 11));
        assert!(files.finish("s").is_none());
    }

    #[test]
    fn statements_that_nobody_ends_make_room_and_are_told() {
        let mut files = Files::default();
        for n in 0..MOST_STATEMENTS {
            assert!(files.note(&key(&n.to_string(), "/a")).is_none());
        }
        assert!(files.note(&key("one more", "/a")).is_some());
        assert_eq!(files.finish_all().len(), MOST_STATEMENTS);
        assert!(files.note(&key("", "/a")).is_none(), "outside statements nothing is added up");
    }
}
