//! The one voice of the kernel: everything that is published goes through one task, in one order, with streams gathered.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use carrel_wire::{Header, Message, Signer};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::publish::{PubSocket, Welcome};

/// Messages that wait for the voice before whoever speaks has to wait.
const QUEUE: usize = 64;
/// Stream text is sent at the latest when there is so much of it …
const STREAM_BYTES: usize = 64 * 1024;
/// … or when its first part is so old.
const STREAM_AGE: Duration = Duration::from_millis(20);

/// Writes headers for one session.
#[derive(Clone)]
pub(crate) struct Stamp {
    session: Arc<str>,
    pub(crate) signer: Signer,
}

impl Stamp {
    pub(crate) fn new(session: &str, signer: Signer) -> Self {
        Self { session: session.into(), signer }
    }

    pub(crate) fn header(&self, msg_type: &str) -> Header {
        let id = uuid::Uuid::new_v4().to_string();
        Header::new(&id, msg_type, &self.session, "kernel", SystemTime::now())
    }

    /// What a new subscriber is told first (JEP 65), so that a client knows that it hears us.
    pub(crate) fn welcome(&self) -> Welcome {
        let stamp = self.clone();
        Arc::new(move |prefix| {
            let content = json!({"subscription": String::from_utf8_lossy(prefix)}).to_string();
            let mut message =
                Message::from_parts(stamp.header("iopub_welcome").to_bytes(), None, content.into());
            message.idents = vec![Bytes::copy_from_slice(prefix)];
            message.to_zmq(&stamp.signer)
        })
    }
}

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Something to publish.
pub(crate) struct Post {
    pub(crate) parent: Option<Arc<Message>>,
    pub(crate) msg_type: &'static str,
    pub(crate) content: Bytes,
    pub(crate) buffers: Vec<Bytes>,
}

enum Command {
    Post(Post),
    Text { parent: Arc<Message>, stream: Stream, text: String },
    Flush(oneshot::Sender<()>),
}

/// A handle to the voice.
#[derive(Clone)]
pub(crate) struct Iopub {
    commands: mpsc::Sender<Command>,
}

impl Iopub {
    /// Starts the task that owns the socket. `first_wait` is how long the first request waits for somebody to listen.
    pub(crate) fn start(socket: PubSocket, stamp: Stamp, first_wait: Duration) -> Self {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let voice = Voice { socket, stamp, pending: None, first_wait: Some(first_wait) };
        tokio::spawn(voice.run(receiver));
        Self { commands }
    }

    /// Publishes a message, waiting while subscribers are slow.
    pub(crate) async fn post(&self, post: Post) {
        let _ = self.commands.send(Command::Post(post)).await;
    }

    /// Publishes JSON in answer to a request.
    pub(crate) async fn json(&self, parent: Option<&Arc<Message>>, msg_type: &'static str, content: &Value) {
        let content = Bytes::from(content.to_string());
        self.post(Post { parent: parent.map(Arc::clone), msg_type, content, buffers: Vec::new() }).await;
    }

    /// Publishes the kernel's state.
    pub(crate) async fn status(&self, parent: Option<&Arc<Message>>, state: &'static str) {
        self.json(parent, "status", &json!({"execution_state": state})).await;
    }

    /// Adds text to a stream.
    pub(crate) async fn text(&self, parent: &Arc<Message>, stream: Stream, text: String) {
        if !text.is_empty() {
            let _ = self.commands.send(Command::Text { parent: Arc::clone(parent), stream, text }).await;
        }
    }

    /// Returns once everything published so far was handed to the operating system, or after this time.
    pub(crate) async fn flush(&self, at_most: Duration) {
        let (done, wait) = oneshot::channel();
        let flushed = async {
            let _ = self.commands.send(Command::Flush(done)).await;
            let _ = wait.await;
        };
        let _ = tokio::time::timeout(at_most, flushed).await;
    }
}

struct Pending {
    parent: Arc<Message>,
    stream: Stream,
    text: String,
    due: Instant,
}

struct Voice {
    socket: PubSocket,
    stamp: Stamp,
    pending: Option<Pending>,
    first_wait: Option<Duration>,
}

impl Voice {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let command = match &self.pending {
                None => commands.recv().await,
                Some(pending) => match tokio::time::timeout_at(pending.due, commands.recv()).await {
                    Ok(command) => command,
                    Err(_elapsed) => {
                        self.send_pending().await;
                        continue;
                    }
                },
            };
            match command {
                None => break,
                Some(Command::Post(post)) => {
                    self.send_pending().await;
                    self.send(post).await;
                }
                Some(Command::Text { parent, stream, text }) => self.text(parent, stream, text).await,
                Some(Command::Flush(done)) => {
                    self.send_pending().await;
                    self.socket.flush(Duration::from_secs(60)).await;
                    let _ = done.send(());
                }
            }
        }
        self.send_pending().await;
    }

    async fn text(&mut self, parent: Arc<Message>, stream: Stream, text: String) {
        match &mut self.pending {
            Some(pending) if pending.stream == stream && Arc::ptr_eq(&pending.parent, &parent) => {
                pending.text.push_str(&text);
            }
            _ => {
                self.send_pending().await;
                self.pending = Some(Pending { parent, stream, text, due: Instant::now() + STREAM_AGE });
            }
        }
        if self.pending.as_ref().is_some_and(|pending| pending.text.len() >= STREAM_BYTES) {
            self.send_pending().await;
        }
    }

    async fn send_pending(&mut self) {
        if let Some(Pending { parent, stream, text, .. }) = self.pending.take() {
            let content = json!({"name": stream.name(), "text": text}).to_string().into();
            self.send(Post { parent: Some(parent), msg_type: "stream", content, buffers: Vec::new() }).await;
        }
    }

    async fn send(&mut self, post: Post) {
        if post.parent.is_some()
            && let Some(first_wait) = self.first_wait.take()
        {
            // A client that asks before its subscription arrived would miss the answer's beginning.
            self.socket.subscribed(first_wait).await;
        }
        let header = self.stamp.header(post.msg_type).to_bytes();
        let mut message = Message::from_parts(header, post.parent.as_deref(), post.content);
        message.idents = vec![Bytes::from_static(post.msg_type.as_bytes())];
        message.buffers = post.buffers;
        self.socket.publish(&message.to_zmq(&self.stamp.signer)).await;
    }
}
