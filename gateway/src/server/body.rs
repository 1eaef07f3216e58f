//! Request bodies: bounded, and JSON whatever their `Content-Type` says, as Jupyter's clients expect.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The largest JSON body of the small APIs.
pub const SMALL: usize = 1 << 20;

/// The whole body.
///
/// # Errors
/// When it is larger than `limit`, or the client goes away.
pub async fn read(body: Body, limit: usize) -> Result<Bytes> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge(limit)),
        Err(error) => Err(Error::Malformed(format!("cannot read the body: {error}"))),
    }
}

/// The body as a JSON object; an empty body is an empty object.
///
/// # Errors
/// When it is too large or not a JSON object.
pub async fn object(body: Body) -> Result<Map<String, Value>> {
    let bytes = read(body, SMALL).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::Malformed("the body must be a JSON object".into())),
        Err(error) => Err(Error::Malformed(format!("Invalid JSON in body of request: {error}"))),
    }
}

/// A text member; null is none.
///
/// # Errors
/// When it is there and not a text.
pub fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::Malformed(format!("{key} must be a text"))),
    }
}

/// A JSON answer that is a text already.
#[must_use]
pub fn raw_json(text: String) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], text).into_response()
}

/// A JSON answer.
#[must_use]
pub fn json(status: StatusCode, value: &Value) -> Response {
    (status, raw_json(value.to_string())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_objects_or_refused() {
        assert!(object(Body::empty()).await.unwrap().is_empty());
        assert_eq!(object(Body::from(r#"{"a": 1}"#)).await.unwrap()["a"], 1);
        for bad in ["{not json", "[1]", "3"] {
            assert!(matches!(object(Body::from(bad)).await, Err(Error::Malformed(_))), "{bad}");
        }
        let large = Body::from(vec![b' '; SMALL + 1]);
        assert!(matches!(object(large).await, Err(Error::TooLarge(SMALL))));
    }

    #[test]
    fn members_have_types() {
        let object = serde_json::json!({"a": "x", "b": null, "c": 3});
        let object = object.as_object().unwrap();
        assert_eq!(text(object, "a").unwrap(), Some("x"));
        assert_eq!((text(object, "b").unwrap(), text(object, "d").unwrap()), (None, None));
        assert!(text(object, "c").is_err());
    }
}
