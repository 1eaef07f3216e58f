//! Who a process is, so that it can be found again: a pid alone may have been given to another one since.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use gateway_spawnd::Exited;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::sys;

/// When a process began, in ticks since the host's start; 0 if that cannot be read.
pub(crate) fn birth(pid: Pid) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parse_birth(&stat)).unwrap_or(0)
}

/// Field 22. The second one, the name, may hold anything, so the rest is read from the end of it.
fn parse_birth(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// How long ago a process with this birth began.
pub(crate) fn age(born: u64) -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::try_from(now).unwrap_or_default();
    let ticks = clock_ticks_per_second().max(1);
    now.saturating_sub(Duration::from_millis(born.saturating_mul(1000) / ticks))
}

/// This start of the host's: what is written down before another one means nothing.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A descriptor of the process that has this pid and began then, if it lives.
pub(crate) fn find(pid: Pid, born: u64) -> Option<OwnedFd> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Looked at after the descriptor was taken: if it still lives then, the number was its own all the while.
    (birth(pid) == born && !ended(&pidfd)).then_some(pidfd)
}

fn ended(pidfd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&now)) != Ok(0)
}

/// What is known of a process whose descriptor has become readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not ended after all.
    NotYet,
    /// It has; how will be known once its parent, who is not us, has reaped it.
    Soon,
    /// It has; an older kernel tells others than the parent nothing about how.
    Known(Exited),
}

/// Whether and how a process ended.
pub(crate) fn end(pidfd: &OwnedFd) -> End {
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        Ok(Some(status)) => End::Known(Exited {
            code: status.exit_status(),
            signal: status.terminating_signal(),
            ..Exited::default()
        }),
        Ok(None) => End::NotYet,
        // Somebody else's child: one that a spawnd before this one had started.
        Err(Errno::CHILD) if !ended(pidfd) => End::NotYet,
        Err(_) => match sys::exit_status(pidfd.as_fd()) {
            Ok(None) => End::Soon,
            Ok(Some(status)) => {
                let signal = Some(status & 0x7f).filter(|signal| *signal != 0);
                let code = signal.is_none().then_some((status >> 8) & 0xff);
                End::Known(Exited { code, signal, ..Exited::default() })
            }
            Err(_) => End::Known(Exited::default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;

    #[test]
    fn the_birth_is_behind_any_name() {
        let stat = "12 (a) b) (c) S 1 12 12 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 1 0 98765 1000 10 18446744073709551615";
        assert_eq!(parse_birth(stat), Some(98_765));
        assert_eq!(parse_birth("12 (x"), None);
        let me = rustix::process::getpid();
        assert!(birth(me) > 0);
        assert!(find(me, birth(me)).is_some());
        assert!(find(me, birth(me) + 1).is_none());
    }

    #[test]
    fn an_end_is_told_once_it_has_come() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read x; exit 7"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let pidfd = find(pid, birth(pid)).unwrap();
        assert_eq!(end(&pidfd), End::NotYet);
        drop(child.stdin.take());
        while !ended(&pidfd) {}
        assert_eq!(end(&pidfd), End::Known(Exited { code: Some(7), ..Exited::default() }));
        assert!(find(pid, birth(pid)).is_none());
        assert!(child.wait().is_err(), "reaped already");
    }

    #[test]
    fn the_end_of_somebody_elses_child_is_known_however_soon_it_is_reaped() {
        for _ in 0..1000 {
            // A grandchild, whose parent waits for it alone.
            let script = "/bin/sh -c 'echo $$; read x; exit 7'; :";
            let mut parent = std::process::Command::new("/bin/sh")
                .args(["-c", script])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            std::io::BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
            let pidfd = find(pid, birth(pid)).unwrap();
            drop(parent.stdin.take());
            let known = loop {
                match end(&pidfd) {
                    End::Known(exited) => break exited,
                    End::NotYet | End::Soon => {}
                }
            };
            parent.wait().unwrap();
            // An older kernel tells nothing, ever.
            if sys::exit_status(pidfd.as_fd()).is_ok() {
                assert_eq!(known, Exited { code: Some(7), ..Exited::default() });
            }
        }
    }
}
