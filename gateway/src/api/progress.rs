//! The start of a server as a stream of events.

use super::servers::{Address, find, row};
use crate::app::App;
use crate::caller::Caller;
use crate::error::{Error, Result};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use carrel_hub::{ServerName, ServerState};
use carrel_store::User;
use futures::stream;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;

/// Starts take about a millisecond (a classic server's some seconds), so looking is simpler than being told.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A silent connection is kept open with this.
const KEEP_ALIVE: Duration = Duration::from_secs(8);

/// `GET …/progress`
pub(super) async fn stream(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<Response> {
    let (user, name) = find(&app, &caller, &address, "read:servers").await?;
    row(&app, &user, &name).await?;
    let active =
        matches!(app.servers.state(user.id, &name), ServerState::Starting { .. } | ServerState::Ready { .. });
    // One that has just failed is told as such.
    if !active && app.servers.failure(user.id, &name).is_none() {
        return Err(Error::Malformed(format!("{}'s server {name:?} is not starting", user.name)));
    }
    let steps = stream::unfold(Some((app, user, name, false)), |at| async move {
        let (app, user, name, begun) = at?;
        if !begun {
            let first = event(&json!({"progress": 0, "message": "Server requested"}));
            return Some((Ok::<_, Infallible>(first), Some((app, user, name, true))));
        }
        let mut silent = Duration::ZERO;
        loop {
            if let Some(last) = last_event(&app, &user, &name) {
                return Some((Ok(event(&last)), None));
            }
            if silent >= KEEP_ALIVE {
                return Some((Ok(Bytes::from_static(b"\n\n")), Some((app, user, name, true))));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => silent += LOOK_EVERY,
                () = app.lifecycle.token().cancelled() => return None,
            }
        }
    });
    let mut response = Body::from_stream(steps).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event(app: &App, user: &User, name: &ServerName) -> Option<Value> {
    let base = crate::cookies::user_path(&user.name);
    let url = if name.is_default() { base } else { format!("{base}{name}/") };
    match app.servers.state(user.id, name) {
        ServerState::Starting { .. } => None,
        ServerState::Ready { .. } => Some(json!({
            "progress": 100, "ready": true, "message": format!("Server ready at {url}"),
            "html_message": format!("Server ready at <a href=\"{url}\">{url}</a>"), "url": url,
        })),
        ServerState::Stopped | ServerState::Stopping { .. } => {
            let why = app.servers.failure(user.id, name);
            let message =
                why.map_or_else(|| "Server failed to start".to_owned(), |why| format!("Spawn failed: {why}"));
            Some(json!({"progress": 100, "failed": true, "message": message}))
        }
    }
}

fn event(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}
