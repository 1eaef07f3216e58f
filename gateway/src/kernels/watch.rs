//! The task of one kernel: it holds the shim's control connection, carries out orders, and sees the kernel live and die.

use std::collections::HashMap;
use std::time::Duration;

use carrel_shim::client::{Delivery, ShimConn};
use carrel_shim::protocol::{Event, From, Hello, Reply, Role, State as Life};
use carrel_wire::Channel;
use tokio::sync::{mpsc, oneshot};

use super::kernel::{Kernel, Order};
use super::{Kernels, limits};
use crate::error::chain;

/// How often an idle kernel is looked at.
const LOOK: Duration = Duration::from_secs(20);
/// Attempts to reach the shim again after its connection broke.
const ATTEMPTS: u32 = 3;

/// Messages after which others get their turn.
const TURN: u32 = 64;

/// What the control connection says first.
#[must_use]
pub fn hello(kernel: &Kernel) -> Hello {
    Hello { role: Role::Control, session: format!("control-{}", kernel.id), from: From::Now }
}

/// How the watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The kernel is dead, its jail may still be there.
    Dead,
    /// The jail is gone.
    Gone,
    /// It was ended on purpose.
    Ended,
}

/// Watches until the kernel is gone.
pub async fn run(
    kernels: Kernels,
    kernel: Kernel,
    mut shim: ShimConn,
    mut orders: mpsc::Receiver<Order>,
) -> End {
    let mut pending: HashMap<u64, oneshot::Sender<Result<(), String>>> = HashMap::new();
    let mut next_id = 0;
    let (mut kills, mut heard) = (0, 0u32);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let delivery = tokio::select! {
            delivery = shim.receiver.next() => delivery,
            order = orders.recv() => {
                let Some(Order { cmd, answer }) = order else { return End::Ended };
                next_id += 1;
                pending.retain(|_, waiting| !waiting.is_closed());
                pending.insert(next_id, answer);
                match shim.sender.command(next_id, cmd).await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                }
            }
            _ = look.tick() => {
                kernels.cull(&kernel);
                continue;
            }
            () = kernel.ended.cancelled(), if pending.is_empty() => return End::Ended,
        };
        heard = heard.wrapping_add(1);
        if heard.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
        match delivery {
            Ok(Some(Delivery::Message { channel: Channel::Iopub, message, .. })) => {
                let status = message.header().ok().filter(|header| header.msg_type == "status");
                let state = status.and_then(|_| message.content::<Status>().ok());
                kernel.observe(
                    kernels.clock().now(),
                    state.as_ref().map(|status| status.execution_state.as_str()),
                );
            }
            Ok(Some(Delivery::Message { .. })) => {}
            Ok(Some(Delivery::Event { event, .. })) => {
                if let Some(end) = happened(&kernels, &kernel, event, &mut kills).await {
                    return end;
                }
            }
            Ok(Some(Delivery::Reply(Reply { id, ok, error, .. }))) => {
                if let Some(answer) = pending.remove(&id) {
                    let result = if ok { Ok(()) } else { Err(error.unwrap_or_else(|| "refused".into())) };
                    // Whoever asked may have gone away.
                    let _ = answer.send(result);
                }
            }
            broken => {
                if kernel.ended.is_cancelled() {
                    return End::Ended;
                }
                if let Err(error) = broken {
                    tracing::warn!(kernel.id = %kernel.id, error = chain(&error), "lost the kernel's shim");
                }
                pending.clear();
                match again(&kernel).await {
                    Some(new) => shim = new,
                    None => return End::Gone,
                }
            }
        }
    }
}

/// The part of a status message that is looked at.
#[derive(serde::Deserialize)]
struct Status {
    execution_state: String,
}

async fn happened(kernels: &Kernels, kernel: &Kernel, event: Event, kills: &mut u64) -> Option<End> {
    let now = kernels.clock().now();
    match event {
        Event::Started { pid, restarts } => {
            tracing::info!(kernel.id = %kernel.id, pid, restarts, "kernel answers");
            if matches!(kernel.state().execution_state.as_str(), "starting" | "restarting") {
                kernel.observe(now, Some("idle"));
            }
        }
        Event::Exited { exit, expected } => {
            if !expected {
                tracing::warn!(kernel.id = %kernel.id, code = exit.code, signal = exit.signal, "kernel ended unexpectedly");
                out_of_memory(kernels, kernel, kills).await;
            }
        }
        Event::Restarting { attempt } => {
            tracing::info!(kernel.id = %kernel.id, attempt, "kernel is started again");
            kernel.observe(now, Some("restarting"));
        }
        Event::Dead { reason } => {
            tracing::warn!(kernel.id = %kernel.id, reason, "kernel is dead");
            kernel.observe(now, Some("dead"));
            return Some(End::Dead);
        }
        Event::Lost { first, last } => {
            tracing::warn!(kernel.id = %kernel.id, first, last, "messages were dropped from the kernel's log");
        }
    }
    None
}

/// Tells the people attached when it was the memory limit that ended their kernel.
async fn out_of_memory(kernels: &Kernels, kernel: &Kernel, kills: &mut u64) {
    let Ok(stats) = kernels.spawnd().stats(kernel.jail.clone()).await else { return };
    let Some(notice) = limits::of_kernel(&stats, kills) else { return };
    tracing::warn!(kernel.id = %kernel.id, peak = stats.main.memory_peak_bytes, limit = stats.main.memory_limit_bytes, "memory limit ended a kernel");
    kernel.notify(notice);
}

/// A new control connection, if the shim is still there.
async fn again(kernel: &Kernel) -> Option<ShimConn> {
    for attempt in 0..ATTEMPTS {
        tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        match ShimConn::connect(&kernel.socket, hello(kernel)).await {
            Ok(shim) if shim.welcome.kernel.state != Life::Dead => return Some(shim),
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(kernel.id = %kernel.id, attempt, error = chain(&error), "shim does not answer");
            }
        }
        if kernel.ended.is_cancelled() {
            return None;
        }
    }
    None
}
