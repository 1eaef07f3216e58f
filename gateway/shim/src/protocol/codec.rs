//! Frames to bytes and back, and the bounded incremental decoder.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use carrel_wire::{Channel, Message, limits};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Frame, FrameError};

/// Largest value of a frame's length field.
pub const MAX_FRAME: usize = 256 * 1024 * 1024;
/// Largest JSON body (everything but messages).
const MAX_JSON: usize = 64 * 1024;
/// Most offsets in one frame.
const MAX_OFFSETS: usize = 4096;
/// Frames up to this size are not worth outlining; a status never passes it.
const OUTLINE: usize = 16 * 1024;

impl Frame {
    /// Appends the whole frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u32_le(0);
        match self {
            Frame::Hello(body) => put_json(out, 1, body),
            Frame::Send(channel, message) => {
                out.put_u8(2);
                put_message(out, *channel, message);
            }
            Frame::Ack(seq) => {
                out.put_u8(3);
                out.put_u64_le(*seq);
            }
            Frame::Offsets(pairs) => {
                out.put_u8(4);
                for (seq, end) in pairs {
                    out.put_u64_le(*seq);
                    out.put_u64_le(*end);
                }
            }
            Frame::Command(body) => put_json(out, 5, body),
            Frame::Welcome(body) => put_json(out, 16, body),
            Frame::Message(seq, channel, message) => {
                out.reserve(message.size() + 64);
                out.put_u8(17);
                out.put_u64_le(*seq);
                put_message(out, *channel, message);
            }
            Frame::Event(seq, event) => {
                out.put_u8(18);
                out.put_u64_le(*seq);
                out.put_slice(&serde_json::to_vec(event).unwrap_or_default());
            }
            Frame::Reply(body) => put_json(out, 19, body),
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// The whole frame on its own.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }

    /// A whole frame as who only watches gets it: of a long message the headers. Shorter ones, and other frames, are left as they are.
    #[must_use]
    pub fn outline(frame: &Bytes) -> Bytes {
        if frame.len() <= OUTLINE {
            return frame.clone();
        }
        match Frame::decode(frame.slice(4..)) {
            Ok(Frame::Message(seq, channel, long)) => {
                let mut short = Message::from_parts(long.header, None, Bytes::from_static(b"{}"));
                short.parent_header = long.parent_header;
                Frame::Message(seq, channel, short).to_bytes()
            }
            _ => frame.clone(),
        }
    }

    /// Reads what follows the length field: kind and body. Message parts are slices of it.
    ///
    /// # Errors
    /// When the kind is unknown or the body does not have its shape.
    pub fn decode(mut frame: Bytes) -> Result<Frame, FrameError> {
        if frame.is_empty() {
            return Err(FrameError::Malformed { kind: "empty", why: "no kind byte" });
        }
        match frame.get_u8() {
            1 => get_json("HELLO", &frame).map(Frame::Hello),
            2 => get_message("MSG", frame).map(|(channel, message)| Frame::Send(channel, message)),
            3 => match frame.try_get_u64_le() {
                Ok(seq) if frame.is_empty() => Ok(Frame::Ack(seq)),
                _ => Err(FrameError::Malformed { kind: "ACK", why: "not 8 bytes" }),
            },
            4 => get_offsets(&frame).map(Frame::Offsets),
            5 => get_json("CMD", &frame).map(Frame::Command),
            16 => get_json("WELCOME", &frame).map(Frame::Welcome),
            17 => {
                let seq = get_seq("MSG", &mut frame)?;
                get_message("MSG", frame).map(|(channel, message)| Frame::Message(seq, channel, message))
            }
            18 => {
                let seq = get_seq("EVENT", &mut frame)?;
                get_json("EVENT", &frame).map(|event| Frame::Event(seq, event))
            }
            19 => get_json("REPLY", &frame).map(Frame::Reply),
            kind => Err(FrameError::UnknownKind { kind }),
        }
    }
}

fn put_json<T: Serialize>(out: &mut BytesMut, kind: u8, body: &T) {
    out.put_u8(kind);
    // Our own plain structs always serialise.
    out.put_slice(&serde_json::to_vec(body).unwrap_or_default());
}

fn get_json<T: for<'a> Deserialize<'a>>(kind: &'static str, body: &[u8]) -> Result<T, FrameError> {
    if body.len() > MAX_JSON {
        return Err(FrameError::TooLarge { length: body.len(), limit: MAX_JSON });
    }
    serde_json::from_slice(body).map_err(|source| FrameError::Json { kind, source })
}

fn get_seq(kind: &'static str, body: &mut Bytes) -> Result<u64, FrameError> {
    body.try_get_u64_le().map_err(|_| FrameError::Malformed { kind, why: "no sequence number" })
}

fn get_offsets(body: &[u8]) -> Result<Vec<(u64, u64)>, FrameError> {
    let malformed = |why| FrameError::Malformed { kind: "OFFSETS", why };
    let (pairs, rest) = body.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(malformed("not whole pairs"));
    }
    if pairs.len() > MAX_OFFSETS {
        return Err(malformed("too many pairs"));
    }
    let pair = |mut bytes: &[u8]| (bytes.get_u64_le(), bytes.get_u64_le());
    Ok(pairs.iter().map(|bytes| pair(bytes)).collect())
}

/// Appends channel, part count and parts: what MSG frames of both directions end with.
fn put_message(out: &mut BytesMut, channel: Channel, message: &Message) {
    let parts = [&message.header, &message.parent_header, &message.metadata, &message.content];
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    out.put_u8(channel.code());
    out.put_u32_le(length(parts.len() + message.buffers.len()));
    for part in parts.into_iter().chain(&message.buffers) {
        out.put_u32_le(length(part.len()));
        out.put_slice(part);
    }
}

fn get_message(kind: &'static str, mut body: Bytes) -> Result<(Channel, Message), FrameError> {
    let malformed = |why| FrameError::Malformed { kind, why };
    let code = body.try_get_u8().map_err(|_| malformed("no channel"))?;
    let channel = Channel::from_code(code).filter(|channel| *channel != Channel::Heartbeat);
    let channel = channel.ok_or_else(|| malformed("unknown channel"))?;
    let count = body.try_get_u32_le().map_err(|_| malformed("no part count"))? as usize;
    if !(4..=4 + limits::BUFFERS).contains(&count) {
        return Err(malformed("part count out of bounds"));
    }
    let mut part = || {
        let length = body.try_get_u32_le().map_err(|_| malformed("it ends before its parts"))? as usize;
        if length > body.len() { Err(malformed("a part ends beyond it")) } else { Ok(body.split_to(length)) }
    };
    let (header, parent_header, metadata, content) = (part()?, part()?, part()?, part()?);
    let buffers = (4..count).map(|_| part()).collect::<Result<_, _>>()?;
    if !body.is_empty() {
        return Err(malformed("bytes after its parts"));
    }
    Ok((channel, Message { idents: Vec::new(), header, parent_header, metadata, content, buffers }))
}

/// Cuts a byte stream into frames. It holds at most one incomplete frame, and no more of it than arrived.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Room for more bytes of the stream; append to it, then call [`Decoder::next`] until it gives `None`.
    pub fn space(&mut self) -> &mut BytesMut {
        // Grows with what arrived, never with what a length field promises.
        let want = self.buffer.len().clamp(4 * 1024, 1024 * 1024);
        self.buffer.reserve(want);
        &mut self.buffer
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// When a length passes [`MAX_FRAME`] or a frame is malformed; the stream cannot be read on after that.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None means not yet")]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLarge { length, limit: MAX_FRAME });
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let frame = self.buffer.split_to(length).freeze();
        if length > 64 * 1024 {
            // What follows must not keep a large frame's memory alive.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Frame::decode(frame).map(Some)
    }

    /// Whether no bytes of an incomplete frame are held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Reads frames from a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `stream`, from its beginning.
    pub fn new(stream: R) -> FrameReader<R> {
        FrameReader { stream, decoder: Decoder::default() }
    }

    /// The next frame; `None` when the stream ended between frames. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream fails, ends within a frame, or holds something that is not a frame.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            if self.stream.read_buf(self.decoder.space()).await? == 0 {
                return if self.decoder.is_empty() { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }
}
