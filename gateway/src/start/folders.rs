//! The state's folders and small files, with the owners and modes that the trust between the processes needs.
//!
//! The state folder itself stays with whoever starts the gateway (root), so that a gateway that was taken over cannot exchange the homes or
//! spawnd's table of uids. Only `gateway/` belongs to the gateway.

use super::{Fatal, privileges};
use crate::config::Config;
use crate::cookies::Keys;
use crate::settings::{self, Identity};
use carrel_spawnd::Settings;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown};
use std::path::Path;

/// Makes what is missing and sets owners and modes.
pub fn make(config: &Config, runtime: &Path, me: Identity) -> Result<(), Fatal> {
    folder(&config.state, 0o755)?;
    folder(&config.state.join("datasets"), 0o755)?;
    let private = config.private();
    folder(&private, 0o700)?;
    folder(runtime, 0o755)?;
    if privileges::is_root() {
        chown(&private, Some(me.uid), Some(me.gid)).map_err(|e| cannot("give away", &private, &e))?;
        let files = fs::read_dir(&private).map_err(|e| cannot("read", &private, &e))?;
        for file in files.filter_map(Result::ok) {
            // links are not followed: the folder's owner must not be able to point us elsewhere
            lchown(file.path(), Some(me.uid), Some(me.gid))
                .map_err(|e| cannot("give away", &file.path(), &e))?;
        }
        check_reach(&config.state)?;
    }
    Ok(())
}

/// Every folder above the state must let the gateway's user through.
pub fn check_reach(state: &Path) -> Result<(), Fatal> {
    for folder in state.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
        let mode = fs::metadata(folder).map_err(|e| cannot("look at", folder, &e))?.mode();
        if mode & 0o001 == 0 {
            return Err(Fatal::usage(format!(
                "{} cannot be entered by the gateway's user; use a state folder elsewhere, such as /var/lib/carrel, or `chmod o+x {}`",
                folder.display(),
                folder.display()
            )));
        }
    }
    Ok(())
}

pub(super) fn folder(path: &Path, mode: u32) -> Result<(), Fatal> {
    if !path.is_dir() {
        let make = fs::DirBuilder::new().recursive(true).mode(mode | 0o711).create(path);
        make.map_err(|e| cannot("make", path, &e))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| cannot("set the mode of", path, &e))?;
    }
    Ok(())
}

/// The signing key, made at the first start.
pub fn keys(config: &Config) -> Result<Keys, Fatal> {
    let path = config.private().join("cookie_secret");
    let read = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).ok();
    match fs::read(&path) {
        Ok(bytes) => {
            let bad = || {
                Fatal::unavailable(format!(
                    "{} is damaged; remove it and everybody signs in again",
                    path.display()
                ))
            };
            return read(bytes).map(Keys::new).ok_or_else(bad);
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(cannot("read", &path, &e)),
    }
    let key: [u8; 32] = rand::random();
    replace(&path, &key, 0o600)?;
    Ok(Keys::new(key))
}

/// Writes the engine's configuration, which the engines' jails read.
pub fn write_engine_config(config: &Config) -> Result<(), Fatal> {
    write_config(&settings::engine_config_path(config), settings::engine_config(config))
}

/// Writes a configuration that another program reads.
pub(super) fn write_config(path: &Path, text: String) -> Result<(), Fatal> {
    if fs::read_to_string(path).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    // written in place: running jails have this very file mounted
    fs::write(path, text).map_err(|e| cannot("write", path, &e))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
        .map_err(|e| cannot("set the mode of", path, &e))
}

/// What a spawnd was started with, to see whether a running one still fits.
pub fn fingerprint(settings: &Settings) -> String {
    use sha2::{Digest, Sha256};
    let text = serde_json::to_vec(settings).unwrap_or_default();
    Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether the running spawnd was started with these settings.
pub fn same_fingerprint(runtime: &Path, print: &str) -> bool {
    fs::read_to_string(runtime.join("settings.sha256")).is_ok_and(|kept| kept == print)
}

/// Notes what spawnd was started with.
pub fn write_fingerprint(runtime: &Path, print: &str) {
    if let Err(e) = fs::write(runtime.join("settings.sha256"), print) {
        tracing::warn!(error = %e, "cannot note the sandbox settings");
    }
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fatal> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|e| cannot("write", path, &e))
}

/// A message on a file that could not be handled.
pub(super) fn cannot(what: &str, path: &Path, e: &std::io::Error) -> Fatal {
    Fatal::unavailable(format!("cannot {what} {}: {e}", path.display()))
}
