//! Ending what a terminal leaves behind: every process below this one, however it hid from its session.
//!
//! Orphans come to the nearest subreaper. Each terminal has one of its own ([`super::keeper`]); should a user's program
//! kill that, they come to the desk, which is one too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

/// Between two looks: a killed process needs a moment.
const STEP: Duration = Duration::from_millis(2);

/// A process, as `/proc` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    parent: i32,
    /// Ended, but not yet reaped.
    zombie: bool,
}

/// Ends every process below this one, but those for which `kept` says so and what is below them. Returns whether none is left in time.
pub(crate) fn end(kept: &dyn Fn(i32) -> bool, patience: Duration) -> bool {
    let me = getpid().as_raw_nonzero().get();
    let deadline = Instant::now() + patience;
    loop {
        let left = hold_still(me, kept);
        if left.is_empty() {
            return true;
        }
        for (pid, seen) in &left {
            if !seen.zombie {
                signal(*pid, Signal::KILL);
            }
            if seen.parent == me
                && let Some(pid) = Pid::from_raw(*pid)
            {
                // One that has not ended yet is looked at again.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// Stops them one by one until a look finds none that was not stopped: so none forks its way out while others are killed.
fn hold_still(me: i32, kept: &dyn Fn(i32) -> bool) -> BTreeMap<i32, Seen> {
    let mut stopped = BTreeSet::new();
    loop {
        let all = below(me, &processes(), kept);
        let running: Vec<i32> = all
            .iter()
            .filter(|(pid, seen)| !seen.zombie && !stopped.contains(*pid))
            .map(|(pid, _)| *pid)
            .collect();
        if running.is_empty() {
            return all;
        }
        for pid in running {
            signal(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // One that has just ended is no matter.
        let _ = kill_process(pid, signal);
    }
}

/// All that descend from a process.
fn below(root: i32, all: &BTreeMap<i32, Seen>, kept: &dyn Fn(i32) -> bool) -> BTreeMap<i32, Seen> {
    let mut found: BTreeMap<i32, Seen> = BTreeMap::new();
    loop {
        let more: Vec<_> = all
            .iter()
            .filter(|(pid, seen)| {
                let child = seen.parent == root || found.contains_key(&seen.parent);
                child && !found.contains_key(*pid) && !kept(**pid)
            })
            .map(|(pid, seen)| (*pid, *seen))
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn processes() -> BTreeMap<i32, Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse(&stat)?))
    })
    .collect()
}

/// `/proc/<pid>/stat`. Its second field, the name, may hold anything, so the rest is read from the end of it: state, parent.
fn parse(stat: &str) -> Option<Seen> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?;
    Some(Seen { zombie: matches!(state, "Z" | "X"), parent: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_but_not_those_of_the_kept() {
        let seen = |parent| Seen { parent, zombie: false };
        let all: BTreeMap<i32, Seen> =
            [(2, seen(1)), (3, seen(2)), (4, seen(3)), (5, seen(1)), (6, seen(5)), (7, seen(99))].into();
        let pids = |kept: &dyn Fn(i32) -> bool| below(1, &all, kept).into_keys().collect::<Vec<_>>();
        assert_eq!(pids(&|_| false), [2, 3, 4, 5, 6]);
        assert_eq!(pids(&|pid| pid == 2), [5, 6]);
        assert_eq!(parse("7 (a) Z) (b) Z 3 7 7"), Some(Seen { parent: 3, zombie: true }));
        assert_eq!(parse("7 (x"), None);
    }
}
