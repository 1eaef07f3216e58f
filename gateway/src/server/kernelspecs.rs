//! `/api/kernelspecs` and the logos beside them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde_json::Value;

use super::assets::{Caching, send};
use crate::app::App;
use crate::error::{Error, Result};
use crate::user::UserServer;

/// `GET /api/kernelspecs`
pub async fn list(State(app): State<App>, server: UserServer) -> Json<Value> {
    Json(app.kernels.specs().list(&server.base))
}

/// `GET /api/kernelspecs/{name}`
pub async fn one(
    State(app): State<App>,
    server: UserServer,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    let model = app.kernels.specs().model(&name, &server.base);
    model.map(Json).ok_or_else(|| Error::NotFound(format!("Kernel spec {name} not found")))
}

/// `GET /kernelspecs/{name}/{file}`
pub async fn file(
    State(app): State<App>,
    _server: UserServer,
    Path((name, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let specs = app.kernels.specs();
    let spec = specs.get(&name).filter(|_| file != "kernel.json");
    let spec = spec.ok_or_else(|| Error::NotFound(format!("Kernel spec {name} has no {file}")))?;
    send(&spec.files, &file, &headers, Caching::Check).await
}
