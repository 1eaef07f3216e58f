//! Websockets of the gateway before this one: what did their browsers still get?
//!
//! spawnd kept a duplicate of every websocket's TCP socket. Each is taken back, watched until the browser's host acknowledged what was
//! sent, and closed; the browser connects again by itself. How far it had come is what its session resumes from.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{RecvFlags, Shutdown, sockopt};
use tokio::time::Instant;
use uuid::Uuid;

use super::Kernels;
use super::tcp::TcpWatch;
use crate::error::Result;

/// Tags of websockets in spawnd's descriptor store.
const PREFIX: &str = "ws/";
/// How long all of them together may take to drain.
const DRAIN: Duration = Duration::from_millis(1500);
/// A browser whose host acknowledged nothing for this long has stopped reading; then the count no longer moves.
const SETTLED: Duration = Duration::from_millis(100);
/// How long a browser that still reads, slowly, may go on after the deadline.
const SLOW: Duration = Duration::from_secs(1);
/// Descriptors taken at once.
const BATCH: usize = 64;

/// The name under which a websocket is kept.
#[must_use]
pub fn tag(kernel: Uuid, session: &str, base: u64) -> String {
    format!("{PREFIX}{kernel}/{session}/{base}")
}

fn parse(tag: &str) -> Option<(Uuid, &str, u64)> {
    let (kernel, rest) = tag.strip_prefix(PREFIX)?.split_once('/')?;
    let (session, base) = rest.rsplit_once('/')?;
    Some((kernel.parse().ok()?, session, base.parse().ok()?))
}

/// Takes all of them back. Returns when each session's position is known.
///
/// # Errors
/// When spawnd does not answer.
pub async fn take_back(kernels: &Kernels) -> Result<usize> {
    let deadline = Instant::now() + DRAIN;
    let mut draining = Vec::new();
    loop {
        let kept = kernels.spawnd().fd_take(PREFIX.into(), BATCH).await?;
        if kept.is_empty() {
            break;
        }
        for (tag, socket) in kept {
            let kernels = kernels.clone();
            draining.push(tokio::spawn(async move { finish(&kernels, &tag, socket, deadline).await }));
        }
    }
    let count = draining.len();
    for task in draining {
        // One that panicked is a session that resumes from its last acknowledgement.
        let _ = task.await;
    }
    Ok(count)
}

async fn finish(kernels: &Kernels, tag: &str, socket: OwnedFd, deadline: Instant) {
    let Some((kernel, session, base)) = parse(tag) else { return };
    let watch = TcpWatch::with_base(socket, base);
    let written = drain(&watch, deadline).await;
    tracing::info!(kernel.id = %kernel, written, "took back a websocket of the gateway before");
    if let Some(kernel) = kernels.find(kernel) {
        kernel.remember(session, written);
    }
}

/// Waits until everything written was acknowledged, closes, and gives how much it was.
pub async fn drain(watch: &TcpWatch, deadline: Instant) -> Option<u64> {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let (mut acked, mut since) = (0, Instant::now());
    loop {
        let taken = watch.taken().ok()?;
        let now = Instant::now();
        if taken.acked != acked {
            (acked, since) = (taken.acked, now);
        }
        if taken.closed {
            return Some(taken.acked);
        }
        if taken.waiting == 0 {
            close(watch);
            return Some(taken.acked);
        }
        if now >= deadline + SLOW || (now >= deadline && now - since >= SETTLED) {
            // What is not acknowledged by now must not arrive later: it will be sent again.
            let _ = sockopt::set_socket_linger(watch.socket(), Some(Duration::ZERO));
            let acked = watch.taken().ok()?.acked;
            let _ = rustix::net::shutdown(watch.socket(), Shutdown::Both);
            return Some(acked);
        }
        tick.tick().await;
    }
}

/// Closes without a reset: a reset would make the browser's host throw away what the browser has not read yet.
fn close(watch: &TcpWatch) {
    let mut scrap = [0u8; 16 * 1024];
    while let Ok((read, _)) = rustix::net::recv(watch.socket(), &mut scrap, RecvFlags::DONTWAIT) {
        if read == 0 {
            break;
        }
    }
    // It may be closed already.
    let _ = rustix::net::shutdown(watch.socket(), Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn tags_lead_back() {
        let id = Uuid::from_u128(5);
        assert_eq!(parse(&tag(id, "a:b-1", 77)), Some((id, "a:b-1", 77)));
        for bad in ["", "ws/", "ws/x/y/1", "ws/00000000-0000-0000-0000-000000000005/s", "other"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[tokio::test]
    async fn what_was_written_before_the_kill_still_arrives() {
        let (mut server, mut client) = pair();
        server.write_all(b"handshake").unwrap();
        let base = TcpWatch::new(&server).unwrap().base();
        let kept = TcpWatch::with_base(server.as_fd().try_clone_to_owned().unwrap(), base);
        server.write_all(&[1; 5000]).unwrap();
        client.write_all(b"a request that nobody read").unwrap();
        drop(server);
        let written = drain(&kept, Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(written, Some(5000));
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 5009);
    }

    #[tokio::test]
    async fn a_browser_that_does_not_read_gets_no_more_than_was_counted() {
        let (mut server, mut client) = pair();
        let kept = TcpWatch::new(&server).unwrap();
        server.set_nonblocking(true).unwrap();
        while server.write(&[1; 65536]).is_ok() {}
        drop(server);
        let written = drain(&kept, Instant::now()).await.unwrap();
        drop(kept);
        let mut got = 0;
        let mut buffer = vec![0; 65536];
        while let Ok(n) = client.read(&mut buffer) {
            if n == 0 {
                break;
            }
            got += n as u64;
        }
        assert!(got <= written, "{got} arrived of {written} counted");
    }
}
