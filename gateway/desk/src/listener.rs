//! Where connections come from: descriptor 3 in a jail, a unix socket or a loopback port by hand.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// What `--listen` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Inherited,
    Unix(PathBuf),
    Loopback(SocketAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if text == "fd:3" {
            return Ok(Address::Inherited);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Address::Loopback(address)),
            Ok(_) => Err("only a loopback address: this server asks nobody for a password".into()),
            Err(_) => Err("neither fd:3, unix:/path nor 127.0.0.1:port".into()),
        }
    }
}

/// A listening socket before the runtime exists.
#[derive(Debug)]
pub(crate) enum Bound {
    Unix(std::os::unix::net::UnixListener),
    Tcp(std::net::TcpListener),
}

/// A listening socket that accepts.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// One connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Address {
    /// Binds, or takes what was inherited. To be called before anything else opens a descriptor.
    pub(crate) fn bind(&self) -> io::Result<Bound> {
        match self {
            Address::Inherited => inherited().map(Bound::Unix),
            Address::Unix(path) => {
                // A socket that an earlier run left behind is in the way; anything else is not ours to delete.
                if std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
                    std::fs::remove_file(path)?;
                }
                std::os::unix::net::UnixListener::bind(path).map(Bound::Unix)
            }
            Address::Loopback(address) => std::net::TcpListener::bind(address).map(Bound::Tcp),
        }
    }
}

impl Bound {
    /// Hands the socket to the running runtime.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        match self {
            Bound::Unix(socket) => {
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket).map(Listener::Unix)
            }
            Bound::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Listener::Tcp)
            }
        }
    }
}

impl Listener {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Listener::Unix(socket) => Ok(Box::new(socket.accept().await?.0)),
            Listener::Tcp(socket) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

#[expect(
    unsafe_code,
    reason = "descriptor 3 is handed over by whoever started us; there is no safe way to take it"
)]
fn inherited() -> io::Result<std::os::unix::net::UnixListener> {
    let link = std::fs::read_link(Path::new("/proc/self/fd/3"))?;
    if !link.to_string_lossy().starts_with("socket:") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "descriptor 3 is not a socket"));
    }
    // SAFETY: descriptor 3 is open (just seen), is ours by contract with the starter, and nothing else in this
    // process has been started that could own it.
    let socket = unsafe { OwnedFd::from_raw_fd(3) };
    // Shells in terminals must not inherit it.
    fcntl_setfd(socket.as_fd(), FdFlags::CLOEXEC)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!("fd:3".parse(), Ok(Address::Inherited));
        assert_eq!("unix:/run/x".parse(), Ok(Address::Unix("/run/x".into())));
        assert!(matches!("127.0.0.1:0".parse(), Ok(Address::Loopback(_))));
        assert!("0.0.0.0:80".parse::<Address>().is_err());
        assert!("/run/x".parse::<Address>().is_err());
    }
}
