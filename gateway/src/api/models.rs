//! What the API says about users, servers, groups and tokens. Which fields are there depends on what the caller may read.

use crate::app::App;
use crate::caller::{Caller, Holder, Holding, Look};
use crate::clock::iso;
use crate::cookies;
use crate::error::Result;
use crate::jailed::environment::base_of;
use crate::user::jail_user;
use carrel_hub::token::{api_id, share_code_id};
use carrel_hub::{Scope, ServerName, ServerState, Target};
use carrel_spawnd::{Hello, JailInfo};
use carrel_store::{Group, Recipient, Server, Service, Share, ShareCode, SharedServer, Token, User};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// What is known of the sandbox when models are made: spawnd is asked once per request, and only for callers who may see it.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    hello: Option<Hello>,
    jails: Vec<JailInfo>,
}

impl Sandbox {
    /// Asks spawnd, if the caller may see server states at all.
    pub(super) async fn look(app: &App, caller: &Caller) -> Self {
        if !caller.has("admin:server_state", Target::List) {
            return Self::default();
        }
        // a sandbox that does not answer is shown as such, it does not make users unreadable
        let hello = app.spawnd.hello().await.ok();
        let jails = app.spawnd.list().await.unwrap_or_default();
        Self { hello, jails }
    }

    fn state(&self, user: &User) -> Value {
        let Some(hello) = &self.hello else { return json!({"sandbox": "not reachable"}) };
        let folder = jail_user(user).ok();
        let jails: Vec<Value> = self
            .jails
            .iter()
            .filter(|j| Some(&j.user) == folder.as_ref())
            .map(|j| {
                json!({"id": j.id, "profile": j.profile, "kernelspec": j.kernelspec, "pid": j.pid, "uid": j.uid,
                       "started_ms": j.started_ms, "engine": j.engine, "layers": j.layers})
            })
            .collect();
        json!({"mode": hello.mode, "layers": hello.layers, "jails": jails})
    }
}

/// Everything about a user that models are made of.
#[derive(Debug)]
pub(super) struct Facts {
    /// The row.
    pub(super) user: User,
    /// Names of the groups.
    pub(super) groups: Vec<String>,
    /// The servers' rows.
    pub(super) servers: Vec<Server>,
}

/// Reads everything about a user.
pub(super) async fn facts(app: &App, user: User) -> Result<Facts> {
    let id = user.id;
    let (groups, servers) = app.store.call(move |s| Ok((s.groups_of(id)?, s.servers_of(id)?))).await?;
    Ok(Facts { user, groups, servers })
}

/// A user as the caller may see them; empty if the caller may not.
pub(super) fn user(
    app: &App,
    caller: &Caller,
    facts: &Facts,
    sandbox: &Sandbox,
    stopped_too: bool,
) -> Map<String, Value> {
    let Facts { user, groups, servers } = facts;
    let name = user.name.as_str();
    let may = |scope: &str| caller.has(scope, Target::User(name));
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    let all = may("read:users");
    if may("read:users:name") {
        put("name", json!(name));
        put("user_info", Value::Null);
    }
    if may("read:users:name") || may("read:roles:users") {
        put("admin", json!(user.admin));
    }
    if all || may("read:roles:users") {
        put("roles", json!(app.roles.of_user(name, user.admin, groups)));
    }
    if may("read:users:groups") {
        put("groups", json!(groups));
    }
    if may("read:users:activity") {
        put("last_activity", time_or_null(user.last_activity));
    }
    if all {
        let default = app.servers.state(user.id, &ServerName::default_server());
        put("server", if default.is_ready() { json!(cookies::user_path(&user.name)) } else { Value::Null });
        put("pending", json!(default.pending()));
        put("created", json!(iso(user.created)));
    }
    if may("admin:auth_state") {
        put("auth_state", Value::Null);
    }
    let seen: Map<String, Value> = servers
        .iter()
        .filter(|row| caller.has("read:servers", Target::Server(name, row.name.as_str())))
        .filter(|row| stopped_too || app.servers.state(user.id, &row.name).is_active())
        .map(|row| (row.name.to_string(), Value::Object(server(app, caller, user, row, sandbox))))
        .collect();
    if may("read:servers") || !seen.is_empty() {
        put("servers", Value::Object(seen));
    }
    if !out.is_empty() {
        out.insert("kind".into(), json!("user"));
    }
    out
}

/// A server.
pub(super) fn server(
    app: &App,
    caller: &Caller,
    user: &User,
    row: &Server,
    sandbox: &Sandbox,
) -> Map<String, Value> {
    let state = app.servers.state(user.id, &row.name);
    let base = cookies::user_path(&user.name);
    let (url, progress) = if row.name.is_default() {
        (base, format!("/hub/api/users/{}/server/progress", cookies::segment(user.name.as_str())))
    } else {
        (
            format!("{base}{}/", row.name),
            format!("/hub/api/users/{}/servers/{}/progress", cookies::segment(user.name.as_str()), row.name),
        )
    };
    let mut out = Map::new();
    for (key, value) in [
        ("name", json!(row.name.as_str())),
        ("full_name", json!(format!("{}/{}", user.name, row.name))),
        ("display_name", json!(row.display_name.as_deref().unwrap_or(row.name.as_str()))),
        ("last_activity", time_or_null(row.last_activity)),
        ("started", time_or_null(state.started().or(row.started))),
        ("pending", json!(state.pending())),
        ("ready", json!(state.is_ready())),
        ("stopped", json!(state == ServerState::Stopped)),
        ("url", json!(url)),
        ("user_options", Value::Object(row.options.clone())),
        ("progress_url", json!(progress)),
        ("full_url", Value::Null),
        ("full_progress_url", Value::Null),
    ] {
        out.insert(key.to_owned(), value);
    }
    if caller.has("admin:server_state", Target::Server(user.name.as_str(), row.name.as_str())) {
        out.insert("state".to_owned(), sandbox.state(user));
    }
    out
}

/// A group as the caller may see it.
pub(super) fn group(app: &App, caller: &Caller, group: &Group) -> Map<String, Value> {
    let name = group.name.as_str();
    let may = |scope: &str| caller.has(scope, Target::Group(name));
    let mut out = Map::new();
    out.insert("kind".into(), json!("group"));
    out.insert("name".into(), json!(name));
    if may("read:groups") {
        out.insert("users".into(), json!(group.users));
        out.insert("properties".into(), Value::Object(group.properties.clone()));
    }
    if may("read:groups") || may("read:roles:groups") {
        out.insert("roles".into(), json!(app.roles.of_group(name)));
    }
    out
}

/// A service as the caller may see it; empty if the caller may not.
pub(super) fn service(app: &App, caller: &Caller, service: &Service) -> Map<String, Value> {
    let name = service.name.as_str();
    let may = |scope: &str| caller.has(scope, Target::Service(name));
    let (all, roles) = (may("read:services"), may("read:roles:services"));
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    if all || roles || may("read:services:name") {
        put("kind", json!("service"));
        put("name", json!(name));
        put("admin", json!(service.admin));
    }
    if roles {
        put("roles", json!(app.roles.of_service(name, service.admin)));
    }
    if all {
        let prefix = if service.url.is_some() { service.name.prefix() } else { String::new() };
        put("url", json!(service.url.as_deref().unwrap_or("")));
        put("prefix", json!(prefix));
        // programs that the hub itself starts would have these
        put("command", json!([]));
        put("pid", json!(0));
        put("info", Value::Object(service.info.clone()));
        put("display", json!(service.display));
    }
    out
}

/// A share.
pub(super) fn share(app: &App, share: &Share) -> Value {
    let (user, group) = match &share.with {
        Recipient::User(name) => (json!({"name": name.as_str()}), Value::Null),
        Recipient::Group(name) => (Value::Null, json!({"name": name.as_str()})),
    };
    json!({
        "server": shared_server(app, &share.of),
        "scopes": share.scopes.iter().map(Scope::to_string).collect::<Vec<_>>(),
        "kind": if user.is_null() { "group" } else { "user" },
        "user": user,
        "group": group,
        "created_at": iso(share.created),
    })
}

/// A share code, never with what people are given.
pub(super) fn share_code(app: &App, code: &ShareCode) -> Map<String, Value> {
    let value = json!({
        "server": shared_server(app, &code.of),
        "scopes": code.scopes.iter().map(Scope::to_string).collect::<Vec<_>>(),
        "id": share_code_id(code.id),
        "created_at": iso(code.created),
        "expires_at": iso(code.expires),
        "exchange_count": code.exchanges,
        "last_exchanged_at": time_or_null(code.last_exchanged),
    });
    if let Value::Object(map) = value { map } else { Map::new() }
}

/// What those with whom a server is shared may know of it.
fn shared_server(app: &App, of: &SharedServer) -> Value {
    json!({
        "user": {"name": of.owner.as_str()},
        "name": of.server.as_str(),
        "url": base_of(&of.owner, &of.server),
        "full_url": Value::Null,
        "ready": app.servers.state(of.owner_id, &of.server).is_ready(),
    })
}

/// A token, never with its secret.
pub(super) async fn token(app: &App, owner: &User, token: &Token) -> Result<Map<String, Value>> {
    let (row, look, id) = (owner.clone(), Look::of_token(app).at(token), token.client_id.clone());
    let (who, client) = app
        .store
        .call(move |s| {
            let client = id.as_deref().map(|id| s.client(id)).transpose()?.flatten();
            Ok((Holder::user(s, row, look)?, client))
        })
        .await?;
    let Holding { scopes, .. } = Holding::of_token(app, token, &who, client.as_ref()).await?;
    let value = json!({
        "user": owner.name.as_str(),
        "id": api_id(token.id),
        "kind": "api_token",
        "roles": [],
        "scopes": scopes.to_strings(),
        "created": iso(token.created),
        "last_activity": time_or_null(token.last_activity),
        "expires_at": time_or_null(token.expires),
        "note": token.note,
        "session_id": token.session_id,
        "oauth_client": token.client,
    });
    Ok(if let Value::Object(map) = value { map } else { Map::new() })
}

fn time_or_null(t: Option<OffsetDateTime>) -> Value {
    t.map_or(Value::Null, |t| json!(iso(t)))
}
