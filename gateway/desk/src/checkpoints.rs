//! Checkpoints as Jupyter keeps them: one per file, `.ipynb_checkpoints/<name>-checkpoint<suffix>` beside it.

use rustix::fs::{FileType, Mode, mkdirat, renameat, unlinkat};
use rustix::io::Errno;

use crate::account::{Size, on_disk};
use crate::atomic::{Draft, Taken};
use crate::error::Error;
use crate::home::{Home, kind};
use crate::model::{Checkpoint, iso, timestamp};
use crate::path::ContentsPath;

const FOLDER: &str = ".ipynb_checkpoints";
/// The only checkpoint's id.
pub(crate) const ID: &str = "checkpoint";

/// The checkpoint of a file, if there is one.
pub(crate) fn find(home: &Home, path: &ContentsPath) -> Result<Option<Checkpoint>, Error> {
    match home.stat(&kept_at(path)?) {
        Ok(stat) if kind(&stat) == FileType::RegularFile => {
            let at = timestamp(stat.st_mtime, stat.st_mtime_nsec);
            Ok(Some(Checkpoint { id: ID, last_modified: iso(at) }))
        }
        Ok(_) | Err(Error::NotFound(_) | Error::Outside(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Keeps the file as it is now.
pub(crate) fn create(home: &Home, path: &ContentsPath) -> Result<Checkpoint, Error> {
    let kept = kept_at(path)?;
    let folder = home.place(&kept.parent())?;
    if folder.stat()?.is_none() {
        folder.take(Size { bytes: on_disk(1), files: 1 })?;
    }
    match mkdirat(&folder.dir, &folder.name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(Error::os("create", kept.parent().as_str(), e)),
    }
    copy(home, path, &kept)?;
    find(home, path)?.ok_or_else(|| Error::NotFound(kept.to_string()))
}

/// Puts the kept version back.
pub(crate) fn restore(home: &Home, path: &ContentsPath, id: &str) -> Result<(), Error> {
    let kept = existing(home, path, id)?;
    copy(home, &kept, path)
}

/// Forgets the kept version.
pub(crate) fn delete(home: &Home, path: &ContentsPath, id: &str) -> Result<(), Error> {
    let place = home.place(&existing(home, path, id)?)?;
    unlinkat(&place.dir, &place.name, rustix::fs::AtFlags::empty())
        .map_err(|e| Error::os("delete", &place.shown, e))
}

/// The file was renamed: its checkpoint follows, as well as it can.
pub(crate) fn renamed(home: &Home, from: &ContentsPath, to: &ContentsPath) -> Result<(), Error> {
    if find(home, from)?.is_none() {
        return Ok(());
    }
    let (from, to) = (kept_at(from)?, kept_at(to)?);
    let folder = home.place(&to.parent())?;
    match mkdirat(&folder.dir, &folder.name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(Error::os("create", to.parent().as_str(), e)),
    }
    let (old, new) = (home.place(&from)?, home.place(&to)?);
    renameat(&old.dir, &old.name, &new.dir, &new.name).map_err(|e| Error::os("rename", &old.shown, e))
}

fn existing(home: &Home, path: &ContentsPath, id: &str) -> Result<ContentsPath, Error> {
    match find(home, path)? {
        Some(_) if id == ID => kept_at(path),
        _ => Err(Error::NoSuch(format!("Checkpoint does not exist: {path}@{id}"))),
    }
}

/// Where the checkpoint of `path` is kept. Hidden files have none.
fn kept_at(path: &ContentsPath) -> Result<ContentsPath, Error> {
    if path.is_hidden() || path.is_root() {
        return Err(Error::NotFound(path.to_string()));
    }
    let name = path.name();
    let (base, suffix) = name.rsplit_once('.').map_or((name, ""), |(base, _)| name.split_at(base.len()));
    path.parent().join(FOLDER)?.join(&format!("{base}-{ID}{suffix}"))
}

fn copy(home: &Home, from: &ContentsPath, to: &ContentsPath) -> Result<(), Error> {
    let (mut source, stat) = home.open_read(from)?;
    if kind(&stat) != FileType::RegularFile {
        return Err(Error::bad(format!("'{from}' is a directory: only files have checkpoints")));
    }
    let mut draft = Draft::begin(home.place_to_write(to)?, Taken::Replace)?;
    draft.copy(&mut source)?;
    draft.finish()
}
