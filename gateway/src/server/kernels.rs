//! `/api/kernels`, without the websocket.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::Value;

use super::body;
use crate::app::App;
use crate::error::{Error, Result};
use crate::kernels::{Wanted, kernel::Kernel};
use crate::user::UserServer;

/// `GET /api/kernels`
pub async fn list(State(app): State<App>, server: UserServer) -> Result<Json<Value>> {
    let kernels = app.kernels.list(&server.owner())?;
    Ok(Json(kernels.iter().map(Kernel::model).collect()))
}

/// `POST /api/kernels`
pub async fn start(State(app): State<App>, server: UserServer, body: Body) -> Result<Response> {
    let asked = body::object(body).await?;
    let id = match body::text(&asked, "kernel_id")? {
        Some(id) => Some(id.parse().map_err(|_| Error::Malformed("kernel_id must be a UUID".into()))?),
        None => None,
    };
    let wanted =
        Wanted { spec: body::text(&asked, "name")?, id, cwd: body::text(&asked, "path")?.unwrap_or("") };
    let kernel = app.kernels.start(&server.owner(), &server.jail_user()?, wanted).await?;
    let location = format!("{}api/kernels/{}", server.base, kernel.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(kernel.model())).into_response())
}

/// `GET /api/kernels/{id}`
pub async fn get(State(app): State<App>, server: UserServer, Path(id): Path<String>) -> Result<Json<Value>> {
    Ok(Json(app.kernels.get(&server.owner(), &id)?.model()))
}

/// `DELETE /api/kernels/{id}`
pub async fn shutdown(
    State(app): State<App>,
    server: UserServer,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let kernel = app.kernels.get(&server.owner(), &id)?;
    app.kernels.end(&kernel).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/kernels/{id}/interrupt`
pub async fn interrupt(
    State(app): State<App>,
    server: UserServer,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let kernel = app.kernels.get(&server.owner(), &id)?;
    app.kernels.interrupt(&kernel).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/kernels/{id}/restart`
pub async fn restart(
    State(app): State<App>,
    server: UserServer,
    Path(id): Path<String>,
) -> Result<Json<Value>> {
    let kernel = app.kernels.get(&server.owner(), &id)?;
    app.kernels.restart(&kernel).await?;
    Ok(Json(kernel.model()))
}
