//! Writing a file so that there is always either the whole old one or the whole new one.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fchmod, fsync, linkat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use crate::error::Error;
use crate::home::{Place, kind, not_a_file};

/// Begins the name of every file that is not finished yet; the contents API does not show it.
const TEMP: &str = ".~carrel-";
/// An unfinished file this old was left behind by a kill.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// What happens when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The new file takes its place and its mode.
    Replace,
    /// `Error::Exists`.
    Refuse,
}

/// A file being written beside the place it is meant for; dropped unfinished, it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    place: Place,
    temp: OsString,
    pub(crate) file: File,
    taken: Taken,
    finished: bool,
}

impl Draft {
    /// Creates the unfinished file in the folder of `place`.
    pub(crate) fn begin(place: Place, taken: Taken) -> Result<Draft, Error> {
        let mode = match (place.stat()?, taken) {
            (None, _) => None,
            (Some(_), Taken::Refuse) => return Err(Error::Exists(place.shown)),
            (Some(stat), Taken::Replace) => match kind(&stat) {
                FileType::RegularFile if place.writable() => Some(Mode::from_raw_mode(stat.st_mode)),
                FileType::RegularFile => return Err(Error::Forbidden(place.shown)),
                FileType::Directory => return Err(Error::bad(format!("'{}' is a directory", place.shown))),
                _ => return Err(not_a_file(&place.shown)),
            },
        };
        let temp = temp_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let first = if mode.is_some() { 0o600 } else { 0o666 };
        let fd = openat(&place.dir, &temp, flags, Mode::from_raw_mode(first))
            .map_err(|e| Error::os("create", &place.shown, e))?;
        let draft = Draft { place, temp, file: File::from(fd), taken, finished: false };
        if let Some(mode) = mode {
            fchmod(&draft.file, mode).map_err(|e| draft.failed("keep the mode of", e))?;
        }
        Ok(draft)
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| Error::io("write", &self.place.shown, e))
    }

    /// Puts the file on the disk, then in its place.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        fsync(&self.file).map_err(|e| self.failed("write", e))?;
        self.put()?;
        // The new file is in its place and whole; that its name outlives a power cut, too, is worth a try only.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Err(e) = openat(&self.place.dir, ".", flags, Mode::empty()).and_then(fsync) {
            crate::log::warn("save.folder", &e.to_string());
        }
        Ok(())
    }

    /// Puts the file in its place without waiting for the disk: for what can be made again.
    pub(crate) fn finish_unsynced(mut self) -> Result<(), Error> {
        self.put()
    }

    fn put(&mut self) -> Result<(), Error> {
        let (dir, name) = (&self.place.dir, &self.place.name);
        let moved = match self.taken {
            Taken::Replace => renameat(dir, &self.temp, dir, name),
            Taken::Refuse => rename_new(&self.place, &self.temp),
        };
        moved.map_err(|e| match e {
            Errno::ISDIR => Error::bad(format!("'{}' is a directory", self.place.shown)),
            other => self.failed("save", other),
        })?;
        self.finished = true;
        Ok(())
    }

    fn failed(&self, doing: &'static str, errno: Errno) -> Error {
        Error::os(doing, &self.place.shown, errno)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            let _ = unlinkat(&self.place.dir, &self.temp, AtFlags::empty());
        }
    }
}

/// Writes one whole file.
pub(crate) fn write(place: Place, taken: Taken, bytes: &[u8]) -> Result<(), Error> {
    let mut draft = Draft::begin(place, taken)?;
    draft.write(bytes)?;
    draft.finish()
}

/// A name for something unfinished.
pub(crate) fn temp_name() -> OsString {
    format!("{TEMP}{}", Uuid::new_v4().simple()).into()
}

/// Renames within the folder of `place`, never over something.
pub(crate) fn rename_new(place: &Place, from: &std::ffi::OsStr) -> Result<(), Errno> {
    match renameat_with(&place.dir, from, &place.dir, &place.name, RenameFlags::NOREPLACE) {
        // A file system without it: a hard link refuses just as well, for files.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(&place.dir, from, &place.dir, &place.name, AtFlags::empty())?;
            unlinkat(&place.dir, from, AtFlags::empty())
        }
        other => other,
    }
}

/// Removes an unfinished file that a kill left behind.
pub(crate) fn sweep(dir: impl std::os::fd::AsFd, name: &[u8], now: SystemTime) {
    let Some(rest) = name.strip_prefix(TEMP.as_bytes()) else { return };
    if rest.len() != 32 || !rest.iter().all(u8::is_ascii_hexdigit) {
        return;
    }
    let Ok(stat) = statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let age = u64::try_from(stat.st_mtime)
        .ok()
        .and_then(|at| now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).ok());
    if kind(&stat) == FileType::RegularFile && age.is_some_and(|age| age > STALE) {
        let _ = unlinkat(dir, name, AtFlags::empty());
    }
}
