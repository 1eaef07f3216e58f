//! Copies and renames within the home.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, mkdirat, openat, readlinkat, renameat, renameat_with,
    statat, symlinkat,
};
use rustix::io::Errno;

use crate::account::{Size, on_disk};
use crate::atomic::{Draft, Taken, rename_new, temp_name};
use crate::checkpoints;
use crate::error::Error;
use crate::home::{Home, Place, kind};
use crate::log;
use crate::model::Model;
use crate::names;
use crate::path::ContentsPath;
use crate::read;
use crate::remove;

/// A folder larger than this is not copied while a browser waits. Jupyter's default.
const MAX_COPY_BYTES: u64 = 500 << 20;
const MAX_COPY_ENTRIES: usize = 100_000;
const MAX_COPY_DEPTH: usize = 128;

/// POST with `copy_from`: a copy in the folder `to`, under a free name, or as the file `to` in an existing folder.
pub(crate) fn copy(home: &Home, from: &ContentsPath, to: &ContentsPath) -> Result<Model, Error> {
    if from.is_hidden() || to.is_hidden() {
        return Err(Error::bad(format!("cannot copy file or directory '{from}'")));
    }
    let (source, stat) = home.open_read(from)?;
    let is_folder = kind(&stat) == FileType::Directory;
    if is_folder && to.is_within(from) {
        return Err(Error::bad(format!("cannot copy '{from}' into itself")));
    }
    if !home.is_dir(to) {
        return copy_as(home, from, source, is_folder, to).and_then(|()| read::bare(home, to));
    }
    let name = names::without_copy_mark(from.name());
    let mut source = source;
    for name in names::candidates(&name, "-Copy") {
        let target = to.join(&name)?;
        if home.place(&target)?.stat()?.is_some() {
            continue;
        }
        match copy_as(home, from, source, is_folder, &target) {
            Ok(()) => return read::bare(home, &target),
            // Somebody else took the name in between.
            Err(Error::Exists(_)) => source = home.open_read(from)?.0,
            Err(e) => return Err(e),
        }
    }
    Err(Error::Exists(to.to_string()))
}

/// PATCH: gives a file or folder another path. Never over something that is there.
pub(crate) fn rename(home: &Home, from: &ContentsPath, to: &ContentsPath) -> Result<Model, Error> {
    if from.is_hidden() || to.is_hidden() {
        return Err(Error::bad(format!("cannot rename file or directory '{from}'")));
    }
    if from == to {
        return read::bare(home, to);
    }
    if from.is_root() || to.is_root() {
        return Err(Error::bad("the home folder cannot be renamed"));
    }
    if to.is_within(from) {
        return Err(Error::bad(format!("cannot move '{from}' into itself")));
    }
    let old = home.place(from)?;
    let stat = old.stat()?.ok_or_else(|| Error::NotFound(from.to_string()))?;
    let new = home.place(to)?;
    let fail = |e| match e {
        Errno::EXIST => Error::Exists(to.to_string()),
        Errno::XDEV => Error::bad(format!("'{to}' is on another file system: copy it, then delete it")),
        Errno::INVAL => Error::bad(format!("cannot move '{from}' into itself")),
        e => Error::os("rename", from.as_str(), e),
    };
    match renameat_with(&old.dir, &old.name, &new.dir, &new.name, RenameFlags::NOREPLACE) {
        Err(Errno::NOSYS | Errno::INVAL) => {
            // A file system without RENAME_NOREPLACE: look first.
            if new.stat()?.is_some() {
                return Err(Error::Exists(to.to_string()));
            }
            renameat(&old.dir, &old.name, &new.dir, &new.name)
        }
        other => other,
    }
    .map_err(fail)?;
    if kind(&stat) == FileType::RegularFile
        && let Err(e) = checkpoints::renamed(home, from, to)
    {
        log::warn("checkpoint.rename", &e.chain());
    }
    read::bare(home, to)
}

fn copy_as(
    home: &Home,
    from: &ContentsPath,
    mut source: File,
    is_folder: bool,
    to: &ContentsPath,
) -> Result<(), Error> {
    let place = home.place(to)?;
    if is_folder {
        return copy_folder(source, place, from);
    }
    let mut draft = Draft::begin(place, Taken::Refuse)?;
    draft.copy(&mut source)?;
    draft.finish()
}

/// Copies a tree beside its place, then renames it there: whole or not at all.
fn copy_folder(source: File, place: Place, from: &ContentsPath) -> Result<(), Error> {
    let Place { dir, name, shown, account } = place;
    let temp = Place { dir, name: temp_name(), shown, account };
    let made = temp.take(ONE).and_then(|()| {
        mkdirat(&temp.dir, &temp.name, Mode::from_raw_mode(0o777)).map_err(|e| temp.failed("create", e))
    });
    made?;
    let done = copy_tree(OwnedFd::from(source), &temp, from).and_then(|()| {
        let Place { dir, name: temp_name, shown, account } = temp.again()?;
        rename_new(&Place { dir, name, shown, account }, &temp_name).map_err(|e| temp.failed("copy", e))
    });
    if done.is_err() {
        let _ = remove::tree(&temp);
    }
    done
}

/// What a folder, a link or an empty file takes.
const ONE: Size = Size { bytes: 4096, files: 1 };

fn copy_tree(source: OwnedFd, temp: &Place, from: &ContentsPath) -> Result<(), Error> {
    let fail = |e| Error::os("copy", from.as_str(), e);
    let too_large = || {
        Error::TooLarge(format!(
            "'{from}' is too large to copy: at most {} MiB, {MAX_COPY_ENTRIES} files and {MAX_COPY_DEPTH} levels",
            MAX_COPY_BYTES >> 20
        ))
    };
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(&temp.dir, &temp.name, folder, Mode::empty()).map_err(fail)?;
    let (mut bytes, mut entries) = (0u64, 0usize);
    let mut todo = vec![(names_of(&source).map_err(fail)?, source, target)];
    while let Some((names, source, target)) = todo.last_mut() {
        let Some(name) = names.pop() else {
            todo.pop();
            continue;
        };
        entries += 1;
        if entries > MAX_COPY_ENTRIES {
            return Err(too_large());
        }
        let stat = match statat(&*source, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            other => other.map_err(fail)?,
        };
        match kind(&stat) {
            FileType::Symlink => {
                temp.take(ONE)?;
                let link = readlinkat(&*source, &name, Vec::new()).map_err(fail)?;
                symlinkat(link, &*target, &name).map_err(fail)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut file = File::from(openat(&*source, &name, flags, Mode::empty()).map_err(fail)?);
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
                let left = MAX_COPY_BYTES - bytes;
                let size = u64::try_from(stat.st_size).unwrap_or(0).min(left + 1);
                temp.take(Size { bytes: on_disk(size), files: 1 })?;
                let mut copy = File::from(openat(&*target, &name, flags, mode).map_err(fail)?);
                // What is appended meanwhile is not copied: no room was taken for it.
                bytes += io::copy(&mut io::Read::take(&mut file, size), &mut copy).map_err(|e| {
                    Errno::from_io_error(&e)
                        .map_or_else(|| Error::io("copy", from.as_str(), e), |e| temp.failed("copy", e))
                })?;
                if bytes > MAX_COPY_BYTES {
                    return Err(too_large());
                }
            }
            FileType::Directory => {
                temp.take(ONE)?;
                mkdirat(&*target, &name, Mode::from_raw_mode((stat.st_mode & 0o777) | 0o700))
                    .map_err(fail)?;
                let inner = openat(&*source, &name, folder, Mode::empty()).map_err(fail)?;
                let copy = openat(&*target, &name, folder, Mode::empty()).map_err(fail)?;
                let names = names_of(&inner).map_err(fail)?;
                if todo.len() >= MAX_COPY_DEPTH {
                    return Err(too_large());
                }
                todo.push((names, inner, copy));
            }
            // Pipes, sockets and devices are not content.
            _ => {}
        }
    }
    Ok(())
}

fn names_of(folder: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(std::ffi::OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
