//! Kernel messages as websocket frames, laid out in the order in which they will be written, with the place where each ends.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use carrel_wire::websocket::{json, v1};
use carrel_wire::{Channel, Message, WireError};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Payloads from this size on are written from where they are; smaller ones are gathered.
const GATHER: usize = 32 * 1024;

/// How messages are put into websocket frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `v1.kernel.websocket.jupyter.org`
    V1,
    /// JSON texts.
    Json,
}

impl Framing {
    /// What a browser sent.
    ///
    /// # Errors
    /// When it is not a message of this framing.
    pub(super) fn decode(self, frame: json::Frame) -> Result<(Channel, Message), WireError> {
        match (self, frame) {
            (Self::V1, json::Frame::Binary(bytes)) => v1::decode(&bytes),
            (Self::V1, json::Frame::Text(_)) => {
                Err(WireError::BadFrame { why: "a text where binary is spoken" })
            }
            (Self::Json, frame) => json::decode(&frame),
        }
    }
}

/// Bytes to be written to one connection, and the stream's position.
#[derive(Debug)]
pub(super) struct Batch {
    framing: Framing,
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// The position after everything in here is written.
    end: u64,
    ends: Vec<(u64, u64)>,
}

impl Batch {
    /// Nothing, at the beginning of the stream.
    #[must_use]
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, pieces: VecDeque::new(), tail: BytesMut::new(), end: 0, ends: Vec::new() }
    }

    /// A kernel message.
    ///
    /// # Errors
    /// When it cannot be put into this framing.
    pub(super) fn message(&mut self, channel: Channel, message: &Message) -> Result<(), WireError> {
        match self.framing {
            Framing::V1 => self.frame(OpCode::Data(Data::Binary), &v1::pieces(channel, message)),
            Framing::Json => match json::encode(channel, message)? {
                json::Frame::Text(text) => self.frame(OpCode::Data(Data::Text), &[text]),
                json::Frame::Binary(bytes) => self.frame(OpCode::Data(Data::Binary), &[bytes]),
            },
        }
        Ok(())
    }

    /// The entry of this number in the shim's log ends here, whether it put bytes in or not.
    pub(super) fn mark(&mut self, seq: u64) {
        self.ends.push((seq, self.end));
    }

    /// A ping.
    pub(super) fn ping(&mut self) {
        self.frame(OpCode::Control(Control::Ping), &[]);
    }

    /// A close with its reason.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        let mut payload = BytesMut::with_capacity(2 + reason.len());
        payload.put_u16(code.into());
        // A control frame carries at most 125 bytes.
        payload.put_slice(reason.as_bytes().get(..123).unwrap_or(reason.as_bytes()));
        self.frame(OpCode::Control(Control::Close), &[payload.freeze()]);
    }

    /// Whole frames that were made elsewhere.
    pub(super) fn raw(&mut self, frames: &[u8]) {
        self.tail.put_slice(frames);
        self.end += len(frames.len());
    }

    fn frame(&mut self, opcode: OpCode, payload: &[Bytes]) {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        let mut head = Vec::with_capacity(10);
        // Writing to a vector cannot fail.
        let _ = header.format(payload.iter().map(|piece| len(piece.len())).sum(), &mut head);
        self.tail.put_slice(&head);
        self.end += len(head.len());
        for piece in payload {
            self.end += len(piece.len());
            if piece.len() < GATHER {
                self.tail.put_slice(piece);
            } else {
                self.pieces.push_back(self.tail.split().freeze());
                self.pieces.push_back(piece.clone());
            }
        }
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub(super) fn size(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty() && self.ends.is_empty()
    }

    /// Entries marked since the last call, with their ends.
    #[must_use]
    pub(super) fn take_ends(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.ends)
    }

    /// How many entries are marked.
    #[must_use]
    pub(super) fn marked(&self) -> usize {
        self.ends.len()
    }

    /// The next piece to write.
    #[must_use]
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        match self.pieces.pop_front() {
            None if !self.tail.is_empty() => Some(self.tail.split().freeze()),
            piece => piece,
        }
    }
}

fn len(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_wire::Header;

    fn message(size: usize) -> Message {
        let header = Header::new("1", "stream", "s", "u", std::time::UNIX_EPOCH);
        Message::new(&header, None, &serde_json::json!({"text": "x".repeat(size)})).unwrap()
    }

    #[test]
    fn the_marks_are_where_the_bytes_end() {
        for framing in [Framing::V1, Framing::Json] {
            let mut batch = Batch::new(framing);
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for (seq, size) in [10, 200, 70_000, 3, 2_000_000].into_iter().enumerate() {
                batch.message(Channel::Iopub, &message(size)).unwrap();
                batch.mark(seq as u64);
                if seq == 1 {
                    batch.ping();
                    batch.raw(b"\x8a\x00");
                }
            }
            batch.mark(9);
            ends.extend(batch.take_ends());
            while let Some(piece) = batch.next_piece() {
                bytes.extend_from_slice(&piece);
            }
            assert!(batch.is_empty());
            assert_eq!(ends.last(), Some(&(9, bytes.len() as u64)));
            // Each end is the beginning of a frame: final, of a known kind, unmasked.
            for (_, end) in &ends[..ends.len() - 1] {
                let at = usize::try_from(*end).unwrap();
                if let Some([first, second]) = bytes.get(at..at + 2) {
                    assert!(matches!(first, 0x81 | 0x82 | 0x89), "{first:x} at {at}");
                    assert_eq!(second & 0x80, 0);
                }
            }
        }
    }

    #[test]
    fn a_long_reason_fits_a_control_frame() {
        let mut batch = Batch::new(Framing::V1);
        batch.close(CloseCode::Restart, &"r".repeat(300));
        let frame = batch.next_piece().unwrap();
        assert_eq!(frame.len(), 2 + 125);
        assert_eq!(&frame[2..4], &1012_u16.to_be_bytes());
    }
}
