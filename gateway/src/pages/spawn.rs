//! Starting servers from the browser, and what is shown for a server that does not run.

use super::form::Form;
use super::{Args, encode, entry, form_token, frame, html, redirect, safe_next, set_form_token, spawn_path};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::cookies;
use crate::error::{Error, Result};
use crate::jailed::classic;
use crate::servers::Change;
use crate::user::is_api;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::{ServerName, ServerState, Target, UserName};
use carrel_store::User;
use carrel_web::pages::{self, NotRunningPage, SpawnPage};
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// `/hub/spawn`: the caller's default server.
pub(super) async fn own(
    State(app): State<App>,
    caller: Caller,
    Query(args): Args,
    headers: HeaderMap,
) -> Result<Response> {
    let name = caller.signed_in()?.name.to_string();
    start(&app, &caller, &name, "", args.get("next").map(String::as_str), &headers).await
}

/// `/hub/spawn/{user}`
pub(super) async fn default_server(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<String>,
    Query(args): Args,
    headers: HeaderMap,
) -> Result<Response> {
    start(&app, &caller, &user, "", args.get("next").map(String::as_str), &headers).await
}

/// `/hub/spawn/{user}/{server}`
pub(super) async fn named_server(
    State(app): State<App>,
    caller: Caller,
    Path((user, server)): Path<(String, String)>,
    Query(args): Args,
    headers: HeaderMap,
) -> Result<Response> {
    start(&app, &caller, &user, &server, args.get("next").map(String::as_str), &headers).await
}

/// `/hub/spawn-pending/{user}`
pub(super) async fn pending_default(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<String>,
    Query(args): Args,
) -> Result<Response> {
    pending(&app, &caller, &user, "", args.get("next").map(String::as_str)).await
}

/// `/hub/spawn-pending/{user}/{server}`
pub(super) async fn pending_named(
    State(app): State<App>,
    caller: Caller,
    Path((user, server)): Path<(String, String)>,
    Query(args): Args,
) -> Result<Response> {
    pending(&app, &caller, &user, &server, args.get("next").map(String::as_str)).await
}

/// `POST /hub/spawn/{user}`: the answer to the question which of the two.
pub(super) async fn choose_default(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<String>,
    Query(args): Args,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    choose(&app, &caller, (&user, ""), args.get("next").map(String::as_str), &headers, body).await
}

/// `POST /hub/spawn/{user}/{server}`
pub(super) async fn choose_named(
    State(app): State<App>,
    caller: Caller,
    Path((user, server)): Path<(String, String)>,
    Query(args): Args,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    choose(&app, &caller, (&user, &server), args.get("next").map(String::as_str), &headers, body).await
}

async fn choose(
    app: &App,
    caller: &Caller,
    (user, server): (&str, &str),
    next: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    let form = Form::of_caller(app, caller, headers, body).await?;
    let (user, server) = find(app, caller, user, server, "start:servers").await?;
    let mut options = last_options(app, &user, &server).await?;
    options.insert(classic::OPTION.to_owned(), form.get("profile").into());
    if !classic::is_wanted(&options)? {
        options.remove(classic::OPTION);
    }
    let change = Change { display_name: None, options: Some(options) };
    go(app, caller, &user, &server, next, change).await
}

async fn start(
    app: &App,
    caller: &Caller,
    user: &str,
    server: &str,
    next: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response> {
    let (user, server) = find(app, caller, user, server, "start:servers").await?;
    if app.servers.state(user.id, &server) == ServerState::Stopped && app.classic.allows(&user).await? {
        let last = last_options(app, &user, &server).await?;
        let action = spawn_path(user.name.as_str(), server.as_str(), next.unwrap_or(""));
        let (xsrf, fresh) = form_token(app, headers, caller.login_id());
        let page = pages::spawn(&SpawnPage {
            frame: frame(caller),
            xsrf: &xsrf,
            action: &action,
            user: user.name.as_str(),
            server: server.as_str(),
            classic: classic::is_wanted(&last).unwrap_or(false),
        });
        let mut response = html(StatusCode::OK, page);
        set_form_token(app, &mut response, fresh.as_deref());
        return Ok(response);
    }
    go(app, caller, &user, &server, next, Change::default()).await
}

async fn last_options(app: &App, user: &User, server: &ServerName) -> Result<Map<String, Value>> {
    let (id, name) = (user.id, server.clone());
    Ok(app.store.call(move |s| s.server(id, &name)).await?.map(|row| row.options).unwrap_or_default())
}

/// Starts it, if need be, and leads there or to the page that waits for it.
async fn go(
    app: &App,
    caller: &Caller,
    user: &User,
    server: &ServerName,
    next: Option<&str>,
    change: Change,
) -> Result<Response> {
    let path = server_path(&user.name, server);
    let to = next.and_then(safe_next).filter(|n| n.starts_with(&path)).unwrap_or_else(|| path.clone());
    if app.servers.state(user.id, server) == ServerState::Stopped {
        crate::api::servers::check_limit(app, user, server).await?;
        app.servers.start(user, server, change).await?;
    }
    if app.servers.state(user.id, server).is_ready() {
        return Ok(entry::to_server(app, caller, user, &to));
    }
    Ok(redirect(&pending_path(user, server, &to)))
}

/// Where a browser waits for a server, to go on to `to`.
fn pending_path(user: &User, server: &ServerName, to: &str) -> String {
    let path = server_path(&user.name, server);
    let path = path.trim_start_matches("/user").trim_end_matches('/');
    format!("/hub/spawn-pending{path}?next={}", encode(to))
}

async fn pending(
    app: &App,
    caller: &Caller,
    user: &str,
    server: &str,
    next: Option<&str>,
) -> Result<Response> {
    let (user, server) = find(app, caller, user, server, "read:servers").await?;
    let path = server_path(&user.name, &server);
    match app.servers.state(user.id, &server) {
        ServerState::Ready { .. } => {
            let to = next.and_then(safe_next).filter(|n| n.starts_with(&path)).unwrap_or(path);
            Ok(entry::to_server(app, caller, &user, &to))
        }
        ServerState::Starting { .. } | ServerState::Stopping { .. } => {
            Ok(html(StatusCode::OK, pages::spawn_pending(&frame(caller), &path)))
        }
        ServerState::Stopped => Ok(not_running_page(app, caller, &user, &server, &path)),
    }
}

/// `/hub/user/{user}/…`: says that the server does not run. Looking never starts anything.
pub(super) async fn not_running(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let here = uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let api = is_api(uri.path(), &request);
    let id = crate::telemetry::RequestId::of(request.extensions());
    let answer = stopped(&app, &here, api, request).await.unwrap_or_else(IntoResponse::into_response);
    let shape = if api { crate::error::Shape::Jupyter } else { crate::error::Shape::Page };
    crate::error::write(shape, &id, &here, answer)
}

async fn stopped(app: &App, here: &str, api: bool, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    // unlike a page, a program may show a token here
    let caller = if api { caller::of_api(app, &parts).await? } else { caller::of_page(app, &parts).await? };
    caller.signed_in()?;
    let after = here.strip_prefix("/hub/user/").unwrap_or("").split('?').next().unwrap_or("");
    let mut segments = after.split('/');
    let user = percent_decode_str(segments.next().unwrap_or("")).decode_utf8_lossy().into_owned();
    let first = segments.next().unwrap_or("").to_owned();
    let name = UserName::parse(&user).map_err(|_| caller::not_found(Target::User(&user)))?;
    let wanted = name.clone();
    let found = app.store.call(move |s| s.user(&wanted)).await?;
    let server = match (&found, ServerName::parse(&first)) {
        (Some(u), Ok(s)) if !s.is_default() && app.servers.exists(u.id, &s) => s,
        _ => ServerName::default_server(),
    };
    let target = Target::Server(name.as_str(), server.as_str());
    if !caller.has("access:servers", target) {
        return Err(caller::not_found(target));
    }
    let Some(user) = found else { return Err(caller::not_found(target)) };
    let there = here.strip_prefix("/hub").unwrap_or(here);
    let state = app.servers.state(user.id, &server);
    if state.is_ready() && !api {
        return Ok(entry::to_server(app, &caller, &user, there));
    }
    if matches!(state, ServerState::Starting { .. }) && !api {
        return Ok(redirect(&pending_path(&user, &server, there)));
    }
    if api {
        return Err(Error::NotRunning { user: user.name.to_string(), server: server.to_string() });
    }
    Ok(not_running_page(app, &caller, &user, &server, there))
}

fn not_running_page(app: &App, caller: &Caller, user: &User, server: &ServerName, there: &str) -> Response {
    let name = user.name.as_str();
    let may_start = caller.has("start:servers", Target::Server(name, server.as_str()));
    let start = may_start.then(|| spawn_path(name, server.as_str(), there));
    let why = app.servers.failure(user.id, server);
    let page = NotRunningPage {
        frame: frame(caller),
        user: name,
        server: server.as_str(),
        start: start.as_deref(),
        why: why.as_deref(),
    };
    html(StatusCode::FAILED_DEPENDENCY, pages::not_running(&page))
}

/// The user and server of an address, if the caller holds `scope` on it.
async fn find(
    app: &App,
    caller: &Caller,
    user: &str,
    server: &str,
    scope: &str,
) -> Result<(User, ServerName)> {
    caller.signed_in()?;
    let server = ServerName::parse(server).map_err(|e| Error::Malformed(e.to_string()))?;
    let name = UserName::parse(user).map_err(|_| caller::not_found(Target::User(user)))?;
    let target = Target::Server(name.as_str(), server.as_str());
    caller.require(scope, target)?;
    let wanted = name.clone();
    let found = app.store.call(move |s| s.user(&wanted)).await?;
    found.map(|u| (u, server.clone())).ok_or_else(|| caller::not_found(target))
}

/// The address of a server.
pub(super) fn server_path(user: &UserName, server: &ServerName) -> String {
    let base = cookies::user_path(user);
    if server.is_default() { base } else { format!("{base}{server}/") }
}
