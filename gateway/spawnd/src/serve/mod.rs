//! The one loop: control socket, clients, ends of processes, engines to wake, what jails say.

pub(crate) mod broker;
pub(crate) mod engine;
pub(crate) mod jails;
pub(crate) mod lines;
pub(crate) mod requests;
pub(crate) mod store;
pub(crate) mod workshop;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gateway_spawnd::packet::{self, Received};
use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::{Hello, JailId, Refusal, Settings};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{PidfdFlags, pidfd_open};
use rustix::time::Timespec;
use serde_json::json;

use crate::host::folders::{Folders, me};
use crate::host::uids::UidTable;
use crate::jail::start::Workshop;
use crate::log;
use crate::sys::Signals;
use broker::Broker;
use jails::{Jail, Which};
use store::{Exits, FdStore};
use workshop::Views;

/// The most connections to the control socket.
const MAX_CLIENTS: usize = 64;

/// Everything that spawnd holds.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) shop: Workshop,
    pub(crate) views: Views,
    pub(crate) folders: Folders,
    /// None where all jails share a uid.
    pub(crate) uids: Option<UidTable>,
    pub(crate) hello: Hello,
    pub(crate) listener: OwnedFd,
    pub(crate) signals: OwnedFd,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) next_client: u64,
    /// Processes that spoke to us and still run, by pid.
    pub(crate) peers: BTreeMap<i32, OwnedFd>,
    pub(crate) jails: BTreeMap<JailId, Jail>,
    pub(crate) broker: Broker,
    pub(crate) exits: Exits,
    pub(crate) store: FdStore,
    /// Ends with the last jail.
    pub(crate) draining: bool,
    /// Ends with the last jail, and starts no more.
    pub(crate) stopping: bool,
}

/// One connection.
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    /// The process at the other end.
    pub(crate) pid: i32,
    /// Answered when a stop has finished; until then it is not read.
    pub(crate) waiting: bool,
}

/// What a descriptor in the poll set stands for.
#[derive(Clone, Debug)]
enum Token {
    Signal,
    Listener,
    Client(u64),
    Peer(i32),
    Ended(JailId, Which),
    Said(JailId, Which),
    Wake(JailId),
    BrokerEnded,
    BrokerSaid,
}

impl Server {
    /// Serves until told to end and no jail is left.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !((self.draining || self.stopping) && self.jails.is_empty()) {
            self.keep_broker(Instant::now());
            for token in self.wait()? {
                match token {
                    Token::Signal => self.signalled(),
                    Token::Listener => self.accept(),
                    Token::Client(key) => self.read(key),
                    Token::Peer(pid) => self.peer_ended(pid),
                    Token::Ended(id, which) => self.ended(&id, which),
                    Token::Said(id, which) => self.said(&id, which),
                    Token::Wake(id) => self.wake_engine(&id),
                    Token::BrokerEnded => self.broker_ended(Instant::now()),
                    Token::BrokerSaid => self.broker_said(),
                }
            }
            self.bury(Instant::now());
        }
        self.end_broker();
        // The lock stays: removing it could let two successors in.
        let _ = std::fs::remove_file(self.settings.socket());
        log::info("end", json!({}));
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Token>> {
        let now = Instant::now();
        let mut tokens = vec![Token::Signal, Token::Listener];
        let mut fds =
            vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        let mut patience: Option<Duration>;
        for (key, client) in self.clients.iter().filter(|(_, client)| !client.waiting) {
            tokens.push(Token::Client(*key));
            fds.push(PollFd::new(&client.socket, PollFlags::IN));
        }
        for (pid, pidfd) in &self.peers {
            tokens.push(Token::Peer(*pid));
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        if let Some(running) = &self.broker.running {
            tokens.push(Token::BrokerEnded);
            fds.push(PollFd::new(&running.process.pidfd, PollFlags::IN));
            if running.talks {
                tokens.push(Token::BrokerSaid);
                fds.push(PollFd::new(&running.process.log, PollFlags::IN));
            }
        }
        patience = self.broker_due(now);
        for (id, jail) in &self.jails {
            for (which, process) in jail.processes() {
                tokens.push(Token::Ended(id.clone(), which));
                fds.push(PollFd::new(&process.process.pidfd, PollFlags::IN));
                if process.talks {
                    tokens.push(Token::Said(id.clone(), which));
                    fds.push(PollFd::new(&process.process.log, PollFlags::IN));
                }
            }
            let wanted = [jail.engine_due(now), jail.burial_due(now)];
            for due in wanted.into_iter().flatten() {
                patience = Some(patience.map_or(due, |least| least.min(due)));
            }
            if let Some(listener) = jail.sleeping_engine(now) {
                tokens.push(Token::Wake(id.clone()));
                fds.push(PollFd::new(listener, PollFlags::IN));
            }
        }
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = fds.iter().zip(tokens).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, token)| token).collect())
    }

    fn signalled(&mut self) {
        let mut record = [0u8; 128];
        while rustix::io::read(&self.signals, &mut record).is_ok_and(|length| length > 0) {}
        log::info("signal", json!({ "jails": self.jails.len() }));
        self.stop_all();
    }

    /// Ends every jail, then spawnd.
    pub(crate) fn stop_all(&mut self) {
        self.stopping = true;
        for jail in self.jails.values_mut() {
            jail.kill();
        }
    }

    fn accept(&mut self) {
        let socket = match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            Err(error) => {
                log::warn("accept", json!({ "error": error.to_string() }));
                return;
            }
        };
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&socket) else { return };
        let uid = peer.uid.as_raw();
        let refusal = if ![0, self.settings.gateway_uid, me().0].contains(&uid) {
            log::warn("peer.refused", json!({ "uid": uid, "pid": peer.pid.as_raw_nonzero().get() }));
            Refusal::new(ErrorCode::Refused, format!("uid {uid} may not speak to spawnd"))
        } else if self.clients.len() >= MAX_CLIENTS {
            log::warn("clients.limit", json!({ "limit": MAX_CLIENTS }));
            Refusal::new(ErrorCode::Limit, format!("spawnd has {MAX_CLIENTS} connections already"))
        } else {
            self.next_client += 1;
            let pid = peer.pid.as_raw_nonzero().get();
            if let std::collections::btree_map::Entry::Vacant(unknown) = self.peers.entry(pid)
                && let Ok(pidfd) = pidfd_open(peer.pid, PidfdFlags::empty())
            {
                unknown.insert(pidfd);
            }
            self.clients.insert(self.next_client, Client { socket, pid, waiting: false });
            return;
        };
        let text = json!({ "err": refusal }).to_string();
        let _ = packet::send(&socket, text.as_bytes(), &[], true);
    }

    fn read(&mut self, key: u64) {
        let Some(client) = self.clients.get(&key) else { return };
        match packet::receive(&client.socket) {
            Err(Errno::AGAIN) => {}
            Ok(Received::Packet(bytes, fds)) => self.answer(key, &bytes, fds),
            Ok(Received::TooLarge) => {
                let refusal =
                    Refusal::new(ErrorCode::BadRequest, "a packet may have 64 KiB and 64 descriptors");
                self.reply::<()>(key, Err(refusal), &[]);
            }
            Ok(Received::Closed) | Err(_) => {
                self.clients.remove(&key);
            }
        }
    }

    fn peer_ended(&mut self, pid: i32) {
        self.peers.remove(&pid);
        let sockets = self.store.orphaned(pid);
        if sockets > 0 {
            log::info("peer.end", json!({ "pid": pid, "sockets": sockets }));
        }
    }

    /// Tells every client that waits for this jail's end, whether or not it ended well.
    fn tell_waiters(&mut self, waiters: Vec<u64>) {
        for key in waiters {
            if let Some(client) = self.clients.get_mut(&key) {
                client.waiting = false;
            }
            self.reply(key, Ok(gateway_spawnd::protocol::Done {}), &[]);
        }
    }

    /// Sends an answer. A client that does not take its answers is cut off.
    pub(crate) fn reply<T: serde::Serialize>(
        &mut self,
        key: u64,
        answer: Result<T, Refusal>,
        fds: &[OwnedFd],
    ) {
        let reply = match answer {
            Ok(value) => gateway_spawnd::Reply::Ok(value),
            Err(refusal) => {
                log::info("refused", json!({ "code": refusal.code, "message": refusal.message }));
                gateway_spawnd::Reply::Err(refusal)
            }
        };
        let Some(client) = self.clients.get(&key) else { return };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let sent = serde_json::to_vec(&reply).map_err(io::Error::from);
        let sent =
            sent.and_then(|bytes| packet::send(&client.socket, &bytes, &fds, true).map_err(io::Error::from));
        if let Err(error) = sent {
            log::warn("client.dropped", json!({ "error": error.to_string() }));
            self.clients.remove(&key);
        }
    }
}

/// Signals that end spawnd in order.
pub(crate) fn end_signals() -> io::Result<OwnedFd> {
    Signals::block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?.descriptor()
}
