//! Names that cannot be wrong: everything that a request may carry besides a verb.
//!
//! Each is parsed once, at the socket; whoever holds one may build a path from it without a further look.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a piece of text is not a name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct BadName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl BadName {
    fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: value.chars().take(80).collect(), rule }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(value: String) -> Result<Self, BadName> {
                let check: fn(&str) -> bool = $check;
                if check(&value) { Ok(Self(value)) } else { Err(BadName::new($what, &value, $rule)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(value: &str) -> Result<Self, BadName> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A user's folder-safe name: `[a-z0-9][a-z0-9._-]{0,63}`.
    UserName, "user", "expected [a-z0-9][a-z0-9._-]{0,63}",
    |s| {
        s.len() <= 64
            && s.bytes().next().is_some_and(lower_or_digit)
            && s.bytes().all(|b| lower_or_digit(b) || matches!(b, b'.' | b'_' | b'-'))
    }
);

name!(
    /// A jail's id: `[a-z0-9-]{1,64}`.
    JailId, "id", "expected [a-z0-9-]{1,64}",
    |s| (1..=64).contains(&s.len()) && s.bytes().all(|b| lower_or_digit(b) || b == b'-')
);

name!(
    /// The key of a kernelspec in the settings: `[A-Za-z0-9._-]{1,128}`, as Jupyter has it.
    SpecId, "kernelspec", "expected [A-Za-z0-9._-]{1,128}",
    |s| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
);

name!(
    /// A group of the Hub's: 1 to 255 bytes without control characters. It is compared, nothing else.
    GroupName, "group", "expected 1 to 255 bytes without control characters",
    |s| (1..=255).contains(&s.len()) && !s.chars().any(char::is_control)
);

name!(
    /// A path below the home: relative, at most 1024 bytes, without `..`, empty parts or NUL. Empty is the home itself.
    RelPath, "cwd", "expected a relative path of at most 1024 bytes without '..', empty parts or NUL",
    |s| {
        s.len() <= 1024
            && !s.contains('\0')
            && (s.is_empty() || s.split('/').all(|part| !part.is_empty() && part != ".." && part != "."))
    }
);

impl RelPath {
    /// The home itself.
    #[must_use]
    pub fn home() -> Self {
        Self(String::new())
    }
}

impl Default for RelPath {
    fn default() -> Self {
        Self::home()
    }
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_names() {
        for user in ["ada", "a", "0x", "ada.lovelace", "a_b-c", &"a".repeat(64)] {
            assert!(user.parse::<UserName>().is_ok(), "{user}");
        }
        for cwd in ["", "a", "a/b", "a b/ü.ipynb", "...", "a..b"] {
            assert!(cwd.parse::<RelPath>().is_ok(), "{cwd}");
        }
        assert!("0b6e-aa".parse::<JailId>().is_ok());
        assert!("python3.12".parse::<SpecId>().is_ok());
    }

    #[test]
    fn bad_names() {
        for user in ["", ".", "..", ".ada", "-a", "_a", "Ada", "a/b", "a b", "a\0", "ü", &"a".repeat(65)] {
            assert!(user.parse::<UserName>().is_err(), "{user}");
        }
        for id in ["", "..", "a.b", "a/b", "A", "a_b", &"a".repeat(65)] {
            assert!(id.parse::<JailId>().is_err(), "{id}");
        }
        for cwd in ["/", "/a", "..", "a/../b", "a//b", "a/", "./a", "a\0b", &"a".repeat(1025)] {
            assert!(cwd.parse::<RelPath>().is_err(), "{cwd}");
        }
        for spec in ["", "a/b", "a b", &"a".repeat(129)] {
            assert!(spec.parse::<SpecId>().is_err(), "{spec}");
        }
    }

    proptest! {
        /// Whatever parses stays one path component below any folder, and comes back unchanged.
        #[test]
        fn accepted_names_are_single_components(s in "\\PC{0,70}") {
            if let Ok(user) = s.parse::<UserName>() {
                let path = std::path::Path::new("/homes").join(user.as_str());
                prop_assert_eq!(path.components().count(), 3);
                prop_assert_eq!(String::from(user), s.clone());
            }
            if let Ok(id) = s.parse::<JailId>() {
                prop_assert!(std::path::Path::new(id.as_str()).components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
            if let Ok(cwd) = s.parse::<RelPath>() {
                let path = std::path::Path::new(cwd.as_str());
                prop_assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
