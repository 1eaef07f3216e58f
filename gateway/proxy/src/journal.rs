//! The journal: a line of JSON for every verdict, and one for the end of every connection. Opening lines are written before the first byte
//! passes; what cannot be written down is not done. One file a day, appended to, never opened for anything else.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::policy::Asker;
use crate::target::Target;

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Journal {
    now: fn() -> OffsetDateTime,
    open: Mutex<Option<(time::Date, File)>>,
}

/// What is written down besides who and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// `open` or `close` of a connection, or `refused`.
    pub(crate) event: &'static str,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// That was connected to, or that was the reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<std::net::IpAddr>,
    /// `allowed`, `denied`, `limited` or `failed`.
    pub(crate) verdict: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Bytes to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<u64>,
    /// Bytes from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<u64>,
}

impl Entry {
    /// About a target, if the request named one.
    pub(crate) fn about(target: Option<&Target>) -> Self {
        let host = target.map(|target| target.host.to_string()).unwrap_or_default();
        Self { host, port: target.map_or(0, |target| target.port), ..Self::default() }
    }

    /// As the end of a connection.
    pub(crate) fn closed(self, reason: String, sent: u64, received: u64, after: Duration) -> Self {
        let duration_ms = u64::try_from(after.as_millis()).ok();
        Self { event: "close", reason, sent: Some(sent), received: Some(received), duration_ms, ..self }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    user: &'a str,
    kernel: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Journal {
    /// `now` tells the time.
    pub(crate) fn new(now: fn() -> OffsetDateTime) -> Self {
        Self { now, open: Mutex::default() }
    }

    /// Writes a line in this folder.
    ///
    /// # Errors
    /// When it cannot be written: then what it tells of must not be done.
    pub(crate) fn write(&self, folder: &Path, asker: &Asker, entry: &Entry) -> std::io::Result<()> {
        let now = (self.now)();
        let time = now.format(&Rfc3339).unwrap_or_default();
        let mut text = serde_json::to_vec(&Line { time, user: &asker.user, kernel: &asker.kernel, entry })?;
        text.push(b'\n');
        let written = self.append(folder, now.date(), &text);
        if let Err(error) = &written {
            tracing::error!(%error, folder = %folder.display(), "the journal cannot be written");
        }
        written
    }

    fn append(&self, folder: &Path, day: time::Date, text: &[u8]) -> std::io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(opened, _)| *opened != day) {
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let path = folder.join(format!("network-{day}.jsonl"));
            *open = Some((day, rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?.into()));
        }
        match open.as_mut() {
            // One write: a line is there whole, or the next one says where it broke off.
            Some((_, file)) => file.write_all(text),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn noon() -> OffsetDateTime {
        datetime!(2026-11-24 12:00 UTC)
    }

    #[test]
    fn lines_say_who_where_to_and_how_it_went() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(noon);
        let asker = Asker { user: "ada".into(), groups: vec![], kernel: "k-1".into() };
        let target = Target::parse("packages.example:443", None).unwrap();
        let open = Entry {
            event: "open",
            verdict: "allowed",
            address: Some("1.2.3.4".parse().unwrap()),
            ..Entry::about(Some(&target))
        };
        journal.write(dir.path(), &asker, &open).unwrap();
        let close = open.closed("idle".into(), 5, 6, Duration::from_millis(7));
        journal.write(dir.path(), &asker, &close).unwrap();
        let text = std::fs::read_to_string(dir.path().join("network-2026-11-24.jsonl")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"time":"2026-11-24T12:00:00Z","user":"ada","kernel":"k-1","event":"open","host":"packages.example","port":443,"address":"1.2.3.4","verdict":"allowed"}"#
        );
        assert!(
            lines[1]
                .ends_with(r#""verdict":"allowed","reason":"idle","sent":5,"received":6,"duration_ms":7}"#)
        );
        assert!(journal.write(Path::new("/none/such"), &asker, &close).is_ok(), "today's file stays open");
        assert!(Journal::new(noon).write(Path::new("/none/such"), &asker, &close).is_err());
    }
}
