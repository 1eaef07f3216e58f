//! Project quotas of homes: whether the file system has them, and which home is held by one. A home's project has the number of its user's uid.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use gateway_spawnd::{Mode, Together};
use rustix::fs::{Dir, FileType, Mode as Bits, OFlags, XattrFlags, fgetxattr, fsetxattr, fstat, openat};
use rustix::io::Errno;

use crate::sys::quota;

/// On a home that is wholly in its project; only root can set and see such a name.
const WHOLE: &str = "trusted.carrel.project";

/// Whether homes can be held by quotas, or why not.
pub(crate) fn detect(mode: Mode, homes: impl AsFd) -> Result<(), String> {
    if mode != Mode::Root {
        return Err("only root may set project quotas".into());
    }
    match quota::enforced(homes.as_fd()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("no project quota: {} is mounted without prjquota", place(homes))),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(format!("no project quota: {} keeps none, or is mounted without prjquota", place(homes)))
        }
        Err(error) => Err(format!("no project quota: {}: {error}", place(homes))),
    }
}

/// The same for the folder that will hold the homes.
pub(crate) fn detect_at(mode: Mode, state: &Path) -> Result<(), String> {
    let there = nearest(state);
    let folder = fs::File::open(&there).map_err(|error| format!("{}: {error}", there.display()))?;
    detect(mode, folder)
}

/// The folder of the homes, or the next one above that is there.
pub(crate) fn nearest(state: &Path) -> PathBuf {
    let homes = state.join("homes");
    homes.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Kind and place of a file system, for people.
fn place(homes: impl AsFd) -> String {
    let device = fstat(homes).map(|stat| stat.st_dev).unwrap_or_default();
    let id = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    named(&mounts, &id).unwrap_or_else(|| "the file system of the homes".into())
}

fn named(mounts: &str, device: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        (left.get(2)? == &device)
            .then(|| Some(format!("{} at {}", right.split(' ').next()?, left.get(4)?)))?
    })
}

/// Whether all of a home is in its project.
pub(crate) fn whole(home: &OwnedFd, id: u32) -> bool {
    let mut text = [0u8; 16];
    let marked = fgetxattr(home, WHOLE, &mut text[..]).ok();
    let marked =
        marked.and_then(|length| text.get(..length)).is_some_and(|text| text == id.to_string().as_bytes());
    marked && quota::project_of(home.as_fd()).is_ok_and(|found| found == (id, true))
}

/// Makes a new, empty home its project's.
pub(crate) fn found(home: &OwnedFd, id: u32) -> io::Result<()> {
    quota::set_project(home.as_fd(), id, true)?;
    mark(home, id)
}

fn mark(home: &OwnedFd, id: u32) -> io::Result<()> {
    Ok(fsetxattr(home, WHOLE, id.to_string().as_bytes(), XattrFlags::empty())?)
}

/// Sets the bounds of a home.
pub(crate) fn bound(home: &OwnedFd, id: u32, together: &Together) -> io::Result<()> {
    // No bound is 0 here; a bound of less than one block or file is the least that is one.
    let figure = |bound: Option<u64>| bound.map_or(0, |bound| bound.max(1));
    quota::bound(home.as_fd(), id, figure(together.disk_bytes), figure(together.disk_files))
}

/// Takes all that is in a home into its project: first a folder, so that what is made in it meanwhile belongs already, then what is in it. By
/// descriptor, so that no link and no rename leads elsewhere. Links, pipes and sockets can be of no project; they take no blocks.
pub(crate) fn take_in(home: &OwnedFd, id: u32) -> io::Result<()> {
    let disk = fstat(home)?.st_dev;
    let mut path = vec![opened(home, c".", OFlags::DIRECTORY)?];
    let mut levels = vec![enter(path.last(), id, disk)?];
    while let Some(names) = levels.last_mut() {
        let Some((name, kind)) = names.pop() else {
            levels.pop();
            path.pop();
            continue;
        };
        let Some(folder) = path.last() else { break };
        let flags = if kind == FileType::Directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        let file = match opened(folder, &name, flags) {
            Ok(file) => file,
            // It has gone, or is something else by now.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => continue,
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            _ if stat.st_dev != disk => {}
            FileType::RegularFile => quota::set_project(file.as_fd(), id, false)?,
            FileType::Directory => {
                path.push(file);
                levels.push(enter(path.last(), id, disk)?);
            }
            _ => {}
        }
    }
    mark(home, id)
}

fn opened(folder: &OwnedFd, name: &std::ffi::CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags, Bits::empty())
}

/// Marks a folder; gives what is in it and can be marked.
fn enter(folder: Option<&OwnedFd>, id: u32, disk: u64) -> io::Result<Vec<(std::ffi::CString, FileType)>> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    if fstat(folder)?.st_dev != disk {
        return Ok(Vec::new());
    }
    quota::set_project(folder.as_fd(), id, true)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let kind = entry.file_type();
        let own = matches!(entry.file_name().to_bytes(), b"." | b"..");
        if !own && matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Unknown) {
            names.push((entry.file_name().to_owned(), kind));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_named_by_kind_and_place() {
        let mounts =
            "25 1 254:0 / / rw,relatime - ext4 /dev/root rw\n30 25 0:26 / /run rw - tmpfs tmpfs rw\n";
        assert_eq!(named(mounts, "254:0").as_deref(), Some("ext4 at /"));
        assert_eq!(named(mounts, "0:26").as_deref(), Some("tmpfs at /run"));
        assert_eq!(named(mounts, "9:9"), None);
    }

    #[test]
    fn whoever_is_not_root_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let open = || fs::File::open(folder.path()).unwrap();
        for mode in [Mode::Userns, Mode::Degraded] {
            assert!(detect(mode, open()).unwrap_err().contains("only root"));
        }
        // Whatever this host gives, a state folder that is not there yet has the file system of the one above.
        assert_eq!(detect_at(Mode::Root, &folder.path().join("a/b")), detect(Mode::Root, open()));
    }
}
