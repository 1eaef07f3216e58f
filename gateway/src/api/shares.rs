//! Shares of servers: what their owners, or whoever holds `shares`, give to users and groups, and take back.

use super::paging::Page;
use super::{body, models};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::{Error, Result};
use axum::Json;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::response::Response;
use carrel_hub::{GroupName, Scope, ServerName, Target, UserName};
use carrel_store::{Given, ShareWith, Shares, User};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The longest list of scopes in a request.
const MOST_SCOPES: usize = 100;
const FIELDS: [&str; 3] = ["user", "group", "scopes"];

/// `{user}` and `{server}` of an address; without a server in it, the default server.
#[derive(Debug, Deserialize)]
pub(super) struct Address {
    pub(super) user: String,
    #[serde(default)]
    pub(super) server: String,
}

/// A server that is there, of a caller who may do what was asked with its shares.
#[derive(Debug)]
pub(super) struct Shared {
    /// Its owner.
    pub(super) owner: User,
    /// Its name.
    pub(super) server: ServerName,
}

/// The query of a list.
pub(super) type Args = Query<HashMap<String, String>>;

/// `GET /shares/{u}`: of all servers of a user.
pub(super) async fn of_owner(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    Query(args): Args,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let owner = super::users::find(&app, &caller, &address.user, &["read:shares"]).await?;
    list(&app, Shares::OfOwner(owner.id), &args, &headers, &uri).await
}

/// `GET /shares/{u}/{s}`
pub(super) async fn of_server(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    Query(args): Args,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
) -> Result<Response> {
    let Shared { owner, server } = find(&app, &caller, &address, "read:shares").await?;
    list(&app, Shares::OfServer(owner.id, server), &args, &headers, &uri).await
}

/// `POST` of the same: shares the server with a user or a group, or adds to what they have. Nobody gives what they do not hold.
pub(super) async fn give(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<Json<Value>> {
    let Shared { owner, server } = find(&app, &caller, &address, "shares").await?;
    let fields = body::object(body).await?;
    let whom = Whom::read(&fields)?;
    let scopes = to_give(&caller, &fields, &owner, &server)?;
    let may_name = match &whom {
        Whom::User(name) => caller.has("read:users:name", Target::User(name.as_str())),
        Whom::Group(name) => caller.has("read:groups:name", Target::Group(name.as_str())),
    };
    if !may_name {
        let why = "sharing by name needs read:users:name or read:groups:name of them";
        return Err(Error::Forbidden(why.into()));
    }
    let with = whom.find(&app).await?.ok_or_else(|| whom.missing())?;
    let (id, name, now) = (owner.id, server.clone(), app.clock.now());
    let given = app.store.call(move |s| s.give_share(id, &name, with, &scopes, now)).await?;
    let Given::Share(share) = given else {
        return Err(Error::Conflict(
            "there are as many shares of this server, or with them, as there may be".into(),
        ));
    };
    tracing::info!(user.name = %owner.name, server.name = %server, share.with = %whom, by = caller.name(), "server shared");
    Ok(Json(models::share(&app, &share)))
}

/// `PATCH` of the same: takes scopes back from a user or a group, all of them if none is named.
pub(super) async fn take(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
    body: Body,
) -> Result<Json<Value>> {
    let Shared { owner, server } = find(&app, &caller, &address, "shares").await?;
    let fields = body::object(body).await?;
    let whom = Whom::read(&fields)?;
    let scopes = scopes(&fields, &owner, &server)?;
    // nobody has anything of whom there is not
    let Some(with) = whom.find(&app).await? else { return Ok(Json(json!({}))) };
    let (id, name) = (owner.id, server.clone());
    let left = app.store.call(move |s| s.take_share(id, &name, with, scopes.as_deref())).await?;
    tracing::info!(user.name = %owner.name, server.name = %server, share.with = %whom, by = caller.name(), "share taken back");
    Ok(Json(left.map_or_else(|| json!({}), |share| models::share(&app, &share))))
}

/// `DELETE` of the same: takes all shares of the server back.
pub(super) async fn take_all(
    State(app): State<App>,
    caller: Caller,
    Path(address): Path<Address>,
) -> Result<StatusCode> {
    let Shared { owner, server } = find(&app, &caller, &address, "shares").await?;
    let (id, name) = (owner.id, server.clone());
    let gone = app.store.call(move |s| s.delete_shares(id, &name)).await?;
    tracing::info!(user.name = %owner.name, server.name = %server, gone, by = caller.name(), "all shares taken back");
    Ok(StatusCode::NO_CONTENT)
}

/// A list of shares, always with numbers.
pub(super) async fn list(
    app: &App,
    which: Shares,
    args: &HashMap<String, String>,
    headers: &HeaderMap,
    uri: &http::Uri,
) -> Result<Response> {
    let page = Page::of(args, &app.config.hub)?;
    let part = app.store.call(move |s| s.shares(&which, page.offset, page.limit)).await?;
    let items = part.rows.iter().map(|share| models::share(app, share)).collect();
    Ok(page.with_numbers(items, part.total, headers, uri))
}

/// The server of an address, if it is there and the caller holds `scope` on it.
pub(super) async fn find(app: &App, caller: &Caller, address: &Address, scope: &str) -> Result<Shared> {
    let (user, server) = (UserName::parse(&address.user), ServerName::parse(&address.server));
    let name = user.as_ref().map_or(address.user.as_str(), UserName::as_str);
    let target = Target::Server(name, &address.server);
    caller.require(scope, target)?;
    let missing = || caller::not_found(target);
    let (wanted, server) = (user.clone().map_err(|_| missing())?, server.map_err(|_| missing())?);
    let row = server.clone();
    let found = app
        .store
        .call(move |s| match s.user(&wanted)? {
            Some(owner) => Ok(s.server(owner.id, &row)?.map(|_| owner)),
            None => Ok(None),
        })
        .await?;
    Ok(Shared { owner: found.ok_or_else(missing)?, server })
}

/// The scopes that a body names, for this server; none if it names none.
fn scopes(fields: &Map<String, Value>, owner: &User, server: &ServerName) -> Result<Option<Vec<Scope>>> {
    let texts = body::texts(fields, "scopes")?.unwrap_or_default();
    if texts.len() > MOST_SCOPES {
        return Err(Error::Malformed(format!("scopes has more than {MOST_SCOPES} entries")));
    }
    if texts.is_empty() {
        return Ok(None);
    }
    let of_server = |text: &String| {
        Scope::parse(text).and_then(|scope| scope.of_server(owner.name.as_str(), server.as_str()))
    };
    let scopes: Result<Vec<Scope>, _> = texts.iter().map(of_server).collect();
    scopes.map(Some).map_err(|e| Error::Malformed(e.to_string()))
}

/// The scopes that a body asks to give, access if it names none; all of them must be the caller's to give.
pub(super) fn to_give(
    caller: &Caller,
    fields: &Map<String, Value>,
    owner: &User,
    server: &ServerName,
) -> Result<Vec<Scope>> {
    let (user, name) = (owner.name.as_str(), server.as_str());
    let scopes = match scopes(fields, owner, server)? {
        Some(scopes) => scopes,
        None => Scope::parse("access:servers").and_then(|s| s.of_server(user, name)).into_iter().collect(),
    };
    match scopes.iter().find(|scope| !caller.has(scope.name(), Target::Server(user, name))) {
        Some(scope) => Err(Error::Forbidden(format!("you do not hold {scope}, so you cannot share it"))),
        None => Ok(scopes),
    }
}

/// With whom a request shares.
#[derive(Debug)]
enum Whom {
    User(UserName),
    Group(GroupName),
}

impl Whom {
    fn read(fields: &Map<String, Value>) -> Result<Self> {
        body::only(fields, &FIELDS)?;
        let malformed = |e: carrel_hub::NameError| Error::Malformed(e.to_string());
        match (body::text(fields, "user")?, body::text(fields, "group")?) {
            (Some(user), None) => UserName::parse(&user).map(Self::User).map_err(malformed),
            (None, Some(group)) => GroupName::parse(&group).map(Self::Group).map_err(malformed),
            _ => Err(Error::Malformed("say exactly one of user and group".into())),
        }
    }

    async fn find(&self, app: &App) -> Result<Option<ShareWith>> {
        Ok(match self {
            Self::User(name) => {
                let wanted = name.clone();
                app.store.call(move |s| s.user(&wanted)).await?.map(|u| ShareWith::User(u.id))
            }
            Self::Group(name) => {
                let wanted = name.clone();
                app.store.call(move |s| s.group(&wanted)).await?.map(|g| ShareWith::Group(g.id))
            }
        })
    }

    fn missing(&self) -> Error {
        Error::Malformed(format!("No such {self}"))
    }
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => write!(f, "user: {name}"),
            Self::Group(name) => write!(f, "group: {name}"),
        }
    }
}
