//! What a new terminal will be: its name, its folder, its shell.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::Deserialize;

use crate::error::Error;
use crate::home::Home;
use crate::path::ContentsPath;
use crate::route::terminal_name;

/// A shell to be started.
#[derive(Debug)]
pub(crate) struct Shell {
    /// `None`: the next free number.
    pub(crate) name: Option<String>,
    /// The folder it starts in, held open.
    pub(crate) folder: OwnedFd,
    pub(crate) program: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
struct Given {
    name: Option<String>,
    cwd: Option<String>,
}

/// Reads the body of `POST /api/terminals`. A folder that is not there means the home, as in Jupyter.
pub(crate) fn prepare(home: &Home, body: &[u8]) -> Result<Shell, Error> {
    let given = if body.trim_ascii().is_empty() {
        Given::default()
    } else {
        serde_json::from_slice::<Option<Given>>(body)
            .map_err(|e| Error::bad(format!("invalid JSON in body of request: {e}")))?
            .unwrap_or_default()
    };
    let name = given.name.filter(|name| !name.is_empty());
    if let Some(name) = &name {
        terminal_name(name)
            .map_err(|_| Error::bad("a terminal's name is up to 64 letters, digits and underscores"))?;
    }
    let asked = given.cwd.as_deref().and_then(|cwd| home.relative(cwd));
    let folder = match asked.map(|path| home.open_dir(&path)) {
        Some(Ok(folder)) => folder,
        _ => home.open_dir(&ContentsPath::default())?,
    };
    let program = choose(std::env::var_os("SHELL").map(PathBuf::from));
    Ok(Shell { name, folder, program })
}

/// The user's shell if it can be run, otherwise the best there is.
fn choose(wanted: Option<PathBuf>) -> PathBuf {
    let runs = |path: &Path| path.is_absolute() && access(path, Access::EXEC_OK).is_ok() && path.is_file();
    wanted
        .into_iter()
        .chain([PathBuf::from("/bin/bash"), PathBuf::from("/bin/sh")])
        .find(|path| runs(path))
        .unwrap_or_else(|| PathBuf::from("/bin/sh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_one_that_runs() {
        assert_eq!(choose(Some("/bin/sh".into())), Path::new("/bin/sh"));
        for odd in ["/no/such/shell", "bash", "/etc", "/etc/passwd"] {
            assert!(
                ["/bin/bash", "/bin/sh"].map(Path::new).contains(&choose(Some(odd.into())).as_path()),
                "{odd}"
            );
        }
    }

    #[test]
    fn bodies() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), None).unwrap();
        assert_eq!(prepare(&home, b"").unwrap().name, None);
        assert_eq!(prepare(&home, b"null").unwrap().name, None);
        assert_eq!(prepare(&home, br#"{"name":"a_1","cwd":"gone"}"#).unwrap().name.as_deref(), Some("a_1"));
        for bad in [&b"{"[..], br#"{"name":"a/b"}"#, br#"{"name":"a b"}"#] {
            assert_eq!(prepare(&home, bad).unwrap_err().status(), 400);
        }
    }
}
