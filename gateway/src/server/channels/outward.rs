//! From the kernel to the browser: each message is announced to the shim with its place in the stream, written, and acknowledged once the browser's
//! host has taken its last byte.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use carrel_shim::client::{Delivery, ShimError, ShimReceiver, ShimSender};
use carrel_shim::protocol::Event;
use carrel_wire::{Channel, Header, Message};
use futures::FutureExt;
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use uuid::Uuid;

use super::end::End;
use super::frames::{Batch, Framing};
use super::tap::Aside;
use crate::error::chain;
use crate::kernels::Kernels;
use crate::kernels::kernel::{Kernel, Notice};
use crate::kernels::tcp::TcpWatch;

/// Bytes gathered before they are written. Whoever has so many at once lets the others have their turn: between two cells of theirs no flood of
/// somebody else's takes longer than a batch.
const BATCH: usize = 64 * 1024;
/// Bytes handed to the connection at once, of a message however long: Linux copies them all before it looks whose turn it is.
const STEP: usize = 128 * 1024;
/// Bytes after which a flood makes a pause while somebody else is here. The gateway is in front of everybody's kernels, and would keep a processor
/// from a neighbour's for as long as the flood lasts. It leaves two thirds of what a flood has without it.
const BURST: usize = 256 * 1024;
const PAUSE: Duration = Duration::from_millis(1);
/// Entries gathered before they are written; less than an OFFSETS frame holds.
const MARKS: usize = 256;
/// Written and unacknowledged entries after which progress is looked at without waiting for the clock.
const LOOK: usize = 256;
/// How often progress is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a kernel that has gone may take to be explained. Its clients know already that it is dead. (jupyter_server tells them so too, and never
/// closes their websockets.)
const LAST_NOTICE: Duration = Duration::from_millis(1500);
/// How often a ping goes out.
const PING: Duration = Duration::from_secs(30);
/// A client that was not heard of for this long is gone.
const SILENCE: Duration = Duration::from_secs(100);
/// A client that takes no byte for this long is gone.
const STALL: Duration = Duration::from_secs(120);
/// How long a close may take to be written.
const GOODBYE: Duration = Duration::from_secs(1);

/// One websocket's side towards the browser.
pub(super) struct Outward<'a, W> {
    kernel: &'a Kernel,
    sender: &'a Mutex<ShimSender>,
    writer: W,
    watch: Option<&'a TcpWatch>,
    batch: Batch,
    /// Entries written and not yet acknowledged to the shim, with their ends.
    outstanding: VecDeque<(u64, u64)>,
    /// Bytes written.
    position: u64,
    /// Bytes written without a pause.
    burst: usize,
    /// All kernels, to see who else is here, and whether somebody was at the last look.
    kernels: Option<&'a Kernels>,
    company: bool,
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

impl<'a, W: AsyncWrite + Unpin> Outward<'a, W> {
    /// Nothing is written yet.
    pub(super) fn new(
        kernel: &'a Kernel,
        sender: &'a Mutex<ShimSender>,
        writer: W,
        watch: Option<&'a TcpWatch>,
        kernels: Option<&'a Kernels>,
        framing: Framing,
    ) -> Self {
        Self {
            kernel,
            sender,
            writer,
            watch,
            batch: Batch::new(framing),
            outstanding: VecDeque::new(),
            position: 0,
            burst: 0,
            kernels,
            company: false,
            within_frame: false,
            parent: Bytes::from_static(b"{}"),
        }
    }

    /// Runs until the kernel or the browser is gone. `aside` holds what the other direction's websocket wants to answer, `heard` whether it
    /// heard something.
    pub(super) async fn run(
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
                    self.company = self.kernels.is_some_and(|kernels| kernels.has_company(&self.kernel.owner));
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
            let full = self.batch.size() >= BATCH || self.batch.marked() >= MARKS;
            if let Err(broken) = self.flush().await {
                return self.broken(broken);
            }
            if !full {
                self.burst = 0;
            } else if end.is_none() {
                self.take_turns().await;
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
                let step = piece.get(..STEP).unwrap_or(&piece);
                let taken = tokio::time::timeout(STALL, self.writer.write(step))
                    .await
                    .map_err(|_| Broken::Stalled)?
                    .map_err(Broken::Client)?;
                if taken == 0 {
                    return Err(Broken::Client(io::ErrorKind::WriteZero.into()));
                }
                piece.advance(taken);
                self.position += u64::try_from(taken).unwrap_or(u64::MAX);
                self.burst += taken;
                if !piece.is_empty() {
                    self.take_turns().await;
                }
            }
        }
        self.writer.flush().await.map_err(Broken::Client)?;
        self.within_frame = false;
        Ok(())
    }

    /// Lets other tasks have their turn, and after a while others' processes.
    async fn take_turns(&mut self) {
        if self.company && self.burst >= BURST {
            self.burst = 0;
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::task::yield_now().await;
        }
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
    pub(super) async fn goodbye(&mut self, end: End, aside: &Aside) {
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

    /// Bytes written, and entries that are not yet acknowledged to the shim with their ends.
    pub(super) fn finish(self) -> (u64, VecDeque<(u64, u64)>) {
        (self.position, self.outstanding)
    }
}
