//! The ZeroMQ side: connects the kernel's sockets as soon as they exist, finds out when it answers, carries messages both ways.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use carrel_wire::{Channel, ConnectionInfo};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::output;
use crate::shared::{REQUESTS, Shared};
use crate::zmtp::{self, Incoming, Reader, Socket, Writer, ZmtpError};

/// How long the heartbeat may take to answer.
const HEARTBEAT_WITHIN: Duration = Duration::from_millis(500);
/// How often a kernel that answers but is not heard on iopub is asked again before it is taken as it is.
const NUDGES: u32 = 40;

/// How long stdin and control may take to connect after shell did.
const STDIN_WITHIN: Duration = Duration::from_secs(1);

/// The connections to one kernel process. Dropping it ends them.
pub(crate) struct Link {
    tasks: Vec<JoinHandle<()>>,
    state: Rc<LinkState>,
}

#[derive(Default)]
struct LinkState {
    /// The process is gone: read to the end, do not connect again.
    ending: Cell<bool>,
    shell: Cell<bool>,
    control: Cell<bool>,
    stdin: Cell<bool>,
    iopub: Cell<bool>,
    /// Something came on iopub: the subscription works.
    heard: Cell<bool>,
    /// The own kernel_info_request was answered.
    answered: Cell<bool>,
    progress: Notify,
}

impl Link {
    /// Begins to connect to a kernel that is starting.
    pub(crate) fn start(shared: &Rc<Shared>, info: &ConnectionInfo, identity: &Bytes) -> Link {
        let state = Rc::new(LinkState::default());
        let mut tasks = Vec::new();
        for channel in [Channel::Iopub].into_iter().chain(REQUESTS) {
            let socket = match channel {
                Channel::Iopub => Socket::Sub,
                _ => Socket::Dealer(identity.clone()),
            };
            let (shared, state, path) = (shared.clone(), state.clone(), socket_path(info, channel));
            tasks.push(tokio::task::spawn_local(carry(shared, state, channel, path, socket)));
        }
        tasks.push(tokio::task::spawn_local(nudge(shared.clone(), state.clone())));
        Link { tasks, state }
    }

    /// Whether the control channel is connected, so that a shutdown_request can arrive.
    pub(crate) fn has_control(&self) -> bool {
        self.state.control.get()
    }

    /// The kernel is told to end: what it answers now no longer means that it is ready.
    pub(crate) fn stop_nudging(&self) {
        if let Some(nudge) = self.tasks.last() {
            nudge.abort();
        }
    }

    /// After the process ended: reads what is left in its sockets.
    pub(crate) async fn drain(mut self) {
        self.state.ending.set(true);
        let deadline = Instant::now() + Duration::from_millis(500);
        // A forked child may hold the sockets open: hence the deadline. The last task is the nudge, it has nothing to drain.
        for task in self.tasks.iter_mut().take(1 + REQUESTS.len()) {
            tokio::time::timeout_at(deadline, task).await.ok();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Where a channel's socket file is.
pub(crate) fn socket_path(info: &ConnectionInfo, channel: Channel) -> PathBuf {
    PathBuf::from(format!("{}-{}", info.ip, info.port(channel)))
}

/// Asks the kernel's heartbeat for an echo.
pub(crate) async fn heartbeat(info: &ConnectionInfo) -> bool {
    let path = socket_path(info, Channel::Heartbeat);
    let echo = async {
        let (mut reader, mut writer) = zmtp::connect(&path, Socket::Req).await?;
        let ping = [Bytes::new(), Bytes::from_static(b"ping")];
        writer.send(&ping).await?;
        Ok::<_, ZmtpError>(matches!(reader.next().await?, Some(Incoming::Message(pong)) if pong == ping))
    };
    matches!(timeout(HEARTBEAT_WITHIN, echo).await, Ok(Ok(true)))
}

/// Connects one channel, carries its messages, and connects again should the kernel drop the connection.
async fn carry(shared: Rc<Shared>, state: Rc<LinkState>, channel: Channel, path: PathBuf, socket: Socket) {
    while let Some((reader, writer)) = connect(&state, &path, &socket).await {
        state.connected(channel, true);
        let pongs = Pongs::default();
        let ended = tokio::select! {
            ended = receive(&shared, &state, channel, reader, &pongs) => ended,
            ended = send(&shared, channel, writer, &pongs) => ended,
        };
        state.connected(channel, false);
        if state.ending.get() {
            return;
        }
        if let Err(why) = ended {
            output::note(&format!("{channel} connection to the kernel failed: {why}"));
        }
        // A peer that accepts and closes at once must not make this a busy loop.
        sleep(Duration::from_millis(20)).await;
    }
}

/// Connects once the socket exists and accepts; `None` when the kernel ended first.
async fn connect(state: &LinkState, path: &std::path::Path, socket: &Socket) -> Option<(Reader, Writer)> {
    let begun = Instant::now();
    loop {
        if state.ending.get() {
            return None;
        }
        if let Ok(ends) = zmtp::connect(path, socket.clone()).await {
            return Some(ends);
        }
        // A native kernel binds within milliseconds, a Python one takes half a second, Java seconds.
        sleep(match begun.elapsed().as_millis() {
            0..200 => Duration::from_millis(1),
            200..3000 => Duration::from_millis(5),
            _ => Duration::from_millis(50),
        })
        .await;
    }
}

async fn receive(
    shared: &Shared,
    state: &LinkState,
    channel: Channel,
    mut reader: Reader,
    pongs: &Pongs,
) -> Result<(), ZmtpError> {
    while let Some(incoming) = reader.next().await? {
        match incoming {
            Incoming::Message(parts) => {
                let own = shared.receive(channel, parts);
                state.received(channel, own.is_some());
            }
            Incoming::Oversized => {
                shared.report_bad(channel, &ZmtpError::Protocol("message beyond the bounds"))
            }
            Incoming::Command(name, data) if name == "PING" => pongs.owe(zmtp::pong(&data)),
            Incoming::Command(..) => {}
        }
    }
    Ok(())
}

async fn send(shared: &Shared, channel: Channel, mut writer: Writer, pongs: &Pongs) -> Result<(), ZmtpError> {
    loop {
        tokio::select! {
            parts = shared.next_for_kernel(channel) => writer.send(&parts).await?,
            pong = pongs.owed() => writer.raw(&pong).await?,
        }
    }
}

/// At most one PONG is owed: a peer that pings faster than we can write gets the newest.
#[derive(Default)]
struct Pongs {
    pong: Cell<Option<Bytes>>,
    wake: Notify,
}

impl Pongs {
    fn owe(&self, pong: Bytes) {
        self.pong.set(Some(pong));
        self.wake.notify_one();
    }

    async fn owed(&self) -> Bytes {
        loop {
            if let Some(pong) = self.pong.take() {
                return pong;
            }
            self.wake.notified().await;
        }
    }
}

impl LinkState {
    fn connected(&self, channel: Channel, is: bool) {
        match channel {
            Channel::Shell => self.shell.set(is),
            Channel::Control => self.control.set(is),
            Channel::Iopub => self.iopub.set(is),
            Channel::Stdin => self.stdin.set(is),
            Channel::Heartbeat => {}
        }
        self.progress.notify_one();
    }

    fn received(&self, channel: Channel, own: bool) {
        match channel {
            Channel::Iopub if !self.heard.get() => self.heard.set(true),
            Channel::Shell if own => self.answered.set(true),
            _ => return,
        }
        self.progress.notify_one();
    }

    async fn until(&self, done: impl Fn(&LinkState) -> bool) {
        while !done(self) {
            self.progress.notified().await;
        }
    }
}

/// Asks for kernel_info until the kernel answers and is heard on iopub, then releases the clients' requests.
///
/// A subscription takes effect some time after the connection; what is published before that is gone. So a request is not
/// let through before something was heard.
async fn nudge(shared: Rc<Shared>, state: Rc<LinkState>) {
    state.until(|state| state.shell.get() && state.iopub.get()).await;
    // A question of the kernel's would be dropped, and a cell wait for ever, were stdin not connected yet. Every kernel has it; one that
    // has not must not be waited for.
    timeout(STDIN_WITHIN, state.until(|state| state.control.get() && state.stdin.get())).await.ok();
    for attempt in 0..NUDGES {
        state.answered.set(false);
        shared.own_request(Channel::Shell, "kernel_info_request", &serde_json::json!({}));
        state.until(|state| state.answered.get()).await;
        let patience = Duration::from_millis(5 << attempt.min(5));
        if timeout(patience, state.until(|state| state.heard.get())).await.is_ok() {
            return shared.ready();
        }
    }
    output::note("the kernel answers, but nothing is heard on its iopub channel");
    shared.ready();
}
