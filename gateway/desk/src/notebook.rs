//! Notebooks as JSON: reading, checking, and writing them as `nbformat` does, so that version control sees small changes.

use serde_json::{Map, Value, json};

use crate::error::Error;

/// Deepest nesting is bounded by the parser (128); this bounds the count of cells.
const MAX_CELLS: usize = 1_000_000;

/// A notebook that has been checked: `nbformat` 4, cells that every reader can walk.
#[derive(Debug)]
pub(crate) struct Notebook {
    /// The document, multi-line texts joined to one string each.
    pub(crate) value: Value,
    /// What is not quite valid about it but breaks no reader.
    pub(crate) remark: Option<String>,
}

/// Reads and checks the bytes of a notebook file.
pub(crate) fn parse(bytes: &[u8], path: &str) -> Result<Notebook, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| unreadable(path, "it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(unreadable(path, "the file is empty"));
    }
    let value: Value = serde_json::from_str(text).map_err(|e| unreadable(path, &e.to_string()))?;
    check(value).map_err(|why| unreadable(path, &why))
}

/// Checks a notebook that came in a request.
pub(crate) fn accept(value: Value) -> Result<Notebook, Error> {
    check(value).map_err(|why| Error::bad(format!("invalid notebook, nothing was saved: {why}")))
}

/// The file's text: sorted keys, one space of indent, texts split into lines, a newline at the end.
pub(crate) fn to_file(notebook: &Notebook) -> Result<Vec<u8>, serde_json::Error> {
    let mut value = notebook.value.clone();
    for_texts(&mut value, &mut split);
    value.sort_all_objects();
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    serde::Serialize::serialize(&value, &mut serializer)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// An empty notebook, as Jupyter makes it.
pub(crate) fn empty() -> Notebook {
    let value = json!({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5});
    Notebook { value, remark: None }
}

fn unreadable(path: &str, why: &str) -> Error {
    Error::bad(format!("unreadable notebook '{path}': {why}"))
}

/// Refuses what would break a reader; remarks on what only breaks the schema.
fn check(mut value: Value) -> Result<Notebook, String> {
    let top = value.as_object().ok_or("the document is not a JSON object")?;
    match top.get("nbformat").and_then(Value::as_i64) {
        Some(4) => {}
        Some(other) => {
            return Err(format!(
                "nbformat {other} is not supported, only 4; convert it with 'jupyter nbconvert --to notebook'"
            ));
        }
        None => return Err("'nbformat' is missing or not a number".into()),
    }
    let minor = top
        .get("nbformat_minor")
        .and_then(Value::as_u64)
        .ok_or("'nbformat_minor' is missing or not a number")?;
    if !top.get("metadata").is_some_and(Value::is_object) {
        return Err("'metadata' is missing or not an object".into());
    }
    let cells = top.get("cells").and_then(Value::as_array).ok_or("'cells' is missing or not a list")?;
    if cells.len() > MAX_CELLS {
        return Err(format!("more than {MAX_CELLS} cells"));
    }
    let mut remark = None;
    let mut ids = std::collections::HashSet::new();
    for (at, cell) in cells.iter().enumerate() {
        check_cell(cell).map_err(|why| format!("cell {at}: {why}"))?;
        if minor >= 5 && remark.is_none() {
            remark = match cell.get("id").and_then(Value::as_str) {
                None => Some(format!("cell {at} has no 'id'")),
                Some(id) if !valid_id(id) => Some(format!("cell {at} has a bad 'id'")),
                Some(id) if !ids.insert(id) => Some(format!("cell {at} has the 'id' of another cell")),
                Some(_) => None,
            };
        }
        if remark.is_none() && cell["cell_type"] == "code" && cell.get("execution_count").is_none() {
            remark = Some(format!("cell {at} has no 'execution_count'"));
        }
    }
    let remark = remark.map(|why| format!("Notebook validation failed: {why}"));
    for_texts(&mut value, &mut join);
    Ok(Notebook { value, remark })
}

fn check_cell(cell: &Value) -> Result<(), String> {
    let cell = cell.as_object().ok_or("not an object")?;
    let kind = cell.get("cell_type").and_then(Value::as_str).ok_or("'cell_type' is missing")?;
    if !matches!(kind, "code" | "markdown" | "raw") {
        return Err(format!("unknown 'cell_type' '{kind}'"));
    }
    if !cell.get("metadata").is_some_and(Value::is_object) {
        return Err("'metadata' is missing or not an object".into());
    }
    if !cell.get("source").is_some_and(is_text) {
        return Err("'source' is missing or not a text".into());
    }
    if kind != "code" {
        return Ok(());
    }
    if !cell.get("execution_count").is_none_or(|count| count.is_null() || count.is_i64() || count.is_u64()) {
        return Err("'execution_count' is neither a whole number nor null".into());
    }
    let outputs =
        cell.get("outputs").and_then(Value::as_array).ok_or("'outputs' is missing or not a list")?;
    for (at, output) in outputs.iter().enumerate() {
        check_output(output).map_err(|why| format!("output {at}: {why}"))?;
    }
    Ok(())
}

fn check_output(output: &Value) -> Result<(), String> {
    let output = output.as_object().ok_or("not an object")?;
    let kind = output.get("output_type").and_then(Value::as_str).ok_or("'output_type' is missing")?;
    let has = |key: &str, test: fn(&Value) -> bool| {
        if output.get(key).is_some_and(test) {
            Ok(())
        } else {
            Err(format!("'{key}' is missing or of the wrong type"))
        }
    };
    match kind {
        "stream" => has("name", Value::is_string).and(has("text", is_text)),
        "display_data" | "execute_result" => {
            has("data", Value::is_object).and(has("metadata", Value::is_object))
        }
        "error" => has("ename", Value::is_string)
            .and(has("evalue", Value::is_string))
            .and(has("traceback", Value::is_array)),
        other => Err(format!("unknown 'output_type' '{other}'")),
    }
}

fn valid_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A string, or a list of strings that mean their concatenation.
fn is_text(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|lines| lines.iter().all(Value::is_string))
}

/// Calls `each` on every value of a checked notebook that is a text of possibly many lines.
fn for_texts(notebook: &mut Value, each: &mut dyn FnMut(&mut Value)) {
    let Some(cells) = notebook.get_mut("cells").and_then(Value::as_array_mut) else { return };
    for cell in cells {
        if let Some(source) = cell.get_mut("source") {
            each(source);
        }
        if let Some(attachments) = cell.get_mut("attachments").and_then(Value::as_object_mut) {
            attachments
                .values_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|bundle| for_bundle(bundle, each));
        }
        let Some(outputs) = cell.get_mut("outputs").and_then(Value::as_array_mut) else { continue };
        for output in outputs {
            if output["output_type"] == "stream" {
                if let Some(text) = output.get_mut("text") {
                    each(text);
                }
            } else if let Some(data) = output.get_mut("data").and_then(Value::as_object_mut) {
                for_bundle(data, each);
            }
        }
    }
}

/// JSON types hold values, everything else in a MIME bundle is text.
fn for_bundle(bundle: &mut Map<String, Value>, each: &mut dyn FnMut(&mut Value)) {
    for (mime, value) in bundle {
        let json =
            mime == "application/json" || (mime.starts_with("application/") && mime.ends_with("+json"));
        if !json && is_text(value) {
            each(value);
        }
    }
}

fn join(value: &mut Value) {
    if let Value::Array(lines) = value {
        let joined: String = lines.iter().filter_map(Value::as_str).collect();
        *value = Value::String(joined);
    }
}

fn split(value: &mut Value) {
    if let Value::String(text) = value {
        let lines: Vec<Value> = text.split_inclusive('\n').map(Value::from).collect();
        *value = Value::Array(lines);
    }
}

#[cfg(test)]
#[path = "notebook_tests.rs"]
mod tests;
