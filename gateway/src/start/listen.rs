//! The listener: bounded connections, each served until it is done or the program ends.

use super::Fatal;
use crate::app::App;
use crate::config::Config;
use crate::http::Peer;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;

/// A connection that does not finish its headers in this time is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the port, or says what is in the way.
pub fn bind(config: &Config) -> Result<StdListener, Fatal> {
    let address = SocketAddr::new(config.gateway.host, config.gateway.port);
    StdListener::bind(address).map_err(|e| {
        let hint = match e.kind() {
            std::io::ErrorKind::AddrInUse => "another program has it; set gateway.port in carrel.toml",
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a proxy in front; set gateway.port in carrel.toml"
            }
            _ => "set gateway.host and gateway.port in carrel.toml",
        };
        Fatal::unavailable(format!("cannot listen on {address}: {e}; {hint}"))
    })
}

/// The address for people.
pub fn url(listener: &StdListener, config: &Config) -> Result<String, Fatal> {
    let address = listener.local_addr().map_err(Fatal::internal)?;
    let scheme = if config.gateway.https { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

/// The listener inside the runtime.
pub fn into_async(listener: StdListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Takes connections until the program ends.
pub async fn accept(app: App, service: axum::Router, listener: TcpListener) {
    let turns = Arc::new(Semaphore::new(app.config.gateway.max_connections));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let next = tokio::select! {
            next = listener.accept() => next,
            () = app.lifecycle.token().cancelled() => return,
        };
        let (stream, peer) = match next {
            Ok(pair) => pair,
            Err(e) => {
                // out of descriptors, usually: wait a little instead of spinning
                tracing::warn!(error = %e, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, service) = (app.clone(), service.clone());
        app.clone().lifecycle.spawn(async move {
            serve(&app, service, stream, peer).await;
            drop(turn);
        });
    }
}

async fn serve(app: &App, service: axum::Router, stream: TcpStream, peer: SocketAddr) {
    // small answers must not wait for the peer's acknowledgement
    let _ = stream.set_nodelay(true);
    let noted = MapRequestLayer::new(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.map(axum::body::Body::new)
    });
    let service = ServiceBuilder::new().layer(noted).service(service);
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => log(done),
        () = app.lifecycle.token().cancelled() => {
            connection.as_mut().graceful_shutdown();
            log(connection.await);
        }
    }
}

fn log(done: hyper::Result<()>) {
    if let Err(e) = done {
        tracing::debug!(error = %e, "connection ended");
    }
}
