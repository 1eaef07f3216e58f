//! Project quotas: the calls of `quotactl_fd(2)` and of the ioctls that say which project a file belongs to. They have no safe wrapper elsewhere.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

const PROJECT: libc::c_int = 2;
/// Of `<linux/dqblk_xfs.h>`: `XQM_CMD(5)`, which ext4 answers too.
const XGETQSTAT: libc::c_int = (b'X' as libc::c_int) << 8 | 5;
const PROJECT_ENFORCED: u16 = 1 << 5;
/// Block limits and inode limits, of `<linux/quota.h>`.
const BLOCKS: u32 = 1;
const INODES: u32 = 4;
/// In which block limits are counted.
const UNIT: u64 = 1024;
/// Of `<linux/fs.h>`: new files are of the folder's project.
const INHERIT: u32 = 0x200;
const GET_ATTRIBUTES: u64 = 0x801c_581f;
const SET_ATTRIBUTES: u64 = 0x401c_5820;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent: u32,
    extents: u32,
    project: u32,
    cow: u32,
    pad: [u8; 8],
}

/// Whether the file system of `place` counts projects and holds them to their bounds.
pub(crate) fn enforced(place: BorrowedFd<'_>) -> io::Result<bool> {
    // `struct fs_quota_stat` has 80 bytes; its flags are the second field.
    let mut state = [0u16; 256];
    control(place, XGETQSTAT, 0, state.as_mut_ptr().cast())?;
    Ok(state.get(1).is_some_and(|flags| flags & PROJECT_ENFORCED != 0))
}

/// Sets the bounds of a project, at once and for good; no bound is 0.
pub(crate) fn bound(place: BorrowedFd<'_>, id: u32, max_bytes: u64, max_files: u64) -> io::Result<()> {
    let mut wanted = blank();
    wanted.dqb_bhardlimit = max_bytes.div_ceil(UNIT);
    wanted.dqb_ihardlimit = max_files;
    wanted.dqb_valid = BLOCKS | INODES;
    control(place, libc::Q_SETQUOTA, id, (&raw mut wanted).cast())
}

/// The project of an open file or folder, and whether what is made in it belongs to the same.
pub(crate) fn project_of(file: BorrowedFd<'_>) -> io::Result<(u32, bool)> {
    let attributes = attributes(file)?;
    Ok((attributes.project, attributes.flags & INHERIT != 0))
}

/// Makes an open file part of a project; with `inherit`, all that will be made in it too.
pub(crate) fn set_project(file: BorrowedFd<'_>, id: u32, inherit: bool) -> io::Result<()> {
    let mut attributes = attributes(file)?;
    if attributes.project == id && (attributes.flags & INHERIT != 0) == inherit {
        return Ok(());
    }
    attributes.project = id;
    attributes.flags = if inherit { attributes.flags | INHERIT } else { attributes.flags & !INHERIT };
    // SAFETY: the kernel reads the structure that it defines, alive for the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), SET_ATTRIBUTES as _, &raw const attributes) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel fills the structure that it defines, alive for the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), GET_ATTRIBUTES as _, &raw mut attributes) };
    if done == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

fn blank() -> libc::dqblk {
    // SAFETY: dqblk is plain integers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn control(
    place: BorrowedFd<'_>,
    command: libc::c_int,
    id: u32,
    address: *mut libc::c_void,
) -> io::Result<()> {
    const { assert!(size_of::<libc::dqblk>() <= 512 && size_of::<Attributes>() == 28) };
    let command = (command.cast_unsigned() << 8) | PROJECT.cast_unsigned();
    // SAFETY: `address` is a dqblk, or 512 bytes, of which the kernel touches no more than its structures have; it outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, place.as_raw_fd(), command, id, address) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
