//! One connection of the gateway: HELLO, then its frames in and the log's frames out, independently of each other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use carrel_wire::{Channel, ConnectionInfo, Message};
use gateway_shim::protocol::{Cmd, Command, Event, Frame, FrameError, FrameReader, Hello, Reply};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::kernel::{self, Interrupt, Order};
use crate::link;
use crate::sessions::Reader;
use crate::shared::{Ids, Shared};

/// How long a connection may take to say HELLO.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Longest session name.
const MAX_SESSION: usize = 256;
/// Commands of one connection that may run at once.
const MAX_COMMANDS: usize = 32;
/// Frames up to this size are gathered into one write.
const SMALL: usize = 16 * 1024;
const GATHER: usize = 32 * 1024;

/// Why a connection was closed from this side.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("it did not begin with HELLO")]
    NoHello,
    #[error("HELLO took too long")]
    Slow,
    #[error("{0}")]
    Refused(&'static str),
}

/// What a connection needs beside the shared state.
pub(crate) struct Context {
    pub(crate) shared: Rc<Shared>,
    pub(crate) info: ConnectionInfo,
    pub(crate) interrupt: Interrupt,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// Serves a connection until either side closes it.
pub(crate) async fn serve(context: Rc<Context>, stream: UnixStream) -> Result<(), Closed> {
    let (read, write) = stream.into_split();
    let mut frames = FrameReader::new(read);
    let hello = match tokio::time::timeout(HELLO_WITHIN, frames.next()).await {
        Ok(Ok(Some(Frame::Hello(hello)))) => hello,
        Ok(Ok(None)) => return Ok(()),
        Ok(Ok(Some(_))) => return Err(Closed::NoHello),
        Ok(Err(why)) => return Err(why.into()),
        Err(_) => return Err(Closed::Slow),
    };
    let (attached, at, welcome) = Attached::new(&context.shared, &hello)?;
    let mut out = Out { stream: write, buffer: BytesMut::new() };
    Frame::Welcome(welcome).encode(&mut out.buffer);
    let (sender, replies) = mpsc::channel(MAX_COMMANDS);
    let commands = Commands { sender, running: Rc::new(Cell::new(0)) };
    let running = commands.running.clone();
    tokio::select! {
        ended = read_frames(&context, &attached, &mut frames, commands) => ended,
        ended = write_frames(&context.shared, attached.reader, at, out, replies, running) => ended,
    }
}

/// Keeps a connection attached to the log while it lives, however it ends.
struct Attached {
    shared: Rc<Shared>,
    reader: Reader,
}

impl Attached {
    fn new(
        shared: &Rc<Shared>,
        hello: &Hello,
    ) -> Result<(Attached, u64, gateway_shim::protocol::Welcome), Closed> {
        if hello.session.len() > MAX_SESSION {
            return Err(Closed::Refused("the session's name is too long"));
        }
        let (reader, at, welcome) = shared.attach(hello).ok_or(Closed::Refused("too many sessions"))?;
        Ok((Attached { shared: shared.clone(), reader }, at, welcome))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.detach(self.reader);
    }
}

// --- from the gateway

async fn read_frames(
    context: &Rc<Context>,
    attached: &Attached,
    frames: &mut FrameReader<OwnedReadHalf>,
    commands: Commands,
) -> Result<(), Closed> {
    let shared = &context.shared;
    while let Some(frame) = frames.next().await? {
        match frame {
            Frame::Send(channel, message) => forward(shared, attached.reader, channel, &message).await?,
            Frame::Ack(seq) => shared.ack(attached.reader, seq),
            Frame::Offsets(pairs) => shared.offsets(attached.reader, &pairs),
            Frame::Command(command) => commands.run(context, attached.reader, command),
            _ => return Err(Closed::Refused("a frame that is not the gateway's to send")),
        }
    }
    Ok(())
}

async fn forward(shared: &Shared, reader: Reader, channel: Channel, message: &Message) -> Result<(), Closed> {
    if channel == Channel::Iopub {
        return Err(Closed::Refused("a message for the kernel on iopub"));
    }
    let header: Ids<'_> =
        serde_json::from_slice(&message.header).map_err(|_| Closed::Refused("a message without a header"))?;
    if header.msg_id.len() > 256 {
        return Err(Closed::Refused("a message id that is too long"));
    }
    shared.enqueue(reader, channel, message, &header.msg_id).await;
    Ok(())
}

/// Runs a connection's commands; each is answered once.
struct Commands {
    sender: mpsc::Sender<Reply>,
    running: Rc<Cell<usize>>,
}

impl Commands {
    fn run(&self, context: &Rc<Context>, reader: Reader, command: Command) {
        let (sender, running, context) = (self.sender.clone(), self.running.clone(), context.clone());
        let busy = running.get() >= MAX_COMMANDS;
        running.set(running.get() + 1);
        tokio::task::spawn_local(async move {
            let reply = if busy {
                failed(command.id, "too many commands at once")
            } else {
                obey(&context, reader, command).await
            };
            // Taken back only when the reply is queued, so that a closing connection waits for it.
            sender.send(reply).await.ok();
            running.set(running.get() - 1);
        });
    }
}

async fn obey(context: &Context, reader: Reader, Command { id, cmd }: Command) -> Reply {
    let done = match cmd {
        Cmd::Interrupt => kernel::interrupt(&context.shared, context.interrupt),
        Cmd::Restart => ordered(context, Order::Restart).await,
        Cmd::Shutdown => ordered(context, Order::Shutdown).await,
        Cmd::Forget => {
            context.shared.forget(reader);
            Ok(())
        }
        Cmd::Status => {
            let responsive = link::heartbeat(&context.info).await;
            let kernel = Some(context.shared.kernel().clone());
            return Reply { id, ok: true, error: None, kernel, responsive: Some(responsive) };
        }
    };
    match done {
        Ok(()) => Reply { id, ok: true, error: None, kernel: None, responsive: None },
        Err(why) => failed(id, &why),
    }
}

async fn ordered(
    context: &Context,
    order: fn(oneshot::Sender<Result<(), String>>) -> Order,
) -> Result<(), String> {
    let (sender, done) = oneshot::channel();
    context.orders.try_send(order(sender)).map_err(|_| "the shim is busy with other commands".to_owned())?;
    done.await.unwrap_or_else(|_| Err("the shim is ending".to_owned()))
}

fn failed(id: u64, why: &str) -> Reply {
    Reply { id, ok: false, error: Some(why.to_owned()), kernel: None, responsive: None }
}

// --- to the gateway

/// Gathers small frames into one write; large ones go out as they are.
struct Out {
    stream: OwnedWriteHalf,
    buffer: BytesMut,
}

impl Out {
    async fn frame(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        if frame.len() > SMALL {
            self.flush().await?;
            self.stream.write_all(frame).await?;
            return Ok(());
        }
        self.buffer.extend_from_slice(frame);
        if self.buffer.len() >= GATHER { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), FrameError> {
        self.stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}

async fn write_frames(
    shared: &Shared,
    reader: Reader,
    mut at: u64,
    mut out: Out,
    mut replies: mpsc::Receiver<Reply>,
    running: Rc<Cell<usize>>,
) -> Result<(), Closed> {
    let mut changed = shared.subscribe();
    loop {
        if !shared.is_current(reader) {
            return Err(Closed::Refused("a newer connection took its session over"));
        }
        while let Ok(reply) = replies.try_recv() {
            Frame::Reply(reply).encode(&mut out.buffer);
        }
        let before = at;
        match shared.read(reader, at) {
            Ok(chunk) => {
                for (_, frame) in &chunk.frames {
                    match reader {
                        Reader::Watcher(_) => out.frame(&Frame::outline(frame)).await?,
                        Reader::Client { .. } => out.frame(frame).await?,
                    }
                }
                at = chunk.next;
                shared.sent(reader, chunk.frames.last().map(|(seq, _)| *seq), at);
            }
            Err(gap) => {
                let lost = Event::Lost { first: gap.first, last: gap.last };
                Frame::Event(gap.last, lost).encode(&mut out.buffer);
                at = gap.last + 1;
                shared.sent(reader, Some(gap.last), at);
            }
        }
        if at != before {
            continue;
        }
        out.flush().await?;
        if shared.is_closing() && running.get() == 0 && replies.is_empty() {
            return Ok(());
        }
        tokio::select! {
            _ = changed.changed() => {}
            Some(reply) = replies.recv() => Frame::Reply(reply).encode(&mut out.buffer),
        }
    }
}
