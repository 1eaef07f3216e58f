//! The program's life: engines that spawnd announces are served until they go; without spawnd there is nobody to serve.

use std::collections::HashMap;
use std::sync::Arc;

use carrel_source::{Code, Failure};
use time::OffsetDateTime;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::control::{self, Event};
use crate::engine::Engine;
use crate::identity::Names;
use crate::{INTERNAL, UNAVAILABLE, USAGE};

/// Why the broker does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// Hadoop's configuration.
    #[error("{0}")]
    Hadoop(String),
    /// The runtime or spawnd's socket.
    #[error("cannot serve: {0}")]
    Io(#[from] std::io::Error),
    /// The cluster does not let it in, or does not answer.
    #[error("{0}")]
    Cluster(Failure),
}

impl ServeError {
    /// The program's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Hadoop(_) => USAGE,
            Self::Io(_) => INTERNAL,
            // a keytab or a clock does not mend itself; a cluster that is away may come back
            Self::Cluster(failure) if failure.code == Code::Login => USAGE,
            Self::Cluster(_) => UNAVAILABLE,
        }
    }
}

/// Threads that decrypt and copy.
const MOST_THREADS: usize = 4;

/// Serves until spawnd goes.
pub(crate) fn serve(config: Config) -> Result<String, ServeError> {
    let events = control::listen()?;
    runtime()?.block_on(run(config, events))?;
    Ok(String::new())
}

/// Logs in and asks for the root folder.
pub(crate) fn check(config: Config) -> Result<String, ServeError> {
    let own = config.principal.clone().unwrap_or_else(|| "without Kerberos".to_owned());
    let cluster = Cluster::new(config).map_err(ServeError::Hadoop)?;
    runtime()?.block_on(cluster.probe()).map_err(ServeError::Cluster)?;
    Ok(format!("hdfs://{} answers; the broker is let in as {own}", cluster.name()))
}

fn runtime() -> std::io::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, MOST_THREADS);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("broker")
        .enable_all()
        .build()
}

async fn run(config: Config, mut events: tokio::sync::mpsc::Receiver<Event>) -> Result<(), ServeError> {
    let names = Names::new(config.users.clone(), config.never.clone(), config.principal.as_deref());
    let audit = Arc::new(Audit::new(&config.audit, OffsetDateTime::now_utc));
    let cluster = Arc::new(Cluster::new(config).map_err(ServeError::Hadoop)?);
    tracing::info!(cluster = cluster.name(), "serving");
    let mut engines: HashMap<String, CancellationToken> = HashMap::new();
    let all = TaskTracker::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Came { id, user, listener } => {
                let who = names.identify(&user, &id);
                let end = CancellationToken::new();
                if let Some(before) = engines.insert(id, end.clone()) {
                    before.cancel();
                }
                let listener = UnixListener::from_std(listener)?;
                all.spawn(Engine::new(who, cluster.clone(), audit.clone()).serve(listener, end));
            }
            Event::Went { id } => {
                if let Some(end) = engines.remove(&id) {
                    end.cancel();
                }
            }
        }
    }
    for end in engines.into_values() {
        end.cancel();
    }
    all.close();
    all.wait().await;
    tracing::info!("spawnd is gone, so am I");
    Ok(())
}
