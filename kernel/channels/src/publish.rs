//! A ZeroMQ publisher that drops nothing: when a subscriber is slow, whoever publishes waits.
//!
//! A PUB socket as libraries make it has a queue per subscriber and drops what does not fit, in silence. For a kernel this means
//! lost output, and when the lost message is the last "idle", a cell that never ends. Here each subscriber's queue is bounded in
//! bytes and [`PubSocket::publish`] waits for room. A subscriber that takes nothing for [`Bounds::stalled`] is disconnected: it is
//! dead, and must not stop the kernel for the others.
//!
//! Speaks ZMTP 3.0 and 3.1 with the NULL mechanism over TCP and Unix sockets.

mod buffer;
mod peer;
pub mod zmtp;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use peer::{Item, Peer};

use crate::ChannelsError;

/// Bounds of a publisher.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes that wait for one subscriber. A single larger message is let through alone.
    pub queued: u32,
    /// How long a subscriber with a full queue may take nothing before it is disconnected.
    pub stalled: Duration,
    /// Subscribers at the same time.
    pub subscribers: usize,
    /// How long a new connection may take to introduce itself.
    pub handshake: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            queued: 1 << 20,
            stalled: Duration::from_secs(60),
            subscribers: 64,
            handshake: Duration::from_secs(10),
        }
    }
}

/// A message for a subscriber alone, in answer to its subscription to this prefix.
pub type Welcome = Arc<dyn Fn(&[u8]) -> Vec<Bytes> + Send + Sync>;

/// A listening publisher. Ends, with its connections, when dropped.
pub struct PubSocket {
    shared: Arc<Shared>,
    address: String,
}

/// What the accepting task, the connections and the publisher share.
pub(crate) struct Shared {
    bounds: Bounds,
    welcome: Option<Welcome>,
    peers: Mutex<Vec<Arc<Peer>>>,
    next_id: AtomicU64,
    subscribers: watch::Sender<usize>,
    stop: CancellationToken,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl PubSocket {
    /// Listens at `tcp://host:port` (port 0 takes any) or `ipc://path`.
    ///
    /// # Errors
    /// When the address cannot be understood, is taken, or is not allowed.
    pub async fn bind(
        endpoint: &str,
        bounds: Bounds,
        welcome: Option<Welcome>,
    ) -> Result<Self, ChannelsError> {
        let failed = |source| ChannelsError::Listen { endpoint: endpoint.to_owned(), source };
        let (listener, address) = if let Some(address) = endpoint.strip_prefix("tcp://") {
            let address = if let Some(port) = address.strip_prefix("*:") {
                format!("0.0.0.0:{port}")
            } else {
                address.to_owned()
            };
            let listener = TcpListener::bind(&address).await.map_err(failed)?;
            let address = format!("tcp://{}", listener.local_addr().map_err(failed)?);
            (Listener::Tcp(listener), address)
        } else if let Some(path) = endpoint.strip_prefix("ipc://") {
            (Listener::Unix(bind_unix(Path::new(path)).await.map_err(failed)?), endpoint.to_owned())
        } else {
            return Err(ChannelsError::BadEndpoint(endpoint.to_owned()));
        };
        let shared = Arc::new(Shared {
            bounds,
            welcome,
            peers: Mutex::default(),
            next_id: AtomicU64::new(0),
            subscribers: watch::Sender::new(0),
            stop: CancellationToken::new(),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, address })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a message to every subscriber whose prefix matches the first part, waiting for room in each one's queue.
    pub async fn publish(&self, parts: &[Bytes]) {
        let topic = parts.first().map_or(&[][..], |part| part);
        let targets: Vec<Arc<Peer>> =
            self.shared.locked().iter().filter(|peer| peer.wants(topic)).map(Arc::clone).collect();
        if targets.is_empty() {
            return;
        }
        let item = Item::message(parts);
        for peer in targets {
            if !peer.push(item.clone(), &self.shared.bounds).await {
                tracing::warn!(
                    subscriber = peer.id,
                    "a subscriber of iopub took nothing for too long and was disconnected"
                );
            }
        }
    }

    /// Returns once somebody subscribed to something, or after this time; says whether somebody did.
    pub async fn subscribed(&self, at_most: Duration) -> bool {
        let mut subscribers = self.shared.subscribers.subscribe();
        let waiting = subscribers.wait_for(|count| *count > 0);
        matches!(tokio::time::timeout(at_most, waiting).await, Ok(Ok(_)))
    }

    /// Returns once everything was handed to the operating system, or after this time.
    pub async fn flush(&self, at_most: Duration) {
        let peers = self.shared.locked().clone();
        let all = async {
            for peer in peers {
                peer.emptied(&self.shared.bounds).await;
            }
        };
        let _ = tokio::time::timeout(at_most, all).await;
    }
}

impl Drop for PubSocket {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        if let Some(path) = self.address.strip_prefix("ipc://") {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Shared {
    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts who listens, for [`PubSocket::subscribed`].
    fn count(&self) {
        let count = self.locked().iter().filter(|peer| peer.subscribed()).count();
        self.subscribers.send_replace(count);
    }
}

/// Takes a Unix path over from a listener that is gone, never from one that answers.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if tokio::net::UnixStream::connect(path).await.is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = accept_one(&listener, &shared) => accepted,
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "cannot accept a subscriber of iopub");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn accept_one(listener: &Listener, shared: &Arc<Shared>) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (read, write) = stream.into_split();
            start(read, write, shared);
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let (read, write) = stream.into_split();
            start(read, write, shared);
        }
    }
    Ok(())
}

fn start<R, W>(read: R, write: W, shared: &Arc<Shared>)
where
    R: tokio::io::AsyncRead + Unpin + Send + 'static,
    W: tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (peer, items) = Peer::new(id, &shared.bounds);
        let peer = Arc::new(peer);
        {
            let mut peers = shared.locked();
            if peers.len() >= shared.bounds.subscribers {
                tracing::warn!("too many subscribers of iopub, one more was refused");
                return;
            }
            peers.push(Arc::clone(&peer));
        }
        let ended = tokio::select! {
            () = shared.stop.cancelled() => Ok(()),
            () = peer.dropped() => Ok(()),
            ended = peer::converse(read, write, &peer, items, &shared) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(subscriber = id, %error, "a subscriber of iopub ended");
        }
        peer.close();
        shared.locked().retain(|other| other.id != id);
        shared.count();
    });
}
