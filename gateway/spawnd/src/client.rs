//! A blocking client of the control socket. One request at a time; reconnects by itself after spawnd was replaced.
//!
//! From an async program call it inside `spawn_blocking`. `stop` waits until nothing of the jail is left (tens of
//! milliseconds), so keep a second client for that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::limits::LimitTables;
use crate::names::JailId;
use crate::packet::{self, Received};
use crate::protocol::{
    Bounded, Done, Exited, Hello, JailInfo, JailList, Refusal, Remaining, Reply, Request, ShutdownJails,
    Start, Started, Stats, Tags,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a request came to nothing.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("connecting to spawnd at {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke or the answer took too long.
    #[error("talking to spawnd")]
    Talk(#[source] std::io::Error),
    /// spawnd closed the connection.
    #[error("spawnd closed the connection")]
    Closed,
    /// The answer is not one of ours.
    #[error("spawnd's answer is not understood")]
    Answer(#[source] serde_json::Error),
    /// An answer lacked its descriptor, or had too many.
    #[error("spawnd's answer has the wrong descriptors")]
    Descriptors,
    /// spawnd said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A connection to spawnd, shareable between threads.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    connection: Mutex<Option<OwnedFd>>,
}

impl Client {
    /// Connects to the control socket.
    pub fn connect(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        let path = path.into();
        let connection = dial(&path)?;
        Ok(Self { path, connection: Mutex::new(Some(connection)) })
    }

    /// Who is there? Also calls off a pending [`ShutdownJails::KeepIfAny`].
    pub fn hello(&self) -> Result<Hello, ClientError> {
        self.ask(&Request::Hello {}, &[]).map(|(hello, _)| hello)
    }

    /// Starts a jail; the descriptor is a pidfd of its pid 1, readable when it has ended.
    pub fn start(&self, start: Start) -> Result<(Started, OwnedFd), ClientError> {
        let (started, mut fds) = self.ask(&Request::Start(start), &[])?;
        match (fds.pop(), fds.is_empty()) {
            (Some(pidfd), true) => Ok((started, pidfd)),
            _ => Err(ClientError::Descriptors),
        }
    }

    /// All running jails, in order of id.
    pub fn list(&self) -> Result<Vec<JailInfo>, ClientError> {
        let mut all: Vec<JailInfo> = Vec::new();
        loop {
            let after = all.last().map(|jail| jail.id.clone());
            let (page, _) = self.ask::<JailList>(&Request::List { after }, &[])?;
            let more = page.more && !page.jails.is_empty();
            all.extend(page.jails);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Ends a jail; returns when nothing of it is left.
    pub fn stop(&self, id: JailId) -> Result<(), ClientError> {
        self.ask::<Done>(&Request::Stop { id }, &[]).map(|_| ())
    }

    /// What a running jail uses.
    pub fn stats(&self, id: JailId) -> Result<Stats, ClientError> {
        self.ask(&Request::Stats { id }, &[]).map(|(stats, _)| stats)
    }

    /// How an ended jail ended.
    pub fn exit(&self, id: JailId) -> Result<Exited, ClientError> {
        self.ask(&Request::Exit { id }, &[]).map(|(exited, _)| exited)
    }

    /// Where what runs in a server's jail speaks to the gateway: a listening socket.
    pub fn listener(&self, id: JailId) -> Result<OwnedFd, ClientError> {
        let (_, mut fds) = self.ask::<Done>(&Request::Listener { id }, &[])?;
        fds.pop().filter(|_| fds.is_empty()).ok_or(ClientError::Descriptors)
    }

    /// Keeps a duplicate of a descriptor in spawnd, replacing one of the same tag.
    pub fn fd_put(&self, tag: &str, fd: impl AsFd) -> Result<(), ClientError> {
        self.ask::<Done>(&Request::FdPut { tag: tag.to_owned() }, &[fd.as_fd()]).map(|_| ())
    }

    /// Takes back up to `max` (at most 64) descriptors by the beginning of their tags.
    pub fn fd_take(&self, prefix: &str, max: usize) -> Result<Vec<(String, OwnedFd)>, ClientError> {
        let (Tags { tags }, fds) = self.ask(&Request::FdTake { prefix: prefix.to_owned(), max }, &[])?;
        if tags.len() != fds.len() {
            return Err(ClientError::Descriptors);
        }
        Ok(tags.into_iter().zip(fds).collect())
    }

    /// Closes a kept descriptor.
    pub fn fd_drop(&self, tag: &str) -> Result<(), ClientError> {
        self.ask::<Done>(&Request::FdDrop { tag: tag.to_owned() }, &[]).map(|_| ())
    }

    /// Other bounds, for jails that run too.
    pub fn limits(&self, tables: LimitTables) -> Result<Bounded, ClientError> {
        self.ask(&Request::Limits { tables: Box::new(tables) }, &[]).map(|(bounded, _)| bounded)
    }

    /// Ends spawnd once no jail is left; says how many still run.
    pub fn shutdown(&self, jails: ShutdownJails) -> Result<usize, ClientError> {
        self.ask::<Remaining>(&Request::Shutdown { jails }, &[]).map(|(remaining, _)| remaining.jails)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(T, Vec<OwnedFd>), ClientError> {
        let mut connection = self.lock();
        // Whatever goes wrong from here on leaves no half-read connection behind.
        let mut socket = match connection.take() {
            Some(socket) => socket,
            None => dial(&self.path)?,
        };
        let bytes = serde_json::to_vec(request).map_err(ClientError::Answer)?;
        if let Err(error) = packet::send(&socket, &bytes, fds, false) {
            if !matches!(error, Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) {
                return Err(ClientError::Talk(error.into()));
            }
            // The old spawnd is gone and took nothing of this request: ask its successor.
            socket = dial(&self.path)?;
            packet::send(&socket, &bytes, fds, false).map_err(|error| ClientError::Talk(error.into()))?;
        }
        let (bytes, fds) = match packet::receive(&socket).map_err(|error| ClientError::Talk(error.into()))? {
            Received::Packet(bytes, fds) => (bytes, fds),
            Received::Closed => return Err(ClientError::Closed),
            Received::TooLarge => return Err(ClientError::Talk(Errno::MSGSIZE.into())),
        };
        let reply = serde_json::from_slice::<Reply<T>>(&bytes).map_err(ClientError::Answer)?;
        *connection = Some(socket);
        match reply {
            Reply::Ok(value) => Ok((value, fds)),
            Reply::Err(refusal) => Err(refusal.into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dial(path: &Path) -> Result<OwnedFd, ClientError> {
    let failed = |error: Errno| ClientError::Connect { path: path.to_owned(), source: error.into() };
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(failed)?;
    connect(&socket, &address).map_err(failed)?;
    for which in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&socket, which, Some(PATIENCE)).map_err(failed)?;
    }
    Ok(socket)
}
