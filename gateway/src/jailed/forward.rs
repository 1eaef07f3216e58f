//! Requests and websockets that go on to a server in a jail, whole and as they come, and what may come back from it.
//!
//! Such a server runs its user's code and answers from the Hub's own origin. It asks for credentials itself, as behind JupyterHub. What the
//! gateway adds is that nothing of it can work in the browser of somebody who may not enter ([`Visit::known`]), that it sets cookies for its
//! own addresses only, and that it does not see the gateway's own.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use carrel_spawnd::JailId;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::wire;
use crate::error::{Error, Foreign, Result};
use crate::guests::Stay;
use crate::http::Peer;
use crate::lifecycle::Lifecycle;
use crate::server::upgrade;

/// Idle connections kept per server, and for how long.
const IDLE: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(60);
/// The largest body in one request.
const LARGEST: usize = 1 << 30;

/// Headers that speak of one connection.
const HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];
/// What a server may say of itself, but not of the whole origin.
const OF_THE_ORIGIN: [&str; 4] =
    ["service-worker-allowed", "clear-site-data", "strict-transport-security", "alt-svc"];
/// For the browsers of those who may not enter: no script runs, nothing belongs to this origin.
const INERT: HeaderValue = HeaderValue::from_static("sandbox");

/// Somebody's visit at such a server.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The address below which the server answers, with both slashes.
    pub base: String,
    /// Whether the gateway knows that this caller may enter.
    pub known: bool,
    /// Whether browsers reach the gateway over HTTPS.
    pub https: bool,
    /// Cookies (name and value) that are the gateway's own.
    pub ours: Vec<String>,
}

/// Passes requests on. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    connector: Connector,
    client: Client<Connector, Body>,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forwarder")
    }
}

impl Default for Forwarder {
    fn default() -> Self {
        let connector = Connector::default();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(TokioTimer::new())
            .build(connector.clone());
        Self { connector, client }
    }
}

impl Forwarder {
    /// A server that runs.
    pub(super) fn know(&self, id: &JailId, socket: PathBuf) {
        self.connector.lock().insert(id.to_string(), socket);
    }

    /// It does not any more.
    pub(super) fn forget(&self, id: &JailId) {
        self.connector.lock().remove(id.as_str());
    }

    /// Whether it answers at this address; what it answers does not matter.
    pub async fn answers(&self, id: &JailId, path: &str) -> bool {
        let Ok(uri) = format!("http://{id}{path}").parse::<Uri>() else { return false };
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        self.client.request(request).await.is_ok_and(|answer| !answer.status().is_server_error())
    }

    /// Passes a request on, or a websocket, which ends with the stay.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn pass(
        &self,
        id: &JailId,
        visit: &Visit,
        lifecycle: &Lifecycle,
        stay: Stay,
        request: Request,
    ) -> Result<Response> {
        if crate::caller::is_websocket(request.headers()) {
            return self.websocket(id, visit, lifecycle, stay, request).await;
        }
        let mut onward = onward(id.as_str(), visit, request)?;
        let body = std::mem::take(onward.body_mut());
        *onward.body_mut() = Body::new(http_body_util::Limited::new(body, LARGEST));
        let answer = self.client.request(onward).await.map_err(|e| silent(&e))?;
        Ok(outside(answer, visit))
    }

    async fn websocket(
        &self,
        id: &JailId,
        visit: &Visit,
        lifecycle: &Lifecycle,
        stay: Stay,
        request: Request,
    ) -> Result<Response> {
        let stream = self.connector.connect(id.as_str()).await.map_err(|e| silent(&e))?;
        websocket(stream, id.as_str(), visit, lifecycle, stay, request, ()).await
    }
}

/// Passes a websocket on over a connection of its own. `kept` is dropped when the websocket is over.
///
/// # Errors
/// When the request is none, or the server does not answer.
pub async fn websocket<S>(
    stream: S,
    host: &str,
    visit: &Visit,
    lifecycle: &Lifecycle,
    stay: Stay,
    mut request: Request,
    kept: impl Send + 'static,
) -> Result<Response>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let browser = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Error::Malformed("Can \"Upgrade\" only to \"WebSocket\".".into()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| silent(&e))?;
    tokio::spawn(connection.with_upgrades());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut onward = onward(host, visit, request)?;
    *onward.uri_mut() = path.parse().map_err(|e| Error::Malformed(format!("address: {e}")))?;
    *onward.body_mut() = Body::empty();
    let headers = onward.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let mut answer = sender.send_request(onward).await.map_err(|e| silent(&e))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(outside(answer, visit));
    }
    let server = hyper::upgrade::on(&mut answer);
    let (mut parts, _) = answer.into_parts();
    parts.extensions = http::Extensions::new();
    upgrade::bridge(lifecycle, browser, server, stay, (sender, kept));
    Ok(Response::from_parts(parts, Body::empty()))
}

pub(crate) fn silent(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::upstream("the server did not answer; try again", error)
}

/// The request as the server gets it.
pub(crate) fn onward(host: &str, visit: &Visit, request: Request) -> Result<http::Request<Body>> {
    let forwarded = forwarded(visit, &request);
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri =
        format!("http://{host}{path}").parse().map_err(|e| Error::Malformed(format!("address: {e}")))?;
    parts.uri = uri;
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    parts.headers = inward(&parts.headers, visit);
    for (name, value) in forwarded {
        let value = HeaderValue::try_from(value).map_err(|e| Error::Malformed(format!("{name}: {e}")))?;
        parts.headers.insert(HeaderName::from_static(name), value);
    }
    Ok(http::Request::from_parts(parts, body))
}

/// What JupyterHub's proxy says of where a request came from. What an HTTPS proxy on this machine said of it is believed and kept.
fn forwarded(visit: &Visit, request: &Request) -> [(&'static str, String); 4] {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let near = peer.is_some_and(|ip| ip.is_loopback());
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let said = |name: &str| text(name).filter(|_| near).map(str::to_owned);
    let peer = peer.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
    let host = said("x-forwarded-host").or_else(|| text("host").map(str::to_owned)).unwrap_or_default();
    let scheme = if visit.https { "https" } else { "http" };
    let proto = said("x-forwarded-proto").unwrap_or_else(|| scheme.to_owned());
    let usual = if proto.starts_with("https") { "443" } else { "80" };
    let own = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
    let port = said("x-forwarded-port").unwrap_or_else(|| own.unwrap_or(usual).to_owned());
    let chain = said("x-forwarded-for").map_or_else(|| peer.clone(), |chain| format!("{chain}, {peer}"));
    [
        ("x-forwarded-for", chain),
        ("x-forwarded-host", host.clone()),
        ("x-forwarded-port", port),
        ("x-forwarded-proto", proto),
    ]
}

fn inward(headers: &HeaderMap, visit: &Visit) -> HeaderMap {
    let mut kept = without_hop(headers);
    let cookies: Vec<&str> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|pair| !pair.is_empty() && !visit.ours.iter().any(|ours| ours == pair))
        .collect();
    kept.remove(header::COOKIE);
    if let Some(value) = Some(cookies.join("; ")).filter(|all| !all.is_empty())
        && let Ok(value) = HeaderValue::try_from(value)
    {
        kept.insert(header::COOKIE, value);
    }
    kept
}

/// The answer as the browser gets it.
pub(crate) fn outside<B>(answer: http::Response<B>, visit: &Visit) -> Response
where
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let (mut parts, body) = answer.into_parts();
    parts.headers = outward(&parts.headers, visit);
    parts.extensions = http::Extensions::new();
    parts.extensions.insert(Foreign);
    Response::from_parts(parts, Body::new(body))
}

fn outward(headers: &HeaderMap, visit: &Visit) -> HeaderMap {
    let mut kept = without_hop(headers);
    for name in OF_THE_ORIGIN {
        kept.remove(name);
    }
    kept.remove(header::SET_COOKIE);
    for cookie in headers.get_all(header::SET_COOKIE) {
        if cookie.to_str().is_ok_and(|text| is_within(text, &visit.base)) {
            kept.append(header::SET_COOKIE, cookie.clone());
        }
    }
    if !visit.known {
        kept.append(header::CONTENT_SECURITY_POLICY, INERT);
    }
    kept
}

/// Whether a cookie is for addresses of this server only.
fn is_within(cookie: &str, base: &str) -> bool {
    let attributes = cookie.split(';').skip(1).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.trim().to_ascii_lowercase(), value.trim())
    });
    attributes.into_iter().all(|(name, value)| match name.as_str() {
        "domain" => false,
        "path" => value.starts_with(base) || value == base.trim_end_matches('/'),
        _ => true,
    })
}

fn without_hop(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let stays = |name: &HeaderName| {
        HOP.contains(name)
            || name.as_str() == "keep-alive"
            || named.iter().any(|named| named == name.as_str())
    };
    let through = headers.iter().filter(|(name, _)| !stays(name));
    let mut kept = HeaderMap::new();
    for (name, value) in through {
        kept.append(name.clone(), value.clone());
    }
    kept
}

/// Finds a jail's socket by the host of an address.
#[derive(Clone, Default)]
struct Connector {
    sockets: Arc<Mutex<HashMap<String, PathBuf>>>,
}

impl Connector {
    async fn connect(&self, id: &str) -> io::Result<UnixStream> {
        let socket = self.lock().get(id).cloned();
        let socket =
            socket.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{id} is not running")))?;
        wire::connect(&socket).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, PathBuf>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri.host().unwrap_or("")).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests;
