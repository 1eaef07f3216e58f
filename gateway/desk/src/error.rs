//! Everything that can go wrong while answering a request, and the one table from it to HTTP.

use http::StatusCode;
use rustix::io::Errno;

use crate::account::Full;

/// What a request's answer is when it is not the thing that was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing there that the caller may see.
    #[error("file or directory '{0}' does not exist")]
    NotFound(String),
    /// Something that is no file is not there: a terminal, a checkpoint, an address.
    #[error("{0}")]
    NoSuch(String),
    /// The path, or a link on it, leads out of the home folder.
    #[error("'{0}' leads outside the home folder")]
    Outside(String),
    /// The request cannot be understood or asks for something that makes no sense.
    #[error("{message}")]
    Bad { message: String, reason: Option<&'static str> },
    /// The file system refuses it to this user.
    #[error("permission denied: '{0}'")]
    Forbidden(String),
    /// Something of that name is there already.
    #[error("file already exists: '{0}'")]
    Exists(String),
    /// A body, a file or a folder is larger than this server handles in one piece.
    #[error("{0}")]
    TooLarge(String),
    /// No space or no quota left; what was there before is untouched.
    #[error("the disk is full: '{0}' was not saved, the old version is unchanged")]
    DiskFull(String),
    /// The home would pass what it may hold.
    #[error("{0}")]
    HomeFull(Box<Full>),
    /// The path exists, the method does not.
    #[error("method not allowed")]
    Method(&'static str),
    /// A known address whose function this server does not have.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A bounded thing is at its bound.
    #[error("{0}")]
    Busy(String),
    /// The client stopped sending.
    #[error("the request body did not arrive in time")]
    Timeout,
    /// The operating system failed in a way that none of the above names.
    #[error("could not {doing} '{path}'")]
    Io { doing: &'static str, path: String, source: std::io::Error },
}

impl Error {
    /// A 400 with this text.
    pub(crate) fn bad(message: impl Into<String>) -> Error {
        Error::Bad { message: message.into(), reason: None }
    }

    /// Sorts an error of the operating system into what it means to the user.
    pub(crate) fn os(doing: &'static str, path: impl Into<String>, errno: Errno) -> Error {
        let path = path.into();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Error::NotFound(path),
            Errno::XDEV | Errno::LOOP => Error::Outside(path),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::Forbidden(path),
            Errno::NOSPC | Errno::DQUOT => Error::DiskFull(path),
            Errno::EXIST => Error::Exists(path),
            Errno::NAMETOOLONG => Error::bad(format!("name too long: '{path}'")),
            Errno::FBIG => Error::TooLarge(format!("'{path}' is larger than the system allows")),
            other => Error::Io { doing, path, source: other.into() },
        }
    }

    /// The same for an error that came through the standard library.
    pub(crate) fn io(doing: &'static str, path: impl Into<String>, error: std::io::Error) -> Error {
        match Errno::from_io_error(&error) {
            Some(errno) => Error::os(doing, path, errno),
            None => Error::Io { doing, path: path.into(), source: error },
        }
    }

    /// The HTTP status of this error.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Error::NotFound(_) | Error::NoSuch(_) | Error::Outside(_) => StatusCode::NOT_FOUND,
            Error::Bad { .. } => StatusCode::BAD_REQUEST,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Exists(_) => StatusCode::CONFLICT,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::DiskFull(_) | Error::HomeFull(_) => StatusCode::INSUFFICIENT_STORAGE,
            Error::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Timeout => StatusCode::REQUEST_TIMEOUT,
            Error::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The `reason` of Jupyter's error body.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Error::Bad { reason, .. } => *reason,
            _ => None,
        }
    }

    /// The whole chain of causes, for the log.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_to_be_full() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let error = Error::os("write", "a.txt", errno);
            assert_eq!(error.status(), StatusCode::INSUFFICIENT_STORAGE);
            assert!(error.to_string().contains("disk is full"), "{error}");
        }
    }

    #[test]
    fn leaving_the_home_is_not_found() {
        assert_eq!(Error::os("open", "l", Errno::XDEV).status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn an_unknown_failure_keeps_its_cause() {
        let error = Error::os("open", "a", Errno::IO);
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(error.chain().len() > error.to_string().len());
    }
}
