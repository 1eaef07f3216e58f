//! The few mount operations that jails are made of.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount, mount_bind, move_mount, open_tree,
};

use crate::sys::{self, Propagation};

pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub(crate) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// A detached copy of what is mounted at a path, submounts included, with these attributes added.
pub(crate) fn copy_of(path: &Path, attributes: u64, propagation: Propagation) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    finish(open_tree(CWD, path, flags)?, attributes, propagation)
}

/// The same for an open folder, without submounts: a detached view of exactly this folder.
pub(crate) fn copy_of_open(folder: impl AsFd, attributes: u64) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    finish(open_tree(folder, c"", flags)?, attributes, Propagation::Kept)
}

fn finish(tree: OwnedFd, attributes: u64, propagation: Propagation) -> io::Result<OwnedFd> {
    sys::set_mount_attributes(tree.as_fd(), attributes, propagation)?;
    Ok(tree)
}

/// Attaches a detached mount.
pub(crate) fn attach(tree: impl AsFd, target: &Path) -> io::Result<()> {
    move_mount(tree, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(io::Error::from)
}

/// Shows a path at another one.
pub(crate) fn bind(
    source: &Path,
    target: &Path,
    attributes: u64,
    propagation: Propagation,
) -> io::Result<()> {
    attach(copy_of(source, attributes, propagation)?, target)
}

/// Covers a file or a folder with another one as it is mounted now. (One call: there are a dozen for each jail.)
pub(crate) fn cover(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind(source, target).map_err(io::Error::from)
}

/// A fresh tmpfs.
pub(crate) fn tmpfs(target: &Path, options: &CStr, flags: MountFlags) -> io::Result<()> {
    mount(c"tmpfs", target, c"tmpfs", flags | MountFlags::NOSUID | MountFlags::NODEV, options)
        .map_err(io::Error::from)
}

/// A `/proc` of this process's pid namespace, not mounted yet: own processes only, read-only.
pub(crate) fn own_proc() -> io::Result<OwnedFd> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, c"hidepid", c"2")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Makes a finished mount read-only, the ones below it left as they are.
pub(crate) fn seal(target: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(target.as_os_str().as_bytes())?;
    sys::set_mount_attributes_at(&path, RDONLY)
}
