//! What can go wrong in the store, told apart as far as somebody would act differently.

use rusqlite::ErrorCode;
use std::path::PathBuf;

/// The store's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the store. Whatever happens, the last transaction was either taken whole or not at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A newer Carrel wrote this database.
    #[error("the database has version {found}, this program knows {known}; use the newer carrel")]
    TooNew {
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// No space is left.
    #[error("no space left on the database's disk (cannot {attempt})")]
    Full {
        /// What was attempted.
        attempt: &'static str,
    },
    /// The file cannot be written.
    #[error("the database is read-only (cannot {attempt})")]
    ReadOnly {
        /// What was attempted.
        attempt: &'static str,
    },
    /// Somebody else held the database for longer than we waited.
    #[error("the database is busy (cannot {attempt})")]
    Busy {
        /// What was attempted.
        attempt: &'static str,
    },
    /// A row with this key exists, or a row that this one needs does not.
    #[error("the database refuses a conflicting row (cannot {attempt})")]
    Conflict {
        /// What was attempted.
        attempt: &'static str,
    },
    /// SQLite found the file damaged.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Anything else.
    #[error("cannot {attempt}")]
    Sql {
        /// What was attempted.
        attempt: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

impl Error {
    /// Names the attempt that a failure of SQLite belongs to.
    pub fn doing(attempt: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { attempt },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { attempt },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { attempt },
            Some(ErrorCode::ConstraintViolation) => Self::Conflict { attempt },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(source.to_string()),
            _ => Self::Sql { attempt, source },
        }
    }

    /// Whether a row was refused because of another one.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}
