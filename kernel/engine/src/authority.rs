//! Clients built on gRPC's C++ core (pyarrow) name a unix socket as their HTTP/2 authority, `tmp%2Fengine.sock`, which
//! the `http` crate refuses: it would reset every such request. Nothing here depends on the authority, so the `%` in it
//! becomes `-` on the way in. Bytes are replaced one for one, and only in the literal value of `:authority`, so lengths
//! and the compression state of the connection stay as the client made them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::Connected;

/// The connection preface of HTTP/2.
const PREFACE: usize = 24;
/// The frame header.
const HEADER: usize = 9;
/// HTTP/2 frames of at most this size are buffered to be looked at; larger ones pass.
const LARGEST: usize = 1 << 16;
/// Type of HEADERS frames.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The static table's index of `:authority`.
const AUTHORITY: usize = 1;

/// Follows the client's side of an HTTP/2 connection.
#[derive(Debug)]
pub struct Filter {
    held: Vec<u8>,
    /// Bytes that pass as they are.
    pass: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self { held: Vec::new(), pass: PREFACE }
    }
}

impl Filter {
    /// Takes bytes in and gives the bytes that may go on.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.pass > 0 {
                let now = self.pass.min(bytes.len());
                out.extend_from_slice(&bytes[..now]);
                self.pass -= now;
                bytes = &bytes[now..];
                continue;
            }
            let wanted = match frame_length(&self.held) {
                None => HEADER - self.held.len(),
                Some(length) => HEADER + length - self.held.len(),
            };
            let now = wanted.min(bytes.len());
            self.held.extend_from_slice(&bytes[..now]);
            bytes = &bytes[now..];
            let Some(length) = frame_length(&self.held) else { continue };
            if self.held[3] != HEADERS || length > LARGEST {
                out.append(&mut self.held);
                self.pass = length;
            } else if self.held.len() == HEADER + length {
                soften(&mut self.held);
                out.append(&mut self.held);
            }
        }
    }
}

fn frame_length(held: &[u8]) -> Option<usize> {
    let header = held.get(..HEADER)?;
    Some(usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]))
}

/// Replaces `%` in the literal value of `:authority` in a whole HEADERS frame.
fn soften(frame: &mut [u8]) {
    let flags = frame[4];
    let padded = usize::from(flags & PADDED != 0);
    let padding = if padded == 1 { usize::from(frame.get(HEADER).copied().unwrap_or(0)) } else { 0 };
    let start = HEADER + padded + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = frame.len().saturating_sub(padding);
    let Some(block) = frame.get_mut(start..end) else { return };
    let mut at = 0;
    while at < block.len() {
        let Some((field, next)) = field(block, at) else { return };
        if let Field::Authority(value) = field {
            block[value].iter_mut().filter(|byte| **byte == b'%').for_each(|byte| *byte = b'-');
        }
        at = next;
    }
}

enum Field {
    Authority(std::ops::Range<usize>),
    Other,
}

/// One field of an HPACK block (RFC 7541, section 6) and where the next begins.
fn field(block: &[u8], at: usize) -> Option<(Field, usize)> {
    let first = *block.get(at)?;
    if first & 0x80 != 0 {
        return Some((Field::Other, integer(block, at, 7)?.1));
    }
    if first & 0xe0 == 0x20 {
        return Some((Field::Other, integer(block, at, 5)?.1));
    }
    let prefix = if first & 0x40 != 0 { 6 } else { 4 };
    let (index, mut next) = integer(block, at, prefix)?;
    let mut authority = index == AUTHORITY;
    if index == 0 {
        let (coded, name, after) = string(block, next)?;
        authority = !coded && block[name] == *b":authority";
        next = after;
    }
    let (coded, value, next) = string(block, next)?;
    Some((if authority && !coded { Field::Authority(value) } else { Field::Other }, next))
}

/// A string: is it Huffman-coded, where its bytes are, what follows.
fn string(block: &[u8], at: usize) -> Option<(bool, std::ops::Range<usize>, usize)> {
    let coded = block.get(at)? & 0x80 != 0;
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length)?;
    (end <= block.len()).then_some((coded, start..end, end))
}

/// An integer with a prefix of so many bits.
fn integer(block: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    let mut at = at + 1;
    if value < most {
        return Some((value, at));
    }
    for shift in (0..28).step_by(7) {
        let byte = usize::from(*block.get(at)?);
        value += (byte & 0x7f) << shift;
        at += 1;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

/// A connection whose requests are filtered.
#[derive(Debug)]
pub struct Tolerant {
    stream: UnixStream,
    filter: Filter,
    ready: Vec<u8>,
    given: usize,
}

impl Tolerant {
    /// Filters what comes in.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, filter: Filter::default(), ready: Vec::new(), given: 0 }
    }
}

impl Connected for Tolerant {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Tolerant {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.given < this.ready.len() {
                let now = out.remaining().min(this.ready.len() - this.given);
                out.put_slice(&this.ready[this.given..this.given + now]);
                this.given += now;
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.given = 0;
            let mut buffer = [0; 16 * 1024];
            let mut read = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.filter.push(read.filled(), &mut this.ready);
        }
    }
}

impl AsyncWrite for Tolerant {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    fn literal(index: u8, value: &[u8]) -> Vec<u8> {
        let mut field = vec![0x40 | index, u8::try_from(value.len()).unwrap()];
        field.extend_from_slice(value);
        field
    }

    fn filtered(bytes: &[u8], step: usize) -> Vec<u8> {
        let (mut filter, mut out) = (Filter::default(), Vec::new());
        bytes.chunks(step).for_each(|part| filter.push(part, &mut out));
        out
    }

    #[test]
    fn only_the_authority_changes_however_the_bytes_come() {
        // :method POST indexed, :path with a % kept, a new name, then the authority
        let mut block = vec![0x83];
        block.extend(literal(4, b"/a%2Fb"));
        block.extend([0x40, 1, b'x', 3, b'1', b'%', b'2']);
        block.extend(literal(1, b"tmp%2Fe.sock"));
        let mut wanted_block = block.clone();
        let at = wanted_block.len() - 9;
        assert_eq!(wanted_block[at], b'%');
        wanted_block[at] = b'-';
        let mut padded = vec![2, 0, 0, 0, 0, 7];
        padded.extend(&block);
        padded.extend([b'%', b'%']);
        let mut wanted_padded = vec![2, 0, 0, 0, 0, 7];
        wanted_padded.extend(&wanted_block);
        wanted_padded.extend([b'%', b'%']);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let data = frame(0, 0, &[b'%'; 100_000]);
        let all = [
            preface.clone(),
            frame(4, 0, &[]),
            frame(1, 4, &block),
            data.clone(),
            frame(1, 4 | PADDED | PRIORITY, &padded),
        ]
        .concat();
        let wanted = [
            preface,
            frame(4, 0, &[]),
            frame(1, 4, &wanted_block),
            data,
            frame(1, 4 | PADDED | PRIORITY, &wanted_padded),
        ]
        .concat();
        // gRPC's C++ core writes the name out
        let mut spelt = b"\x40\x0a:authority\x03a%b".to_vec();
        let softened =
            filtered(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(1, 4, &spelt)].concat(), 5);
        let last = spelt.len() - 2;
        spelt[last] = b'-';
        assert!(softened.ends_with(&spelt));
        for step in [1, 7, 16_384, all.len()] {
            assert!(filtered(&all, step) == wanted, "in parts of {step}");
        }
    }

    #[test]
    fn nonsense_passes_as_it_is() {
        let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        all.extend(frame(1, 4, &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]));
        all.extend(frame(1, PADDED, &[]));
        all.extend(frame(1, 4, &[0x41, 50, b'%']));
        assert_eq!(filtered(&all, 3), all);
    }
}
