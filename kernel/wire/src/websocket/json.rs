//! The older framing: a message is one JSON object with a `channel` field, its parts inlined as they stand.
//!
//! Without buffers it is a text frame. With buffers it is a binary frame:
//! ```text
//! u32 n | u32 offset[n] | JSON object | buffer …
//! ```
//! with big-endian numbers; offsets are starts, counted from the beginning of the frame.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Channel, Message, WireError, limits, message::within};

/// A websocket frame of this framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame; the bytes are UTF-8.
    Text(Bytes),
    /// A binary frame.
    Binary(Bytes),
}

/// One frame. Identities are not part of it.
///
/// # Errors
/// When a part is not JSON (it would break the object around it), or offsets would pass 32 bits.
pub fn encode(channel: Channel, message: &Message) -> Result<Frame, WireError> {
    let header = message.header()?;
    let text = |text: &str| serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec());
    let mut object = BytesMut::with_capacity(message.size() + 256);
    object.put_slice(b"{\"header\":");
    object.put_slice(json("header", &message.header)?);
    object.put_slice(b",\"msg_id\":");
    object.put_slice(&text(&header.msg_id));
    object.put_slice(b",\"msg_type\":");
    object.put_slice(&text(&header.msg_type));
    object.put_slice(b",\"parent_header\":");
    object.put_slice(json("parent header", &message.parent_header)?);
    object.put_slice(b",\"metadata\":");
    object.put_slice(json("metadata", &message.metadata)?);
    object.put_slice(b",\"content\":");
    object.put_slice(json("content", &message.content)?);
    object.put_slice(b",\"buffers\":[],\"channel\":\"");
    object.put_slice(channel.name().as_bytes());
    object.put_slice(b"\"}");
    if message.buffers.is_empty() {
        return Ok(Frame::Text(object.freeze()));
    }
    let count = 1 + message.buffers.len();
    let mut offset = 4 * (1 + count);
    let size = offset + object.len() + message.buffers.iter().map(Bytes::len).sum::<usize>();
    within("bytes", size, limits::MESSAGE)?;
    let mut frame = BytesMut::with_capacity(size);
    let mut put = |number: usize| frame.put_u32(u32::try_from(number).unwrap_or(u32::MAX));
    put(count);
    put(offset);
    offset += object.len();
    for buffer in &message.buffers {
        put(offset);
        offset += buffer.len();
    }
    frame.put_slice(&object);
    for buffer in &message.buffers {
        frame.put_slice(buffer);
    }
    Ok(Frame::Binary(frame.freeze()))
}

/// The channel and message of a frame. Parts are slices of it, not copies. Without a channel it is for the shell.
///
/// # Errors
/// When the JSON or the offsets are malformed, the channel is unknown, or a bound is passed.
pub fn decode(frame: &Frame) -> Result<(Channel, Message), WireError> {
    match frame {
        Frame::Text(text) => decode_object(text, Vec::new()),
        Frame::Binary(binary) => decode_binary(binary),
    }
}

fn decode_binary(frame: &Bytes) -> Result<(Channel, Message), WireError> {
    within("bytes", frame.len(), limits::MESSAGE)?;
    let count = number(frame, 0)?;
    if count == 0 {
        return Err(WireError::BadFrame { why: "it holds no message" });
    }
    within("buffers", count - 1, limits::BUFFERS)?;
    let mut start = number(frame, 1)?;
    if start < 4 * (1 + count) {
        return Err(WireError::BadFrame { why: "the first offset points into the offsets" });
    }
    let mut parts = Vec::with_capacity(count);
    for index in 2..=count + 1 {
        let end = if index > count { frame.len() } else { number(frame, index)? };
        if end < start || end > frame.len() {
            return Err(WireError::BadFrame { why: "an offset is out of order or beyond the end" });
        }
        parts.push(frame.slice(start..end));
        start = end;
    }
    let object = parts.remove(0);
    decode_object(&object, parts)
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    header: &'a RawValue,
    #[serde(borrow, default)]
    parent_header: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    channel: Option<String>,
}

fn decode_object(object: &Bytes, buffers: Vec<Bytes>) -> Result<(Channel, Message), WireError> {
    within("bytes", object.len(), limits::MESSAGE)?;
    let parsed: Object<'_> =
        serde_json::from_slice(object).map_err(|source| WireError::Json { part: "text", source })?;
    let channel = parsed.channel.as_deref().map_or(Ok(Channel::Shell), super::channel)?;
    let part = |raw: &RawValue| object.slice_ref(raw.get().as_bytes());
    let optional = |raw: Option<&RawValue>| raw.map_or(Bytes::from_static(b"{}"), part);
    let message = Message {
        idents: Vec::new(),
        header: part(parsed.header),
        parent_header: optional(parsed.parent_header),
        metadata: optional(parsed.metadata),
        content: optional(parsed.content),
        buffers,
    };
    message.header()?;
    Ok((channel, super::bounded(message)?))
}

/// The part, once it is known to be exactly one JSON value.
fn json<'a>(part: &'static str, bytes: &'a Bytes) -> Result<&'a [u8], WireError> {
    let value: &RawValue =
        serde_json::from_slice(bytes).map_err(|source| WireError::Json { part, source })?;
    Ok(value.get().as_bytes())
}

/// The `index`-th number of the frame.
fn number(frame: &Bytes, index: usize) -> Result<usize, WireError> {
    let bytes = frame.get(4 * index..4 * index + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let number =
        bytes.map(u32::from_be_bytes).ok_or(WireError::BadFrame { why: "it ends within its offsets" })?;
    usize::try_from(number)
        .ok()
        .filter(|number| *number <= limits::MESSAGE)
        .ok_or(WireError::BadFrame { why: "an offset is beyond any frame" })
}
