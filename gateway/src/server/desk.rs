//! What the user's desk answers: the request goes there as it came, without credentials, and its answer comes back as it is. Neither body
//! is held in memory.

use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;

use super::upgrade;
use crate::app::App;
use crate::error::{Error, Result};
use crate::guests::Stay;
use crate::telemetry::RequestId;
use crate::user::UserServer;

/// Headers that speak of one connection, and those that carry credentials.
const NOT_PASSED: [HeaderName; 12] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::HOST,
    header::COOKIE,
    header::AUTHORIZATION,
    header::SET_COOKIE,
    header::EXPECT,
];
/// Names that a client must not set itself.
const OURS: [&str; 5] = ["x-carrel-prefix", "x-request-id", "x-xsrftoken", "keep-alive", "x-forwarded-for"];
/// The largest upload in one request. JupyterLab sends files in chunks of 1 MiB; a notebook is one request.
const LARGEST: u64 = 1 << 30;

/// Files and their checkpoints; what was done to them is told on the event bus.
pub async fn contents(State(app): State<App>, server: UserServer, request: Request) -> Result<Response> {
    let action = match *request.method() {
        Method::PUT => Some("save"),
        Method::POST => Some("create"),
        Method::PATCH => Some("rename"),
        Method::DELETE => Some("delete"),
        _ => None,
    };
    let path = request.uri().path().trim_start_matches("/api/contents").trim_matches('/');
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let owner = server.owner();
    let checkpoint = path.split('/').rev().take(2).any(|part| part == "checkpoints");
    let events = app.kernels.events().clone();
    let response = pass(State(app), server, request).await?;
    if let Some(action) = action.filter(|_| response.status().is_success() && !checkpoint) {
        events.contents(&owner, action, &path);
    }
    Ok(response)
}

/// Hands a request to the desk.
pub async fn pass(State(app): State<App>, server: UserServer, request: Request) -> Result<Response> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > LARGEST) {
        return Err(Error::TooLarge(usize::try_from(LARGEST).unwrap_or(usize::MAX)));
    }
    let id = RequestId::of(request.extensions());
    let (mut parts, body) = request.into_parts();
    parts.headers = passed(&parts.headers);
    own_headers(&mut parts.headers, &server, &id)?;
    parts.extensions = http::Extensions::new();
    parts.version = http::Version::HTTP_11;
    let limited = http_body_util::Limited::new(body, usize::try_from(LARGEST).unwrap_or(usize::MAX));
    let request = Request::from_parts(parts, Body::new(limited));
    let response = app.kernels.desks().send(&server.jail_user()?, request).await?;
    let (mut parts, body) = response.into_parts();
    parts.headers = passed(&parts.headers);
    parts.extensions = http::Extensions::new();
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// `GET /terminals/websocket/{name}`: frames pass untouched in both directions.
pub async fn terminal(
    State(app): State<App>,
    server: UserServer,
    OriginalUri(_): OriginalUri,
    mut request: Request,
) -> Result<Response> {
    let id = RequestId::of(request.extensions());
    let browser = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Error::Malformed("Can \"Upgrade\" only to \"WebSocket\".".into()))?;
    let stream = app.kernels.desks().connect(&server.jail_user()?).await?;
    let refused =
        |error: hyper::Error| Error::upstream("your file service did not answer; try again", &error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(refused)?;
    tokio::spawn(connection.with_upgrades());

    let mut headers = passed(request.headers());
    own_headers(&mut headers, &server, &id)?;
    headers.insert(header::HOST, HeaderValue::from_static("desk"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let mut onward = http::Request::new(Body::empty());
    *onward.uri_mut() = request.uri().clone();
    *onward.headers_mut() = headers;
    let mut response = sender.send_request(onward).await.map_err(refused)?;

    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut parts, body) = response.into_parts();
        parts.headers = passed(&parts.headers);
        return Ok(Response::from_parts(parts, Body::new(body)));
    }
    let onward = hyper::upgrade::on(&mut response);
    let (parts, _) = response.into_parts();
    let mut answer = Response::from_parts(parts, Body::empty());
    answer.extensions_mut().clear();
    let stay = Stay::begin(&app, &server.caller, &server.user, &server.server);
    upgrade::bridge(&app.lifecycle, browser, onward, stay, sender);
    Ok(answer)
}

/// The headers that go through.
fn passed(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let stays = |name: &HeaderName| {
        NOT_PASSED.contains(name)
            || OURS.contains(&name.as_str())
            || named.iter().any(|named| named == name.as_str())
    };
    headers
        .iter()
        .filter(|(name, _)| !stays(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn own_headers(headers: &mut HeaderMap, server: &UserServer, id: &RequestId) -> Result<()> {
    let value = |text: &str| HeaderValue::try_from(text).map_err(Error::internal);
    headers.insert("x-carrel-prefix", value(&server.base)?);
    headers.insert("x-request-id", value(&id.to_string())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_headers_stay_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "a=b"),
            ("authorization", "token x"),
            ("x-xsrftoken", "x"),
            ("x-carrel-prefix", "/user/other"),
            ("connection", "keep-alive, X-Odd"),
            ("x-odd", "1"),
            ("accept", "a"),
            ("content-type", "text/plain"),
            ("range", "bytes=0-1"),
        ] {
            headers.insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let passed = passed(&headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "range"]);
    }
}
