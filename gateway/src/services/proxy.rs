//! `/services/{name}/…`: requests and websockets go to the service's address as they come, path and host unchanged, as behind JupyterHub.
//!
//! Nobody is asked who they are here: a service has public pages if it wants, and lets people sign in by OAuth where it does not. It may
//! set cookies below its own addresses only. Every service has a bound of its own, so that a slow one does not hold all connections.

use super::upstream::Upstream;
use crate::app::App;
use crate::error::{Error, Result, chain};
use crate::guests::Stay;
use crate::jailed::forward::{self, Visit};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use carrel_hub::ServiceName;
use http::Method;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests and websockets of one service at once.
const AT_ONCE: usize = 256;
/// How long a service may take to accept a connection, and to begin its answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(600);
/// How long it may take to open a websocket.
const SHAKE: Duration = Duration::from_secs(60);
/// Idle connections kept per service, and for how long.
const IDLE: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(60);

/// Reaches services. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    client: Client<HttpConnector, Body>,
    turns: Arc<Mutex<HashMap<ServiceName, Arc<Semaphore>>>>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Services")
    }
}

impl Default for Services {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, turns: Arc::default() }
    }
}

impl Services {
    fn turn(&self, name: &ServiceName) -> Result<OwnedSemaphorePermit> {
        let mut all = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // those of services that nobody talks to any more need no place
        all.retain(|n, turns| n == name || turns.available_permits() < AT_ONCE);
        let turns = all.entry(name.clone()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
        let turn = Arc::clone(turns).try_acquire_owned();
        turn.map_err(|_| {
            Error::NotReady(format!("the service {name} has {AT_ONCE} requests to answer; try again"))
        })
    }
}

/// Everything below `/services/`.
pub async fn pass(State(app): State<App>, request: Request) -> Result<Response> {
    let after = request.uri().path().strip_prefix("/services/").unwrap_or("");
    let segment = after.split('/').next().unwrap_or("");
    let missing = || Error::NotFound(format!("there is no service {segment:?} with pages"));
    let name = ServiceName::parse(segment).map_err(|_| missing())?;
    let wanted = name.clone();
    let service = app.store.call(move |s| s.service(&wanted)).await?;
    let url = service.and_then(|s| s.url).ok_or_else(missing)?;
    let upstream = Upstream::parse(&url).map_err(Error::internal)?;
    if after == segment && matches!(*request.method(), Method::GET | Method::HEAD) {
        let query = request.uri().query().map_or_else(String::new, |q| format!("?{q}"));
        return Ok(crate::pages::redirect(&format!("{}{query}", name.prefix())));
    }
    let turn = app.services.turn(&name)?;
    let https = app.config.gateway.https;
    let visit = Visit { base: name.prefix(), known: true, https, ours: Vec::new() };
    if let Some(jail) = app.managed.jail_of(&name) {
        if app.jailed.find(jail).is_none() {
            return Err(silent(&name, "it does not run"));
        }
        return app.jailed.forwarder().pass(jail, &visit, &app.lifecycle, Stay::unlimited(), request).await;
    }
    let host = format!("{}:{}", upstream.host(), upstream.port());
    if crate::caller::is_websocket(request.headers()) {
        let stream = connect(&name, &upstream).await?;
        let opened =
            forward::websocket(stream, &host, &visit, &app.lifecycle, Stay::unlimited(), request, turn);
        let opened = tokio::time::timeout(SHAKE, opened).await;
        return opened.unwrap_or_else(|_| Err(silent(&name, "no answer to a websocket in time")));
    }
    let mut onward = forward::onward(&host, &visit, request)?;
    let largest = usize::try_from(app.config.gateway.max_body).unwrap_or(usize::MAX);
    let length = onward.headers().get(http::header::CONTENT_LENGTH).and_then(|l| l.to_str().ok());
    if length.and_then(|l| l.parse::<usize>().ok()).is_some_and(|l| l > largest) {
        return Err(Error::TooLarge(largest));
    }
    let body = std::mem::take(onward.body_mut());
    *onward.body_mut() = Body::new(http_body_util::Limited::new(body, largest));
    let answer = tokio::time::timeout(ANSWER, app.services.client.request(onward)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) if too_long(&e) => return Err(Error::TooLarge(largest)),
        Ok(Err(e)) => return Err(silent(&name, &chain(&e))),
        Err(_) => return Err(silent(&name, "no answer in time")),
    };
    // the turn is over when the answer is
    let answer = answer.map(|body| {
        body.map_frame(move |frame| {
            let _ = &turn;
            frame
        })
    });
    Ok(forward::outside(answer, &visit))
}

async fn connect(name: &ServiceName, upstream: &Upstream) -> Result<TcpStream> {
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(upstream.socket_address())).await;
    let stream = match stream {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(silent(name, &chain(&e))),
        Err(_) => return Err(silent(name, "no connection in time")),
    };
    // small frames must not wait for an acknowledgement
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A service that does not answer is not a fault of ours: it is said so, and its address is for the log.
fn silent(name: &ServiceName, why: &str) -> Error {
    tracing::warn!(service.name = %name, error = why, "a service does not answer");
    Error::NotReady(format!("the service {name} does not answer"))
}

fn too_long(e: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(e);
    while let Some(at) = cause {
        if at.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = at.source();
    }
    false
}
