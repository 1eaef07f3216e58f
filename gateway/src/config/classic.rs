//! `[classic]`: full Python servers, and who may have one.

use carrel_hub::{GroupName, UserName};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// `[classic]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassicSettings {
    /// Whether anybody may have one.
    pub enabled: bool,
    /// Who may.
    pub users: Vec<String>,
    /// Whose members may.
    pub groups: Vec<String>,
    /// The Python environment; `None` takes the installation's own.
    pub environment: Option<PathBuf>,
    /// Other folders that it needs.
    pub paths: Vec<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// How long a start may take.
    pub start_seconds: u64,
    /// How often it reports activity.
    pub activity_seconds: u64,
    /// A server that was not used for this long ends; 0 is never.
    pub idle_seconds: u64,
}

impl Default for ClassicSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            users: Vec::new(),
            groups: Vec::new(),
            environment: None,
            paths: Vec::new(),
            arguments: Vec::new(),
            start_seconds: 90,
            activity_seconds: 300,
            idle_seconds: 0,
        }
    }
}

impl ClassicSettings {
    /// Where its programs lie.
    pub fn environment(&self, prefix: &Path) -> PathBuf {
        self.environment.clone().unwrap_or_else(|| prefix.join("share/classic"))
    }

    /// Whether this user may have one.
    pub fn allows(&self, user: &UserName, groups: &[String]) -> bool {
        let everybody = self.users.is_empty() && self.groups.is_empty();
        let named = || self.users.iter().any(|name| UserName::parse(name).is_ok_and(|name| name == *user));
        let member = || self.groups.iter().any(|group| groups.contains(group));
        self.enabled && (everybody || named() || member())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for path in self.environment.iter().chain(&self.paths) {
            if !path.is_absolute() {
                return Err(format!("classic: {} must be an absolute path", path.display()));
            }
        }
        for name in &self.users {
            UserName::parse(name).map_err(|e| format!("classic.users: {e}"))?;
        }
        for name in &self.groups {
            GroupName::parse(name).map_err(|e| format!("classic.groups: {e}"))?;
        }
        let seconds = [
            ("start_seconds", self.start_seconds, 5, 3600),
            ("activity_seconds", self.activity_seconds, 1, 86_400),
        ];
        for (key, value, min, max) in seconds {
            if !(min..=max).contains(&value) {
                return Err(format!("classic.{key} must be between {min} and {max}, not {value}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use std::path::Path;

    #[test]
    fn who_may_have_one() {
        let may = |text: &str, user: &str, groups: &[&str]| {
            let config = Config::parse(text, Path::new("/state")).unwrap();
            let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
            config.classic.allows(&carrel_hub::UserName::parse(user).unwrap(), &groups)
        };
        assert!(!may("", "ada", &[]));
        assert!(may("[classic]\nenabled = true", "ada", &[]));
        let some = "[classic]\nenabled = true\nusers = [\"Ada\"]\ngroups = [\"ml\"]";
        assert!(may(some, "ada", &[]) && may(some, "bob", &["x", "ml"]));
        assert!(!may(some, "bob", &["x"]));
        assert!(!may("[classic]\nusers = [\"ada\"]", "ada", &[]), "named, but not enabled");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("environment = \"env\"", "must be an absolute path"),
            ("start_seconds = 1", "classic.start_seconds must be between"),
            ("users = [\"a/b\"]", "classic.users: user name must not contain"),
            ("user = [\"a\"]", "did you mean users?"),
        ] {
            let got = Config::parse(&format!("[classic]\n{text}"), Path::new("/state")).unwrap_err();
            assert!(got.contains(want), "{text}: {got}");
        }
    }
}
