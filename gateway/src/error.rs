//! What can go wrong while answering a request, and the one table that turns it into HTTP.
//!
//! [`Error`] is free of transport: it says what happened. [`Error::into_response`] notes the status and the outside text; which body is
//! written (the Hub API's JSON, the Jupyter Server API's JSON, a page) is decided by the route group's [`shape`] layer, never by a
//! handler. The inside text goes to the log, once, with the request's id, which the outside sees too.

use crate::telemetry::RequestId;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use std::fmt;

/// The gateway's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request could not be answered as wished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is not well formed: which part and why.
    #[error("{0}")]
    Malformed(String),
    /// Nobody is signed in, or the credential is not valid.
    #[error("sign in first")]
    Unauthenticated,
    /// The caller may not do this to anybody.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing, or the caller may not know.
    #[error("{0}")]
    NotFound(String),
    /// The path exists, the method does not.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// It exists already or is in the way.
    #[error("{0}")]
    Conflict(String),
    /// The body is larger than we take.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Too many attempts: wait.
    #[error("{message}")]
    TooMany {
        /// What was tried too often.
        message: String,
        /// Seconds to wait.
        retry_after: u64,
    },
    /// The user's server does not run.
    #[error("{user}'s server {server:?} is not running")]
    NotRunning {
        /// Whose.
        user: String,
        /// Which; empty for the default one.
        server: String,
    },
    /// We are not ready to answer; try again.
    #[error("{0}")]
    NotReady(String),
    /// Disk full.
    #[error("{0}")]
    NoSpace(String),
    /// A program behind us did not do its part.
    #[error("{outside}")]
    Upstream {
        /// For the caller.
        outside: String,
        /// For the log.
        inside: String,
    },
    /// A fault of ours.
    #[error("internal error")]
    Internal {
        /// For the log.
        inside: String,
    },
}

impl Error {
    /// A fault of ours, described for the log.
    pub fn internal(inside: impl fmt::Display) -> Self {
        Self::Internal { inside: inside.to_string() }
    }

    /// A failure of a program behind us; `source` is for the log only.
    pub fn upstream(outside: impl Into<String>, source: &(dyn std::error::Error + 'static)) -> Self {
        Self::Upstream { outside: outside.into(), inside: chain(source) }
    }

    /// The status this error has outside.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            // JupyterHub and its servers never answer 401: their clients take 403 for "sign in"
            Self::Unauthenticated | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotRunning { .. } => StatusCode::FAILED_DEPENDENCY,
            Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Upstream { .. } => StatusCode::BAD_GATEWAY,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn inside(&self) -> Option<&str> {
        match self {
            Self::Upstream { inside, .. } | Self::Internal { inside } => Some(inside),
            _ => None,
        }
    }
}

impl From<carrel_store::Error> for Error {
    fn from(e: carrel_store::Error) -> Self {
        use carrel_store::Error as S;
        match e {
            S::Full { .. } => {
                Self::NoSpace("the disk is full: this change was not saved, nothing else is lost".into())
            }
            S::ReadOnly { .. } => {
                Self::NoSpace("the database cannot be written: this change was not saved".into())
            }
            S::Busy { .. } => Self::NotReady("the database is busy, try again".into()),
            S::Conflict { .. } => Self::Conflict("another entry of this name exists".into()),
            e => Self::internal(chain(&e)),
        }
    }
}

impl From<carrel_spawnd::ClientError> for Error {
    fn from(e: carrel_spawnd::ClientError) -> Self {
        use carrel_spawnd::{ClientError as C, ErrorCode as Code};
        match e {
            C::Refused(r) => match r.code {
                Code::NotFound => Self::NotFound(r.message),
                Code::Exists => Self::Conflict(r.message),
                Code::Limit => Self::TooMany { message: r.message, retry_after: 30 },
                Code::Refused => Self::Upstream { outside: r.message.clone(), inside: r.message },
                Code::BadRequest | Code::Internal => Self::internal(format!("spawnd: {}", r.message)),
            },
            e => Self::Upstream { outside: "the sandbox helper does not answer".into(), inside: chain(&e) },
        }
    }
}

/// An error with all its causes, for the log.
pub fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// What the shape layers need to know of an error.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its status.
    pub status: StatusCode,
    /// What the outside may read.
    pub message: String,
    inside: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Plain,
    SignIn,
    NotRunning { user: String, server: String },
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let kind = match &self {
            Self::Unauthenticated => Kind::SignIn,
            Self::NotRunning { user, server } => {
                Kind::NotRunning { user: user.clone(), server: server.clone() }
            }
            _ => Kind::Plain,
        };
        let problem = Problem {
            status: self.status(),
            message: self.to_string(),
            inside: self.inside().map(str::to_owned),
            kind,
        };
        let mut response = problem.status.into_response();
        if let Self::TooMany { retry_after, .. } = &self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        if matches!(self, Self::NotReady(_)) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

/// The ways in which a route group writes its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `{"status", "message"}`, as the Hub's REST API does.
    Hub,
    /// `{"message", "reason"}`, as the Jupyter Server API does.
    Jupyter,
    /// A page; whoever is not signed in is sent to the login page.
    Page,
}

/// The layer that writes errors in the shape of its route group: `from_fn(|r, n| shape(Shape::Hub, r, n))`.
pub async fn shape(shape: Shape, request: Request, next: Next) -> Response {
    let id = RequestId::of(request.extensions());
    let here = request.extensions().get::<axum::extract::OriginalUri>().map_or_else(
        || request.uri().to_string(),
        |u| u.0.path_and_query().map_or_else(String::new, ToString::to_string),
    );
    let response = next.run(request).await;
    write(shape, &id, &here, response)
}

/// Writes a response's error, if it is one, in the given shape.
pub fn write(shape: Shape, id: &RequestId, here: &str, response: Response) -> Response {
    let status = response.status();
    let problem = match response.extensions().get::<Problem>() {
        Some(p) => p.clone(),
        // what axum itself refuses has a bare body
        None if is_bare(&response) => Problem {
            status,
            message: status.canonical_reason().unwrap_or("refused").to_lowercase(),
            inside: None,
            kind: Kind::Plain,
        },
        None => return response,
    };
    let mut message = problem.message.clone();
    if let Some(inside) = &problem.inside {
        tracing::error!(request.id = %id, status = status.as_u16(), error = %inside, "request failed");
        message = format!("{message} (reference {id})");
    }
    let (mut parts, _) = response.into_parts();
    parts.extensions.remove::<Problem>();
    parts.headers.remove(header::CONTENT_LENGTH);
    let (kind, body) = match shape {
        Shape::Hub => {
            ("application/json", json!({"status": status.as_u16(), "message": message}).to_string())
        }
        Shape::Jupyter => {
            ("application/json", json!({"message": message, "reason": reason(&problem)}).to_string())
        }
        Shape::Page => {
            if matches!(problem.kind, Kind::SignIn) {
                return crate::pages::to_login(here);
            }
            let start = match &problem.kind {
                Kind::NotRunning { user, server } => Some(crate::pages::spawn_path(user, server, here)),
                Kind::Plain | Kind::SignIn => None,
            };
            let page = carrel_web::pages::error(&carrel_web::pages::ErrorPage {
                status: status.as_u16(),
                title: status.canonical_reason().unwrap_or("Error"),
                message: &message,
                request_id: &id.to_string(),
                start: start.as_deref(),
            });
            parts
                .headers
                .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(crate::pages::CSP));
            ("text/html; charset=utf-8", page)
        }
    };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(parts, Body::from(body))
}

/// Jupyter's clients read `reason` as a short word on the kind of failure.
fn reason(problem: &Problem) -> &'static str {
    problem.status.canonical_reason().unwrap_or("Error")
}

/// Marks an answer of another program, which is passed on as it is.
#[derive(Debug, Clone, Copy)]
pub struct Foreign;

fn is_bare(response: &Response) -> bool {
    if response.extensions().get::<Foreign>().is_some() {
        return false;
    }
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    refused && (kind.is_empty() || kind.starts_with("text/plain"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn check(shape: Shape, error: Error) -> (u16, http::HeaderMap, String) {
        let id = RequestId::of(&http::Extensions::new());
        let r = write(shape, &id, "/hub/home?a=1", error.into_response());
        let (parts, body) = r.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_group_has_its_shape() {
        let (status, _, body) = check(Shape::Hub, Error::NotFound("no such user".into())).await;
        assert_eq!((status, body.as_str()), (404, r#"{"message":"no such user","status":404}"#));
        let (status, _, body) = check(Shape::Jupyter, Error::NotFound("no such kernel".into())).await;
        assert_eq!((status, body.as_str()), (404, r#"{"message":"no such kernel","reason":"Not Found"}"#));
        let (status, headers, body) = check(Shape::Page, Error::NotFound("<b>".into())).await;
        assert_eq!(status, 404);
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(body.contains("&lt;b&gt;") && !body.contains("<b>"));
    }

    #[tokio::test]
    async fn pages_send_strangers_to_the_login() {
        let (status, headers, _) = check(Shape::Page, Error::Unauthenticated).await;
        assert_eq!(
            (status, &headers["location"]),
            (302, &HeaderValue::from_static("/hub/login?next=%2Fhub%2Fhome%3Fa%3D1"))
        );
        assert_eq!(check(Shape::Hub, Error::Unauthenticated).await.0, 403);
    }

    #[tokio::test]
    async fn the_inside_stays_inside() {
        for shape in [Shape::Hub, Shape::Jupyter, Shape::Page] {
            let (status, _, body) = check(shape, Error::internal("secret path /x")).await;
            assert_eq!(status, 500);
            assert!(!body.contains("secret") && body.contains("reference"), "{body}");
        }
    }

    #[tokio::test]
    async fn what_another_program_said_stays_as_it_is() {
        let id = RequestId::of(&http::Extensions::new());
        for (foreign, want) in [(true, "teapot"), (false, "404")] {
            let mut said = (StatusCode::NOT_FOUND, "teapot").into_response();
            if foreign {
                said.extensions_mut().insert(Foreign);
            }
            let bytes = write(Shape::Page, &id, "/", said).into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&bytes).contains(want));
        }
    }

    #[tokio::test]
    async fn waiting_times_are_told() {
        let e = Error::TooMany { message: "slow down".into(), retry_after: 7 };
        let (status, headers, _) = check(Shape::Jupyter, e).await;
        assert_eq!((status, &headers["retry-after"]), (429, &HeaderValue::from_static("7")));
    }
}
