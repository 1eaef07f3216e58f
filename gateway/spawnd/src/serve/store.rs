//! What outlives a gateway: descriptors it left with us, and how ended jails ended. Both bounded.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use gateway_spawnd::protocol::{ErrorCode, MAX_FDS, MAX_TAG};
use gateway_spawnd::{Exited, JailId, Refusal};

/// The most descriptors kept.
const MAX_STORED: usize = 1024;
/// The most ends remembered; the oldest is forgotten first.
const MAX_EXITS: usize = 1024;

/// Descriptors by tag.
#[derive(Default)]
pub(crate) struct FdStore(BTreeMap<String, Kept>);

/// A descriptor, and the process that left it with us.
struct Kept {
    owner: i32,
    fd: OwnedFd,
}

impl FdStore {
    /// Keeps one; an older one of the same tag is closed.
    pub(crate) fn put(&mut self, owner: i32, tag: String, fd: OwnedFd) -> Result<(), Refusal> {
        if tag.is_empty() || tag.len() > MAX_TAG {
            return Err(Refusal::new(ErrorCode::BadRequest, format!("a tag has 1 to {MAX_TAG} bytes")));
        }
        if self.0.len() >= MAX_STORED && !self.0.contains_key(&tag) {
            return Err(Refusal::new(ErrorCode::Limit, format!("{MAX_STORED} descriptors are kept already")));
        }
        self.0.insert(tag, Kept { owner, fd });
        Ok(())
    }

    /// Takes out up to `max` whose tag begins so, in order of tag.
    pub(crate) fn take(&mut self, prefix: &str, max: usize) -> (Vec<String>, Vec<OwnedFd>) {
        let after = self.0.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        let tags: Vec<String> = after
            .take_while(|(tag, _)| tag.starts_with(prefix))
            .take(max.min(MAX_FDS))
            .map(|(tag, _)| tag.clone())
            .collect();
        tags.into_iter().filter_map(|tag| self.0.remove(&tag).map(|kept| (tag, kept.fd))).unzip()
    }

    /// This process ended. Its sockets send what they still hold and then an end of stream, so that whoever is at the other side notices
    /// at once; they stay open here, for its successor to ask how far the other side came. What is no socket just stays.
    pub(crate) fn orphaned(&mut self, owner: i32) -> usize {
        let its = self.0.values().filter(|kept| kept.owner == owner);
        its.filter(|kept| rustix::net::shutdown(&kept.fd, rustix::net::Shutdown::Write).is_ok()).count()
    }

    /// Closes one.
    pub(crate) fn discard(&mut self, tag: &str) {
        self.0.remove(tag);
    }
}

/// Ends by id.
#[derive(Default)]
pub(crate) struct Exits(VecDeque<(JailId, Exited)>);

impl Exits {
    /// Remembers one.
    pub(crate) fn add(&mut self, id: JailId, exited: Exited) {
        self.forget(&id);
        if self.0.len() >= MAX_EXITS {
            self.0.pop_front();
        }
        self.0.push_back((id, exited));
    }

    /// A jail of this id runs again.
    pub(crate) fn forget(&mut self, id: &JailId) {
        self.0.retain(|(known, _)| known != id);
    }

    /// How it ended.
    pub(crate) fn get(&self, id: &JailId) -> Option<&Exited> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, exited)| exited)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn the_store_is_by_prefix_and_bounded() {
        let mut store = FdStore::default();
        for tag in ["ws/1", "ws/2", "x", "wr"] {
            store.put(1, tag.into(), null()).unwrap();
        }
        store.put(1, "ws/1".into(), null()).unwrap();
        assert_eq!(store.take("ws/", 1).0, ["ws/1"]);
        assert_eq!(store.take("ws/", 9).0, ["ws/2"]);
        assert!(store.take("ws/", 9).0.is_empty());
        store.discard("x");
        assert_eq!(store.take("", 9).0, ["wr"]);
        assert_eq!(store.put(1, "t".repeat(257), null()).unwrap_err().code, ErrorCode::BadRequest);
        for n in 0..MAX_STORED {
            // The same open file over and over would do, but each is a descriptor: keep within the usual limit of 1024.
            if n < 900 {
                store.put(1, format!("{n:04}"), null()).unwrap();
            }
        }
        assert_eq!(store.take("", usize::MAX).1.len(), MAX_FDS);
    }

    #[test]
    fn an_ended_owner_s_sockets_say_so_and_stay() {
        use std::io::{Read, Write};
        use std::os::unix::net::UnixStream;
        let mut store = FdStore::default();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (other, _other) = UnixStream::pair().unwrap();
        ours.write_all(b"last words").unwrap();
        store.put(7, "ws/a".into(), ours.into()).unwrap();
        store.put(7, "file".into(), null()).unwrap();
        store.put(8, "ws/b".into(), other.into()).unwrap();
        assert_eq!(store.orphaned(7), 1);
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "last words");
        assert_eq!(store.take("", 9).0, ["file", "ws/a", "ws/b"]);
    }

    #[test]
    fn exits_forget_the_oldest_and_the_restarted() {
        let mut exits = Exits::default();
        let id = |n: usize| format!("k{n}").parse::<JailId>().unwrap();
        for n in 0..=MAX_EXITS {
            exits.add(id(n), Exited { code: Some(0), ..Exited::default() });
        }
        assert!(exits.get(&id(0)).is_none());
        assert!(exits.get(&id(1)).is_some());
        exits.forget(&id(1));
        assert!(exits.get(&id(1)).is_none());
    }
}
