//! `ContentsPath`: a path of the contents API that cannot name anything outside its root.
//!
//! It says where something would be; whether a link on the way leads out is for `home` to refuse, when it opens.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::Error;

/// Longest path in bytes: what one `openat2` takes.
const MAX_BYTES: usize = 4095;
/// Longest name in bytes on the usual file systems.
const MAX_NAME_BYTES: usize = 255;
/// What stays readable in a `Location` header; `/` too.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Names joined by `/`, relative to the home; empty for the home itself. No name is empty, `.`, `..` or holds NUL or `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct ContentsPath(String);

impl ContentsPath {
    /// Reads a path as it stands in a URL, percent-encoded.
    pub(crate) fn from_url(raw: &str) -> Result<ContentsPath, Error> {
        let decoded =
            percent_decode_str(raw).decode_utf8().map_err(|_| Error::bad("the path is not UTF-8"))?;
        ContentsPath::parse(&decoded)
    }

    /// Reads a path as it stands in a JSON body. Slashes at the ends and doubled ones do not count.
    pub(crate) fn parse(text: &str) -> Result<ContentsPath, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::bad(format!("path too long: more than {MAX_BYTES} bytes")));
        }
        if text.contains('\0') {
            return Err(Error::bad("the path contains a NUL character"));
        }
        let mut path = String::with_capacity(text.len());
        for name in text.split('/').filter(|name| !name.is_empty()) {
            if name == "." || name == ".." {
                return Err(Error::Outside(text.to_owned()));
            }
            if name.len() > MAX_NAME_BYTES {
                return Err(Error::bad(format!("name too long: more than {MAX_NAME_BYTES} bytes")));
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(name);
        }
        Ok(ContentsPath(path))
    }

    /// The path with `/` between names, `""` for the home.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as the system calls take it, `"."` for the home.
    pub(crate) fn as_os(&self) -> &str {
        if self.0.is_empty() { "." } else { &self.0 }
    }

    /// Is it the home itself?
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last name, `""` for the home.
    pub(crate) fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// The folder that holds it; the home is in itself.
    pub(crate) fn parent(&self) -> ContentsPath {
        ContentsPath(self.0.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned()))
    }

    /// The names from the home down.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// A name below this folder.
    pub(crate) fn join(&self, name: &str) -> Result<ContentsPath, Error> {
        ContentsPath::parse(&format!("{}/{name}", self.0))
    }

    /// Is it `other` or something below it?
    pub(crate) fn is_within(&self, other: &ContentsPath) -> bool {
        other.is_root()
            || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Does any name on it begin with a dot? The contents API neither shows nor takes those.
    pub(crate) fn is_hidden(&self) -> bool {
        self.names().any(|name| name.starts_with('.'))
    }

    /// Percent-encoded for a `Location` header.
    pub(crate) fn to_url(&self) -> String {
        utf8_percent_encode(&self.0, ESCAPED).to_string()
    }
}

impl fmt::Display for ContentsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(raw: &str, expect: &str) {
        assert_eq!(ContentsPath::from_url(raw).unwrap().as_str(), expect);
    }

    #[track_caller]
    fn refused(raw: &str, status: u16) {
        let error = ContentsPath::from_url(raw).unwrap_err();
        assert_eq!(error.status(), StatusCode::from_u16(status).unwrap(), "{raw}: {error}");
    }

    #[test]
    fn plain_paths() {
        check("", "");
        check("/", "");
        check("//a///b/", "a/b");
        check("a%20b/%C3%A9", "a b/é");
        check("..%5c..%5cx", "..\\..\\x");
        check("%252e%252e", "%2e%2e");
        check("....//x", "..../x");
        check("..;/x", "..;/x");
    }

    #[test]
    fn paths_that_leave_are_refused() {
        for raw in ["..", "../x", "%2e%2e/x", "a/..%2f..", "a/./b", ".", "%2Fetc/%2e%2e"] {
            refused(raw, 404);
        }
        for raw in ["%00x", "x%00.txt", "%ff"] {
            refused(raw, 400);
        }
        refused(&"n".repeat(256), 400);
        refused(&"d/".repeat(3000), 400);
    }

    #[test]
    fn parts() {
        let path = ContentsPath::parse("a/b/c.txt").unwrap();
        assert_eq!((path.name(), path.parent().as_str()), ("c.txt", "a/b"));
        assert!(path.is_within(&ContentsPath::parse("a/b").unwrap()));
        assert!(!path.is_within(&ContentsPath::parse("a/bb").unwrap()));
        assert!(!ContentsPath::parse("a/bb").unwrap().is_within(&ContentsPath::parse("a/b").unwrap()));
        assert!(path.is_within(&ContentsPath::default()));
        assert!(ContentsPath::parse("a/.b/c").unwrap().is_hidden());
        assert_eq!(ContentsPath::parse("a b/é#?.txt").unwrap().to_url(), "a%20b/%C3%A9%23%3F.txt");
    }

    proptest! {
        #[test]
        fn whatever_parses_stays_below(text in "\\PC*|([./%a]|\\.\\.|%2e|%2f|\u{0}){0,40}") {
            for parsed in [ContentsPath::from_url(&text), ContentsPath::parse(&text)].into_iter().flatten() {
                prop_assert!(!parsed.as_str().starts_with('/'));
                prop_assert!(!parsed.as_str().contains('\0'));
                prop_assert!(parsed.names().all(|name| name != "." && name != ".." && !name.is_empty()));
                let joined = std::path::Path::new("/home/ada").join(parsed.as_str());
                prop_assert!(joined.starts_with("/home/ada"));
                prop_assert_eq!(ContentsPath::from_url(&parsed.to_url()).unwrap(), parsed);
            }
        }
    }
}
