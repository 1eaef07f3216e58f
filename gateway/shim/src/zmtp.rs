//! ZMTP 3.0 with the NULL mechanism over unix sockets: the connecting side of DEALER, SUB and REQ, and nothing else.
//!
//! Why not the `zeromq` crate here: the shim is pid 1 next to code that nobody trusts, and that crate reserves whatever a frame's
//! length field claims (one forged length ends the process), does not tell when a DEALER's peer went away, and waits 100 ms before it
//! tries again. This module bounds every length before it keeps a byte, and needs a few kilobytes per socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use carrel_wire::limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Most parts of one message.
const MAX_PARTS: usize = limits::IDENTS + 6 + limits::BUFFERS;
/// Most bytes of a command (READY, PING …).
const MAX_COMMAND: usize = 64 * 1024;
/// How long a peer may take over its part of the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
const GREETING: usize = 64;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The socket types that the shim connects.
#[derive(Debug, Clone)]
pub(crate) enum Socket {
    /// Talks to a ROUTER under this identity.
    Dealer(Bytes),
    /// Hears everything that a PUB says.
    Sub,
    /// Asks a REP.
    Req,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ZmtpError {
    #[error("socket failed")]
    Io(#[from] io::Error),
    #[error("peer does not speak ZMTP 3 without encryption")]
    Greeting,
    #[error("peer took too long to greet")]
    Slow,
    #[error("peer broke the protocol: {0}")]
    Protocol(&'static str),
}

/// What a peer sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole message.
    Message(Vec<Bytes>),
    /// A message beyond the bounds; its bytes were thrown away.
    Oversized,
    /// A command with its name and data.
    Command(Bytes, Bytes),
}

/// Connects to a socket file and shakes hands. A SUB socket has subscribed to everything when this returns.
pub(crate) async fn connect(path: &Path, socket: Socket) -> Result<(Reader, Writer), ZmtpError> {
    let (read, write) = UnixStream::connect(path).await?.into_split();
    let mut ends = (Reader { stream: read, decoder: Decoder::default() }, Writer { stream: write });
    let (reader, writer) = (&mut ends.0, &mut ends.1);
    let shake = async {
        writer.stream.write_all(&greeting()).await?;
        let mut theirs = [0; GREETING];
        reader.stream.read_exact(&mut theirs).await?;
        check_greeting(&theirs)?;
        writer.stream.write_all(&ready(&socket)).await?;
        match reader.next().await? {
            Some(Incoming::Command(name, _)) if name == "READY" => {}
            _ => return Err(ZmtpError::Protocol("no READY after the greeting")),
        }
        if let Socket::Sub = socket {
            writer.send(&[Bytes::from_static(b"\x01")]).await?;
        }
        Ok(())
    };
    tokio::time::timeout(HANDSHAKE_WITHIN, shake).await.map_err(|_| ZmtpError::Slow)??;
    Ok(ends)
}

fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn check_greeting(theirs: &[u8; GREETING]) -> Result<(), ZmtpError> {
    let mut null = [0; 20];
    null[..4].copy_from_slice(b"NULL");
    let good = theirs[0] == 0xff && theirs[9] & 1 == 1 && theirs[10] >= 3 && theirs[12..32] == null;
    if good { Ok(()) } else { Err(ZmtpError::Greeting) }
}

fn ready(socket: &Socket) -> Bytes {
    let (name, identity) = match socket {
        Socket::Dealer(identity) => ("DEALER", identity.clone()),
        Socket::Sub => ("SUB", Bytes::new()),
        Socket::Req => ("REQ", Bytes::new()),
    };
    let mut body = BytesMut::new();
    body.put_slice(b"\x05READY");
    for (key, value) in [("Socket-Type", name.as_bytes()), ("Identity", &identity[..])] {
        if !value.is_empty() {
            body.put_u8(key.len() as u8);
            body.put_slice(key.as_bytes());
            body.put_u32(value.len() as u32);
            body.put_slice(value);
        }
    }
    command(&body)
}

/// The answer to a PING: its context comes back.
pub(crate) fn pong(ping: &Bytes) -> Bytes {
    let mut body = BytesMut::from(&b"\x04PONG"[..]);
    body.put_slice(ping.get(2..).unwrap_or_default());
    command(&body)
}

fn command(body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_frame(&mut out, COMMAND, body);
    out.freeze()
}

fn put_frame(out: &mut BytesMut, flags: u8, body: &[u8]) {
    out.reserve(body.len() + 9);
    if let Ok(length) = u8::try_from(body.len()) {
        out.put_u8(flags);
        out.put_u8(length);
    } else {
        out.put_u8(flags | LONG);
        out.put_u64(body.len() as u64);
    }
    out.put_slice(body);
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: OwnedWriteHalf,
}

impl Writer {
    /// Sends one message; returns when the operating system took it.
    pub(crate) async fn send(&mut self, parts: &[Bytes]) -> Result<(), ZmtpError> {
        let mut out = BytesMut::new();
        for (index, part) in parts.iter().enumerate() {
            put_frame(&mut out, if index + 1 < parts.len() { MORE } else { 0 }, part);
        }
        self.raw(&out).await
    }

    /// Sends a finished frame, such as [`pong`].
    pub(crate) async fn raw(&mut self, frame: &[u8]) -> Result<(), ZmtpError> {
        Ok(self.stream.write_all(frame).await?)
    }
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: OwnedReadHalf,
    decoder: Decoder,
}

impl Reader {
    /// The next message or command; `None` when the peer closed. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>, ZmtpError> {
        loop {
            if let Some(incoming) = self.decoder.next()? {
                return Ok(Some(incoming));
            }
            if self.stream.read_buf(self.decoder.space()).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Cuts the byte stream after the greeting into messages and commands.
#[derive(Debug, Default)]
struct Decoder {
    buffer: BytesMut,
    /// Parts of the message that is not whole yet, and their bytes.
    parts: Vec<Bytes>,
    size: usize,
    /// The message passed a bound: the rest of it is skipped.
    oversized: bool,
    /// Bytes still to be skipped, and whether the message ends with them.
    skip: u64,
    ends: bool,
}

impl Decoder {
    fn space(&mut self) -> &mut BytesMut {
        // Grows with what arrived, never with what a length field promises.
        let want = self.buffer.len().clamp(16 * 1024, 1024 * 1024);
        self.buffer.reserve(want);
        &mut self.buffer
    }

    fn next(&mut self) -> Result<Option<Incoming>, ZmtpError> {
        loop {
            if self.oversized {
                let here = self.skip.min(self.buffer.len() as u64);
                self.buffer.advance(here as usize);
                self.skip -= here;
                if self.skip > 0 {
                    return Ok(None);
                }
                if self.ends {
                    self.oversized = false;
                    self.ends = false;
                    return Ok(Some(Incoming::Oversized));
                }
            }
            let Some((flags, length, header)) = self.header()? else { return Ok(None) };
            let more = flags & MORE != 0;
            if flags & COMMAND != 0 {
                if more || length > MAX_COMMAND as u64 {
                    return Err(ZmtpError::Protocol("a command is too long or has parts"));
                }
                let Some(body) = self.body(header, length as usize) else { return Ok(None) };
                return parse_command(body).map(Some);
            }
            let fits = length <= (limits::MESSAGE - self.size) as u64 && self.parts.len() < MAX_PARTS;
            if self.oversized || !fits {
                self.parts.clear();
                self.size = 0;
                self.oversized = true;
                self.skip = length;
                self.ends = !more;
                self.buffer.advance(header);
                continue;
            }
            let Some(part) = self.body(header, length as usize) else { return Ok(None) };
            self.size += part.len();
            self.parts.push(part);
            if !more {
                self.size = 0;
                return Ok(Some(Incoming::Message(std::mem::take(&mut self.parts))));
            }
        }
    }

    /// Flags, body length and header length of the next frame, if its header is here.
    fn header(&self) -> Result<Option<(u8, u64, usize)>, ZmtpError> {
        let Some(&flags) = self.buffer.first() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(ZmtpError::Protocol("reserved flags are set"));
        }
        let rest = &self.buffer[1..];
        Ok(if flags & LONG == 0 {
            rest.first().map(|&length| (flags, u64::from(length), 2))
        } else {
            rest.first_chunk::<8>().map(|length| (flags, u64::from_be_bytes(*length), 9))
        })
    }

    /// Takes a frame's body, if all of it is here.
    fn body(&mut self, header: usize, length: usize) -> Option<Bytes> {
        if self.buffer.len() < header + length {
            return None;
        }
        self.buffer.advance(header);
        let body = self.buffer.split_to(length).freeze();
        if length > 64 * 1024 {
            // What follows must not keep a large part's memory alive.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Some(body)
    }
}

fn parse_command(mut body: Bytes) -> Result<Incoming, ZmtpError> {
    let length = body.try_get_u8().map_or(usize::MAX, usize::from);
    if length > body.len() {
        return Err(ZmtpError::Protocol("a command has no name"));
    }
    let name = body.split_to(length);
    Ok(Incoming::Command(name, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(messages: &[Vec<Bytes>]) -> Vec<u8> {
        let mut out = BytesMut::new();
        for parts in messages {
            for (index, part) in parts.iter().enumerate() {
                put_frame(&mut out, if index + 1 < parts.len() { MORE } else { 0 }, part);
            }
        }
        out.to_vec()
    }

    fn decode(bytes: &[u8], cut: usize) -> Result<Vec<Incoming>, ZmtpError> {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in bytes.chunks(cut) {
            decoder.space().put_slice(piece);
            while let Some(incoming) = decoder.next()? {
                out.push(incoming);
            }
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(
            messages in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400).prop_map(Bytes::from), 1..5), 0..5),
            cut in 1usize..500,
        ) {
            let out = decode(&encode(&messages), cut).unwrap();
            prop_assert_eq!(out, messages.into_iter().map(Incoming::Message).collect::<Vec<_>>());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
            let _ = decode(&bytes, cut);
        }
    }

    /// A forged length neither reserves memory nor ends the connection; the next message is read.
    #[test]
    fn an_oversized_message_is_skipped_whole() {
        let mut decoder = Decoder::default();
        decoder.space().put_slice(&[MORE, 1, b'x', MORE | LONG]);
        decoder.space().put_u64(limits::MESSAGE as u64);
        assert_eq!(decoder.next().unwrap(), None);
        let block = vec![0; 1024 * 1024];
        for _ in 0..limits::MESSAGE / block.len() {
            decoder.space().put_slice(&block);
            assert_eq!(decoder.next().unwrap(), None);
        }
        assert!(decoder.buffer.capacity() < 8 * 1024 * 1024, "{}", decoder.buffer.capacity());
        decoder.space().put_slice(&[0, 1, b'y', 0, 1, b'z']);
        assert_eq!(decoder.next().unwrap(), Some(Incoming::Oversized));
        assert_eq!(decoder.next().unwrap(), Some(Incoming::Message(vec![Bytes::from_static(b"z")])));
    }

    #[test]
    fn too_many_parts_are_oversized() {
        let parts = vec![Bytes::new(); MAX_PARTS + 1];
        let good = vec![Bytes::from_static(b"good")];
        let out = decode(&encode(&[parts, good.clone()]), 1000).unwrap();
        assert_eq!(out, [Incoming::Oversized, Incoming::Message(good)]);
    }

    #[test]
    fn broken_peers_are_refused() {
        assert!(check_greeting(&greeting()).is_ok());
        assert!(check_greeting(&[0; GREETING]).is_err());
        let mut curve = greeting();
        curve[12..17].copy_from_slice(b"CURVE");
        assert!(check_greeting(&curve).is_err());
        assert!(decode(&[0x80, 0], 9).is_err());
        assert!(decode(&[COMMAND, 0], 9).is_err());
        assert!(decode(&[COMMAND, 2, 9, b'P'], 9).is_err());
        assert!(decode(&[COMMAND | LONG, 0, 0, 0, 1, 0, 0, 0, 0], 9).is_err());
    }

    #[test]
    fn a_ping_is_answered_with_its_context() {
        let ping = decode(b"\x04\x09\x04PING\0\x05ab", 3).unwrap();
        let [Incoming::Command(name, data)] = &ping[..] else { panic!("{ping:?}") };
        assert_eq!(name, "PING");
        assert_eq!(&pong(data)[..], b"\x04\x07\x04PONGab");
    }
}
