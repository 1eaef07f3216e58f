//! Pid 1 of desks and engines (and the keeper of `degraded` jails): reaps, forwards signals, ends like its child.

use std::fs;

use gateway_spawnd::Mode;
use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus, set_dumpable_behavior, wait};

use crate::sys::{self, Signals};

/// The signals that init takes.
pub(crate) const SIGNALS: [libc::c_int; 7] =
    [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Stays until the main child has ended. `signals` were blocked before the child was forked.
pub(crate) fn run(main: Pid, signals: &Signals, mode: Mode) -> ! {
    // Its memory is a copy of spawnd's: nobody inside may read it. It needs no descriptors.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = sys::close_from(3);
    loop {
        let signal = signals.wait();
        if signal == libc::SIGTERM && mode == Mode::Degraded {
            // spawnd stops the jail, or has died: there is no pid namespace to end with its pid 1.
            sys::kill(main, libc::SIGKILL);
            continue;
        }
        if signal != libc::SIGCHLD {
            sys::kill(main, signal);
            continue;
        }
        let mut ended = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == main {
                ended = Some(status);
            }
        }
        if let Some(status) = ended {
            if mode == Mode::Degraded {
                end_orphans();
            }
            sys::exit_now(code(status));
        }
    }
}

/// Without a pid namespace: everything that the jail left comes to its subreaper, and ends here.
fn end_orphans() {
    let own = rustix::process::getpid();
    while let Ok(children) = fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        for child in children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            sys::kill(child, libc::SIGKILL);
        }
        if wait(WaitOptions::empty()).is_err() {
            return;
        }
    }
}

/// As a shell says it: the exit code, or 128 and the signal.
fn code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
