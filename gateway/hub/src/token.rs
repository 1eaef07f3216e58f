//! Secrets that people and programs hold: their format, how they are kept, when they end.
//!
//! A secret exists in the clear once, when it is made. The store keeps its digest and its first characters (so that a person can tell
//! tokens apart). A plain SHA-256 is enough: the secrets are 256 random bits, nobody can try them out.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

/// Length of the part of a token that is kept in the clear.
pub const PREFIX_LEN: usize = 4;
/// The longest credential that is looked at; anything longer is nobody's.
pub const MAX_LEN: usize = 256;

/// A secret in the clear. It is never printed by accident: its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret from random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(hex::encode(bytes))
    }

    /// Takes a secret that somebody presents; `None` if it cannot be one.
    pub fn presented(text: &str) -> Option<Self> {
        let fits = (8..=MAX_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The text to show to its owner, once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The beginning of the text, for a person to tell tokens apart.
    pub fn prefix(&self) -> String {
        self.0.chars().take(PREFIX_LEN).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The digest of a [`Secret`].
#[derive(Debug, Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The digest's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest read back from the store.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for SecretHash {}

/// The public id of an API token, as JupyterHub writes it.
pub fn api_id(row: i64) -> String {
    format!("a{row}")
}

/// The row behind a public id; `None` for anything that is no id.
pub fn parse_api_id(text: &str) -> Option<i64> {
    parse_id("a", text)
}

/// The public id of a share code.
pub fn share_code_id(row: i64) -> String {
    format!("sc_{row}")
}

/// The row behind a share code's public id.
pub fn parse_share_code_id(text: &str) -> Option<i64> {
    parse_id("sc_", text)
}

fn parse_id(prefix: &str, text: &str) -> Option<i64> {
    let digits = text.strip_prefix(prefix)?;
    let plain = !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Whether something that ends at `expires` has ended. The last moment no longer counts.
pub fn is_expired(expires: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    expires.is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_secret_is_hidden_and_its_hash_is_stable() {
        let s = Secret::from_random([7; 32]);
        assert_eq!(s.reveal().len(), 64);
        assert_eq!(format!("{s:?}"), "Secret(..)");
        assert_eq!(s.prefix(), "0707");
        assert_eq!(Secret::presented(s.reveal()).unwrap().hash(), s.hash());
        assert_ne!(Secret::from_random([8; 32]).hash(), s.hash());
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        let long = "x".repeat(257);
        for bad in ["", "short", "has blank inside", "tab\tinside", "é23456789", long.as_str()] {
            assert!(Secret::presented(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn ids_go_both_ways() {
        assert_eq!(parse_api_id(&api_id(42)), Some(42));
        for bad in ["", "a", "42", "x1", "abc", "a-1", "a1 ", "a9999999999999999999"] {
            assert_eq!(parse_api_id(bad), None, "{bad:?}");
        }
        assert_eq!(parse_share_code_id(&share_code_id(42)), Some(42));
        for bad in ["zz", "sc_", "sc_1x", "a42", "42"] {
            assert_eq!(parse_share_code_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_last_moment_is_over() {
        let end = datetime!(2026-01-01 00:00 UTC);
        assert!(!is_expired(None, end));
        assert!(is_expired(Some(end), end));
        assert!(!is_expired(Some(end), end - time::Duration::seconds(1)));
    }
}
