//! The few mount operations that jails are made of.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount, move_mount, open_tree};

use crate::sys;

pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub(crate) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// A detached copy of what is mounted at a path, submounts included, with these attributes added.
pub(crate) fn copy_of(path: &Path, attributes: u64) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    finish(open_tree(CWD, path, flags)?, attributes)
}

/// The same for an open folder, without submounts: a detached view of exactly this folder.
pub(crate) fn copy_of_open(folder: impl AsFd, attributes: u64) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    finish(open_tree(folder, c"", flags)?, attributes)
}

fn finish(tree: OwnedFd, attributes: u64) -> io::Result<OwnedFd> {
    if attributes != 0 {
        sys::set_mount_attributes(tree.as_fd(), attributes)?;
    }
    Ok(tree)
}

/// Attaches a detached mount.
pub(crate) fn attach(tree: impl AsFd, target: &Path) -> io::Result<()> {
    move_mount(tree, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(io::Error::from)
}

/// Shows a path of the host at a path of the view.
pub(crate) fn bind(source: &Path, target: &Path, attributes: u64) -> io::Result<()> {
    attach(copy_of(source, attributes)?, target)
}

/// A fresh tmpfs.
pub(crate) fn tmpfs(target: &Path, options: &CStr, flags: MountFlags) -> io::Result<()> {
    mount(c"tmpfs", target, c"tmpfs", flags | MountFlags::NOSUID | MountFlags::NODEV, options)
        .map_err(io::Error::from)
}

/// Makes a finished mount read-only, the ones below it left as they are.
pub(crate) fn seal(target: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(target.as_os_str().as_bytes())?;
    sys::set_mount_attributes_at(&path, RDONLY)
}
