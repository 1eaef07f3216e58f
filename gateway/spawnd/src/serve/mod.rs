//! The one loop: control socket, clients, ends of processes, engines to wake, what jails say.

pub(crate) mod adopt;
pub(crate) mod aide;
pub(crate) mod bounds;
pub(crate) mod build;
pub(crate) mod disk;
pub(crate) mod engine;
pub(crate) mod homes;
pub(crate) mod jails;
pub(crate) mod lines;
pub(crate) mod record;
pub(crate) mod requests;
pub(crate) mod store;
pub(crate) mod tail;
pub(crate) mod turns;
pub(crate) mod users;
pub(crate) mod watch;
pub(crate) mod workshop;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gateway_spawnd::packet::{self, Received};
use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::{Hello, JailId, Reason, Refusal, Settings, UserName};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::Timespec;
use serde_json::json;

use crate::host::cgroup::Cgroups;
use crate::host::cpus::Cpus;
use crate::host::folders::{Folders, me};
use crate::host::process;
use crate::host::uids::UidTable;
use crate::jail::start::Workshop;
use crate::keeper::{Held, Keeper};
use crate::log;
use crate::sys::Signals;
use aide::{Aide, Aides};
use jails::{Jail, Which};
use store::{Exits, FdStore};
use users::User;
use workshop::Views;

/// The most connections to the control socket.
const MAX_CLIENTS: usize = 64;

/// In the keeper: before the tags of gateways' descriptors, before the ids of jails whose engine's socket it is (those at broker and proxy: `aide.rs`), bounds
/// that are no longer those of the settings, and spawnd's user namespace.
pub(crate) const KEPT_FD: &str = "fd/";
pub(crate) const KEPT_ENGINE: &str = "engine/";
pub(crate) const KEPT_LIMITS: &str = "limits";
pub(crate) const KEPT_NAMESPACE: &str = "namespace";

/// Everything that spawnd holds.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) shop: Workshop,
    pub(crate) views: Views,
    pub(crate) folders: Folders,
    pub(crate) cgroups: Cgroups,
    pub(crate) cpus: Cpus,
    /// None where all jails share a uid.
    pub(crate) uids: Option<UidTable>,
    /// Whether homes can be held by quotas, or why not.
    pub(crate) quotas: Result<(), String>,
    pub(crate) hello: Hello,
    pub(crate) listener: OwnedFd,
    pub(crate) signals: OwnedFd,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) next_client: u64,
    /// Processes that spoke to us and still run, by pid.
    pub(crate) peers: BTreeMap<i32, OwnedFd>,
    pub(crate) jails: BTreeMap<JailId, Jail>,
    /// Whose jails these are.
    pub(crate) users: BTreeMap<UserName, User>,
    pub(crate) aides: Aides,
    /// Who stands behind others for processors.
    pub(crate) turns: turns::Turns,
    /// The count of homes.
    pub(crate) disk: disk::Watch,
    pub(crate) exits: Exits,
    pub(crate) store: FdStore,
    /// Holds descriptors for the next spawnd.
    pub(crate) keeper: Keeper,
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
    /// May change what the settings said.
    pub(crate) trusted: bool,
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
    AideEnded(Aide),
    AideSaid(Aide),
    Counted,
}

impl Server {
    /// Serves until told to end and no jail is left.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            self.look_again();
            self.watch_memory(Instant::now());
            self.bury(Instant::now());
            if (self.draining || self.stopping) && self.jails.is_empty() {
                break;
            }
            self.keep_aides(Instant::now());
            self.count_homes(Instant::now());
            self.take_turns(Instant::now());
            for token in self.wait()? {
                match token {
                    Token::Signal => self.signalled(),
                    Token::Listener => self.accept(),
                    Token::Client(key) => self.read(key),
                    Token::Peer(pid) => self.peer_ended(pid),
                    Token::Ended(id, which) => self.ended(&id, which),
                    Token::Said(id, which) => self.said(&id, which),
                    Token::Wake(id) => self.wake_engine(&id),
                    Token::AideEnded(aide) => self.aide_ended(aide, Instant::now()),
                    Token::AideSaid(aide) => self.aide_said(aide),
                    Token::Counted => self.counted(Instant::now()),
                }
            }
        }
        self.end_aides();
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
        for (aide, running) in self.aides.running() {
            tokens.push(Token::AideEnded(aide));
            fds.push(PollFd::new(&running.process.pidfd, PollFlags::IN));
            tokens.push(Token::AideSaid(aide));
            fds.push(PollFd::new(&running.log, PollFlags::IN));
        }
        if let Some(counting) = self.counting() {
            tokens.push(Token::Counted);
            fds.push(PollFd::new(counting, PollFlags::IN));
        }
        patience =
            [self.aides_due(now), self.count_due(now), self.turns_due(now)].into_iter().flatten().min();
        for (id, jail) in &self.jails {
            for (which, process) in jail.processes() {
                if process.unreaped.is_none() {
                    tokens.push(Token::Ended(id.clone(), which));
                    fds.push(PollFd::new(&process.process.pidfd, PollFlags::IN));
                }
                tokens.push(Token::Said(id.clone(), which));
                fds.push(PollFd::new(&process.log, PollFlags::IN));
            }
            if let Some(due) = jail.due(now) {
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
            jail.kill(Some(Reason::Asked));
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
            let trusted = [0, me().0].contains(&uid);
            self.clients.insert(self.next_client, Client { socket, pid, trusted, waiting: false });
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

    /// What gateways had left with the spawnd before this one. A gateway that has ended since is treated as one that ends now.
    pub(crate) fn take_back(&mut self, held: BTreeMap<String, Held>) {
        for (tag, Held { note, fd }) in held {
            let tag = tag.strip_prefix(KEPT_FD).map(str::to_owned);
            let owner: Option<(i32, u64)> = serde_json::from_str(&note).ok();
            if let (Some(tag), Some((pid, born))) = (tag, owner) {
                // It was within the bounds when it was put.
                let _ = self.store.put(pid, tag, fd);
                let alive = Pid::from_raw(pid).and_then(|pid| process::find(pid, born));
                match alive {
                    Some(pidfd) => {
                        self.peers.insert(pid, pidfd);
                    }
                    None => self.peer_ended(pid),
                }
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
