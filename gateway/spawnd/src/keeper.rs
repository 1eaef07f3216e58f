//! Starts spawnd again when it dies, and holds what it would lose: descriptors that gateways left, sockets of sleeping engines.
//!
//! A small process of its own above the one that serves. Jails do not depend on it: it only makes the time without a
//! spawnd short, and that time lossless. Both ends of its channel speak [`Word`]s, one a packet.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gateway_spawnd::packet::{self, Received};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, WaitStatus, set_child_subreaper, setsid, wait};
use rustix::time::Timespec;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::log;
use crate::sys::{self, Signals};

/// The most descriptors that are held.
const MAX_HELD: usize = 8192;
/// Between two starts: doubled each time up to the second, from the first on again once one has lived for long.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(30);

/// What the two say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    /// Hold the descriptor that comes with this; or, from the keeper: here it is again.
    Hold {
        /// What it is found by.
        tag: String,
        /// What the next one must know about it.
        note: String,
    },
    /// Let go of it.
    Drop {
        /// What it is found by.
        tag: String,
    },
    /// From the keeper: that was all.
    Ready,
}

/// A descriptor, and what is to be known of it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) note: String,
    pub(crate) fd: OwnedFd,
}

/// The serving process's end of the channel.
#[derive(Debug, Default)]
pub(crate) struct Keeper(Option<OwnedFd>);

impl Keeper {
    /// Nobody keeps anything: spawnd was started in the foreground, by something that starts it again itself.
    pub(crate) fn absent() -> Self {
        Self(None)
    }

    /// What the process before this one had left.
    pub(crate) fn held(&self) -> BTreeMap<String, Held> {
        let mut held = BTreeMap::new();
        let Some(channel) = &self.0 else { return held };
        while let Ok(Received::Packet(bytes, mut fds)) = packet::receive(channel) {
            match (serde_json::from_slice(&bytes), fds.pop()) {
                (Ok(Word::Hold { tag, note }), Some(fd)) => {
                    held.insert(tag, Held { note, fd });
                }
                _ => break,
            }
        }
        held
    }

    /// Leaves a descriptor; an older one of the same tag is replaced.
    pub(crate) fn hold(&self, tag: &str, note: &str, fd: impl AsFd) {
        self.say(&Word::Hold { tag: tag.to_owned(), note: note.to_owned() }, &[fd.as_fd()]);
    }

    /// Takes it back.
    pub(crate) fn forget(&self, tag: &str) {
        self.say(&Word::Drop { tag: tag.to_owned() }, &[]);
    }

    fn say(&self, word: &Word, fds: &[BorrowedFd<'_>]) {
        let Some(channel) = &self.0 else { return };
        // A keeper that is gone is no reason to stop serving.
        let _ = serde_json::to_vec(word).map(|bytes| packet::send(channel, &bytes, fds, false));
    }
}

/// Which process this is after [`keep`].
pub(crate) enum Kept {
    /// The one that serves.
    Serving(Keeper),
    /// The keeper, at its end.
    Over(ExitCode),
}

/// Forks the process that serves, and again whenever it died.
pub(crate) fn keep(silence: &dyn Fn() -> io::Result<()>) -> io::Result<Kept> {
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let signals = Signals::block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD])?;
    let signalled = signals.descriptor()?;
    let mut held = BTreeMap::new();
    let mut pause = PAUSE;
    loop {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let begun = Instant::now();
        let Some(child) = sys::fork()? else {
            sys::unblock_signals()?;
            drop((ours, signalled, held));
            setsid()?;
            return Ok(Kept::Serving(Keeper(Some(theirs))));
        };
        drop(theirs);
        // Only the serving one answers whoever started us.
        silence()?;
        let _ = rustix::thread::set_name(c"spawnd-keeper");
        hand_over(&ours, &held);
        let status = watch(child, &ours, &signalled, &mut held)?;
        if let Some(code) = status.exit_status().filter(|code| !matches!(code, 70 | 101)) {
            // It ended in order, or will not start.
            return Ok(Kept::Over(ExitCode::from(u8::try_from(code).unwrap_or(70))));
        }
        pause = if begun.elapsed() > LONG { PAUSE } else { (pause * 2).min(MAX_PAUSE) };
        log::event(
            "ERROR",
            "died",
            json!({ "pid": child.as_raw_nonzero().get(), "signal": status.terminating_signal(), "code": status.exit_status(), "again_ms": pause.as_millis() }),
        );
        std::thread::sleep(pause);
    }
}

fn hand_over(channel: &OwnedFd, held: &BTreeMap<String, Held>) {
    let words = held
        .iter()
        .map(|(tag, held)| (Word::Hold { tag: tag.clone(), note: held.note.clone() }, vec![held.fd.as_fd()]));
    for (word, fds) in words.chain([(Word::Ready, vec![])]) {
        // If it is gone already its end says so.
        let _ = serde_json::to_vec(&word).map(|bytes| packet::send(channel, &bytes, &fds, false));
    }
}

/// Until the serving process has ended. Orphans of earlier ones are reaped on the way.
fn watch(
    child: Pid,
    channel: &OwnedFd,
    signalled: &OwnedFd,
    held: &mut BTreeMap<String, Held>,
) -> io::Result<WaitStatus> {
    let mut talking = true;
    loop {
        let mut fds = vec![PollFd::new(signalled, PollFlags::IN)];
        if talking {
            fds.push(PollFd::new(channel, PollFlags::IN));
        }
        match poll(&mut fds, None::<&Timespec>) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let spoke = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if spoke {
            match packet::receive(channel) {
                Ok(Received::Packet(bytes, fds)) => heard(&bytes, fds, held),
                Ok(Received::TooLarge) => {}
                Ok(Received::Closed) | Err(_) => talking = false,
            }
            continue;
        }
        let mut record = [0u8; 128];
        while let Ok(length) = rustix::io::read(signalled, &mut record) {
            // `signalfd_siginfo` begins with the number.
            let signal = record.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
            if length > 0 && signal != libc::SIGCHLD {
                sys::kill(child, libc::SIGTERM);
            }
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == child {
                return Ok(status);
            }
        }
    }
}

fn heard(bytes: &[u8], mut fds: Vec<OwnedFd>, held: &mut BTreeMap<String, Held>) {
    match (serde_json::from_slice(bytes), fds.pop()) {
        (Ok(Word::Hold { tag, note }), Some(fd)) if held.len() < MAX_HELD || held.contains_key(&tag) => {
            held.insert(tag, Held { note, fd });
        }
        (Ok(Word::Drop { tag }), None) => {
            held.remove(&tag);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (OwnedFd, Keeper) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        (ours, Keeper(Some(theirs)))
    }

    /// Lets the keeper's side take what was said.
    fn take(channel: &OwnedFd, held: &mut BTreeMap<String, Held>, words: usize) {
        for _ in 0..words {
            let Received::Packet(bytes, fds) = packet::receive(channel).unwrap() else { panic!("no word") };
            heard(&bytes, fds, held);
        }
    }

    #[test]
    fn what_is_left_is_given_to_the_next_one() {
        let null = || std::fs::File::open("/dev/null").unwrap();
        let mut held = BTreeMap::new();
        let (channel, first) = pair();
        for tag in ["fd/ws/1", "fd/ws/2", "engine/k-1", "fd/ws/1"] {
            first.hold(tag, "note", null());
        }
        first.forget("fd/ws/2");
        first.forget("never");
        take(&channel, &mut held, 6);
        assert_eq!(held.keys().collect::<Vec<_>>(), ["engine/k-1", "fd/ws/1"]);
        let (channel, second) = pair();
        hand_over(&channel, &held);
        assert_eq!(second.held().into_keys().collect::<Vec<_>>(), ["engine/k-1", "fd/ws/1"]);
        // And goes on as before.
        second.forget("engine/k-1");
        take(&channel, &mut held, 1);
        assert_eq!(held.len(), 1);
        drop(channel);
        second.hold("x", "", null());
        assert!(Keeper::absent().held().is_empty());
    }
}
