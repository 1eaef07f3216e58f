//! HTML under `/hub`: login, home, starting a server, tokens, signing in elsewhere, accepting a share, and the redirects between them.
//!
//! Pages know their caller by the login cookie only; a token opens no page. Every form carries the form token.

mod account;
mod entry;
mod form;
mod login;
mod oauth;
mod share;
mod spawn;

use crate::app::App;
use crate::caller::Caller;
use crate::cookies::{self, HUB_PATH, Write, XSRF};
use crate::error::{Error, Result};
use crate::http::Routes;
use axum::body::Body;
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use carrel_hub::Target;
use carrel_web::pages::Frame;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::collections::HashMap;

pub use entry::safe_next;

/// What a page may load: our style sheet, and nothing else from anywhere.
pub const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                       frame-ancestors 'none'; report-uri /hub/security/csp-report";
const STYLE_PATH: &str = "/hub/static/carrel.css";

/// The decoded query of a page.
pub(crate) type Args = Query<HashMap<String, String>>;

const GET: Method = Method::GET;
const POST: Method = Method::POST;

/// All pages.
pub fn routes() -> Routes {
    let mut routes = Routes::default()
        .on(GET, "/", async || redirect("/hub/"))
        .on(GET, "/hub", async || redirect("/hub/"))
        .on(GET, "/hub/", entry::root)
        .on(GET, "/hub/enter", entry::enter)
        .on(GET, "/hub/login", login::show)
        .on(POST, "/hub/login", login::submit)
        .on(GET, "/hub/logout", login::leave)
        .on(GET, "/hub/api/oauth2/authorize", oauth::ask)
        .on(POST, "/hub/api/oauth2/authorize", oauth::answer)
        .on(GET, "/hub/accept-share", share::show)
        .on(POST, "/hub/accept-share", share::submit)
        .on(GET, "/hub/home", account::home)
        .on(POST, "/hub/home", account::home_action)
        .on(GET, "/hub/token", account::tokens)
        .on(POST, "/hub/token", account::token_action)
        .on(GET, "/hub/admin", account::admin)
        .on(GET, "/hub/spawn", spawn::own)
        .on(GET, "/hub/spawn/{user}", spawn::default_server)
        .on(GET, "/hub/spawn/{user}/{server}", spawn::named_server)
        .on(POST, "/hub/spawn/{user}", spawn::choose_default)
        .on(POST, "/hub/spawn/{user}/{server}", spawn::choose_named)
        .on(GET, "/hub/spawn-pending/{user}", spawn::pending_default)
        .on(GET, "/hub/spawn-pending/{user}/{server}", spawn::pending_named)
        .on(GET, "/hub/user-redirect", entry::user_redirect)
        .on(GET, "/hub/user-redirect/", entry::user_redirect)
        .on(GET, "/hub/user-redirect/{*rest}", entry::user_redirect)
        .on(GET, "/user-redirect", entry::into_hub)
        .on(GET, "/user-redirect/", entry::into_hub)
        .on(GET, "/user-redirect/{*rest}", entry::into_hub)
        .on(POST, "/hub/security/csp-report", csp_report)
        .on(GET, STYLE_PATH, style);
    routes.router = routes.router.route("/hub/user/{*rest}", any(spawn::not_running));
    routes.rows.push((GET, "/hub/user/{*rest}"));
    routes.router = routes.router.route("/services/{*rest}", any(crate::services::proxy::pass));
    routes.rows.push((GET, "/services/{*rest}"));
    routes
}

/// Sends a browser elsewhere on this host. `to` is a path.
pub fn redirect(to: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    match HeaderValue::from_str(to) {
        Ok(to) => {
            response.headers_mut().insert(header::LOCATION, to);
            response
        }
        Err(_) => Error::Malformed("the address cannot be redirected to".into()).into_response(),
    }
}

/// Sends whoever is not signed in to the login page, and from there back to `here`.
pub fn to_login(here: &str) -> Response {
    redirect(&format!("/hub/login?next={}", encode(here)))
}

/// Where a server is started, coming back to `here` (without `/hub`).
pub fn spawn_path(user: &str, server: &str, here: &str) -> String {
    let target = here.strip_prefix("/hub").unwrap_or(here);
    let server = if server.is_empty() { String::new() } else { format!("/{}", cookies::segment(server)) };
    format!("/hub/spawn/{}{server}?next={}", cookies::segment(user), encode(target))
}

/// A text as the value of a query argument.
pub(crate) fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%2E", ".")
        .replace("%5F", "_")
        .replace("%7E", "~")
}

/// A page as an answer.
pub(crate) fn html(status: StatusCode, page: String) -> Response {
    let mut response = (status, Body::from(page)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What surrounds a signed-in caller's page.
pub(crate) fn frame(caller: &Caller) -> Frame<'_> {
    Frame {
        user: caller.user().map(|u| u.name.as_str()),
        admin: caller.has("admin-ui", Target::Hub),
        style: STYLE_PATH,
    }
}

/// The form token for a page, and the cookie to set if the browser has no valid one yet.
pub(crate) fn form_token(app: &App, headers: &HeaderMap, login: Option<i64>) -> (String, Option<String>) {
    match cookies::read(headers, XSRF) {
        Some(kept) if app.keys.xsrf_is_valid(kept, login, HUB_PATH) => (kept.to_owned(), None),
        _ => {
            let fresh = app.keys.xsrf(login, HUB_PATH);
            (fresh.clone(), Some(fresh))
        }
    }
}

/// Sets the Hub's form token cookie.
pub(crate) fn set_form_token(app: &App, response: &mut Response, token: Option<&str>) {
    if let Some(value) = token {
        let (path, secure) = (HUB_PATH, app.config.gateway.https);
        cookies::set(
            response.headers_mut(),
            Write { name: XSRF, value, path, http_only: false, max_age: None, secure },
        );
    }
}

async fn style(headers: HeaderMap) -> Response {
    let tag = format!("\"{:x}\"", carrel_web::pages::STYLE.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut response = Body::from(carrel_web::pages::STYLE).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

async fn csp_report(body: Body) -> Result<StatusCode> {
    let bytes = axum::body::to_bytes(body, 16 << 10).await.map_err(|_| Error::TooLarge(16 << 10))?;
    tracing::warn!(report = %String::from_utf8_lossy(&bytes).chars().take(1000).collect::<String>(), "content policy violated");
    Ok(StatusCode::NO_CONTENT)
}
