//! A pty with a shell on it, and how all that runs there is ended.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use crate::error::Error;
use crate::terminal::child;
use crate::terminal::start::Shell;

/// Size until a tab says its own.
const FIRST_SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// Our end of the pty and the shell at the other.
#[derive(Debug)]
pub(crate) struct Pty {
    pub(crate) master: AsyncFd<OwnedFd>,
    pub(crate) child: Child,
    /// The shell's process id, which is its session's too; known even after it has ended.
    session: Option<Pid>,
}

/// Starts the shell.
pub(crate) fn spawn(shell: &Shell) -> Result<Pty, Error> {
    start(shell).map_err(|e| Error::io("start", shell.program.display().to_string(), e))
}

fn start(shell: &Shell) -> io::Result<Pty> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetwinsize(&master, FIRST_SIZE)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let child = Command::new("/proc/self/exe")
        .arg(child::FLAG)
        .arg(&shell.program)
        // The folder by descriptor: what was checked is where the shell starts.
        .current_dir(format!("/proc/self/fd/{}", shell.folder.as_raw_fd()))
        .env("TERM", "xterm-256color")
        .env("SHELL", &shell.program)
        .env_remove("PWD")
        .env_remove("OLDPWD")
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave))
        .kill_on_drop(true)
        .spawn()?;
    let session = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok(Pty { master: watched(master)?, child, session })
}

#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor open, so `new` is sound; its successor is unsafe"
)]
fn watched(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(master)
}

impl Pty {
    /// Tells the programs on it how large the smallest tab is.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // A pty whose other end is closed has no size; nothing is lost.
        let _ = tcsetwinsize(self.master.get_ref(), size);
    }

    /// Says goodbye as a closing window does.
    pub(crate) fn hang_up(&self) {
        let Some(session) = self.session else { return };
        let foreground = tcgetpgrp(self.master.get_ref()).ok();
        for group in [Some(session), foreground].into_iter().flatten() {
            let _ = kill_process_group(group, Signal::HUP);
            let _ = kill_process_group(group, Signal::CONT);
        }
    }

    /// Kills every process of the session, background jobs too. Was there one left to kill?
    pub(crate) fn kill_session(&self) -> bool {
        let left = self.session.map(members).unwrap_or_default();
        for member in &left {
            let _ = kill_process(*member, Signal::KILL);
        }
        !left.is_empty()
    }
}

/// The processes of a session that have not ended, from `/proc`.
fn members(session: Pid) -> Vec<Pid> {
    let Ok(all) = std::fs::read_dir("/proc") else { return vec![session] };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| session_of(*pid) == Some(session.as_raw_nonzero().get()))
        .filter_map(Pid::from_raw)
        .collect()
}

/// The session in `/proc/<pid>/stat`, none for a process that has ended. Its second field, the name, may hold anything,
/// so the rest is read from the end of it: state, parent, group, session.
fn session_of(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.nth(2)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    // Not our own session: its leader may lie outside our pid namespace, where it has no number.
    #[test]
    fn a_session_and_all_its_processes_are_found_until_they_end() {
        let mut leader = std::process::Command::new("setsid")
            .args(["sh", "-c", "sleep 60 & echo; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        leader.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(leader.id()).unwrap();
        let session = Pid::from_raw(pid).unwrap();

        assert_eq!(session_of(pid), Some(pid));
        let found = members(session);
        assert!(found.contains(&session));
        assert_eq!(found.len(), 2);

        for member in found {
            kill_process(member, Signal::KILL).unwrap();
        }
        leader.wait().unwrap();
        assert_eq!(session_of(pid), None);
    }
}
