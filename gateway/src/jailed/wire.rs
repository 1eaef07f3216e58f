//! What is said to `carrel-shim serve` over the jail's socket: one byte first, as its `server.rs` says.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::environment::Environment;
use crate::error::{Error, Result};

const START: u8 = b's';
const STOP: u8 = b't';
const CONNECT: u8 = b'c';
const WATCH: u8 = b'w';
const DONE: u8 = b'1';
/// The longest reason that is read.
const MAX_REASON: u64 = 1000;

/// A connection to the server's port; closed at once where nobody listens yet.
pub(super) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    say(socket, CONNECT).await
}

/// Starts the server with this environment.
pub(super) async fn start(socket: &Path, environment: &Environment) -> Result<()> {
    let lost = |error: io::Error| Error::upstream("the server could not be started", &error);
    let text = serde_json::to_vec(&serde_json::json!({ "env": environment.variables() }));
    let text = text.map_err(Error::internal)?;
    let length = u32::try_from(text.len()).map_err(Error::internal)?;
    let mut stream = say(socket, START).await.map_err(lost)?;
    stream.write_u32(length).await.map_err(lost)?;
    stream.write_all(&text).await.map_err(lost)?;
    let answer = stream.read_u8().await.map_err(lost)?;
    if answer == DONE {
        return Ok(());
    }
    let mut reason = String::new();
    // Whatever can be read of it.
    let _ = stream.take(MAX_REASON).read_to_string(&mut reason).await;
    Err(Error::Upstream { outside: format!("the server could not be started: {reason}"), inside: reason })
}

/// Asks for an orderly end; returns when all is over.
pub(super) async fn stop(socket: &Path) -> io::Result<()> {
    until_over(say(socket, STOP).await?).await
}

/// Returns when all is over.
pub(super) async fn watch(socket: &Path) -> io::Result<()> {
    until_over(say(socket, WATCH).await?).await
}

async fn say(socket: &Path, first: u8) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_u8(first).await?;
    Ok(stream)
}

async fn until_over(mut stream: UnixStream) -> io::Result<()> {
    // Nothing is ever said: the end is that the connection closes, in whatever way.
    let _ = stream.read_u8().await;
    Ok(())
}
