//! What is watched where nothing holds it back: memory without a group. Looked at now and then, so it is a bound that can be passed for a moment.

use std::time::{Duration, Instant};

use gateway_spawnd::{JailId, LayerName, LayerState, Stats};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::json;

use super::Server;
use super::jails::{Jail, Which};
use crate::host::memory;
use crate::host::process;
use crate::log;

/// Between two looks; less once a jail has half of what it may have.
const CALM: Duration = Duration::from_millis(250);
const CLOSE: Duration = Duration::from_millis(80);

/// What is known of a process's memory from watching.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryWatch {
    pub(crate) limit: u64,
    pub(crate) last: u64,
    pub(crate) peak: u64,
    pub(crate) kills: u64,
    next: Instant,
}

impl MemoryWatch {
    /// For a jail whose report says that no group bounds its memory; the report then says that it is watched.
    pub(crate) fn needed(layer: Option<&mut LayerState>, limit: Option<u64>, now: Instant) -> Option<Self> {
        let limit = limit?;
        let layer = layer.filter(|layer| !layer.is_on())?;
        if let LayerState::Off(why) = layer {
            *layer = LayerState::Partly(format!(
                "watchdog: looked at some times a second and ended when over its limit ({why})"
            ));
        }
        Some(Self { limit, last: 0, peak: 0, kills: 0, next: now })
    }

    pub(crate) fn due(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// In the shape that a group's figures have.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            memory_bytes: Some(self.last),
            memory_peak_bytes: Some(self.peak),
            memory_limit_bytes: Some(self.limit),
            oom_kills: Some(self.kills),
            ..Stats::default()
        }
    }
}

impl Server {
    /// Looks at all jails whose time it is.
    pub(crate) fn watch_memory(&mut self, now: Instant) {
        for (id, jail) in &mut self.jails {
            for which in [Which::Main, Which::Engine] {
                look(id, jail, which, now);
            }
        }
    }
}

fn look(id: &JailId, jail: &mut Jail, which: Which, now: Instant) {
    let Some(running) = jail.running(which) else { return };
    let Some(watch) = running.watch.as_mut().filter(|watch| watch.next <= now) else { return };
    let used = memory::used(running.process.pid, watch.limit);
    watch.last = used.bytes;
    watch.peak = watch.peak.max(used.bytes);
    watch.next = now + if used.bytes > watch.limit / 2 { CLOSE } else { CALM };
    if used.bytes <= watch.limit {
        return;
    }
    let Some(pid) = used.largest else { return };
    // What is over the limit ends, as the kernel would do it; the rest of the jail lives and says so.
    let born = process::birth(pid);
    if let Some(pidfd) = process::find(pid, born)
        && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
    {
        watch.kills += 1;
        log::warn(
            "memory.over",
            json!({ "id": id, "bytes": used.bytes, "limit": watch.limit, "killed": pid.as_raw_nonzero().get(), "layer": LayerName::Memory }),
        );
    }
}
