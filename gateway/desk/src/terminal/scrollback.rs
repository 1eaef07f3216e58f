//! What a terminal has shown, kept for the tab that comes (back) later, and bytes becoming text.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes kept per terminal.
const MAX: usize = 128 << 10;

/// The last pieces of output.
#[derive(Debug, Default)]
pub(crate) struct Scrollback {
    pieces: VecDeque<Arc<str>>,
    bytes: usize,
}

impl Scrollback {
    /// Keeps one more piece; the oldest go.
    pub(crate) fn push(&mut self, piece: Arc<str>) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
        while self.bytes > MAX && self.pieces.len() > 1 {
            if let Some(oldest) = self.pieces.pop_front() {
                self.bytes -= oldest.len();
            }
        }
    }

    /// Everything kept, as one text; `None` when there is nothing.
    pub(crate) fn text(&self) -> Option<Arc<str>> {
        let text: String = self.pieces.iter().map(|piece| &**piece).collect();
        (!text.is_empty()).then(|| text.into())
    }
}

/// Turns bytes into text; a character cut in two waits for its other half, and what is no character is shown as �.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    kept: Vec<u8>,
}

impl Decoder {
    /// The text that is complete with this piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> String {
        self.kept.extend_from_slice(piece);
        let cut = match std::str::from_utf8(&self.kept) {
            Ok(_) => self.kept.len(),
            Err(_) => self.kept.len() - unfinished(&self.kept),
        };
        let text = String::from_utf8_lossy(&self.kept[..cut]).into_owned();
        self.kept.drain(..cut);
        text
    }
}

/// How many bytes at the end begin a character that is not complete.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=3.min(bytes.len()))
        .find(|n| {
            std::str::from_utf8(&bytes[bytes.len() - n..])
                .is_err_and(|e| e.error_len().is_none() && e.valid_up_to() == 0)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_scrollback_is_bounded() {
        let mut kept = Scrollback::default();
        assert_eq!(kept.text(), None);
        for n in 0..100_000 {
            kept.push(format!("line {n}\r\n").into());
        }
        let text = kept.text().unwrap();
        assert!(text.len() <= MAX && text.ends_with("line 99999\r\n"));
    }

    #[test]
    fn what_is_no_character_is_shown() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(b"a\xffb\xc3"), "a\u{fffd}b");
        assert_eq!(decoder.feed(b"\xa9"), "é");
    }

    proptest! {
        #[test]
        fn characters_survive_any_cut(text in "\\PC*", cut in 1usize..5) {
            let mut decoder = Decoder::default();
            let out: String = text.as_bytes().chunks(cut).map(|piece| decoder.feed(piece)).collect();
            prop_assert_eq!(out, text);
        }
    }
}
