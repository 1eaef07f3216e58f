//! API tokens of a user.

use super::{body, models, users};
use crate::app::App;
use crate::caller::{Caller, Holder, Look, Members};
use crate::error::{Error, Result};
use crate::http::{Peer, peer_address};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::role::Role;
use carrel_hub::token::parse_api_id;
use carrel_hub::{Scope, ScopeSet, Secret, Target, UserName};
use carrel_store::{NewToken, TokenOwner, User};
use http::StatusCode;
use serde_json::{Map, Value, json};
use time::Duration;

/// `GET /users/{u}/tokens`
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    let user = users::find(&app, &caller, &name, &["read:tokens"]).await?;
    let (id, now) = (user.id, app.clock.now());
    let mut out = Vec::new();
    for token in app.store.call(move |s| s.tokens_of(id, now)).await? {
        out.push(Value::Object(models::token(&app, &user, &token).await?));
    }
    Ok(Json(json!({"api_tokens": out})))
}

/// `GET /users/{u}/tokens/{id}`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let user = users::find(&app, &caller, &name, &["read:tokens"]).await?;
    let (row, now) = (token_id(&id)?, app.clock.now());
    let found = app.store.call(move |s| s.token_of(user.id, row, now).map(|t| t.map(|t| (user, t)))).await?;
    let (user, token) = found.ok_or_else(|| no_token(&id))?;
    Ok(Json(Value::Object(models::token(&app, &user, &token).await?)))
}

/// `DELETE /users/{u}/tokens/{id}`
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode> {
    let user = users::find(&app, &caller, &name, &["tokens"]).await?;
    let row = token_id(&id)?;
    let owner = user.id;
    if app.store.call(move |s| s.delete_token(owner, row)).await? {
        tracing::info!(user.name = %user.name, token.id = %id, "token revoked");
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_token(&id))
    }
}

/// `POST /users/{u}/tokens`: the only time a token is shown.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let address =
        request.extensions().get::<Peer>().map_or_else(|| "unknown".to_owned(), |_| peer_address(&request));
    let fields = body::object(request.into_body()).await?;
    let (owner, by) = owner(&app, &caller, &name, &fields, &address).await?;
    body::only(&fields, &["note", "expires_in", "scopes", "roles", "auth"])?;
    let now = app.clock.now();
    let expires = match fields.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(v) => {
            let seconds = v.as_i64().filter(|s| (1..=100 * 365 * 86_400).contains(s));
            let seconds = seconds
                .ok_or_else(|| Error::Malformed("expires_in must be a whole number of seconds".into()))?;
            Some(now + Duration::seconds(seconds))
        }
    };
    let scopes = wanted(&app, &owner, &fields).await?;
    let note = body::text(&fields, "note")?.filter(|n| !n.is_empty()).map(|n| n.chars().take(1000).collect());
    let note = note.unwrap_or_else(|| match by {
        Some(by) if by != owner.name.as_str() && by.starts_with("service ") => {
            format!("Requested via api by {by}")
        }
        Some(by) if by != owner.name.as_str() => format!("Requested via api by user {by}"),
        _ => "Requested via api".to_owned(),
    });
    let secret = Secret::from_random(rand::random());
    let new = NewToken {
        owner: TokenOwner::User(owner.id),
        hash: secret.hash(),
        prefix: secret.prefix(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        note,
        created: now,
        expires,
        session_id: None,
        client: "JupyterHub".into(),
        client_id: None,
    };
    let token = app.store.call(move |s| s.add_token(&new)).await?;
    tracing::info!(user.name = %owner.name, token.id = token.id, "token created");
    let mut model = models::token(&app, &owner, &token).await?;
    model.insert("token".into(), json!(secret.reveal()));
    Ok((StatusCode::CREATED, Json(Value::Object(model))).into_response())
}

/// For whom, and by whom: a caller who may, or somebody who shows the user's own password in the body.
async fn owner(
    app: &App,
    caller: &Caller,
    name: &str,
    fields: &Map<String, Value>,
    address: &str,
) -> Result<(User, Option<String>)> {
    let refused = || Error::Forbidden(format!("you may not make tokens for {name}"));
    let parsed = UserName::parse(name).map_err(|_| refused())?;
    if let Some(me) = caller.name() {
        if !caller.has("tokens", Target::User(parsed.as_str())) {
            return Err(refused());
        }
        let user = app.store.call(move |s| s.user(&parsed)).await?.ok_or_else(refused)?;
        return Ok((user, Some(me)));
    }
    let auth = body::map(fields, "auth")?.ok_or_else(refused)?;
    let given = body::text(&auth, "username")?.unwrap_or_default();
    let password = body::text(&auth, "password")?.unwrap_or_default();
    let user = app.accounts.check(&given, &password, address).await?;
    user.filter(|u| u.name == parsed).map(|u| (u, None)).ok_or_else(refused)
}

/// The scopes asked for, if the owner holds them all; `inherit` if none were asked for.
async fn wanted(app: &App, owner: &User, fields: &Map<String, Value>) -> Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    for role in body::texts(fields, "roles")?.unwrap_or_default() {
        let known = app.roles.scopes(&role);
        scopes.extend(known.ok_or_else(|| Error::Malformed(format!("no such role: {role}")))?);
    }
    for text in body::texts(fields, "scopes")?.unwrap_or_default() {
        scopes.push(Scope::parse(&text).map_err(|e| Error::Malformed(e.to_string()))?);
    }
    if scopes.is_empty() {
        return Ok(app.roles.scopes(Role::Token.name()).unwrap_or_default());
    }
    let (row, look) = (owner.clone(), Look::of_token(app));
    let who = app.store.call(move |s| Holder::user(s, row, look)).await?;
    let (held, resolved) = (who.held(app), ScopeSet::resolve(&scopes, who.whose()));
    let members = Members::named(app, &[&resolved, &held]).await?;
    match held.first_beyond(&resolved, &|g, u| members.has(g, u)) {
        Some(beyond) => {
            Err(Error::Malformed(format!("{} does not hold {beyond}, so no token of theirs can", owner.name)))
        }
        None => Ok(scopes),
    }
}

fn token_id(text: &str) -> Result<i64> {
    parse_api_id(text).ok_or_else(|| no_token(text))
}

fn no_token(text: &str) -> Error {
    Error::NotFound(format!("Token not found {text}"))
}
