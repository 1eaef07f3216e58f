//! Which kernels there are: `share/kernels/<name>/kernel.json` below the prefix, in Jupyter's own form, read once at start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carrel_web::files::Table;
use serde_json::{Map, Value, json};

/// The kernelspecs that may be started.
#[derive(Debug, Default)]
pub struct Specs {
    default: String,
    specs: BTreeMap<String, Spec>,
}

/// One kernelspec.
#[derive(Debug)]
pub struct Spec {
    /// `kernel.json` as it stands.
    spec: Map<String, Value>,
    /// Logos and whatever else lies beside it.
    pub files: Table,
}

impl Specs {
    /// Reads all kernelspecs below `folder`. One that cannot be read is left out, with a line in the log.
    #[must_use]
    pub fn load(folder: &Path, default: &str) -> Self {
        let mut specs = BTreeMap::new();
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(path = %folder.display(), %error, "no kernelspecs can be read");
                return Self { default: default.to_owned(), specs };
            }
        };
        for path in
            entries.flatten().map(|entry| entry.path()).filter(|path| path.join("kernel.json").is_file())
        {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            match Spec::load(&path) {
                Ok(spec) => drop(specs.insert(name, spec)),
                Err(error) => tracing::error!(kernelspec = name, %error, "kernelspec left out"),
            }
        }
        // A default that does not exist would fail every new notebook.
        let default = if specs.contains_key(default) {
            default
        } else {
            specs.keys().next().map_or(default, String::as_str)
        };
        Self { default: default.to_owned(), specs }
    }

    /// The kernelspec that is meant by this name, or by none.
    #[must_use]
    pub fn resolve<'a>(&'a self, name: Option<&'a str>) -> Option<&'a str> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(&self.default);
        self.specs.contains_key(name).then_some(name)
    }

    /// One kernelspec.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Spec> {
        self.specs.get(name)
    }

    /// What `/api/kernelspecs` answers below this server's address.
    #[must_use]
    pub fn list(&self, base: &str) -> Value {
        let specs: Map<String, Value> =
            self.specs.iter().map(|(name, spec)| (name.clone(), spec.model(name, base))).collect();
        json!({"default": self.default, "kernelspecs": specs})
    }

    /// What `/api/kernelspecs/{name}` answers.
    #[must_use]
    pub fn model(&self, name: &str, base: &str) -> Option<Value> {
        self.specs.get(name).map(|spec| spec.model(name, base))
    }
}

impl Spec {
    fn load(folder: &Path) -> Result<Self, SpecError> {
        let path = folder.join("kernel.json");
        let text = std::fs::read(&path).map_err(|source| SpecError::Read { path: path.clone(), source })?;
        let mut spec: Map<String, Value> = serde_json::from_slice(&text)
            .map_err(|source| SpecError::Parse { path: path.clone(), source })?;
        // Every front end reads these without asking whether they are there.
        for (key, value) in [
            ("argv", json!([])),
            ("env", json!({})),
            ("display_name", json!(folder.file_name().map(|name| name.to_string_lossy()))),
            ("language", json!("")),
            ("interrupt_mode", json!("signal")),
            ("metadata", json!({})),
        ] {
            spec.entry(key).or_insert(value);
        }
        let files = Table::scan(folder).map_err(|source| SpecError::Read { path, source })?;
        Ok(Self { spec, files })
    }

    fn model(&self, name: &str, base: &str) -> Value {
        let mut spec = self.spec.clone();
        // Programs and environment are this host's business, not the browser's.
        spec.insert("argv".into(), json!([]));
        spec.insert("env".into(), json!({}));
        let resources: Map<String, Value> = self
            .files
            .names()
            .filter(|file| !file.contains('/'))
            .filter_map(|file| {
                let (stem, end) = file.rsplit_once('.')?;
                let key = match (stem, end) {
                    (stem, "png") if stem.starts_with("logo-") => stem,
                    ("logo-svg", "svg") => stem,
                    ("kernel", "js" | "css") => file,
                    _ => return None,
                };
                Some((key.to_owned(), Value::from(format!("{base}kernelspecs/{name}/{file}"))))
            })
            .collect();
        json!({"name": name, "spec": spec, "resources": resources})
    }
}

#[derive(Debug, thiserror::Error)]
enum SpecError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot understand {}: {source}", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernelspecs_are_read_and_told_without_the_hosts_paths() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "carrel/kernel.json",
                r#"{"argv": ["/opt/x", "{connection_file}"], "display_name": "Carrel SQL", "language": "sql", "env": {"A": "1"}}"#,
            ),
            ("carrel/logo-svg.svg", "<svg/>"),
            ("carrel/logo-64x64.png", "png"),
            ("carrel/notes.txt", "x"),
            ("broken/kernel.json", "{"),
            ("empty/readme", ""),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let specs = Specs::load(folder.path(), "carrel");
        let list = specs.list("/user/ada/");
        assert_eq!(list["default"], "carrel");
        assert_eq!(list["kernelspecs"].as_object().unwrap().len(), 1);
        let model = specs.model("carrel", "/user/ada/").unwrap();
        assert_eq!(model["spec"]["display_name"], "Carrel SQL");
        assert_eq!(model["spec"]["argv"], json!([]));
        assert_eq!(
            model["resources"],
            json!({"logo-svg": "/user/ada/kernelspecs/carrel/logo-svg.svg",
                   "logo-64x64": "/user/ada/kernelspecs/carrel/logo-64x64.png"})
        );
        assert_eq!(specs.resolve(None), Some("carrel"));
        assert_eq!(specs.resolve(Some("")), Some("carrel"));
        assert_eq!(specs.resolve(Some("nope")), None);
        assert_eq!(Specs::load(folder.path(), "gone").resolve(None), Some("carrel"));
    }
}
