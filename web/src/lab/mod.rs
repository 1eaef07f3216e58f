//! The unpacked JupyterLab folder: what is in it, read once at start.

mod page;

pub use page::{Mode, Page, index_html, page_config};

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::Table;
use crate::settings::{Schemas, SettingsError};

/// Why the JupyterLab folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A part of it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JupyterLab's folder.
    #[error("{} is not an unpacked JupyterLab: it has no {missing}", folder.display())]
    NotLab {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        missing: &'static str,
    },
    /// A file in it is not what it must be.
    #[error("cannot understand {}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A schema or the administrator's overrides are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// JupyterLab's assets: tables of files, extensions and setting schemas. The default is a folder with nothing in it.
#[derive(Debug, Default)]
pub struct Lab {
    /// JupyterLab's version, also part of the address of its static files.
    pub version: String,
    /// `main.<hash>.js`, the script that the page loads.
    pub main: String,
    /// The prebuilt extensions that the page loads.
    pub extensions: Vec<Extension>,
    /// `static/lab`: every name carries a hash of its content.
    pub statics: Table,
    /// `lab/extensions`.
    pub extension_files: Table,
    /// `lab/api/themes`.
    pub themes: Table,
    /// `static/favicons`.
    pub favicons: Table,
    /// Schemas of all settings, with the administrator's defaults in them.
    pub schemas: Schemas,
    /// The REST description that `api/spec.yaml` answers.
    pub api_yaml: Option<PathBuf>,
}

/// A prebuilt ("federated") extension, as the page's configuration lists it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Extension {
    /// Package name, maybe with a scope.
    pub name: String,
    /// The script to load, below the extension's folder.
    pub load: String,
    /// The module that exports the plugins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// The module that loads the styles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// The plugins whose place its own take; the page leaves them out.
    #[serde(skip)]
    pub replaces: Vec<String>,
}

impl Lab {
    /// Reads `share/lab`. Extensions may also lie in `labextensions` beside it. `overrides` is the administrator's
    /// `overrides.json`, if there is one.
    ///
    /// # Errors
    /// When the folder is not an unpacked JupyterLab, or the overrides are not what the schemas take.
    pub fn load(folder: &Path, overrides: Option<&Path>) -> Result<Self, LabError> {
        let table = |name: &str| {
            let path = folder.join(name);
            Table::scan(&path).map_err(|source| LabError::Read { path, source })
        };
        let statics = table("static")?;
        let main = statics
            .names()
            .find(|name| name.starts_with("main.") && name.ends_with(".js") && !name.contains('/'))
            .ok_or_else(|| LabError::NotLab {
                folder: folder.into(),
                missing: "static/main.*.js (run deploy/lab/fetch-lab)",
            })?
            .to_owned();
        let package = json(&folder.join("static/package.json"))?;
        let version = package["jupyterlab"]["version"].as_str().or(package["version"].as_str());
        let version = version
            .ok_or_else(|| LabError::NotLab {
                folder: folder.into(),
                missing: "version in static/package.json",
            })?
            .to_owned();

        let mut schemas = Schemas::load(&folder.join("schemas"))?;
        let mut extensions: Vec<Extension> = Vec::new();
        let mut extension_files = Table::default();
        let beside = folder.parent().map(|parent| parent.join("labextensions"));
        for root in [Some(folder.join("labextensions")), beside].into_iter().flatten() {
            extension_files.add(&root).map_err(|source| LabError::Read { path: root.clone(), source })?;
            for (path, extension) in list_extensions(&root)? {
                if extensions.iter().all(|known| known.name != extension.name) {
                    schemas.add(&path.join("schemas"))?;
                    extensions.push(extension);
                }
            }
        }
        schemas.override_defaults(overrides)?;
        let api_yaml = Some(folder.join("api.yaml")).filter(|path| path.is_file());
        Ok(Self {
            version,
            main,
            extensions,
            statics,
            extension_files,
            themes: table("themes")?,
            favicons: table("favicons")?,
            schemas,
            api_yaml,
        })
    }
}

/// Extensions in `root/<name>` and `root/@scope/<name>`, in the order of their names.
fn list_extensions(root: &Path) -> Result<Vec<(PathBuf, Extension)>, LabError> {
    let mut folders = Vec::new();
    for folder in folders_in(root)? {
        let scoped = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
        if scoped { folders.extend(folders_in(&folder)?) } else { folders.push(folder) }
    }
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        let package = folder.join("package.json");
        if !package.is_file() {
            continue;
        }
        let package = json(&package)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let build = &package["jupyterlab"]["_build"];
        if let (Some(name), Some(load)) = (text(&package["name"]), text(&build["load"])) {
            let replaces = package["jupyterlab"]["disabledExtensions"].as_array();
            let extension = Extension {
                name,
                load,
                extension: text(&build["extension"]),
                style: text(&build["style"]),
                replaces: replaces.into_iter().flatten().filter_map(text).collect(),
            };
            found.push((folder, extension));
        }
    }
    Ok(found)
}

fn folders_in(root: &Path) -> Result<Vec<PathBuf>, LabError> {
    let failed = |source| LabError::Read { path: root.into(), source };
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn json(path: &Path) -> Result<Value, LabError> {
    let text = std::fs::read(path).map_err(|source| LabError::Read { path: path.into(), source })?;
    serde_json::from_slice(&text).map_err(|source| LabError::Parse { path: path.into(), source })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("lab/static/main.0a1b.js", "main"),
            ("lab/static/package.json", r#"{"version":"4.6.6"}"#),
            ("lab/favicons/favicon.ico", "x"),
            (
                "lab/labextensions/first/package.json",
                r#"{"name":"first","jupyterlab":{"_build":{"load":"static/r.js","extension":"./extension"}}}"#,
            ),
            ("lab/labextensions/broken/readme.txt", "no package.json"),
            (
                "labextensions/@carrel/data/package.json",
                r#"{"name":"@carrel/data","jupyterlab":{"_build":{"load":"static/d.js","style":"./style"},
                    "disabledExtensions":["@jupyterlab/some:part"]}}"#,
            ),
            ("labextensions/@carrel/data/static/d.js", "d"),
            (
                "labextensions/@carrel/data/schemas/@carrel/data/plugin.json",
                r#"{"type":"object","properties":{"on":{"type":"boolean","default":true}}}"#,
            ),
            (
                "labextensions/first/package.json",
                r#"{"name":"first","jupyterlab":{"_build":{"load":"other.js"}}}"#,
            ),
        ];
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn extensions_of_both_folders_are_found_once() {
        let folder = folder();
        let lab = Lab::load(&folder.path().join("lab"), None).unwrap();
        assert_eq!((lab.version.as_str(), lab.main.as_str()), ("4.6.6", "main.0a1b.js"));
        let loads: Vec<(&str, &str)> =
            lab.extensions.iter().map(|e| (e.name.as_str(), e.load.as_str())).collect();
        assert_eq!(loads, [("first", "static/r.js"), ("@carrel/data", "static/d.js")]);
        assert!(lab.extension_files.find("@carrel/data/static/d.js", "").is_some());
        assert!(lab.schemas.get("@carrel/data:plugin").is_some());
    }

    #[test]
    fn another_folder_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = Lab::load(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("fetch-lab"), "{error}");
    }
}
