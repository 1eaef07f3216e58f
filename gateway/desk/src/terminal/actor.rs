//! One terminal: the task that owns the pty, the shell, the scrollback and the list of tabs.
//!
//! A tab that does not take its output holds the terminal up, as a slow line does, so a program that writes without end
//! fills no memory; after a while the tab is dropped instead. Keystrokes go on meanwhile, so Ctrl-C works.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::terminal::Activity;
use crate::terminal::pty::Pty;
use crate::terminal::scrollback::{Decoder, Scrollback};

/// How long a tab may hold up the others.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read at a time.
const CHUNK: usize = 16 << 10;
/// Tabs of one terminal.
const MAX_TABS: usize = 64;

/// What a tab asks of its terminal.
#[derive(Debug)]
pub(crate) enum Command {
    /// A new tab: it gets the scrollback first. The answer is its number, or none when there are too many.
    Attach { output: mpsc::Sender<Arc<str>>, reply: oneshot::Sender<Option<u64>> },
    /// The tab has gone.
    Detach(u64),
    /// The tab's size in characters.
    Resize { tab: u64, rows: u16, columns: u16 },
}

#[derive(Debug)]
struct Tab {
    number: u64,
    output: mpsc::Sender<Arc<str>>,
    size: Option<(u16, u16)>,
}

/// Output on its way to the tabs that have not got it yet.
#[derive(Debug)]
struct Pending {
    text: Arc<str>,
    tabs: Vec<u64>,
    until: Instant,
}

/// The terminal.
#[derive(Debug)]
pub(crate) struct Actor {
    pty: Pty,
    active: Arc<Activity>,
    tabs: Vec<Tab>,
    next_tab: u64,
    scrollback: Scrollback,
    decoder: Decoder,
    pending: Option<Pending>,
    input: VecDeque<u8>,
}

enum Read {
    Some,
    Nothing,
    Closed,
}

impl Actor {
    pub(crate) fn new(pty: Pty, active: Arc<Activity>) -> Actor {
        Actor {
            pty,
            active,
            tabs: Vec::new(),
            next_tab: 1,
            scrollback: Scrollback::default(),
            decoder: Decoder::default(),
            pending: None,
            input: VecDeque::new(),
        }
    }

    /// Runs until the shell has ended or `killed` says so; nothing of the session is left then.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut typed: mpsc::Receiver<Vec<u8>>,
        mut killed: watch::Receiver<bool>,
    ) {
        let mut shell_ended = false;
        let mut open = true;
        loop {
            if shell_ended && self.pending.is_none() {
                // What the shell wrote last is still in the pty; jobs that it left behind are not waited for.
                match self.read() {
                    Read::Some => continue,
                    Read::Nothing | Read::Closed => break,
                }
            }
            let slow = self.slow_tab();
            tokio::select! {
                biased;
                _ = killed.wait_for(|kill| *kill) => break,
                Some(command) = commands.recv() => self.obey(command),
                given = give(slow), if self.pending.is_some() => self.given(given),
                _ = self.pty.keeper.wait(), if !shell_ended => shell_ended = true,
                ready = self.pty.master.readable(), if self.pending.is_none() && open && !shell_ended => {
                    match ready {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => open = false,
                    }
                    while self.pending.is_none() && open {
                        match self.read() {
                            Read::Some => {}
                            Read::Nothing => break,
                            Read::Closed => open = false,
                        }
                    }
                }
                Some(bytes) = typed.recv(), if self.input.is_empty() => {
                    self.active.touch();
                    self.input.extend(bytes);
                    self.write();
                }
                ready = self.pty.master.writable(), if !self.input.is_empty() => {
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                    self.write();
                }
            }
        }
        self.pty.end().await;
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach { output, reply } => {
                if self.tabs.len() >= MAX_TABS {
                    let _ = reply.send(None);
                    return;
                }
                let number = self.next_tab;
                self.next_tab += 1;
                if let Some(text) = self.scrollback.text() {
                    let _ = output.try_send(text);
                }
                if reply.send(Some(number)).is_ok() {
                    self.tabs.push(Tab { number, output, size: None });
                }
            }
            Command::Detach(number) => self.detach(number),
            Command::Resize { tab, rows, columns } => {
                if let Some(tab) = self.tabs.iter_mut().find(|t| t.number == tab) {
                    tab.size = Some((rows, columns));
                }
                self.resize();
            }
        }
    }

    fn detach(&mut self, number: u64) {
        self.tabs.retain(|tab| tab.number != number);
        if let Some(pending) = &mut self.pending {
            pending.tabs.retain(|tab| *tab != number);
        }
        self.settle();
        self.resize();
    }

    /// Every tab shows all of it: the smallest decides.
    fn resize(&self) {
        let sizes = || self.tabs.iter().filter_map(|tab| tab.size);
        if let (Some(rows), Some(columns)) = (sizes().map(|s| s.0).min(), sizes().map(|s| s.1).min()) {
            self.pty.resize(rows, columns);
        }
    }

    /// Reads one piece and gives it to every tab that has room.
    fn read(&mut self) -> Read {
        let mut chunk = [0; CHUNK];
        let bytes = match rustix::io::read(self.pty.master.get_ref(), &mut chunk) {
            Ok(0) => return Read::Closed,
            Ok(n) => &chunk[..n],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::Interrupted => {
                return Read::Nothing;
            }
            // EIO: nobody holds the other end any more.
            Err(_) => return Read::Closed,
        };
        self.active.touch();
        let text: Arc<str> = self.decoder.feed(bytes).into();
        if text.is_empty() {
            return Read::Some;
        }
        self.scrollback.push(Arc::clone(&text));
        let full = |tab: &&Tab| tab.output.try_send(Arc::clone(&text)).is_err() && !tab.output.is_closed();
        let tabs: Vec<u64> = self.tabs.iter().filter(full).map(|tab| tab.number).collect();
        if !tabs.is_empty() {
            self.pending = Some(Pending { text, tabs, until: Instant::now() + PATIENCE });
        }
        Read::Some
    }

    fn slow_tab(&self) -> Option<Waiting> {
        let pending = self.pending.as_ref()?;
        let number = *pending.tabs.first()?;
        let tab = self.tabs.iter().find(|tab| tab.number == number)?;
        Some(Waiting {
            number,
            output: tab.output.clone(),
            text: Arc::clone(&pending.text),
            until: pending.until,
        })
    }

    fn given(&mut self, given: Given) {
        match given {
            Given::To(number) => {
                if let Some(pending) = &mut self.pending {
                    pending.tabs.retain(|tab| *tab != number);
                }
                self.settle();
            }
            Given::UpOn(number) => self.detach(number),
            Given::Nobody => self.pending = None,
        }
    }

    fn settle(&mut self) {
        if self.pending.as_ref().is_some_and(|pending| pending.tabs.is_empty()) {
            self.pending = None;
        }
    }

    fn write(&mut self) {
        while !self.input.is_empty() {
            let (front, _) = self.input.as_slices();
            match rustix::io::write(self.pty.master.get_ref(), front) {
                Ok(n) => drop(self.input.drain(..n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.input.clear(),
            }
        }
    }
}

struct Waiting {
    number: u64,
    output: mpsc::Sender<Arc<str>>,
    text: Arc<str>,
    until: Instant,
}

enum Given {
    To(u64),
    UpOn(u64),
    Nobody,
}

/// Waits for room at a slow tab. Dropped half way, nothing has been given.
async fn give(waiting: Option<Waiting>) -> Given {
    let Some(Waiting { number, output, text, until }) = waiting else { return Given::Nobody };
    match tokio::time::timeout_at(until, output.reserve()).await {
        Ok(Ok(room)) => {
            room.send(text);
            Given::To(number)
        }
        Ok(Err(_)) | Err(_) => Given::UpOn(number),
    }
}
