//! The listening socket that the shim is given as descriptor 3.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::UnixListener;

const LISTENER: i32 = 3;

/// Takes descriptor 3, which must be a listening socket. Call it first and once.
pub(crate) fn take() -> io::Result<UnixListener> {
    #[expect(
        unsafe_code,
        reason = "a descriptor that was handed over by number can be taken in no other way"
    )]
    // SAFETY: the program has just begun and opened nothing, so nobody else owns descriptor 3; if it is not open, the
    // next call fails and the OwnedFd is forgotten.
    let fd = unsafe { OwnedFd::from_raw_fd(LISTENER) };
    match socket_acceptconn(&fd) {
        Ok(true) => {}
        Ok(false) => return Err(io::Error::other("descriptor 3 is not a listening socket")),
        Err(why) => {
            std::mem::forget(fd);
            return Err(io::Error::other(format!("descriptor 3 is not a listening socket: {why}")));
        }
    }
    // The kernel must not inherit it.
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    let listener = std::os::unix::net::UnixListener::from(fd);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}
