//! The Jupyter Server API of one user's server, without its prefix.

use crate::app::App;
use axum::Router;

/// All routes below `/user/{name}`.
pub fn router() -> Router<App> {
    Router::new()
}
