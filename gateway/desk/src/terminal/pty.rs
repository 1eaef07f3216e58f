//! A pty with a shell on it, and how all that runs there is ended.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStdin, Command};

use crate::error::Error;
use crate::terminal::start::Shell;
use crate::terminal::{keeper, strays};

/// Size until a tab says its own.
const FIRST_SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
/// How long a keeper may take to end all that runs in its terminal.
const PATIENCE: Duration = Duration::from_secs(4);

/// The keepers of all terminals. What else lies right below the desk was left by one that was killed.
pub(crate) type Keepers = Arc<Mutex<BTreeSet<i32>>>;

/// Our end of the pty and the keeper of the shell at the other.
#[derive(Debug)]
pub(crate) struct Pty {
    pub(crate) master: AsyncFd<OwnedFd>,
    /// Ends when the shell has ended and nothing of it is left.
    pub(crate) keeper: Child,
    pid: Option<i32>,
    /// While this is open the terminal lives.
    hold: Option<ChildStdin>,
    keepers: Keepers,
}

/// Starts the shell.
pub(crate) fn spawn(shell: &Shell, keepers: &Keepers) -> Result<Pty, Error> {
    start(shell, keepers).map_err(|e| Error::io("start", shell.program.display().to_string(), e))
}

fn start(shell: &Shell, keepers: &Keepers) -> io::Result<Pty> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let device = ptsname(&master, Vec::new())?;
    tcsetwinsize(&master, FIRST_SIZE)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let mut keeper = Command::new("/proc/self/exe")
        .arg(keeper::FLAG)
        .arg(OsStr::from_bytes(device.as_bytes()))
        .arg(&shell.program)
        // The folder by descriptor: what was checked is where the shell starts.
        .current_dir(format!("/proc/self/fd/{}", shell.folder.as_raw_fd()))
        .env("TERM", "xterm-256color")
        .env("SHELL", &shell.program)
        .env_remove("PWD")
        .env_remove("OLDPWD")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let pid = keeper.id().and_then(|id| i32::try_from(id).ok());
    keepers.lock().unwrap_or_else(PoisonError::into_inner).extend(pid);
    let hold = keeper.stdin.take();
    Ok(Pty { master: watched(master)?, keeper, pid, hold, keepers: Arc::clone(keepers) })
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

    /// Ends the shell and everything that came of it, gently if the shell has not ended by itself.
    pub(crate) async fn end(&mut self) {
        // What runs in the foreground is not always of the shell's own group.
        if self.hold.take().is_some()
            && let Ok(foreground) = tcgetpgrp(self.master.get_ref())
        {
            let _ = kill_process_group(foreground, Signal::HUP);
            let _ = kill_process_group(foreground, Signal::CONT);
        }
        let mut ended = tokio::time::timeout(PATIENCE, self.keeper.wait()).await;
        if ended.is_err() {
            let _ = self.keeper.start_kill();
            ended = Ok(self.keeper.wait().await);
        }
        let done = matches!(&ended, Ok(Ok(status)) if status.code().is_some());
        if !done {
            // A user's program has killed it: then the orphans are ours.
            let keepers = Arc::clone(&self.keepers);
            let kept = move |pid: i32| keepers.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid);
            let _ = tokio::task::spawn_blocking(move || strays::end(&kept, PATIENCE)).await;
        }
        if let Some(pid) = self.pid.take() {
            self.keepers.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        }
    }
}
