//! From request to response: the one place where every request passes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;

use crate::body::{self, Answer, Body, set};
use crate::checkpoints;
use crate::desk::{Busy, Desk};
use crate::error::Error;
use crate::files;
use crate::log;
use crate::model::{Content, Model, Type, http_date};
use crate::path::ContentsPath;
use crate::read::{self, Ask, Got, MAX_CONTENT};
use crate::remove;
use crate::route::{self, Route};
use crate::save;
use crate::stream;
use crate::terminal;
use crate::transfer;

const PREFIX: &str = "x-carrel-prefix";
const REQUEST_ID: &str = "x-request-id";

/// Answers one request; whatever happens, with a response, and every failure with one line in the log.
pub(crate) async fn handle(desk: Arc<Desk>, request: Request<Incoming>) -> Response<Body> {
    let busy = desk.busy();
    let id = request.headers().get(REQUEST_ID).cloned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = AssertUnwindSafe(dispatch(desk, request, busy)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| {
        let source = std::io::Error::other("the handler panicked");
        Err(Error::Io { doing: "answer", path: path.clone(), source })
    });
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            let id = id.as_ref().and_then(|id| id.to_str().ok());
            log::request_failed(id, method.as_str(), &path, error.status().as_u16(), &error.chain());
            body::failure(&error)
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = HeaderValue::from_static("frame-ancestors 'self'; default-src 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn dispatch(desk: Arc<Desk>, request: Request<Incoming>, busy: Busy) -> Answer {
    let route = route::parse(request.uri().path())?;
    let method = request.method().clone();
    if method == Method::OPTIONS {
        let mut response = body::empty(StatusCode::NO_CONTENT);
        set(response.headers_mut(), header::ALLOW, route::allowed(&route));
        return Ok(response);
    }
    let route = settled(&desk, route).await?;
    if !route::permits(&route, &method) {
        return Err(Error::Method(route::allowed(&route)));
    }
    let query = query(request.uri().query().unwrap_or(""));
    match route {
        Route::Contents(path) => contents(&desk, &method, path, &query, request, busy).await,
        Route::Checkpoints { path, .. } if method == Method::GET => {
            let found = desk.blocking(move |d| checkpoints::find(&d.home, &path)).await?;
            body::json(StatusCode::OK, &found.as_slice())
        }
        Route::Checkpoints { path, .. } => {
            let prefix = prefix(request.headers());
            let location = format!("{prefix}api/contents/{}/checkpoints/{}", path.to_url(), checkpoints::ID);
            let made = desk.blocking(move |d| checkpoints::create(&d.home, &path)).await?;
            let mut response = body::json(StatusCode::CREATED, &made)?;
            set(response.headers_mut(), header::LOCATION, &location);
            Ok(response)
        }
        Route::Checkpoint { path, id, .. } => {
            let restore = method == Method::POST;
            desk.blocking(move |d| {
                if restore {
                    checkpoints::restore(&d.home, &path, &id)
                } else {
                    checkpoints::delete(&d.home, &path, &id)
                }
            })
            .await?;
            Ok(body::empty(StatusCode::NO_CONTENT))
        }
        Route::Trust { path, .. } => {
            desk.blocking(move |d| trust(d, &path)).await?;
            Ok(body::empty(StatusCode::CREATED))
        }
        Route::ResolvePath => resolve_path(&desk, &query).await,
        Route::Files(path) => {
            let download = query.iter().any(|(key, value)| key == "download" && !value.is_empty());
            let headers = request.headers().clone();
            desk.blocking(move |d| {
                files::serve(files::open(&d.home, &path)?, &method, &headers, download, busy)
            })
            .await
        }
        Route::Terminals if method == Method::GET => body::json(StatusCode::OK, &desk.terminals.list()),
        Route::Terminals => {
            let taken = body::take(&desk, request.into_body()).await?;
            let model =
                desk.clone().blocking(move |d| terminal::start::prepare(&d.home, &taken.bytes)).await?;
            body::json(StatusCode::OK, &desk.terminals.create(model)?)
        }
        Route::Terminal(name) if method == Method::GET => {
            body::json(StatusCode::OK, &desk.terminals.get(&name)?)
        }
        Route::Terminal(name) => {
            desk.terminals.delete(&name).await?;
            Ok(body::empty(StatusCode::NO_CONTENT))
        }
        Route::TerminalSocket(name) => terminal::socket::accept(&desk.terminals, &name, request),
        Route::NbconvertList => body::json(StatusCode::OK, &json!({})),
        Route::Nbconvert => Err(Error::Unsupported("exporting notebooks is not available on this server")),
    }
}

/// A folder may be called "checkpoints" or "trust": what lies below a folder is contents.
async fn settled(desk: &Arc<Desk>, route: Route) -> Result<Route, Error> {
    let (above, whole) = match &route {
        Route::Checkpoints { path, whole }
        | Route::Checkpoint { path, whole, .. }
        | Route::Trust { path, whole } => (path.clone(), whole.clone()),
        _ => return Ok(route),
    };
    let in_folder = desk.blocking(move |d| Ok(d.home.is_dir(&above))).await?;
    Ok(if in_folder { Route::Contents(whole) } else { route })
}

async fn contents(
    desk: &Arc<Desk>,
    method: &Method,
    path: ContentsPath,
    query: &[(String, String)],
    request: Request<Incoming>,
    busy: Busy,
) -> Answer {
    let prefix = prefix(request.headers());
    match *method {
        Method::GET => {
            let ask = Ask::from_query(query)?;
            desk.blocking(move |d| {
                got(read::get(&d.home, &d.trust, &path, ask, SystemTime::now(), d.max_body)?, busy)
            })
            .await
        }
        Method::DELETE => {
            desk.blocking(move |d| remove::delete(&d.home, &path)).await?;
            Ok(body::empty(StatusCode::NO_CONTENT))
        }
        Method::PUT => {
            let taken = body::take(desk, request.into_body()).await?;
            let saved = desk.blocking(move |d| save::put(d, &path, &taken.bytes)).await?;
            let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
            model(status, &saved.model, Some(&prefix))
        }
        Method::POST => {
            let taken = body::take(desk, request.into_body()).await?;
            let made = desk.blocking(move |d| post(d, &path, &taken.bytes)).await?;
            model(StatusCode::CREATED, &made, Some(&prefix))
        }
        _ => {
            let taken = body::take(desk, request.into_body()).await?;
            let moved = desk.blocking(move |d| patch(d, &path, &taken.bytes)).await?;
            model(StatusCode::OK, &moved, Some(&prefix))
        }
    }
}

fn post(desk: &Desk, path: &ContentsPath, bytes: &[u8]) -> Result<Model, Error> {
    if desk.home.is_file(path) {
        return Err(Error::bad("cannot POST to files, use PUT instead"));
    }
    let given = save::given(bytes)?.unwrap_or_default();
    match given.copy_from.as_deref() {
        Some(from) if !from.is_empty() => transfer::copy(&desk.home, &ContentsPath::parse(from)?, path),
        _ => {
            let kind = given.kind.as_deref().and_then(Type::parse);
            save::post_untitled(desk, path, kind, given.ext.as_deref().unwrap_or(""))
        }
    }
}

fn patch(desk: &Desk, path: &ContentsPath, bytes: &[u8]) -> Result<Model, Error> {
    #[derive(Deserialize)]
    struct Patch {
        path: Option<String>,
    }
    if bytes.is_empty() {
        return Err(Error::bad("JSON body missing"));
    }
    let patch: Patch = serde_json::from_slice(bytes)
        .map_err(|e| Error::bad(format!("invalid JSON in body of request: {e}")))?;
    let to = patch.path.as_deref().map_or_else(|| Ok(path.clone()), ContentsPath::parse)?;
    transfer::rename(&desk.home, path, &to)
}

fn trust(desk: &Desk, path: &ContentsPath) -> Result<(), Error> {
    let ask = Ask { kind: Some(Type::Notebook), content: true, ..Ask::BARE };
    let got = read::get(&desk.home, &desk.trust, path, ask, SystemTime::now(), desk.max_body)?;
    match got {
        Got::Whole(Model { content: Some(Content::Notebook(mut notebook)), .. }) => {
            desk.trust.sign(&desk.home, &mut notebook)
        }
        _ => Err(Error::bad(format!("'{path}' is not a notebook"))),
    }
}

/// `/api/resolvePath?path=`: where a path that code printed is, as the contents API calls it.
async fn resolve_path(desk: &Arc<Desk>, query: &[(String, String)]) -> Answer {
    let text = query.iter().find(|(key, _)| key == "path").map(|(_, value)| value.clone());
    let text = text.ok_or_else(|| Error::bad("missing argument 'path'"))?;
    let found = desk
        .blocking(move |d| {
            let path = d.home.relative(&text).filter(|path| !path.is_hidden());
            Ok(path.filter(|path| d.home.stat(path).is_ok()))
        })
        .await?;
    let resolved: Vec<_> =
        found.iter().map(|path| json!({"scope": "server", "path": path.as_str()})).collect();
    body::json(StatusCode::OK, &json!({"resolved": resolved}))
}

/// A response with a model that a GET asked for, streamed where it is long.
fn got(got: Got, busy: Busy) -> Answer {
    let (mut model, file, encoding) = match got {
        Got::Whole(whole) => return model(StatusCode::OK, &whole, None),
        Got::Streamed { model, file, encoding } => (model, file, encoding),
    };
    model.content = None;
    let mut head = serde_json::to_vec(&model).map_err(|e| Error::Io {
        doing: "write the answer about",
        path: model.path.clone(),
        source: e.into(),
    })?;
    // `content` is the last field: what is streamed takes the place of its `null`.
    head.truncate(head.len() - b"null}".len());
    head.push(b'"');
    let pieces = stream::body(file, MAX_CONTENT, encoding, head, b"\"}".to_vec()).inspect(move |_| {
        let _still_running = &busy;
    });
    let mut response = body::json_body(StatusCode::OK, body::streamed(pieces));
    set(response.headers_mut(), header::LAST_MODIFIED, &http_date(model.modified));
    Ok(response)
}

/// A response with a whole model; with the prefix, it says where the model is.
fn model(status: StatusCode, model: &Model, prefix: Option<&str>) -> Answer {
    let mut response = body::json(status, model)?;
    let headers = response.headers_mut();
    set(headers, header::LAST_MODIFIED, &http_date(model.modified));
    if let Some(prefix) = prefix
        && let Ok(path) = ContentsPath::parse(&model.path)
    {
        set(headers, header::LOCATION, &format!("{prefix}api/contents/{}", path.to_url()));
    }
    Ok(response)
}

/// Where the gateway serves this desk: begins and ends with a slash.
fn prefix(headers: &HeaderMap) -> String {
    let given = headers.get(PREFIX).and_then(|value| value.to_str().ok()).unwrap_or("/");
    if given.starts_with('/') && given.ends_with('/') { given.to_owned() } else { "/".to_owned() }
}

/// The query's pairs, decoded.
fn query(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let pairs = query("content=1&type=file&x=a%20b+c&flag&1700000000");
        assert_eq!(pairs[2], ("x".into(), "a b c".into()));
        assert_eq!(pairs.len(), 5);
    }

    #[test]
    fn prefixes() {
        let mut headers = HeaderMap::new();
        assert_eq!(prefix(&headers), "/");
        headers.insert(PREFIX, HeaderValue::from_static("/user/ada/"));
        assert_eq!(prefix(&headers), "/user/ada/");
        headers.insert(PREFIX, HeaderValue::from_static("http://elsewhere"));
        assert_eq!(prefix(&headers), "/");
    }
}
