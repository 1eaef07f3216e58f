//! `/api/config/{section}`: small objects that front ends keep, one per user and section.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Map, Value};

use super::body;
use crate::app::App;
use crate::error::{Error, Result};
use crate::user::UserServer;

/// The kind under which sections are kept.
const KIND: &str = "config";
/// The longest name of a section.
const LONGEST: usize = 128;

/// `GET /api/config/{section}`
pub async fn get(
    State(app): State<App>,
    server: UserServer,
    Path(section): Path<String>,
) -> Result<Json<Value>> {
    Ok(Json(Value::Object(load(&app, &server, section).await?)))
}

/// `PUT /api/config/{section}`
pub async fn put(
    State(app): State<App>,
    server: UserServer,
    Path(section): Path<String>,
    body: Body,
) -> Result<StatusCode> {
    save(&app, &server, section, body::object(body).await?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PATCH /api/config/{section}`: objects are merged, null removes.
pub async fn patch(
    State(app): State<App>,
    server: UserServer,
    Path(section): Path<String>,
    body: Body,
) -> Result<Json<Value>> {
    let change = body::object(body).await?;
    let mut kept = load(&app, &server, section.clone()).await?;
    merge(&mut kept, change);
    save(&app, &server, section, kept.clone()).await?;
    Ok(Json(Value::Object(kept)))
}

async fn load(app: &App, server: &UserServer, section: String) -> Result<Map<String, Value>> {
    let user = server.user.name.clone();
    let kept = app.store.call(move |s| s.kv_get(&user, KIND, &section)).await?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept.value).ok()).unwrap_or_default())
}

async fn save(app: &App, server: &UserServer, section: String, value: Map<String, Value>) -> Result<()> {
    if section.len() > LONGEST {
        return Err(Error::Malformed("the section's name is too long".into()));
    }
    let text = Value::Object(value).to_string();
    if text.len() > body::SMALL {
        return Err(Error::TooLarge(body::SMALL));
    }
    let (user, now) = (server.user.name.clone(), app.clock.now());
    app.store.call(move |s| s.kv_put(&user, KIND, &section, &text, now)).await
}

fn merge(into: &mut Map<String, Value>, change: Map<String, Value>) {
    for (key, value) in change {
        match value {
            Value::Null => drop(into.remove(&key)),
            Value::Object(inner) => {
                let place = into.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                if let Value::Object(place) = place {
                    merge(place, inner);
                    if place.is_empty() {
                        into.remove(&key);
                    }
                }
            }
            value => drop(into.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_merged() {
        let table = [
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": null, "d": 3}}),
                json!({"a": {"c": 2, "d": 3}}),
            ),
            (json!({"a": 1}), json!({"a": {"b": 2}}), json!({"a": {"b": 2}})),
            (json!({"a": {"b": 1}, "x": 0}), json!({"a": {"b": null}}), json!({"x": 0})),
            (json!({}), json!({"a": [1]}), json!({"a": [1]})),
        ];
        for (before, change, after) in table {
            let (Value::Object(mut kept), Value::Object(change)) = (before, change) else {
                panic!("objects")
            };
            merge(&mut kept, change);
            assert_eq!(Value::Object(kept), after);
        }
    }
}
