//! The user's files by path: read beneath the home, written beneath the home, nowhere else.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem, did_you_mean};
use carrel_query::problems::{disk_full, kind_text};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::beneath::Beneath;
use crate::catalog::{Root, Source, data_file};

/// The user's home folder.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    folder: Beneath,
    root: Arc<Root>,
}

/// Longest path that is looked at.
const LONGEST: usize = 1024;

impl Home {
    /// The home at this path.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let folder = Beneath::open(path, "home").map_err(|error| {
            Problem::new(Ename::FileNotFound, format!("the home cannot be opened: {error}"))
        })?;
        Ok(Self { path: path.to_owned(), folder, root: Root::folder("home", path.to_owned()) })
    }

    /// A pattern of file names as one beneath the home.
    pub fn pattern(&self, path: &str) -> Result<String, Problem> {
        self.relative(path)
    }

    /// The whole home.
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// Is there something at this path?
    pub fn has(&self, path: &str) -> bool {
        self.relative(path).is_ok_and(|relative| self.folder.kind(&relative).is_some())
    }

    /// A file or folder to read.
    pub fn source(&self, path: &str) -> Result<Source, Problem> {
        let relative = self.relative(path)?;
        let opened = &self.folder;
        match opened.open_at(&relative, OFlags::RDONLY, Mode::empty()) {
            Ok(_) => Ok(Source { root: self.root.clone(), path: relative, format: None }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.not_found(opened, path, &relative)),
            Err(error) => Err(refused(path, &error)),
        }
    }

    /// A new file that takes the place of `path` once it is finished.
    pub fn create(&self, path: &str) -> Result<NewFile, Problem> {
        let relative = self.relative(path)?;
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", &relative));
        if name.is_empty() {
            return Err(Problem::new(Ename::FileNotFound, format!("'{path}' is not a file name")));
        }
        let opened = &self.folder;
        let folder_fd =
            opened.open_at(folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map_err(|error| {
                if error.kind() == ErrorKind::NotFound {
                    return Problem::new(
                        Ename::FileNotFound,
                        format!("there is no folder '{folder}' in your home"),
                    )
                    .hint("create the folder first, or write beside the notebook");
                }
                refused(path, &error)
            })?;
        if opened.kind(&relative) == Some(FileType::Directory) {
            return Err(Problem::new(Ename::AlreadyExists, format!("'{path}' is a folder")));
        }
        let temp = format!(".{}.part", uuid::Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&folder_fd, temp.as_str(), flags, Mode::from_raw_mode(0o644))
            .map_err(|error| refused(path, &error.into()))?;
        Ok(NewFile {
            folder: folder_fd,
            temp,
            name: name.to_owned(),
            file: File::from(file),
            finished: false,
        })
    }

    /// Does a name in FROM mean a file?
    pub fn looks_like_file(name: &str) -> bool {
        name.contains('/') || name.starts_with('~') || data_file(name).is_some()
    }

    /// The path beneath the home, without `.` and `..`.
    fn relative(&self, path: &str) -> Result<String, Problem> {
        let outside = || {
            Problem::new(Ename::PolicyDenied, format!("'{path}' is outside your home")).hint(
                "name files relative to your home; governed data is named as schema.table, see SHOW DATASETS",
            )
        };
        if path.len() > LONGEST || path.contains('\0') {
            return Err(Problem::new(Ename::FileNotFound, "this is not a file name"));
        }
        if path.contains("://") {
            return Err(outside());
        }
        let trimmed = path.strip_prefix("~/").unwrap_or(path);
        let mut trimmed = Path::new(trimmed);
        if trimmed.is_absolute() {
            trimmed = trimmed.strip_prefix(&self.path).map_err(|_| outside())?;
        }
        let mut parts = Vec::new();
        for component in trimmed.components() {
            match component {
                Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
                Component::CurDir => {}
                Component::ParentDir => {
                    parts.pop().ok_or_else(outside)?;
                }
                Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        Ok(parts.join("/"))
    }

    fn not_found(&self, opened: &Beneath, path: &str, relative: &str) -> Problem {
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        let problem = Problem::new(Ename::FileNotFound, format!("there is no file '{path}' in your home"));
        let names = opened.entries(folder).unwrap_or_default();
        match did_you_mean(name, names.iter().map(|(name, _)| name)) {
            Some(near) if folder.is_empty() => problem.hint(format!("did you mean '{near}'?")),
            Some(near) => problem.hint(format!("did you mean '{folder}/{near}'?")),
            None => problem,
        }
    }
}

fn refused(path: &str, error: &std::io::Error) -> Problem {
    match error.kind() {
        ErrorKind::NotFound => {
            Problem::new(Ename::FileNotFound, format!("there is no file '{path}' in your home"))
        }
        ErrorKind::CrossesDevices => {
            Problem::new(Ename::PolicyDenied, format!("'{path}' leads out of your home"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(),
        ErrorKind::PermissionDenied => {
            Problem::new(Ename::PolicyDenied, format!("'{path}' may not be opened"))
        }
        _ => Problem::new(Ename::FileNotFound, format!("'{path}' cannot be opened: {}", kind_text(error))),
    }
}

/// A file being written; it appears under its name when finished, and leaves nothing when dropped before.
pub struct NewFile {
    folder: std::os::fd::OwnedFd,
    temp: String,
    name: String,
    file: File,
    finished: bool,
}

impl NewFile {
    /// The file to write to.
    pub fn file(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Puts it in its place.
    pub fn finish(mut self) -> std::io::Result<u64> {
        let len = self.file.metadata()?.len();
        rustix::fs::renameat(&self.folder, self.temp.as_str(), &self.folder, self.name.as_str())?;
        self.finished = true;
        Ok(len)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = rustix::fs::unlinkat(&self.folder, self.temp.as_str(), AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_what_is_in_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let home_path = dir.path().join("ada");
        std::fs::create_dir_all(home_path.join("d")).unwrap();
        std::fs::write(home_path.join("d/events.csv"), "a\n1\n").unwrap();
        std::fs::write(dir.path().join("other.csv"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", home_path.join("link.csv")).unwrap();
        let home = Home::open(&home_path).unwrap();
        for good in [
            "d/events.csv",
            "~/d/events.csv",
            "./d/../d/events.csv",
            home_path.join("d/events.csv").to_str().unwrap(),
        ] {
            assert_eq!(home.source(good).unwrap().path, "d/events.csv", "{good}");
        }
        for (bad, ename) in [
            ("../other.csv", Ename::PolicyDenied),
            ("/etc/passwd", Ename::PolicyDenied),
            ("d/../../other.csv", Ename::PolicyDenied),
            ("file:///etc/passwd", Ename::PolicyDenied),
            ("link.csv", Ename::PolicyDenied),
            ("d/none.csv", Ename::FileNotFound),
        ] {
            let problem = home.source(bad).unwrap_err();
            assert_eq!(problem.ename, ename, "{bad}: {problem}");
        }
        assert_eq!(home.source("d/event.csv").unwrap_err().hint.unwrap(), "did you mean 'd/events.csv'?");
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let half = home.create("a.csv").unwrap();
        half.file().unwrap().write_all(b"x").unwrap();
        drop(half);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let whole = home.create("a.csv").unwrap();
        whole.file().unwrap().write_all(b"x").unwrap();
        assert_eq!(whole.finish().unwrap(), 1);
        assert_eq!(std::fs::read(dir.path().join("a.csv")).unwrap(), b"x");
        assert_eq!(home.create("no/a.csv").err().unwrap().ename, Ename::FileNotFound);
        assert_eq!(home.create("../a.csv").err().unwrap().ename, Ename::PolicyDenied);
    }
}
