//! DELETE: a file by unlinking, a folder with all that is in it, however deep.
//!
//! A folder is first renamed to an unfinished name, so it is gone at once. It is walked by descriptors, so that no link
//! is ever followed and no rename elsewhere matters; what lies too deep for that is moved up to its top first.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::atomic::temp_name;
use crate::error::Error;
use crate::home::{Home, Place, kind};
use crate::path::ContentsPath;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Folders held open at once on the way down.
const MAX_LEVELS: usize = 100;

/// Deletes what is at `path`; a link is deleted, not what it leads to.
pub(crate) fn delete(home: &Home, path: &ContentsPath) -> Result<(), Error> {
    if path.is_root() {
        return Err(Error::bad("can't delete root"));
    }
    if path.is_hidden() {
        return Err(Error::bad(format!("cannot delete file or directory '{path}'")));
    }
    let place = home.place(path)?;
    let stat = place.stat()?.ok_or_else(|| Error::NotFound(path.to_string()))?;
    if kind(&stat) == FileType::Directory {
        return tree(&place);
    }
    unlinkat(&place.dir, &place.name, AtFlags::empty()).map_err(|e| Error::os("delete", path.as_str(), e))?;
    if let Err(e) = crate::checkpoints::delete(home, path, crate::checkpoints::ID)
        && !matches!(e, Error::NotFound(_) | Error::NoSuch(_))
    {
        crate::log::warn("checkpoint.delete", &e.chain());
    }
    Ok(())
}

/// Deletes a folder. If that fails half way, what is left has its name back.
pub(crate) fn tree(place: &Place) -> Result<(), Error> {
    let temp = temp_name();
    let fail = |e| Error::os("delete", &place.shown, e);
    renameat(&place.dir, &place.name, &place.dir, &temp).map_err(fail)?;
    match empty(&place.dir, &temp).and_then(|()| unlinkat(&place.dir, &temp, AtFlags::REMOVEDIR)) {
        Ok(()) => Ok(()),
        Err(e) => {
            let _ = renameat(&place.dir, &temp, &place.dir, &place.name);
            Err(fail(e))
        }
    }
}

/// One folder on the way down.
struct Level {
    folder: OwnedFd,
    /// What it is called in the level above.
    name: OsString,
    todo: Vec<OsString>,
}

/// Deletes everything in the folder `name` of `dir`.
fn empty(dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let top = open_folder(dir, name)?;
    let mut moved = 0u64;
    loop {
        let todo = names(&top)?;
        if todo.is_empty() {
            return Ok(());
        }
        let folder = openat(&top, ".", FOLDER, Mode::empty())?;
        let mut levels = vec![Level { folder, name: OsString::new(), todo }];
        loop {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else { break };
            let Some(name) = level.todo.pop() else {
                let done = levels.pop();
                if let (Some(done), Some(above)) = (done, levels.last()) {
                    unlinkat(&above.folder, &done.name, AtFlags::REMOVEDIR)?;
                }
                continue;
            };
            match unlinkat(&level.folder, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) if depth < MAX_LEVELS => {
                    let folder = open_folder(&level.folder, &name)?;
                    let todo = names(&folder)?;
                    levels.push(Level { folder, name, todo });
                }
                Err(Errno::ISDIR | Errno::PERM) => move_up(&level.folder, &name, &top, &mut moved)?,
                Err(e) => return Err(e),
            }
        }
    }
}

/// Moves a folder that lies too deep to the top, under a free number; the next round finds it there.
fn move_up(folder: &OwnedFd, name: &OsStr, top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    // A folder that may not be written cannot be moved: its `..` would change.
    open_folder(folder, name)?;
    loop {
        *moved += 1;
        match renameat(folder, name, top, format!("{moved}").as_str()) {
            // Something of that name is there.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            other => return other,
        }
    }
}

fn open_folder(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let folder = openat(dir, name, FOLDER, Mode::empty())?;
    if rustix::fs::fstat(&folder)?.st_mode & 0o300 != 0o300 {
        rustix::fs::fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

fn names(folder: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
