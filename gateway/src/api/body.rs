//! Bodies of the Hub API: JSON objects, bounded, every field checked.

use crate::error::{Error, Result};
use axum::body::Body;
use serde_json::{Map, Value};

/// No body of the Hub API is larger.
const MAX: usize = 1 << 20;

/// Reads a body; `None` if there is none.
pub(super) async fn optional(body: Body) -> Result<Option<Value>> {
    let bytes = axum::body::to_bytes(body, MAX).await.map_err(|_| Error::TooLarge(MAX))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Error::Malformed(format!("Invalid JSON in body of request: {e}")))
}

/// Reads a body that must be an object; no body is an empty one.
pub(super) async fn object(body: Body) -> Result<Map<String, Value>> {
    match optional(body).await? {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Error::Malformed("the body must be a JSON object".into())),
    }
}

/// Refuses fields that nobody knows.
pub(super) fn only(map: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match map.keys().find(|k| !known.contains(&k.as_str())) {
        Some(k) => Err(Error::Malformed(format!("unknown field {k:?}; known are {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// A field that is true or false, or absent.
pub(super) fn boolean(map: &Map<String, Value>, name: &str) -> Result<Option<bool>> {
    field(map, name, "true or false", Value::as_bool)
}

/// A field that is a text, or absent.
pub(super) fn text(map: &Map<String, Value>, name: &str) -> Result<Option<String>> {
    field(map, name, "a text", |v| v.as_str().map(str::to_owned))
}

/// A field that is a whole number, or absent.
pub(super) fn whole(map: &Map<String, Value>, name: &str) -> Result<Option<i64>> {
    field(map, name, "a whole number", Value::as_i64)
}

/// A field that is an object, or absent.
pub(super) fn map(map: &Map<String, Value>, name: &str) -> Result<Option<Map<String, Value>>> {
    field(map, name, "an object", |v| v.as_object().cloned())
}

/// A field that is a list of texts, or absent.
pub(super) fn texts(map: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>> {
    field(map, name, "a list of texts", |v| {
        v.as_array()?.iter().map(|i| i.as_str().map(str::to_owned)).collect()
    })
}

fn field<T>(
    map: &Map<String, Value>,
    name: &str,
    what: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(v) => read(v).map(Some).ok_or_else(|| Error::Malformed(format!("{name} must be {what}"))),
    }
}
