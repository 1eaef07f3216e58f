//! `/hub/accept-share`: somebody who was given a share code sees what it offers, and accepts it.

use super::form::Form;
use super::{Args, entry, form_token, frame, html, redirect, set_form_token};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::jailed::environment::base_of;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use carrel_hub::Secret;
use carrel_store::{Accepted, Given, ShareCode};
use carrel_web::pages::{AcceptPage, accept};
use http::{HeaderMap, StatusCode};

const OWN: &str = "You can't share with yourself!";

/// `GET /hub/accept-share?code=…`: looking changes nothing.
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(args): Args,
    headers: HeaderMap,
) -> Result<Response> {
    let user = caller.signed_in()?;
    let missing = || Error::NotFound("this share code is not known, or its time is over".into());
    let code = args.get("code").map_or("", String::as_str);
    let secret = Secret::presented(code).ok_or_else(missing)?;
    let (hash, now) = (secret.hash(), app.clock.now());
    let ShareCode { of, scopes, .. } =
        app.store.call(move |s| s.share_code(&hash, now)).await?.ok_or_else(missing)?;
    if of.owner_id == user.id {
        return Err(Error::Forbidden(OWN.into()));
    }
    let (xsrf, fresh) = form_token(&app, &headers, caller.login_id());
    let gets: Vec<&str> = scopes.iter().map(|scope| scope.describe()).collect();
    let page = accept(&AcceptPage {
        frame: frame(&caller),
        xsrf: &xsrf,
        code: secret.reveal(),
        next: args.get("next").and_then(|next| entry::safe_next(next)).as_deref(),
        owner: of.owner.as_str(),
        server: of.server.as_str(),
        url: &base_of(&of.owner, &of.server),
        running: app.servers.state(of.owner_id, &of.server).is_ready(),
        gets: &gets,
    });
    let mut response = html(StatusCode::OK, page);
    set_form_token(&app, &mut response, fresh.as_deref());
    Ok(response)
}

/// `POST /hub/accept-share`: only with the form token of this login.
pub(super) async fn submit(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let form = Form::of_caller(&app, &caller, &headers, body).await?;
    let user = caller.signed_in()?.clone();
    let unknown = || Error::Malformed("this share code is not known, or its time is over".into());
    let hash = Secret::presented(form.get("code")).ok_or_else(unknown)?.hash();
    let now = app.clock.now();
    match app.store.call(move |s| s.accept_share_code(&hash, user.id, now)).await? {
        Accepted::Given(Given::Share(share)) => {
            let (owner, server) = (&share.of.owner, &share.of.server);
            tracing::info!(user.name = %owner, server.name = %server, share.with = %user.name, "share code accepted");
            let next = entry::safe_next(form.get("next"));
            Ok(redirect(&next.unwrap_or_else(|| base_of(owner, server))))
        }
        Accepted::Given(Given::TooMany) => Err(Error::Conflict(
            "there are as many shares of this server, or with you, as there may be".into(),
        )),
        Accepted::Own => Err(Error::Malformed(OWN.into())),
        Accepted::Unknown => Err(unknown()),
    }
}
