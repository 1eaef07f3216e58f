//! The whole service as one router: route groups with their layers, and what every request gets.
//!
//! Every request gets an id, a line in the log, a place in the metrics, a guard against panics and a few headers. Every group has its
//! caller (see [`crate::caller`]) and its shape of errors (see [`crate::error`]).

use crate::api;
use crate::app::App;
use crate::caller;
use crate::error::{Error, Shape, shape};
use crate::pages;
use crate::telemetry::RequestId;
use crate::user;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, header};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// The JupyterHub whose API we speak. Clients compare it.
pub const HUB_VERSION: &str = "6.1.1";

/// Where a request came from; put into every request by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The service. `inside` is what lies below a user's server, without prefix; `assets` are files that all users share, open to anybody.
pub fn router(app: &App, inside: Router<App>, assets: Router<App>) -> Router {
    let hub_api = hub_api(app);
    let pages = pages::routes().router.layer(from_fn_with_state(app.clone(), page_caller));
    let pages = pages.layer(from_fn(|r, n| shape(Shape::Page, r, n)));
    let missing = Router::new()
        .fallback(async || Error::NotFound("there is no such page".into()))
        .layer(from_fn(|r, n| shape(Shape::Page, r, n)));
    Router::new()
        .merge(hub_api)
        .merge(pages)
        .merge(assets.layer(from_fn(|r, n| shape(Shape::Page, r, n))))
        .merge(user::router(inside, app))
        .fallback_service(missing)
        .layer(from_fn_with_state(app.clone(), outermost))
        .with_state(app.clone())
}

/// The Hub's API and nothing else: what servers in jails may reach.
pub fn hub_alone(app: &App) -> Router {
    let missing = Router::new()
        .fallback(async || Error::NotFound("only the Hub's API is here".into()))
        .layer(from_fn(|r, n| shape(Shape::Hub, r, n)));
    Router::new()
        .merge(hub_api(app))
        .fallback_service(missing)
        .layer(from_fn_with_state(app.clone(), outermost))
        .with_state(app.clone())
}

fn hub_api(app: &App) -> Router<App> {
    let hub_api = api::routes().router.layer(from_fn_with_state(app.clone(), api_caller));
    let hub_api = hub_api.merge(api::open_routes().router).layer(from_fn(api_headers));
    hub_api.layer(from_fn(|r, n| shape(Shape::Hub, r, n)))
}

/// A router that knows its routes, so that a test can demand a line in the permission table for each.
#[derive(Debug, Default)]
pub struct Routes {
    /// The router itself.
    pub router: Router<App>,
    /// Method and path of every route.
    pub rows: Vec<(Method, &'static str)>,
}

impl Routes {
    /// Adds a route.
    pub fn on<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        if let Ok(filter) = MethodFilter::try_from(method.clone()) {
            self.router = self.router.route(path, on(filter, handler));
            self.rows.push((method, path));
        }
        self
    }
}

/// Id, log, metrics, panics, headers.
async fn outermost(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = RequestId::fresh();
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let hub = path.starts_with("/hub");
    let changes = hub && (!method.is_safe() || path == "/hub/logout") && !path.ends_with("/activity");
    let guarded = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = guarded.unwrap_or_else(|_| {
        let shape = if path.starts_with("/hub/api") { Shape::Hub } else { Shape::Jupyter };
        crate::error::write(
            shape,
            &id,
            &path,
            Error::internal(format!("panic in {method} {path}")).into_response(),
        )
    });
    let took = begun.elapsed();
    let status = response.status();
    if changes && (status.is_success() || status.is_redirection()) {
        app.guests.look_again();
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert("x-request-id", value);
    }
    if hub {
        headers.insert("x-jupyterhub-version", HeaderValue::from_static(HUB_VERSION));
    }
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "same-origin")] {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    let code = status.as_str().to_owned();
    app.metrics.observe(
        "jupyterhub_request_duration_seconds",
        "Request duration for all HTTP requests",
        &[("method", method.as_str()), ("handler", &route), ("code", &code)],
        took,
    );
    let user = response.extensions().get::<Who>().map_or("", |w| w.0.as_str());
    let took_us = took.as_micros();
    if status.is_server_error() {
        tracing::warn!(request.id = %id, http.method = %method, http.path = %path, http.status = status.as_u16(), user.name = user, took_us, "answered");
    } else if path.contains("/static/") || path.ends_with("/health") {
        tracing::debug!(request.id = %id, http.method = %method, http.path = %path, http.status = status.as_u16(), user.name = user, took_us, "answered");
    } else {
        tracing::info!(request.id = %id, http.method = %method, http.path = %path, http.status = status.as_u16(), user.name = user, took_us, "answered");
    }
    response
}

/// The caller's name, carried out to the log line.
#[derive(Debug, Clone)]
pub struct Who(pub String);

async fn api_caller(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match caller::of_api(&app, &parts).await {
        Ok(caller) => with_caller(caller, Request::from_parts(parts, body), next).await,
        Err(e) => e.into_response(),
    }
}

async fn page_caller(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match caller::of_page(&app, &parts).await {
        Ok(caller) => with_caller(caller, Request::from_parts(parts, body), next).await,
        Err(e) => e.into_response(),
    }
}

async fn with_caller(caller: caller::Caller, mut request: Request, next: Next) -> Response {
    let who = caller.name().map(Who);
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    if let Some(who) = who {
        response.extensions_mut().insert(who);
    }
    response
}

async fn api_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "frame-ancestors 'none'; report-uri /hub/security/csp-report; default-src 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The address that a request came from, for the throttle and the log. A proxy on this machine is believed.
pub fn peer_address(request: &Request) -> String {
    let peer = request.extensions().get::<Peer>().map(|p| p.0.ip());
    let forwarded = request.headers().get("x-forwarded-for").and_then(|v| v.to_str().ok());
    match (peer, forwarded) {
        (Some(ip), Some(chain)) if ip.is_loopback() => {
            let last = chain.rsplit(',').next().unwrap_or("").trim();
            last.parse::<std::net::IpAddr>().map_or_else(|_| ip.to_string(), |ip| ip.to_string())
        }
        (Some(ip), _) => ip.to_string(),
        (None, _) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests;
