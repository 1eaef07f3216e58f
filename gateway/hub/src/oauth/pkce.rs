//! Proof Key for Code Exchange (RFC 7636): whoever exchanges a code is whoever asked for it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The length of a SHA-256 digest in base64url without padding.
const LENGTH: usize = 43;

/// Why a challenge or a verifier is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PkceError {
    /// The method is not S256. `plain` protects against nothing that S256 does not (RFC 9700 §2.1.1), and nobody here needs it.
    #[error("code_challenge_method must be S256")]
    Method,
    /// The challenge is no digest.
    #[error("code_challenge must be 43 characters of base64url")]
    Challenge,
}

/// The digest of a secret that the client keeps until it exchanges its code (RFC 7636 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// Reads `code_challenge` and `code_challenge_method`; neither is no challenge.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Self>, PkceError> {
        let challenge = match (challenge, method) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(PkceError::Challenge),
            (Some(challenge), Some("S256")) => challenge,
            // without a method `plain` is meant (RFC 7636 §4.3)
            (Some(_), _) => return Err(PkceError::Method),
        };
        let fits = challenge.len() == LENGTH
            && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if fits { Ok(Some(Self(challenge.to_owned()))) } else { Err(PkceError::Challenge) }
    }

    /// One that was kept.
    pub fn kept(text: String) -> Self {
        Self(text)
    }

    /// The text to keep.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this verifier belongs to the challenge (RFC 7636 §4.6). Takes the same time for every well-formed verifier.
    pub fn fits(&self, verifier: &str) -> bool {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return false;
        }
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        digest.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_fits() {
        // RFC 7636, appendix B
        let challenge = Challenge::parse(Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), Some("S256"));
        let challenge = challenge.unwrap().unwrap();
        assert!(challenge.fits("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        for wrong in ["", "short", &"w".repeat(43), &"w".repeat(129), challenge.as_str()] {
            assert!(!challenge.fits(wrong), "{wrong}");
        }
    }

    #[test]
    fn only_s256_is_taken() {
        let good = "a".repeat(43);
        let table = [
            (None, None, Ok(None)),
            (Some(good.as_str()), Some("plain"), Err(PkceError::Method)),
            (Some(&good), None, Err(PkceError::Method)),
            (None, Some("S256"), Err(PkceError::Challenge)),
            (Some("short"), Some("S256"), Err(PkceError::Challenge)),
            (Some("+++++++++++++++++++++++++++++++++++++++++++"), Some("S256"), Err(PkceError::Challenge)),
        ];
        for (challenge, method, want) in table {
            assert_eq!(Challenge::parse(challenge, method), want, "{challenge:?} {method:?}");
        }
        assert!(Challenge::parse(Some(&good), Some("S256")).unwrap().is_some());
    }
}
