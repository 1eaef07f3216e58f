//! One process per terminal, between the desk and the shell: it ends when the shell does, or when the desk lets go of it,
//! and nothing that ran in the terminal outlives it.
//!
//! A run of this program of its own, so that it can wait and kill without minding the desk's other children.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, set_child_subreaper};

use crate::terminal::{child, strays};

/// The argument that asks for it, followed by the terminal's device and the shell.
pub(crate) const FLAG: &str = "--terminal-keeper";
/// How long a hung-up shell may take to end by itself.
const GRACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// Does nothing unless this run is a keeper.
pub(crate) fn main_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != FLAG {
        return None;
    }
    let device = args.next().unwrap_or_default();
    let shell = args.next().unwrap_or_else(|| OsString::from("/bin/sh"));
    Some(match keep(&device, &shell) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cannot start a terminal: {error}");
            ExitCode::from(127)
        }
    })
}

fn keep(device: &OsStr, shell: &OsStr) -> io::Result<ExitCode> {
    set_child_subreaper(Some(getpid()))?;
    let noctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or(0);
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(noctty).open(device)?;
    let mut main = Command::new("/proc/self/exe")
        .arg(child::FLAG)
        .arg(shell)
        .stdin(Stdio::from(terminal.try_clone()?))
        .stdout(Stdio::from(terminal.try_clone()?))
        .stderr(Stdio::from(terminal))
        .spawn()?;
    let session = Pid::from_child(&main);
    let ended = pidfd_open(session, PidfdFlags::empty())?;
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&ended, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
    // The desk writes nothing: the pipe's end is what is waited for.
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
    if fds[0].revents().is_empty() {
        // As a closing window does.
        let _ = kill_process_group(session, Signal::HUP);
        let _ = kill_process_group(session, Signal::CONT);
        let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&GRACE));
    }
    let status = main.try_wait()?;
    strays::end(&|_| false, PATIENCE);
    let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
