//! ZMTP 3.x as far as a publisher needs it: greeting, NULL handshake, frames, subscriptions. Pure: bytes in, values out.
//!
//! RFC 23 (ZMTP 3.0) and RFC 37 (ZMTP 3.1).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a greeting.
pub const GREETING: usize = 64;
/// Bytes that a frame of a subscriber may have: subscriptions and commands are short.
pub const MAX_FRAME: usize = 64 * 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The peer does not speak what we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZmtpError {
    /// Not ZMTP, or older than 3.0.
    #[error("the peer does not speak ZMTP 3")]
    Greeting,
    /// A mechanism other than NULL.
    #[error("the peer wants a security mechanism that is not offered")]
    Mechanism,
    /// The READY command is missing or broken.
    #[error("the peer's READY command cannot be read")]
    Ready,
    /// Not a subscriber.
    #[error("the peer is not a subscriber")]
    NotASubscriber,
    /// A frame with reserved flags or beyond the bound.
    #[error("the peer sent a frame that is not allowed")]
    Frame,
}

/// What we send first: version 3.1, mechanism NULL.
#[must_use]
pub fn greeting() -> [u8; GREETING] {
    let mut bytes = [0; GREETING];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Checks what the peer sent first.
///
/// # Errors
/// When it is not a greeting of ZMTP 3 with the NULL mechanism.
pub fn check_greeting(bytes: &[u8; GREETING]) -> Result<(), ZmtpError> {
    if bytes[0] != 0xff || bytes[9] & 1 != 1 || bytes[10] < 3 {
        return Err(ZmtpError::Greeting);
    }
    let (name, rest) = bytes[12..32].split_at(4);
    if name != b"NULL" || rest.iter().any(|byte| *byte != 0) {
        return Err(ZmtpError::Mechanism);
    }
    Ok(())
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// A command, not a part of a message.
    pub command: bool,
    /// More parts follow.
    pub more: bool,
    /// Its body.
    pub body: Bytes,
}

/// Takes one frame off the buffer, if a whole one is there.
///
/// # Errors
/// When its flags are not allowed or its length is beyond `max`.
pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, ZmtpError> {
    let Some(flags) = buffer.first().copied() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
        return Err(ZmtpError::Frame);
    }
    let head = if flags & LONG == 0 { 2 } else { 9 };
    if buffer.len() < head {
        return Ok(None);
    }
    let length = if flags & LONG == 0 {
        usize::from(buffer[1])
    } else {
        let length = buffer[1..9].iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        usize::try_from(length).map_err(|_| ZmtpError::Frame)?
    };
    if length > max {
        return Err(ZmtpError::Frame);
    }
    if buffer.len() < head + length {
        return Ok(None);
    }
    buffer.advance(head);
    let body = buffer.split_to(length).freeze();
    Ok(Some(Frame { command: flags & COMMAND != 0, more: flags & MORE != 0, body }))
}

/// Writes the head of a frame.
pub fn head(out: &mut BytesMut, command: bool, more: bool, length: usize) {
    let flags = u8::from(more) * MORE + u8::from(command) * COMMAND;
    match u8::try_from(length) {
        Ok(length) => out.extend_from_slice(&[flags, length]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(length as u64);
        }
    }
}

/// Our READY command: we are a PUB.
#[must_use]
pub fn ready() -> Bytes {
    let mut body = BytesMut::with_capacity(32);
    body.extend_from_slice(b"\x05READY");
    property(&mut body, b"Socket-Type", b"PUB");
    command(&body)
}

/// A PONG command with the PING's context.
#[must_use]
pub fn pong(context: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(32);
    body.extend_from_slice(b"\x04PONG");
    body.extend_from_slice(context);
    command(&body)
}

fn command(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 9);
    head(&mut out, true, false, body.len());
    out.extend_from_slice(body);
    out.freeze()
}

fn property(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_u8(name.len() as u8);
    out.extend_from_slice(name);
    out.put_u32(value.len() as u32);
    out.extend_from_slice(value);
}

/// Checks that the frame is the READY command of a subscriber.
///
/// # Errors
/// When it is something else.
pub fn check_ready(frame: &Frame) -> Result<(), ZmtpError> {
    let mut body = frame.body.strip_prefix(b"\x05READY").filter(|_| frame.command).ok_or(ZmtpError::Ready)?;
    while let Some((name, value)) = take_property(&mut body)? {
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return if value == b"SUB" || value == b"XSUB" { Ok(()) } else { Err(ZmtpError::NotASubscriber) };
        }
    }
    Err(ZmtpError::NotASubscriber)
}

/// A name with its value.
type Property<'a> = (&'a [u8], &'a [u8]);

fn take_property<'a>(body: &mut &'a [u8]) -> Result<Option<Property<'a>>, ZmtpError> {
    let Some((length, rest)) = body.split_first() else { return Ok(None) };
    let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or(ZmtpError::Ready)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(ZmtpError::Ready)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| ZmtpError::Ready)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(ZmtpError::Ready)?;
    *body = rest;
    Ok(Some((name, value)))
}

/// What a subscriber says after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It wants messages whose first part begins so.
    Subscribe(Bytes),
    /// It does not any more.
    Cancel(Bytes),
    /// It wants to know whether we live; the bytes are to be sent back.
    Ping(Bytes),
    /// Nothing that concerns a publisher.
    Other,
}

/// Understands a frame of a subscriber: ZMTP 3.0 subscribes by messages, 3.1 by commands.
#[must_use]
pub fn said(frame: &Frame) -> Said {
    let body = &frame.body;
    if frame.command {
        if body.starts_with(b"\x09SUBSCRIBE") {
            return Said::Subscribe(body.slice(10..));
        }
        if body.starts_with(b"\x06CANCEL") {
            return Said::Cancel(body.slice(7..));
        }
        // PING has a time to live of two bytes before its context of at most 16.
        if body.starts_with(b"\x04PING") && (7..=23).contains(&body.len()) {
            return Said::Ping(body.slice(7..));
        }
        return Said::Other;
    }
    match body.first() {
        Some(1) => Said::Subscribe(body.slice(1..)),
        Some(0) => Said::Cancel(body.slice(1..)),
        _ => Said::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(command: bool, body: &'static [u8]) -> Frame {
        Frame { command, more: false, body: Bytes::from_static(body) }
    }

    #[test]
    fn frames_go_both_ways_in_pieces() {
        for length in [0, 1, 255, 256, 70_000] {
            let mut out = BytesMut::new();
            head(&mut out, false, true, length);
            out.extend_from_slice(&vec![7; length]);
            let whole = out.clone().freeze();
            let mut part = BytesMut::from(&whole[..whole.len() - 1]);
            assert_eq!(decode(&mut part, 100_000).unwrap(), None, "{length}");
            let got = decode(&mut out, 100_000).unwrap().unwrap();
            assert!(got.more && !got.command && got.body.len() == length && out.is_empty());
        }
    }

    #[test]
    fn bad_frames_are_refused() {
        for bytes in [&[8, 0][..], &[5, 0], &[2, 255, 255, 255, 255, 255, 255, 255, 255], &[0, 200]] {
            assert_eq!(decode(&mut BytesMut::from(bytes), 100), Err(ZmtpError::Frame));
        }
    }

    #[test]
    fn handshake_of_a_subscriber() {
        let mut theirs = greeting();
        assert_eq!(check_greeting(&theirs), Ok(()));
        theirs[12..17].copy_from_slice(b"PLAIN");
        assert_eq!(check_greeting(&theirs), Err(ZmtpError::Mechanism));
        theirs[10] = 1;
        assert_eq!(check_greeting(&theirs), Err(ZmtpError::Greeting));
        assert_eq!(
            check_ready(&frame(true, b"\x05READY\x0bSocket-Type\0\0\0\x03SUB\x08Identity\0\0\0\0")),
            Ok(())
        );
        assert_eq!(
            check_ready(&frame(true, b"\x05READY\x0bSocket-Type\0\0\0\x03PUB")),
            Err(ZmtpError::NotASubscriber)
        );
        assert_eq!(
            check_ready(&frame(true, b"\x05READY\x0bSocket-Type\0\0\0\x09SUB")),
            Err(ZmtpError::Ready)
        );
        assert_eq!(check_ready(&frame(false, b"\x05READY")), Err(ZmtpError::Ready));
        let ours = decode(&mut BytesMut::from(&ready()[..]), MAX_FRAME).unwrap().unwrap();
        assert_eq!(check_ready(&ours), Err(ZmtpError::NotASubscriber));
    }

    #[test]
    fn both_ways_to_subscribe() {
        let prefix = Bytes::from_static(b"a");
        assert_eq!(said(&frame(false, b"\x01a")), Said::Subscribe(prefix.clone()));
        assert_eq!(said(&frame(true, b"\x09SUBSCRIBEa")), Said::Subscribe(prefix.clone()));
        assert_eq!(said(&frame(false, b"\x00a")), Said::Cancel(prefix.clone()));
        assert_eq!(said(&frame(true, b"\x06CANCELa")), Said::Cancel(prefix.clone()));
        assert_eq!(said(&frame(true, b"\x04PING\0\x01a")), Said::Ping(prefix));
        assert_eq!(said(&frame(true, b"\x04PING")), Said::Other);
        assert_eq!(said(&frame(false, b"")), Said::Other);
    }
}
