//! One gateway per state: a locked file that says who holds it.

use super::{Fatal, folders::cannot, privileges};
use crate::config::Config;
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// The lock, held until the program ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Who holds the lock of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The gateway's process.
    pub pid: i32,
    /// Its address; empty while it starts.
    pub url: String,
}

/// Takes the lock, or says who has it.
pub fn take(config: &Config) -> Result<Lock, Fatal> {
    let path = config.private().join("lock");
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(&path);
    let file = open.map_err(|e| cannot("open", &path, &e))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let who = holder(config);
        let who = who.map_or_else(
            || "another process".to_owned(),
            |h| format!("process {} serves it on {}", h.pid, h.url),
        );
        return Err(Fatal::unavailable(format!(
            "a gateway for {} is running already: {who}. Stop it with `carrel stop`, or choose another --state.",
            config.state.display()
        )));
    }
    let lock = Lock { file, path };
    lock.write("")?;
    Ok(lock)
}

/// Who runs the gateway of this state, if anybody does.
pub fn holder(config: &Config) -> Option<Holder> {
    let path = config.private().join("lock");
    let file = File::open(&path).ok()?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
    let pid = json.get("pid")?.as_i64().and_then(|p| i32::try_from(p).ok()).filter(|p| *p > 1)?;
    // the file belongs to the gateway's user, who must not make root signal somebody else's process
    let owner = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let keeper = file.metadata().ok()?.uid();
    let ours = owner == keeper || (privileges::is_root() && owner == 0 && keeper == 0);
    ours.then(|| Holder { pid, url: json.get("url").and_then(|u| u.as_str()).unwrap_or("").to_owned() })
}

impl Lock {
    /// Notes the address, for whoever tries next.
    pub fn announce(&self, url: &str) -> Result<(), Fatal> {
        self.write(url)
    }

    fn write(&self, url: &str) -> Result<(), Fatal> {
        let text = json!({"pid": std::process::id(), "url": url}).to_string();
        let mut file = &self.file;
        let write = || -> std::io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        };
        let mut write = write;
        write().map_err(|e| cannot("write", &self.path, &e))
    }
}
