//! A place on a cluster: `hdfs://name/path`, checked once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest path, as HDFS itself has it.
pub const MAX_PATH: usize = 8000;

const SCHEME: &str = "hdfs://";

/// `hdfs://name/path`: the path is absolute, without `.`, `..`, empty parts or control characters, and does not end in a slash.
/// An empty name is the default cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location {
    name: String,
    path: String,
}

/// Why a text is no location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Another scheme, or none.
    #[error("a place on the cluster begins with hdfs://")]
    Scheme,
    /// The part between `//` and the next slash.
    #[error("the cluster's name has letters, digits, '.', '-', '_' and perhaps a port")]
    Name,
    /// No slash after the name.
    #[error("the path begins with a slash, as in hdfs:///data/x")]
    Relative,
    /// `.` or `..`
    #[error("the path has no '.' or '..' in it")]
    Dots,
    /// A control character.
    #[error("the path has no control characters in it")]
    Control,
    /// Longer than [`MAX_PATH`].
    #[error("the path has at most {MAX_PATH} bytes")]
    TooLong,
}

impl Location {
    /// A path on the default cluster.
    ///
    /// # Errors
    /// When the path is not absolute, too long, or has dots or control characters.
    pub fn on_default(path: &str) -> Result<Self, LocationError> {
        Self::new("", path)
    }

    /// The root of a cluster that another place is on.
    #[must_use]
    pub fn root(&self) -> Self {
        Self { name: self.name.clone(), path: "/".to_owned() }
    }

    fn new(name: &str, path: &str) -> Result<Self, LocationError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if name.len() > 255 || !name.chars().all(good) {
            return Err(LocationError::Name);
        }
        let mut clean = String::with_capacity(path.len());
        for part in path.strip_prefix('/').ok_or(LocationError::Relative)?.split('/') {
            match part {
                "" => continue,
                "." | ".." => return Err(LocationError::Dots),
                _ if part.chars().any(char::is_control) => return Err(LocationError::Control),
                _ => {}
            }
            clean.push('/');
            clean.push_str(part);
        }
        if clean.is_empty() {
            clean.push('/');
        }
        if clean.len() > MAX_PATH {
            return Err(LocationError::TooLong);
        }
        Ok(Self { name: name.to_owned(), path: clean })
    }

    /// The cluster's name; empty for the default one.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.name
    }

    /// The path, `/` or `/a/b`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of the path; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that this is in; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (above, _) = self.path.rsplit_once('/').filter(|(_, last)| !last.is_empty())?;
        let path = if above.is_empty() { "/" } else { above };
        Some(Self { name: self.name.clone(), path: path.to_owned() })
    }

    /// A place below this one.
    ///
    /// # Errors
    /// When the relative path has dots or control characters, or the whole becomes too long.
    pub fn below(&self, relative: &str) -> Result<Self, LocationError> {
        Self::new(&self.name, &format!("{}/{relative}", self.path))
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let rest = text.strip_prefix(SCHEME).ok_or(LocationError::Scheme)?;
        let slash = rest.find('/').ok_or(LocationError::Relative)?;
        let (name, path) = rest.split_at(slash);
        Self::new(name, path)
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.name, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_ones_are_made_plain() {
        for (text, name, path) in [
            ("hdfs:///data/ads", "", "/data/ads"),
            ("hdfs://prod//data//ads/", "prod", "/data/ads"),
            ("hdfs://nn.example:8020/", "nn.example:8020", "/"),
            ("hdfs:///t/day=2026-11-01/a b.parquet", "", "/t/day=2026-11-01/a b.parquet"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!((location.cluster(), location.path()), (name, path));
        }
        let location = Location::on_default("/data").unwrap();
        assert_eq!(location.below("x/y").unwrap().to_string(), "hdfs:///data/x/y");
        assert_eq!(location.below("x/y").unwrap().file_name(), "y");
        assert_eq!(location.below("x").unwrap().parent().unwrap(), location);
        assert_eq!(location.parent().unwrap().path(), "/");
        assert!(location.parent().unwrap().parent().is_none());
    }

    #[test]
    fn bad_ones_are_refused() {
        for (text, error) in [
            ("/data", LocationError::Scheme),
            ("file:///data", LocationError::Scheme),
            ("hdfs://data", LocationError::Relative),
            ("hdfs://a@b/data", LocationError::Name),
            ("hdfs:///data/../etc", LocationError::Dots),
            ("hdfs:///data/./x", LocationError::Dots),
            ("hdfs:///data/\n", LocationError::Control),
            ("hdfs:///data/\u{0}", LocationError::Control),
        ] {
            assert_eq!(text.parse::<Location>().unwrap_err(), error, "{text}");
        }
        assert_eq!(
            format!("hdfs:///{}", "x".repeat(MAX_PATH)).parse::<Location>().unwrap_err(),
            LocationError::TooLong
        );
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_and_read_again(text in "hdfs://[a-z0-9:]{0,5}/[ -~]{0,40}") {
            if let Ok(location) = text.parse::<Location>() {
                prop_assert!(!location.path().contains("/../") && !location.path().contains("//"));
                prop_assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
            }
        }
    }
}
