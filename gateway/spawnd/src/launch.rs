//! Starts `carrel-spawnd`, detached, and waits until it answers.
//!
//! Call it while still privileged and before any thread exists. spawnd takes its settings from descriptor 0, leaves the
//! caller's session and process group, and outlives the caller.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::protocol::{Hello, Refusal, Reply};
use crate::settings::Settings;

/// Why spawnd does not run.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The program cannot be run.
    #[error("starting {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The log file cannot be opened.
    #[error("opening spawnd's log {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings cannot be written.
    #[error("writing spawnd's settings")]
    Settings(#[source] serde_json::Error),
    /// It refused to start, and why.
    #[error("spawnd does not start")]
    Refused(#[source] Refusal),
    /// It ended without a word; see its log.
    #[error("spawnd ended before it answered: {0:?}")]
    Silent(String),
}

/// Starts `program` with these settings and waits until it serves. Its log goes to `log` (appended, mode 0640), else to
/// this process's standard error.
///
/// A spawnd that already serves the same runtime folder is refused by the new one: try [`crate::Client::connect`] first.
pub fn launch(program: &Path, settings: &Settings, log: Option<&Path>) -> Result<Hello, LaunchError> {
    let settings = serde_json::to_vec(settings).map_err(LaunchError::Settings)?;
    let run = |source| LaunchError::Run { program: program.to_owned(), source };
    let stderr = match log {
        Some(path) => Stdio::from(open_log(path)?),
        None => Stdio::inherit(),
    };
    let mut child = Command::new(program)
        .arg("serve")
        .arg("--detach")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it ended early the answer says why; a broken pipe would hide that.
        let _ = stdin.write_all(&settings);
    }
    let mut answer = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(64 * 1024).read_to_string(&mut answer).map_err(run)?;
    }
    // The process that was started is only the herald; the server is its detached child.
    child.wait().map_err(run)?;
    match serde_json::from_str::<Reply<Hello>>(&answer) {
        Ok(Reply::Ok(hello)) => Ok(hello),
        Ok(Reply::Err(refusal)) => Err(LaunchError::Refused(refusal)),
        Err(_) => Err(LaunchError::Silent(answer)),
    }
}

fn open_log(path: &Path) -> Result<File, LaunchError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|source| LaunchError::Log { path: path.to_owned(), source })
}
