//! System calls that have no safe wrapper elsewhere. Nothing above this file and `jail/fork.rs` needs `unsafe`.
#![expect(unsafe_code, reason = "raw system calls; each call says why it is sound")]

pub(crate) mod quota;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// Not an int, as libc has it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one.
    Parent(Pid, OwnedFd),
}

/// `clone3` as a fork, into the given new namespaces and (cgroup v2) group. The process must be single-threaded.
pub(crate) fn fork_into(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers; zero is its documented neutral value.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags = u64::from(namespaces.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of memory and stack. The program has one
    // thread, so no lock is held by a thread that the child lacks. `pidfd` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just stored a fresh descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.map(|pid| Forked::Parent(pid, pidfd))
                .ok_or_else(|| io::Error::other("clone3 returned no pid"))
        }
    }
}

/// `fork`; `None` in the child. The process must be single-threaded.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the program has one thread, so the child may go on like the parent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Ends at once, without running destructors or flushing what belongs to the parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound; it does not return.
    unsafe { libc::_exit(code) }
}

/// Whether mounts that the host makes later below a copy show there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// As the original has it; mounts made here never go back.
    Kept,
    /// They do not.
    Private,
}

/// Sets attributes (`MOUNT_ATTR_*`) of a mount given by descriptor, with everything mounted below it.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: u64,
    propagation: Propagation,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    mount_setattr(mount.as_raw_fd(), c"", flags, attributes, propagation)
}

/// The same for a mount given by path, without what is mounted below it.
pub(crate) fn set_mount_attributes_at(path: &CStr, attributes: u64) -> io::Result<()> {
    mount_setattr(libc::AT_FDCWD, path, 0, attributes, Propagation::Kept)
}

fn mount_setattr(
    fd: RawFd,
    path: &CStr,
    flags: libc::c_int,
    attributes: u64,
    propagation: Propagation,
) -> io::Result<()> {
    let propagation = match propagation {
        Propagation::Kept => 0,
        Propagation::Private => libc::MS_PRIVATE,
    };
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation, userns_fd: 0 };
    // SAFETY: the kernel reads the path and `attr`, both alive, and keeps neither.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: no pointers; a fresh descriptor or -1.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: ifreq is plain data; zero is valid for all of it.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which is alive.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The user namespace that a user namespace was made in.
pub(crate) fn parent_namespace(namespace: &File) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; a fresh descriptor or -1.
    let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) };
    if parent < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(parent) })
}
const NS_GET_PARENT: libc::Ioctl = 0xb702;

/// What `wait` would say of a process that ended, whoever its parent was: once that one has reaped it, from Linux 6.15 on. An error is an
/// older Linux.
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    /// `struct pidfd_info` as it was when it learned of exit codes.
    #[repr(C)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    let ask = || {
        let mut info = Info { mask: PIDFD_INFO_EXIT, cgroup: 0, ids: [0; 11], exit_code: 0 };
        // SAFETY: the request carries the size of `info`, which is alive; the kernel writes at most that much.
        let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
    };
    // The kernel looks for the status first and for the process then: one that is reaped in between has neither, and its status the next time.
    ask().or_else(|error| if error.raw_os_error() == Some(libc::ESRCH) { ask() } else { Err(error) })
}
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xff, 11, 64 bytes)`.
const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b;

/// Empties the capability bounding set.
pub(crate) fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: no pointers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            // The kernel knows no capability of this number, nor any above.
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// Puts the descriptors at 0, 1, 2, … in the given order and closes every other one. Those from `first_cloexec` on
/// close themselves at exec. Every `OwnedFd` of the process is void afterwards: only for a child that never returns.
pub(crate) fn keep_only(fds: &[BorrowedFd<'_>], first_cloexec: usize) -> io::Result<()> {
    let mut high = Vec::with_capacity(fds.len());
    for fd in fds {
        // SAFETY: no pointers; duplicates an open descriptor to a number above all targets.
        let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 64) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        high.push(copy);
    }
    for (number, copy) in high.iter().enumerate() {
        let flags = if number >= first_cloexec { libc::O_CLOEXEC } else { 0 };
        // SAFETY: no pointers. What was at the target number is closed; the caller gives up all its descriptors.
        if unsafe { libc::dup3(*copy, i32::try_from(number).unwrap_or(i32::MAX), flags) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    close_from(fds.len())
}

/// Closes every descriptor from this number on; the same caveat as [`keep_only`].
pub(crate) fn close_from(first: usize) -> io::Result<()> {
    // SAFETY: no pointers; the caller gives up all these descriptors.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first as u64, u64::from(u32::MAX), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor that [`keep_only`] has put at this number.
pub(crate) fn kept(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: called only in a child after keep_only has opened that number, which stays open until exec or exit.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Signals that are waited for instead of handled.
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them from now on.
    pub(crate) fn block(signals: &[libc::c_int]) -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set before anything reads it; sigaddset and sigprocmask use it alive.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            set
        };
        Ok(Self(set))
    }

    /// A descriptor that is readable while one of them is pending.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the set is initialised and alive; a fresh descriptor or -1.
        let fd = unsafe { libc::signalfd(-1, &raw const self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Waits for the next one.
    pub(crate) fn wait(&self) -> libc::c_int {
        let mut signal = 0;
        // SAFETY: the set is initialised; `signal` is alive.
        while unsafe { libc::sigwait(&raw const self.0, &raw mut signal) } != 0 {}
        signal
    }
}

/// Unblocks every signal: a program begins with an empty mask, and exec keeps the one that it finds.
pub(crate) fn unblock_signals() -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set before sigprocmask reads it.
    let done = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Forwards a signal; a process that is gone already is no error.
pub(crate) fn kill(pid: Pid, signal: libc::c_int) {
    // SAFETY: no pointers.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Puts a descriptor at one of the three standard numbers.
pub(crate) fn standard(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: no pointers. Rust never owns 0 to 2, so replacing what is there breaks no `OwnedFd`.
    if (0..=2).contains(&number) && unsafe { libc::dup2(fd.as_raw_fd(), number) } == number {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
