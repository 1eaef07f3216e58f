//! Who makes a request, and what they may do.
//!
//! A route group's layer finds the [`Caller`] once (from a token or a cookie) and puts it into the request; handlers take it as an
//! extractor and ask [`Caller::require`], whose [`Permit`] later functions demand. A caller who lacks a scope altogether gets 403; one who
//! holds it for other targets gets 404, as if the target did not exist.

mod again;
mod holding;

pub use again::again;
pub use holding::{Holder, Holding, Look, Members, UserHolder};

use crate::app::App;
use crate::cookies::{self, HUB_PATH, LOGIN, XSRF};
use crate::error::{Error, Result};
use axum::extract::FromRequestParts;
use carrel_hub::scope::Access;
use carrel_hub::{ScopeSet, Secret, Target, UserName};
use carrel_store::{Login, OAuthClient, Service, Store, Token, User};
use http::{HeaderMap, Method, header, request::Parts};
use std::sync::Arc;
use time::Duration;

/// A token's last use is written at most this often.
const TOUCH: Duration = Duration::seconds(30);

/// Who makes this request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    who: Option<Holder>,
    scopes: ScopeSet,
    members: Members,
    via: Via,
}

/// By which credential a caller is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Via {
    /// By none.
    #[default]
    Nobody,
    /// By an API token.
    Token(Token),
    /// By a browser's cookie.
    Login(Login),
}

/// Proof that the caller may do what a function is about to do. Only [`Caller::require`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Permit(());

impl Caller {
    /// Nobody.
    pub fn nobody() -> Self {
        Self(Arc::new(Inner::default()))
    }

    /// The user, if one is signed in or shows a token.
    pub fn user(&self) -> Option<&User> {
        if let Some(Holder::User(holder)) = &self.0.who { Some(&holder.user) } else { None }
    }

    /// The service, if one shows its token.
    pub fn service(&self) -> Option<&Service> {
        if let Some(Holder::Service(service)) = &self.0.who { Some(service) } else { None }
    }

    /// Whether it is anybody: a user or a service.
    pub fn is_known(&self) -> bool {
        self.0.who.is_some()
    }

    /// Whether it is an administrator, or a service with an administrator's rights.
    pub fn is_admin(&self) -> bool {
        self.user().is_some_and(|u| u.admin) || self.service().is_some_and(|s| s.admin)
    }

    /// The name, for the log.
    pub fn name(&self) -> Option<String> {
        self.user()
            .map(|u| u.name.to_string())
            .or_else(|| self.service().map(|s| format!("service {}", s.name)))
    }

    /// The user; nobody is [`Error::Unauthenticated`], and a service cannot do what only users do.
    pub fn signed_in(&self) -> Result<&User> {
        if self.service().is_some() {
            return Err(Error::Forbidden("only users can do this, not services".into()));
        }
        self.user().ok_or(Error::Unauthenticated)
    }

    /// By which credential.
    pub fn via(&self) -> &Via {
        &self.0.via
    }

    /// The login behind a cookie caller.
    pub fn login_id(&self) -> Option<i64> {
        if let Via::Login(login) = &self.0.via { Some(login.id) } else { None }
    }

    /// The browser session, for cookie callers and tokens that belong to one.
    pub fn session_id(&self) -> Option<&str> {
        match &self.0.via {
            Via::Nobody => None,
            Via::Token(t) => t.session_id.as_deref(),
            Via::Login(l) => Some(&l.session_id),
        }
    }

    /// All that the caller holds.
    pub fn scopes(&self) -> &ScopeSet {
        &self.0.scopes
    }

    /// May this caller use `scope` on `target`?
    pub fn has(&self, scope: &str, target: Target<'_>) -> bool {
        self.access(scope, target) == Access::Granted
    }

    /// Demands `scope` on `target`.
    pub fn require(&self, scope: &str, target: Target<'_>) -> Result<Permit> {
        self.require_any(&[scope], target)
    }

    /// Demands any of `scopes` on `target`.
    pub fn require_any(&self, scopes: &[&str], target: Target<'_>) -> Result<Permit> {
        if !self.is_known() {
            return Err(Error::Unauthenticated);
        }
        let mut elsewhere = false;
        for scope in scopes {
            match self.access(scope, target) {
                Access::Granted => return Ok(Permit(())),
                Access::Elsewhere => elsewhere = true,
                Access::Lacking => {}
            }
        }
        if elsewhere {
            return Err(not_found(target));
        }
        Err(Error::Forbidden(format!(
            "Action is not authorized with current scopes; requires any of [{}]",
            scopes.join(", ")
        )))
    }

    /// Whether a user is a member of a group that the caller's scopes name.
    pub fn member(&self, group: &str, user: &str) -> bool {
        self.0.members.has(group, user)
    }

    fn access(&self, scope: &str, target: Target<'_>) -> Access {
        self.0.scopes.access(scope, target, &|g, u| self.member(g, u))
    }
}

/// The same answer for what does not exist and for what the caller may not know.
pub fn not_found(target: Target<'_>) -> Error {
    Error::NotFound(match target {
        Target::Hub | Target::List => "not found".to_owned(),
        Target::User(u) => format!("no such user: {u}"),
        Target::Server(u, "") => format!("no such user or server: {u}"),
        Target::Server(u, s) => format!("no such server: {u}/{s}"),
        Target::Group(g) => format!("no such group: {g}"),
        Target::Service(s) => format!("no such service: {s}"),
    })
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Error::internal(format!("no caller layer above {}", parts.uri.path())))
    }
}

/// The caller of a Hub API request: token, or login cookie with form token. A bad token is nobody, it never falls back to the cookie.
pub async fn of_api(app: &App, parts: &Parts) -> Result<Caller> {
    if let Some(presented) = bearer(&parts.headers) {
        return by_token(app, presented).await;
    }
    let caller = by_login_cookie(app, &parts.headers).await?;
    if !caller.is_known() {
        return Ok(caller);
    }
    let writes = !is_safe(&parts.method);
    if writes && has_body(&parts.headers) && !is_json(&parts.headers) {
        return Err(Error::Forbidden("a request with a cookie must send application/json".into()));
    }
    // a script's read needs the form token too: another site's script cannot know it
    let navigates = header_is(&parts.headers, "sec-fetch-mode", "navigate");
    if writes || !navigates {
        check_xsrf(app, parts, caller.login_id(), HUB_PATH)?;
    }
    Ok(caller)
}

/// The caller of a page: the login cookie only. Forms carry their form token in the body and check it themselves.
pub async fn of_page(app: &App, parts: &Parts) -> Result<Caller> {
    by_login_cookie(app, &parts.headers).await
}

/// The caller of a request below `/user/{user}/`: token, or that user's cookie with form token for writes.
pub async fn of_user_area(app: &App, parts: &Parts, user: &UserName) -> Result<Caller> {
    if let Some(presented) = bearer(&parts.headers) {
        return by_token(app, presented).await;
    }
    let websocket = is_websocket(&parts.headers);
    // As behind JupyterHub: a token in the address is taken from a browser's websocket only, which cannot send a header.
    let from_browser = parts.headers.get("sec-fetch-mode").is_some_and(|mode| mode == "websocket");
    if websocket
        && from_browser
        && let Some(token) = query_value(parts, "token")
    {
        return by_token(app, &token).await;
    }
    let Some(value) = cookies::read(&parts.headers, &cookies::user_cookie_name(user)) else {
        return Ok(Caller::nobody());
    };
    let Some(login) = app.keys.read_user_cookie(value, user) else { return Ok(Caller::nobody()) };
    let now = app.clock.now();
    let found = app.store.call(move |s| s.login_by_id(login, now)).await?;
    let Some(login) = found else { return Ok(Caller::nobody()) };
    let caller = of_login(app, login).await?;
    if websocket {
        check_origin(&parts.headers)?;
    } else if !is_safe(&parts.method) {
        check_xsrf(app, parts, caller.login_id(), &cookies::user_path(user))?;
    }
    Ok(caller)
}

/// The caller of a request for a classic server, as far as the gateway knows: by token, or by the cookie that the Hub gave for it. The server
/// asks for credentials itself; this says only whether what it answers may run in that browser.
pub async fn of_classic(app: &App, parts: &Parts, user: &UserName) -> Result<Caller> {
    let headers = &parts.headers;
    if let Some(presented) = bearer(headers) {
        return by_token(app, presented).await;
    }
    // A page with a token in its address stays a stranger's: whoever made the link wrote it. A websocket shows nothing.
    if is_websocket(headers)
        && let Some(token) = query_value(parts, "token").filter(|token| !token.is_empty())
    {
        return by_token(app, &token).await;
    }
    let login =
        cookies::read(headers, cookies::DOOR).and_then(|value| app.keys.read_door_cookie(value, user));
    let Some(login) = login else { return Ok(Caller::nobody()) };
    let now = app.clock.now();
    match app.store.call(move |s| s.login_by_id(login, now)).await? {
        Some(login) => of_login(app, login).await,
        None => Ok(Caller::nobody()),
    }
}

/// Demands the form token of a cookie caller, in the header or the query.
pub fn check_xsrf(app: &App, parts: &Parts, login: Option<i64>, path: &str) -> Result<()> {
    let given = parts.headers.get("x-xsrftoken").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let given = given.or_else(|| query_value(parts, XSRF));
    check_xsrf_value(app, &parts.headers, given.as_deref(), login, path)
}

/// Demands that `given` is the browser's form token and that we made it for this login.
pub fn check_xsrf_value(
    app: &App,
    headers: &HeaderMap,
    given: Option<&str>,
    login: Option<i64>,
    path: &str,
) -> Result<()> {
    let refuse = |why: &str| Error::Forbidden(format!("XSRF check failed: {why}"));
    let given = given.ok_or_else(|| refuse("the _xsrf argument or X-XSRFToken header is missing"))?;
    let kept = cookies::read(headers, XSRF).ok_or_else(|| refuse("the _xsrf cookie is missing"))?;
    if given != kept || !app.keys.xsrf_is_valid(given, login, path) {
        return Err(refuse("the _xsrf value does not fit this login; load the page again"));
    }
    Ok(())
}

/// A websocket with a cookie must come from a page of this host.
fn check_origin(headers: &HeaderMap) -> Result<()> {
    let Some(origin) = headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or("");
    let from = origin.split_once("://").map_or("", |(_, h)| h);
    if !host.is_empty() && from.eq_ignore_ascii_case(host) {
        Ok(())
    } else {
        Err(Error::Forbidden("a websocket of another site is not accepted".into()))
    }
}

async fn by_token(app: &App, presented: &str) -> Result<Caller> {
    let Some(secret) = Secret::presented(presented) else { return Ok(Caller::nobody()) };
    let (hash, now) = (secret.hash(), app.clock.now());
    let look = Look::of_token(app);
    let found = app
        .store
        .call(move |s| {
            let Some(token) = s.token_by_hash(&hash, now)? else { return Ok(None) };
            if token.last_activity.is_none_or(|last| now - last >= TOUCH) {
                // a full disk must not lock people out: the note may be lost
                let _ = s.touch_token(token.id, now);
            }
            with_owner(s, token, look)
        })
        .await?;
    of_token(app, found).await
}

/// A token, its owner, and the OAuth client that it was issued to.
type Owned = (Token, Holder, Option<OAuthClient>);

fn with_owner(s: &Store, token: Token, look: Look) -> carrel_store::Result<Option<Owned>> {
    let client = token.client_id.as_deref().map(|id| s.client(id)).transpose()?.flatten();
    Ok(Holder::find(s, token.owner, look.at(&token))?.map(|who| (token, who, client)))
}

async fn of_token(app: &App, found: Option<Owned>) -> Result<Caller> {
    let Some((token, who, client)) = found else { return Ok(Caller::nobody()) };
    let Holding { scopes, members } = Holding::of_token(app, &token, &who, client.as_ref()).await?;
    Ok(Caller(Arc::new(Inner { who: Some(who), scopes, members, via: Via::Token(token) })))
}

async fn by_login_cookie(app: &App, headers: &HeaderMap) -> Result<Caller> {
    let Some(secret) = cookies::read(headers, LOGIN).and_then(Secret::presented) else {
        return Ok(Caller::nobody());
    };
    let (hash, now) = (secret.hash(), app.clock.now());
    match app.store.call(move |s| s.login_by_hash(&hash, now)).await? {
        Some(login) => of_login(app, login).await,
        None => Ok(Caller::nobody()),
    }
}

/// The caller behind a login.
pub async fn of_login(app: &App, login: Login) -> Result<Caller> {
    let owner = carrel_store::TokenOwner::User(login.user_id);
    let look = Look::of_login(app);
    let found = app.store.call(move |s| Holder::find(s, owner, look)).await?;
    let Some(who) = found else { return Ok(Caller::nobody()) };
    let Holding { scopes, members } = Holding::of(app, &who).await?;
    Ok(Caller(Arc::new(Inner { who: Some(who), scopes, members, via: Via::Login(login) })))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    known.then(|| token.trim())
}

/// Whether a request asks to become a websocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    header_is(headers, "upgrade", "websocket")
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|v| v.as_bytes() != b"0")
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

fn header_is(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| v.eq_ignore_ascii_case(value))
}

/// One value of a request's query.
pub fn query_value(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| {
        percent_encoding::percent_decode_str(&v.replace('+', " ")).decode_utf8_lossy().into_owned()
    })
}
