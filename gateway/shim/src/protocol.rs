//! Frames between gateway and shim: `u32` little-endian length, `u8` kind, body. Nothing in a message is decoded.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use carrel_wire::{Channel, Message, limits};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Largest value of a frame's length field.
pub const MAX_FRAME: usize = 256 * 1024 * 1024;
/// Largest JSON body (everything but messages).
const MAX_JSON: usize = 64 * 1024;
/// Most offsets in one frame.
const MAX_OFFSETS: usize = 4096;

/// One frame, either way.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// 1: first on every connection, from the gateway.
    Hello(Hello),
    /// 2: a message for the kernel, unsigned, without identities.
    Send(Channel, Message),
    /// 3: everything up to this number is delivered for this session.
    Ack(u64),
    /// 4: (message, end of it in the browser's byte stream) pairs.
    Offsets(Vec<(u64, u64)>),
    /// 5: a command to the shim.
    Command(Command),
    /// 16: the shim's answer to HELLO.
    Welcome(Welcome),
    /// 17: a numbered message from the kernel.
    Message(u64, Channel, Message),
    /// 18: a numbered event, in order with the messages.
    Event(u64, Event),
    /// 19: the answer to a command.
    Reply(Reply),
}

/// Who connects, and from where it wants to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the connection is for.
    pub role: Role,
    /// Name of the session whose cursor is kept, at most 256 bytes.
    pub session: String,
    /// Where to begin.
    pub from: From,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Watches: iopub and events only, no cursor is kept after it ended, no acknowledgements are needed.
    Control,
    /// A Jupyter client: iopub, events, and the answers to its own requests.
    Client,
}

/// Where in the log a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// With what comes next.
    Now,
    /// With this number.
    Seq(u64),
    /// Where the session was: after the last message that lies within the written bytes (see OFFSETS), or after
    /// the last acknowledged one.
    Resume {
        /// Bytes that the browser's TCP connection took, if known.
        written: Option<u64>,
    },
}

/// A command, answered by a [`Reply`] with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by the gateway.
    pub id: u64,
    /// What to do.
    pub cmd: Cmd,
}

/// What the shim can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cmd {
    /// Interrupt the running cell, in the way of the kernelspec. Answered at once.
    Interrupt,
    /// End the kernel and start it again. Answered when the new one answers requests.
    Restart,
    /// End the kernel and the shim.
    Shutdown,
    /// Report [`Kernel`], with `responsive` from the heartbeat.
    Status,
}

/// The answer to HELLO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Number of the oldest message still kept.
    pub first: u64,
    /// Number that the next message will get.
    pub next: u64,
    /// Number from which this connection reads on.
    pub at: u64,
    /// How many log entries between where the session was and `first` are gone; EVENT `lost` names them, too.
    pub lost: u64,
    /// False when the session asked to resume was not known: it begins with `next`.
    pub resumed: bool,
    /// The kernel now.
    pub kernel: Kernel,
}

/// State of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Life cycle.
    pub state: State,
    /// Process id within the jail, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again, for whatever reason.
    pub restarts: u32,
    /// The last `execution_state` on iopub: `starting`, `idle`, `busy`; `dead` when it is.
    pub execution_state: String,
    /// How the last process ended.
    pub exit: Option<Exit>,
}

/// Life cycle of the kernel's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Started for the first time, does not answer yet.
    Starting,
    /// Answers requests.
    Alive,
    /// Ending or starting again.
    Restarting,
    /// Gone, and not started again by itself.
    Dead,
}

/// How a process ended: by itself with a code, or by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code.
    pub code: Option<i32>,
    /// Signal number.
    pub signal: Option<i32>,
}

/// Something that happened, in order with the messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The kernel answers requests now.
    Started {
        /// Process id within the jail.
        pid: u32,
        /// How often it was started again.
        restarts: u32,
    },
    /// The kernel's process ended. After an expected end (restart, shutdown) `expected` is true.
    Exited {
        /// How.
        #[serde(flatten)]
        exit: Exit,
        /// Whether it was told to end.
        expected: bool,
    },
    /// The kernel is started again: by command, or by itself after it died.
    Restarting {
        /// How many times in a row it died; 0 for a command.
        attempt: u32,
    },
    /// The kernel is gone and not started again by itself.
    Dead {
        /// Why, for people.
        reason: String,
    },
    /// Log entries are gone that this session has not read.
    Lost {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's id.
    pub id: u64,
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The kernel, after `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// After `status`: whether the kernel's heartbeat answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responsive: Option<bool>,
}

/// Why bytes are not a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed.
    #[error("cannot read or write the frame stream")]
    Io(#[from] io::Error),
    /// The length field passes the bound.
    #[error("frame of {length} bytes, more than {limit}")]
    TooLarge {
        /// The length field.
        length: usize,
        /// The bound for this kind.
        limit: usize,
    },
    /// A kind that does not exist.
    #[error("unknown frame kind {kind}")]
    UnknownKind {
        /// The kind byte.
        kind: u8,
    },
    /// The body does not have the shape of its kind.
    #[error("malformed {kind} frame: {why}")]
    Malformed {
        /// The kind's name.
        kind: &'static str,
        /// What does not fit.
        why: &'static str,
    },
    /// A JSON body that is not what it should be.
    #[error("malformed {kind} frame")]
    Json {
        /// The kind's name.
        kind: &'static str,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Truncated,
}

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
