//! The hard stop before a home's bound, where no quota of the file system holds it: what is written through this program is added to what
//! spawnd counted last, and a write that would pass the bound is refused before a byte of it lies in the home.
//!
//! spawnd says what the bound is and what it counted in `home.json`, in a folder that this program can only read. A count sees what was
//! written before it began; all that was written since is added to it. Before a refusal a count is awaited that began after it was needed:
//! something may have been deleted. What kernels and terminals write is in the next count, and is watched by spawnd.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::fstatvfs;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;

use crate::error::Error;
use crate::largest;

/// How long a refusal waits for a count that knows of what was deleted.
const FRESH: Duration = Duration::from_secs(3);
/// How long the first write waits for the first count.
const FIRST: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(25);
/// Space on the disk comes in blocks.
const BLOCK: u64 = 4096;
/// Writes that are remembered one by one; older ones are added up.
const MAX_WRITES: usize = 1024;

/// Space and files, wanted or taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// What spawnd says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Told {
    held: Held,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(default)]
    files: Option<u64>,
    #[serde(default)]
    used: Option<Counted>,
}

/// What holds the home.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Held {
    #[default]
    Nothing,
    /// The file system.
    Quota,
    /// We, and spawnd's watch.
    Counted,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Counted {
    bytes: u64,
    files: u64,
    /// Nanoseconds of the monotonic clock.
    begun_ns: u64,
}

/// One home's account.
#[derive(Debug)]
pub(crate) struct Account {
    /// The folder with `home.json`; without one there is no bound.
    told: Option<PathBuf>,
    home: OwnedFd,
    written: Mutex<VecDeque<Written>>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    at_ns: u64,
    size: Size,
}

/// Why a write is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) shown: String,
    pub(crate) used: Size,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_files: Option<u64>,
    /// The largest files, for somebody who wants to make room.
    pub(crate) largest: Vec<(String, u64)>,
}

impl Account {
    pub(crate) fn new(home: OwnedFd, told: Option<PathBuf>) -> Account {
        Account { told, home, written: Mutex::default() }
    }

    /// Takes room for what is about to be written; `spared` is what it takes the place of. Blocks for a count if there is not enough.
    pub(crate) fn take(&self, wanted: Size, spared: Size, shown: &str) -> Result<(), Error> {
        let Some(folder) = &self.told else { return Ok(()) };
        let asked = now_ns();
        let begun = Instant::now();
        loop {
            let told = read(folder)?;
            if told.held != Held::Counted {
                return Ok(());
            }
            let Some(counted) = &told.used else {
                if begun.elapsed() < FIRST {
                    std::thread::sleep(STEP);
                    continue;
                }
                return Err(Error::Busy(format!(
                    "'{shown}' was not saved: your home is still being counted, which takes long when it holds very many files; try again in a moment"
                )));
            };
            let used = {
                let mut written = self.lock();
                let used = used(counted, &mut written);
                if fits(used, wanted, spared, &told) {
                    remember(&mut written, Written { at_ns: now_ns(), size: wanted });
                    return Ok(());
                }
                used
            };
            // A count that began since then would have seen what was deleted.
            if counted.begun_ns > asked || begun.elapsed() > FRESH {
                return Err(Error::HomeFull(Box::new(self.full(shown, used, &told))));
            }
            std::thread::sleep(STEP);
        }
    }

    /// The file system itself refused a write: is that because the home's quota is reached?
    pub(crate) fn explain(&self, errno: Errno, shown: &str) -> Option<Error> {
        if !matches!(errno, Errno::DQUOT | Errno::NOSPC) {
            return None;
        }
        let told = read(self.told.as_deref()?).ok().filter(|told| told.held == Held::Quota)?;
        // With a project quota this tells of the project, not of the disk.
        let place = fstatvfs(&self.home).ok()?;
        let used = Size {
            bytes: place.f_blocks.saturating_sub(place.f_bfree).saturating_mul(place.f_frsize),
            files: place.f_files.saturating_sub(place.f_ffree),
        };
        Some(Error::HomeFull(Box::new(self.full(shown, used, &told))))
    }

    fn full(&self, shown: &str, used: Size, told: &Told) -> Full {
        Full {
            shown: shown.to_owned(),
            used,
            max_bytes: told.bytes,
            max_files: told.files,
            largest: largest::files(&self.home),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file of so many bytes takes on the disk.
pub(crate) fn on_disk(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// What was counted, and what was written since that count began.
fn used(counted: &Counted, written: &mut VecDeque<Written>) -> Size {
    while written.front().is_some_and(|first| first.at_ns < counted.begun_ns) {
        written.pop_front();
    }
    let start = Size { bytes: counted.bytes, files: counted.files };
    written.iter().fold(start, |sum, one| plus(sum, one.size))
}

fn fits(used: Size, wanted: Size, spared: Size, told: &Told) -> bool {
    let one = |used: u64, wanted: u64, spared: u64, bound: Option<u64>| {
        // What takes no more than it gives back is let through even beyond the bound.
        bound.is_none_or(|bound| {
            wanted <= spared || used.saturating_add(wanted).saturating_sub(spared) <= bound
        })
    };
    one(used.bytes, wanted.bytes, spared.bytes, told.bytes)
        && one(used.files, wanted.files, spared.files, told.files)
}

fn remember(written: &mut VecDeque<Written>, new: Written) {
    if written.len() >= MAX_WRITES
        && let (Some(first), Some(second)) = (written.pop_front(), written.front_mut())
    {
        second.size = plus(first.size, second.size);
    }
    written.push_back(new);
}

fn plus(a: Size, b: Size) -> Size {
    Size { bytes: a.bytes.saturating_add(b.bytes), files: a.files.saturating_add(b.files) }
}

fn read(folder: &Path) -> Result<Told, Error> {
    let path = folder.join("home.json");
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(4096).read_to_string(&mut text));
    read.and_then(|_| serde_json::from_str(&text).map_err(std::io::Error::other))
        .map_err(|error| Error::io("read the bound of", "the home", error))
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let parts = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    let (Ok(seconds), Ok(nanos)) = parts else { return 0 };
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Full { shown, used, max_bytes, max_files, largest } = self;
        write!(
            f,
            "your home is full: '{shown}' was not saved, what was there before is unchanged. It holds {}",
            mib(used.bytes)
        )?;
        if let Some(max) = max_bytes {
            write!(f, " of {}", mib(*max))?;
        }
        write!(f, " in {} files", used.files)?;
        if let Some(max) = max_files {
            write!(f, " of {max}")?;
        }
        f.write_str(". Delete something first, in the file browser or in a terminal")?;
        for (number, (name, bytes)) in largest.iter().enumerate() {
            write!(
                f,
                "{} {name} ({})",
                if number == 0 { "; the largest files are" } else { "," },
                mib(*bytes)
            )?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
