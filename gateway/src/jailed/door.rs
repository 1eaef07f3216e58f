//! The Hub's API for what runs in one jail, on the socket that only this jail can reach.
//!
//! Who speaks is known by the socket, whatever a request says. Credentials are needed as from everywhere else; cookies are not taken, and
//! nothing but the API is there. Bounded are connections and how long a head may take.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use carrel_spawnd::JailId;
use http::{HeaderMap, HeaderName, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sha2::{Digest, Sha256};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;

use crate::http::Peer;

/// Connections of one jail at once; more wait.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers that say where a request comes from, which is known better here.
const UNTRUE: [HeaderName; 2] = [header::COOKIE, header::FORWARDED];

/// An address that stands for a jail where others have one (throttle, log): of a range that no packet ever comes from (RFC 6666), so that
/// nobody is believed for being near, and one jail's wrong passwords do not lock others out.
#[must_use]
pub fn address_of(id: &JailId) -> IpAddr {
    let digest = Sha256::digest(id.as_str().as_bytes());
    let mut parts = [0x100, 0, 0, 0, 0, 0, 0, 0];
    for (part, pair) in parts.iter_mut().skip(4).zip(digest.chunks_exact(2)) {
        *part = pair.iter().fold(0u16, |all, byte| (all << 8) | u16::from(*byte));
    }
    IpAddr::V6(Ipv6Addr::from(parts))
}

/// Serves until either token is cancelled.
///
/// # Errors
/// When the descriptor is no listening socket.
pub fn serve(
    hub: Router,
    listener: OwnedFd,
    address: IpAddr,
    speaker: Arc<str>,
    ends: [CancellationToken; 2],
) -> std::io::Result<()> {
    let listener = std::os::unix::net::UnixListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    tokio::spawn(async move {
        let [over, shutdown] = &ends;
        let turns = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let next = tokio::select! {
                next = listener.accept() => next,
                () = over.cancelled() => return,
                () = shutdown.cancelled() => return,
            };
            let Ok((stream, _)) = next else {
                // out of descriptors, usually
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (hub, over, shutdown, speaker) =
                (hub.clone(), over.clone(), shutdown.clone(), Arc::clone(&speaker));
            tokio::spawn(async move {
                tokio::select! {
                    () = one(hub, stream, address, speaker) => {}
                    () = over.cancelled() => {}
                    () = shutdown.cancelled() => {}
                }
                drop(turn);
            });
        }
    });
    Ok(())
}

async fn one(hub: Router, stream: UnixStream, address: IpAddr, speaker: Arc<str>) {
    let noted = MapRequestLayer::new(move |mut request: Request<Incoming>| {
        tracing::debug!(speaker = &*speaker, http.path = request.uri().path(), "from a jail");
        only_ours(request.headers_mut());
        request.extensions_mut().insert(Peer(SocketAddr::new(address, 0)));
        request.map(axum::body::Body::new)
    });
    let service = ServiceBuilder::new().layer(noted).service(hub);
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a jail's connection ended");
    }
}

fn only_ours(headers: &mut HeaderMap) {
    for name in &UNTRUE {
        headers.remove(name);
    }
    let forwarded: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in forwarded {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_jail_has_an_address_that_nobody_believes() {
        let of = |id: &str| address_of(&id.parse().unwrap());
        assert_ne!(of("c-1"), of("c-2"));
        assert_eq!(of("c-1"), of("c-1"));
        assert!(!of("c-1").is_loopback() && of("c-1").to_string().starts_with("100::"));
    }

    #[test]
    fn a_jail_cannot_say_that_it_is_somebody_else() {
        let mut headers = HeaderMap::new();
        for name in ["cookie", "x-forwarded-for", "x-forwarded-proto", "forwarded", "authorization", "accept"]
        {
            headers.insert(HeaderName::try_from(name).unwrap(), "x".parse().unwrap());
        }
        only_ours(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "authorization"]);
    }
}
