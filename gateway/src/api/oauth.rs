//! `POST /hub/api/oauth2/token`: a client exchanges its code for a token.
//!
//! Sources: RFC 6749 §2.3.1 (client secrets), §3.2, §4.1.3 (request), §5.1 (answer), §5.2 (errors); RFC 7636 §4.6 (verifier);
//! RFC 9700 §4.8.2 (a verifier without challenge is refused). The caller is the client, by id and secret; no cookie and no token counts.

use crate::app::App;
use crate::error::{Error, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use carrel_hub::oauth::{Code, parameter};
use carrel_hub::{Secret, SecretHash};
use carrel_store::{AuthCode, CodeState, OAuthClient, Store, Token};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use time::OffsetDateTime;

/// No request is larger.
const MAX: usize = 16 << 10;
/// No request has more parameters.
const MAX_PAIRS: usize = 32;

/// What a client is refused with (RFC 6749 §5.2).
#[derive(Debug)]
struct Refused {
    code: Code,
    description: String,
    /// Whether the client sent its secret by HTTP Basic, so that it must be told so.
    basic: bool,
}

impl Refused {
    fn new(code: Code, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), basic: false }
    }
}

/// What a code was exchanged for.
type Exchanged = Result<(Box<Token>, Secret), Refused>;

/// `POST /oauth2/token`
pub(super) async fn exchange(State(app): State<App>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let pairs = match read(&parts.headers, parts.uri.query(), body).await? {
        Ok(pairs) => pairs,
        Err(refused) => return Ok(refused.into_response()),
    };
    let client = match authenticate(&app, &parts.headers, &pairs).await? {
        Ok(client) => client,
        Err(refused) => {
            tracing::warn!(oauth.error = refused.code.as_str(), why = %refused.description, "an OAuth client is not known");
            return Ok(refused.into_response());
        }
    };
    let id = client.id.clone();
    let now = app.clock.now();
    let done = app.store.call(move |s| redeem(s, &client, &pairs, now)).await?;
    match done {
        Ok((token, secret)) => {
            tracing::info!(oauth.client = %id, token.id = token.id, "a client has got a token");
            let lasts = token.expires.map_or(0, |end| (end - now).whole_seconds().max(0));
            let answer = json!({
                "access_token": secret.reveal(), "token_type": "Bearer", "expires_in": lasts, "scope": token.scopes.join(" "),
            });
            Ok(write(StatusCode::OK, &answer))
        }
        Err(refused) => {
            tracing::warn!(oauth.client = %id, oauth.error = refused.code.as_str(), why = %refused.description, "a code was refused");
            Ok(refused.into_response())
        }
    }
}

/// The request's parameters: in the body, as a form, bounded; never in the address, which ends up in logs.
async fn read(
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
) -> Result<Result<Vec<(String, String)>, Refused>> {
    let refuse = |why: &str| Ok(Err(Refused::new(Code::InvalidRequest, why)));
    let bytes = axum::body::to_bytes(body, MAX).await.map_err(|_| Error::TooLarge(MAX))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return refuse("the body must be application/x-www-form-urlencoded");
    }
    if query.is_some_and(|q| !q.is_empty()) {
        return refuse("parameters belong into the body");
    }
    let pairs: Vec<_> = form_urlencoded::parse(&bytes).into_owned().take(MAX_PAIRS + 1).collect();
    if pairs.len() > MAX_PAIRS {
        return refuse("too many parameters");
    }
    Ok(Ok(pairs))
}

/// The client, by HTTP Basic or by the form's `client_id` and `client_secret` (§2.3.1), not by both.
async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    pairs: &[(String, String)],
) -> Result<Result<OAuthClient, Refused>> {
    let malformed = |why: String| Refused::new(Code::InvalidRequest, why);
    let (given_id, given_secret) = match (parameter(pairs, "client_id"), parameter(pairs, "client_secret")) {
        (Ok(id), Ok(secret)) => (id.map(str::to_owned), secret.map(str::to_owned)),
        (Err(why), _) | (_, Err(why)) => return Ok(Err(malformed(why))),
    };
    let basic = basic(headers);
    let by_basic = basic.is_some();
    let (id, secret) = match basic {
        None => (given_id, given_secret),
        Some(_) if given_secret.is_some() => {
            return Ok(Err(malformed("the client's secret is given twice".into())));
        }
        Some(pair) => {
            let (id, secret) = pair.unzip();
            if given_id.is_some() && given_id != id {
                return Ok(Err(malformed("two clients are named".into())));
            }
            (id, secret)
        }
    };
    let refused = || Refused {
        basic: by_basic,
        ..Refused::new(Code::InvalidClient, "there is no such client, or its secret is another")
    };
    let hash: Option<SecretHash> = secret.as_deref().and_then(Secret::presented).map(|s| s.hash());
    let (Some(id), Some(hash)) = (id, hash) else { return Ok(Err(refused())) };
    let found = app.store.call(move |s| s.client(&id)).await?;
    // digests are compared in constant time
    Ok(found.filter(|client| client.hash == hash).ok_or_else(refused))
}

/// Id and secret of `Authorization: Basic`, each form-encoded; `Some(None)` if they cannot be read. Other schemes are no concern here:
/// JupyterHub's own client sends its API token along.
fn basic(headers: &HeaderMap) -> Option<Option<(String, String)>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let read = || {
        let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        let plain = |t: &str| {
            let t = t.replace('+', " ");
            percent_encoding::percent_decode_str(&t).decode_utf8().ok().map(|t| t.into_owned())
        };
        Some((plain(id)?, plain(secret)?))
    };
    Some(read())
}

/// Exchanges the code, all in one go on the store's thread.
fn redeem(
    s: &mut Store,
    client: &OAuthClient,
    pairs: &[(String, String)],
    now: OffsetDateTime,
) -> carrel_store::Result<Exchanged> {
    let refuse = |code, why: &str| Ok(Err(Refused::new(code, why)));
    let mut named = Vec::new();
    for name in ["grant_type", "code", "redirect_uri", "code_verifier"] {
        match parameter(pairs, name) {
            Ok(value) => named.push(value),
            Err(why) => return refuse(Code::InvalidRequest, &why),
        }
    }
    let [kind, code, uri, verifier] = named[..] else {
        return refuse(Code::InvalidRequest, "the request is not complete");
    };
    match kind {
        Some("authorization_code") => {}
        None => return refuse(Code::InvalidRequest, "grant_type is missing"),
        Some(_) => return refuse(Code::UnsupportedGrantType, "grant_type must be authorization_code"),
    }
    let Some(code) = code else { return refuse(Code::InvalidRequest, "code is missing") };
    let unknown = "the code is not known, or its time is over";
    let Some(code) = Secret::presented(code) else { return refuse(Code::InvalidGrant, unknown) };
    let code = match s.code(&code.hash(), &client.id, now)? {
        CodeState::Fresh(code) => code,
        CodeState::Unknown => return refuse(Code::InvalidGrant, unknown),
        CodeState::Used => {
            s.revoke_code(&code.hash())?;
            return refuse(Code::InvalidGrant, "the code was used before; what it was used for is revoked");
        }
    };
    if let Err(why) = fits(&code, client, uri, verifier) {
        return refuse(Code::InvalidGrant, why);
    }
    let secret = Secret::from_random(rand::random());
    let made = s.redeem_code(&code, (secret.hash(), secret.prefix()), &client.description, now)?;
    match made {
        Some(token) => Ok(Ok((Box::new(token), secret))),
        None => refuse(Code::InvalidGrant, unknown),
    }
}

/// Whether the exchange fits the request that the code was given for.
fn fits(
    code: &AuthCode,
    client: &OAuthClient,
    uri: Option<&str>,
    verifier: Option<&str>,
) -> Result<(), &'static str> {
    match uri {
        None if code.named_address => return Err("redirect_uri is missing"),
        Some(uri) if uri != client.redirect_uri.as_str() => {
            return Err("redirect_uri is not the one of the request");
        }
        _ => {}
    }
    match (&code.challenge, verifier) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if challenge.fits(verifier) => Ok(()),
        (Some(_), _) => Err("code_verifier does not fit the challenge"),
        (None, Some(_)) => Err("there is a code_verifier, but there was no challenge"),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.code {
            Code::InvalidClient => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let answer = json!({"error": self.code.as_str(), "error_description": self.description});
        let mut response = write(status, &answer);
        if self.basic {
            let value = HeaderValue::from_static("Basic realm=\"Carrel\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

fn write(status: StatusCode, answer: &serde_json::Value) -> Response {
    let mut response = (status, Body::from(answer.to_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
