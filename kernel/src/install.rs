//! Writes a kernelspec that works under plain Jupyter: `jupyter console --kernel carrel`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::KernelError;

const SPEC: &str = include_str!("../kernelspec/kernel.json");
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-svg.svg", include_bytes!("../kernelspec/logo-svg.svg")),
    ("logo-32x32.png", include_bytes!("../kernelspec/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../kernelspec/logo-64x64.png")),
];

/// Where the kernelspec goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// For everybody: `/usr/local`.
    System,
    /// For this user.
    User,
    /// Below a folder.
    Prefix(PathBuf),
    /// Into the active Python environment.
    SysPrefix,
}

/// Writes the kernelspec for this very program and returns its folder.
///
/// # Errors
/// When the place is not known or cannot be written.
pub fn install(place: &Place) -> Result<PathBuf, KernelError> {
    let program = env::current_exe()
        .map_err(|source| KernelError::System { what: "cannot tell where this program lies", source })?;
    let folder = data_folder(place)?.join("kernels/carrel");
    write_spec(&folder, &program)?;
    Ok(folder)
}

/// Writes `kernel.json` and the logos into a folder.
fn write_spec(folder: &Path, program: &Path) -> Result<(), KernelError> {
    fs::create_dir_all(folder).map_err(|source| KernelError::Write { path: folder.to_owned(), source })?;
    let mut spec: Value = serde_json::from_str(SPEC).unwrap_or_else(|_| json!({}));
    spec["argv"][0] = json!(program);
    let spec = format!("{spec:#}\n");
    let files = LOGOS.into_iter().chain([("kernel.json", spec.as_bytes())]);
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|source| KernelError::Write { path, source })?;
    }
    Ok(())
}

fn data_folder(place: &Place) -> Result<PathBuf, KernelError> {
    match place {
        Place::System => Ok(PathBuf::from("/usr/local/share/jupyter")),
        Place::Prefix(prefix) => Ok(prefix.join("share/jupyter")),
        Place::User => user_folder().ok_or(KernelError::NoPlace("HOME is not set; use --prefix DIR")),
        Place::SysPrefix => sys_prefix()
            .map(|prefix| prefix.join("share/jupyter"))
            .ok_or(KernelError::NoPlace("no Python environment is active; use --prefix DIR")),
    }
}

fn user_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("JUPYTER_DATA_DIR")
        .or_else(|| set("XDG_DATA_HOME").map(|data| data.join("jupyter")))
        .or_else(|| set("HOME").map(|home| home.join(".local/share/jupyter")))
}

fn sys_prefix() -> Option<PathBuf> {
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(prefix) = env::var_os(name).filter(|value| !value.is_empty()) {
            return Some(prefix.into());
        }
    }
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.prefix)"]).output().ok()?;
    let prefix = String::from_utf8(asked.stdout).ok()?;
    (asked.status.success() && !prefix.trim().is_empty()).then(|| prefix.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_names_this_program_and_has_its_logos() {
        let folder = tempfile::tempdir().unwrap();
        let spec = folder.path().join("kernels/carrel");
        write_spec(&spec, Path::new("/opt/carrel/bin/carrel-kernel")).unwrap();
        let json: Value = serde_json::from_slice(&fs::read(spec.join("kernel.json")).unwrap()).unwrap();
        assert_eq!(json["argv"], json!(["/opt/carrel/bin/carrel-kernel", "run", "-f", "{connection_file}"]));
        assert_eq!(json["display_name"], "Carrel SQL");
        assert_eq!((&json["language"], &json["interrupt_mode"]), (&json!("sql"), &json!("message")));
        for name in ["logo-32x32.png", "logo-64x64.png"] {
            assert!(fs::read(spec.join(name)).unwrap().starts_with(b"\x89PNG"));
        }
        assert!(fs::read_to_string(spec.join("logo-svg.svg")).unwrap().contains("<svg"));
    }

    #[test]
    fn a_prefix_gets_jupyters_layout() {
        let place = Place::Prefix("/opt/x".into());
        assert_eq!(data_folder(&place).unwrap(), Path::new("/opt/x/share/jupyter"));
    }
}
