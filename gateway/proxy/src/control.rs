//! spawnd's side: kernels come with their listening socket and go. Packets on descriptor 3; nobody else can send them.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use carrel_spawnd::packet::{self, Received};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::policy::Asker;

/// Where spawnd is.
const CONTROL: RawFd = 3;

/// What spawnd says.
#[derive(Debug)]
pub(crate) enum Event {
    /// A kernel may ask over this socket: whoever comes through it is this kernel.
    Came { asker: Asker, listener: UnixListener },
    /// It is gone, and its socket with it.
    Went { kernel: String },
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Packet {
    Kernel { id: String, user: String, groups: Vec<String> },
    Gone { id: String },
}

/// Listens to spawnd on a thread of its own; the queue ends when spawnd does.
pub(crate) fn listen() -> std::io::Result<mpsc::Receiver<Event>> {
    #[expect(
        unsafe_code,
        reason = "a descriptor that was handed over at start can only be taken by its number"
    )]
    // SAFETY: called once, at start, before anything else opens descriptors; the descriptor was given to this program to own, and nothing
    // else in it refers to it. A number that is not open or not a socket fails at the first receive.
    let socket = unsafe { OwnedFd::from_raw_fd(CONTROL) };
    let (events, queue) = mpsc::channel(64);
    std::thread::Builder::new().name("control".into()).spawn(move || {
        while let Some(event) = receive(&socket) {
            if events.blocking_send(event).is_err() {
                break;
            }
        }
    })?;
    Ok(queue)
}

/// The next event; none when spawnd is gone.
fn receive(socket: &OwnedFd) -> Option<Event> {
    loop {
        match packet::receive(socket) {
            Ok(Received::Packet(bytes, fds)) => match event(&bytes, fds) {
                Some(event) => return Some(event),
                None => tracing::error!("a packet of spawnd's is not understood"),
            },
            Ok(Received::TooLarge) => tracing::error!("a packet of spawnd's is too large"),
            Ok(Received::Closed) => return None,
            Err(error) => {
                tracing::error!(%error, "spawnd cannot be heard");
                return None;
            }
        }
    }
}

fn event(bytes: &[u8], mut fds: Vec<OwnedFd>) -> Option<Event> {
    match serde_json::from_slice(bytes).ok()? {
        Packet::Kernel { id, user, groups } => {
            let listener = UnixListener::from(fds.pop()?);
            listener.set_nonblocking(true).ok()?;
            Some(Event::Came { asker: Asker { user, groups, kernel: id }, listener })
        }
        Packet::Gone { id } => Some(Event::Went { kernel: id }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_come_with_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = || OwnedFd::from(UnixListener::bind(dir.path().join("s")).unwrap());
        let text = br#"{"op":"kernel","id":"k-1","user":"ada","groups":["ml"]}"#;
        let Some(Event::Came { asker, .. }) = event(text, vec![socket()]) else { panic!() };
        assert_eq!((asker.user.as_str(), asker.groups.as_slice()), ("ada", ["ml".to_owned()].as_slice()));
        assert!(event(text, vec![]).is_none());
        assert!(
            matches!(event(br#"{"op":"gone","id":"k-1"}"#, vec![]), Some(Event::Went { kernel }) if kernel == "k-1")
        );
        assert!(event(br#"{"op":"gone","id":"k","user":"x"}"#, vec![]).is_none());
    }
}
