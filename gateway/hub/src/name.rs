//! User, server, group and service names: parsed once at the edge, well formed ever after.

use sha2::{Digest, Sha256};
use std::fmt;

/// The longest user or group name, in characters.
pub const MAX_NAME: usize = 128;
/// The longest server name, in characters.
pub const MAX_SERVER_NAME: usize = 63;
/// Names up to this length may stand as folder names unchanged.
const MAX_PLAIN: usize = 40;
const DIGEST_LEN: usize = 20;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{0} name must not be empty")]
    Empty(&'static str),
    /// Too long.
    #[error("{0} name is longer than {1} characters")]
    TooLong(&'static str, usize),
    /// A character that can never be part of such a name.
    #[error("{0} name must not contain {1:?}")]
    Character(&'static str, char),
    /// Blank at either end.
    #[error("{0} name must not begin or end with a blank")]
    Blank(&'static str),
    /// A server name that is no slug.
    #[error(
        "server name {0:?} must be lower-case letters, digits and inner hyphens, beginning with a letter or digit"
    )]
    NotASlug(String),
    /// A service name that would not stay as it is in an address.
    #[error(
        "service name {0:?} must be letters, digits, dots, hyphens and underscores, beginning with a letter or digit"
    )]
    NotAService(String),
}

/// A user's name in its normal form (lower case), as JupyterHub keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(String);

impl UserName {
    /// Normalises and checks a name as a person typed it.
    pub fn parse(raw: &str) -> Result<Self, NameError> {
        let name = raw.to_lowercase();
        check_text("user", &name)?;
        Ok(Self(name))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder-safe form `[a-z0-9][a-z0-9._-]{0,63}` by which the sandbox knows this user.
    ///
    /// Most names are their own escape. Any other keeps a readable beginning and ends in `--` and twenty digits of its digest, a
    /// form that no plain name may have, so two users never share a folder.
    pub fn escaped(&self) -> String {
        if self.is_plain() {
            return self.0.clone();
        }
        let mut readable: String =
            self.0.chars().map(|c| if is_plain_char(c) { c } else { '-' }).take(MAX_PLAIN).collect();
        while readable.starts_with(['.', '_', '-']) {
            readable.remove(0);
        }
        if readable.is_empty() {
            readable.push('u');
        }
        let digest = hex::encode(Sha256::digest(self.0.as_bytes()));
        format!("{readable}--{}", digest.get(..DIGEST_LEN).unwrap_or(&digest))
    }

    fn is_plain(&self) -> bool {
        let digest_like = self
            .0
            .rsplit_once("--")
            .is_some_and(|(_, tail)| tail.len() == DIGEST_LEN && tail.bytes().all(|b| b.is_ascii_hexdigit()));
        self.0.len() <= MAX_PLAIN
            && self.0.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && self.0.chars().all(is_plain_char)
            && !digest_like
    }
}

/// A server's name: empty for a user's default server, otherwise a DNS-like slug.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ServerName(String);

impl ServerName {
    /// The name of every user's default server.
    pub const fn default_server() -> Self {
        Self(String::new())
    }

    /// Checks a server's name; the empty text is the default server.
    pub fn parse(raw: &str) -> Result<Self, NameError> {
        if raw.chars().count() > MAX_SERVER_NAME {
            return Err(NameError::TooLong("server", MAX_SERVER_NAME));
        }
        let inner = raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !inner || raw.starts_with('-') || raw.ends_with('-') {
            return Err(NameError::NotASlug(raw.to_owned()));
        }
        Ok(Self(raw.to_owned()))
    }

    /// The name itself, empty for the default server.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the default server.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

/// A group's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupName(String);

impl GroupName {
    /// Checks a group's name. Case is kept.
    pub fn parse(raw: &str) -> Result<Self, NameError> {
        check_text("group", raw)?;
        Ok(Self(raw.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A service's name: part of addresses and of the id of its OAuth client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// Checks a service's name. Case is kept.
    pub fn parse(raw: &str) -> Result<Self, NameError> {
        if raw.is_empty() {
            return Err(NameError::Empty("service"));
        }
        if raw.len() > MAX_SERVER_NAME {
            return Err(NameError::TooLong("service", MAX_SERVER_NAME));
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !raw.bytes().all(inner) || !raw.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(NameError::NotAService(raw.to_owned()));
        }
        Ok(Self(raw.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its pages are.
    pub fn prefix(&self) -> String {
        format!("/services/{}/", self.0)
    }
}

fn check_text(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(what));
    }
    if name.chars().count() > MAX_NAME {
        return Err(NameError::TooLong(what, MAX_NAME));
    }
    // '/' ends a path segment, '!' and '=' and ',' belong to scope filters, controls have no place in a name
    if let Some(bad) = name
        .chars()
        .find(|c| c.is_control() || matches!(c, '/' | '\\' | '!' | '=' | ',' | '\u{2028}' | '\u{2029}'))
    {
        return Err(NameError::Character(what, bad));
    }
    if name.trim() != name {
        return Err(NameError::Blank(what));
    }
    Ok(())
}

fn is_plain_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
}

macro_rules! display_as_str {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
display_as_str!(UserName, ServerName, GroupName, ServiceName);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_names_are_normalised_or_refused() {
        let table: &[(&str, Result<&str, NameError>)] = &[
            ("ada", Ok("ada")),
            ("Ada.Lovelace", Ok("ada.lovelace")),
            ("ÉMILIE", Ok("émilie")),
            ("a b", Ok("a b")),
            ("", Err(NameError::Empty("user"))),
            ("a/b", Err(NameError::Character("user", '/'))),
            ("a!b", Err(NameError::Character("user", '!'))),
            ("a\nb", Err(NameError::Character("user", '\n'))),
            (" ada", Err(NameError::Blank("user"))),
        ];
        for (raw, want) in table {
            let got = UserName::parse(raw);
            assert_eq!(got.as_ref().map(UserName::as_str).map_err(Clone::clone), want.clone(), "{raw:?}");
        }
        assert_eq!(UserName::parse(&"x".repeat(129)), Err(NameError::TooLong("user", 128)));
    }

    #[test]
    fn plain_names_are_their_own_folder_and_others_are_not() {
        for plain in ["ada", "cf12ab-p0", "a.b_c-d", "0x"] {
            assert_eq!(UserName::parse(plain).unwrap().escaped(), plain);
        }
        let forged = format!("ada--{}", "0".repeat(DIGEST_LEN));
        for odd in ["émilie", "-ada", "..", ".", "a b", "ada@example.org", forged.as_str()] {
            let escaped = UserName::parse(odd).unwrap().escaped();
            assert_ne!(escaped, odd);
            assert!(escaped.contains("--"), "{odd} -> {escaped}");
        }
    }

    #[test]
    fn server_names_are_slugs() {
        for good in ["", "a", "gpu-2", "0"] {
            assert!(ServerName::parse(good).is_ok(), "{good:?}");
        }
        for bad in ["A", "-a", "a-", "a b", "a/b", "a.b", "é"] {
            assert!(ServerName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ServerName::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn service_names_stay_as_they_are_in_an_address() {
        for good in ["a", "static-svc", "Grader_2.0"] {
            assert_eq!(ServiceName::parse(good).unwrap().prefix(), format!("/services/{good}/"));
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "é", "a%2f", &"a".repeat(64)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_name_is_always_a_safe_folder(raw in ".{1,140}") {
            if let Ok(name) = UserName::parse(&raw) {
                let e = name.escaped();
                prop_assert!(e.len() <= 64);
                prop_assert!(e.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
                prop_assert!(e.chars().all(is_plain_char));
            }
        }

        #[test]
        fn two_names_never_share_a_folder(a in "[a-zé .-]{1,12}", b in "[a-zé .-]{1,12}") {
            if let (Ok(a), Ok(b)) = (UserName::parse(&a), UserName::parse(&b)) {
                prop_assert_eq!(a == b, a.escaped() == b.escaped());
            }
        }
    }
}
