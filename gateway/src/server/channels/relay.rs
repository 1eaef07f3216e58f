//! The two directions of a kernel's websocket: [`inward`] to the kernel and [`outward`] to the browser. Neither waits for the other, and the first
//! that ends, ends both.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use carrel_shim::client::{ShimConn, ShimSender};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::end::End;
use super::frames::Framing;
use super::inward;
use super::outward::Outward;
use super::tap::Tap;
use crate::error::chain;
use crate::guests::Stay;
use crate::kernels::Kernels;
use crate::kernels::kernel::{Kernel, Notice};
use crate::kernels::tcp::TcpWatch;

/// What a relay needs besides its connections.
pub(super) struct Context {
    /// The kernel.
    pub(super) kernel: Kernel,
    /// Ends this websocket: replaced, or the kernel is gone.
    pub(super) stop: CancellationToken,
    /// How long it may last.
    pub(super) stay: Stay,
    /// Ends all of them: the gateway stops.
    pub(super) shutdown: CancellationToken,
    /// All kernels: whoever floods leaves room for the others'. None: there are no others.
    pub(super) kernels: Option<Kernels>,
    /// How messages are put into frames.
    pub(super) framing: Framing,
    /// What the gateway itself has to say.
    pub(super) notices: broadcast::Receiver<Notice>,
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
    let Context { kernel, stop, stay, shutdown, kernels, framing, notices } = context;
    let ShimConn { sender, mut receiver, .. } = shim;
    let sender = Mutex::new(sender);
    let (tap, aside) = Tap::new(reader);
    let heard = AtomicBool::new(true);
    let mut outward = Outward::new(&kernel, &sender, writer, watch, kernels.as_ref(), framing);
    let end = tokio::select! {
        end = inward::run(tap, read, framing, &sender, &heard) => end,
        end = outward.run(&mut receiver, notices, &aside, &heard) => end,
        () = shutdown.cancelled() => End::Shutdown,
        () = stay.over() => End::Guest,
        () = stop.cancelled() => if kernel.ended.is_cancelled() { End::Kernel } else { End::Replaced },
    };
    outward.goodbye(end, &aside).await;
    let (position, outstanding) = outward.finish();
    Progress { end, position, outstanding, sender: sender.into_inner() }
}
