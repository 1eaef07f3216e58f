//! The service without sockets: every route by every kind of caller, the door to users' servers, signing in and out.

mod entry;
mod oauth;
mod server_routes;
mod services;
mod shares;

use super::*;
use crate::accounts;
use crate::clock::Clock;
use crate::config::Config;
use crate::cookies::{self, HUB_PATH, Keys, LOGIN, XSRF};
use crate::servers::Change;
use crate::spawnd::SpawndHandle;
use crate::store::StoreHandle;
use crate::user::UserServer;
use axum::body::Body;
use axum::routing::{get, post};
use carrel_hub::{Secret, ServerName, UserName};
use carrel_store::{NewLogin, NewToken, Store, TokenOwner, User};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;
use std::path::Path;
use time::macros::datetime;
use tower::ServiceExt;

/// A service with ada, bob and the administrator root, nobody's server running.
struct World {
    app: App,
    router: Router,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who4 {
    Anonymous,
    User,
    Admin,
    Weak,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    /// A service with this configuration.
    async fn with(config: &str) -> Self {
        let store = StoreHandle::start(Store::in_memory().unwrap()).unwrap();
        let clock = Clock::held(datetime!(2026-01-01 12:00 UTC));
        let config = Config::parse(config, Path::new("/nonexistent/carrel-test")).unwrap();
        let app = App::new(config, store, SpawndHandle::absent(), Keys::new([7; 32]), clock);
        let now = app.clock.now();
        app.store
            .call(move |s| {
                s.add_users(&[name("ada"), name("bob")], false, now)?;
                s.add_users(&[name("root")], true, now)
            })
            .await
            .unwrap();
        app.lifecycle.set_ready();
        let inside = Router::new()
            .route("/lab", get(async |s: UserServer| format!("lab of {} at {}", s.user.name, s.base)))
            .route("/api", get(async || "version"))
            .route("/api/status", get(async |s: UserServer| s.base.to_string()))
            .route("/api/kernels", post(async |_: UserServer| StatusCode::CREATED))
            .route("/api/broken", get(async || -> &'static str { panic!("on purpose") }));
        let router = super::router(&app, inside, axum::Router::new());
        Self { app, router }
    }

    async fn user(&self, n: &str) -> User {
        let wanted = name(n);
        self.app.store.call(move |s| s.user(&wanted)).await.unwrap().unwrap()
    }

    async fn token(&self, user: &str, scopes: &[&str]) -> String {
        let secret = Secret::from_random(rand::random());
        let new = NewToken {
            owner: TokenOwner::User(self.user(user).await.id),
            hash: secret.hash(),
            prefix: secret.prefix(),
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            note: String::new(),
            created: self.app.clock.now(),
            expires: None,
            session_id: None,
            client: String::new(),
            client_id: None,
        };
        self.app.store.call(move |s| s.add_token(&new)).await.unwrap();
        format!("token {}", secret.reveal())
    }

    /// A login's cookie header for the Hub's pages, and its number.
    async fn login(&self, user: &str) -> (String, i64) {
        let secret = Secret::from_random(rand::random());
        let now = self.app.clock.now();
        let (user_id, hash) = (self.user(user).await.id, secret.hash());
        let expires = now + time::Duration::days(1);
        let new = NewLogin { user_id, hash, session_id: secret.prefix(), created: now, expires };
        let login = self.app.store.call(move |s| s.add_login(&new)).await.unwrap();
        (format!("{LOGIN}={}", secret.reveal()), login.id)
    }

    /// A call of the Hub's API with a token; `Null` is no body, and no answer.
    async fn json(&self, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("authorization", token), ("content-type", "application/json")];
        let r = self.ask(method, path, &headers, &body).await;
        (r.status, serde_json::from_str(&r.text).unwrap_or(Value::Null))
    }

    async fn start(&self, user: &str) {
        let user = self.user(user).await;
        self.app.servers.start(&user, &ServerName::default_server(), Change::default()).await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "here:8000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        // streams are not read to their end here
        let text = match parts.headers.get("content-type") {
            Some(kind) if kind == "text/event-stream" => String::new(),
            _ => String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned(),
        };
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    fn cookie(&self, name: &str, path: &str) -> Option<String> {
        let want = (format!("{name}="), format!("; Path={path};"));
        let all = self.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap());
        all.filter(|c| c.starts_with(&want.0) && c.contains(&want.1))
            .map(|c| c[want.0.len()..].split(';').next().unwrap().to_owned())
            .next()
    }
}

fn name(n: &str) -> UserName {
    UserName::parse(n).unwrap()
}

/// Method, path, and the status for: nobody, a user, an administrator, a token of the user with hardly any scope. The user is ada; paths
/// speak of bob. For pages the first three come with a cookie and the last with a full token, which opens no page.
#[rustfmt::skip]
const PERMISSIONS: &[(&str, &str, [u16; 4])] = &[
    ("GET", "/hub/api", [200, 200, 200, 200]),
    ("GET", "/hub/api/", [200, 200, 200, 200]),
    ("GET", "/hub/api/health", [200, 200, 200, 200]),
    ("GET", "/hub/health", [200, 200, 200, 200]),
    ("GET", "/hub/api/info", [403, 403, 200, 403]),
    ("GET", "/hub/api/user", [403, 200, 200, 200]),
    ("GET", "/hub/api/users", [403, 403, 200, 403]),
    ("POST", "/hub/api/users", [403, 403, 400, 403]),
    ("GET", "/hub/api/users/{user}", [403, 404, 200, 404]),
    ("POST", "/hub/api/users/{user}", [403, 403, 409, 403]),
    ("PATCH", "/hub/api/users/{user}", [403, 403, 200, 403]),
    ("DELETE", "/hub/api/users/{user}", [403, 403, 204, 403]),
    ("POST", "/hub/api/users/{user}/activity", [403, 404, 400, 403]),
    ("GET", "/hub/api/users/{user}/tokens", [403, 404, 200, 403]),
    ("POST", "/hub/api/users/{user}/tokens", [403, 403, 201, 403]),
    ("GET", "/hub/api/users/{user}/tokens/{id}", [403, 404, 404, 403]),
    ("DELETE", "/hub/api/users/{user}/tokens/{id}", [403, 404, 404, 403]),
    ("GET", "/hub/api/users/{user}/server", [403, 404, 200, 403]),
    ("POST", "/hub/api/users/{user}/server", [403, 404, 201, 403]),
    ("PATCH", "/hub/api/users/{user}/server", [403, 404, 200, 403]),
    ("DELETE", "/hub/api/users/{user}/server", [403, 404, 204, 403]),
    ("GET", "/hub/api/users/{user}/server/progress", [403, 404, 400, 403]),
    ("GET", "/hub/api/users/{user}/servers/{server}", [403, 404, 404, 403]),
    ("POST", "/hub/api/users/{user}/servers/{server}", [403, 404, 201, 403]),
    ("PUT", "/hub/api/users/{user}/servers/{server}", [403, 404, 201, 403]),
    ("PATCH", "/hub/api/users/{user}/servers/{server}", [403, 404, 404, 403]),
    ("DELETE", "/hub/api/users/{user}/servers/{server}", [403, 404, 404, 403]),
    ("GET", "/hub/api/users/{user}/servers/{server}/progress", [403, 404, 404, 403]),
    ("GET", "/hub/api/groups", [403, 403, 200, 403]),
    ("POST", "/hub/api/groups", [403, 403, 400, 403]),
    ("GET", "/hub/api/groups/{group}", [403, 403, 404, 403]),
    ("POST", "/hub/api/groups/{group}", [403, 403, 201, 403]),
    ("DELETE", "/hub/api/groups/{group}", [403, 403, 404, 403]),
    ("POST", "/hub/api/groups/{group}/users", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/groups/{group}/users", [403, 403, 404, 403]),
    ("PUT", "/hub/api/groups/{group}/properties", [403, 403, 404, 403]),
    ("GET", "/hub/api/users/{user}/shared", [403, 404, 200, 403]),
    ("GET", "/hub/api/users/{user}/shared/{owner}/", [403, 404, 404, 403]),
    ("DELETE", "/hub/api/users/{user}/shared/{owner}/", [403, 404, 404, 403]),
    ("GET", "/hub/api/users/{user}/shared/{owner}/{server}", [403, 404, 404, 403]),
    ("DELETE", "/hub/api/users/{user}/shared/{owner}/{server}", [403, 404, 404, 403]),
    ("GET", "/hub/api/groups/{group}/shared", [403, 403, 404, 403]),
    ("GET", "/hub/api/groups/{group}/shared/{owner}/", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/groups/{group}/shared/{owner}/", [403, 403, 404, 403]),
    ("GET", "/hub/api/groups/{group}/shared/{owner}/{server}", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/groups/{group}/shared/{owner}/{server}", [403, 403, 404, 403]),
    ("GET", "/hub/api/shares/{user}", [403, 404, 200, 403]),
    ("GET", "/hub/api/shares/{user}/", [403, 404, 404, 403]),
    ("POST", "/hub/api/shares/{user}/", [403, 403, 404, 403]),
    ("PATCH", "/hub/api/shares/{user}/", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/shares/{user}/", [403, 403, 404, 403]),
    ("GET", "/hub/api/shares/{user}/{server}", [403, 404, 404, 403]),
    ("POST", "/hub/api/shares/{user}/{server}", [403, 403, 404, 403]),
    ("PATCH", "/hub/api/shares/{user}/{server}", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/shares/{user}/{server}", [403, 403, 404, 403]),
    ("GET", "/hub/api/share-codes/{user}", [403, 404, 200, 403]),
    ("GET", "/hub/api/share-codes/{user}/", [403, 404, 404, 403]),
    ("POST", "/hub/api/share-codes/{user}/", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/share-codes/{user}/", [403, 403, 404, 403]),
    ("GET", "/hub/api/share-codes/{user}/{server}", [403, 404, 404, 403]),
    ("POST", "/hub/api/share-codes/{user}/{server}", [403, 403, 404, 403]),
    ("DELETE", "/hub/api/share-codes/{user}/{server}", [403, 403, 404, 403]),
    ("GET", "/hub/api/services", [403, 403, 200, 403]),
    ("GET", "/hub/api/services/{service}", [403, 403, 404, 403]),
    ("POST", "/hub/api/services/{service}", [403, 403, 400, 403]),
    ("DELETE", "/hub/api/services/{service}", [403, 403, 404, 403]),
    ("GET", "/hub/api/proxy", [403, 403, 200, 403]),
    ("POST", "/hub/api/proxy", [403, 403, 200, 403]),
    ("PATCH", "/hub/api/proxy", [403, 403, 400, 403]),
    ("GET", "/hub/api/authorizations/token/{token}", [403, 404, 404, 404]),
    ("GET", "/hub/api/metrics", [403, 403, 200, 403]),
    ("GET", "/hub/metrics", [403, 403, 200, 403]),
    ("POST", "/hub/api/shutdown", [403, 403, 202, 403]),
    ("GET", "/", [302, 302, 302, 302]),
    ("GET", "/hub", [302, 302, 302, 302]),
    ("GET", "/hub/", [302, 302, 302, 302]),
    ("GET", "/hub/enter", [302, 400, 400, 302]),
    ("GET", "/hub/login", [200, 302, 302, 200]),
    ("POST", "/hub/login", [403, 403, 403, 403]),
    ("GET", "/hub/logout", [302, 302, 302, 302]),
    ("GET", "/hub/api/oauth2/authorize", [302, 400, 400, 302]),
    ("POST", "/hub/api/oauth2/authorize", [302, 403, 403, 302]),
    ("POST", "/hub/api/oauth2/token", [400, 400, 400, 400]),
    ("GET", "/hub/accept-share", [302, 404, 404, 302]),
    ("POST", "/hub/accept-share", [302, 403, 403, 302]),
    ("GET", "/hub/home", [302, 200, 200, 302]),
    ("POST", "/hub/home", [302, 403, 403, 302]),
    ("GET", "/hub/token", [302, 200, 200, 302]),
    ("POST", "/hub/token", [302, 403, 403, 302]),
    ("GET", "/hub/admin", [302, 403, 200, 302]),
    ("GET", "/hub/spawn", [302, 302, 302, 302]),
    ("GET", "/hub/spawn/{user}", [302, 404, 302, 302]),
    ("GET", "/hub/spawn/{user}/{server}", [302, 404, 302, 302]),
    ("POST", "/hub/spawn/{user}", [302, 403, 403, 302]),
    ("POST", "/hub/spawn/{user}/{server}", [302, 403, 403, 302]),
    ("GET", "/hub/spawn-pending/{user}", [302, 404, 424, 302]),
    ("GET", "/hub/spawn-pending/{user}/{server}", [302, 404, 424, 302]),
    ("GET", "/hub/user-redirect", [302, 302, 302, 302]),
    ("GET", "/hub/user-redirect/", [302, 302, 302, 302]),
    ("GET", "/hub/user-redirect/{*rest}", [302, 302, 302, 302]),
    ("GET", "/user-redirect", [302, 302, 302, 302]),
    ("GET", "/user-redirect/", [302, 302, 302, 302]),
    ("GET", "/user-redirect/{*rest}", [302, 302, 302, 302]),
    ("GET", "/hub/user/{*rest}", [302, 404, 424, 302]),
    ("GET", "/services/{*rest}", [404, 404, 404, 404]),
    ("POST", "/hub/security/csp-report", [204, 204, 204, 204]),
    ("GET", "/hub/static/carrel.css", [200, 200, 200, 200]),
];

fn fill(path: &str) -> String {
    path.replace("{user}", "bob")
        .replace("{owner}", "root")
        .replace("{server}", "gpu")
        .replace("{group}", "g")
        .replace("{service}", "s")
        .replace("{id}", "a999")
        .replace("{token}", "0123456789abcdef")
        .replace("{*rest}", "bob/lab")
}

#[test]
fn every_route_has_a_line_in_the_table_and_every_line_a_route() {
    let mut rows = api::routes().rows;
    rows.extend(api::open_routes().rows);
    rows.extend(pages::routes().rows);
    for (method, path) in &rows {
        let known = PERMISSIONS.iter().any(|(m, p, _)| m == &method.as_str() && p == path);
        assert!(known, "{method} {path} has no line in PERMISSIONS");
    }
    for (method, path, _) in PERMISSIONS {
        assert!(rows.iter().any(|(m, p)| m.as_str() == *method && p == path), "{method} {path} is no route");
    }
}

#[tokio::test]
async fn every_route_answers_every_kind_of_caller_as_the_table_says() {
    let mut wrong = Vec::new();
    for (method, path, want) in PERMISSIONS {
        let oauth = path.starts_with("/hub/api/oauth2");
        let page = (!path.starts_with("/hub/api") && *path != "/hub/metrics") || path.ends_with("/authorize");
        for (who, want) in [Who4::Anonymous, Who4::User, Who4::Admin, Who4::Weak].into_iter().zip(want) {
            let w = World::new().await;
            let owner = if who == Who4::Admin { "root" } else { "ada" };
            let header = match who {
                Who4::Anonymous => None,
                Who4::Weak if page => Some(("authorization", w.token(owner, &["inherit"]).await)),
                Who4::Weak => Some(("authorization", w.token(owner, &["read:users:name!user"]).await)),
                Who4::User | Who4::Admin if page => Some(("cookie", w.login(owner).await.0)),
                Who4::User | Who4::Admin => Some(("authorization", w.token(owner, &["inherit"]).await)),
            };
            let headers: Vec<(&str, &str)> = header.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let got = w.ask(method, &fill(path), &headers, "").await;
            if got.status != *want {
                wrong.push(format!(
                    "{method} {path} as {who:?}: {} instead of {want}: {}",
                    got.status, got.text
                ));
            }
            if !page && !oauth && got.status >= 400 {
                let json: serde_json::Value = serde_json::from_str(&got.text).unwrap();
                assert_eq!(json["status"], got.status, "{method} {path}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let w = World::new().await;
    w.start("bob").await;
    let bob = w.token("bob", &["inherit"]).await;
    let r = w.ask("GET", "/user/bob/api/broken", &[("authorization", &bob)], "").await;
    assert_eq!(r.status, 500);
    assert!(
        !r.text.contains("on purpose")
            && r.text.contains("reference")
            && !r.header("x-request-id").is_empty(),
        "{}",
        r.text
    );
    assert_eq!(w.ask("GET", "/hub/health", &[], "").await.status, 200);
}

#[tokio::test]
async fn oversized_and_unknown_things_are_refused_in_shape() {
    let w = World::new().await;
    let root = w.token("root", &["inherit"]).await;
    let h = [("authorization", root.as_str())];
    let big = format!("{{\"usernames\": [\"{}\"]}}", "x".repeat(2 << 20));
    assert_eq!(w.ask("POST", "/hub/api/users", &h, &big).await.status, 413);
    assert_eq!(
        w.ask("GET", "/hub/api/nothing/here", &h, "").await.text,
        "{\"message\":\"there is no such route in the Hub's API\",\"status\":404}"
    );
    let r = w.ask("DELETE", "/hub/api/info", &h, "").await;
    assert!(r.status == 405 && r.text.contains("\"status\":405"), "{}", r.text);
    let r = w.ask("GET", "/nowhere", &[], "").await;
    assert!(r.status == 404 && r.header("content-type").starts_with("text/html"));
    assert_eq!(w.ask("GET", "/hub/api/", &[], "").await.header("x-jupyterhub-version"), HUB_VERSION);
}
