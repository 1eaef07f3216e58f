//! The reading side of a websocket, with what the protocol wants to answer by itself (pongs, the reply to a close) led aside.
//!
//! The relay must know the position of every byte that it writes, so nothing but the relay may write. The websocket library gets this
//! instead of the socket: reading reads, writing fills a small buffer that the relay empties between two messages.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Answers that may wait. A client that pings without reading the pongs is cut off here.
const MOST: usize = 64 * 1024;

/// Reads from the socket, writes aside.
#[derive(Debug)]
pub(super) struct Tap<R> {
    read: R,
    aside: Arc<Aside>,
}

/// What was led aside.
#[derive(Debug, Default)]
pub(super) struct Aside {
    bytes: Mutex<BytesMut>,
    filled: Notify,
}

impl<R> Tap<R> {
    /// A tap on the reading half of a connection.
    pub(super) fn new(read: R) -> (Self, Arc<Aside>) {
        let aside = Arc::<Aside>::default();
        (Self { read, aside: Arc::clone(&aside) }, aside)
    }
}

impl Aside {
    /// Waits until there is something to send.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes all of it: whole frames only.
    #[must_use]
    pub(super) fn take(&self) -> Bytes {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).split().freeze()
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Tap<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl<R: Unpin> AsyncWrite for Tap<R> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut bytes = self.aside.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() + buf.len() > MOST {
            return Poll::Ready(Err(io::Error::other("too many unanswered pings")));
        }
        bytes.extend_from_slice(buf);
        drop(bytes);
        self.aside.filled.notify_one();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
