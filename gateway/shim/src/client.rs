//! The gateway's end of a shim connection.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use carrel_wire::{Channel, Message};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::protocol::{Cmd, Command, Event, Frame, FrameError, FrameReader, Hello, Reply, Welcome};

/// How long a shim may take to answer HELLO.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);

/// An open connection: what the shim said first, and the two directions.
#[derive(Debug)]
pub struct ShimConn {
    /// The log and the kernel as they were when the connection was made.
    pub welcome: Welcome,
    /// To the shim.
    pub sender: ShimSender,
    /// From the shim.
    pub receiver: ShimReceiver,
}

/// What a shim sends after WELCOME.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// A numbered message of the kernel.
    Message {
        /// Its number; acknowledge it once delivered.
        seq: u64,
        /// Its channel.
        channel: Channel,
        /// The message, without identities, its signature checked by the shim.
        message: Message,
    },
    /// A numbered event.
    Event {
        /// Its number.
        seq: u64,
        /// What happened.
        event: Event,
    },
    /// The answer to a command.
    Reply(Reply),
}

/// Why a shim connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// Nobody listens there.
    #[error("cannot connect to the kernel's shim")]
    Connect(#[source] io::Error),
    /// The stream failed or holds something that is not a frame.
    #[error("the connection to the kernel's shim failed")]
    Frame(#[from] FrameError),
    /// It closed before it answered HELLO.
    #[error("the kernel's shim closed the connection before its welcome")]
    NoWelcome,
    /// It did not answer HELLO in time.
    #[error("the kernel's shim did not answer within {} s", WELCOME_WITHIN.as_secs())]
    Timeout,
    /// A frame that only the gateway may send, or a second WELCOME.
    #[error("the kernel's shim sent a frame that is not its to send")]
    Unexpected,
}

impl ShimConn {
    /// Connects to a shim's socket and says HELLO.
    ///
    /// # Errors
    /// When nobody listens, or the answer is not a WELCOME within 5 seconds.
    pub async fn connect(path: &Path, hello: Hello) -> Result<ShimConn, ShimError> {
        let stream = UnixStream::connect(path).await.map_err(ShimError::Connect)?;
        ShimConn::over(stream, hello).await
    }

    /// As [`ShimConn::connect`], over a stream that is connected already.
    ///
    /// # Errors
    /// When the answer is not a WELCOME within 5 seconds.
    pub async fn over(stream: UnixStream, hello: Hello) -> Result<ShimConn, ShimError> {
        let (read, write) = stream.into_split();
        let mut sender = ShimSender { stream: write, unsent: BytesMut::new() };
        let mut frames = FrameReader::new(read);
        let welcome = async {
            sender.send_frame(&Frame::Hello(hello)).await?;
            match frames.next().await? {
                Some(Frame::Welcome(welcome)) => Ok(welcome),
                Some(_) => Err(ShimError::Unexpected),
                None => Err(ShimError::NoWelcome),
            }
        };
        let welcome =
            tokio::time::timeout(WELCOME_WITHIN, welcome).await.map_err(|_| ShimError::Timeout)??;
        Ok(ShimConn { welcome, sender, receiver: ShimReceiver { frames } })
    }
}

/// The direction to the shim. Every call returns when the kernel of the operating system took the bytes.
///
/// A call that is dropped halfway harms nothing: what is left of its frame goes out first with the next call.
#[derive(Debug)]
pub struct ShimSender {
    stream: OwnedWriteHalf,
    unsent: BytesMut,
}

impl ShimSender {
    /// A message for the kernel, on the shell, control or stdin channel.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn message(&mut self, channel: Channel, message: Message) -> Result<(), ShimError> {
        self.send_frame(&Frame::Send(channel, message)).await
    }

    /// Everything up to `seq` is delivered for this session and need not be kept for it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn ack(&mut self, seq: u64) -> Result<(), ShimError> {
        self.send_frame(&Frame::Ack(seq)).await
    }

    /// Before writing messages to the browser: where each ends in that TCP stream. At most 4096 pairs a call.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn offsets(&mut self, pairs: &[(u64, u64)]) -> Result<(), ShimError> {
        self.send_frame(&Frame::Offsets(pairs.to_vec())).await
    }

    /// A command; its [`Delivery::Reply`] carries the same id.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn command(&mut self, id: u64, cmd: Cmd) -> Result<(), ShimError> {
        self.send_frame(&Frame::Command(Command { id, cmd })).await
    }

    async fn send_frame(&mut self, frame: &Frame) -> Result<(), ShimError> {
        frame.encode(&mut self.unsent);
        while !self.unsent.is_empty() {
            self.stream.write_buf(&mut self.unsent).await.map_err(FrameError::Io)?;
        }
        Ok(())
    }
}

/// The direction from the shim.
#[derive(Debug)]
pub struct ShimReceiver {
    frames: FrameReader<OwnedReadHalf>,
}

impl ShimReceiver {
    /// What the shim sends next; `None` when it closed the connection. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream fails or holds something unexpected.
    pub async fn next(&mut self) -> Result<Option<Delivery>, ShimError> {
        Ok(Some(match self.frames.next().await? {
            None => return Ok(None),
            Some(Frame::Message(seq, channel, message)) => Delivery::Message { seq, channel, message },
            Some(Frame::Event(seq, event)) => Delivery::Event { seq, event },
            Some(Frame::Reply(reply)) => Delivery::Reply(reply),
            Some(_) => return Err(ShimError::Unexpected),
        }))
    }
}
