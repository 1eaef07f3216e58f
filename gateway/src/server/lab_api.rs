//! JupyterLab's own API: settings, workspaces, translations. A user's part is in the store, never in the home: the page must load with a
//! home that is full.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use carrel_web::lab::Lab;
use carrel_web::settings::Saved;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use crate::app::App;
use crate::clock::iso;
use crate::error::{Error, Result};
use crate::user::UserServer;

/// The kinds under which a user's texts are kept.
const SETTINGS: &str = "lab-settings";
const WORKSPACES: &str = "lab-workspaces";
/// Workspaces one user may keep.
const MOST_WORKSPACES: usize = 100;
/// The longest name of one.
const LONGEST: usize = 512;

/// The query of the settings list.
#[derive(Debug, Deserialize)]
pub struct ListQuery {
    ids_only: Option<String>,
}

/// `GET /lab/api/settings`
pub async fn settings(
    State(app): State<App>,
    Extension(lab): Extension<Arc<Lab>>,
    server: UserServer,
    Query(query): Query<ListQuery>,
) -> Result<Response> {
    if query.ids_only.as_deref() == Some("true") {
        let ids: Vec<Value> = lab.schemas.iter().map(|plugin| json!({"id": plugin.id()})).collect();
        return Ok(body::json(StatusCode::OK, &json!({"settings": ids})));
    }
    let user = server.user.name.clone();
    let saved = app.store.call(move |s| s.kv_list(&user, SETTINGS)).await?;
    let saved: HashMap<String, Saved> = saved
        .into_iter()
        .filter_map(|entry| Some((entry.key, serde_json::from_str(&entry.value).ok()?)))
        .collect();
    let answers: Vec<String> =
        lab.schemas.iter().map(|plugin| plugin.answer(saved.get(plugin.id()))).collect();
    Ok(body::raw_json(format!("{{\"settings\":[{}]}}", answers.join(","))))
}

/// `GET /lab/api/settings/{plugin}`
pub async fn setting(
    State(app): State<App>,
    Extension(lab): Extension<Arc<Lab>>,
    server: UserServer,
    Path(id): Path<String>,
) -> Result<Response> {
    let plugin = lab.schemas.get(&id).ok_or_else(|| no_schema(&id))?;
    Ok(body::raw_json(plugin.answer(saved(&app, &server, id).await?.as_ref())))
}

/// `PUT /lab/api/settings/{plugin}`: `{"raw": JSON5}`
pub async fn put_setting(
    State(app): State<App>,
    Extension(lab): Extension<Arc<Lab>>,
    server: UserServer,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode> {
    let plugin = lab.schemas.get(&id).ok_or_else(|| no_schema(&id))?;
    let asked = body::object(body).await?;
    let wrong =
        || Error::Malformed("Invalid format for JSON payload. Must be in the form {'raw': ...}".into());
    let raw = body::text(&asked, "raw")?.ok_or_else(wrong)?;
    plugin.parse(raw).map_err(|invalid| Error::Malformed(invalid.to_string()))?;
    let now = app.clock.now();
    let before = saved(&app, &server, id.clone()).await?;
    let saved = Saved {
        raw: raw.to_owned(),
        created: before.map_or_else(|| iso(now), |before| before.created),
        last_modified: iso(now),
    };
    let text = serde_json::to_string(&saved).map_err(Error::internal)?;
    let user = server.user.name.clone();
    app.store.call(move |s| s.kv_put(&user, SETTINGS, &id, &text, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn saved(app: &App, server: &UserServer, id: String) -> Result<Option<Saved>> {
    let user = server.user.name.clone();
    let entry = app.store.call(move |s| s.kv_get(&user, SETTINGS, &id)).await?;
    Ok(entry.and_then(|entry| serde_json::from_str(&entry.value).ok()))
}

fn no_schema(id: &str) -> Error {
    Error::NotFound(format!("Schema not found: {id}"))
}

/// `GET /lab/api/workspaces`
pub async fn workspaces(State(app): State<App>, server: UserServer) -> Result<Json<Value>> {
    let user = server.user.name.clone();
    let kept = app.store.call(move |s| s.kv_list(&user, WORKSPACES)).await?;
    let values: Vec<Value> =
        kept.into_iter().filter_map(|entry| serde_json::from_str(&entry.value).ok()).collect();
    let ids: Vec<&Value> = values.iter().map(|workspace| &workspace["metadata"]["id"]).collect();
    Ok(Json(json!({"workspaces": {"ids": ids, "values": values}})))
}

/// `GET /lab/api/workspaces/{name}`: one that was never saved is empty.
pub async fn workspace(
    State(app): State<App>,
    server: UserServer,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    let (user, key) = (server.user.name.clone(), name.clone());
    let kept = app.store.call(move |s| s.kv_get(&user, WORKSPACES, &key)).await?;
    let kept = kept.and_then(|entry| serde_json::from_str(&entry.value).ok());
    Ok(Json(kept.unwrap_or_else(|| json!({"data": {}, "metadata": {"id": name}}))))
}

/// `PUT /lab/api/workspaces/{name}`
pub async fn put_workspace(
    State(app): State<App>,
    server: UserServer,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode> {
    if name.len() > LONGEST {
        return Err(Error::Malformed("the workspace's name is too long".into()));
    }
    let mut workspace = body::object(body).await?;
    let id = workspace.get("metadata").and_then(|metadata| metadata["id"].as_str()).unwrap_or("");
    if id.trim_start_matches('/') != name.trim_start_matches('/') {
        return Err(Error::Malformed(format!(
            "Workspace metadata ID mismatch: expected {name:?} got {id:?}"
        )));
    }
    let (user, key, now) = (server.user.name.clone(), name.clone(), app.clock.now());
    let kept = app.store.call(move |s| s.kv_list(&user, WORKSPACES)).await?;
    let before = kept.iter().find(|entry| entry.key == key);
    if before.is_none() && kept.len() >= MOST_WORKSPACES {
        return Err(Error::Conflict(format!("{MOST_WORKSPACES} workspaces exist already; delete one first")));
    }
    let created = before
        .and_then(|entry| serde_json::from_str::<Value>(&entry.value).ok())
        .and_then(|before| before["metadata"]["created"].as_str().map(str::to_owned))
        .unwrap_or_else(|| iso(now));
    if let Some(metadata) = workspace.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("created".into(), created.into());
        metadata.insert("last_modified".into(), iso(now).into());
    }
    let text = Value::Object(workspace).to_string();
    let user = server.user.name.clone();
    app.store.call(move |s| s.kv_put(&user, WORKSPACES, &name, &text, now)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /lab/api/workspaces/{name}`
pub async fn delete_workspace(
    State(app): State<App>,
    server: UserServer,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let (user, key) = (server.user.name.clone(), name.clone());
    if app.store.call(move |s| s.kv_delete(&user, WORKSPACES, &key)).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Error::NotFound(format!("Workspace {name:?} not found")))
    }
}

/// `GET /lab/api/translations`: English is in the application itself.
pub async fn translations(_server: UserServer) -> Json<Value> {
    Json(json!({"data": {"en": {"displayName": "English", "nativeName": "English"}}, "message": ""}))
}

/// `GET /lab/api/translations/{locale}`
pub async fn translation(_server: UserServer, Path(locale): Path<String>) -> Json<Value> {
    let known = matches!(locale.as_str(), "default" | "en" | "en_US" | "en-US");
    let message = if known { String::new() } else { format!("Language pack '{locale}' not installed!") };
    Json(json!({"data": {}, "message": message}))
}

/// `GET /lab/api/licenses`
pub async fn licenses(_server: UserServer) -> Json<Value> {
    Json(json!({"bundles": {}}))
}

/// `GET /lab/api/listings/{which}`: no list of extensions is kept; installing is an administrator's task.
pub async fn listings(_server: UserServer, Path(_): Path<String>) -> Json<Value> {
    Json(json!({
        "blocked_extensions_uris": [], "allowed_extensions_uris": [], "blocked_extensions": [], "allowed_extensions": [],
    }))
}

/// `GET /lsp/status`: no language server is installed.
pub async fn lsp(_server: UserServer) -> Json<Value> {
    Json(json!({"version": 2, "specs": {}, "sessions": {}}))
}
