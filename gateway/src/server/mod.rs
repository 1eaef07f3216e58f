//! The Jupyter Server API and JupyterLab's pages of one user's server, below `/user/{name}/` (which the door has already stripped).
//!
//! * [`basics`], [`kernelspecs`], [`kernels`], [`sessions`], [`config`]: small JSON, answered from memory and the store
//! * [`channels`]: the websocket of a kernel
//! * [`desk`]: files, checkpoints, terminals, conversions: handed to the user's desk, body and all
//! * [`events`]: the event bus
//! * [`lab`], [`lab_api`], [`assets`]: JupyterLab's page, its own API, its static files

pub mod assets;
pub mod basics;
pub mod body;
pub mod channels;
pub mod config;
pub mod desk;
pub mod events;
pub mod kernels;
pub mod kernelspecs;
pub mod lab;
pub mod lab_api;
pub mod sessions;
pub mod upgrade;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use axum::{Extension, Router};
use carrel_web::lab::{Lab, LabError};
use http::{HeaderValue, StatusCode, header};

use crate::app::App;
use crate::config::Config;
use crate::kernels::Owner;
use crate::user::UserServer;

/// Reads JupyterLab's folder below the prefix, with the administrator's `lab-overrides.json` from the state folder.
///
/// # Errors
/// When the folder is not an unpacked JupyterLab, or the overrides are wrong.
pub fn load_lab(config: &Config) -> Result<Arc<Lab>, LabError> {
    let overrides = config.state.join("lab-overrides.json");
    let overrides = overrides.is_file().then_some(overrides);
    Lab::load(&config.prefix().join("share/lab"), overrides.as_deref()).map(Arc::new)
}

/// Everything below a server's address. Handlers may rely on [`UserServer`], except `/api` itself, which anybody may ask.
pub fn router(lab: Arc<Lab>) -> Router<App> {
    Router::new()
        .route("/", get(lab::root))
        .route("/lab", get(lab::lab))
        .route("/lab/", get(lab::without_slash))
        .route("/lab/{*rest}", get(lab::lab))
        .route("/doc", get(lab::doc))
        .route("/doc/{*rest}", get(lab::doc))
        .route("/tree", get(lab::tree))
        .route("/tree/{*path}", get(lab::tree))
        .route("/notebooks/{*path}", get(lab::tree))
        .route("/edit/{*path}", get(lab::tree))
        .route("/logout", get(lab::logout))
        .route("/static/lab/{*path}", get(assets::statics))
        .route("/static/favicons/{*path}", get(assets::favicons))
        .route("/favicon.ico", get(assets::favicon))
        .route("/static/favicon.ico", get(assets::favicon))
        .route("/lab/extensions/{*path}", get(assets::extensions))
        .route("/lab/api/themes/{*path}", get(assets::themes))
        .route("/lab/api/settings", get(lab_api::settings))
        .route("/lab/api/settings/", get(lab_api::settings))
        .route("/lab/api/settings/{*id}", get(lab_api::setting).put(lab_api::put_setting))
        .route("/lab/api/workspaces", get(lab_api::workspaces))
        .route("/lab/api/workspaces/", get(lab_api::workspaces))
        .route(
            "/lab/api/workspaces/{*name}",
            get(lab_api::workspace).put(lab_api::put_workspace).delete(lab_api::delete_workspace),
        )
        .route("/lab/api/translations", get(lab_api::translations))
        .route("/lab/api/translations/", get(lab_api::translations))
        .route("/lab/api/translations/{*locale}", get(lab_api::translation))
        .route("/lab/api/licenses", get(lab_api::licenses))
        .route("/lab/api/licenses/", get(lab_api::licenses))
        .route("/lab/api/listings/{*which}", get(lab_api::listings))
        .route("/lsp/status", get(lab_api::lsp))
        .route("/api", get(basics::version))
        .route("/api/", get(basics::version))
        .route("/api/status", get(basics::status))
        .route("/api/me", get(basics::me))
        .route("/api/spec.yaml", get(basics::spec_yaml))
        .route("/api/resolvePath", get(basics::resolve_path))
        .route("/api/security/csp-report", post(basics::csp_report))
        .route("/api/kernelspecs", get(kernelspecs::list))
        .route("/api/kernelspecs/{name}", get(kernelspecs::one))
        .route("/kernelspecs/{name}/{*file}", get(kernelspecs::file))
        .route("/api/kernels", get(kernels::list).post(kernels::start))
        .route("/api/kernels/{id}", get(kernels::get).delete(kernels::shutdown))
        .route("/api/kernels/{id}/interrupt", post(kernels::interrupt))
        .route("/api/kernels/{id}/restart", post(kernels::restart))
        .route("/api/kernels/{id}/channels", get(channels::open))
        .route("/api/sessions", get(sessions::list).post(sessions::create))
        .route("/api/sessions/{id}", get(sessions::get).patch(sessions::change).delete(sessions::end))
        .route("/api/config/{section}", get(config::get).put(config::put).patch(config::patch))
        .route("/api/events", post(events::emit))
        .route("/api/events/subscribe", get(events::subscribe))
        .route("/api/contents", any(desk::contents))
        .route("/api/contents/", any(desk::contents))
        .route("/api/contents/{*path}", any(desk::contents))
        .route("/files/{*path}", get(desk::pass))
        .route("/api/terminals", get(desk::pass).post(desk::pass))
        .route("/api/terminals/{name}", get(desk::pass).delete(desk::pass))
        .route("/terminals/websocket/{name}", get(desk::terminal))
        .route("/api/nbconvert", get(desk::pass))
        .route("/nbconvert/{format}", post(desk::pass))
        .route("/nbconvert/{format}/{*path}", get(desk::pass))
        .route("/api/shutdown", delete(lab::no_shutdown).post(lab::no_shutdown))
        .fallback(not_found)
        .layer(Extension(lab))
}

/// JupyterLab's static files at an address that all users share, so that a browser keeps one copy: `/hub/static/lab/{version}/…`.
pub fn shared_assets(lab: Arc<Lab>) -> Router<App> {
    Router::new().route("/hub/static/lab/{version}/{*path}", get(assets::shared)).layer(Extension(lab))
}

/// Answers the question of another site's script whether it may ask, before anybody is known: only what carries a token.
pub async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let text = HeaderValue::from_static;
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        text("accept, content-type, authorization, x-xsrftoken"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, text("GET, PUT, POST, PATCH, DELETE, OPTIONS"));
    response
}

async fn not_found(uri: http::Uri) -> crate::error::Error {
    crate::error::Error::NotFound(format!("nothing is at {}", uri.path()))
}

impl UserServer {
    /// Whose kernels, sessions and events are meant.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { user: self.user.name.clone(), server: self.server.clone() }
    }
}
