//! The two directions of a kernel's websocket, and the ways in which it ends.
//!
//! Towards the browser: a message is announced to the shim with the place where it will end in the stream, then it is written, then, once
//! the browser's host has acknowledged its last byte, it is acknowledged to the shim. Towards the kernel: a frame is taken apart (content
//! stays bytes) and sent on; when the shim does not take it, the socket is not read. Neither direction waits for the other.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use carrel_shim::client::{Delivery, ShimConn, ShimError, ShimReceiver, ShimSender};
use carrel_shim::protocol::Event;
use carrel_wire::websocket::json;
use carrel_wire::{Channel, Header, Message, WireError, limits};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message as WsMessage};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::frames::{Batch, Framing};
use super::tap::{Aside, Tap};
use crate::error::chain;
use crate::kernels::kernel::{Kernel, Notice};
use crate::kernels::tcp::TcpWatch;

/// Bytes gathered before they are written.
const BATCH: usize = 256 * 1024;
/// Entries gathered before they are written; less than an OFFSETS frame holds.
const MARKS: usize = 1024;
/// Written and unacknowledged entries after which progress is looked at without waiting for the clock.
const LOOK: usize = 256;
/// How often progress is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a kernel that has gone may take to be explained.
const LAST_NOTICE: Duration = Duration::from_millis(1500);
/// How often a ping goes out.
const PING: Duration = Duration::from_secs(30);
/// A client that was not heard of for this long is gone.
const SILENCE: Duration = Duration::from_secs(100);
/// A client that takes no byte for this long is gone.
const STALL: Duration = Duration::from_secs(120);
/// How long a close may take to be written.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a relay needs besides its connections.
pub(super) struct Context {
    /// The kernel.
    pub(super) kernel: Kernel,
    /// Ends this websocket: replaced, or the kernel is gone.
    pub(super) stop: CancellationToken,
    /// Ends all of them: the gateway stops.
    pub(super) shutdown: CancellationToken,
    /// How messages are put into frames.
    pub(super) framing: Framing,
    /// What the gateway itself has to say.
    pub(super) notices: broadcast::Receiver<Notice>,
}

/// Why a websocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed it or went away.
    Client,
    /// The client does not take or answer anything any more.
    Silent,
    /// The client sent something that is no message, or too much.
    Protocol(CloseCode, &'static str),
    /// Another websocket of the same session took its place.
    Replaced,
    /// The kernel is gone.
    Kernel,
    /// The gateway stops.
    Shutdown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Silent => f.write_str("silent client"),
            Self::Protocol(_, why) => f.write_str(why),
            Self::Replaced => f.write_str("replaced"),
            Self::Kernel => f.write_str("kernel"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

impl End {
    /// What is said in the close frame; nothing to somebody who is gone.
    fn goodbye(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Client | Self::Silent => None,
            Self::Protocol(code, why) => Some((code, why)),
            Self::Replaced => Some((CloseCode::Normal, "replaced by another websocket of this session")),
            Self::Kernel => Some((CloseCode::Normal, "the kernel is gone")),
            Self::Shutdown => Some((CloseCode::Restart, "the gateway is restarting")),
        }
    }
}

/// How far a websocket came.
pub(super) struct Progress {
    /// Why it ended.
    pub(super) end: End,
    /// Bytes written to it.
    pub(super) position: u64,
    outstanding: VecDeque<(u64, u64)>,
    sender: ShimSender,
}

impl Progress {
    /// Acknowledges to the shim what lies within the bytes that the browser's host took.
    pub(super) async fn confirm(mut self, written: Option<u64>) {
        let written = written.unwrap_or(0);
        let last = self.outstanding.iter().take_while(|(_, end)| *end <= written).last();
        if let Some((seq, _)) = last
            && let Err(error) = self.sender.ack(*seq).await
        {
            tracing::debug!(error = chain(&error), "the shim is gone before the last acknowledgement");
        }
    }
}

/// Runs until either side ends.
pub(super) async fn run<R, W>(
    context: Context,
    shim: ShimConn,
    reader: R,
    read: Bytes,
    writer: W,
    watch: Option<&TcpWatch>,
) -> Progress
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Context { kernel, stop, shutdown, framing, notices } = context;
    let ShimConn { sender, mut receiver, .. } = shim;
    let sender = Mutex::new(sender);
    let (tap, aside) = Tap::new(reader);
    let heard = AtomicBool::new(true);
    let mut outward = Outward {
        kernel: &kernel,
        sender: &sender,
        writer,
        watch,
        batch: Batch::new(framing),
        outstanding: VecDeque::new(),
        position: 0,
        within_frame: false,
        parent: Bytes::from_static(b"{}"),
    };
    let end = tokio::select! {
        end = inward(tap, read, framing, &sender, &heard) => end,
        end = outward.run(&mut receiver, notices, &aside, &heard) => end,
        () = shutdown.cancelled() => End::Shutdown,
        () = stop.cancelled() => if kernel.ended.is_cancelled() { End::Kernel } else { End::Replaced },
    };
    outward.goodbye(end, &aside).await;
    let Outward { outstanding, position, .. } = outward;
    Progress { end, position, outstanding, sender: sender.into_inner() }
}

/// From the browser to the kernel.
async fn inward<R: AsyncRead + Unpin>(
    tap: Tap<R>,
    read: Bytes,
    framing: Framing,
    sender: &Mutex<ShimSender>,
    heard: &AtomicBool,
) -> End {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::MESSAGE))
        .max_frame_size(Some(limits::MESSAGE))
        .read_buffer_size(16 * 1024);
    let mut socket =
        WebSocketStream::from_partially_read(tap, read.to_vec(), Role::Server, Some(config)).await;
    loop {
        let frame = match socket.next().await {
            Some(Ok(WsMessage::Binary(bytes))) => json::Frame::Binary(bytes),
            Some(Ok(WsMessage::Text(text))) => json::Frame::Text(text.into()),
            Some(Ok(_)) => {
                heard.store(true, Ordering::Relaxed);
                continue;
            }
            Some(Err(error)) => return refused(&error),
            None => return End::Client,
        };
        heard.store(true, Ordering::Relaxed);
        let (channel, message) = match framing.decode(frame) {
            Ok(message) => message,
            Err(error @ WireError::UnknownChannel { .. }) => {
                tracing::debug!(%error, "a message for no channel is dropped");
                continue;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "a client sent something that is no message");
                return End::Protocol(CloseCode::Unsupported, "not a Jupyter message");
            }
        };
        if matches!(channel, Channel::Iopub | Channel::Heartbeat) {
            continue;
        }
        if let Err(error) = sender.lock().await.message(channel, message).await {
            tracing::warn!(error = chain(&error), "a message did not reach the shim");
            return End::Kernel;
        }
    }
}

fn refused(error: &WsError) -> End {
    match error {
        WsError::Capacity(_) => {
            tracing::warn!(%error, "a client sent a message that is too large");
            End::Protocol(CloseCode::Size, "message too large")
        }
        WsError::Utf8(_) => End::Protocol(CloseCode::Invalid, "text that is not UTF-8"),
        WsError::Protocol(violation) => {
            tracing::debug!(%violation, "websocket protocol violated");
            match violation {
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake => {
                    End::Client
                }
                _ => End::Protocol(CloseCode::Protocol, "websocket protocol violated"),
            }
        }
        _ => End::Client,
    }
}

/// From the kernel to the browser.
struct Outward<'a, W> {
    kernel: &'a Kernel,
    sender: &'a Mutex<ShimSender>,
    writer: W,
    watch: Option<&'a TcpWatch>,
    batch: Batch,
    /// Entries written and not yet acknowledged to the shim, with their ends.
    outstanding: VecDeque<(u64, u64)>,
    /// Bytes written.
    position: u64,
    /// Whether a write was cut short: nothing more can be said on this connection.
    within_frame: bool,
    /// The request that the last message on iopub belonged to.
    parent: Bytes,
}

/// Why nothing can be written any more.
enum Broken {
    Shim(ShimError),
    Client(io::Error),
    Stalled,
}

impl<W: AsyncWrite + Unpin> Outward<'_, W> {
    async fn run(
        &mut self,
        receiver: &mut ShimReceiver,
        mut notices: broadcast::Receiver<Notice>,
        aside: &Aside,
        heard: &AtomicBool,
    ) -> End {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_ping = Instant::now() + PING;
        let mut last_heard = Instant::now();
        loop {
            let mut end = None;
            tokio::select! {
                delivery = receiver.next() => {
                    end = self.take(delivery);
                    // Whatever came with it goes out with it.
                    while end.is_none() && self.batch.size() < BATCH && self.batch.marked() < MARKS {
                        let Some(more) = receiver.next().now_or_never() else { break };
                        end = self.take(more);
                    }
                }
                notice = notices.recv() => match notice {
                    Ok(notice) => self.stderr(&notice.text),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => end = Some(End::Kernel),
                },
                () = aside.filled() => self.batch.raw(&aside.take()),
                _ = tick.tick() => {
                    let now = Instant::now();
                    if heard.swap(false, Ordering::Relaxed) {
                        last_heard = now;
                    }
                    if now - last_heard > SILENCE {
                        return End::Silent;
                    }
                    if now >= next_ping {
                        next_ping = now + PING;
                        self.batch.ping();
                    }
                    if let Err(broken) = self.acknowledge().await {
                        return self.broken(broken);
                    }
                }
            }
            if let Err(broken) = self.flush().await {
                return self.broken(broken);
            }
            if let Some(end) = end {
                if end == End::Kernel && !self.kernel.ended.is_cancelled() {
                    self.last_notice(&mut notices).await;
                }
                return end;
            }
            if self.outstanding.len() >= LOOK
                && let Err(broken) = self.acknowledge().await
            {
                return self.broken(broken);
            }
        }
    }

    /// A jail that was ended takes its shim along before anybody could say why.
    async fn last_notice(&mut self, notices: &mut broadcast::Receiver<Notice>) {
        if let Ok(Ok(notice)) = tokio::time::timeout(LAST_NOTICE, notices.recv()).await {
            self.stderr(&notice.text);
            // Whoever has gone meanwhile misses nothing.
            let _ = self.flush().await;
        }
    }

    /// Puts what the shim sent into the batch.
    fn take(&mut self, delivery: Result<Option<Delivery>, ShimError>) -> Option<End> {
        match delivery {
            Ok(Some(Delivery::Message { seq, channel, message })) => {
                if channel == Channel::Iopub {
                    self.parent.clone_from(&message.parent_header);
                }
                self.message(channel, &message);
                self.batch.mark(seq);
                None
            }
            Ok(Some(Delivery::Event { seq, event })) => {
                self.event(&event);
                self.batch.mark(seq);
                None
            }
            Ok(Some(Delivery::Reply(_))) => None,
            ended => {
                if let Err(error) = ended {
                    tracing::debug!(kernel.id = %self.kernel.id, error = chain(&error), "lost a websocket's shim");
                }
                if !self.kernel.ended.is_cancelled() {
                    self.status("dead");
                }
                Some(End::Kernel)
            }
        }
    }

    /// What jupyter_server tells its clients when a kernel lives or dies.
    fn event(&mut self, event: &Event) {
        match event {
            Event::Restarting { attempt: 1.. } => self.status("restarting"),
            Event::Dead { .. } => self.status("dead"),
            Event::Lost { first, last } => {
                let count = last.saturating_sub(*first) + 1;
                self.stderr(&format!("{count} messages of this kernel were dropped: more came than is kept for a client that is away.\n"));
            }
            Event::Restarting { .. } | Event::Started { .. } | Event::Exited { .. } => {}
        }
    }

    fn status(&mut self, execution_state: &str) {
        self.own("status", &json!({"execution_state": execution_state}), Bytes::from_static(b"{}"));
    }

    fn stderr(&mut self, text: &str) {
        self.own("stream", &json!({"name": "stderr", "text": text}), self.parent.clone());
    }

    /// A message of the gateway's own.
    fn own(&mut self, msg_type: &str, content: &serde_json::Value, parent: Bytes) {
        let id = Uuid::new_v4().to_string();
        let header = Header::new(&id, msg_type, &self.kernel.id.to_string(), "carrel", SystemTime::now());
        let mut message = Message::from_parts(header.to_bytes(), None, content.to_string().into());
        message.parent_header = parent;
        self.message(Channel::Iopub, &message);
    }

    fn message(&mut self, channel: Channel, message: &Message) {
        if let Err(error) = self.batch.message(channel, message) {
            tracing::warn!(kernel.id = %self.kernel.id, error = chain(&error), "a message cannot be put into this websocket's framing");
        }
    }

    /// Announces the batch to the shim, then writes it.
    async fn flush(&mut self) -> Result<(), Broken> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let ends = self.batch.take_ends();
        if !ends.is_empty() {
            self.sender.lock().await.offsets(&ends).await.map_err(Broken::Shim)?;
            self.outstanding.extend(ends);
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), Broken> {
        while let Some(mut piece) = self.batch.next_piece() {
            self.within_frame = true;
            while !piece.is_empty() {
                let taken = tokio::time::timeout(STALL, self.writer.write_buf(&mut piece))
                    .await
                    .map_err(|_| Broken::Stalled)?
                    .map_err(Broken::Client)?;
                if taken == 0 {
                    return Err(Broken::Client(io::ErrorKind::WriteZero.into()));
                }
                self.position += u64::try_from(taken).unwrap_or(u64::MAX);
            }
        }
        self.writer.flush().await.map_err(Broken::Client)?;
        self.within_frame = false;
        Ok(())
    }

    /// Tells the shim what arrived.
    async fn acknowledge(&mut self) -> Result<(), Broken> {
        if self.outstanding.is_empty() {
            return Ok(());
        }
        let taken = match self.watch {
            Some(watch) => watch.taken().map_err(Broken::Client)?.acked,
            None => self.position,
        };
        let mut last = None;
        while let Some((seq, _)) = self.outstanding.front().copied().filter(|(_, end)| *end <= taken) {
            last = Some(seq);
            self.outstanding.pop_front();
        }
        match last {
            Some(seq) => self.sender.lock().await.ack(seq).await.map_err(Broken::Shim),
            None => Ok(()),
        }
    }

    fn broken(&self, broken: Broken) -> End {
        match broken {
            Broken::Shim(error) => {
                tracing::debug!(kernel.id = %self.kernel.id, error = chain(&error), "lost a websocket's shim");
                End::Kernel
            }
            Broken::Client(error) => {
                tracing::debug!(kernel.id = %self.kernel.id, %error, "lost a websocket's client");
                End::Client
            }
            Broken::Stalled => End::Silent,
        }
    }

    /// Says why, if the client can still hear it. After messages that were announced and not wholly written nothing may be said: its bytes
    /// would be taken for theirs. Messages that were not announced are left for the next websocket.
    async fn goodbye(&mut self, end: End, aside: &Aside) {
        let announced = !self.batch.is_empty() && self.batch.marked() == 0;
        if self.within_frame || announced {
            return;
        }
        self.batch = Batch::new(Framing::V1);
        self.batch.raw(&aside.take());
        if let Some((code, reason)) = end.goodbye() {
            self.batch.close(code, reason);
        }
        // Somebody who does not take it is gone.
        let _ = tokio::time::timeout(GOODBYE, self.write()).await;
    }
}
