//! One subscriber: its prefixes, its bounded queue, and the two halves of its connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::buffer::Pieces;
use super::zmtp::{self, Said};
use super::{Bounds, Shared};

/// A part up to this size is copied next to its head, a larger one is written from where it lies.
const COPIED: usize = 4096;
/// Bytes that are gathered for one write.
const BATCH: usize = 256 * 1024;
/// What a message weighs beside its bytes, so that the number of waiting messages is bounded too.
const WEIGHT: usize = 128;
/// Prefixes that one subscriber may have.
const PREFIXES: usize = 1024;

/// An encoded message, shared by the queues of all subscribers.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pieces: Arc<[Bytes]>,
    size: usize,
}

impl Item {
    /// Encodes the parts of a message.
    pub(super) fn message(parts: &[Bytes]) -> Self {
        let mut pieces = Vec::new();
        let mut small = BytesMut::with_capacity(1024);
        for (at, part) in parts.iter().enumerate() {
            zmtp::head(&mut small, false, at + 1 < parts.len(), part.len());
            if part.len() <= COPIED {
                small.extend_from_slice(part);
            } else {
                pieces.push(small.split().freeze());
                pieces.push(part.clone());
            }
        }
        if !small.is_empty() {
            pieces.push(small.freeze());
        }
        Self::new(pieces)
    }

    fn new(pieces: Vec<Bytes>) -> Self {
        let size = pieces.iter().map(Bytes::len).sum();
        Self { pieces: pieces.into(), size }
    }

    /// Room that it takes in a queue of at most `bound`.
    fn weight(&self, bound: u32) -> u32 {
        u32::try_from(self.size + WEIGHT).unwrap_or(u32::MAX).min(bound)
    }
}

/// A subscriber as its publisher sees it.
pub(super) struct Peer {
    pub(super) id: u64,
    prefixes: Mutex<Vec<Bytes>>,
    queue: mpsc::UnboundedSender<(Item, OwnedSemaphorePermit)>,
    /// One permit a byte: bounds the queue, whose own type has no bound.
    room: Arc<Semaphore>,
    /// Bytes written, to tell a slow subscriber from a dead one.
    written: AtomicU64,
    drop: CancellationToken,
}

pub(super) type Items = mpsc::UnboundedReceiver<(Item, OwnedSemaphorePermit)>;

impl Peer {
    pub(super) fn new(id: u64, bounds: &Bounds) -> (Self, Items) {
        let (queue, items) = mpsc::unbounded_channel();
        let peer = Self {
            id,
            prefixes: Mutex::default(),
            queue,
            room: Arc::new(Semaphore::new(bounds.queued as usize)),
            written: AtomicU64::new(0),
            drop: CancellationToken::new(),
        };
        (peer, items)
    }

    pub(super) fn wants(&self, topic: &[u8]) -> bool {
        self.prefixes().iter().any(|prefix| topic.starts_with(prefix))
    }

    pub(super) fn subscribed(&self) -> bool {
        !self.prefixes().is_empty()
    }

    fn prefixes(&self) -> std::sync::MutexGuard<'_, Vec<Bytes>> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room and queues the item; false if the subscriber took nothing for too long and was dropped.
    pub(super) async fn push(&self, item: Item, bounds: &Bounds) -> bool {
        let weight = item.weight(bounds.queued);
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(weight) {
            let _ = self.queue.send((item, permit));
            return true;
        }
        loop {
            let before = self.written.load(Ordering::Relaxed);
            let room = Arc::clone(&self.room).acquire_many_owned(weight);
            match tokio::time::timeout(bounds.stalled, room).await {
                Ok(Ok(permit)) => {
                    let _ = self.queue.send((item, permit));
                    return true;
                }
                Ok(Err(_closed)) => return true,
                Err(_elapsed) if self.written.load(Ordering::Relaxed) == before => {
                    self.drop.cancel();
                    self.room.close();
                    return false;
                }
                Err(_elapsed) => {}
            }
        }
    }

    /// Waits until everything queued was written, or the subscriber is gone.
    pub(super) async fn emptied(&self, bounds: &Bounds) {
        let _ = self.room.acquire_many(bounds.queued).await;
    }

    /// Waits until the publisher gave the subscriber up.
    pub(super) async fn dropped(&self) {
        self.drop.cancelled().await;
    }

    /// Lets nobody wait for this subscriber any more.
    pub(super) fn close(&self) {
        self.room.close();
    }
}

/// The life of a connection: handshake, then subscriptions in and messages out until one side ends.
pub(super) async fn converse<R, W>(
    mut read: R,
    mut write: W,
    peer: &Peer,
    items: Items,
    shared: &Shared,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(1024);
    tokio::time::timeout(shared.bounds.handshake, handshake(&mut read, &mut write, &mut buffer)).await??;
    tokio::select! {
        ended = listen(&mut read, &mut buffer, peer, shared) => ended,
        ended = speak(&mut write, peer, items) => ended,
    }
}

async fn handshake<R, W>(read: &mut R, write: &mut W, buffer: &mut BytesMut) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    write.write_all(&zmtp::greeting()).await?;
    let mut theirs = [0; zmtp::GREETING];
    read.read_exact(&mut theirs).await?;
    zmtp::check_greeting(&theirs).map_err(io::Error::other)?;
    write.write_all(&zmtp::ready()).await?;
    let frame = next_frame(read, buffer).await?;
    zmtp::check_ready(&frame).map_err(io::Error::other)
}

async fn next_frame<R: AsyncRead + Unpin>(read: &mut R, buffer: &mut BytesMut) -> io::Result<zmtp::Frame> {
    loop {
        if let Some(frame) = zmtp::decode(buffer, zmtp::MAX_FRAME).map_err(io::Error::other)? {
            return Ok(frame);
        }
        if read.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn listen<R: AsyncRead + Unpin>(
    read: &mut R,
    buffer: &mut BytesMut,
    peer: &Peer,
    shared: &Shared,
) -> io::Result<()> {
    loop {
        match zmtp::said(&next_frame(read, buffer).await?) {
            Said::Subscribe(prefix) => {
                let welcome = shared.welcome.as_ref().map(|welcome| Item::message(&welcome(&prefix)));
                {
                    let mut prefixes = peer.prefixes();
                    if prefixes.len() >= PREFIXES {
                        return Err(io::Error::other("too many subscriptions"));
                    }
                    prefixes.push(prefix);
                }
                if let Some(item) = welcome {
                    peer.offer(item, &shared.bounds);
                }
                shared.count();
            }
            Said::Cancel(prefix) => {
                {
                    let mut prefixes = peer.prefixes();
                    if let Some(at) = prefixes.iter().position(|known| *known == prefix) {
                        prefixes.swap_remove(at);
                    }
                }
                shared.count();
            }
            Said::Ping(context) => peer.offer(Item::new(vec![zmtp::pong(&context)]), &shared.bounds),
            Said::Other => {}
        }
    }
}

impl Peer {
    /// Queues what the subscriber asked for itself, if there is room.
    fn offer(&self, item: Item, bounds: &Bounds) {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(item.weight(bounds.queued)) {
            let _ = self.queue.send((item, permit));
        }
    }
}

async fn speak<W: AsyncWrite + Unpin>(write: &mut W, peer: &Peer, mut items: Items) -> io::Result<()> {
    let mut pieces = Pieces::default();
    let mut permits = Vec::new();
    while let Some((item, permit)) = items.recv().await {
        gather(&mut pieces, &item);
        permits.push(permit);
        while pieces.remaining() < BATCH {
            let Ok((item, permit)) = items.try_recv() else { break };
            gather(&mut pieces, &item);
            permits.push(permit);
        }
        while pieces.has_remaining() {
            let count = write.write_buf(&mut pieces).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            peer.written.fetch_add(count as u64, Ordering::Relaxed);
        }
        permits.clear();
    }
    Ok(())
}

fn gather(pieces: &mut Pieces, item: &Item) {
    for piece in item.pieces.iter() {
        pieces.push(piece.clone());
    }
}
