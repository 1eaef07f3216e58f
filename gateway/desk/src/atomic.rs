//! Writing a file so that there is always either the whole old one or the whole new one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fchmod, fsync, linkat, openat, renameat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

use crate::account::{Size, on_disk};
use crate::error::Error;
use crate::home::{Place, kind, not_a_file};

/// Begins the name of every file that is not finished yet; the contents API does not show it.
const TEMP: &str = ".~carrel-";
/// An unfinished file this old was left behind by a kill.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Copied between two looks at the bound.
const PIECE: u64 = 1 << 20;

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
    /// What is written so far, what room was taken for it, and what goes when it takes its place.
    written: u64,
    room: u64,
    spared: Size,
}

impl Draft {
    /// Creates the unfinished file in the folder of `place`.
    pub(crate) fn begin(place: Place, taken: Taken) -> Result<Draft, Error> {
        let old = place.stat()?;
        let mode = match (&old, taken) {
            (None, _) => None,
            (Some(_), Taken::Refuse) => return Err(Error::Exists(place.shown)),
            (Some(stat), Taken::Replace) => match kind(stat) {
                FileType::RegularFile if place.writable() => Some(Mode::from_raw_mode(stat.st_mode)),
                FileType::RegularFile => return Err(Error::Forbidden(place.shown)),
                FileType::Directory => return Err(Error::bad(format!("'{}' is a directory", place.shown))),
                _ => return Err(not_a_file(&place.shown)),
            },
        };
        // Of a file with further names nothing goes.
        let only = old.filter(|old| old.st_nlink == 1);
        let blocks = only.map_or(0, |old| u64::try_from(old.st_blocks).unwrap_or(0).saturating_mul(512));
        let spared = Size { bytes: blocks, files: u64::from(old.is_some()) };
        place.account.take(Size { bytes: 0, files: 1 }, spared, &place.shown)?;
        let temp = temp_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let first = if mode.is_some() { 0o600 } else { 0o666 };
        let fd = openat(&place.dir, &temp, flags, Mode::from_raw_mode(first))
            .map_err(|e| place.failed("create", e))?;
        let file = File::from(fd);
        let draft = Draft { place, temp, file, taken, finished: false, written: 0, room: 0, spared };
        if let Some(mode) = mode {
            fchmod(&draft.file, mode).map_err(|e| draft.failed("keep the mode of", e))?;
        }
        Ok(draft)
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let after = self.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.make_room(after)?;
        self.file.write_all(bytes).map_err(|e| self.failed_io("write", e))?;
        self.written = after;
        Ok(())
    }

    /// Appends all that another file has. A piece of it may lie in the home, under no name that is shown, before the bound is seen to be passed.
    pub(crate) fn copy(&mut self, source: &mut File) -> Result<(), Error> {
        loop {
            let copied = io::copy(&mut source.take(PIECE), &mut self.file);
            let copied = copied.map_err(|e| self.failed_io("copy", e))?;
            if copied == 0 {
                return Ok(());
            }
            self.written = self.written.saturating_add(copied);
            self.make_room(self.written)?;
        }
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        let (before, after) = (self.room, on_disk(bytes));
        if after <= before {
            return Ok(());
        }
        // What this file itself has taken is in the account already, and so is what it takes the place of.
        let wanted = Size { bytes: after - before, files: 0 };
        let spared = Size { bytes: self.spared.bytes, files: 0 };
        self.place.account.take(wanted, spared, &self.place.shown)?;
        self.room = after;
        Ok(())
    }

    fn failed_io(&self, doing: &'static str, error: io::Error) -> Error {
        match Errno::from_io_error(&error) {
            Some(errno) => self.failed(doing, errno),
            None => Error::io(doing, &self.place.shown, error),
        }
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
        self.place.failed(doing, errno)
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
