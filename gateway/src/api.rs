//! The Hub's REST API under `/hub/api`: one file per resource, one function per verb.

pub mod body;
pub mod groups;
pub mod info;
pub mod models;
pub mod oauth;
pub mod paging;
pub mod progress;
pub mod servers;
pub mod services;
pub mod share_codes;
pub mod shared;
pub mod shares;
pub mod tokens;
pub mod users;

use crate::error::Error;
use crate::http::Routes;
use axum::routing::any;
use http::Method;

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Routes that know their caller.
pub fn routes() -> Routes {
    let mut routes = Routes::default()
        .on(GET, "/hub/api/info", info::info)
        .on(GET, "/hub/api/user", users::whoami)
        .on(GET, "/hub/api/users", users::list)
        .on(POST, "/hub/api/users", users::create_many)
        .on(GET, "/hub/api/users/{user}", users::get)
        .on(POST, "/hub/api/users/{user}", users::create)
        .on(PATCH, "/hub/api/users/{user}", users::change)
        .on(DELETE, "/hub/api/users/{user}", users::delete)
        .on(POST, "/hub/api/users/{user}/activity", users::activity)
        .on(GET, "/hub/api/users/{user}/tokens", tokens::list)
        .on(POST, "/hub/api/users/{user}/tokens", tokens::create)
        .on(GET, "/hub/api/users/{user}/tokens/{id}", tokens::get)
        .on(DELETE, "/hub/api/users/{user}/tokens/{id}", tokens::delete)
        .on(GET, "/hub/api/users/{user}/server", servers::get)
        .on(POST, "/hub/api/users/{user}/server", servers::start)
        .on(PATCH, "/hub/api/users/{user}/server", servers::change)
        .on(DELETE, "/hub/api/users/{user}/server", servers::stop)
        .on(GET, "/hub/api/users/{user}/server/progress", progress::stream)
        .on(GET, "/hub/api/users/{user}/servers/{server}", servers::get)
        .on(POST, "/hub/api/users/{user}/servers/{server}", servers::start)
        .on(PUT, "/hub/api/users/{user}/servers/{server}", servers::create)
        .on(PATCH, "/hub/api/users/{user}/servers/{server}", servers::change)
        .on(DELETE, "/hub/api/users/{user}/servers/{server}", servers::stop)
        .on(GET, "/hub/api/users/{user}/servers/{server}/progress", progress::stream)
        .on(GET, "/hub/api/groups", groups::list)
        .on(POST, "/hub/api/groups", groups::create_many)
        .on(GET, "/hub/api/groups/{group}", groups::get)
        .on(POST, "/hub/api/groups/{group}", groups::create)
        .on(DELETE, "/hub/api/groups/{group}", groups::delete)
        .on(POST, "/hub/api/groups/{group}/users", groups::add_users)
        .on(DELETE, "/hub/api/groups/{group}/users", groups::remove_users)
        .on(PUT, "/hub/api/groups/{group}/properties", groups::set_properties)
        .on(GET, "/hub/api/users/{user}/shared", shared::with_user)
        .on(GET, "/hub/api/users/{user}/shared/{owner}/", shared::user_share)
        .on(DELETE, "/hub/api/users/{user}/shared/{owner}/", shared::leave_user_share)
        .on(GET, "/hub/api/users/{user}/shared/{owner}/{server}", shared::user_share)
        .on(DELETE, "/hub/api/users/{user}/shared/{owner}/{server}", shared::leave_user_share)
        .on(GET, "/hub/api/groups/{group}/shared", shared::with_group)
        .on(GET, "/hub/api/groups/{group}/shared/{owner}/", shared::group_share)
        .on(DELETE, "/hub/api/groups/{group}/shared/{owner}/", shared::leave_group_share)
        .on(GET, "/hub/api/groups/{group}/shared/{owner}/{server}", shared::group_share)
        .on(DELETE, "/hub/api/groups/{group}/shared/{owner}/{server}", shared::leave_group_share)
        .on(GET, "/hub/api/shares/{user}", shares::of_owner)
        .on(GET, "/hub/api/shares/{user}/", shares::of_server)
        .on(POST, "/hub/api/shares/{user}/", shares::give)
        .on(PATCH, "/hub/api/shares/{user}/", shares::take)
        .on(DELETE, "/hub/api/shares/{user}/", shares::take_all)
        .on(GET, "/hub/api/shares/{user}/{server}", shares::of_server)
        .on(POST, "/hub/api/shares/{user}/{server}", shares::give)
        .on(PATCH, "/hub/api/shares/{user}/{server}", shares::take)
        .on(DELETE, "/hub/api/shares/{user}/{server}", shares::take_all)
        .on(GET, "/hub/api/share-codes/{user}", share_codes::of_owner)
        .on(GET, "/hub/api/share-codes/{user}/", share_codes::of_server)
        .on(POST, "/hub/api/share-codes/{user}/", share_codes::create)
        .on(DELETE, "/hub/api/share-codes/{user}/", share_codes::delete)
        .on(GET, "/hub/api/share-codes/{user}/{server}", share_codes::of_server)
        .on(POST, "/hub/api/share-codes/{user}/{server}", share_codes::create)
        .on(DELETE, "/hub/api/share-codes/{user}/{server}", share_codes::delete)
        .on(GET, "/hub/api/services", services::list)
        .on(GET, "/hub/api/services/{service}", services::get)
        .on(POST, "/hub/api/services/{service}", services::create)
        .on(DELETE, "/hub/api/services/{service}", services::delete)
        .on(GET, "/hub/api/proxy", info::proxy)
        .on(POST, "/hub/api/proxy", info::sync_proxy)
        .on(PATCH, "/hub/api/proxy", info::change_proxy)
        .on(GET, "/hub/api/authorizations/token/{token}", users::of_token)
        .on(GET, "/hub/api/metrics", info::metrics)
        .on(GET, "/hub/metrics", info::metrics)
        .on(POST, "/hub/api/shutdown", info::shutdown);
    routes.router = routes.router.route("/hub/api/{*rest}", any(missing));
    routes
}

/// Routes for anybody.
pub fn open_routes() -> Routes {
    Routes::default()
        .on(GET, "/hub/api", info::version)
        .on(GET, "/hub/api/", info::version)
        .on(GET, "/hub/api/health", info::health)
        .on(GET, "/hub/health", info::health)
        .on(POST, "/hub/api/oauth2/token", oauth::exchange)
}

async fn missing() -> Error {
    Error::NotFound("there is no such route in the Hub's API".into())
}
