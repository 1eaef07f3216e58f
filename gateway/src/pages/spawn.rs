//! Starting servers from the browser, and what is shown for a server that does not run.

use super::{Args, entry, frame, html, redirect, safe_next, spawn_path};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::cookies;
use crate::error::{Error, Result};
use crate::servers::Change;
use crate::user::is_api;
use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::{ServerName, ServerState, Target, UserName};
use carrel_store::User;
use carrel_web::pages::{self, NotRunningPage};
use http::StatusCode;
use percent_encoding::percent_decode_str;

/// `/hub/spawn`: the caller's default server.
pub(super) async fn own(State(app): State<App>, caller: Caller, Query(args): Args) -> Result<Response> {
    let name = caller.signed_in()?.name.to_string();
    start(&app, &caller, &name, "", args.get("next").map(String::as_str)).await
}

/// `/hub/spawn/{user}`
pub(super) async fn default_server(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<String>,
    Query(args): Args,
) -> Result<Response> {
    start(&app, &caller, &user, "", args.get("next").map(String::as_str)).await
}

/// `/hub/spawn/{user}/{server}`
pub(super) async fn named_server(
    State(app): State<App>,
    caller: Caller,
    Path((user, server)): Path<(String, String)>,
    Query(args): Args,
) -> Result<Response> {
    start(&app, &caller, &user, &server, args.get("next").map(String::as_str)).await
}

/// `/hub/spawn-pending/{user}`
pub(super) async fn pending_default(
    State(app): State<App>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Response> {
    pending(&app, &caller, &user, "").await
}

/// `/hub/spawn-pending/{user}/{server}`
pub(super) async fn pending_named(
    State(app): State<App>,
    caller: Caller,
    Path((user, server)): Path<(String, String)>,
) -> Result<Response> {
    pending(&app, &caller, &user, &server).await
}

async fn start(app: &App, caller: &Caller, user: &str, server: &str, next: Option<&str>) -> Result<Response> {
    let (user, server) = find(app, caller, user, server, "start:servers").await?;
    let path = server_path(&user.name, &server);
    let to = next.and_then(safe_next).filter(|n| n.starts_with(&path)).unwrap_or_else(|| path.clone());
    match app.servers.state(user.id, &server) {
        ServerState::Ready { .. } => {}
        ServerState::Starting { .. } | ServerState::Stopping { .. } => {
            return Ok(redirect(&format!(
                "/hub/spawn-pending{}",
                path.trim_start_matches("/user").trim_end_matches('/')
            )));
        }
        ServerState::Stopped => {
            crate::api::servers::check_limit(app, &user, &server).await?;
            app.servers.start(&user, &server, Change::default()).await?;
        }
    }
    Ok(entry::to_server(app, caller, &user.name, &to))
}

async fn pending(app: &App, caller: &Caller, user: &str, server: &str) -> Result<Response> {
    let (user, server) = find(app, caller, user, server, "read:servers").await?;
    let path = server_path(&user.name, &server);
    match app.servers.state(user.id, &server) {
        ServerState::Ready { .. } => Ok(entry::to_server(app, caller, &user.name, &path)),
        ServerState::Starting { .. } | ServerState::Stopping { .. } => {
            Ok(html(StatusCode::OK, pages::spawn_pending(&frame(caller), &path)))
        }
        ServerState::Stopped => Ok(not_running_page(caller, &user.name, &server, &path)),
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
    if app.servers.state(user.id, &server).is_ready() && !api {
        return Ok(entry::to_server(app, &caller, &user.name, there));
    }
    if api {
        return Err(Error::NotRunning { user: user.name.to_string(), server: server.to_string() });
    }
    Ok(not_running_page(&caller, &user.name, &server, there))
}

fn not_running_page(caller: &Caller, user: &UserName, server: &ServerName, there: &str) -> Response {
    let start = spawn_path(user.as_str(), server.as_str(), there);
    let page =
        NotRunningPage { frame: frame(caller), user: user.as_str(), server: server.as_str(), start: &start };
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
