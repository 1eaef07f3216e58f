//! `/api/sessions`: notebooks and their kernels.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::body;
use crate::app::App;
use crate::error::{Error, Result};
use crate::kernels::sessions::Session;
use crate::kernels::{Wanted, kernel::Kernel};
use crate::user::UserServer;

/// `GET /api/sessions`
pub async fn list(State(app): State<App>, server: UserServer) -> Result<Json<Value>> {
    let owner = server.owner();
    let kernels = app.kernels.list(&owner)?;
    let sessions = app.kernels.sessions().list(&owner);
    let with_kernel = sessions.iter().filter_map(|session| {
        let kernel = kernels.iter().find(|kernel| kernel.id == session.kernel)?;
        Some(model(session, kernel))
    });
    Ok(Json(with_kernel.collect()))
}

/// `POST /api/sessions`: the session of this path, made if there is none.
pub async fn create(State(app): State<App>, server: UserServer, body: Body) -> Result<Response> {
    let asked = older_form(body::object(body).await?);
    let need = |key: &str| {
        let missing = || Error::Malformed(format!("Missing field in JSON data: {key}"));
        body::text(&asked, key)?.ok_or_else(missing)
    };
    let (path, kind) = (need("path")?, need("type")?);
    let none = Map::new();
    let wanted = match asked.get("kernel") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(kernel)) => kernel,
        Some(_) => return Err(Error::Malformed("kernel must be an object".into())),
    };
    let owner = server.owner();
    let sessions = app.kernels.sessions();
    let _one_at_a_time = sessions.making(&owner).await;

    if let Some(session) = sessions.by_path(&owner, path)
        && let Ok(kernel) = app.kernels.get(&owner, &session.kernel.to_string())
    {
        return Ok(created(&server, &session, &kernel));
    }
    let (kernel, started) = match body::text(wanted, "id")?.filter(|id| !id.is_empty()) {
        Some(id) => (app.kernels.get(&owner, id)?, false),
        None => match start(&app, &server, body::text(wanted, "name")?, path).await {
            Ok(kernel) => (kernel, true),
            Err(error) => return spec_problem(error, body::text(wanted, "name")?),
        },
    };
    let session = Session {
        id: Uuid::new_v4(),
        owner,
        path: path.to_owned(),
        name: body::text(&asked, "name")?.unwrap_or("").to_owned(),
        kind: kind.to_owned(),
        kernel: kernel.id,
        created: app.clock.now(),
    };
    if let Err(error) = sessions.put(session.clone()).await {
        if started {
            app.kernels.end(&kernel).await?;
        }
        return Err(error);
    }
    Ok(created(&server, &session, &kernel))
}

/// `GET /api/sessions/{id}`
pub async fn get(State(app): State<App>, server: UserServer, Path(id): Path<String>) -> Result<Json<Value>> {
    let (session, kernel) = find(&app, &server, &id)?;
    Ok(Json(model(&session, &kernel)))
}

/// `PATCH /api/sessions/{id}`: another path, name, type, or kernel. A kernel that is replaced ends.
pub async fn change(
    State(app): State<App>,
    server: UserServer,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response> {
    let asked = older_form(body::object(body).await?);
    if asked.is_empty() {
        return Err(Error::Malformed("No JSON data provided".into()));
    }
    let owner = server.owner();
    let _one_at_a_time = app.kernels.sessions().making(&owner).await;
    let (before, old) = find(&app, &server, &id)?;
    let mut session = before.clone();
    let changed = |key: &str, into: &mut String| -> Result<()> {
        if let Some(text) = body::text(&asked, key)? {
            text.clone_into(into);
        }
        Ok(())
    };
    changed("path", &mut session.path)?;
    changed("name", &mut session.name)?;
    changed("type", &mut session.kind)?;
    let mut kernel = old.clone();
    if let Some(Value::Object(wanted)) = asked.get("kernel") {
        if let Some(id) = body::text(wanted, "id")? {
            let unknown = |_| Error::Malformed(format!("No such kernel: {id}"));
            kernel = app.kernels.get(&owner, id).map_err(unknown)?;
        } else if let Some(name) = body::text(wanted, "name")? {
            kernel = match start(&app, &server, Some(name), &session.path).await {
                Ok(kernel) => kernel,
                Err(error) => return spec_problem(error, Some(name)),
            };
        }
        session.kernel = kernel.id;
    }
    app.kernels.sessions().put(session.clone()).await?;
    if kernel.id != old.id
        && let Err(error) = app.kernels.end(&old).await
    {
        tracing::warn!(kernel.id = %old.id, %error, "cannot end a session's old kernel");
    }
    Ok(Json(model(&session, &kernel)).into_response())
}

/// `DELETE /api/sessions/{id}`: the session and its kernel.
pub async fn end(State(app): State<App>, server: UserServer, Path(id): Path<String>) -> Result<StatusCode> {
    let (session, kernel) = find(&app, &server, &id)?;
    app.kernels.sessions().remove(session.id).await?;
    app.kernels.end(&kernel).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find(app: &App, server: &UserServer, id: &str) -> Result<(Session, Kernel)> {
    let owner = server.owner();
    // Asking for the kernels first: before they are adopted, nothing is known of sessions.
    app.kernels.list(&owner)?;
    let session = app.kernels.sessions().get(&owner, id)?;
    let kernel = app.kernels.get(&owner, &session.kernel.to_string());
    let kernel = kernel.map_err(|_| Error::NotFound(format!("Session not found: session_id={id}")))?;
    Ok((session, kernel))
}

/// A kernel that begins in the notebook's folder.
async fn start(app: &App, server: &UserServer, spec: Option<&str>, path: &str) -> Result<Kernel> {
    let cwd = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    app.kernels.start(&server.owner(), &server.jail_user()?, Wanted { spec, id: None, cwd }).await
}

/// JupyterLab looks for 501 with these two texts when a kernelspec does not exist.
fn spec_problem(error: Error, name: Option<&str>) -> Result<Response> {
    let Error::NotFound(_) = error else { return Err(error) };
    let name = name.unwrap_or("");
    let message = format!(
        "The '{name}' kernel is not available. Please pick another suitable kernel instead, or install that kernel."
    );
    let answer = json!({"message": message, "short_message": format!("{name} not found")});
    Ok(body::json(StatusCode::NOT_IMPLEMENTED, &answer))
}

fn created(server: &UserServer, session: &Session, kernel: &Kernel) -> Response {
    let location = format!("{}api/sessions/{}", server.base, session.id);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(model(session, kernel))).into_response()
}

fn model(session: &Session, kernel: &Kernel) -> Value {
    let mut model = json!({
        "id": session.id,
        "path": session.path,
        "name": session.name,
        "type": session.kind,
        "kernel": kernel.model(),
    });
    if session.kind == "notebook" {
        model["notebook"] = json!({"path": session.path, "name": session.name});
    }
    model
}

/// Clients of before 2015 send `{"notebook": {"path": …}}`.
fn older_form(mut asked: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(notebook)) = asked.get("notebook").cloned() {
        if let Some(path) = notebook.get("path").or_else(|| notebook.get("name")) {
            asked.entry("path").or_insert_with(|| path.clone());
        }
        asked.entry("type").or_insert_with(|| "notebook".into());
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_form_is_understood() {
        let asked = older_form(json!({"notebook": {"path": "a.ipynb"}}).as_object().unwrap().clone());
        assert_eq!((&asked["path"], &asked["type"]), (&json!("a.ipynb"), &json!("notebook")));
    }

    #[test]
    fn a_missing_kernelspec_is_what_lab_looks_for() {
        let answer = spec_problem(Error::NotFound("x".into()), Some("gone")).unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
        assert!(spec_problem(Error::NotReady("x".into()), None).is_err());
    }
}
