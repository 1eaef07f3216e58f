//! Message signatures: HMAC-SHA256 in hexadecimal over header, parent header, metadata and content.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Signs and checks messages with one kernel's key. Without a key nothing is signed and nothing is checked.
#[derive(Clone)]
pub struct Signer {
    mac: Option<Hmac<Sha256>>,
}

impl Signer {
    /// A signer for the key as it stands in the connection file; empty means unsigned.
    #[must_use]
    pub fn new(key: &str) -> Signer {
        if key.is_empty() {
            return Signer { mac: None };
        }
        // HMAC takes keys of any length, so this is always Some for a key.
        Signer { mac: Hmac::new_from_slice(key.as_bytes()).ok() }
    }

    /// The signature part of a message: 64 hexadecimal digits, or nothing without a key.
    #[must_use]
    pub fn sign(&self, parts: [&[u8]; 4]) -> Bytes {
        let Some(mac) = &self.mac else { return Bytes::new() };
        let mut mac = mac.clone();
        for part in parts {
            mac.update(part);
        }
        Bytes::from(hex::encode(mac.finalize().into_bytes()))
    }

    /// Whether the signature belongs to these parts, in time that does not depend on where they differ.
    #[must_use]
    pub fn check(&self, signature: &[u8], parts: [&[u8]; 4]) -> bool {
        self.mac.is_none() || bool::from(self.sign(parts).as_ref().ct_eq(signature))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.mac.is_some() { "Signer(key)" } else { "Signer(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::Signer;

    /// The value is what `jupyter_client.session.Session(key=b"key").sign([b"{}"] * 4)` returns.
    #[test]
    fn agrees_with_jupyter_client() {
        let signer = Signer::new("key");
        let parts: [&[u8]; 4] = [b"{}", b"{}", b"{}", b"{}"];
        let signature = signer.sign(parts);
        assert_eq!(signature, &b"ca767b02c5bc061ed184a9a029e7f93a7f2f7ed4e8fe74120fc1212f0b008fa3"[..]);
        assert!(signer.check(&signature, parts));
        assert!(!signer.check(&signature, [b"{}", b"{}", b"{}", b"{ }"]));
        assert!(!signer.check(b"", parts));
        assert!(!signer.check(&signature[..63], parts));
    }

    #[test]
    fn without_a_key_nothing_is_signed() {
        let signer = Signer::new("");
        assert!(signer.sign([b"", b"", b"", b""]).is_empty());
        assert!(signer.check(b"anything", [b"", b"", b"", b""]));
        assert_eq!(format!("{:?} {:?}", signer, Signer::new("k")), "Signer(none) Signer(key)");
    }
}
