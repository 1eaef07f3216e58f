//! The audit: a line of JSON for everything that was read or refused, written before the first byte of it leaves the broker. What cannot be
//! written down is not read. One file a day, appended to, never opened for anything else.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use carrel_source::{Code, Failure};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::identity::Identity;

/// Where records go.
#[derive(Debug)]
pub(crate) struct Audit {
    folder: PathBuf,
    now: fn() -> OffsetDateTime,
    open: Mutex<Option<(time::Date, File)>>,
}

/// What is written down besides who, when and for what.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Record<'a> {
    /// `read`, `read.end`, `list` or `check`.
    pub(crate) event: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) statement: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) dataset: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) path: &'a str,
    /// Of the file that is read; of all files of a statement at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<u64>,
    /// That were handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// `allowed`, `denied` or `failed`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) verdict: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) reason: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    hdfs_user: &'a str,
    kernel: &'a str,
    #[serde(flatten)]
    record: &'a Record<'a>,
}

impl<'a> Record<'a> {
    /// The same, with how it went.
    pub(crate) fn judged<T>(self, outcome: Result<&T, &'a Failure>) -> Self {
        match outcome {
            Ok(_) => Self { verdict: "allowed", ..self },
            Err(failure) if failure.code == Code::Denied => {
                Self { verdict: "denied", reason: &failure.message, ..self }
            }
            Err(failure) => Self { verdict: "failed", reason: &failure.message, ..self },
        }
    }
}

impl Audit {
    /// The audit in this folder. `now` tells the time.
    pub(crate) fn new(folder: &Path, now: fn() -> OffsetDateTime) -> Self {
        Self { folder: folder.to_owned(), now, open: Mutex::default() }
    }

    /// Writes a record down.
    ///
    /// # Errors
    /// When it cannot be written: then what it tells of must not be done.
    pub(crate) fn write(&self, who: &Identity, record: &Record<'_>) -> Result<(), Failure> {
        let now = (self.now)();
        let line = Line {
            time: now.format(&Rfc3339).unwrap_or_default(),
            user: &who.user,
            hdfs_user: who.hdfs_user.as_deref().unwrap_or_default(),
            kernel: &who.kernel,
            record,
        };
        self.append(now.date(), &line).map_err(|error| {
            tracing::error!(%error, folder = %self.folder.display(), "the audit cannot be written");
            Failure::new(Code::Audit, "nothing is read from the cluster while the audit cannot be written")
        })
    }

    fn append(&self, day: time::Date, line: &Line<'_>) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(opened, _)| *opened != day) {
            *open = Some((day, self.file(day)?));
        }
        match open.as_mut() {
            // One write: a line is there whole, or the next one says where it broke off.
            Some((_, file)) => file.write_all(&text),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, day: time::Date) -> std::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = self.folder.join(format!("hdfs-{day}.jsonl"));
        Ok(rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?.into())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::identity::Names;

    fn noon() -> OffsetDateTime {
        datetime!(2026-11-24 12:00 UTC)
    }

    #[test]
    fn lines_say_who_what_and_how_it_went() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(dir.path(), noon);
        let who = Names::new(Default::default(), Default::default(), None).identify("ada", "k1");
        let record = || Record { event: "read", path: "/data/x", size: Some(7), ..Record::default() };
        audit.write(&who, &record().judged(Ok(&()))).unwrap();
        let denied = Failure::new(Code::Denied, "ada may not");
        audit.write(&who, &record().judged::<()>(Err(&denied))).unwrap();
        let text = std::fs::read_to_string(dir.path().join("hdfs-2026-11-24.jsonl")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"time":"2026-11-24T12:00:00Z","user":"ada","hdfs_user":"ada","kernel":"k1","event":"read","path":"/data/x","size":7,"verdict":"allowed"}"#
        );
        assert!(lines[1].ends_with(r#""verdict":"denied","reason":"ada may not"}"#), "{}", lines[1]);
    }

    #[test]
    fn what_cannot_be_written_down_is_a_failure() {
        let audit = Audit::new(Path::new("/none/such"), noon);
        let who = Names::new(Default::default(), Default::default(), None).identify("ada", "k1");
        assert_eq!(audit.write(&who, &Record::default()).unwrap_err().code, Code::Audit);
    }
}
