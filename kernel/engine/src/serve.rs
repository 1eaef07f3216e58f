//! The serving program: one thread answers, lanes compute, and it ends when nobody has asked for a while.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use carrel_cell::problem::Problem;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::activity::Activity;
use crate::authority::Tolerant;
use crate::config::Config;
use crate::flight::Service;
use crate::lanes::{EXIT_STUCK, Lanes};
use crate::runtime;
use crate::session::Session;

/// Largest message of a client: a batch of ingested rows.
const MESSAGE: usize = 64 << 20;

/// After the end was decided, connections have this long to go away.
const DRAIN: Duration = Duration::from_secs(3);

/// Why the engine does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The session cannot be opened.
    #[error("the session cannot be opened: {0}")]
    Session(Problem),
    /// The runtime or the socket does not work.
    #[error("the engine cannot serve")]
    Io(#[from] std::io::Error),
    /// The transport failed.
    #[error("the engine stopped serving")]
    Transport(#[from] tonic::transport::Error),
}

/// What to serve.
pub struct Serve {
    /// The configuration.
    pub config: Config,
    /// The session's folder.
    pub scratch: PathBuf,
    /// The user's files.
    pub home: PathBuf,
    /// Where clients come.
    pub listener: UnixListener,
    /// The broker's socket, if there is one.
    pub broker: Option<PathBuf>,
}

/// Serves until idle or told to end.
pub fn serve(serve: Serve) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(run(serve));
    // lanes that still compute do not hold up the end
    runtime.shutdown_background();
    served
}

async fn run(serve: Serve) -> Result<(), ServeError> {
    let Serve { config, scratch, home, listener, broker } = serve;
    let idle_after = Duration::from_secs(config.engine.idle_seconds);
    let (threads, most) = (runtime::threads(&config), config.engine.concurrent_queries);
    let session = Session::open(config, &scratch, &home, broker.as_deref()).map_err(ServeError::Session)?;
    let lanes = Lanes::new(threads, most, |handle| {
        tracing::error!(statement = handle, "a stopped statement still computes; the engine ends itself");
        std::process::exit(EXIT_STUCK);
    });
    let activity = Activity::new();
    let service = Service::new(session, lanes, activity.clone());
    let end = CancellationToken::new();
    let ending = tokio::spawn(wait_for_end(service.clone(), activity, idle_after, end.clone()));
    let incoming = UnixListenerStream::new(tokio::net::UnixListener::from_std(listener)?)
        .map(|stream| stream.map(Tolerant::new));
    let flight = FlightServiceServer::new(service).max_decoding_message_size(MESSAGE);
    tracing::info!(threads, "serving");
    let server = Server::builder()
        .add_service(flight)
        .serve_with_incoming_shutdown(incoming, end.clone().cancelled_owned());
    let drained = async {
        end.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served?,
        () = drained => {}
    }
    ending.abort();
    tracing::info!("ended");
    Ok(())
}

/// Until a signal comes, or nothing was asked for as long as the configuration says.
async fn wait_for_end(
    service: Service,
    activity: Arc<Activity>,
    idle_after: Duration,
    end: CancellationToken,
) {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received");
        return;
    };
    let idle = async {
        if idle_after.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let idle = activity.idle_for();
            if idle >= idle_after && service.is_idle() {
                return;
            }
            let left = idle_after.saturating_sub(idle);
            tokio::time::sleep(left.max(Duration::from_millis(50))).await;
        }
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        () = idle => tracing::info!("nobody asked for {} s", idle_after.as_secs()),
    }
    service.cancel_all();
    end.cancel();
}
