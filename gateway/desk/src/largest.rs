//! The largest files of a home, for somebody who must make room. A short look: a home may hold millions.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat2, statat};

use crate::home::kind;

/// So many are named.
const NAMED: usize = 3;
/// The look ends after so much time or so many files.
const PATIENCE: Duration = Duration::from_millis(300);
const MAX_ENTRIES: usize = 50_000;
/// Smaller ones are not worth naming.
const LEAST: u64 = 64 << 10;

/// Path and size on the disk of the largest, largest first.
pub(crate) fn files(home: &OwnedFd) -> Vec<(String, u64)> {
    let end = Instant::now() + PATIENCE;
    let (mut largest, mut seen) = (Vec::<(String, u64)>::new(), 0);
    let mut todo = vec![PathBuf::from(".")];
    while let Some(folder) = todo.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let Ok(opened) = openat2(home, &folder, flags, Mode::empty(), resolve) else { continue };
        let Ok(entries) = Dir::read_from(&opened) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MAX_ENTRIES || Instant::now() > end {
                return largest;
            }
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(opened.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let path = folder.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            match kind(&stat) {
                FileType::Directory => todo.push(path),
                FileType::RegularFile => {
                    let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
                    insert(&mut largest, &path, bytes);
                }
                _ => {}
            }
        }
    }
    largest
}

fn insert(largest: &mut Vec<(String, u64)>, path: &Path, bytes: u64) {
    if bytes < LEAST || (largest.len() == NAMED && largest.last().is_some_and(|(_, least)| bytes <= *least)) {
        return;
    }
    let shown = path.strip_prefix(".").unwrap_or(path).to_string_lossy().into_owned();
    let at = largest.partition_point(|(_, other)| *other >= bytes);
    largest.insert(at, (shown, bytes));
    largest.truncate(NAMED);
}
