//! The log: one JSON object per line on standard error, where whoever started us collects it.

use serde_json::json;
use time::OffsetDateTime;

use crate::model::iso;

/// A request that was answered with an error.
pub(crate) fn request_failed(id: Option<&str>, method: &str, path: &str, status: u16, error: &str) {
    let level = if status == 500 { "error" } else { "info" };
    line(&json!({
        "time": now(), "level": level, "message": "request failed", "request.id": id,
        "http.method": method, "http.path": bounded(path), "http.status": status, "error": bounded(error),
    }));
}

/// Something beside the answer went wrong.
pub(crate) fn warn(what: &str, error: &str) {
    line(&json!({"time": now(), "level": "warn", "message": what, "error": bounded(error)}));
}

/// Something worth knowing about the program's life.
pub(crate) fn info(what: &str) {
    line(&json!({"time": now(), "level": "info", "message": what}));
}

fn line(value: &serde_json::Value) {
    use std::io::Write as _;
    // One write, so that lines of threads do not mix. A log that cannot be written must not stop the work.
    let _ = std::io::stderr().write_all(format!("{value}\n").as_bytes());
}

fn now() -> String {
    iso(OffsetDateTime::now_utc())
}

fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(2000)]
}
