//! The program: reads the connection file, finds the engine, serves until told to end.

use std::env;
use std::fs;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carrel_channels::{Handle, Options, serve};
use carrel_wire::ConnectionInfo;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::KernelError;
use crate::engine::{Engine, OwnEngine, Source};
use crate::front::Front;

/// Serves the kernel that a connection file describes.
///
/// # Errors
/// When the file cannot be used or an address is taken.
pub fn run(connection_file: &Path) -> Result<(), KernelError> {
    log();
    let file = fs::read(connection_file)
        .map_err(|source| KernelError::Read { path: connection_file.to_owned(), source })?;
    let connection = ConnectionInfo::parse(&file)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|source| KernelError::System { what: "cannot start the runtime", source })?;
    runtime.block_on(serving(&connection))
}

async fn serving(connection: &ConnectionInfo) -> Result<(), KernelError> {
    let engine = Arc::new(Engine::new(source()?));
    let front = Arc::new(Front::new(Arc::clone(&engine)));
    let handle = Handle::new();
    listen_to_signals(&handle)?;
    tokio::spawn(end_with_parent(handle.clone()));
    // The engine may be starting while the first cell is typed.
    let warming = Arc::clone(&front);
    tokio::spawn(async move { warming.warm().await });
    let ended = serve(front, connection, Options::default(), handle).await;
    engine.end().await;
    ended?;
    Ok(())
}

fn source() -> Result<Source, KernelError> {
    match env::var("CARREL_ENGINE") {
        Ok(address) if !address.is_empty() => match address.strip_prefix("grpc+unix://") {
            Some(path) if path.starts_with('/') => Ok(Source::Given(PathBuf::from(path))),
            _ => Err(KernelError::EngineAddress(address)),
        },
        _ => Ok(Source::Own(OwnEngine::prepare()?)),
    }
}

/// Ctrl-C interrupts the cell; a request to end ends the kernel.
fn listen_to_signals(handle: &Handle) -> Result<(), KernelError> {
    let failed = |source| KernelError::System { what: "cannot listen to signals", source };
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut ends = signal(SignalKind::terminate()).map_err(failed)?;
    let handle = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = interrupts.recv() => handle.interrupt(),
                Some(()) = ends.recv() => handle.stop(),
                else => return,
            }
        }
    });
    Ok(())
}

/// Under plain Jupyter the kernel ends when whoever started it is gone; below an init there is nobody to outlive.
async fn end_with_parent(handle: Handle) {
    let parent = parent_id();
    if parent <= 1 || env::var_os("JPY_PARENT_PID").is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(2));
    while parent_id() == parent {
        ticks.tick().await;
    }
    tracing::warn!("the program that started the kernel is gone");
    handle.stop();
}

fn log() {
    let filter = EnvFilter::try_from_env("CARREL_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}
