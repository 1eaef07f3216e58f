//! Groups: lists, members, properties.

use super::body;
use super::models;
use super::paging::Page;
use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::{Error, Result};
use crate::pages::Args;
use axum::Json;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::{GroupName, Target, UserName};
use carrel_store::Group;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

/// `GET /groups`
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(args): Args,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response> {
    caller.require("list:groups", Target::List)?;
    let page = Page::of(&args, &app.config.hub)?;
    let mut groups = app.store.call(|s| s.groups()).await?;
    groups.retain(|g| caller.has("list:groups", Target::Group(g.name.as_str())));
    let total = groups.len();
    let items = groups
        .iter()
        .skip(page.offset)
        .take(page.limit)
        .map(|g| Value::Object(models::group(&app, &caller, g)))
        .collect();
    Ok(page.answer(items, total, &headers, &uri))
}

/// `POST /groups`
pub(super) async fn create_many(State(app): State<App>, caller: Caller, body: Body) -> Result<Response> {
    caller.require("admin:groups", Target::List)?;
    let fields = body::object(body).await?;
    let names = body::texts(&fields, "groups")?.filter(|n| !n.is_empty());
    let names =
        names.ok_or_else(|| Error::Malformed("groups must be a list with at least one name".into()))?;
    let names: Vec<GroupName> = names
        .iter()
        .map(|n| GroupName::parse(n).map_err(|e| Error::Malformed(e.to_string())))
        .collect::<Result<_>>()?;
    let made = make(&app, &caller, names, &fields).await?;
    let models: Vec<Value> = made.iter().map(|g| Value::Object(models::group(&app, &caller, g))).collect();
    Ok((StatusCode::CREATED, Json(models)).into_response())
}

/// `GET /groups/{g}`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    let group = find(&app, &caller, &name, &["read:groups", "read:groups:name", "read:roles:groups"]).await?;
    Ok(Json(Value::Object(models::group(&app, &caller, &group))))
}

/// `POST /groups/{g}`
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response> {
    caller.require("admin:groups", Target::List)?;
    let fields = body::object(body).await?;
    body::only(&fields, &["users", "name", "properties", "roles", "kind"])?;
    let name = GroupName::parse(&name).map_err(|e| Error::Malformed(e.to_string()))?;
    let properties = body::map(&fields, "properties")?;
    let made = make(&app, &caller, vec![name], &fields).await?;
    let mut group = made.into_iter().next().ok_or_else(|| Error::internal("no group was made"))?;
    if let Some(properties) = properties {
        let (id, kept) = (group.id, properties.clone());
        app.store.call(move |s| s.set_group_properties(id, &kept)).await?;
        group.properties = properties;
    }
    Ok((StatusCode::CREATED, Json(Value::Object(models::group(&app, &caller, &group)))).into_response())
}

/// `DELETE /groups/{g}`
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let group = find(&app, &caller, &name, &["delete:groups"]).await?;
    app.store.call(move |s| s.delete_group(group.id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /groups/{g}/users`
pub(super) async fn add_users(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>> {
    let group = find(&app, &caller, &name, &["groups"]).await?;
    let ids = user_ids(&app, &body::object(body).await?, true).await?;
    let id = group.id;
    app.store.call(move |s| s.add_members(id, &ids)).await?;
    again(&app, &caller, &group).await
}

/// `DELETE /groups/{g}/users`
pub(super) async fn remove_users(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>> {
    let group = find(&app, &caller, &name, &["groups"]).await?;
    let ids = user_ids(&app, &body::object(body).await?, true).await?;
    let id = group.id;
    app.store.call(move |s| s.remove_members(id, &ids)).await?;
    again(&app, &caller, &group).await
}

/// `PUT /groups/{g}/properties`
pub(super) async fn set_properties(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>> {
    let group = find(&app, &caller, &name, &["groups"]).await?;
    let properties = body::object(body).await?;
    let id = group.id;
    app.store.call(move |s| s.set_group_properties(id, &properties)).await?;
    again(&app, &caller, &group).await
}

async fn make(
    app: &App,
    caller: &Caller,
    names: Vec<GroupName>,
    fields: &Map<String, Value>,
) -> Result<Vec<Group>> {
    for name in &names {
        caller.require("admin:groups", Target::Group(name.as_str()))?;
    }
    let ids = user_ids(app, fields, false).await?;
    let wanted = names.clone();
    let made = app.store.call(move |s| s.add_groups(&wanted, &ids)).await?;
    if made.is_empty() {
        let names: Vec<&str> = names.iter().map(GroupName::as_str).collect();
        return Err(Error::Conflict(format!("Group {} already exists", names.join(", "))));
    }
    Ok(made)
}

/// The rows behind the field `users`; an unknown name is refused before anything is changed.
async fn user_ids(app: &App, fields: &Map<String, Value>, required: bool) -> Result<Vec<i64>> {
    let users = match body::texts(fields, "users")? {
        Some(users) => users,
        None if required => return Err(Error::Malformed("users must be a list of user names".into())),
        None => return Ok(Vec::new()),
    };
    let names: Vec<UserName> = users
        .iter()
        .map(|n| UserName::parse(n).map_err(|e| Error::Malformed(e.to_string())))
        .collect::<Result<_>>()?;
    let found = app.store.call(move |s| s.user_ids(&names)).await?;
    found.map_err(|missing| Error::Malformed(format!("No such user: {missing}")))
}

/// The group of an address, if the caller holds any of `scopes` on it.
pub(super) async fn find(app: &App, caller: &Caller, name: &str, scopes: &[&str]) -> Result<Group> {
    let target = Target::Group(name);
    caller.require_any(scopes, target)?;
    let found = match GroupName::parse(name) {
        Ok(wanted) => app.store.call(move |s| s.group(&wanted)).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| caller::not_found(target))
}

async fn again(app: &App, caller: &Caller, group: &Group) -> Result<Json<Value>> {
    let wanted = group.name.clone();
    let group = app.store.call(move |s| s.group(&wanted)).await?;
    let group = group.ok_or_else(|| Error::NotFound("the group is gone".into()))?;
    Ok(Json(Value::Object(models::group(app, caller, &group))))
}
