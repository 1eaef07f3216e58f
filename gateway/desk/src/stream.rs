//! Bodies that are read from a file as they are sent, a piece at a time, on a thread that may block.

use std::fs::File;
use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{self, Stream};

/// How much is read at a time.
const CHUNK: usize = 128 << 10;

/// How a piece of the file becomes a piece of the body. Keeps what does not come out even.
#[derive(Debug)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// The inside of a JSON string.
    JsonText(Vec<u8>),
    /// Base64, without line breaks.
    Base64(Vec<u8>),
}

impl Encoding {
    pub(crate) fn json_text() -> Encoding {
        Encoding::JsonText(Vec::new())
    }

    pub(crate) fn base64() -> Encoding {
        Encoding::Base64(Vec::new())
    }

    /// The next piece; `last` when nothing follows.
    fn encode(&mut self, piece: Vec<u8>, last: bool) -> io::Result<Vec<u8>> {
        match self {
            Encoding::Plain => Ok(piece),
            Encoding::Base64(kept) => {
                kept.extend_from_slice(&piece);
                let even = if last { kept.len() } else { kept.len() / 3 * 3 };
                let out = STANDARD.encode(&kept[..even]).into_bytes();
                kept.drain(..even);
                Ok(out)
            }
            Encoding::JsonText(kept) => {
                kept.extend_from_slice(&piece);
                let even = match std::str::from_utf8(kept) {
                    Ok(_) => kept.len(),
                    Err(e) if e.error_len().is_none() && !last => e.valid_up_to(),
                    // It was text when it was looked at: it changed meanwhile.
                    Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
                };
                let text = std::str::from_utf8(&kept[..even])
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                let mut out = serde_json::to_vec(text)?;
                kept.drain(..even);
                out.pop();
                out.remove(0);
                Ok(out)
            }
        }
    }
}

struct State {
    file: File,
    left: u64,
    encoding: Encoding,
    head: Option<Vec<u8>>,
    tail: Option<Vec<u8>>,
}

/// At most `length` bytes of `file`, from where it stands, between `head` and `tail`.
pub(crate) fn body(
    file: File,
    length: u64,
    encoding: Encoding,
    head: Vec<u8>,
    tail: Vec<u8>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let exact = matches!(encoding, Encoding::Plain);
    let state = State { file, left: length, encoding, head: Some(head), tail: Some(tail) };
    stream::try_unfold(state, move |mut state| async move {
        if state.tail.is_none() {
            return Ok(None);
        }
        let next = tokio::task::spawn_blocking(move || {
            let want = CHUNK.min(usize::try_from(state.left).unwrap_or(CHUNK));
            let mut piece = Vec::with_capacity(want);
            (&mut state.file).take(want as u64).read_to_end(&mut piece)?;
            state.left -= piece.len() as u64;
            let last = piece.is_empty() || state.left == 0;
            if exact && last && state.left > 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
            }
            let mut out = state.head.take().unwrap_or_default();
            out.extend(state.encoding.encode(piece, last)?);
            if last {
                out.extend(state.tail.take().unwrap_or_default());
            }
            Ok((Bytes::from(out), state))
        });
        next.await.map_err(io::Error::other)?.map(Some)
    })
}

/// Is what was fed UTF-8, pieces cut anywhere?
#[derive(Debug, Default)]
pub(crate) struct Utf8Check {
    kept: Vec<u8>,
    bad: bool,
}

impl Utf8Check {
    /// The next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.bad {
            return;
        }
        let joined;
        let bytes = if self.kept.is_empty() {
            piece
        } else {
            joined = [self.kept.as_slice(), piece].concat();
            &joined
        };
        match std::str::from_utf8(bytes) {
            Ok(_) => self.kept.clear(),
            Err(e) if e.error_len().is_none() => self.kept = bytes[e.valid_up_to()..].to_vec(),
            Err(_) => self.bad = true,
        }
    }

    /// Was all of it?
    pub(crate) fn finish(self) -> bool {
        !self.bad && self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(mut encoding: Encoding, bytes: &[u8], cut: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        for piece in bytes.chunks(cut) {
            out.extend(encoding.encode(piece.to_vec(), false)?);
        }
        out.extend(encoding.encode(Vec::new(), true)?);
        Ok(out)
    }

    proptest! {
        #[test]
        fn pieces_come_out_as_the_whole(text in "\\PC*\"\\\\\n\u{1}\\PC*", cut in 1usize..9) {
            let out = run(Encoding::json_text(), text.as_bytes(), cut).unwrap();
            let json = format!("\"{}\"", String::from_utf8(out).unwrap());
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
            let out = run(Encoding::base64(), text.as_bytes(), cut).unwrap();
            prop_assert_eq!(out, STANDARD.encode(&text).into_bytes());
            let mut check = Utf8Check::default();
            text.as_bytes().chunks(cut).for_each(|piece| check.feed(piece));
            prop_assert!(check.finish());
        }

        #[test]
        fn what_is_not_text_is_seen(bytes in proptest::collection::vec(any::<u8>(), 0..64), cut in 1usize..9) {
            let mut check = Utf8Check::default();
            bytes.chunks(cut).for_each(|piece| check.feed(piece));
            prop_assert_eq!(check.finish(), std::str::from_utf8(&bytes).is_ok());
            prop_assert_eq!(run(Encoding::json_text(), &bytes, cut).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
