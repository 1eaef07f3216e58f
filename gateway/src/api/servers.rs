//! Servers of a user: model, start, stop, named ones.

use super::body;
use super::models::{self, Sandbox};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::{Error, Result};
use crate::servers::Change;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::{ServerName, Target, UserName};
use carrel_store::{Server, User};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest display name.
const MAX_DISPLAY: usize = 200;

/// `{user}` and, for named servers, `{server}` of an address.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    user: String,
    #[serde(default)]
    server: String,
}

/// `GET /users/{u}/server`, `/users/{u}/servers/{s}`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<Json<Value>> {
    let (user, name) = find(&app, &caller, &address, "read:servers").await?;
    let row = row(&app, &user, &name).await?;
    Ok(model(&app, &caller, &user, &row).await)
}

/// `POST` of the same: starts it.
pub(super) async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<Response> {
    let (user, name) = find(&app, &caller, &address, "start:servers").await?;
    let fields = body::object(body).await?;
    // a body without our two words is the options themselves, as old clients send them
    let change = if fields.is_empty() {
        Change::default()
    } else if fields.contains_key("user_options") || fields.contains_key("display_name") {
        change_of(&fields, &["user_options", "display_name"])?
    } else {
        Change { display_name: None, options: Some(fields) }
    };
    check_limit(&app, &user, &name).await?;
    app.servers.start(&user, &name, change).await?;
    let ready = app.servers.state(user.id, &name).is_ready();
    Ok(if ready { StatusCode::CREATED } else { StatusCode::ACCEPTED }.into_response())
}

/// `PUT /users/{u}/servers/{s}`: makes a named server without starting it.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<Response> {
    let (user, name) = find(&app, &caller, &address, "start:servers").await?;
    let change = change_of(&body::object(body).await?, &["user_options", "display_name"])?;
    if app.servers.exists(user.id, &name) {
        return Err(Error::Conflict(format!("{}'s server {name} exists already", user.name)));
    }
    check_limit(&app, &user, &name).await?;
    let row = change.row(user.id, &name, app.clock.now());
    app.servers.define(row.clone()).await?;
    Ok((StatusCode::CREATED, model(&app, &caller, &user, &row).await).into_response())
}

/// `PATCH` of the same: changes a stopped server.
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<Json<Value>> {
    let (user, name) = find(&app, &caller, &address, "start:servers").await?;
    let fields = body::object(body).await?;
    let change = change_of(&fields, &["user_options", "display_name", "name"])?;
    let mut row = row(&app, &user, &name).await?;
    if app.servers.state(user.id, &name).is_active() {
        return Err(Error::Malformed(format!("{}'s server {name:?} is running; stop it first", user.name)));
    }
    let new_name = body::text(&fields, "name")?.filter(|n| *n != name.as_str());
    let new_name =
        new_name.map(|n| ServerName::parse(&n).map_err(|e| Error::Malformed(e.to_string()))).transpose()?;
    if let Some(new) = &new_name {
        if name.is_default() || new.is_default() {
            return Err(Error::Malformed("the default server has no name to change".into()));
        }
        caller.require("start:servers", Target::Server(user.name.as_str(), new.as_str()))?;
        if app.servers.exists(user.id, new) {
            return Err(Error::Conflict(format!("{}'s server {new} exists already", user.name)));
        }
    }
    change.apply(&mut row);
    app.servers.define(row.clone()).await?;
    if let Some(new) = new_name {
        app.servers.rename(&user, &name, &new).await?;
        row.name = new;
    }
    Ok(model(&app, &caller, &user, &row).await)
}

/// `DELETE` of the same: stops it, and with `remove: true` forgets it.
pub(super) async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<StatusCode> {
    let (user, name) = find(&app, &caller, &address, "delete:servers").await?;
    let fields = body::object(body).await?;
    let remove = body::boolean(&fields, "remove")?.unwrap_or(false);
    if remove && name.is_default() {
        return Err(Error::Malformed("the default server cannot be removed".into()));
    }
    let row = row(&app, &user, &name).await?;
    match app.servers.state(user.id, &row.name).pending() {
        Some("stop") => return Ok(StatusCode::ACCEPTED),
        Some(_) => return Err(Error::Malformed(format!("{}'s server {name:?} is pending start", user.name))),
        None => {}
    }
    if app.servers.state(user.id, &row.name).is_ready() {
        app.servers.stop(&user, &row.name).await?;
    }
    if remove {
        app.servers.remove(&user, &row.name).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a new named server beyond the limit.
pub(crate) async fn check_limit(app: &App, user: &User, name: &ServerName) -> Result<()> {
    if name.is_default() || app.servers.exists(user.id, name) {
        return Ok(());
    }
    let (id, limit) = (user.id, app.config.hub.named_servers);
    if limit == 0 {
        return Err(Error::Malformed("Named servers are not enabled.".into()));
    }
    let rows = app.store.call(move |s| s.servers_of(id)).await?;
    let named = rows.iter().filter(|r| !r.name.is_default()).count();
    if u32::try_from(named).unwrap_or(u32::MAX) >= limit {
        return Err(Error::Malformed(format!(
            "User {} already has the maximum of {limit} named servers. One must be deleted before a new server can be created",
            user.name
        )));
    }
    Ok(())
}

/// The user and server of an address, if the caller holds `scope` on it.
pub(super) async fn find(
    app: &App,
    caller: &Caller,
    address: &Address,
    scope: &str,
) -> Result<(User, ServerName)> {
    let parsed = UserName::parse(&address.user);
    let user = parsed.as_ref().map_or(address.user.as_str(), UserName::as_str);
    let target = Target::Server(user, &address.server);
    caller.require(scope, target)?;
    let server = ServerName::parse(&address.server).map_err(|e| Error::Malformed(e.to_string()))?;
    let user = match parsed.clone() {
        Ok(wanted) => app.store.call(move |s| s.user(&wanted)).await?,
        Err(_) => None,
    };
    Ok((user.ok_or_else(|| caller::not_found(target))?, server))
}

/// A server's row. The default server is always there, even before its first start.
pub(super) async fn row(app: &App, user: &User, name: &ServerName) -> Result<Server> {
    let (id, wanted) = (user.id, name.clone());
    match app.store.call(move |s| s.server(id, &wanted)).await? {
        Some(row) => Ok(row),
        None if name.is_default() => Ok(Change::default().row(user.id, name, user.created)),
        None => Err(caller::not_found(Target::Server(user.name.as_str(), name.as_str()))),
    }
}

async fn model(app: &App, caller: &Caller, user: &User, row: &Server) -> Json<Value> {
    let sandbox = Sandbox::look(app, caller).await;
    Json(Value::Object(models::server(app, caller, user, row, &sandbox)))
}

fn change_of(fields: &Map<String, Value>, known: &[&str]) -> Result<Change> {
    body::only(fields, known)?;
    let display_name = body::text(fields, "display_name")?;
    if display_name.as_ref().is_some_and(|n| n.chars().count() > MAX_DISPLAY) {
        return Err(Error::Malformed(format!("display_name is longer than {MAX_DISPLAY} characters")));
    }
    Ok(Change { display_name, options: body::map(fields, "user_options")? })
}
