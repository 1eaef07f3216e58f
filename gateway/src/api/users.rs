//! Users: lists, models, creation, change, deletion, activity.

use super::models::{self, Sandbox};
use super::paging::Page;
use super::{body, models::Facts};
use crate::app::App;
use crate::caller::{self, Caller, Holder, Look, Via};
use crate::error::{Error, Result};
use crate::pages::Args;
use axum::Json;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::token::api_id;
use carrel_hub::{Secret, ServerName, Target, UserName};
use carrel_store::User;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

/// A clock that is further ahead than this is wrong.
const AHEAD: Duration = Duration::minutes(59);

/// `GET /user`
pub(super) async fn whoami(State(app): State<App>, caller: Caller) -> Result<Json<Value>> {
    let mut model = match caller.service() {
        Some(service) => models::service(&app, &caller, service),
        None => {
            let facts = models::facts(&app, caller.signed_in()?.clone()).await?;
            models::user(&app, &caller, &facts, &Sandbox::look(&app, &caller).await, false)
        }
    };
    let token = if let Via::Token(t) = caller.via() { json!(api_id(t.id)) } else { Value::Null };
    model.insert("token_id".into(), token);
    model.insert("session_id".into(), json!(caller.session_id()));
    model.insert("scopes".into(), json!(caller.scopes().to_strings()));
    Ok(Json(Value::Object(model)))
}

/// `GET /users`
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(args): Args,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response> {
    caller.require("list:users", Target::List)?;
    let page = Page::of(&args, &app.config.hub)?;
    let mut users = app.store.call(|s| s.users()).await?;
    users.retain(|u| caller.has("list:users", Target::User(u.name.as_str())));
    if let Some(part) = args.get("name_filter") {
        users.retain(|u| u.name.as_str().contains(part.as_str()));
    }
    if let Some(state) = args.get("state") {
        let states = states_by_user(&app).await?;
        let of = |u: &User| states.get(&u.id).copied().unwrap_or_default();
        match state.as_str() {
            "active" => users.retain(|u| of(u).active),
            "ready" => users.retain(|u| of(u).ready),
            "inactive" => users.retain(|u| !of(u).active),
            other => {
                return Err(Error::Malformed(format!(
                    "unknown state {other:?}; use active, ready or inactive"
                )));
            }
        }
    }
    sort(&mut users, args.get("sort").map_or("id", String::as_str))?;
    let total = users.len();
    let sandbox = Sandbox::look(&app, &caller).await;
    let stopped_too = flag(&args, "include_stopped_servers");
    let mut items = Vec::new();
    for user in users.into_iter().skip(page.offset).take(page.limit) {
        let facts = models::facts(&app, user).await?;
        items.push(Value::Object(models::user(&app, &caller, &facts, &sandbox, stopped_too)));
    }
    Ok(page.answer(items, total, &headers, &uri))
}

#[derive(Debug, Clone, Copy, Default)]
struct States {
    active: bool,
    ready: bool,
}

async fn states_by_user(app: &App) -> Result<HashMap<i64, States>> {
    let mut out: HashMap<i64, States> = HashMap::new();
    for row in app.store.call(|s| s.servers()).await? {
        let state = app.servers.state(row.user_id, &row.name);
        let entry = out.entry(row.user_id).or_default();
        entry.active |= state.is_active();
        entry.ready |= state.is_ready();
    }
    Ok(out)
}

fn sort(users: &mut [User], by: &str) -> Result<()> {
    let (key, descending) = by.strip_prefix('-').map_or((by, false), |k| (k, true));
    match key {
        "id" => users.sort_by_key(|u| u.id),
        "name" => users.sort_by(|a, b| a.name.cmp(&b.name)),
        // whoever was never seen comes last when the latest come first
        "last_activity" => users.sort_by_key(|u| (Reverse(u.last_activity.is_none()), u.last_activity, u.id)),
        other => {
            return Err(Error::Malformed(format!("cannot sort by {other:?}; use id, name or last_activity")));
        }
    }
    if descending {
        users.reverse();
    }
    Ok(())
}

/// `POST /users`
pub(super) async fn create_many(State(app): State<App>, caller: Caller, body: Body) -> Result<Response> {
    caller.require("admin:users", Target::List)?;
    let fields = body::object(body).await?;
    body::only(&fields, &["usernames", "admin"])?;
    let names = body::texts(&fields, "usernames")?.filter(|n| !n.is_empty());
    let names =
        names.ok_or_else(|| Error::Malformed("usernames must be a list with at least one name".into()))?;
    if names.len() > 10_000 {
        return Err(Error::Malformed("at most 10000 users at once".into()));
    }
    let names: Vec<UserName> = names
        .iter()
        .map(|n| UserName::parse(n).map_err(|e| Error::Malformed(format!("invalid username {n:?}: {e}"))))
        .collect::<Result<_>>()?;
    let admin = may_make_admin(&caller, body::boolean(&fields, "admin")?)?;
    for name in &names {
        caller.require("admin:users", Target::User(name.as_str()))?;
    }
    let (all, now) = (names.clone(), app.clock.now());
    let made = app.store.call(move |s| s.add_users(&all, admin, now)).await?;
    if made.is_empty() {
        let names: Vec<&str> = names.iter().map(UserName::as_str).collect();
        return Err(Error::Conflict(format!("all of these users exist already: {}", names.join(", "))));
    }
    let mut out = Vec::new();
    for user in made {
        tracing::info!(user.name = %user.name, admin, "user created");
        let facts = Facts { user, groups: Vec::new(), servers: Vec::new() };
        out.push(Value::Object(models::user(&app, &caller, &facts, &Sandbox::default(), false)));
    }
    Ok((StatusCode::CREATED, Json(out)).into_response())
}

/// `GET /users/{u}`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(args): Args,
) -> Result<Json<Value>> {
    let scopes = [
        "read:users",
        "read:users:name",
        "read:users:groups",
        "read:users:activity",
        "read:servers",
        "read:roles:users",
    ];
    let user = find(&app, &caller, &name, &scopes).await?;
    let facts = models::facts(&app, user).await?;
    let sandbox = Sandbox::look(&app, &caller).await;
    let stopped_too = flag(&args, "include_stopped_servers");
    Ok(Json(Value::Object(models::user(&app, &caller, &facts, &sandbox, stopped_too))))
}

/// `POST /users/{u}`
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response> {
    caller.require("admin:users", Target::List)?;
    let name = UserName::parse(&name).map_err(|e| Error::Malformed(e.to_string()))?;
    caller.require("admin:users", Target::User(name.as_str()))?;
    let fields = body::object(body).await?;
    body::only(&fields, &["admin"])?;
    let admin = may_make_admin(&caller, body::boolean(&fields, "admin")?)?;
    let (wanted, now) = (name.clone(), app.clock.now());
    let made = app.store.call(move |s| s.add_users(&[wanted], admin, now)).await?;
    let Some(user) = made.into_iter().next() else {
        return Err(Error::Conflict(format!("User {name} already exists")));
    };
    tracing::info!(user.name = %user.name, admin, "user created");
    let facts = Facts { user, groups: Vec::new(), servers: Vec::new() };
    let model = models::user(&app, &caller, &facts, &Sandbox::default(), false);
    Ok((StatusCode::CREATED, Json(Value::Object(model))).into_response())
}

/// `PATCH /users/{u}`
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>> {
    let user = find(&app, &caller, &name, &["admin:users"]).await?;
    let fields = body::object(body).await?;
    body::only(&fields, &["name", "admin", "auth_state"])?;
    if body::map(&fields, "auth_state")?.is_some_and(|m| !m.is_empty()) {
        return Err(Error::Malformed("auth_state is not kept for local accounts".into()));
    }
    let admin = body::boolean(&fields, "admin")?;
    if admin == Some(true) && !user.admin {
        may_make_admin(&caller, admin)?;
    }
    let new_name = body::text(&fields, "name")?;
    let new_name =
        new_name.map(|n| UserName::parse(&n).map_err(|e| Error::Malformed(e.to_string()))).transpose()?;
    if let Some(new) = new_name.as_ref().filter(|n| **n != user.name) {
        let wanted = new.clone();
        if app.store.call(move |s| s.user(&wanted)).await?.is_some() {
            return Err(Error::Malformed(format!("User {new} already exists, username must be unique")));
        }
        let id = user.id;
        let servers = app.store.call(move |s| s.servers_of(id)).await?;
        if servers.iter().any(|s| app.servers.state(id, &s.name).is_active()) {
            return Err(Error::Malformed(format!(
                "stop the servers of {} before the name is changed",
                user.name
            )));
        }
    }
    let id = user.id;
    let changed = app
        .store
        .call(move |s| {
            s.change_user(id, new_name.as_ref(), admin)?;
            s.user_by_id(id)
        })
        .await?;
    let user = changed.ok_or_else(|| caller::not_found(Target::User(&name)))?;
    tracing::info!(user.name = %user.name, admin = user.admin, "user changed");
    let facts = models::facts(&app, user).await?;
    Ok(Json(Value::Object(models::user(&app, &caller, &facts, &Sandbox::look(&app, &caller).await, false))))
}

/// `DELETE /users/{u}`: stops everything of the user; the home folder stays for an administrator to keep or remove.
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let user = find(&app, &caller, &name, &["delete:users"]).await?;
    if caller.user().is_some_and(|me| me.id == user.id) {
        return Err(Error::Malformed("Cannot delete yourself!".into()));
    }
    app.servers.stop_all(&user).await?;
    app.kernels.stop_user(&user.name, None).await?;
    let id = user.id;
    app.store.call(move |s| s.delete_user(id)).await?;
    app.servers.forget_user(id);
    tracing::info!(user.name = %user.name, "user deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /users/{u}/activity`
pub(super) async fn activity(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode> {
    let user = find(&app, &caller, &name, &["users:activity"]).await?;
    let fields = match body::optional(body).await? {
        Some(Value::Object(map)) => map,
        _ => {
            return Err(Error::Malformed(
                "the body must be an object with last_activity, servers or both".into(),
            ));
        }
    };
    let now = app.clock.now();
    let of_user = body::text(&fields, "last_activity")?.map(|t| moment(&t, now)).transpose()?;
    let servers = body::map(&fields, "servers")?;
    if of_user.is_none() && servers.is_none() {
        return Err(Error::Malformed("last_activity or servers is missing".into()));
    }
    let mut touched: Vec<(ServerName, OffsetDateTime)> = Vec::new();
    for (server, value) in servers.unwrap_or_default() {
        let parsed =
            ServerName::parse(&server).ok().filter(|s| s.is_default() || app.servers.exists(user.id, s));
        let server =
            parsed.ok_or_else(|| Error::Malformed(format!("no such server: {}/{server}", user.name)))?;
        let empty = Map::new();
        let time = body::text(value.as_object().unwrap_or(&empty), "last_activity")?;
        let time = time.ok_or_else(|| Error::Malformed("every server needs last_activity".into()))?;
        touched.push((server, moment(&time, now)?));
    }
    let id = user.id;
    app.store
        .call(move |s| {
            if let Some(at) = of_user.into_iter().chain(touched.iter().map(|(_, t)| *t)).max() {
                s.touch_user(id, at)?;
            }
            touched.iter().try_for_each(|(name, at)| s.touch_server(id, name, *at))
        })
        .await?;
    Ok(StatusCode::OK)
}

/// `GET /authorizations/token/{token}`: whose token this is (kept for old clients).
pub(super) async fn of_token(
    State(app): State<App>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<Json<Value>> {
    if !caller.is_known() {
        return Err(Error::Unauthenticated);
    }
    let missing = || Error::NotFound("no such token".into());
    let hash = Secret::presented(&token).ok_or_else(missing)?.hash();
    let (now, look) = (app.clock.now(), Look::of_token(&app));
    let found = app
        .store
        .call(move |s| match s.token_by_hash(&hash, now)? {
            Some(t) => Holder::find(s, t.owner, look),
            None => Ok(None),
        })
        .await?;
    let user = match found.ok_or_else(missing)? {
        Holder::User(holder) => holder.user,
        Holder::Service(service) => {
            let mut model = models::service(&app, &caller, &service);
            model.insert("kind".into(), json!("service"));
            model.insert("name".into(), json!(service.name.as_str()));
            return Ok(Json(Value::Object(model)));
        }
    };
    let facts = models::facts(&app, user).await?;
    let mut model = models::user(&app, &caller, &facts, &Sandbox::default(), false);
    // whoever shows a token may know whose it is
    model.insert("kind".into(), json!("user"));
    model.insert("name".into(), json!(facts.user.name.as_str()));
    Ok(Json(Value::Object(model)))
}

/// The user of an address, if the caller holds any of `scopes` on them.
pub(super) async fn find(app: &App, caller: &Caller, name: &str, scopes: &[&str]) -> Result<User> {
    let parsed = UserName::parse(name);
    let target = Target::User(parsed.as_ref().map_or(name, UserName::as_str));
    caller.require_any(scopes, target)?;
    let found = match parsed.clone() {
        Ok(wanted) => app.store.call(move |s| s.user(&wanted)).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| caller::not_found(target))
}

/// Only an administrator makes administrators, whatever scopes a token has.
fn may_make_admin(caller: &Caller, wanted: Option<bool>) -> Result<bool> {
    match wanted {
        Some(true) if !caller.is_admin() => {
            Err(Error::Forbidden("only an administrator can make administrators".into()))
        }
        wanted => Ok(wanted.unwrap_or(false)),
    }
}

fn flag(args: &HashMap<String, String>, name: &str) -> bool {
    args.get(name).is_some_and(|v| !matches!(v.to_lowercase().as_str(), "0" | "false"))
}

/// A time as clients write it; without offset it is UTC.
fn moment(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime> {
    let bad = || Error::Malformed(format!("{text:?} is not a time such as 2026-01-31T12:00:00Z"));
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::PARSING))
        .or_else(|_| PrimitiveDateTime::parse(text, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc));
    let time = parsed.map_err(|_| bad())?.to_offset(time::UtcOffset::UTC);
    if time > now + AHEAD {
        return Err(Error::Malformed(format!("{text} is in the future; is a clock wrong?")));
    }
    Ok(time)
}
