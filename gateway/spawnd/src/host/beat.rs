//! A beat on every processor, at which Linux asks again whose turn it is.
//!
//! Since 6.6 (EEVDF) who is woken a moment before it is owed time again waits for the next tick, behind whoever runs, however little that one
//! weighs: 4 ms on most servers' kernels (`CONFIG_HZ=250`), for each step of a cell. Whenever any thread wakes and sleeps on a processor, the
//! next one is chosen anew, so a thread that does nothing else, twice a millisecond, ends such waits early. It takes 2 to 3 % of its processor
//! (measured in a virtual machine) and is there only while somebody stands behind others.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use gateway_spawnd::priority;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, pidfd_send_signal, set_parent_process_death_signal, waitid,
};
use serde_json::json;

use super::cpus;
use crate::log;
use crate::sys::{self, Forked};

const PERIOD: Duration = Duration::from_micros(500);

/// A process that beats until this is dropped, or until spawnd ends.
pub(crate) struct Beat(OwnedFd);

impl Beat {
    /// None where it cannot be: a convenience.
    pub(crate) fn start() -> Option<Self> {
        let parent = rustix::process::getpid();
        match sys::fork_into(0, None) {
            Ok(Forked::Child) => {
                beat(parent);
                sys::exit_now(0)
            }
            Ok(Forked::Parent(_, pidfd)) => Some(Self(pidfd)),
            Err(error) => {
                log::warn("beat", json!({ "error": error.to_string() }));
                None
            }
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        // One that has ended by itself is to be waited for too.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
        let _ = waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED);
    }
}

fn beat(parent: Pid) {
    let _ = rustix::thread::set_name(c"spawnd-beat");
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok() && getppid() == Some(parent);
    // Clients of spawnd must see it close their connections.
    if !bound || sys::close_from(0).is_err() {
        return;
    }
    // As root in front of all, and else by its short slices.
    let _ = priority::serve_first();
    let on = |cpu: usize| {
        move || {
            let held = cpus::hold(&[cpu]);
            while held.is_ok() {
                std::thread::sleep(PERIOD);
            }
        }
    };
    std::thread::scope(|scope| {
        for cpu in cpus::available() {
            // One fewer, where there is no memory for it.
            let _ = std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, on(cpu));
        }
    });
}
