//! The folders that spawnd works in: made if missing, refused if somebody else could change them under it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use gateway_spawnd::{Refusal, Settings};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode as Bits, OFlags, fchmod, fchown, flock, fstat, mkdirat, openat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};

use super::{internal, refused};
use crate::log;

/// Opened once at start; all later work goes through these descriptors.
pub(crate) struct Folders {
    /// `<runtime>`, for the paths that are told to others.
    pub(crate) runtime: PathBuf,
    /// `<runtime>/jails`.
    pub(crate) jails: OwnedFd,
    /// `<state>/homes`.
    pub(crate) homes: OwnedFd,
    /// `<state>/scratch`.
    pub(crate) scratch: OwnedFd,
    /// `<state>/spawnd`: the uid table.
    pub(crate) private: OwnedFd,
    /// Held as long as spawnd lives.
    _lock: OwnedFd,
}

/// The runtime folder is ours: nobody else serves it, and nobody else can change what lies in it.
pub(crate) struct Claim {
    /// `<runtime>/jails`.
    pub(crate) jails: OwnedFd,
    lock: OwnedFd,
}

impl Claim {
    /// Before anything else: what lies in the folder says how to go on.
    pub(crate) fn take(settings: &Settings) -> Result<Self, Refusal> {
        for path in [&settings.runtime, &settings.state] {
            if !path.is_absolute() {
                return Err(refused(format!("{} is not an absolute path", path.display())));
            }
        }
        let runtime = own_folder(&settings.runtime, runtime_mode(settings))?;
        let lock = lock(&runtime, &settings.runtime)?;
        let jails = own_subfolder(&runtime, &settings.runtime, "jails", list_mode(settings))?;
        Ok(Self { jails, lock })
    }
}

/// With more than one uid at work the folders let others pass, not look.
fn list_mode(settings: &Settings) -> u32 {
    if shared(settings) { 0o711 } else { 0o700 }
}

fn runtime_mode(settings: &Settings) -> u32 {
    if shared(settings) { 0o755 } else { 0o700 }
}

fn shared(settings: &Settings) -> bool {
    me().0 == 0 || settings.gateway_uid != me().0
}

impl Folders {
    /// Opens and checks everything, in this process's own mount namespace.
    pub(crate) fn open(settings: &Settings, claim: Claim) -> Result<Self, Refusal> {
        let runtime = own_folder(&settings.runtime, runtime_mode(settings))?;
        let state = state_folder(settings)?;
        let mode = list_mode(settings);
        Ok(Self {
            jails: own_subfolder(&runtime, &settings.runtime, "jails", mode)?,
            homes: own_subfolder(&state, &settings.state, "homes", mode)?,
            scratch: own_subfolder(&state, &settings.state, "scratch", mode)?,
            private: own_subfolder(&state, &settings.state, "spawnd", 0o700)?,
            runtime: settings.runtime.clone(),
            _lock: claim.lock,
        })
    }

    /// Removes what a spawnd before this one left of jails that are no more.
    pub(crate) fn sweep(&self, living: &dyn Fn(&str) -> bool) {
        sweep(&self.jails, "jails", living);
        sweep(&self.scratch, "scratch", living);
    }

    /// Where this jail's folder is, for people and for the gateway.
    pub(crate) fn jail_path(&self, id: &str) -> PathBuf {
        self.runtime.join("jails").join(id)
    }
}

/// Refuses a file or folder that somebody besides root and us could change, or could put another one in the place of.
pub(crate) fn check_trusted(path: &Path) -> Result<(), Refusal> {
    for part in path.ancestors().filter(|part| !part.as_os_str().is_empty()) {
        let shown = part.display();
        let meta = fs::symlink_metadata(part)
            .map_err(|error| refused(format!("program or folder {shown} cannot be used: {error}")))?;
        if meta.is_symlink() {
            let real = fs::canonicalize(part)
                .map_err(|error| refused(format!("link {shown} cannot be used: {error}")))?;
            check_trusted(&real)?;
        }
        let (mode, (uid, gid)) = (meta.mode(), me());
        let owned = [0, uid].contains(&meta.uid());
        let own_group = meta.gid() == 0 || (uid != 0 && meta.gid() == gid);
        // Of a sticky folder others cannot take entries away that are not theirs.
        let open = mode & 0o002 != 0 || (mode & 0o020 != 0 && !own_group);
        let sticky = meta.is_dir() && mode & 0o1000 != 0;
        if !meta.is_symlink() && (!owned || (open && !sticky)) {
            return Err(refused(format!(
                "{shown} must belong to root{} and be writable by nobody else (it belongs to uid {}, group {}, mode {:o}): what runs in jails comes from there; fix its owner and mode",
                if uid == 0 { String::new() } else { format!(" or uid {uid}") },
                meta.uid(),
                meta.gid(),
                mode & 0o7777,
            )));
        }
    }
    Ok(())
}

/// A path that reaches a file below an open folder, whatever happens to the folder's own name.
pub(crate) fn below(folder: impl AsFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd())).join(name)
}

/// Removes a folder below another with all that is in it; says in the log if it cannot.
pub(crate) fn remove_tree(parent: impl AsFd, name: &str) {
    if let Err(error) = fs::remove_dir_all(below(&parent, name))
        && error.kind() != std::io::ErrorKind::NotFound
    {
        log::warn("folder.stuck", serde_json::json!({ "folder": name, "error": error.to_string() }));
    }
}

/// Makes a folder below an open one and opens it, with exactly this mode and owner.
pub(crate) fn make_folder(
    parent: impl AsFd,
    name: &str,
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<OwnedFd, Errno> {
    mkdirat(&parent, name, Bits::from_raw_mode(0o700))?;
    let folder = openat(&parent, name, FOLDER, Bits::empty())?;
    if let Some((uid, gid)) = owner {
        fchown(&folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    fchmod(&folder, Bits::from_raw_mode(mode))?;
    Ok(folder)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn own_folder(path: &Path, mode: u32) -> Result<OwnedFd, Refusal> {
    if let Some(parent) = path.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(parent);
        made.map_err(|error| internal(&format!("making {}", parent.display()), &error))?;
    }
    match mkdirat(CWD, path, Bits::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(internal(&format!("making {}", path.display()), &error)),
    }
    open_own(CWD, path, path)
}

fn own_subfolder(parent: &OwnedFd, parent_path: &Path, name: &str, mode: u32) -> Result<OwnedFd, Refusal> {
    let shown = parent_path.join(name);
    match make_folder(parent, name, mode, None) {
        Ok(folder) => Ok(folder),
        Err(Errno::EXIST) => open_own(parent.as_fd(), Path::new(name), &shown),
        Err(error) => Err(internal(&format!("making {}", shown.display()), &error)),
    }
}

/// Opens a folder that must be ours alone to change.
fn open_own(parent: BorrowedFd<'_>, path: &Path, shown: &Path) -> Result<OwnedFd, Refusal> {
    let folder = openat(parent, path, FOLDER, Bits::empty()).map_err(|error| {
        refused(format!("{} is not a folder that spawnd can use: {error}", shown.display()))
    })?;
    let stat =
        fstat(&folder).map_err(|error| internal(&format!("looking at {}", shown.display()), &error))?;
    let me = geteuid().as_raw();
    if stat.st_uid != me || stat.st_mode & 0o022 != 0 {
        return Err(refused(format!(
            "{} must belong to uid {me} and be writable by nobody else (it belongs to uid {}, mode {:o}); fix its owner and mode, or remove it",
            shown.display(),
            stat.st_uid,
            stat.st_mode & 0o7777,
        )));
    }
    Ok(folder)
}

/// The state folder may be the gateway's: what spawnd trusts lies below it, in folders of spawnd's own.
fn state_folder(settings: &Settings) -> Result<OwnedFd, Refusal> {
    let path = &settings.state;
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| internal(&format!("making {}", path.display()), &error))?;
    let state = openat(CWD, path, FOLDER, Bits::empty()).map_err(|error| {
        refused(format!("{} is not a folder that spawnd can use: {error}", path.display()))
    })?;
    let stat = fstat(&state).map_err(|error| internal(&format!("looking at {}", path.display()), &error))?;
    let owners = [geteuid().as_raw(), settings.gateway_uid];
    if !owners.contains(&stat.st_uid) || stat.st_mode & 0o022 != 0 {
        return Err(refused(format!(
            "{} must belong to uid {} or {} and be writable by nobody else (it belongs to uid {}, mode {:o})",
            path.display(),
            owners[0],
            owners[1],
            stat.st_uid,
            stat.st_mode & 0o7777,
        )));
    }
    Ok(state)
}

fn lock(runtime: &OwnedFd, path: &Path) -> Result<OwnedFd, Refusal> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = openat(runtime, "spawnd.lock", flags, Bits::from_raw_mode(0o600))
        .map_err(|error| internal("opening spawnd.lock", &error))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(refused(format!("another spawnd already serves {}", path.display()))),
        Err(error) => Err(internal("locking spawnd.lock", &error)),
    }
}

fn sweep(folder: &OwnedFd, what: &str, living: &dyn Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(below(folder, "")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !living(name)) else { continue };
        log::info("sweep", serde_json::json!({ "what": what, "name": name }));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(folder, name);
        } else {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

/// Who runs this program.
pub(crate) fn me() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}
