//! What this program is between fork and shell: it makes the pty its controlling terminal and becomes the shell.
//!
//! A program of its own run, and not code between fork and exec, so that it needs nothing unsafe.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// The argument that asks for it, followed by the shell.
pub(crate) const FLAG: &str = "--terminal-child";

/// Does nothing unless this run is such a child; comes back only if it is not, or if the shell cannot be run.
pub(crate) fn main_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != FLAG {
        return None;
    }
    let shell = args.next().unwrap_or_else(|| OsString::from("/bin/sh"));
    let error = become_shell(&shell);
    eprintln!("cannot start {}: {error}", shell.to_string_lossy());
    Some(ExitCode::from(127))
}

fn become_shell(shell: &OsString) -> std::io::Error {
    let terminal = rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(std::io::stdin()));
    match terminal {
        Ok(()) => Command::new(shell).arg("-l").exec(),
        Err(e) => e.into(),
    }
}
