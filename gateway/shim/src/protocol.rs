//! Frames between gateway and shim: `u32` little-endian length, `u8` kind, body. Nothing in a message is decoded.

mod codec;

use std::io;

use carrel_wire::{Channel, Message};
use serde::{Deserialize, Serialize};

pub use codec::{Decoder, FrameReader, MAX_FRAME};

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
    /// Watches: iopub and events only, of long messages the headers only ([`Frame::outline`]), no cursor is kept after it ended, no
    /// acknowledgements are needed.
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
    /// Do not keep this connection's session once the connection ends: its tab was closed. Answered at once.
    Forget,
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
    /// Why it is dead, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
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
