//! The typed view of a message header, read leniently: kernels leave fields out, send null, or send numbers.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::WireError;

/// The version of the messaging protocol that we write.
pub const PROTOCOL_VERSION: &str = "5.4";

/// Who sent a message, when, and what kind it is. Fields that a peer left out are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Unique per message.
    #[serde(deserialize_with = "lenient")]
    pub msg_id: String,
    /// For example `execute_request`.
    #[serde(deserialize_with = "lenient")]
    pub msg_type: String,
    /// The sender's session.
    #[serde(deserialize_with = "lenient")]
    pub session: String,
    /// Free text.
    #[serde(deserialize_with = "lenient")]
    pub username: String,
    /// ISO 8601, as sent.
    #[serde(deserialize_with = "lenient")]
    pub date: String,
    /// Version of the messaging protocol.
    #[serde(deserialize_with = "lenient")]
    pub version: String,
}

impl Header {
    /// A header of ours. Identifier and time are arguments so that tests decide them.
    #[must_use]
    pub fn new(msg_id: &str, msg_type: &str, session: &str, username: &str, date: SystemTime) -> Header {
        Header {
            msg_id: msg_id.to_owned(),
            msg_type: msg_type.to_owned(),
            session: session.to_owned(),
            username: username.to_owned(),
            date: iso8601(date),
            version: PROTOCOL_VERSION.to_owned(),
        }
    }

    /// Reads a header part. Unknown fields are ignored, missing and odd ones are empty; `{}` gives the default.
    ///
    /// # Errors
    /// When the bytes are not a JSON object.
    pub fn parse(part: &[u8]) -> Result<Header, WireError> {
        serde_json::from_slice(part).map_err(|source| WireError::Json { part: "header", source })
    }

    /// The header as a JSON part.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        // Six strings always serialise; an empty object is the honest fallback for the impossible case.
        serde_json::to_vec(self).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }
}

/// Microseconds and `Z`, as `jupyter_client` writes dates.
fn iso8601(date: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    OffsetDateTime::from(date).format(&format).unwrap_or_default()
}

fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON value")
        }
        fn visit_str<E: de::Error>(self, v: &str) -> Result<String, E> {
            Ok(v.to_owned())
        }
        fn visit_string<E: de::Error>(self, v: String) -> Result<String, E> {
            Ok(v)
        }
        fn visit_u64<E: de::Error>(self, v: u64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_i64<E: de::Error>(self, v: i64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_f64<E: de::Error>(self, v: f64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_bool<E: de::Error>(self, _: bool) -> Result<String, E> {
            Ok(String::new())
        }
        fn visit_unit<E: de::Error>(self) -> Result<String, E> {
            Ok(String::new())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(String::new())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(String::new())
        }
    }
    from.deserialize_any(Text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn writes_dates_as_jupyter_does() {
        let header = Header::new("1", "status", "s", "u", UNIX_EPOCH + Duration::from_micros(1_500_000));
        assert_eq!(header.date, "1970-01-01T00:00:01.500000Z");
        assert_eq!(Header::parse(&header.to_bytes()).unwrap(), header);
    }

    #[test]
    fn reads_what_kernels_really_send() {
        let odd =
            br#"{"msg_id":"a","msg_type":"status","username":null,"date":{"x":[1]},"version":5.3,"more":1}"#;
        let header = Header::parse(odd).unwrap();
        assert_eq!((header.msg_id.as_str(), header.version.as_str()), ("a", "5.3"));
        assert_eq!((header.username.as_str(), header.date.as_str()), ("", ""));
        assert_eq!(Header::parse(b"{}").unwrap(), Header::default());
        assert!(Header::parse(b"null").is_err());
        assert!(Header::parse(b"\"x\"").is_err());
        assert!(Header::parse(b"{").is_err());
    }
}
