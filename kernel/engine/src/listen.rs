//! The socket that is served: descriptor 3 from whoever starts the engine, or a path.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The descriptor is not a listening socket.
    #[error("descriptor {0} is not a socket")]
    NotASocket(RawFd),
    /// The address is of a kind that is not served.
    #[error("--listen {0}: only unix:/path is served")]
    Address(String),
    /// The socket cannot be made or used.
    #[error("cannot listen on {what}")]
    Socket {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Takes over a listening socket.
pub fn from_descriptor(fd: RawFd) -> Result<UnixListener, ListenError> {
    let socket = |source| ListenError::Socket { what: format!("descriptor {fd}"), source };
    #[expect(
        unsafe_code,
        reason = "a descriptor that was handed over at start can only be taken by its number"
    )]
    // SAFETY: called once, at start, before anything else opens descriptors; the descriptor was given to this program to own,
    // and nothing else in it refers to it. A number that is not open is found out by fstat below.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let stat = match fstat(&owned) {
        Ok(stat) => stat,
        Err(error) => {
            std::mem::forget(owned);
            return Err(socket(error.into()));
        }
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(ListenError::NotASocket(fd));
    }
    let listener = UnixListener::from(owned);
    listener.set_nonblocking(true).map_err(socket)?;
    Ok(listener)
}

/// Listens on `unix:/path`; a socket that nobody serves any more is replaced.
pub fn on_address(address: &str) -> Result<(UnixListener, PathBuf), ListenError> {
    let Some(path) = address.strip_prefix("unix:") else {
        return Err(ListenError::Address(address.to_owned()));
    };
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    let socket = |source| ListenError::Socket { what: path.display().to_string(), source };
    let is_socket = std::fs::symlink_metadata(path)
        .is_ok_and(|meta| std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()));
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path).map_err(socket)?;
    }
    let listener = UnixListener::bind(path).map_err(socket)?;
    listener.set_nonblocking(true).map_err(socket)?;
    Ok((listener, path.to_owned()))
}
