//! Bytes both ways between a kernel and a host, counted and bounded.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::budget::{Bounds, Spent};

const BUFFER: usize = 16 * 1024;

/// What has passed so far.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    /// When something passed last, in milliseconds since the beginning.
    last: AtomicU64,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides had nothing more to say.
    Closed,
    /// One side went away.
    Broken,
    /// Nothing passed for too long.
    Idle,
    /// It lasted for too long.
    Life,
    /// The user's bytes are used up.
    Traffic,
    /// The kernel, or Carrel, ends.
    Gone,
}

impl End {
    /// In the journal.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken off",
            Self::Idle => "idle for too long",
            Self::Life => "open for too long",
            Self::Traffic => "the user's traffic of this hour is used up",
            Self::Gone => "the kernel or the proxy ended",
        }
    }
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Bytes to the host, bytes from it.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Since when it runs.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    fn count(&self, direction: &AtomicU64, bytes: usize) {
        direction.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.begun + std::time::Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// Passes on until one of the bounds is reached or both sides are done. `spend` is told of each piece before it is passed on.
pub(crate) async fn relay<C, H>(
    client: C,
    host: H,
    meter: &Meter,
    bounds: &Bounds,
    spend: &(dyn Fn(usize) -> Result<(), Spent> + Sync),
    gone: &CancellationToken,
) -> End
where
    C: AsyncRead + AsyncWrite,
    H: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = tokio::io::split(client);
    let (from_host, to_host) = tokio::io::split(host);
    let up = pump(from_client, to_host, meter, &meter.sent, spend);
    let down = pump(from_host, to_client, meter, &meter.received, spend);
    let both = async { tokio::try_join!(up, down) };
    tokio::select! {
        done = both => match done {
            Ok(_) => End::Closed,
            Err(Stopped::Spent) => End::Traffic,
            Err(Stopped::Io) => End::Broken,
        },
        () = idle(meter, bounds) => End::Idle,
        () = sleep_until(meter.begun + bounds.life) => End::Life,
        () = gone.cancelled() => End::Gone,
    }
}

enum Stopped {
    Spent,
    Io,
}

impl From<io::Error> for Stopped {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    meter: &Meter,
    direction: &AtomicU64,
    spend: &(dyn Fn(usize) -> Result<(), Spent> + Sync),
) -> Result<(), Stopped> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            to.shutdown().await?;
            return Ok(());
        }
        spend(length).map_err(|_| Stopped::Spent)?;
        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
        meter.count(direction, length);
    }
}

/// Returns when nothing has passed for as long as is allowed.
async fn idle(meter: &Meter, bounds: &Bounds) {
    loop {
        let until = meter.last() + bounds.idle;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn bounds(idle: u64, life: u64) -> Bounds {
        Bounds {
            connections: 1,
            requests_per_minute: 1,
            traffic_per_hour: 0,
            idle: Duration::from_millis(idle),
            life: Duration::from_millis(life),
        }
    }

    struct Running {
        client: DuplexStream,
        host: DuplexStream,
        ended: tokio::task::JoinHandle<(End, (u64, u64))>,
        gone: CancellationToken,
    }

    fn run(bounds: Bounds, most: u64) -> Running {
        let (client, client_in) = duplex(64);
        let (host, host_in) = duplex(64);
        let gone = CancellationToken::new();
        let token = gone.clone();
        let ended = tokio::spawn(async move {
            let meter = Meter::new();
            let spend = |_| if meter.moved().0 < most { Ok(()) } else { Err(Spent::Connections) };
            let end = relay(client_in, host_in, &meter, &bounds, &spend, &token).await;
            (end, meter.moved())
        });
        Running { client, host, ended, gone }
    }

    #[tokio::test]
    async fn both_directions_pass_and_half_closed_ones_go_on() {
        let mut r = run(bounds(60_000, 60_000), u64::MAX);
        r.client.write_all(b"question").await.unwrap();
        r.client.shutdown().await.unwrap();
        let mut heard = String::new();
        r.host.read_to_string(&mut heard).await.unwrap();
        r.host.write_all(b"long answer").await.unwrap();
        drop(r.host);
        let mut answer = String::new();
        r.client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("question", "long answer"));
        assert_eq!(r.ended.await.unwrap(), (End::Closed, (8, 11)));
    }

    #[tokio::test]
    async fn each_bound_ends_it() {
        let silent = run(bounds(20, 60_000), u64::MAX);
        assert_eq!(silent.ended.await.unwrap().0, End::Idle);
        let old = run(bounds(60_000, 20), u64::MAX);
        assert_eq!(old.ended.await.unwrap().0, End::Life);
        let mut greedy = run(bounds(60_000, 60_000), 3);
        greedy.client.write_all(b"abc").await.unwrap();
        let mut three = [0; 3];
        greedy.host.read_exact(&mut three).await.unwrap();
        greedy.client.write_all(b"d").await.unwrap();
        assert_eq!(greedy.ended.await.unwrap(), (End::Traffic, (3, 0)));
        let ended = run(bounds(60_000, 60_000), u64::MAX);
        ended.gone.cancel();
        assert_eq!(ended.ended.await.unwrap().0, End::Gone);
        let left = run(bounds(60_000, 60_000), u64::MAX);
        drop(left.client);
        let mut host = left.host;
        // A host that goes on speaking to nobody.
        while host.write_all(&[0; 64]).await.is_ok() {}
        assert_eq!(left.ended.await.unwrap().0, End::Broken);
    }
}
