//! Share codes: texts that whoever gets them may exchange for a share, on the page that `accept_url` names.

use super::paging::Page;
use super::shares::{Address, Args, Shared, find, to_give};
use super::{body, models};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Result};
use axum::Json;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::response::Response;
use carrel_hub::token::parse_share_code_id;
use carrel_hub::{Secret, ServerName};
use carrel_store::{CodeKey, NewShareCode};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use std::collections::HashMap;
use time::Duration;

/// How long a code holds: at least, at most, and if nothing is said.
const SHORTEST: i64 = 60;
const LONGEST: i64 = 365 * 86_400;
const USUAL: i64 = 86_400;

/// `GET /share-codes/{u}`: of all servers of a user.
pub(super) async fn of_owner(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    Query(args): Args,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let owner = super::users::find(&app, &caller, &address.user, &["read:shares"]).await?;
    list(&app, owner.id, None, &args, &headers, &uri).await
}

/// `GET /share-codes/{u}/{s}`
pub(super) async fn of_server(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    Query(args): Args,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let Shared { owner, server } = find(&app, &caller, &address, "read:shares").await?;
    list(&app, owner.id, Some(server), &args, &headers, &uri).await
}

/// `POST` of the same: makes a code. Its text is told this once.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<Json<Value>> {
    let Shared { owner, server } = find(&app, &caller, &address, "shares").await?;
    let fields = body::object(body).await?;
    body::only(&fields, &["scopes", "expires_in"])?;
    let life = body::whole(&fields, "expires_in")?.unwrap_or(USUAL);
    if !(SHORTEST..=LONGEST).contains(&life) {
        return Err(Error::Malformed(format!("expires_in is seconds, {SHORTEST} to {LONGEST}")));
    }
    let scopes = to_give(&caller, &fields, &owner, &server)?;
    let (secret, now) = (Secret::from_random(rand::random()), app.clock.now());
    let new = NewShareCode {
        owner_id: owner.id,
        server: server.clone(),
        hash: secret.hash(),
        scopes,
        created: now,
        expires: now + Duration::seconds(life),
    };
    let made = app.store.call(move |s| s.add_share_code(&new)).await?;
    let made = made.ok_or_else(|| {
        Error::Conflict("this server has as many share codes as there may be; delete some first".into())
    })?;
    tracing::info!(user.name = %owner.name, server.name = %server, by = caller.name(), "share code made");
    let mut model = models::share_code(&app, &made);
    let accept = format!("/hub/accept-share?code={}", secret.reveal());
    for (key, value) in
        [("code", json!(secret.reveal())), ("accept_url", json!(accept)), ("full_accept_url", Value::Null)]
    {
        model.insert(key.into(), value);
    }
    Ok(Json(Value::Object(model)))
}

/// `DELETE` of the same: `?code=` or `?id=` takes one back, without either all of them go. What they were exchanged for stays.
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    Query(args): Args,
) -> Result<StatusCode> {
    let Shared { owner, server } = find(&app, &caller, &address, "shares").await?;
    let given = |name: &str| args.get(name).filter(|value| !value.is_empty());
    let missing = || Error::NotFound("no such share code of this server".into());
    let key = match (given("code"), given("id")) {
        (Some(code), _) => Some(CodeKey::Hash(Secret::presented(code).ok_or_else(missing)?.hash())),
        (None, Some(id)) => Some(CodeKey::Id(parse_share_code_id(id).ok_or_else(missing)?)),
        (None, None) => None,
    };
    let (id, name) = (owner.id, server.clone());
    let done = app
        .store
        .call(move |s| match key {
            Some(key) => s.delete_share_code(id, &name, key),
            None => s.delete_share_codes(id, &name).map(|_| true),
        })
        .await?;
    if !done {
        return Err(missing());
    }
    tracing::info!(user.name = %owner.name, server.name = %server, by = caller.name(), "share codes taken back");
    Ok(StatusCode::NO_CONTENT)
}

async fn list(
    app: &App,
    owner: i64,
    server: Option<ServerName>,
    args: &HashMap<String, String>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Response> {
    let page = Page::of(args, &app.config.hub)?;
    let now = app.clock.now();
    let part = app
        .store
        .call(move |s| s.share_codes(owner, server.as_ref(), (page.offset, page.limit), now))
        .await?;
    let items = part.rows.iter().map(|code| Value::Object(models::share_code(app, code))).collect();
    Ok(page.with_numbers(items, part.total, headers, uri))
}
