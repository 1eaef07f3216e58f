//! Questions: JSON after its length, bounded before it is read and checked before it is answered.

use serde::{Deserialize, Serialize};

use crate::location::Location;

/// Longest question, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;
/// Most places in one [`Request::Check`].
pub const MAX_CHECKED: usize = 1000;
/// Most ranges in one [`Request::Read`].
pub const MAX_RANGES: usize = 4096;
/// Most bytes that one [`Request::Read`] asks for.
pub const MAX_READ: u64 = 256 << 20;
/// Longest name of a statement or dataset.
const MAX_NAME: usize = 256;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What is in a folder, or the one file. Hidden names are left out ([`crate::names::is_hidden`]).
    List {
        /// The folder or file.
        at: Location,
        /// With everything below it: then files only, and their paths relative to `at`.
        recursive: bool,
        /// For whom, in the audit.
        purpose: Purpose,
    },
    /// Whether each of these may be listed (folders) or read (files).
    Check {
        /// The places.
        places: Vec<Location>,
        /// For whom, in the audit.
        purpose: Purpose,
    },
    /// Parts of a file, in the order asked for.
    Read {
        /// The file.
        file: Location,
        /// Its size when it was listed: a file that has changed since is not read.
        size: u64,
        /// When it was last changed when it was listed, in milliseconds since 1970.
        modified_ms: i64,
        /// Half-open ranges of bytes.
        ranges: Vec<(u64, u64)>,
        /// For whom, in the audit.
        purpose: Purpose,
    },
    /// The statement is over: its files are closed, what it read is written to the audit.
    Finish {
        /// The statement.
        statement: String,
    },
}

/// What a question is asked for. It is noted, never believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// The statement's handle; empty outside statements.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub statement: String,
    /// The dataset's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dataset: String,
}

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`MAX_REQUEST`].
    #[error("a request has at most {MAX_REQUEST} bytes, this one has {0}")]
    TooLong(usize),
    /// Not the JSON of a request.
    #[error("not a request")]
    Malformed(#[source] serde_json::Error),
    /// A bound was passed.
    #[error("{0}")]
    Bound(&'static str),
}

impl Request {
    /// Reads and checks the JSON of a question.
    ///
    /// # Errors
    /// When it is too long, not a request, or asks for more than a request may.
    pub fn decode(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > MAX_REQUEST {
            return Err(RequestError::TooLong(body.len()));
        }
        let request: Self = serde_json::from_slice(body).map_err(RequestError::Malformed)?;
        request.check().map_err(RequestError::Bound)?;
        Ok(request)
    }

    /// The bytes of a question, with their length before them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        // Plain structs always serialise.
        let _ = serde_json::to_writer(&mut bytes, self);
        let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
        if let Some(head) = bytes.first_chunk_mut() {
            *head = length.to_le_bytes();
        }
        bytes
    }

    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::List { purpose, .. } => purpose.check(),
            Self::Check { places, purpose } => {
                if places.len() > MAX_CHECKED {
                    return Err("too many places to check at once");
                }
                purpose.check()
            }
            Self::Read { size, ranges, purpose, .. } => {
                if ranges.is_empty() || ranges.len() > MAX_RANGES {
                    return Err("a read asks for 1 to 4096 ranges");
                }
                let mut sum = 0_u64;
                for (start, end) in ranges {
                    if start >= end || end > size {
                        return Err("a range is empty, or ends after the file");
                    }
                    sum = sum.saturating_add(end - start);
                }
                if sum > MAX_READ {
                    return Err("a read asks for at most 256 MiB");
                }
                purpose.check()
            }
            Self::Finish { statement } if statement.len() > MAX_NAME => {
                Err("the statement's name is too long")
            }
            Self::Finish { .. } => Ok(()),
        }
    }
}

impl Purpose {
    fn check(&self) -> Result<(), &'static str> {
        let fits = |name: &str| name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        if fits(&self.statement) && fits(&self.dataset) { Ok(()) } else { Err("a name is too long") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(size: u64, ranges: Vec<(u64, u64)>) -> Request {
        let file = Location::on_default("/data/x").unwrap();
        Request::Read { file, size, modified_ms: 5, ranges, purpose: Purpose::default() }
    }

    fn again(request: &Request) -> Result<Request, RequestError> {
        let bytes = request.encode();
        let (head, body) = bytes.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_le_bytes(*head) as usize, body.len());
        Request::decode(body)
    }

    #[test]
    fn a_question_survives_the_way() {
        let purpose = Purpose { statement: "7".into(), dataset: "ads.clicks".into() };
        let at = Location::on_default("/data").unwrap();
        for request in [
            Request::List { at: at.clone(), recursive: true, purpose: purpose.clone() },
            Request::Check { places: vec![at], purpose },
            read(10, vec![(0, 5), (5, 10)]),
            Request::Finish { statement: "7".into() },
        ] {
            assert_eq!(again(&request).unwrap(), request);
        }
    }

    #[test]
    fn bounds_hold() {
        assert!(again(&read(10, vec![])).is_err());
        assert!(again(&read(10, vec![(5, 5)])).is_err());
        assert!(again(&read(10, vec![(5, 11)])).is_err());
        assert!(again(&read(u64::MAX, vec![(0, MAX_READ + 1)])).is_err());
        assert!(again(&read(u64::MAX, vec![(0, u64::MAX), (0, u64::MAX)])).is_err());
        assert!(again(&read(10, vec![(0, 1); MAX_RANGES + 1])).is_err());
        assert!(again(&Request::Finish { statement: "x".repeat(257) }).is_err());
        assert!(matches!(Request::decode(br#"{"op":"write"}"#), Err(RequestError::Malformed(_))));
        assert!(matches!(Request::decode(&vec![b' '; MAX_REQUEST + 1]), Err(RequestError::TooLong(_))));
        assert!(
            Request::decode(br#"{"op":"list","at":"hdfs:///a/../b","recursive":false,"purpose":{}}"#)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::decode(&bytes);
        }
    }
}
