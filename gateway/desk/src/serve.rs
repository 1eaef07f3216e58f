//! The life of the server: accepting, idling away, ending.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::app;
use crate::desk::Desk;
use crate::listener::{Listener, Stream};
use crate::log;

/// Connections at once; the gateway keeps few.
const MAX_CONNECTIONS: usize = 256;
/// Bytes of a request's head.
const MAX_HEAD: usize = 64 << 10;
/// Longest wait for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long running requests may take to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until SIGTERM, SIGINT, or nothing happened for `idle`.
pub(crate) async fn run(listener: Listener, desk: Arc<Desk>, idle: Duration) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut tick =
        tokio::time::interval((idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(30)));
    let (stop, stopped) = watch::channel(false);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    log::info("listening");
    loop {
        tokio::select! {
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    let (desk, stopped) = (Arc::clone(&desk), stopped.clone());
                    connections.spawn(async move {
                        connection(stream, desk, stopped).await;
                        drop(permit);
                    });
                }
                Err(e) => {
                    log::warn("accept", &e.to_string());
                    // Out of descriptors, most likely: give the others time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = tick.tick() => if idled(&desk, idle) { break },
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = stop.send(true);
    desk.terminals.shutdown().await;
    let drained =
        tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        log::warn("shutdown", "requests were still running and have been cut off");
    }
    desk.uploads.clear();
    log::info("ended");
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &Listener,
    room: &Arc<Semaphore>,
) -> io::Result<(Box<dyn Stream>, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

fn idled(desk: &Desk, idle: Duration) -> bool {
    let now = Instant::now();
    desk.uploads.sweep(now);
    desk.idle(now) >= idle
}

async fn connection(stream: Box<dyn Stream>, desk: Arc<Desk>, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, std::convert::Infallible>(app::handle(desk, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = async { drop(stopped.wait_for(|stop| *stop).await) } => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A client that goes away is its own business; a body that could not be read is worth a line.
    if let Err(e) = ended
        && e.is_user()
    {
        log::warn("connection", &format!("{e:?}"));
    }
}
