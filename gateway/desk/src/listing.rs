//! What is in a folder.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Dir, FileType, statat};

use crate::atomic::sweep;
use crate::error::Error;
use crate::home::{Home, kind, name_writable};
use crate::model::Model;
use crate::path::ContentsPath;

/// More entries than this are refused: half a gigabyte of JSON helps nobody.
const MAX_ENTRIES: usize = 100_000;

/// Models, without content, of everything in the folder that the contents API shows, by name.
pub(crate) fn list(
    home: &Home,
    path: &ContentsPath,
    folder: File,
    now: SystemTime,
) -> Result<Vec<Model>, Error> {
    let fail = |e| Error::os("list", path.as_str(), e);
    let folder = OwnedFd::from(folder);
    let mut models = Vec::new();
    for entry in Dir::read_from(&folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let bytes = entry.file_name().to_bytes();
        if !is_shown(bytes) {
            sweep(&folder, bytes, now);
            continue;
        }
        if models.len() == MAX_ENTRIES {
            return Err(Error::TooLarge(format!("'{path}' holds more than {MAX_ENTRIES} files")));
        }
        models.extend(entry_model(home, path, &folder, bytes));
    }
    models.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(models)
}

/// One entry; none for what is neither file nor folder, for links that lead nowhere or out, and for what just went away.
fn entry_model(home: &Home, path: &ContentsPath, folder: &OwnedFd, bytes: &[u8]) -> Option<Model> {
    let name = String::from_utf8_lossy(bytes);
    let shown = if path.is_root() { name.to_string() } else { format!("{path}/{name}") };
    let mut stat = statat(folder, OsStr::from_bytes(bytes), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if kind(&stat) == FileType::Symlink {
        stat = home.stat(&path.join(std::str::from_utf8(bytes).ok()?).ok()?).ok()?;
    }
    match kind(&stat) {
        FileType::RegularFile | FileType::Directory => {}
        _ => return None,
    }
    // A name that is not UTF-8 cannot be asked for, so it cannot be written either.
    let writable = std::str::from_utf8(bytes).is_ok() && name_writable(folder, OsStr::from_bytes(bytes));
    Some(Model::named(&name, shown, &stat, writable, None))
}

/// Jupyter's defaults: no dot files, no byte code, no editor backups.
fn is_shown(name: &[u8]) -> bool {
    !(name.starts_with(b".")
        || name == b"__pycache__"
        || name.ends_with(b".pyc")
        || name.ends_with(b".pyo")
        || name.ends_with(b"~"))
}
