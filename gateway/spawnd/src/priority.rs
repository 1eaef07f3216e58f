//! The gateway's place in the queue for processors. All users wait for it, so it must not wait for those who compute.
//!
//! Users share processors in equal parts, and a part may be busy without end (`host/cgroup`). What is woken for a moment's work then waits until
//! somebody's slice is over, some milliseconds for every step of a cell. Who asks for short slices does not (Linux 6.12; before, the priority alone helps).
#![expect(unsafe_code, reason = "a system call that no crate wraps")]

use std::io;

use rustix::process::setpriority_process;

/// Above ordinary programs, below those that keep the host alive.
const NICE: i32 = -5;
/// The shortest slice that Linux takes: the gateway copies some kilobytes at a time.
const SLICE_NS: u64 = 100_000;

/// Puts this thread, and all that it will make, in front of who computes. The priority needs root; the error says that it stayed as it was.
pub fn serve_first() -> io::Result<()> {
    let raised = setpriority_process(None, NICE).map_err(io::Error::from);
    let nice = rustix::process::getpriority_process(None)?;
    short_slices(nice)?;
    raised
}

fn short_slices(nice: i32) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: u32::try_from(size_of::<libc::sched_attr>()).unwrap_or(0),
        sched_policy: u32::try_from(libc::SCHED_OTHER).unwrap_or(0),
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `attributes`, which is alive and as large as it says, and keeps nothing of it.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_afterwards_has_the_same_place() {
        let seen = std::thread::spawn(|| {
            let raised = serve_first().is_ok();
            let child = std::thread::spawn(|| rustix::process::getpriority_process(None).unwrap());
            (raised, child.join().unwrap())
        });
        let (raised, nice) = seen.join().unwrap();
        assert!(!rustix::process::geteuid().is_root() || raised);
        assert_eq!(nice == NICE, raised);
    }
}
