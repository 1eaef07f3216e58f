//! One JSON line per event, to standard error.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Writes an event; a log that cannot be written is no reason to stop.
pub(crate) fn event(level: &str, name: &str, fields: Value) {
    let mut line = json!({ "time_ms": now_ms(), "level": level, "target": "carrel-spawnd", "event": name });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    let mut text = line.to_string();
    text.push('\n');
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Something that an operator reads in passing.
pub(crate) fn info(name: &str, fields: Value) {
    event("INFO", name, fields);
}

/// Something that an operator should look at.
pub(crate) fn warn(name: &str, fields: Value) {
    event("WARN", name, fields);
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
