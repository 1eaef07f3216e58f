//! Frames of an answer: `u32` little-endian length of what follows, `u8` kind, body. An answer is any number of entries or data, then
//! one end: done, or failed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::reply::{Access, Entry, Failure};

/// Largest value of a frame's length field.
pub const MAX_FRAME: usize = (1 << 20) + 1;
/// Most bytes of data in a frame.
pub const MAX_DATA: usize = MAX_FRAME - 1;
/// Bytes before a frame's body.
pub const HEAD: usize = 5;

const ENTRIES: u8 = 1;
const DATA: u8 = 2;
const CHECKED: u8 = 3;
const DONE: u8 = 4;
const FAILED: u8 = 5;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Some of the entries.
    Entries(Vec<Entry>),
    /// Some of the bytes, in order. Large ones are read past [`Head`] without this.
    Data(Vec<u8>),
    /// For each place that was asked about.
    Checked(Vec<Access>),
    /// That was all.
    Done,
    /// That was not all.
    Failed(Failure),
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length field says less than one byte or more than [`MAX_FRAME`].
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// A kind that there is not.
    #[error("a frame of kind {0}")]
    Kind(u8),
    /// A body that does not fit its kind.
    #[error("a frame's body")]
    Body(#[source] serde_json::Error),
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    kind: u8,
    /// Bytes of the body.
    pub length: usize,
}

impl Head {
    /// Reads it.
    ///
    /// # Errors
    /// When the length is out of bounds.
    pub fn decode(bytes: [u8; HEAD]) -> Result<Self, FrameError> {
        let [a, b, c, d, kind] = bytes;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if (1..=MAX_FRAME).contains(&length) {
            Ok(Self { kind, length: length - 1 })
        } else {
            Err(FrameError::Length(length))
        }
    }

    /// The beginning of a frame of so many bytes of data, at most [`MAX_DATA`].
    #[must_use]
    pub fn of_data(length: usize) -> [u8; HEAD] {
        head(DATA, length.min(MAX_DATA))
    }

    /// Whether the body is data.
    #[must_use]
    pub fn is_data(self) -> bool {
        self.kind == DATA
    }

    /// The frame with this body.
    ///
    /// # Errors
    /// When the kind is unknown or the body does not fit it.
    pub fn body(self, body: &[u8]) -> Result<Answer, FrameError> {
        fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
            serde_json::from_slice(body).map_err(FrameError::Body)
        }
        match self.kind {
            ENTRIES => read(body).map(Answer::Entries),
            DATA => Ok(Answer::Data(body.to_vec())),
            CHECKED => read(body).map(Answer::Checked),
            DONE => Ok(Answer::Done),
            FAILED => read(body).map(Answer::Failed),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}

impl Answer {
    /// The bytes of the frame. Entries go at most [`ENTRIES_A_FRAME`] to one, data at most [`MAX_DATA`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Entries(entries) => json(ENTRIES, entries),
            Self::Data(data) => {
                let data = data.get(..data.len().min(MAX_DATA)).unwrap_or_default();
                let mut bytes = head(DATA, data.len()).to_vec();
                bytes.extend_from_slice(data);
                bytes
            }
            Self::Checked(access) => json(CHECKED, access),
            Self::Done => head(DONE, 0).to_vec(),
            Self::Failed(failure) => json(FAILED, failure),
        }
    }
}

/// So many entries fit a frame however long their paths are allowed to be, once [`fits`] was asked.
pub const ENTRIES_A_FRAME: usize = 1000;

/// Whether these entries may go into one frame.
#[must_use]
pub fn fits(entries: usize, bytes_of_paths: usize) -> bool {
    // JSON of an entry without its path has less than 100 bytes; a byte of a path becomes at most six.
    entries <= ENTRIES_A_FRAME && entries * 100 + bytes_of_paths * 6 < MAX_DATA
}

fn head(kind: u8, length: usize) -> [u8; HEAD] {
    let [a, b, c, d] = u32::try_from(length + 1).unwrap_or(u32::MAX).to_le_bytes();
    [a, b, c, d, kind]
}

fn json<T: Serialize>(kind: u8, body: &T) -> Vec<u8> {
    // Plain structs always serialise.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut bytes = head(kind, body.len()).to_vec();
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Code;
    use proptest::prelude::*;

    fn again(bytes: &[u8]) -> Result<Answer, FrameError> {
        let (first, body) = bytes.split_first_chunk::<HEAD>().unwrap();
        let head = Head::decode(*first)?;
        assert_eq!(head.length, body.len());
        head.body(body)
    }

    #[test]
    fn an_answer_survives_the_way() {
        let entry = Entry { path: "day=1/a.parquet".into(), size: 7, modified_ms: 9, folder: false };
        for answer in [
            Answer::Entries(vec![entry.clone(), Entry { folder: true, ..entry }]),
            Answer::Data(vec![1, 2, 3]),
            Answer::Checked(vec![Access::Yes, Access::Denied, Access::Missing]),
            Answer::Done,
            Answer::Failed(Failure::new(Code::Denied, "no").about("/data")),
        ] {
            assert_eq!(again(&answer.encode()).unwrap(), answer);
        }
        let mut bytes = Head::of_data(3).to_vec();
        bytes.extend_from_slice(&[1, 2, 3]);
        assert_eq!(again(&bytes).unwrap(), Answer::Data(vec![1, 2, 3]));
    }

    #[test]
    fn a_full_frame_of_the_longest_entries_fits() {
        let path = "\u{7f}".repeat(100);
        let entry = Entry { path, size: u64::MAX, modified_ms: i64::MIN, folder: true };
        assert!(fits(1000, 100 * 1000));
        assert!(!fits(1001, 0) && !fits(1000, 400 * 1000));
        assert!(Answer::Entries(vec![entry; 1000]).encode().len() <= MAX_FRAME + 4);
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(matches!(Head::decode([0, 0, 0, 0, 1]), Err(FrameError::Length(0))));
        assert!(matches!(Head::decode([255, 255, 255, 255, 1]), Err(FrameError::Length(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = u32::try_from(body.len() + 1).unwrap().to_le_bytes().to_vec();
            bytes.push(kind);
            bytes.extend(body);
            let _ = again(&bytes);
        }
    }
}
