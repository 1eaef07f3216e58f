//! Who reads the log and how far: cursors of client sessions, which survive disconnects, and of connected watchers.

use std::collections::{HashMap, VecDeque};

use gateway_shim::protocol::From;

/// Most client sessions that are remembered; the one longest unused and not connected makes room.
const MAX_SESSIONS: usize = 64;
/// Most connected watchers.
const MAX_WATCHERS: usize = 64;
/// Most offsets kept per session.
const MAX_OFFSETS: usize = 65_536;
/// Most requests whose asker is remembered.
const MAX_ROUTES: usize = 8192;

/// A connection's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it reads on.
    pub(crate) at: u64,
    /// Whether a session to resume was known.
    pub(crate) resumed: bool,
}

/// A connection that is attached: to a session, or as a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Of client session `id`; a newer connection of the same session has a larger `turn`.
    Client { id: u32, turn: u64 },
    /// A control connection.
    Watcher(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    watchers: HashMap<u64, u64>,
    next_id: u32,
    turn: u64,
}

#[derive(Debug)]
struct Session {
    name: String,
    id: u32,
    /// The connection it has, if any, and when it was last used.
    connected: bool,
    turn: u64,
    /// Not kept once the connection ends.
    forget: bool,
    /// Everything up to here is delivered.
    acked: u64,
    /// The last entry sent to it, and up to where it has looked at the log.
    sent: u64,
    seen: u64,
    offsets: VecDeque<(u64, u64)>,
}

impl Session {
    /// Everything up to here it does not need: what it acknowledged, and entries after that which are not for it.
    fn done(&self) -> u64 {
        if self.acked >= self.sent { self.acked.max(self.seen) } else { self.acked }
    }
}

impl Sessions {
    /// Attaches a client connection. `next` is the number of the next log entry. `None`: too many sessions.
    pub(crate) fn client(&mut self, name: &str, from: From, next: u64) -> Option<(Reader, Place)> {
        self.turn += 1;
        let turn = self.turn;
        let known = self.sessions.iter().position(|session| session.name == name);
        let index = match known {
            Some(index) => index,
            None => self.insert(name)?,
        };
        let session = self.sessions.get_mut(index)?;
        let (at, resumed) = match from {
            From::Now => (next, true),
            From::Seq(seq) => (seq.min(next), true),
            From::Resume { .. } if known.is_none() => (next, false),
            From::Resume { written } => {
                let written = written.unwrap_or(0);
                let whole =
                    session.offsets.iter().filter(|(_, end)| *end <= written).map(|(seq, _)| *seq).max();
                ((whole.unwrap_or(0).max(session.done()) + 1).min(next), true)
            }
        };
        let done = at.saturating_sub(1);
        (session.connected, session.turn, session.forget) = (true, turn, false);
        (session.acked, session.sent, session.seen) = (done, done, done);
        session.offsets.clear();
        Some((Reader::Client { id: session.id, turn }, Place { at, resumed }))
    }

    /// Attaches a watcher. `None`: too many.
    pub(crate) fn watcher(&mut self, from: From, next: u64) -> Option<(Reader, Place)> {
        if self.watchers.len() >= MAX_WATCHERS {
            return None;
        }
        self.turn += 1;
        let (at, resumed) = match from {
            From::Now => (next, true),
            From::Seq(seq) => (seq.min(next), true),
            From::Resume { .. } => (next, false),
        };
        self.watchers.insert(self.turn, at.saturating_sub(1));
        Some((Reader::Watcher(self.turn), Place { at, resumed }))
    }

    /// The connection ended. A session keeps its cursor.
    pub(crate) fn detach(&mut self, reader: Reader) {
        match reader {
            Reader::Watcher(turn) => {
                self.watchers.remove(&turn);
            }
            Reader::Client { .. } => {
                if let Some(session) = self.current(reader) {
                    session.connected = false;
                    self.sessions.retain(|session| session.connected || !session.forget);
                }
            }
        }
    }

    /// The session is not kept when its connection ends.
    pub(crate) fn forget(&mut self, reader: Reader) {
        if let Some(session) = self.current(reader) {
            session.forget = true;
        }
    }

    /// Whether no newer connection took the session over.
    pub(crate) fn is_current(&mut self, reader: Reader) -> bool {
        matches!(reader, Reader::Watcher(_)) || self.current(reader).is_some()
    }

    /// A client acknowledged everything up to `seq`.
    pub(crate) fn ack(&mut self, reader: Reader, seq: u64, next: u64) {
        if let Some(session) = self.current(reader) {
            session.acked = session.acked.max(seq.min(next.saturating_sub(1)));
            let acked = session.acked;
            session.offsets.retain(|(seq, _)| *seq > acked);
        }
    }

    /// A client tells where messages end in the browser's stream.
    pub(crate) fn offsets(&mut self, reader: Reader, pairs: &[(u64, u64)]) {
        if let Some(session) = self.current(reader) {
            session.offsets.extend(pairs);
            let surplus = session.offsets.len().saturating_sub(MAX_OFFSETS);
            session.offsets.drain(..surplus);
        }
    }

    /// A connection was sent entries, the last of them `sent`, and has looked at the log up to `seen`.
    pub(crate) fn sent(&mut self, reader: Reader, sent: Option<u64>, seen: u64) {
        if let Reader::Watcher(turn) = reader {
            if let Some(at) = self.watchers.get_mut(&turn) {
                *at = seen;
            }
        } else if let Some(session) = self.current(reader) {
            session.sent = sent.unwrap_or(session.sent);
            session.seen = seen;
        }
    }

    /// Everything up to here is needed by nobody; `None` when nobody is known.
    pub(crate) fn floor(&self) -> Option<u64> {
        let sessions = self.sessions.iter().map(Session::done);
        sessions.chain(self.watchers.values().copied()).min()
    }

    /// The session of that name.
    pub(crate) fn by_name(&self, name: &str) -> Option<u32> {
        self.sessions.iter().find(|session| session.name == name).map(|session| session.id)
    }

    fn current(&mut self, reader: Reader) -> Option<&mut Session> {
        let Reader::Client { id, turn } = reader else { return None };
        self.sessions.iter_mut().find(|session| session.id == id && session.turn == turn)
    }

    fn insert(&mut self, name: &str) -> Option<usize> {
        if self.sessions.len() >= MAX_SESSIONS {
            let idle = self.sessions.iter().enumerate().filter(|(_, session)| !session.connected);
            let (oldest, _) = idle.min_by_key(|(_, session)| session.turn)?;
            self.sessions.swap_remove(oldest);
        }
        self.next_id = self.next_id.wrapping_add(1);
        self.sessions.push(Session {
            name: name.to_owned(),
            id: self.next_id,
            connected: false,
            turn: 0,
            forget: false,
            acked: 0,
            sent: 0,
            seen: 0,
            offsets: VecDeque::new(),
        });
        Some(self.sessions.len() - 1)
    }
}

/// Which session asked what: the way back for replies.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    askers: HashMap<String, u32>,
    order: VecDeque<String>,
}

impl Routes {
    /// Remembers who sent a request; the oldest are forgotten beyond a bound.
    pub(crate) fn asked(&mut self, msg_id: &str, session: u32) {
        if self.askers.insert(msg_id.to_owned(), session).is_none() {
            self.order.push_back(msg_id.to_owned());
        }
        while self.order.len() > MAX_ROUTES {
            if let Some(oldest) = self.order.pop_front() {
                self.askers.remove(&oldest);
            }
        }
    }

    /// Who sent the request.
    pub(crate) fn asker(&self, msg_id: &str) -> Option<u32> {
        self.askers.get(msg_id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sessions: &mut Sessions, name: &str, from: From, next: u64) -> u64 {
        sessions.client(name, from, next).unwrap().1.at
    }

    #[test]
    fn a_session_resumes_after_what_was_written_whole() {
        let mut sessions = Sessions::default();
        let (reader, place) = sessions.client("a", From::Now, 5).unwrap();
        assert_eq!(place, Place { at: 5, resumed: true });
        sessions.sent(reader, Some(9), 9);
        sessions.ack(reader, 5, 10);
        sessions.offsets(reader, &[(5, 50), (6, 100), (7, 200), (8, 300)]);
        sessions.detach(reader);
        // 250 bytes: 8 is not whole and must come again.
        assert_eq!(at(&mut sessions, "a", From::Resume { written: Some(250) }, 10), 8);
        // The new stream counts from zero: without new offsets the place stays.
        assert_eq!(at(&mut sessions, "a", From::Resume { written: Some(10_000) }, 10), 8);
        assert_eq!(at(&mut sessions, "a", From::Resume { written: None }, 10), 8);
    }

    #[test]
    fn without_offsets_a_session_resumes_after_its_acknowledgement() {
        let mut sessions = Sessions::default();
        let (reader, _) = sessions.client("a", From::Seq(3), 20).unwrap();
        sessions.sent(reader, Some(12), 15);
        sessions.ack(reader, 6, 20);
        assert_eq!(sessions.floor(), Some(6));
        assert_eq!(at(&mut sessions, "a", From::Resume { written: None }, 20), 7);
    }

    #[test]
    fn entries_for_others_need_no_acknowledgement() {
        let mut sessions = Sessions::default();
        let (reader, _) = sessions.client("a", From::Now, 1).unwrap();
        sessions.sent(reader, Some(4), 30);
        assert_eq!(sessions.floor(), Some(0));
        sessions.ack(reader, 4, 31);
        assert_eq!(sessions.floor(), Some(30));
        sessions.sent(reader, Some(31), 40);
        assert_eq!(sessions.floor(), Some(4));
    }

    #[test]
    fn an_unknown_session_cannot_resume_and_says_so() {
        let mut sessions = Sessions::default();
        let (_, place) = sessions.client("a", From::Resume { written: Some(9) }, 7).unwrap();
        assert_eq!(place, Place { at: 7, resumed: false });
    }

    #[test]
    fn a_newer_connection_takes_the_session_over() {
        let mut sessions = Sessions::default();
        let (old, _) = sessions.client("a", From::Now, 1).unwrap();
        let (new, _) = sessions.client("a", From::Seq(1), 1).unwrap();
        assert!(!sessions.is_current(old) && sessions.is_current(new));
        sessions.ack(old, 9, 10);
        sessions.detach(old);
        assert_eq!(sessions.floor(), Some(0));
        assert!(sessions.sessions[0].connected);
    }

    #[test]
    fn the_slowest_decides_what_is_kept_and_watchers_only_while_connected() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.floor(), None);
        let (watcher, _) = sessions.watcher(From::Now, 1).unwrap();
        let (a, _) = sessions.client("a", From::Now, 1).unwrap();
        sessions.sent(watcher, None, 3);
        sessions.sent(a, Some(9), 9);
        sessions.ack(a, 9, 10);
        assert_eq!(sessions.floor(), Some(3));
        sessions.detach(watcher);
        assert_eq!(sessions.floor(), Some(9));
    }

    #[test]
    fn a_forgotten_session_holds_nothing() {
        let mut sessions = Sessions::default();
        let (a, _) = sessions.client("a", From::Now, 5).unwrap();
        sessions.forget(a);
        assert_eq!(sessions.floor(), Some(4));
        sessions.detach(a);
        assert_eq!((sessions.floor(), sessions.by_name("a")), (None, None));
    }

    #[test]
    fn bounded_sessions_the_longest_unused_goes_and_never_a_connected_one() {
        let mut sessions = Sessions::default();
        let readers: Vec<_> =
            (0..MAX_SESSIONS).map(|n| sessions.client(&n.to_string(), From::Now, 1).unwrap().0).collect();
        assert!(sessions.client("more", From::Now, 1).is_none());
        sessions.detach(readers[5]);
        sessions.detach(readers[3]);
        assert!(sessions.client("more", From::Now, 1).is_some());
        assert!(sessions.by_name("3").is_none() && sessions.by_name("5").is_some());
        assert_eq!(sessions.sessions.len(), MAX_SESSIONS);
    }

    #[test]
    fn bounded_routes_and_offsets() {
        let mut routes = Routes::default();
        for n in 0..2 * MAX_ROUTES {
            routes.asked(&n.to_string(), 1);
        }
        assert_eq!((routes.askers.len(), routes.order.len()), (MAX_ROUTES, MAX_ROUTES));
        assert_eq!((routes.asker("0"), routes.asker(&MAX_ROUTES.to_string())), (None, Some(1)));
        let mut sessions = Sessions::default();
        let (reader, _) = sessions.client("a", From::Now, 1).unwrap();
        sessions.offsets(reader, &vec![(1, 1); MAX_OFFSETS + 10]);
        assert_eq!(sessions.sessions[0].offsets.len(), MAX_OFFSETS);
    }
}
