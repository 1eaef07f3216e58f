//! Signing in and out.

use super::form::Form;
use super::{Args, encode, entry, form_token, html, redirect, safe_next, set_form_token};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::cookies::{self, HUB_PATH, LOGIN, SESSION, Write, XSRF};
use crate::error::{Error, Result};
use crate::http::peer_address;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use carrel_hub::Secret;
use carrel_store::{NewLogin, User};
use carrel_web::pages::{LoginPage, login as page};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use time::Duration;

/// `GET /hub/login`
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Query(args): Args,
    headers: HeaderMap,
) -> Response {
    let next = args.get("next").and_then(|n| safe_next(n));
    if caller.user().is_some() {
        return redirect(next.as_deref().unwrap_or("/hub/"));
    }
    form(&app, &headers, next.as_deref(), "", StatusCode::OK, None)
}

/// `POST /hub/login`
pub(super) async fn submit(State(app): State<App>, Query(args): Args, request: Request) -> Result<Response> {
    let address = peer_address(&request);
    let (parts, body) = request.into_parts();
    let fields = Form::read(body).await?;
    let login = caller::of_page(&app, &parts).await?.login_id();
    // a browser that signed in meanwhile in another tab has that login's form token
    fields.check(&app, &parts.headers, login).or_else(|_| fields.check(&app, &parts.headers, None))?;
    let next = args.get("next").and_then(|n| safe_next(n));
    let name = fields.get("username").trim();
    let again =
        |status, problem: &str| form(&app, &parts.headers, next.as_deref(), name, status, Some(problem));
    match app.accounts.check(name, fields.get("password"), &address).await {
        Ok(Some(user)) => {
            tracing::info!(user.name = %user.name, peer.address = %address, "signed in");
            count(&app, "success");
            welcome(&app, &user, next.as_deref()).await
        }
        Ok(None) => {
            tracing::warn!(user.name = %name, peer.address = %address, "sign-in refused");
            count(&app, "failure");
            Ok(again(StatusCode::FORBIDDEN, "Invalid user name or password."))
        }
        Err(Error::TooMany { message, retry_after }) => {
            tracing::warn!(user.name = %name, peer.address = %address, "sign-in throttled");
            count(&app, "throttled");
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, &message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            Ok(response)
        }
        Err(e) => Err(e),
    }
}

/// `GET /hub/logout`
pub(super) async fn leave(State(app): State<App>, caller: Caller) -> Result<Response> {
    let mut response = redirect("/hub/login");
    let headers = response.headers_mut();
    for (name, path) in [(LOGIN, HUB_PATH), (SESSION, "/"), (XSRF, HUB_PATH)] {
        cookies::clear(headers, name, path);
    }
    if let Some(user) = caller.user() {
        let path = cookies::user_path(&user.name);
        cookies::clear(headers, &cookies::user_cookie_name(&user.name), &path);
        cookies::clear(headers, XSRF, &path);
    }
    if let Some(id) = caller.login_id() {
        app.store.call(move |s| s.delete_login(id)).await?;
    }
    Ok(response)
}

/// Makes a login and sends the browser on, with all cookies it needs.
async fn welcome(app: &App, user: &User, next: Option<&str>) -> Result<Response> {
    let now = app.clock.now();
    let secret = Secret::from_random(rand::random());
    let session = format!("{:032x}", rand::random::<u128>());
    let new = NewLogin {
        user_id: user.id,
        hash: secret.hash(),
        session_id: session.clone(),
        created: now,
        expires: now + Duration::days(i64::from(app.config.auth.login_days)),
    };
    let login = app
        .store
        .call(move |s| {
            let login = s.add_login(&new)?;
            s.touch_user(new.user_id, now)?;
            Ok(login)
        })
        .await?;
    let mut response = redirect(next.unwrap_or("/hub/"));
    let max_age = Some(i64::from(app.config.auth.login_days) * 86_400);
    let secure = app.config.gateway.https;
    let xsrf = app.keys.xsrf(Some(login.id), HUB_PATH);
    let headers = response.headers_mut();
    cookies::set(
        headers,
        Write { name: LOGIN, value: secret.reveal(), path: HUB_PATH, http_only: true, max_age, secure },
    );
    cookies::set(
        headers,
        Write { name: SESSION, value: &session, path: "/", http_only: true, max_age, secure },
    );
    cookies::set(
        headers,
        Write { name: XSRF, value: &xsrf, path: HUB_PATH, http_only: false, max_age, secure },
    );
    let path = cookies::user_path(&user.name);
    entry::give_user_cookies(app, &mut response, login.id, user, &path);
    Ok(response)
}

fn form(
    app: &App,
    headers: &HeaderMap,
    next: Option<&str>,
    username: &str,
    status: StatusCode,
    problem: Option<&str>,
) -> Response {
    let (xsrf, fresh) = form_token(app, headers, None);
    let action = format!("/hub/login?next={}", encode(next.unwrap_or("")));
    let mut response = html(status, page(&LoginPage { xsrf: &xsrf, action: &action, username, problem }));
    set_form_token(app, &mut response, fresh.as_deref());
    response
}

fn count(app: &App, status: &str) {
    app.metrics.add("jupyterhub_login_total", "Sign-in attempts", &[("status", status)], 1);
}
