//! The program's life: kernels that spawnd announces are served until they go; without spawnd there is nobody to serve.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use time::OffsetDateTime;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Bounds, Spent, Usage};
use crate::config::{Config, Live};
use crate::control::{self, Event};
use crate::journal::Journal;
use crate::policy::Asker;
use crate::refusal::Refusal;
use crate::tunnel;

/// Threads that resolve names, each for as long as a resolver takes.
const MOST_RESOLVERS: usize = 256;
/// Descriptors that the program asks for; a connection takes two.
const MOST_DESCRIPTORS: u64 = 16_384;
/// Descriptors that are no connections' (kernels' sockets among them) are at most this share.
const OTHERS_SHARE: u64 = 4;

/// What all connections share.
pub(crate) struct Proxy {
    pub(crate) live: Live,
    pub(crate) journal: Journal,
    users: Mutex<HashMap<String, Usage>>,
    places: Arc<Semaphore>,
}

/// Serves until spawnd goes.
pub(crate) fn serve(path: PathBuf, config: Config) -> io::Result<()> {
    let events = control::listen()?;
    let descriptors = raise_descriptors()?;
    let places = usize::try_from((descriptors - descriptors / OTHERS_SHARE) / 2).unwrap_or(usize::MAX);
    let proxy = Proxy {
        live: Live::new(path, config),
        journal: Journal::new(OffsetDateTime::now_utc),
        users: Mutex::default(),
        places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(MOST_RESOLVERS)
        .thread_name("proxy")
        .enable_all()
        .build()?;
    let done = runtime.block_on(run(Arc::new(proxy), events));
    // A resolver may not let go of its thread for a while.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

fn raise_descriptors() -> io::Result<u64> {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(MOST_DESCRIPTORS).max(now.current.unwrap_or(0));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum })?;
    Ok(most)
}

async fn run(proxy: Arc<Proxy>, mut events: tokio::sync::mpsc::Receiver<Event>) -> io::Result<()> {
    tracing::info!(allow = proxy.live.now().policy.len(), "serving");
    let mut kernels: HashMap<String, CancellationToken> = HashMap::new();
    let all = TaskTracker::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Came { asker, listener } => {
                let end = CancellationToken::new();
                if let Some(before) = kernels.insert(asker.kernel.clone(), end.clone()) {
                    before.cancel();
                }
                let listener = UnixListener::from_std(listener)?;
                all.spawn(accept(proxy.clone(), asker, listener, end, all.clone()));
            }
            Event::Went { kernel } => {
                if let Some(end) = kernels.remove(&kernel) {
                    end.cancel();
                }
                proxy.forget_idle(Instant::now());
            }
        }
    }
    for end in kernels.into_values() {
        end.cancel();
    }
    all.close();
    all.wait().await;
    tracing::info!("spawnd is gone, so am I");
    Ok(())
}

/// One kernel's connections.
async fn accept(
    proxy: Arc<Proxy>,
    asker: Asker,
    listener: UnixListener,
    end: CancellationToken,
    all: TaskTracker,
) {
    let asker = Arc::new(asker);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                all.spawn(tunnel::serve(proxy.clone(), asker.clone(), stream, end.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: it passes.
                tracing::warn!(%error, kernel = asker.kernel, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One of a user's connections; given back when it is dropped.
pub(crate) struct Place {
    proxy: Arc<Proxy>,
    user: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.proxy.with(&self.user, Usage::leave);
    }
}

impl Proxy {
    /// One more connection of this user's, if there may be one.
    pub(crate) fn enter(self: &Arc<Self>, user: &str, bounds: &Bounds) -> Result<Place, Refusal> {
        let permit = self.places.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
        self.with(user, |usage| usage.enter(bounds)).map_err(Refusal::Spent)?;
        Ok(Place { proxy: self.clone(), user: user.to_owned(), _permit: permit })
    }

    /// One more request of this user's.
    pub(crate) fn ask(&self, user: &str, bounds: &Bounds) -> Result<(), Spent> {
        self.with(user, |usage| usage.ask(bounds, Instant::now()))
    }

    /// So many more bytes of this user's.
    pub(crate) fn spend(&self, user: &str, bounds: &Bounds, bytes: usize) -> Result<(), Spent> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.with(user, |usage| usage.spend(bounds, bytes, Instant::now()))
    }

    fn with<T>(&self, user: &str, act: impl FnOnce(&mut Usage) -> T) -> T {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(user) {
            Some(usage) => act(usage),
            None => act(users.entry(user.to_owned()).or_insert_with(|| Usage::new(Instant::now()))),
        }
    }

    fn forget_idle(&self, now: Instant) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, usage| !usage.is_idle(now));
    }
}
