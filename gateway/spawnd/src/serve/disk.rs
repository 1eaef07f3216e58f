//! The size of homes, where no quota of the file system holds it: counted now and then by a process of its own, and who goes far beyond is ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gateway_spawnd::protocol::{ErrorCode, HomeUse};
use gateway_spawnd::{LayerState, Profile, Reason, Refusal, Together, UserName};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::process::{WaitId, WaitIdOptions, setpriority_process, waitid};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Server;
use super::homes::{Count, Held};
use super::jails::Jail;
use crate::host::quota;
use crate::host::usage::{self, Usage};
use crate::log;
use crate::sys::{self, Forked};

/// Between two counts, and once a home has half of what it may have; longer where a count takes long, so that it takes a tenth of a
/// processor at most.
const PAUSE: Duration = Duration::from_secs(2);
const CLOSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(120);
const SHARE: u32 = 10;
/// So much beyond its bound, as a part of it, a home may be before what runs in it is ended. (Between two counts nothing holds it back.)
const SLACK: u64 = 8;

/// Counts in a row that find a home far beyond its bound and larger than before, until its desk is ended too. A desk that was told saves nothing
/// more: growth after that is not its own, but what a terminal of it does.
const GROWTHS: u32 = 2;

/// The count that runs, and the pace of counts.
#[derive(Default)]
pub(crate) struct Watch {
    /// Homes beyond their bounds, whether anything of theirs runs or not: they are counted until they are not.
    beyond: BTreeMap<UserName, Beyond>,
    counting: Option<Counting>,
    next: Option<Instant>,
    /// Somebody waits for the next one.
    wanted: bool,
}

impl Watch {
    /// The next count begins at once.
    pub(crate) fn hurry(&mut self) {
        (self.next, self.wanted) = (None, true);
    }
}

/// A home beyond its bounds.
struct Beyond {
    usage: Usage,
    together: Together,
    /// So often in a row it was far beyond, and had grown.
    growths: u32,
}

struct Counting {
    answer: File,
    pidfd: OwnedFd,
    begun: Instant,
    begun_ns: u64,
}

/// One line of the answer.
#[derive(Serialize, Deserialize)]
struct Counted {
    user: UserName,
    usage: Usage,
    /// The project that it was to be taken into, and why that failed.
    taken: Option<(u32, Option<String>)>,
}

/// How a home stands to its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Within,
    /// New kernels are refused.
    Beyond,
    /// What runs is ended.
    FarBeyond,
}

fn standing(usage: Usage, together: &Together) -> Standing {
    let one = |used: u64, bound: Option<u64>| match bound {
        Some(bound) if used > bound.saturating_add(bound / SLACK) => Standing::FarBeyond,
        Some(bound) if used > bound => Standing::Beyond,
        _ => Standing::Within,
    };
    match (one(usage.bytes, together.disk_bytes), one(usage.files, together.disk_files)) {
        (Standing::FarBeyond, _) | (_, Standing::FarBeyond) => Standing::FarBeyond,
        (Standing::Beyond, _) | (_, Standing::Beyond) => Standing::Beyond,
        _ => Standing::Within,
    }
}

/// How often in a row a home has grown though it was far beyond its bound already.
fn grown(before: &Beyond, usage: Usage, together: &Together) -> u32 {
    let far = standing(before.usage, together) == Standing::FarBeyond;
    let grew = usage.bytes > before.usage.bytes || usage.files > before.usage.files;
    if far && grew { before.growths + 1 } else { 0 }
}

/// Whether it is worth a closer look.
fn close(usage: Usage, together: &Together) -> bool {
    let half = |used: u64, bound: Option<u64>| bound.is_some_and(|bound| used > bound / 2);
    half(usage.bytes, together.disk_bytes) || half(usage.files, together.disk_files)
}

impl Server {
    /// Bounds have changed: who is beyond them is found out anew.
    pub(crate) fn forget_counts(&mut self) {
        self.disk.beyond.clear();
    }

    /// Starts a count if it is time for one.
    pub(crate) fn count_homes(&mut self, now: Instant) {
        if self.disk.counting.is_some() || self.disk.next.is_some_and(|next| next > now) {
            return;
        }
        let bounded = self.users.iter().filter(|(_, user)| matches!(user.disk(), LayerState::Partly(_)));
        let names = bounded.map(|(name, _)| name).chain(self.disk.beyond.keys());
        let names: BTreeSet<UserName> = names.cloned().collect();
        let homes = names.into_iter().map(|name| {
            let project = self.users.get(&name).and_then(|user| match user.held {
                Held::ToBeTaken(project) => Some(project),
                _ => None,
            });
            (name, project)
        });
        let homes: Vec<_> = homes.collect();
        (self.disk.next, self.disk.wanted) = (Some(now + PAUSE), false);
        if homes.is_empty() {
            return;
        }
        match self.begin(&homes) {
            Ok(counting) => self.disk.counting = Some(counting),
            Err(error) => log::warn("disk.count", json!({ "error": error.to_string() })),
        }
    }

    fn begin(&self, homes: &[(UserName, Option<u32>)]) -> std::io::Result<Counting> {
        // A file without a name: unlike a pipe it holds any answer.
        let answer = File::from(memfd_create("homes", MemfdFlags::CLOEXEC)?);
        let begun_ns = monotonic_ns();
        match sys::fork_into(0, None)? {
            Forked::Child => {
                let _ = setpriority_process(None, 19);
                count_all(&self.folders.homes, homes, &answer);
                sys::exit_now(0)
            }
            Forked::Parent(_, pidfd) => Ok(Counting { answer, pidfd, begun: Instant::now(), begun_ns }),
        }
    }

    /// Readable when a count is done.
    pub(crate) fn counting(&self) -> Option<&OwnedFd> {
        self.disk.counting.as_ref().map(|counting| &counting.pidfd)
    }

    /// When to start the next count.
    pub(crate) fn count_due(&self, now: Instant) -> Option<Duration> {
        let somebody = !(self.users.is_empty() && self.disk.beyond.is_empty());
        let wanted = self.disk.counting.is_none() && somebody;
        wanted.then(|| self.disk.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now)))
    }

    /// A count is done.
    pub(crate) fn counted(&mut self, now: Instant) {
        let Some(Counting { mut answer, pidfd, begun, begun_ns }) = self.disk.counting.take() else { return };
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        let mut text = String::new();
        let read = answer.rewind().and_then(|()| answer.read_to_string(&mut text));
        if let Err(error) = read {
            log::warn("disk.count", json!({ "error": error.to_string() }));
        }
        let took = now.saturating_duration_since(begun);
        let mut pause = PAUSE;
        for Counted { user: name, usage, taken } in
            text.lines().filter_map(|line| serde_json::from_str(line).ok())
        {
            if let Some(user) = self.users.get_mut(&name) {
                if close(usage, &user.together) {
                    pause = CLOSE;
                }
                user.count = Some(Count { usage, begun_ns });
            }
            if let Some((project, failed)) = taken {
                self.taken_in(&name, project, failed);
            }
            self.judge(&name, usage);
            self.tell_desks(&name);
        }
        let wait = (took * SHARE).clamp(pause, MAX_PAUSE);
        self.disk.next = (!self.disk.wanted).then_some(now + wait);
    }

    fn judge(&mut self, name: &UserName, usage: Usage) {
        let before = self.disk.beyond.remove(name);
        let running = self.users.get(name).map(|user| user.together.clone());
        let Some(together) = running.or_else(|| before.as_ref().map(|before| before.together.clone())) else {
            return;
        };
        if self.users.get(name).is_some_and(|user| user.disk().is_on()) {
            return;
        }
        let stands = standing(usage, &together);
        // A desk must live for its user to be able to delete something, unless it is what writes.
        let growths = before.map_or(0, |before| grown(&before, usage, &together));
        if stands != Standing::Within {
            self.disk.beyond.insert(name.clone(), Beyond { usage, together, growths });
        }
        if stands != Standing::FarBeyond {
            return;
        }
        for (id, jail) in self.jails.iter_mut().filter(|(_, jail)| jail.user == *name && !jail.ending) {
            if jail.profile != Profile::Desk || growths >= GROWTHS {
                log::warn(
                    "disk.over",
                    json!({ "id": id, "user": name, "bytes": usage.bytes, "files": usage.files }),
                );
                jail.kill(Some(Reason::Disk));
            }
        }
    }

    /// How the home stood that a jail was ended for.
    pub(crate) fn home_use(&self, jail: &Jail) -> Option<HomeUse> {
        let Beyond { usage, together, .. } =
            self.disk.beyond.get(&jail.user).filter(|_| jail.reason == Some(Reason::Disk))?;
        Some(HomeUse {
            bytes: usage.bytes,
            files: usage.files,
            max_bytes: together.disk_bytes,
            max_files: together.disk_files,
        })
    }

    /// Whether a kernel or a server may be started in this home.
    pub(crate) fn admit_home(&self, name: &UserName, profile: Profile) -> Result<(), Refusal> {
        let beyond = self.disk.beyond.get(name).filter(|_| profile != Profile::Desk);
        let Some(Beyond { usage, together, .. }) = beyond else { return Ok(()) };
        let limit =
            |bound: Option<u64>, unit: u64| bound.map_or("any".to_owned(), |b| (b / unit).to_string());
        let message = format!(
            "your home holds {} MiB in {} files and may hold {} MiB in {} files; delete something first, files can still be browsed",
            usage.bytes >> 20,
            usage.files,
            limit(together.disk_bytes, 1 << 20),
            limit(together.disk_files, 1),
        );
        Err(Refusal::new(ErrorCode::Limit, message))
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// In the child: a line for each home, which is taken into its project first where that is wanted.
fn count_all(homes: &OwnedFd, wanted: &[(UserName, Option<u32>)], mut answer: &File) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for (user, project) in wanted {
        let home = openat(homes, user.as_str(), flags, Mode::empty());
        let taken = match (&home, project) {
            (Ok(home), Some(project)) => {
                Some((*project, quota::take_in(home, *project).err().map(|error| error.to_string())))
            }
            _ => None,
        };
        match home.and_then(usage::count) {
            Ok(usage) => {
                let line = json!(Counted { user: user.clone(), usage, taken }).to_string();
                let _ = answer.write_all(format!("{line}\n").as_bytes());
            }
            Err(error) => log::warn("disk.count", json!({ "user": user, "error": error.to_string() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_beyond_its_bound_and_then_far_beyond() {
        let together = Together { disk_bytes: Some(800), disk_files: Some(8), ..Together::default() };
        let of = |bytes, files| standing(Usage { bytes, files }, &together);
        assert_eq!(of(800, 8), Standing::Within);
        assert_eq!(of(801, 8), Standing::Beyond);
        assert_eq!(of(900, 9), Standing::Beyond);
        assert_eq!(of(901, 1), Standing::FarBeyond);
        assert_eq!(of(1, 10), Standing::FarBeyond);
        assert_eq!(standing(Usage { bytes: u64::MAX, files: 1 }, &Together::default()), Standing::Within);
        let before =
            |bytes, growths| Beyond { usage: Usage { bytes, files: 1 }, together: together.clone(), growths };
        let now = |before: Beyond, bytes| grown(&before, Usage { bytes, files: 1 }, &together);
        assert_eq!((now(before(850, 0), 950), now(before(950, 0), 960)), (0, 1));
        assert_eq!((now(before(950, 1), 960), now(before(950, 1), 950)), (2, 0));
        assert!(close(Usage { bytes: 401, files: 1 }, &together));
        assert!(!close(Usage { bytes: 400, files: 4 }, &together));
    }
}
