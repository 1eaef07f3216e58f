//! The home folder: the only way from a `ContentsPath` to something open.
//!
//! Every path is opened by `openat2` below one descriptor, so that neither `..`, nor a link, nor a link swapped in
//! while we look leads out. A link inside the home works, an absolute one too: it is read again from the home.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, accessat, fstat, openat, openat2,
    readlinkat, statat,
};
use rustix::io::Errno;

use crate::account::{Account, Size};
use crate::error::Error;
use crate::path::ContentsPath;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// As many links on one path as the kernel itself follows.
const MAX_LINKS: usize = 40;
/// Folders on one resolved path; each costs a descriptor while it is walked.
const MAX_DEPTH: usize = 256;
/// How often a walk that lost a race against a rename is tried again.
const RACES: usize = 16;

/// The user's home folder, held open.
#[derive(Debug)]
pub(crate) struct Home {
    root: OwnedFd,
    account: Arc<Account>,
    /// How absolute links may spell the home.
    spellings: Vec<PathBuf>,
}

/// A name in an open folder: where something is created, replaced, renamed or deleted.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: OwnedFd,
    pub(crate) name: OsString,
    /// What the user calls it, for messages.
    pub(crate) shown: String,
    /// Of the home that it lies in.
    pub(crate) account: Arc<Account>,
}

impl Home {
    /// Opens the home and makes sure that the kernel has `openat2`: there is no weaker way.
    pub(crate) fn open(path: &Path, told: Option<PathBuf>) -> Result<Home, Error> {
        let shown = || path.display().to_string();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| Error::os("open the home", shown(), e))?;
        openat2(&root, ".", flags, Mode::empty(), RESOLVE)
            .map_err(|e| Error::os("use openat2 in", shown(), e))?;
        let own =
            rustix::io::fcntl_dupfd_cloexec(&root, 0).map_err(|e| Error::os("open the home", shown(), e))?;
        let account = Arc::new(Account::new(own, told));
        let mut spellings = vec![path.to_owned()];
        if let Ok(real) = path.canonicalize()
            && real != path
        {
            spellings.push(real);
        }
        Ok(Home { root, account, spellings })
    }

    /// Opens for reading. A pipe does not block, and only folders and regular files come back.
    pub(crate) fn open_read(&self, path: &ContentsPath) -> Result<(File, Stat), Error> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = self.open_at(path, flags)?;
        let stat = fstat(&fd).map_err(|e| Error::os("look at", path.as_str(), e))?;
        match kind(&stat) {
            FileType::RegularFile | FileType::Directory => Ok((File::from(fd), stat)),
            _ => Err(not_a_file(path.as_str())),
        }
    }

    /// What is at `path`, links followed.
    pub(crate) fn stat(&self, path: &ContentsPath) -> Result<Stat, Error> {
        let fd = self.open_at(path, OFlags::PATH | OFlags::CLOEXEC)?;
        fstat(&fd).map_err(|e| Error::os("look at", path.as_str(), e))
    }

    /// Is there a folder at `path`?
    pub(crate) fn is_dir(&self, path: &ContentsPath) -> bool {
        self.stat(path).is_ok_and(|stat| kind(&stat) == FileType::Directory)
    }

    /// Is there a regular file at `path`?
    pub(crate) fn is_file(&self, path: &ContentsPath) -> bool {
        self.stat(path).is_ok_and(|stat| kind(&stat) == FileType::RegularFile)
    }

    /// Opens a folder as a handle for the `*at` calls.
    pub(crate) fn open_dir(&self, path: &ContentsPath) -> Result<OwnedFd, Error> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    /// The name itself, a link not followed: for renaming and deleting.
    pub(crate) fn place(&self, path: &ContentsPath) -> Result<Place, Error> {
        if path.is_root() {
            return Err(Error::bad("the home folder itself cannot be changed"));
        }
        let dir = self.open_dir(&path.parent())?;
        Ok(self.at(dir, path.name().into(), path))
    }

    /// Where a save to `path` goes: the place itself, or the one a link there leads to, inside the home.
    pub(crate) fn place_to_write(&self, path: &ContentsPath) -> Result<Place, Error> {
        let place = self.place(path)?;
        match place.stat()? {
            Some(stat) if kind(&stat) == FileType::Symlink => {}
            _ => return Ok(place),
        }
        let mut real = self.physical(path)?;
        let Some(name) = real.file_name().map(OsStr::to_owned) else {
            return Err(Error::bad(format!("'{path}' is the home folder")));
        };
        real.pop();
        if real.as_os_str().is_empty() {
            real.push(".");
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = retry(|| openat2(&self.root, &real, flags, Mode::empty(), RESOLVE))
            .map_err(|e| Error::os("open", path.as_str(), e))?;
        Ok(self.at(dir, name, path))
    }

    fn at(&self, dir: OwnedFd, name: OsString, path: &ContentsPath) -> Place {
        Place { dir, name, shown: path.to_string(), account: Arc::clone(&self.account) }
    }

    fn open_at(&self, path: &ContentsPath, flags: OFlags) -> Result<OwnedFd, Error> {
        match retry(|| openat2(&self.root, path.as_os(), flags, Mode::empty(), RESOLVE)) {
            Ok(fd) => Ok(fd),
            // EXDEV: something absolute, or a way out. Only the first is read again.
            Err(Errno::XDEV) => {
                let real = self.physical(path)?;
                retry(|| openat2(&self.root, &real, flags, Mode::empty(), RESOLVE))
                    .map_err(|e| Error::os("open", path.as_str(), e))
            }
            // A socket opened for reading.
            Err(Errno::NXIO) => Err(not_a_file(path.as_str())),
            Err(e) => Err(Error::os("open", path.as_str(), e)),
        }
    }

    /// The same path with every link on it replaced by what it means, absolute links read from the home.
    /// The result is only a spelling: opening it goes through `openat2` again.
    fn physical(&self, path: &ContentsPath) -> Result<PathBuf, Error> {
        let fail = |errno| Error::os("follow the links of", path.as_str(), errno);
        let mut todo: VecDeque<OsString> = path.names().map(OsString::from).collect();
        let mut done: Vec<(OsString, OwnedFd)> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name.as_bytes() == b".." {
                if done.pop().is_none() {
                    return Err(fail(Errno::XDEV));
                }
                continue;
            }
            if done.len() >= MAX_DEPTH {
                return Err(fail(Errno::NAMETOOLONG));
            }
            let here = done.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = match openat(here, &name, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if todo.is_empty() => {
                    return Ok(done.into_iter().map(|(name, _)| name).chain([name]).collect());
                }
                Err(e) => return Err(fail(e)),
            };
            if kind(&fstat(&fd).map_err(fail)?) != FileType::Symlink {
                done.push((name, fd));
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(fail(Errno::LOOP));
            }
            let target = readlinkat(&fd, "", Vec::new()).map_err(fail)?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            let relative = if target.is_absolute() {
                done.clear();
                self.spellings
                    .iter()
                    .find_map(|home| target.strip_prefix(home).ok())
                    .ok_or_else(|| fail(Errno::XDEV))?
            } else {
                target.as_path()
            };
            for part in relative.components().rev() {
                match part {
                    std::path::Component::CurDir => {}
                    other => todo.push_front(other.as_os_str().to_owned()),
                }
            }
        }
        let real: PathBuf = done.into_iter().map(|(name, _)| name).collect();
        Ok(if real.as_os_str().is_empty() { PathBuf::from(".") } else { real })
    }

    /// May the user write there?
    pub(crate) fn writable(&self, path: &ContentsPath) -> bool {
        let name = if path.is_root() { "." } else { path.name() };
        self.open_dir(&path.parent()).is_ok_and(|dir| name_writable(&dir, name))
    }

    /// The path that a text naming a file, absolute or not, has in the contents API.
    pub(crate) fn relative(&self, text: &str) -> Option<ContentsPath> {
        let expanded = match text.strip_prefix("~/") {
            Some(rest) => rest,
            None if text == "~" => "",
            None => text,
        };
        let path = Path::new(expanded);
        let inside = self.spellings.iter().find_map(|home| path.strip_prefix(home).ok());
        let text = match inside {
            Some(inside) => inside.to_str()?,
            None if path.is_absolute() => return None,
            None => expanded,
        };
        ContentsPath::parse(text.trim_start_matches("./")).ok()
    }
}

impl Place {
    /// What is there, a link not followed; `None` when nothing is.
    pub(crate) fn stat(&self) -> Result<Option<Stat>, Error> {
        match statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(Error::os("look at", &self.shown, e)),
        }
    }

    /// The same place once more.
    pub(crate) fn again(&self) -> Result<Place, Error> {
        let dir = rustix::io::fcntl_dupfd_cloexec(&self.dir, 0)
            .map_err(|e| Error::os("look at", &self.shown, e))?;
        let Place { name, shown, account, .. } = self;
        Ok(Place { dir, name: name.clone(), shown: shown.clone(), account: Arc::clone(account) })
    }

    /// Takes room in the home for something that is made here.
    pub(crate) fn take(&self, wanted: Size) -> Result<(), Error> {
        self.account.take(wanted, Size::default(), &self.shown)
    }

    /// An error of the system about this place; a quota that is reached is told with its figures.
    pub(crate) fn failed(&self, doing: &'static str, errno: Errno) -> Error {
        self.account.explain(errno, &self.shown).unwrap_or_else(|| Error::os(doing, &self.shown, errno))
    }

    /// May the user write what is there?
    pub(crate) fn writable(&self) -> bool {
        name_writable(&self.dir, &self.name)
    }
}

/// May the user write what `name` in this folder is?
pub(crate) fn name_writable(dir: &OwnedFd, name: impl rustix::path::Arg) -> bool {
    accessat(dir, name, Access::WRITE_OK, AtFlags::empty()).is_ok()
}

/// The type bits of a `stat`.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The refusal for pipes, sockets and devices.
pub(crate) fn not_a_file(path: &str) -> Error {
    Error::bad(format!("'{path}' is neither a file nor a folder"))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut tries = 0;
    loop {
        match call() {
            // EAGAIN: a rename elsewhere while `..` was walked.
            Err(Errno::AGAIN | Errno::INTR) if tries < RACES => tries += 1,
            other => return other,
        }
    }
}

#[cfg(test)]
#[path = "home_tests.rs"]
mod tests;
