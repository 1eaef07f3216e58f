//! `/api`, `/api/status`, `/api/me` and the few things beside them.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use carrel_web::lab::Lab;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::clock::iso;
use crate::error::{Error, Result};
use crate::user::UserServer;

/// The version of jupyter_server whose API this is.
const VERSION: &str = "2.21.1";

/// `GET /api`: open to anybody, as in the reference.
pub async fn version() -> Json<Value> {
    Json(json!({"version": VERSION}))
}

/// `GET /api/status`
pub async fn status(State(app): State<App>, server: UserServer) -> Result<Json<Value>> {
    let kernels = app.kernels.list(&server.owner())?;
    let started =
        app.servers.state(server.user.id, &server.server).started().unwrap_or_else(|| app.kernels.started());
    let active = kernels.iter().map(|kernel| kernel.state().last_activity).max();
    Ok(Json(json!({
        "started": iso(started),
        "last_activity": iso(active.map_or(started, |active| active.max(started))),
        "kernels": kernels.len(),
        "connections": kernels.iter().map(crate::kernels::kernel::Kernel::connections).sum::<usize>(),
    })))
}

/// The query of `/api/me`.
#[derive(Debug, Deserialize)]
pub struct MeQuery {
    permissions: Option<String>,
}

/// `GET /api/me`: who asks, and which of the permissions asked about they have. Who may enter a server may do everything in it.
pub async fn me(server: UserServer, Query(query): Query<MeQuery>) -> Result<Json<Value>> {
    let permissions = match query.permissions.as_deref() {
        None | Some("") => json!({}),
        Some(asked) => Value::Object(permissions(asked)?),
    };
    let user = server.caller.user().map(|u| u.name.as_str());
    let name = user.or_else(|| server.caller.service().map(|s| s.name.as_str())).unwrap_or("");
    let initials: String = name.chars().take(2).collect::<String>().to_uppercase();
    Ok(Json(json!({
        "identity": {
            "username": name,
            "name": name,
            "display_name": name,
            "initials": initials,
            "avatar_url": null,
            "color": null,
        },
        "permissions": permissions,
    })))
}

/// `{"resource": ["action", …]}`, checked for its shape.
fn permissions(asked: &str) -> Result<Map<String, Value>> {
    let wrong = || {
        Error::Malformed(format!(
            "permissions should be a JSON dict of {{\"resource\": [\"action\",]}}, got {:?}",
            asked.chars().take(200).collect::<String>()
        ))
    };
    let asked: Map<String, Value> = serde_json::from_str(asked).map_err(|_| wrong())?;
    let texts =
        |actions: &Value| actions.as_array().is_some_and(|actions| actions.iter().all(Value::is_string));
    if asked.values().all(texts) { Ok(asked) } else { Err(wrong()) }
}

/// `GET /api/spec.yaml`
pub async fn spec_yaml(Extension(lab): Extension<Arc<Lab>>, _server: UserServer) -> Result<Response> {
    let missing = || Error::NotFound("the description of the API is not installed".into());
    let path = lab.api_yaml.as_ref().ok_or_else(missing)?;
    let text = tokio::fs::read(path).await.map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/x-yaml"))], text).into_response())
}

/// The query of `/api/resolvePath`.
#[derive(Debug, Deserialize)]
pub struct ResolveQuery {
    path: String,
    kernel: Option<String>,
}

/// `GET /api/resolvePath`: a path that code printed, as one that the file browser can open. Homes look the same in kernel and desk.
pub async fn resolve_path(
    State(app): State<App>,
    server: UserServer,
    Query(query): Query<ResolveQuery>,
) -> Result<Json<Value>> {
    let home = format!("/home/{}", server.user.folder);
    let below = |path: &str| {
        let rest = path.strip_prefix(&home).or_else(|| path.strip_prefix('~')).unwrap_or(path);
        let absolute = path.starts_with('/') && rest.len() == path.len();
        let climbs = rest.split('/').any(|part| part == "..");
        (!absolute && !climbs).then(|| rest.trim_start_matches('/').to_owned())
    };
    let mut resolved = Vec::new();
    let mut answer = Map::new();
    if let Some(path) = below(&query.path) {
        resolved.push(json!({"scope": "server", "path": path}));
    }
    if let Some(kernel) = &query.kernel
        && app.kernels.get(&server.owner(), kernel).is_err()
    {
        let reason = format!("Kernel {kernel} could not be found");
        answer.insert("unresolved".into(), json!([{"scope": "kernel", "reason": reason}]));
    }
    answer.insert("resolved".into(), resolved.into());
    Ok(Json(Value::Object(answer)))
}

/// `POST /api/security/csp-report`: a browser's complaint about a page; noted, and not answered.
pub async fn csp_report(server: UserServer) -> StatusCode {
    tracing::info!(user.name = %server.user.name, "a browser reports a violated content security policy");
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_have_a_shape() {
        let good = permissions(r#"{"contents":["read","write"],"kernels":["execute"]}"#).unwrap();
        assert_eq!(good["contents"], json!(["read", "write"]));
        for bad in ["nonsense", "[1]", r#"{"a":"b"}"#, r#"{"a":[1]}"#] {
            assert!(matches!(permissions(bad), Err(Error::Malformed(_))), "{bad}");
        }
    }
}
