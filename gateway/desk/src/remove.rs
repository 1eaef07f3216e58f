//! DELETE: a file by unlinking, a folder with all that is in it, however deep.
//!
//! A folder is first renamed to an unfinished name, so it is gone at once; then its folders are moved up into it one
//! after the other, so that neither depth nor a rename elsewhere matters, and no link is ever followed.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::atomic::temp_name;
use crate::error::Error;
use crate::home::{Home, Place, kind};
use crate::path::ContentsPath;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

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

/// Deletes everything in the folder `name` of `dir`.
fn empty(dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let top = open_folder(dir, name)?;
    let mut moved = 0u64;
    loop {
        let mut folders = Vec::new();
        for name in names(&top)? {
            match unlinkat(&top, name.as_os_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => folders.push(name),
                Err(e) => return Err(e),
            }
        }
        if folders.is_empty() {
            return Ok(());
        }
        for name in folders {
            let folder = open_folder(&top, &name)?;
            for inner in names(&folder)? {
                match unlinkat(&folder, inner.as_os_str(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    Err(Errno::ISDIR | Errno::PERM) => {}
                    Err(e) => return Err(e),
                }
                loop {
                    moved += 1;
                    let up = format!("{moved}");
                    match renameat(&folder, inner.as_os_str(), &top, up.as_str()) {
                        Ok(()) => break,
                        // A folder of that name that is not empty was there before us.
                        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                        // A folder that may not be written cannot be moved: its `..` would change.
                        Err(Errno::ACCESS) => {
                            chmodat(&folder, inner.as_os_str(), Mode::RWXU, AtFlags::empty())?;
                            renameat(&folder, inner.as_os_str(), &top, up.as_str())?;
                            break;
                        }
                        Err(e) => return Err(e),
                    }
                }
            }
            unlinkat(&top, name.as_os_str(), AtFlags::REMOVEDIR)?;
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

fn names(folder: &OwnedFd) -> Result<Vec<std::ffi::OsString>, Errno> {
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
