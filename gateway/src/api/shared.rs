//! What is shared with somebody: lists for users and groups, and giving it up.

use super::models;
use super::shares::{self, Args};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Result};
use axum::Json;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::response::Response;
use carrel_hub::{ServerName, UserName};
use carrel_store::{Share, ShareWith, Shares};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

/// The recipient and the server of an address; without a server in it, the default server.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    #[serde(alias = "user", alias = "group")]
    whom: String,
    owner: String,
    #[serde(default)]
    server: String,
}

/// `GET /users/{u}/shared`: directly and as a member of groups.
pub(super) async fn with_user(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(args): Args,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let user = super::users::find(&app, &caller, &name, &["read:users:shares"]).await?;
    shares::list(&app, Shares::WithUser(user.id), &args, &headers, &uri).await
}

/// `GET /users/{u}/shared/{owner}/{s}`
pub(super) async fn user_share(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<Json<Value>> {
    let user = super::users::find(&app, &caller, &address.whom, &["read:users:shares"]).await?;
    let share = find(&app, ShareWith::User(user.id), &address).await?;
    Ok(Json(models::share(&app, &share)))
}

/// `DELETE` of the same: gives it up.
pub(super) async fn leave_user_share(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<StatusCode> {
    let user = super::users::find(&app, &caller, &address.whom, &["users:shares"]).await?;
    leave(&app, ShareWith::User(user.id), &address).await
}

/// `GET /groups/{g}/shared`
pub(super) async fn with_group(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(args): Args,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let group = super::groups::find(&app, &caller, &name, &["read:groups:shares"]).await?;
    shares::list(&app, Shares::WithGroup(group.id), &args, &headers, &uri).await
}

/// `GET /groups/{g}/shared/{owner}/{s}`
pub(super) async fn group_share(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<Json<Value>> {
    let group = super::groups::find(&app, &caller, &address.whom, &["read:groups:shares"]).await?;
    let share = find(&app, ShareWith::Group(group.id), &address).await?;
    Ok(Json(models::share(&app, &share)))
}

/// `DELETE` of the same: gives it up for all members.
pub(super) async fn leave_group_share(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<StatusCode> {
    let group = super::groups::find(&app, &caller, &address.whom, &["groups:shares"]).await?;
    leave(&app, ShareWith::Group(group.id), &address).await
}

async fn leave(app: &App, with: ShareWith, address: &Address) -> Result<StatusCode> {
    let Share { of, .. } = find(app, with, address).await?;
    let (owner, server) = (of.owner_id, of.server.clone());
    app.store.call(move |s| s.take_share(owner, &server, with, None)).await?;
    tracing::info!(user.name = %of.owner, server.name = %of.server, ?with, "share given up");
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &App, with: ShareWith, address: &Address) -> Result<Share> {
    let missing = || {
        let Address { whom, owner, server } = address;
        Error::NotFound(format!("No such share for {whom} on {owner}/{server}"))
    };
    let owner = UserName::parse(&address.owner).map_err(|_| missing())?;
    let server = ServerName::parse(&address.server).map_err(|_| missing())?;
    let found = app
        .store
        .call(move |s| match s.user(&owner)? {
            Some(owner) => s.share(owner.id, &server, with),
            None => Ok(None),
        })
        .await?;
    found.ok_or_else(missing)
}
