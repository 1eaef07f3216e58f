//! What all tasks of the shim share: the log, its readers, the kernel's state and the queues to the kernel.
//!
//! One thread runs everything, so this is a `RefCell` that is borrowed for a few lines and never across an await.

use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use carrel_wire::{Channel, Header, Message, Signer, WireError};
use gateway_shim::protocol::{Event, Exit, Frame, From, Hello, Kernel, Role, State, Welcome};
use serde::Deserialize;
use tokio::sync::{oneshot, watch};

use crate::log::{Chunk, Gap, Log, Route};
use crate::memory;
use crate::outbox::Outbox;
use crate::output;
use crate::sessions::{Reader, Routes, Sessions};

/// The channels on which requests go to the kernel; indexes by [`Channel::code`].
pub(crate) const REQUESTS: [Channel; 3] = [Channel::Shell, Channel::Control, Channel::Stdin];

pub(crate) struct Shared {
    inner: RefCell<Inner>,
    /// Bumped when there may be something to read.
    changed: watch::Sender<()>,
    outboxes: [Outbox; 3],
    signer: Signer,
    /// Session of the shim's own requests; their message ids begin with it.
    own: String,
    own_count: Cell<u64>,
    /// The end: connections close once they sent everything.
    closing: Cell<bool>,
    /// Kinds of bad messages reported so far; each is reported once.
    reported: Cell<u8>,
    /// When the kernel began the cell that it runs.
    busy_since: Cell<Option<Instant>>,
}

struct Inner {
    log: Log,
    sessions: Sessions,
    routes: Routes,
    kernel: Kernel,
    restarted: Vec<oneshot::Sender<Result<(), String>>>,
}

/// Identifiers of a header, as far as the shim must know them.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Ids<'a> {
    #[serde(borrow)]
    pub(crate) msg_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) msg_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) session: Cow<'a, str>,
}

impl Shared {
    pub(crate) fn new(log: Log, signer: Signer, own: String) -> Shared {
        let kernel = Kernel {
            state: State::Starting,
            pid: None,
            restarts: 0,
            execution_state: "starting".to_owned(),
            exit: None,
            why: None,
        };
        let sessions = Sessions::default();
        let inner = Inner { log, sessions, routes: Routes::default(), kernel, restarted: Vec::new() };
        Shared {
            inner: RefCell::new(inner),
            changed: watch::Sender::new(()),
            outboxes: Default::default(),
            signer,
            own,
            own_count: Cell::new(0),
            closing: Cell::new(false),
            reported: Cell::new(0),
            busy_since: Cell::new(None),
        }
    }

    // --- the log and its readers

    /// Attaches a connection; `None` when there are too many.
    pub(crate) fn attach(&self, hello: &Hello) -> Option<(Reader, u64, Welcome)> {
        let inner = &mut *self.inner.borrow_mut();
        let (first, next) = (inner.log.first(), inner.log.next());
        let from = if let From::Seq(seq) = hello.from { From::Seq(seq.max(1)) } else { hello.from };
        let (reader, place) = match hello.role {
            Role::Client => inner.sessions.client(&hello.session, from, next)?,
            Role::Control => inner.sessions.watcher(from, next)?,
        };
        self.changed.send_replace(());
        let lost = first.saturating_sub(place.at);
        let at = place.at.max(first);
        let kernel = inner.kernel.clone();
        Some((reader, place.at, Welcome { first, next, at, lost, resumed: place.resumed, kernel }))
    }

    pub(crate) fn detach(&self, reader: Reader) {
        // Also called while a panicking task unwinds: then the borrow may be taken, and a cursor too many is the lesser harm.
        if let Ok(mut inner) = self.inner.try_borrow_mut() {
            inner.sessions.detach(reader);
            inner.trim();
        }
        self.changed.send_replace(());
    }

    /// A receiver that wakes when [`Shared::read`] may have more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn is_current(&self, reader: Reader) -> bool {
        self.inner.borrow_mut().sessions.is_current(reader)
    }

    /// The next frames for a connection that reads at `at`.
    pub(crate) fn read(&self, reader: Reader, at: u64) -> Result<Chunk, Gap> {
        self.inner.borrow().log.read(at, |route| match (route, reader) {
            (Route::Everyone, _) | (Route::Watchers, Reader::Watcher(_)) => true,
            (Route::Session(to), Reader::Client { id, .. }) => to == id,
            _ => false,
        })
    }

    /// A connection was sent frames up to `sent` and has looked at everything before `at`.
    pub(crate) fn sent(&self, reader: Reader, sent: Option<u64>, at: u64) {
        let inner = &mut *self.inner.borrow_mut();
        inner.sessions.sent(reader, sent, at.saturating_sub(1));
        inner.trim();
    }

    pub(crate) fn ack(&self, reader: Reader, seq: u64) {
        let inner = &mut *self.inner.borrow_mut();
        inner.sessions.ack(reader, seq, inner.log.next());
        inner.trim();
    }

    pub(crate) fn offsets(&self, reader: Reader, pairs: &[(u64, u64)]) {
        self.inner.borrow_mut().sessions.offsets(reader, pairs);
    }

    pub(crate) fn forget(&self, reader: Reader) {
        self.inner.borrow_mut().sessions.forget(reader);
    }

    pub(crate) fn event(&self, event: Event) {
        self.inner.borrow_mut().append(Route::Everyone, |seq| Frame::Event(seq, event));
        self.changed.send_replace(());
    }

    // --- from the kernel

    /// Takes a message from the kernel. Returns the message id of the shim's own request that it answers, if any.
    pub(crate) fn receive(&self, channel: Channel, parts: Vec<Bytes>) -> Option<String> {
        let mut message = match Message::from_zmq(parts, &self.signer) {
            Ok(message) => message,
            Err(why) => {
                self.report_bad(channel, &why);
                return None;
            }
        };
        message.idents.clear();
        let (route, own) = self.route(channel, &message);
        let status = (channel == Channel::Iopub).then(|| execution_state(&message)).flatten();
        if let Some(route) = route {
            let inner = &mut *self.inner.borrow_mut();
            if let Some(status) = status {
                if runs_a_cell(&message) {
                    self.busy_since.set((status == "busy").then(Instant::now));
                }
                inner.kernel.execution_state = status;
            }
            inner.append(route, |seq| Frame::Message(seq, channel, message));
            self.changed.send_replace(());
        }
        own
    }

    /// Who gets a message of the kernel, and which own request it answers.
    fn route(&self, channel: Channel, message: &Message) -> (Option<Route>, Option<String>) {
        let parent: Ids<'_> = serde_json::from_slice(&message.parent_header).unwrap_or_default();
        let own = parent.msg_id.starts_with(&self.own).then(|| parent.msg_id.clone().into_owned());
        if channel == Channel::Iopub {
            return (Some(if own.is_some() { Route::Watchers } else { Route::Everyone }), own);
        }
        if own.is_some() {
            return (None, own);
        }
        let inner = self.inner.borrow();
        let asker = inner.routes.asker(&parent.msg_id).or_else(|| inner.sessions.by_name(&parent.session));
        // An answer to nobody we know: rather to all, who ignore it, than lost.
        (Some(asker.map_or(Route::Everyone, Route::Session)), None)
    }

    /// Logs each kind of bad message once.
    pub(crate) fn report_bad(&self, channel: Channel, why: &(dyn std::error::Error + 'static)) {
        let kind = match why.downcast_ref::<WireError>() {
            Some(WireError::BadSignature) => 1,
            Some(WireError::TooLarge { .. }) => 2,
            _ => 4,
        };
        if self.reported.get() & kind == 0 {
            self.reported.set(self.reported.get() | kind);
            output::note(&format!(
                "dropped a message of the kernel on {channel}: {why} (further ones are not reported)"
            ));
        }
    }

    // --- to the kernel

    /// Queues a client's message for the kernel. Waits while too much is queued; dropped when the kernel is dead.
    pub(crate) async fn enqueue(&self, reader: Reader, channel: Channel, message: &Message, msg_id: &str) {
        let Some(outbox) = self.outbox(channel) else { return };
        outbox.room().await;
        let inner = &mut *self.inner.borrow_mut();
        if inner.kernel.state == State::Dead {
            return;
        }
        if let Reader::Client { id, .. } = reader {
            inner.routes.asked(msg_id, id);
        }
        outbox.push(message.to_zmq(&self.signer));
    }

    /// Sends a request of the shim's own, ahead of everything queued. Returns its message id.
    pub(crate) fn own_request(
        &self,
        channel: Channel,
        msg_type: &str,
        content: &serde_json::Value,
    ) -> String {
        let count = self.own_count.get() + 1;
        self.own_count.set(count);
        let msg_id = format!("{}_{count}", self.own);
        let header = Header::new(&msg_id, msg_type, &self.own, "shim", SystemTime::now());
        let content = Bytes::from(content.to_string());
        let message = Message::from_parts(header.to_bytes(), None, content);
        if let Some(outbox) = self.outbox(channel) {
            outbox.push_urgent(message.to_zmq(&self.signer));
        }
        msg_id
    }

    /// The next message for a channel: own requests at any time, clients' once the kernel answers.
    pub(crate) async fn next_for_kernel(&self, channel: Channel) -> Vec<Bytes> {
        match self.outbox(channel) {
            Some(outbox) => outbox.next(|| self.kernel().state == State::Alive).await,
            None => std::future::pending().await,
        }
    }

    fn outbox(&self, channel: Channel) -> Option<&Outbox> {
        self.outboxes.get(usize::from(channel.code()))
    }

    /// Forgets what waits for a kernel that is ending: it was meant for that one.
    fn clear_outboxes(&self) {
        self.outboxes.iter().for_each(Outbox::clear);
    }

    // --- the kernel's life

    /// Since when the kernel runs its cell, if it runs one.
    pub(crate) fn busy_since(&self) -> Option<Instant> {
        self.busy_since.get()
    }

    pub(crate) fn kernel(&self) -> Ref<'_, Kernel> {
        Ref::map(self.inner.borrow(), |inner| &inner.kernel)
    }

    /// A process was started.
    pub(crate) fn started(&self, pid: u32) {
        let kernel = &mut self.inner.borrow_mut().kernel;
        kernel.pid = Some(pid);
        kernel.execution_state = "starting".to_owned();
    }

    /// The kernel answers: releases what waits, and whoever asked for a restart.
    pub(crate) fn ready(&self) {
        let (pid, restarts, waiting) = {
            let inner = &mut *self.inner.borrow_mut();
            let Some(pid) = inner.kernel.pid else { return };
            inner.kernel.state = State::Alive;
            (pid, inner.kernel.restarts, std::mem::take(&mut inner.restarted))
        };
        self.event(Event::Started { pid, restarts });
        for reply in waiting {
            reply.send(Ok(())).ok();
        }
        self.outboxes.iter().for_each(Outbox::wake);
    }

    /// The kernel ends and will be started again; requests from now on are for the next one.
    pub(crate) fn restarting(&self, attempt: u32) {
        self.clear_outboxes();
        {
            let kernel = &mut self.inner.borrow_mut().kernel;
            kernel.state = State::Restarting;
            kernel.why = None;
            kernel.restarts += 1;
            kernel.execution_state = "restarting".to_owned();
        }
        self.event(Event::Restarting { attempt });
    }

    /// The process ended.
    pub(crate) fn exited(&self, exit: Exit, expected: bool) {
        self.busy_since.set(None);
        {
            let kernel = &mut self.inner.borrow_mut().kernel;
            kernel.pid = None;
            kernel.exit = Some(exit);
        }
        self.event(Event::Exited { exit, expected });
    }

    /// The kernel is gone for good, or until somebody asks for a restart.
    pub(crate) fn dead(&self, reason: &str) {
        self.clear_outboxes();
        let waiting = {
            let inner = &mut *self.inner.borrow_mut();
            inner.kernel.state = State::Dead;
            inner.kernel.execution_state = "dead".to_owned();
            inner.kernel.why = Some(reason.to_owned());
            std::mem::take(&mut inner.restarted)
        };
        self.event(Event::Dead { reason: reason.to_owned() });
        for reply in waiting {
            reply.send(Err(reason.to_owned())).ok();
        }
    }

    /// Answers `reply` when the kernel answers requests again, or is dead.
    pub(crate) fn when_ready(&self, reply: oneshot::Sender<Result<(), String>>) {
        self.inner.borrow_mut().restarted.push(reply);
    }

    /// Lets connections close once they sent everything.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.changed.send_replace(());
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }
}

impl Inner {
    fn append(&mut self, route: Route, frame: impl FnOnce(u64) -> Frame) {
        let wanted = self.sessions.floor().is_some();
        self.log.append(route, wanted, |seq| frame(seq).to_bytes());
    }

    fn trim(&mut self) {
        if self.sessions.floor().is_some_and(|floor| self.log.trim(floor)) {
            memory::give_back();
        }
    }
}

/// Whether a message belongs to a cell, and not to one of the small requests.
fn runs_a_cell(message: &Message) -> bool {
    let parent: Ids<'_> = serde_json::from_slice(&message.parent_header).unwrap_or_default();
    parent.msg_type == "execute_request"
}

/// The state that a `status` message announces.
fn execution_state(message: &Message) -> Option<String> {
    #[derive(Deserialize)]
    struct Status {
        execution_state: String,
    }
    let header: Ids<'_> = serde_json::from_slice(&message.header).ok()?;
    if header.msg_type != "status" || message.content.len() > 4096 {
        return None;
    }
    let status: Status = message.content().ok()?;
    matches!(status.execution_state.as_str(), "starting" | "busy" | "idle").then_some(status.execution_state)
}
