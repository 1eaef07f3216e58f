//! Answers: entries of folders, what may be read, and failures in words for people.

use serde::{Deserialize, Serialize};

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to what was listed; empty if that is the file itself.
    pub path: String,
    /// In bytes; 0 for folders.
    pub size: u64,
    /// In milliseconds since 1970.
    pub modified_ms: i64,
    /// A folder, else a file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
}

/// Whether a place may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may be listed or read.
    Yes,
    /// It is there, or may be: not for this user.
    Denied,
    /// There is nothing.
    Missing,
    /// It could not be found out.
    Unknown,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The cluster does not let this user.
    Denied,
    /// There is nothing of this name.
    NotFound,
    /// The file is not what it was when it was listed.
    Changed,
    /// No replica has the bytes that were written.
    Corrupt,
    /// Name node or data nodes cannot be reached.
    Unavailable,
    /// Nothing came for too long.
    TimedOut,
    /// The broker itself is not let in: ticket, keytab, clock.
    Login,
    /// The audit cannot be written: then nothing is read.
    Audit,
    /// The question is wrong.
    BadRequest,
    /// Too much at once.
    Limit,
    /// A fault of the broker's, logged there.
    Internal,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub code: Code,
    /// One line for the user: what failed, of which file, and what to do if that is known.
    pub message: String,
    /// The path that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The permission that lacked, such as `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: None, user: None, permission: None }
    }

    /// The same, about a path.
    #[must_use]
    pub fn about(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }
}
