//! How much a home holds: all that lies in it is counted, by descriptor, so that no link and no rename leads the count elsewhere.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What a home holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Disk space that is taken.
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) files: u64,
}

/// A folder that is being counted, and those in it that are still to be.
struct Level {
    folder: OwnedFd,
    below: Vec<CString>,
}

/// Counts a folder and all below it. What goes away meanwhile is not counted; other file systems mounted in it are not either.
pub(crate) fn count(home: OwnedFd) -> Result<Usage, Errno> {
    let mut usage = Usage::default();
    let mut linked = BTreeSet::new();
    let disk = fstat(&home)?.st_dev;
    let below = look(&home, disk, &mut usage, &mut linked)?;
    let mut path = vec![Level { folder: home, below }];
    while let Some(level) = path.last_mut() {
        let Some(name) = level.below.pop() else {
            path.pop();
            continue;
        };
        match openat(&level.folder, &name, FOLDER, Mode::empty()) {
            Ok(folder) => {
                let below = look(&folder, disk, &mut usage, &mut linked)?;
                path.push(Level { folder, below });
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(usage)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Counts what is in a folder; gives the folders in it.
fn look(
    folder: impl AsFd,
    disk: u64,
    usage: &mut Usage,
    linked: &mut BTreeSet<u64>,
) -> Result<Vec<CString>, Errno> {
    let mut below = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if stat.st_dev != disk || !first_of(&stat, linked) {
            continue;
        }
        usage.files += 1;
        usage.bytes = usage.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0) * 512);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            below.push(name.to_owned());
        }
    }
    Ok(below)
}

/// A file of several names is counted once.
fn first_of(stat: &Stat, linked: &mut BTreeSet<u64>) -> bool {
    let folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    folder || stat.st_nlink < 2 || linked.insert(stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn everything_is_counted_once_and_links_lead_nowhere() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("big"), vec![1; 1 << 20]).unwrap();
        let deep = home.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f"), vec![1; 256 << 10]).unwrap();
        fs::hard_link(deep.join("f"), home.path().join("again")).unwrap();
        std::os::unix::fs::symlink(other.path(), home.path().join("out")).unwrap();
        File::create(home.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
        let usage = count(File::open(home.path()).unwrap().into()).unwrap();
        // Three folders, one file of two names, a link, a sparse file.
        assert_eq!(usage.files, 6);
        assert!((256 << 10..512 << 10).contains(&usage.bytes), "{usage:?}");
    }
}
