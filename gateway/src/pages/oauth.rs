//! `/hub/api/oauth2/authorize`: somebody comes from a client, says who is there, and is sent back with a code.
//!
//! Sources: RFC 6749 §4.1.1 and §4.1.2 (request, answer, errors), RFC 9700 §2.1 (exact addresses), JupyterHub 6.1 (who is asked, what is
//! granted). An address that is not the registered one is answered with a page and never with a redirect. A grant belongs to the login
//! in which it was given and ends with it.

use super::form::Form;
use super::{CSP, encode, entry, form_token, frame, html, redirect, set_form_token};
use crate::app::App;
use crate::caller::{Caller, Members, Via};
use crate::error::{Error, Result};
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::oauth::{Authorize, CODE_LIFE, Code, Granted, Refusal, grant};
use carrel_hub::{Issuer, Scope, ScopeSet, Secret, Target, Whose};
use carrel_store::{AuthCode, Login, OAuthClient, StandsFor, User};
use carrel_web::pages::{AuthorizePage, authorize as page};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

/// A request that may be granted.
struct Asked {
    client: OAuthClient,
    request: Authorize,
    granted: Granted,
    user: User,
    login: Login,
}

/// Why there is nothing to grant.
pub(super) enum Stop {
    /// The person is told.
    Shown(Error),
    /// The client is told.
    Returned(Response),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Shown(e)
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Shown(e) => e.into_response(),
            Self::Returned(response) => response,
        }
    }
}

/// `GET /hub/api/oauth2/authorize`
pub(super) async fn ask(
    State(app): State<App>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let asked = consider(&app, &caller, &uri).await?;
    if must_confirm(&app, &asked).await? {
        return Ok(confirmation(&app, &caller, &asked, &uri, &headers));
    }
    Ok(give(&app, asked).await?)
}

/// `POST /hub/api/oauth2/authorize`: the person's answer. Only with the form token of this login, and only for what was shown.
pub(super) async fn answer(
    State(app): State<App>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let form = Form::of_caller(&app, &caller, &headers, body).await?;
    let asked = consider(&app, &caller, &uri).await?;
    if form.get("answer") == "no" {
        let state = asked.request.state;
        let description = "the person did not agree";
        return Ok(back(&asked.client, Code::AccessDenied, description, state.as_deref()));
    }
    if form.get("scopes") != asked.granted.all().join(" ") {
        // what the client would get has changed since it was shown
        return Ok(confirmation(&app, &caller, &asked, &uri, &headers));
    }
    Ok(give(&app, asked).await?)
}

/// Reads and checks a request of a signed-in person.
async fn consider(app: &App, caller: &Caller, uri: &Uri) -> Result<Asked, Stop> {
    let user = caller.signed_in()?.clone();
    let Via::Login(login) = caller.via().clone() else { return Err(Error::Unauthenticated.into()) };
    let query = uri.query().unwrap_or("");
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let shown = |refusal| match refusal {
        Refusal::Shown(why) | Refusal::Returned { description: why, .. } => Error::Malformed(why),
    };
    let id = Authorize::client_id(&pairs).map_err(shown)?.to_owned();
    let found = app.store.call(move |s| s.client(&id)).await?;
    let client = found.ok_or_else(|| Error::Malformed("there is no such OAuth client".into()))?;
    let request = Authorize::check(&pairs, &client.redirect_uri).map_err(|refusal| match refusal {
        Refusal::Shown(_) => Stop::Shown(shown(refusal)),
        Refusal::Returned { code, description, state } => {
            Stop::Returned(back(&client, code, &description, state.as_deref()))
        }
    })?;
    let may_enter = match &client.stands_for {
        StandsFor::Server { user, server, .. } => {
            caller.has("access:servers", Target::Server(user.as_str(), server.as_str()))
        }
        StandsFor::Service(name) => caller.has("access:services", Target::Service(name.as_str())),
    };
    if !may_enter {
        let why = format!("You do not have permission to access {}", client.description);
        return Err(Error::Forbidden(why).into());
    }
    let allowed: Vec<Scope> = client.scopes.iter().filter_map(|s| Scope::parse(s).ok()).collect();
    let issuer = client.stands_for.issuer();
    let granted = decide(app, caller, &user, &request, &allowed, issuer).await?;
    let granted = granted.map_err(|(code, description)| {
        Stop::Returned(back(&client, code, &description, request.state.as_deref()))
    })?;
    Ok(Asked { client, request, granted, user, login })
}

async fn decide(
    app: &App,
    caller: &Caller,
    user: &User,
    request: &Authorize,
    allowed: &[Scope],
    issuer: Issuer<'_>,
) -> Result<std::result::Result<Granted, (Code, String)>> {
    let name = user.name.as_str();
    let asked: Vec<Scope> = request
        .scope
        .iter()
        .flat_map(|s| s.split(' '))
        .filter_map(|s| Scope::parse(s).ok())
        .chain(allowed.iter().cloned())
        .collect();
    let whose = Whose { issuer: Some(issuer), ..Whose::of_user(name) };
    let members = Members::named(app, &[&ScopeSet::resolve(&asked, whose), caller.scopes()]).await?;
    let member = |g: &str, u: &str| members.has(g, u);
    Ok(grant(request.scope.as_deref(), allowed, issuer, name, caller.scopes(), &member))
}

/// Whether the person must be asked: not for their own server, not for clients that the administrator trusts, and not again for what
/// they have granted and not taken back.
async fn must_confirm(app: &App, asked: &Asked) -> Result<bool> {
    let own =
        matches!(asked.client.stands_for, StandsFor::Server { user_id, .. } if user_id == asked.user.id);
    if own || asked.client.no_confirm {
        return Ok(false);
    }
    let (user, now) = (asked.user.id, app.clock.now());
    let tokens = app.store.call(move |s| s.tokens_of(user, now)).await?;
    let granted: Vec<&String> = tokens
        .iter()
        .filter(|t| t.client_id.as_ref() == Some(&asked.client.id))
        .flat_map(|t| &t.scopes)
        .collect();
    Ok(asked.granted.all().iter().any(|scope| !granted.contains(&scope)))
}

fn confirmation(app: &App, caller: &Caller, asked: &Asked, uri: &Uri, headers: &HeaderMap) -> Response {
    let (xsrf, fresh) = form_token(app, headers, caller.login_id());
    let own = format!("user={}", asked.user.name);
    let gets: Vec<(&str, Option<String>)> = asked
        .granted
        .besides
        .iter()
        .map(|scope| {
            let filter = scope.filter().map(|f| if f == "user" || f == own { "only you".into() } else { f });
            (scope.describe(), filter)
        })
        .collect();
    let action = uri.path_and_query().map_or("", |p| p.as_str());
    let origin = asked.client.redirect_uri.origin();
    let mut response = html(
        StatusCode::OK,
        page(&AuthorizePage {
            frame: frame(caller),
            xsrf: &xsrf,
            action,
            client: &asked.client.description,
            origin,
            scopes: &asked.granted.all().join(" "),
            gets: &gets,
        }),
    );
    // browsers hold a form's target against the policy also when the answer redirects
    if let Some(origin) = origin
        && let Ok(policy) =
            HeaderValue::from_str(&CSP.replace("form-action 'self'", &format!("form-action 'self' {origin}")))
    {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    set_form_token(app, &mut response, fresh.as_deref());
    response
}

/// Sends the person back with a code.
async fn give(app: &App, asked: Asked) -> Result<Response> {
    let Asked { client, request, granted, user, login } = asked;
    let secret = Secret::from_random(rand::random());
    let now = app.clock.now();
    let code = AuthCode {
        hash: secret.hash(),
        client_id: client.id.clone(),
        user_id: user.id,
        session_id: login.session_id,
        scopes: granted.all(),
        challenge: request.challenge,
        named_address: request.named_address,
        expires: (now + CODE_LIFE).min(login.expires),
        token_ends: login.expires,
    };
    app.store.call(move |s| s.add_code(&code)).await?;
    tracing::info!(user.name = %user.name, oauth.client = %client.id, "sign-in granted to a client");
    let mut answer = vec![("code", secret.reveal())];
    answer.extend(request.state.as_deref().map(|state| ("state", state)));
    let mut response = to_client(&client, &answer);
    if let StandsFor::Server { user, .. } = &client.stands_for {
        // it may enter there: what that server answers may run in this browser from now on
        entry::give_door(app, &mut response, login.id, user);
    }
    Ok(response)
}

/// Tells the client what went wrong (RFC 6749 §4.1.2.1).
fn back(client: &OAuthClient, code: Code, description: &str, state: Option<&str>) -> Response {
    tracing::info!(oauth.client = %client.id, oauth.error = code.as_str(), description, "sign-in refused to a client");
    let mut answer = vec![("error", code.as_str()), ("error_description", description)];
    answer.extend(state.map(|state| ("state", state)));
    to_client(client, &answer)
}

fn to_client(client: &OAuthClient, answer: &[(&str, &str)]) -> Response {
    let mut response = redirect(&client.redirect_uri.with(answer, encode));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
