//! JupyterLab's settings: schemas from the assets, an administrator's defaults, a user's own values.
//!
//! A user's text is JSON5 with comments and is kept as it was written. It is checked against the schema when it is saved,
//! and again when it is read: a schema may have changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// Defaults that differ from JupyterLab's: what its own would fetch from the network or let an untrusted page trigger.
const OWN_DEFAULTS: &str = r#"{
    "@jupyterlab/apputils-extension:sanitizer": {"allowCommandLinker": false},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}
}"#;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A schema or overrides file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("{} is not JSON", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The administrator's overrides do not fit.
    #[error("settings overrides: {why}")]
    Overrides {
        /// What does not fit.
        why: String,
    },
}

/// Why a user's text was refused. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed validating input: {0}")]
pub struct Invalid(pub String);

/// All schemas, by plugin (`package:plugin`).
#[derive(Debug, Default)]
pub struct Schemas {
    plugins: BTreeMap<String, Plugin>,
}

/// One plugin's settings.
#[derive(Debug)]
pub struct Plugin {
    id: String,
    version: String,
    /// The schema as it is sent: JSON without white space.
    schema: String,
}

/// A user's own settings of one plugin, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Saved {
    /// JSON5, as it was written.
    pub raw: String,
    /// When it was first saved, RFC 3339.
    pub created: String,
    /// When it was last saved, RFC 3339.
    pub last_modified: String,
}

impl Schemas {
    /// Reads `folder/<package>/<plugin>.json`; a missing folder holds none.
    ///
    /// # Errors
    /// When a schema cannot be read or is not JSON.
    pub fn load(folder: &Path) -> Result<Self, SettingsError> {
        let mut schemas = Self::default();
        schemas.add(folder)?;
        Ok(schemas)
    }

    /// Adds (or replaces) the schemas of a folder: an extension's win over the application's.
    ///
    /// # Errors
    /// When a schema cannot be read or is not JSON.
    pub fn add(&mut self, folder: &Path) -> Result<(), SettingsError> {
        self.add_below(folder, "")
    }

    fn add_below(&mut self, root: &Path, package: &str) -> Result<(), SettingsError> {
        let folder = root.join(package);
        let failed = |source| SettingsError::Read { path: folder.clone(), source };
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        let mut version = None;
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if path.is_dir() {
                let below = if package.is_empty() { name.into() } else { format!("{package}/{name}") };
                self.add_below(root, &below)?;
            } else if let Some(plugin) = name.strip_suffix(".json") {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| SettingsError::Read { path: path.clone(), source })?;
                serde_json::from_str::<serde::de::IgnoredAny>(&text)
                    .map_err(|source| SettingsError::Parse { path: path.clone(), source })?;
                let id = format!("{package}:{plugin}");
                let version = version.get_or_insert_with(|| package_version(&folder)).clone();
                self.plugins.insert(id.clone(), Plugin { id, version, schema: minified(&text) });
            }
        }
        Ok(())
    }

    /// Puts our own defaults and then the administrator's file (`{"plugin id": {"key": default}}`) into the schemas.
    ///
    /// # Errors
    /// When the file cannot be read, or gives a key of a plugin something that is not an object.
    pub fn override_defaults(&mut self, file: Option<&Path>) -> Result<(), SettingsError> {
        let own: Map<String, Value> = serde_json::from_str(OWN_DEFAULTS)
            .map_err(|error| SettingsError::Overrides { why: error.to_string() })?;
        self.override_with(&own)?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| SettingsError::Read { path: path.into(), source })?;
            let overrides: Map<String, Value> = json5::from_str(&text).map_err(|error| {
                SettingsError::Overrides { why: format!("{} is not JSON5: {error}", path.display()) }
            })?;
            self.override_with(&overrides)?;
        }
        Ok(())
    }

    fn override_with(&mut self, overrides: &Map<String, Value>) -> Result<(), SettingsError> {
        for (id, defaults) in overrides {
            let Value::Object(defaults) = defaults else {
                return Err(SettingsError::Overrides { why: format!("{id} must be an object") });
            };
            // An override of a plugin that is not installed waits for it.
            let Some(plugin) = self.plugins.get_mut(id) else { continue };
            let mut schema = plugin.schema_value();
            for (key, default) in defaults {
                merge(&mut schema["properties"][key]["default"], default);
            }
            plugin.schema = schema.to_string();
        }
        Ok(())
    }

    /// The settings of one plugin.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Plugin> {
        self.plugins.get(id)
    }

    /// All plugins, in the reverse order of their names (as the reference sends them).
    pub fn iter(&self) -> impl Iterator<Item = &Plugin> {
        self.plugins.values().rev()
    }
}

impl Plugin {
    /// `package:plugin`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The JSON object that the settings API answers for this plugin.
    #[must_use]
    pub fn answer(&self, saved: Option<&Saved>) -> String {
        let parsed = saved.map(|saved| self.parse(&saved.raw));
        let (raw, settings, warning) = match (saved, parsed) {
            (Some(saved), Some(Ok(settings))) => (saved.raw.as_str(), settings, None),
            (Some(_), Some(Err(error))) => ("{}", json!({}), Some(error.to_string())),
            _ => ("{}", json!({}), None),
        };
        let text = |value: Option<&str>| Value::from(value).to_string();
        format!(
            r#"{{"id":{},"schema":{},"version":{},"raw":{},"settings":{settings},"warning":{},"last_modified":{},"created":{}}}"#,
            text(Some(&self.id)),
            self.schema,
            text(Some(&self.version)),
            text(Some(raw)),
            text(warning.as_deref()),
            text(saved.map(|saved| saved.last_modified.as_str())),
            text(saved.map(|saved| saved.created.as_str())),
        )
    }

    /// A user's text as a value that fits the schema.
    ///
    /// # Errors
    /// When it is not a JSON5 object, or does not fit; the text says where.
    pub fn parse(&self, raw: &str) -> Result<Value, Invalid> {
        let value: Value = json5::from_str(raw).map_err(|error| Invalid(error.to_string()))?;
        if !value.is_object() {
            return Err(Invalid("settings are an object".into()));
        }
        let validator = jsonschema::draft7::new(&self.schema_value())
            .map_err(|error| Invalid(format!("the schema of {} is wrong: {error}", self.id)))?;
        match validator.validate(&value) {
            Ok(()) => Ok(value),
            Err(error) => Err(Invalid(format!("{error} (at {})", place(&error.instance_path().to_string())))),
        }
    }

    fn schema_value(&self) -> Value {
        serde_json::from_str(&self.schema).unwrap_or_default()
    }
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the top" } else { pointer }
}

/// Objects are merged key by key, anything else is replaced.
fn merge(into: &mut Value, with: &Value) {
    match (into, with) {
        (Value::Object(into), Value::Object(with)) => {
            for (key, value) in with {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, with) => *into = with.clone(),
    }
}

fn package_version(folder: &Path) -> String {
    let package = std::fs::read(folder.join("package.json.orig")).unwrap_or_default();
    let package: Value = serde_json::from_slice(&package).unwrap_or_default();
    package["version"].as_str().unwrap_or("N/A").to_owned()
}

/// JSON without the white space between its tokens.
fn minified(json: &str) -> String {
    let mut small = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for letter in json.chars() {
        if inside {
            inside = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter == '"' {
            inside = true;
        } else if letter.is_ascii_whitespace() {
            continue;
        }
        small.push(letter);
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEMES: &str = "@jupyterlab/apputils-extension:themes";

    fn schemas() -> (tempfile::TempDir, Schemas) {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("@jupyterlab/apputils-extension");
        std::fs::create_dir_all(&package).unwrap();
        let write = |name: &str, text: &str| std::fs::write(package.join(name), text).unwrap();
        write("package.json.orig", r#"{"version": "4.6.6"}"#);
        write(
            "themes.json",
            r#"{ "type": "object", "additionalProperties": false, "title": "a \" b",
                 "properties": { "theme": {"type": "string", "default": "Light"},
                                 "overrides": {"type": "object", "default": {"a": 1, "b": 2}} } }"#,
        );
        write("sanitizer.json", r#"{"type":"object","properties":{"allowCommandLinker":{"default":true}}}"#);
        let schemas = Schemas::load(folder.path()).unwrap();
        (folder, schemas)
    }

    fn saved(raw: &str) -> Saved {
        Saved { raw: raw.into(), created: "c".into(), last_modified: "m".into() }
    }

    fn answer(schemas: &Schemas, saved: Option<&Saved>) -> Value {
        serde_json::from_str(&schemas.get(THEMES).unwrap().answer(saved)).unwrap()
    }

    #[test]
    fn without_values_the_schema_speaks() {
        let (_folder, schemas) = schemas();
        let answer = answer(&schemas, None);
        assert_eq!(answer["id"], THEMES);
        assert_eq!(answer["version"], "4.6.6");
        assert_eq!((&answer["raw"], &answer["settings"]), (&json!("{}"), &json!({})));
        assert_eq!(answer["schema"]["title"], "a \" b");
        assert_eq!(answer["created"], Value::Null);
        let ids: Vec<&str> = schemas.iter().map(Plugin::id).collect();
        assert_eq!(ids, [THEMES, "@jupyterlab/apputils-extension:sanitizer"]);
    }

    #[test]
    fn comments_stay_in_a_users_text() {
        let (_folder, schemas) = schemas();
        let raw = "{\n  // a comment stays\n  \"theme\": \"JupyterLab Dark\",\n}";
        let answer = answer(&schemas, Some(&saved(raw)));
        assert_eq!(answer["raw"], raw);
        assert_eq!(answer["settings"], json!({"theme": "JupyterLab Dark"}));
        assert_eq!((&answer["created"], &answer["last_modified"]), (&json!("c"), &json!("m")));
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_and_ignored() {
        let (_folder, schemas) = schemas();
        let themes = schemas.get(THEMES).unwrap();
        let error = themes.parse(r#"{"theme": 3}"#).unwrap_err().to_string();
        assert!(error.contains("/theme") && error.contains("string"), "{error}");
        for bad in ["{", "[]", "3", r#"{"unknown": 1}"#, ""] {
            assert!(themes.parse(bad).is_err(), "{bad}");
        }
        let answer = answer(&schemas, Some(&saved(r#"{"theme": 3}"#)));
        assert_eq!((&answer["raw"], &answer["settings"]), (&json!("{}"), &json!({})));
        assert!(answer["warning"].as_str().unwrap().contains("/theme"));
    }

    #[test]
    fn overrides_become_defaults() {
        let (folder, mut schemas) = schemas();
        let file = folder.path().join("overrides.json");
        std::fs::write(
            &file,
            r#"{ "@jupyterlab/apputils-extension:themes": {"theme": "Dark", "overrides": {"b": 3}, "new": 1},
                 "not:installed": {"x": 1}, }"#,
        )
        .unwrap();
        schemas.override_defaults(Some(&file)).unwrap();
        let properties = &answer(&schemas, None)["schema"]["properties"];
        assert_eq!(properties["theme"], json!({"type": "string", "default": "Dark"}));
        assert_eq!(properties["overrides"]["default"], json!({"a": 1, "b": 3}));
        assert_eq!(properties["new"], json!({"default": 1}));
        let sanitizer = schemas.get("@jupyterlab/apputils-extension:sanitizer").unwrap();
        assert!(sanitizer.schema.contains(r#""default":false"#), "{}", sanitizer.schema);
        std::fs::write(&file, r#"{"a:b": 3}"#).unwrap();
        assert!(schemas.override_defaults(Some(&file)).is_err());
    }
}
