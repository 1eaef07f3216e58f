//! Home, tokens, and the administrator's list.

use super::form::Form;
use super::spawn::server_path;
use super::{Args, form_token, frame, html, redirect, set_form_token};
use crate::app::App;
use crate::caller::Caller;
use crate::clock::iso;
use crate::error::{Error, Result};
use crate::servers::Change;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use carrel_hub::token::{api_id, parse_api_id};
use carrel_hub::{Secret, ServerName, Target};
use carrel_store::{NewToken as StoredToken, Shares, TokenOwner};
use carrel_web::pages::{
    self, AdminPage, AdminRow, HomePage, NewToken, ServerRow, SharedRow, TokenPage, TokenRow,
};
use http::{HeaderMap, StatusCode};
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// As many shared servers are listed.
const SHARED: usize = 100;

/// `GET /hub/home`
pub(super) async fn home(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response> {
    let user = caller.signed_in()?.clone();
    let id = user.id;
    let (rows, services, shared) = app
        .store
        .call(move |s| Ok((s.servers_of(id)?, s.services()?, s.shares(&Shares::WithUser(id), 0, SHARED)?)))
        .await?;
    let services: Vec<(String, String)> = services
        .iter()
        .filter(|s| s.display && s.url.is_some())
        .filter(|s| caller.has("access:services", Target::Service(s.name.as_str())))
        .map(|s| (s.name.to_string(), s.name.prefix()))
        .collect();
    let mut servers: Vec<ServerRow> = rows
        .iter()
        .map(|row| {
            let running = app.servers.state(user.id, &row.name).is_ready();
            let when = row.last_activity.map(|t| format!("last used {}", minute(t)));
            ServerRow { name: row.name.to_string(), url: server_path(&user.name, &row.name), running, when }
        })
        .collect();
    if !rows.iter().any(|r| r.name.is_default()) {
        let url = server_path(&user.name, &ServerName::default_server());
        servers.insert(0, ServerRow { name: String::new(), url, running: false, when: None });
    }
    let named = u32::try_from(rows.iter().filter(|r| !r.name.is_default()).count()).unwrap_or(u32::MAX);
    let may_add = app.config.hub.named_servers.saturating_sub(named);
    // one that is shared with the user and with a group of theirs is one
    let shared: BTreeMap<String, SharedRow> = shared
        .rows
        .iter()
        .map(|share| &share.of)
        .filter(|of| caller.has("access:servers", Target::Server(of.owner.as_str(), of.server.as_str())))
        .map(|of| {
            let (url, running) =
                (server_path(&of.owner, &of.server), app.servers.state(of.owner_id, &of.server).is_ready());
            let row = SharedRow {
                owner: of.owner.to_string(),
                name: of.server.to_string(),
                url: url.clone(),
                running,
            };
            (url, row)
        })
        .collect();
    let shared: Vec<SharedRow> = shared.into_values().collect();
    let (xsrf, fresh) = form_token(&app, &headers, caller.login_id());
    let (frame, services, shared) = (frame(&caller), services.as_slice(), shared.as_slice());
    let page = pages::home(&HomePage { frame, xsrf: &xsrf, servers: &servers, may_add, shared, services });
    let mut response = html(StatusCode::OK, page);
    set_form_token(&app, &mut response, fresh.as_deref());
    Ok(response)
}

/// `POST /hub/home`: start, stop or remove one of the caller's servers.
pub(super) async fn home_action(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let form = Form::of_caller(&app, &caller, &headers, body).await?;
    let user = caller.signed_in()?.clone();
    let name = ServerName::parse(form.get("name")).map_err(|e| Error::Malformed(e.to_string()))?;
    let target = Target::Server(user.name.as_str(), name.as_str());
    match form.get("action") {
        "start" => {
            caller.require("start:servers", target)?;
            crate::api::servers::check_limit(&app, &user, &name).await?;
            if !app.servers.state(user.id, &name).is_active() {
                app.servers.start(&user, &name, Change::default()).await?;
            }
        }
        "stop" => {
            caller.require("delete:servers", target)?;
            if app.servers.state(user.id, &name).is_ready() {
                app.servers.stop(&user, &name).await?;
            }
        }
        "remove" => {
            caller.require("delete:servers", target)?;
            if app.servers.state(user.id, &name).is_active() {
                return Err(Error::Malformed(format!("stop {name} first")));
            }
            app.servers.remove(&user, &name).await?;
        }
        _ => return Err(Error::Malformed("unknown action".into())),
    }
    Ok(redirect("/hub/home"))
}

/// `GET /hub/token`
pub(super) async fn tokens(State(app): State<App>, caller: Caller, headers: HeaderMap) -> Result<Response> {
    token_page(&app, &caller, &headers, None).await
}

/// `POST /hub/token`: make or revoke one of the caller's tokens.
pub(super) async fn token_action(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let form = Form::of_caller(&app, &caller, &headers, body).await?;
    let user = caller.signed_in()?.clone();
    caller.require("tokens", Target::User(user.name.as_str()))?;
    let now = app.clock.now();
    if form.get("action") == "revoke" {
        let id = parse_api_id(form.get("id")).ok_or_else(|| Error::Malformed("no such token".into()))?;
        app.store.call(move |s| s.delete_token(user.id, id)).await?;
        return Ok(redirect("/hub/token"));
    }
    let secret = Secret::from_random(rand::random());
    let note: String = form.get("note").chars().filter(|c| !c.is_control()).take(200).collect();
    let new = StoredToken {
        owner: TokenOwner::User(user.id),
        hash: secret.hash(),
        prefix: secret.prefix(),
        scopes: vec!["inherit".into()],
        note: if note.is_empty() { "Requested on the token page".into() } else { note },
        created: now,
        expires: form.get("days").parse().ok().map(|d: u16| now + Duration::days(i64::from(d))),
        session_id: None,
        client: "JupyterHub".into(),
        client_id: None,
    };
    app.store.call(move |s| s.add_token(&new)).await?;
    token_page(&app, &caller, &headers, Some(&secret)).await
}

async fn token_page(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    fresh: Option<&Secret>,
) -> Result<Response> {
    let (id, now) = (caller.signed_in()?.id, app.clock.now());
    let rows = app.store.call(move |s| s.tokens_of(id, now)).await?;
    let tokens: Vec<TokenRow> = rows
        .iter()
        .map(|t| TokenRow {
            id: api_id(t.id),
            note: if t.client_id.is_some() { t.client.clone() } else { t.note.clone() },
            scopes: t.scopes.join(", "),
            used: t.last_activity.map_or_else(|| "never".into(), minute),
            expires: t.expires.map_or_else(|| "never".into(), minute),
        })
        .collect();
    let (xsrf, cookie) = form_token(app, headers, caller.login_id());
    let fresh = fresh.map(|s| NewToken(s.reveal()));
    let page = pages::token(&TokenPage { frame: frame(caller), xsrf: &xsrf, tokens: &tokens, fresh });
    let mut response = html(StatusCode::OK, page);
    set_form_token(app, &mut response, cookie.as_deref());
    Ok(response)
}

/// `GET /hub/admin`
pub(super) async fn admin(State(app): State<App>, caller: Caller, Query(args): Args) -> Result<Response> {
    caller.require("admin-ui", Target::Hub)?;
    let offset: usize = args.get("offset").and_then(|o| o.parse().ok()).unwrap_or(0);
    let (users, servers) = app.store.call(|s| Ok((s.users()?, s.servers()?))).await?;
    let total = users.len();
    let limit = app.config.hub.page_default;
    let rows: Vec<AdminRow> = users
        .iter()
        .skip(offset)
        .take(limit)
        .map(|u| AdminRow {
            name: u.name.to_string(),
            admin: u.admin,
            running: servers
                .iter()
                .filter(|s| s.user_id == u.id && app.servers.state(u.id, &s.name).is_ready())
                .map(|s| s.name.to_string())
                .collect(),
            last_activity: u.last_activity.map_or_else(|| "never".into(), minute),
        })
        .collect();
    let next = (offset + limit < total).then(|| format!("/hub/admin?offset={}", offset + limit));
    Ok(html(StatusCode::OK, pages::admin(&AdminPage { frame: frame(&caller), users: &rows, total, next })))
}

/// A time for people: to the minute, UTC.
fn minute(t: OffsetDateTime) -> String {
    format!("{} UTC", iso(t).get(..16).unwrap_or("").replace('T', " "))
}
