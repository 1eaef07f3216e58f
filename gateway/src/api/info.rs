//! What the Hub says about itself, and its end.

use super::body;
use crate::app::App;
use crate::caller::Caller;
use crate::cookies;
use crate::error::{Error, Result};
use crate::http::HUB_VERSION;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carrel_hub::Target;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// `GET /`
pub(super) async fn version() -> Response {
    let mut response = Json(json!({"version": HUB_VERSION})).into_response();
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// `GET /health`
pub(super) async fn health() -> StatusCode {
    StatusCode::OK
}

/// `GET /info`
pub(super) async fn info(State(app): State<App>, caller: Caller) -> Result<Json<Value>> {
    caller.require("read:hub", Target::Hub)?;
    let ours = env!("CARGO_PKG_VERSION");
    let sandbox = app.spawnd.hello().await.ok();
    let sandbox = sandbox.map(|h| json!({"mode": h.mode, "layers": h.layers, "version": h.version}));
    Ok(Json(json!({
        "version": HUB_VERSION,
        "python": "none: this hub is Carrel, written in Rust",
        "sys_executable": "carrel",
        "spawner": {"class": "carrel.spawnd", "version": ours},
        "authenticator": {"class": "carrel.accounts", "version": ours},
        "carrel": {"version": ours, "sandbox": sandbox},
    })))
}

/// `GET /proxy`: one process answers everything; its routes are the running servers.
pub(super) async fn proxy(State(app): State<App>, caller: Caller) -> Result<Json<Value>> {
    caller.require("proxy", Target::Hub)?;
    let (users, servers, services) =
        app.store.call(|s| Ok((s.users()?, s.servers()?, s.services()?))).await?;
    let mut routes = serde_json::Map::new();
    routes.insert("/".into(), json!({"routespec": "/", "target": "carrel", "data": {"hub": true}}));
    for row in servers.iter().filter(|r| app.servers.state(r.user_id, &r.name).is_ready()) {
        let Some(user) = users.iter().find(|u| u.id == row.user_id) else { continue };
        let base = cookies::user_path(&user.name);
        let spec = if row.name.is_default() { base } else { format!("{base}{}/", row.name) };
        let data = json!({"user": user.name.as_str(), "server_name": row.name.as_str()});
        routes.insert(spec.clone(), json!({"routespec": spec, "target": "carrel", "data": data}));
    }
    for service in services {
        let Some(url) = service.url else { continue };
        let (spec, data) = (service.name.prefix(), json!({"service": service.name.as_str()}));
        routes.insert(spec.clone(), json!({"routespec": spec, "target": url, "data": data}));
    }
    Ok(Json(Value::Object(routes)))
}

/// `POST /proxy`: makes the proxy's routes what they should be. They always are: one process has both.
pub(super) async fn sync_proxy(caller: Caller) -> Result<StatusCode> {
    caller.require("proxy", Target::Hub)?;
    Ok(StatusCode::OK)
}

/// `PATCH /proxy`: would tell the hub of another proxy. There can be none.
pub(super) async fn change_proxy(caller: Caller, body: Body) -> Result<StatusCode> {
    caller.require("proxy", Target::Hub)?;
    body::object(body).await?;
    Err(Error::Malformed("this hub is its own proxy; there is no other to be told of".into()))
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<App>, caller: Caller) -> Result<Response> {
    caller.require("read:metrics", Target::Hub)?;
    let users = app.store.call(|s| s.count_users()).await?;
    #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point")]
    let (users, running) = (users as f64, app.servers.running() as f64);
    app.metrics.set("jupyterhub_total_users", "Total number of users", &[], users);
    app.metrics.set(
        "jupyterhub_running_servers",
        "The number of user servers currently running",
        &[],
        running,
    );
    let mut response = Body::from(app.metrics.render()).into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// `POST /shutdown`: ends the gateway; with `servers: true` all servers first. Kernels live on otherwise.
pub(super) async fn shutdown(State(app): State<App>, caller: Caller, body: Body) -> Result<StatusCode> {
    caller.require("shutdown", Target::Hub)?;
    let fields = body::object(body).await?;
    body::only(&fields, &["proxy", "servers"])?;
    body::boolean(&fields, "proxy")?;
    let servers = body::boolean(&fields, "servers")?.unwrap_or(false);
    if servers {
        for user in app.store.call(|s| s.users()).await? {
            app.servers.stop_all(&user).await.map_err(|e| Error::Conflict(e.to_string()))?;
        }
    }
    tracing::info!(servers, "shutdown was asked for through the API");
    app.lifecycle.token().cancel();
    Ok(StatusCode::ACCEPTED)
}
