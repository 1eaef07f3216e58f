//! The binary framing `v1.kernel.websocket.jupyter.org`: offsets in front, parts behind, nothing decoded.
//!
//! ```text
//! u64 n | u64 offset[n] | channel | header | parent header | metadata | content | buffer …
//! ```
//! All numbers are little-endian; `offset[0]` is where the channel's name starts, the last one is the end of the frame.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Channel, Message, WireError, limits, message::within};

/// Parts before the buffers: channel and four JSON parts.
const FIXED: usize = 5;

/// One frame. Identities are not part of it.
#[must_use]
pub fn encode(channel: Channel, message: &Message) -> Bytes {
    let pieces = pieces(channel, message);
    let mut frame = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| frame.put_slice(piece));
    frame.freeze()
}

/// The same without a copy: what is in front of the message's parts, then these as they are.
#[must_use]
pub fn pieces(channel: Channel, message: &Message) -> Vec<Bytes> {
    let name = channel.name().as_bytes();
    let Message { header, parent_header, metadata, content, buffers, .. } = message;
    let parts: Vec<Bytes> =
        [header, parent_header, metadata, content].into_iter().chain(buffers).cloned().collect();
    let offsets = parts.len() + 2;
    let mut end = 8 * (1 + offsets);
    let mut front = BytesMut::with_capacity(end + name.len());
    front.put_u64_le(offsets as u64);
    front.put_u64_le(end as u64);
    for length in std::iter::once(name.len()).chain(parts.iter().map(Bytes::len)) {
        end += length;
        front.put_u64_le(end as u64);
    }
    front.put_slice(name);
    std::iter::once(front.freeze()).chain(parts).collect()
}

/// The channel and message of a frame. Parts are slices of it, not copies.
///
/// # Errors
/// When offsets do not lie within the frame in order, the channel is unknown, or a bound is passed.
pub fn decode(frame: &Bytes) -> Result<(Channel, Message), WireError> {
    within("bytes", frame.len(), limits::MESSAGE)?;
    let count = number(frame, 0)?;
    if count <= FIXED {
        return Err(WireError::BadFrame { why: "too few offsets" });
    }
    within("buffers", count - FIXED - 1, limits::BUFFERS)?;
    let mut start = number(frame, 1)?;
    if start < 8 * (1 + count) {
        return Err(WireError::BadFrame { why: "the first offset points into the offsets" });
    }
    let mut at = 1;
    let mut part = || {
        at += 1;
        let end = number(frame, at)?;
        if end < start || end > frame.len() {
            return Err(WireError::BadFrame { why: "an offset is out of order or beyond the end" });
        }
        let part = frame.slice(start..end);
        start = end;
        Ok(part)
    };
    let name = part()?;
    let name = std::str::from_utf8(&name)
        .map_err(|_| WireError::BadFrame { why: "the channel's name is not UTF-8" })?;
    let channel = super::channel(name)?;
    let (header, parent_header, metadata, content) = (part()?, part()?, part()?, part()?);
    let buffers = (0..count - FIXED - 1).map(|_| part()).collect::<Result<_, _>>()?;
    let message = Message { idents: Vec::new(), header, parent_header, metadata, content, buffers };
    Ok((channel, super::bounded(message)?))
}

/// The `index`-th number of the frame.
fn number(frame: &Bytes, index: usize) -> Result<usize, WireError> {
    let bytes = frame.get(8 * index..8 * index + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let number =
        bytes.map(u64::from_le_bytes).ok_or(WireError::BadFrame { why: "it ends within its offsets" })?;
    // Bounded before use, so that arithmetic on it cannot overflow.
    usize::try_from(number)
        .ok()
        .filter(|number| *number <= limits::MESSAGE)
        .ok_or(WireError::BadFrame { why: "an offset is beyond any frame" })
}
