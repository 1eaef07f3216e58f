//! Bodies: taking a request's within bounds, giving a response's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::desk::Desk;
use crate::error::Error;

/// What responses carry.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// What handlers return.
pub(crate) type Answer = Result<Response<Body>, Error>;

/// From here on a body counts as large.
const LARGE: u64 = 8 << 20;
/// How much of a body that is refused is still read.
const LINGER: usize = 64 << 20;
/// Longest wait for the next piece of a body, and for another large body to be done with.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request's whole body. While it is kept, no other large one is taken in.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    _large: Option<OwnedSemaphorePermit>,
}

/// Takes the body in, at most `desk.max_body` bytes.
pub(crate) async fn take(desk: &Desk, mut body: Incoming) -> Result<Taken, Error> {
    let too_large = || Error::TooLarge(format!("the request is larger than {} bytes", desk.max_body));
    let announced = body.size_hint();
    if announced.lower() > desk.max_body {
        linger(body).await;
        return Err(too_large());
    }
    let mut large = None;
    let mut bytes = Vec::with_capacity(usize::try_from(announced.lower().min(LARGE)).unwrap_or(0));
    let size = announced.exact().unwrap_or(0);
    loop {
        if large.is_none() && (size > LARGE || bytes.len() as u64 > LARGE) {
            let permit = tokio::time::timeout(PATIENCE, Arc::clone(&desk.large).acquire_owned()).await;
            let permit = permit.ok().and_then(Result::ok);
            large = Some(permit.ok_or_else(|| Error::Busy("another large upload is running".into()))?);
            bytes.reserve(usize::try_from(size).unwrap_or(0).saturating_sub(bytes.len()));
        }
        let next = tokio::time::timeout(PATIENCE, body.frame()).await.map_err(|_| Error::Timeout)?;
        let Some(frame) = next else { break };
        let frame = frame.map_err(|e| Error::bad(format!("the request body broke off: {e}")))?;
        if let Ok(data) = frame.into_data() {
            if (bytes.len() + data.len()) as u64 > desk.max_body {
                drop(bytes);
                linger(body).await;
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Taken { bytes, _large: large })
}

/// Reads on for a while without keeping anything: a client that is still sending would not see the answer.
async fn linger(mut body: Incoming) {
    let mut left = LINGER;
    let _ = tokio::time::timeout(PATIENCE, async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    })
    .await;
}

/// A body of bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is made as it is sent.
pub(crate) fn streamed(pieces: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    use futures::TryStreamExt as _;
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = status;
    response
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(value).map_err(|e| Error::Io {
        doing: "write the answer about",
        path: "the request".into(),
        source: e.into(),
    })?;
    Ok(json_body(status, full(bytes)))
}

/// A response whose body is JSON text already.
pub(crate) fn json_body(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a request that failed: Jupyter's shape.
pub(crate) fn failure(error: &Error) -> Response<Body> {
    #[derive(Serialize)]
    struct Failure {
        message: String,
        reason: Option<&'static str>,
    }
    let failure = Failure { message: error.to_string(), reason: error.reason() };
    let mut response =
        json(error.status(), &failure).unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR));
    if let Error::Method(allowed) = error {
        set(response.headers_mut(), header::ALLOW, allowed);
    }
    response
}

/// Sets a header whose value may, but will not, be unfit for one.
pub(crate) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
