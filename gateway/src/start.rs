//! `carrel serve`: folders, lock, spawnd, dropping privileges, then the runtime; and the way down.
//!
//! The order matters. Until [`privileges::drop`] the program may be root, has one thread and speaks to nobody; after it, it can never be root
//! again, and only then a database or a port is opened.

pub mod broker;
pub mod folders;
pub mod listen;
pub mod lock;
pub mod network;
pub mod privileges;

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::cookies::Keys;
use crate::error::chain;
use crate::settings::{self, Identity};
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use crate::{accounts, telemetry};
use carrel_hub::UserName;
use carrel_spawnd::{Client, Settings, ShutdownJails};
use carrel_store::{NewService, Store};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long the port stays closed for kernels to be taken over.
const ADOPT_FIRST: Duration = Duration::from_millis(800);

/// Why the program ends, with its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fatal {
    /// 64, 69 or 70.
    pub code: u8,
    /// For whoever started it.
    pub message: String,
}

impl Fatal {
    /// Wrong usage or configuration.
    pub fn usage(message: impl ToString) -> Self {
        Self { code: 64, message: message.to_string() }
    }
    /// Something that is needed is not there.
    pub fn unavailable(message: impl ToString) -> Self {
        Self { code: 69, message: message.to_string() }
    }
    /// A fault of ours.
    pub fn internal(message: impl ToString) -> Self {
        Self { code: 70, message: message.to_string() }
    }
}

impl From<crate::config::ConfigError> for Fatal {
    fn from(e: crate::config::ConfigError) -> Self {
        Self::usage(e)
    }
}

impl From<carrel_store::Error> for Fatal {
    fn from(e: carrel_store::Error) -> Self {
        Self::unavailable(chain(&e))
    }
}

/// `carrel serve`
pub fn serve(config: Config) -> Result<ExitCode, Fatal> {
    let begun = Instant::now();
    telemetry::start(&config.log);
    let (me, runtime) = prepare(&config)?;
    let lock = lock::take(&config)?;
    let lab = crate::server::load_lab(&config)
        .map_err(|e| Fatal::unavailable(format!("JupyterLab: {}", chain(&e))))?;
    let services = crate::services::configured::services(&config).map_err(Fatal::usage)?;
    let socket = spawnd(&config, &runtime, me)?;
    if let Err(error) = carrel_spawnd::priority::serve_first() {
        tracing::debug!(%error, "the gateway has no higher priority than others");
    }
    let done =
        privileges::drop(me).and_then(|()| serve_dropped(config, services, lab, &socket, &lock, begun));
    if done.is_err() {
        // a start that failed leaves nothing behind, unless kernels of an earlier one live there
        let _ = Client::connect(&socket).and_then(|c| c.shutdown(ShutdownJails::KeepIfAny));
    }
    done
}

/// The rest of the start, as an ordinary user.
fn serve_dropped(
    config: Config,
    mut services: Vec<NewService>,
    lab: Arc<carrel_web::lab::Lab>,
    socket: &Path,
    lock: &lock::Lock,
    begun: Instant,
) -> Result<ExitCode, Fatal> {
    let keys = folders::keys(&config)?;
    let mut store = Store::open(&config.database())?;
    let first = first_users(&mut store, &config)?;
    crate::services::managed::complete(&config, &keys, &mut services).map_err(Fatal::usage)?;
    store.set_configured_services(&services, Clock::system().now())?;
    let listener = listen::bind(&config)?;
    let url = listen::url(&listener, &config)?;
    lock.announce(&url)?;
    let threads = match config.gateway.threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 8),
        n => n,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("carrel")
        .enable_all()
        .build()
        .map_err(|e| Fatal::internal(format!("cannot start the runtime: {e}")))?;
    let done = runtime.block_on(run(config, lab, store, keys, socket, listener, &url, first, begun));
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

/// Folders as they must be, and who we will be. The first step of every command that touches the state.
pub fn prepare(config: &Config) -> Result<(Identity, PathBuf), Fatal> {
    let me = privileges::identity(&config.gateway.user)?;
    let runtime = settings::runtime_dir(config, privileges::is_root(), me.uid);
    folders::make(config, &runtime, me)?;
    Ok((me, runtime))
}

/// The control socket of a running spawnd: the one that is there, or a new one.
fn spawnd(config: &Config, runtime: &Path, me: Identity) -> Result<PathBuf, Fatal> {
    folders::write_engine_config(config)?;
    let broker = broker::prepare(config, me)?;
    let proxy = network::prepare(config, me)?;
    let wanted = settings::spawnd(config, runtime, me, broker, proxy);
    let socket = wanted.socket();
    let print = folders::fingerprint(&wanted);
    if let Some(client) = Client::connect(&socket).ok().filter(|c| c.hello().is_ok()) {
        if folders::same_fingerprint(runtime, &print) {
            // Bounds may have changed: they need no new helper.
            let bounded = client.limits(wanted.limits).map_err(|e| Fatal::unavailable(chain(&e)))?;
            tracing::info!(
                limits.changed = bounded.changed,
                limits.failed = ?bounded.failed,
                "the sandbox helper is running already, kernels are taken over"
            );
            return Ok(socket);
        }
        // Services are ours to end and to start again.
        let held = |jail: &carrel_spawnd::JailInfo| jail.profile != carrel_spawnd::Profile::Service;
        if client.list().is_ok_and(|jails| jails.iter().any(held)) {
            tracing::warn!(
                "sandbox settings have changed; kernels of the old settings still run, so they take effect after `carrel stop`"
            );
            return Ok(socket);
        }
        // a hello would call the shutdown off, so only the socket is watched
        client.shutdown(ShutdownJails::Stop).map_err(|e| Fatal::unavailable(chain(&e)))?;
        drop(client);
        wait_for_end(&socket);
    }
    if let Some(id) = broker {
        broker::check(config, id)?;
    }
    launch(config, &wanted)?;
    folders::write_fingerprint(runtime, &print);
    Ok(socket)
}

fn launch(config: &Config, settings: &Settings) -> Result<(), Fatal> {
    let program = config.prefix().join("bin/carrel-spawnd");
    let log = settings.runtime.join("spawnd.log");
    let hello = carrel_spawnd::launch(&program, settings, Some(&log)).map_err(|e| {
        Fatal::unavailable(format!(
            "the sandbox helper does not start: {}\nits log is {}",
            chain(&e),
            log.display()
        ))
    })?;
    let off: Vec<String> =
        hello.layers.iter().filter(|(_, s)| !s.is_on()).map(|(l, s)| format!("{l} {s}")).collect();
    tracing::info!(sandbox.mode = %hello.mode, sandbox.off = ?off, sandbox.pid = hello.pid, "sandbox helper started");
    Ok(())
}

/// Waits until nobody listens on the socket.
pub fn wait_for_end(socket: &Path) -> bool {
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        if std::os::unix::net::UnixStream::connect(socket).is_err() && Client::connect(socket).is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// At the very first start: an administrator and a demo user, whose passwords are printed once.
fn first_users(store: &mut Store, config: &Config) -> Result<Vec<(String, String)>, Fatal> {
    if !config.auth.first_users || store.count_users()? > 0 {
        return Ok(Vec::new());
    }
    let now = Clock::system().now();
    let mut made = Vec::new();
    for (name, admin) in [("admin", true), ("demo", false)] {
        let name = UserName::parse(name).map_err(Fatal::internal)?;
        let password = accounts::random_password();
        let hash = accounts::hash(&password).map_err(Fatal::internal)?;
        for user in store.add_users(std::slice::from_ref(&name), admin, now)? {
            store.set_password_hash(user.id, &hash, now)?;
        }
        made.push((name.to_string(), password));
    }
    Ok(made)
}

#[expect(clippy::too_many_arguments, reason = "called once, with what serve prepared")]
async fn run(
    config: Config,
    lab: Arc<carrel_web::lab::Lab>,
    store: Store,
    keys: Keys,
    socket: &Path,
    listener: TcpListener,
    url: &str,
    first: Vec<(String, String)>,
    begun: Instant,
) -> Result<ExitCode, Fatal> {
    let spawnd = SpawndHandle::connect(socket).map_err(|e| Fatal::unavailable(chain(&e)))?;
    let store = StoreHandle::start(store).map_err(Fatal::internal)?;
    let drain = Duration::from_secs(config.gateway.drain_seconds);
    let app = App::new(config, store, spawnd, keys, Clock::system());
    app.servers.load().await.map_err(Fatal::internal)?;
    app.jailed.serve_hub(crate::http::hub_alone(&app));
    let listener = listen::into_async(listener).map_err(Fatal::internal)?;
    let assets = crate::server::shared_assets(lab.clone());
    let service = crate::http::router(&app, crate::server::router(lab), assets);
    // Usually done in milliseconds; browsers of a killed gateway that still take their last bytes may need longer, and then wait with 503.
    let adopted = adopt(&app);
    let _ = tokio::time::timeout(ADOPT_FIRST, adopted).await;
    let serving = tokio::spawn(listen::accept(app.clone(), service, listener));
    housekeeping(&app);
    greet(url, &first);
    tracing::info!(url, took_ms = begun.elapsed().as_millis(), "carrel serves");
    app.metrics.observe(
        "jupyterhub_hub_startup_duration_seconds",
        "Time taken for Hub to start",
        &[],
        begun.elapsed(),
    );

    let stop = |kind| signal(kind).map_err(Fatal::internal);
    let (mut term, mut int) = (stop(SignalKind::terminate())?, stop(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        () = app.lifecycle.token().cancelled() => {}
    }
    tracing::info!("stopping: no new connections, requests may finish");
    if tokio::time::timeout(drain, app.lifecycle.drain()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    serving.abort();
    app.kernels.shutdown().await;
    app.managed.shutdown().await;
    if let Err(e) = app.servers.flush().await {
        tracing::warn!(error = %e, "the last activity was not saved");
    }
    farewell(&app).await;
    Ok(ExitCode::SUCCESS)
}

/// Takes over what lives of the gateway before. The answer comes when it is done.
fn adopt(app: &App) -> tokio::sync::oneshot::Receiver<()> {
    let app = app.clone();
    let (done, adopted) = tokio::sync::oneshot::channel();
    app.clone().lifecycle.spawn(async move {
        // Until it is known which kernels live, their routes answer 503: a 404 would make a browser give up a living kernel.
        loop {
            let found = async {
                app.servers.adopt().await?;
                app.kernels.adopt().await
            };
            match found.await {
                Ok(_) => {
                    app.lifecycle.set_ready();
                    if let Err(error) = app.managed.run().await {
                        tracing::error!(%error, "the services with a command are not started");
                    }
                    // Nobody waits any more if it took long.
                    let _ = done.send(());
                    return;
                }
                Err(e) => tracing::error!(error = %e, "kernels could not be taken over, trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = app.lifecycle.token().cancelled() => return,
            }
        }
    });
    adopted
}

/// Now and then: activity into the store, ended tokens and logins out of it.
fn housekeeping(app: &App) {
    let app = app.clone();
    app.clone().lifecycle.spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(30));
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = app.lifecycle.token().cancelled() => return,
            }
            let now = app.clock.now();
            let cleaned = app.store.call(move |s| s.delete_expired(now)).await.map(|_| ());
            let culled = match app.config.classic.idle_seconds {
                0 => Ok(()),
                _ if !app.lifecycle.is_ready() => Ok(()),
                idle => app.servers.cull(idle).await,
            };
            if let Err(e) = app.servers.flush().await.and(cleaned).and(culled) {
                tracing::warn!(error = %e, "housekeeping");
            }
        }
    });
}

fn greet(url: &str, first: &[(String, String)]) {
    println!("Carrel serves on {url}");
    if !first.is_empty() {
        println!("\nFirst start. These passwords are shown once; `carrel user passwd NAME` changes them.");
        for (name, password) in first {
            println!("  {name:<8}{password}");
        }
        println!();
    }
}

async fn farewell(app: &App) {
    match app.spawnd.shutdown(ShutdownJails::KeepIfAny).await {
        Ok(0) => println!("Carrel has stopped. No kernel is left running."),
        Ok(n) => println!(
            "Carrel has stopped. {n} kernels and helpers live on and are taken over at the next start; `carrel stop` ends them."
        ),
        Err(e) => tracing::warn!(error = %e, "the sandbox helper did not answer"),
    }
}
