//! Services: the list, one of them, and those that are made while the hub runs.

use super::{body, models};
use crate::app::App;
use crate::caller::{self, Caller};
use crate::error::{Error, Result};
use crate::services::spec::{Places, Spec};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use carrel_hub::{Role, Scope, ScopeSet, ServiceName, Target, Whose};
use carrel_store::Service;
use http::StatusCode;
use serde_json::{Map, Value};

/// No hub has more services than this, whoever makes them.
const MOST: usize = 1000;
const FIELDS: [&str; 10] = [
    "name",
    "admin",
    "url",
    "api_token",
    "info",
    "display",
    "oauth_client_id",
    "oauth_redirect_uri",
    "oauth_client_allowed_scopes",
    "oauth_no_confirm",
];
/// What only a program that the hub starts itself would have.
const OF_A_PROGRAM: [&str; 4] = ["command", "cwd", "environment", "user"];

/// `GET /services`
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>> {
    caller.require("list:services", Target::List)?;
    let mut services = app.store.call(|s| s.services()).await?;
    services.retain(|s| caller.has("list:services", Target::Service(s.name.as_str())));
    let models =
        services.iter().map(|s| (s.name.to_string(), Value::Object(models::service(&app, &caller, s))));
    Ok(Json(Value::Object(models.collect())))
}

/// `GET /services/{s}`
pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    let scopes = ["read:services", "read:services:name", "read:roles:services"];
    let service = find(&app, &caller, &name, &scopes).await?;
    Ok(Json(Value::Object(models::service(&app, &caller, &service))))
}

/// `POST /services/{s}`: makes one that runs already. Nobody can give it more than they hold.
pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response> {
    caller.require("admin:services", Target::Service(&name))?;
    let wanted = ServiceName::parse(&name).map_err(|e| Error::Malformed(e.to_string()))?;
    let taken = || Error::Conflict(format!("Service {name} already exists"));
    let known = app.store.call(|s| s.services()).await?;
    if known.iter().any(|s| s.name == wanted) {
        return Err(taken());
    }
    if known.len() >= MOST {
        return Err(Error::Conflict(format!("there are {MOST} services already; delete one first")));
    }
    let spec = spec(&wanted, &body::object(body).await?)?;
    within(&caller, &spec)?;
    let places = Places { hosts: Some(&app.config.hub.service_hosts), own_port: app.config.gateway.port };
    let new = spec.check(places).map_err(Error::Malformed)?;
    let now = app.clock.now();
    let made = app.store.call(move |s| s.add_service(&new, now)).await.map_err(|e| match e {
        Error::Conflict(_) => {
            Error::Conflict("another service has this token or this oauth_client_id".into())
        }
        e => e,
    })?;
    let service = made.ok_or_else(|| Error::internal("no service was made"))?;
    tracing::info!(service.name = %service.name, service.admin = service.admin, by = caller.name(), "service made");
    Ok((StatusCode::CREATED, Json(Value::Object(models::service(&app, &caller, &service)))).into_response())
}

/// `DELETE /services/{s}`: with its token, its OAuth client and what people granted it.
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    let service = find(&app, &caller, &name, &["admin:services"]).await?;
    if service.configured {
        return Err(Error::MethodNotAllowed);
    }
    app.store.call(move |s| s.delete_service(service.id)).await?;
    tracing::info!(service.name = %name, by = caller.name(), "service deleted");
    Ok(StatusCode::OK)
}

fn spec(name: &ServiceName, fields: &Map<String, Value>) -> Result<Spec> {
    if fields.is_empty() {
        return Err(Error::Malformed("the body must say something about the service".into()));
    }
    if let Some(field) = OF_A_PROGRAM.iter().find(|f| fields.contains_key(**f)) {
        let why = format!(
            "{field}: a service made through the API runs already; programs that the hub starts are configured"
        );
        return Err(Error::Malformed(why));
    }
    body::only(fields, &FIELDS)?;
    if body::text(fields, "name")?.is_some_and(|n| n != name.as_str()) {
        return Err(Error::Malformed("name is another than that of the address".into()));
    }
    Ok(Spec {
        name: name.to_string(),
        admin: body::boolean(fields, "admin")?.unwrap_or(false),
        url: body::text(fields, "url")?,
        display: body::boolean(fields, "display")?.unwrap_or(true),
        info: body::map(fields, "info")?.unwrap_or_default(),
        api_token: body::text(fields, "api_token")?,
        oauth_client_id: body::text(fields, "oauth_client_id")?,
        oauth_redirect_uri: body::text(fields, "oauth_redirect_uri")?,
        oauth_scopes: body::texts(fields, "oauth_client_allowed_scopes")?.unwrap_or_default(),
        oauth_no_confirm: body::boolean(fields, "oauth_no_confirm")?.unwrap_or(false),
    })
}

/// Refuses what the caller does not hold.
fn within(caller: &Caller, spec: &Spec) -> Result<()> {
    let asked =
        spec.oauth_scopes.iter().map(|s| Scope::parse(s).map_err(|e| Error::Malformed(e.to_string())));
    let mut asked: Vec<Scope> = asked.collect::<Result<_>>()?;
    if spec.admin {
        asked.extend(Role::Admin.scopes());
    }
    let name = caller.user().map(|u| u.name.to_string());
    let whose = match (&name, caller.service()) {
        (Some(name), _) => Whose::of_user(name),
        (None, Some(service)) => Whose::of_service(service.name.as_str()),
        (None, None) => return Err(Error::Unauthenticated),
    };
    let wanted = ScopeSet::resolve(&asked, whose);
    let all = asked.iter().any(Scope::is_inherit) && !caller.is_admin();
    match caller.scopes().first_beyond(&wanted, &|g, u| caller.member(g, u)) {
        None if all => Err(Error::Malformed("inherit is more than you hold".into())),
        Some(beyond) => Err(Error::Malformed(format!("you do not hold {beyond}, so you cannot give it"))),
        None => Ok(()),
    }
}

async fn find(app: &App, caller: &Caller, name: &str, scopes: &[&str]) -> Result<Service> {
    let target = Target::Service(name);
    caller.require_any(scopes, target)?;
    let found = match ServiceName::parse(name) {
        Ok(wanted) => app.store.call(move |s| s.service(&wanted)).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| caller::not_found(target))
}
