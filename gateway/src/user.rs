//! The door to everything under `/user/{name}/`: which server is meant, whether it runs, and whether the caller may enter.
//!
//! [`enter`] is the only way in. It settles all of that, strips `/user/{name}` (and the server's name) from the address and hands the
//! request to [`crate::server::router`], whose handlers take [`UserServer`] as an extractor. They need no further check of access.

use crate::app::App;
use crate::caller::{self, Caller, Permit};
use crate::cookies;
use crate::error::{Error, Result, Shape};
use crate::guests::Stay;
use crate::http::Peer;
use crate::http::Who;
use crate::jailed::forward::Visit;
use crate::telemetry::RequestId;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::scope::Access;
use carrel_hub::{ServerName, Target, UserName};
use carrel_store::User;
use http::request::Parts;
use http::{Method, Uri};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use tower::ServiceExt;

/// The user's server that a request is for; the caller may enter it and it runs.
#[derive(Debug, Clone)]
pub struct UserServer {
    /// Whose server.
    pub user: Arc<User>,
    /// Which; the default one has the empty name.
    pub server: ServerName,
    /// Who asks (often the owner, sometimes an admin).
    pub caller: Caller,
    /// Proof that the caller may enter.
    pub permit: Permit,
    /// The server's base address with both slashes: `/user/ada/`.
    pub base: Arc<str>,
}

impl UserServer {
    /// The user's name as spawnd knows it.
    pub fn jail_user(&self) -> Result<carrel_spawnd::UserName> {
        jail_user(&self.user)
    }
}

/// A user's name as spawnd knows it.
pub fn jail_user(user: &User) -> Result<carrel_spawnd::UserName> {
    user.folder.parse().map_err(|e| Error::internal(format!("folder of user {}: {e}", user.name)))
}

impl FromRequestParts<App> for UserServer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| Error::internal(format!("no server behind {}", parts.uri.path())))
    }
}

/// Routes under `/user`. `inside` is the Jupyter Server API without prefix.
pub fn router(inside: Router<App>, app: &App) -> Router<App> {
    let inside = inside.with_state(app.clone());
    let door = move |State(app): State<App>, request: Request| {
        let inside = inside.clone();
        async move { enter(&app, inside, request).await }
    };
    Router::new().route("/user/{*rest}", axum::routing::any(door))
}

/// What the path after `/user/` means.
struct Address {
    user: UserName,
    server: ServerName,
    base: String,
    /// Begins with a slash.
    rest: String,
}

async fn enter(app: &App, inside: Router, request: Request) -> Response {
    let here = request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let id = RequestId::of(request.extensions());
    let raw = request.uri().path().to_owned();
    // decided before anything can fail, so that even failures have the right shape
    let wanted = if is_api(&raw, &request) { Shape::Jupyter } else { Shape::Page };
    let located = match address(app, &raw).await {
        Ok((Some(address), Some(user))) if whole(app, &user, &address) => {
            let done = pass(app, &user, &address, request).await;
            return crate::error::write(wanted, &id, &here, done.unwrap_or_else(IntoResponse::into_response));
        }
        Ok(located) => located,
        Err(e) => return crate::error::write(wanted, &id, &here, e.into_response()),
    };
    if request.method() == Method::OPTIONS {
        return crate::server::preflight().await;
    }
    let result = admit(app, located, request).await;
    let answer = match result {
        Ok(Admitted::Go(request)) => {
            let who = request.extensions().get::<Caller>().and_then(Caller::name).map(Who);
            match inside.oneshot(request).await {
                Ok(mut response) => {
                    if let Some(who) = who {
                        response.extensions_mut().insert(who);
                    }
                    response
                }
                Err(never) => match never {},
            }
        }
        Ok(Admitted::Elsewhere(to)) => to,
        Err(e) => e.into_response(),
    };
    crate::error::write(wanted, &id, &here, answer)
}

/// Whether this is a running classic server, which answers for itself.
fn whole(app: &App, user: &User, address: &Address) -> bool {
    app.servers.is_classic(user.id, &address.server) && app.servers.state(user.id, &address.server).is_ready()
}

/// Hands a request to a classic server, as it came.
async fn pass(app: &App, user: &User, address: &Address, request: Request) -> Result<Response> {
    let running = match app.classic.find(user, &address.server)? {
        Some(running) => running,
        None if !app.lifecycle.is_ready() => return Err(Error::NotReady("starting up, try again".into())),
        None => {
            return Err(Error::NotRunning {
                user: user.name.to_string(),
                server: address.server.to_string(),
            });
        }
    };
    let (parts, body) = request.into_parts();
    let caller = caller::of_classic(app, &parts, &address.user).await?;
    let request = Request::from_parts(parts, body);
    let known = caller.has("access:servers", Target::Server(address.user.as_str(), address.server.as_str()));
    if known {
        app.servers.touch(user.id, &address.server, app.clock.now());
    } else if caller.is_known() {
        // the server would believe for some minutes more what the Hub told it before
        let here = request.uri().path_and_query().map_or("/", |p| p.as_str());
        if caller.login_id().is_none() || is_api(request.uri().path(), &request) {
            return Err(Error::Forbidden("you may not use this server".into()));
        }
        // the cookie may be of an earlier login in this browser; the Hub knows who is there now
        return Ok(found(&format!("/hub/enter?next={}", cookies::segment(here))));
    }
    let stay = if caller::is_websocket(request.headers()) {
        Stay::begin(app, &caller, user, &address.server)
    } else {
        Stay::unlimited()
    };
    let visit = Visit {
        base: address.base.clone(),
        known,
        https: app.config.gateway.https,
        ours: our_cookies(app, request.headers(), &address.user),
    };
    let mut response =
        app.jailed.forwarder().pass(&running.id, &visit, &app.lifecycle, stay, request).await?;
    if let Some(user) = caller.user() {
        response.extensions_mut().insert(Who(user.name.to_string()));
    }
    Ok(response)
}

/// The cookies that we made for a user's pages: nothing for a server that runs the user's code.
fn our_cookies(app: &App, headers: &http::HeaderMap, user: &UserName) -> Vec<String> {
    let (door, own) = (cookies::DOOR, cookies::user_cookie_name(user));
    let made = |name: &str, value: &str| {
        name == door || (name == own && app.keys.read_user_cookie(value, user).is_some())
    };
    let pairs = headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let ours = pairs
        .map(str::trim)
        .filter(|pair| pair.split_once('=').is_some_and(|(name, value)| made(name, value.trim_matches('"'))));
    ours.map(str::to_owned).collect()
}

enum Admitted {
    Go(Request),
    Elsewhere(Response),
}

async fn admit(app: &App, located: (Option<Address>, Option<User>), request: Request) -> Result<Admitted> {
    let (mut parts, body) = request.into_parts();
    let api = is_api(parts.uri.path(), &parts);
    let (address, user) = located;
    let Some(address) = address else {
        // "/user/ada" without its slash
        let to = format!("{}/{}", parts.uri.path(), query(&parts.uri));
        return Ok(Admitted::Elsewhere(found(&to)));
    };
    let caller = caller::of_user_area(app, &parts, &address.user).await?;
    let target = Target::Server(address.user.as_str(), address.server.as_str());
    let state = match &user {
        Some(user) => app.servers.state(user.id, &address.server),
        None => carrel_hub::ServerState::Stopped,
    };
    let here = parts.uri.path_and_query().map_or("/", |p| p.as_str());

    // jupyter_server tells its version to anybody
    let open = parts.method == Method::GET && matches!(address.rest.as_str(), "/api" | "/api/");
    if !caller.is_known() && !open {
        if api {
            return Err(Error::Forbidden("Forbidden".into()));
        }
        // the Hub knows who this browser belongs to and sends it back with this user's cookie, or to the login page
        let to = if state.is_ready() {
            format!("/hub/enter?next={}", cookies::segment(here))
        } else {
            format!("/hub{here}")
        };
        return Ok(Admitted::Elsewhere(found(&to)));
    }
    if !open {
        let access = caller.scopes().access("access:servers", target, &|g, u| caller.member(g, u));
        if access != Access::Granted {
            // an existing neighbour's running server is 403 as in JupyterHub, everything else looks the same as missing
            return Err(match (&user, state.is_ready()) {
                (Some(_), true) => Error::Forbidden("you may not use this server".into()),
                _ => caller::not_found(target),
            });
        }
    }
    let Some(user) = user else { return Err(caller::not_found(target)) };
    if !state.is_ready() {
        if api {
            return Err(Error::NotRunning {
                user: user.name.to_string(),
                server: address.server.to_string(),
            });
        }
        return Ok(Admitted::Elsewhere(found(&format!("/hub{here}"))));
    }
    let permit = if open { None } else { Some(caller.require("access:servers", target)?) };
    app.servers.touch(user.id, &address.server, app.clock.now());

    let uri: Uri = format!("{}{}", address.rest, query(&parts.uri))
        .parse()
        .map_err(|e| Error::Malformed(format!("address: {e}")))?;
    // Fresh extensions: the outer route's path parameters must not count among those of the routes inside.
    let mut kept = http::Extensions::new();
    kept.insert(OriginalUri(std::mem::replace(&mut parts.uri, uri)));
    kept.insert(RequestId::of(&parts.extensions));
    kept.insert(caller.clone());
    if let Some(peer) = parts.extensions.remove::<Peer>() {
        kept.insert(peer);
    }
    if let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() {
        kept.insert(upgrade);
    }
    parts.extensions = kept;
    if let Some(permit) = permit {
        let base = address.base.into();
        parts.extensions.insert(UserServer {
            user: Arc::new(user),
            server: address.server,
            caller,
            permit,
            base,
        });
    }
    Ok(Admitted::Go(Request::from_parts(parts, body)))
}

/// Reads `/user/ada/…` and `/user/ada/gpu/…`; a named server is meant only if ada has one of that name. `None`: the slash is missing.
async fn address(app: &App, path: &str) -> Result<(Option<Address>, Option<User>)> {
    let after = path.strip_prefix("/user/").unwrap_or("");
    let Some((raw_user, rest)) = after.split_once('/') else { return Ok((None, None)) };
    let name =
        decode(raw_user).and_then(|u| UserName::parse(&u).map_err(|e| Error::NotFound(e.to_string())))?;
    let wanted = name.clone();
    let user = app.store.call(move |s| s.user(&wanted)).await?;
    let base = cookies::user_path(&name);
    let first = rest.split('/').next().unwrap_or("");
    if let (Ok(server), Some(owner)) = (ServerName::parse(first), &user)
        && !server.is_default()
        && app.servers.exists(owner.id, &server)
    {
        let Some(rest) = rest.get(first.len()..).filter(|r| r.starts_with('/')) else {
            return Ok((None, user));
        };
        let base = format!("{base}{server}/");
        return Ok((Some(Address { user: name, base, server, rest: rest.to_owned() }), user));
    }
    let address =
        Address { user: name, server: ServerName::default_server(), base, rest: format!("/{rest}") };
    Ok((Some(address), user))
}

fn decode(segment: &str) -> Result<String> {
    let text = percent_decode_str(segment).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| Error::Malformed("the address is not UTF-8".into()))
}

fn query(uri: &Uri) -> String {
    uri.query().map_or_else(String::new, |q| format!("?{q}"))
}

fn found(to: &str) -> Response {
    crate::pages::redirect(to)
}

/// Whether a program asks (and wants JSON) rather than a person who navigates.
pub fn is_api(path: &str, request: &impl Asked) -> bool {
    let headers = request.headers();
    let navigates = headers.get("sec-fetch-mode").is_some_and(|v| v.as_bytes() == b"navigate");
    let rest = path
        .strip_prefix("/hub")
        .unwrap_or(path)
        .strip_prefix("/user/")
        .and_then(|p| p.split_once('/'))
        .map_or("", |p| p.1);
    let api = rest == "api" || rest.starts_with("api/") || rest.contains("/api/");
    (api && !navigates)
        || caller::is_websocket(headers)
        || !matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Method and headers, of a whole request or of its parts.
pub trait Asked {
    /// The method.
    fn method(&self) -> &Method;
    /// The headers.
    fn headers(&self) -> &http::HeaderMap;
}

impl Asked for Request<Body> {
    fn method(&self) -> &Method {
        self.method()
    }
    fn headers(&self) -> &http::HeaderMap {
        self.headers()
    }
}

impl Asked for Parts {
    fn method(&self) -> &Method {
        &self.method
    }
    fn headers(&self) -> &http::HeaderMap {
        &self.headers
    }
}
