//! Where people land: the root, the way from the Hub's cookie to a server's, and addresses without a user's name.

use super::{Args, redirect, spawn_path};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::cookies::{self, Write, XSRF};
use crate::error::{Error, Result};
use axum::extract::{OriginalUri, Query, State};
use axum::response::Response;
use carrel_hub::{ServerName, Target, UserName};
use carrel_store::User;
use percent_encoding::percent_decode_str;

/// `/hub/`: the user's server, started if need be; the login page for strangers.
pub(super) async fn root(State(app): State<App>, caller: Caller) -> Result<Response> {
    let user = caller.signed_in()?;
    if app.servers.state(user.id, &ServerName::default_server()).is_ready() {
        return Ok(to_server(&app, &caller, user, &cookies::user_path(&user.name)));
    }
    Ok(redirect("/hub/spawn"))
}

/// `/hub/enter?next=/user/ada/…`: gives a signed-in browser the cookie for that user's pages, if it may have it.
pub(super) async fn enter(State(app): State<App>, caller: Caller, Query(args): Args) -> Result<Response> {
    caller.signed_in()?;
    let next = args
        .get("next")
        .and_then(|n| safe_next(n))
        .ok_or_else(|| Error::Malformed("next is missing".into()))?;
    let segment = next.strip_prefix("/user/").and_then(|rest| rest.split(['/', '?']).next()).unwrap_or("");
    let name = percent_decode_str(segment).decode_utf8().ok().and_then(|n| UserName::parse(&n).ok());
    let Some(name) = name else {
        return Err(Error::Malformed("next must be an address below /user/".into()));
    };
    let path = next.split('?').next().unwrap_or("");
    let server = path.split('/').nth(3).unwrap_or("");
    let wanted = name.clone();
    let user = app.store.call(move |s| s.user(&wanted)).await?;
    let target = Target::Server(name.as_str(), "");
    let owner = user.as_ref().map(|u| u.id);
    let named = ServerName::parse(server)
        .ok()
        .filter(|s| owner.is_some_and(|id| !s.is_default() && app.servers.exists(id, s)));
    let allowed = match &named {
        Some(s) => caller.has("access:servers", Target::Server(name.as_str(), s.as_str())),
        None => caller.has("access:servers", target),
    };
    match user {
        Some(user) if allowed => Ok(to_server(&app, &caller, &user, &next)),
        Some(_) => Err(Error::Forbidden("you may not use this server".into())),
        None => Err(caller::not_found(target)),
    }
}

/// `/hub/user-redirect/{path}`: the same path on the caller's own server.
pub(super) async fn user_redirect(
    State(app): State<App>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let user = caller.signed_in()?;
    let rest = uri.path().strip_prefix("/hub/user-redirect").unwrap_or("").trim_start_matches('/');
    let query = uri.query().map_or_else(String::new, |q| format!("?{q}"));
    let target = format!("{}{rest}{query}", cookies::user_path(&user.name));
    if app.servers.state(user.id, &ServerName::default_server()).is_ready() {
        return Ok(to_server(&app, &caller, user, &target));
    }
    Ok(redirect(&spawn_path(user.name.as_str(), "", &target)))
}

/// `/user-redirect/…`: the same address below `/hub`.
pub(super) async fn into_hub(OriginalUri(uri): OriginalUri) -> Response {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    redirect(&format!("/hub{path}"))
}

/// Sends a signed-in browser to a user's pages, with the cookies that hold there.
pub(super) fn to_server(app: &App, caller: &Caller, user: &User, to: &str) -> Response {
    let mut response = redirect(to);
    if let Some(login) = caller.login_id() {
        give_user_cookies(app, &mut response, login, user, to);
    }
    response
}

/// Sets the cookies that hold below `/user/{u}/`, for the server that the address `to` belongs to.
pub(crate) fn give_user_cookies(app: &App, response: &mut Response, login: i64, user: &User, to: &str) {
    let classic = app.servers.classic_at(user.id, to);
    let user = &user.name;
    let path = cookies::user_path(user);
    let max_age = Some(i64::from(app.config.auth.login_days) * 86_400);
    let secure = app.config.gateway.https;
    if classic {
        // The others are the server's own, by the same names.
        return give_door(app, response, login, user);
    }
    let value = app.keys.user_cookie(login, user);
    let name = cookies::user_cookie_name(user);
    let headers = response.headers_mut();
    cookies::set(
        headers,
        Write { name: &name, value: &value, path: &path, http_only: true, max_age, secure },
    );
    let xsrf = app.keys.xsrf(Some(login), &path);
    cookies::set(headers, Write { name: XSRF, value: &xsrf, path: &path, http_only: false, max_age, secure });
}

/// Says to the gateway that this browser may enter a user's classic server, which has been found out.
pub(super) fn give_door(app: &App, response: &mut Response, login: i64, user: &UserName) {
    let (path, value) = (cookies::user_path(user), app.keys.door_cookie(login, user));
    let max_age = Some(i64::from(app.config.auth.login_days) * 86_400);
    let secure = app.config.gateway.https;
    let write = Write { name: cookies::DOOR, value: &value, path: &path, http_only: true, max_age, secure };
    cookies::set(response.headers_mut(), write);
}

/// `next` if it is a path on this host, whatever a browser makes of it; nothing otherwise.
pub fn safe_next(raw: &str) -> Option<String> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    let leads_away = |t: &str| !t.starts_with('/') || t.starts_with("//") || t.contains(bad);
    // a browser or a proxy may decode once more
    let decoded = percent_decode_str(raw.split('?').next().unwrap_or("")).decode_utf8().ok()?;
    let decoded_bad = decoded.starts_with("//") || decoded.contains(|c: char| c.is_control() || c == '\\');
    if raw.len() > 4096 || leads_away(raw) || decoded_bad || !raw.is_ascii() {
        return None;
    }
    Some(raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_paths_on_this_host_are_followed() {
        for good in ["/", "/hub/home", "/user/ada/lab/tree/a%20b.ipynb?x=1&y=//z"] {
            assert_eq!(safe_next(good).as_deref(), Some(good));
        }
        for evil in [
            "http://evil.example/",
            "https://evil.example",
            "//evil.example/",
            "///evil.example",
            "////evil.example/x",
            "\\\\evil.example",
            "/\\evil.example",
            "http:evil.example",
            "javascript:alert(1)",
            "http://127.0.0.1@evil.example/",
            "evil.example/x",
            "\thttp://evil.example",
            "http://evil.example\\@127.0.0.1/",
            "/%09/evil.example",
            "//127.0.0.1.evil.example/",
            "/%5Cevil.example",
            "/%2Fevil.example",
            "/a\r\nSet-Cookie: x=1",
            "",
            "/é",
        ] {
            assert_eq!(safe_next(evil), None, "{evil:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_followed_stays_here(text in "[/\\\\%a-z0-9:@.?\t ]{0,20}") {
            if let Some(next) = safe_next(&text) {
                prop_assert!(next.starts_with('/') && !next.starts_with("//") && !next.contains('\\'));
            }
        }
    }
}
