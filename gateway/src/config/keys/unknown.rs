//! The search for keys that nobody knows.

use super::super::text::{line_of, nearest};
use super::TABLES;
use super::lists::{FREE, LISTS};

/// Refuses the first key that nobody knows, with its line and the key that was probably meant.
pub(in crate::config) fn refuse_unknown(text: &str, table: &toml::Table) -> Result<(), String> {
    walk(text, "", table)
}

fn walk(text: &str, path: &str, table: &toml::Table) -> Result<(), String> {
    for (key, value) in table {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let known = children(path);
        if FREE.contains(&path) {
            continue;
        }
        if !known.contains(&key.as_str()) {
            return Err(unknown(text, path, key, &known));
        }
        match value {
            toml::Value::Table(inner) => walk(text, &full, inner)?,
            toml::Value::Array(items) if path.is_empty() => {
                for item in items.iter().filter_map(toml::Value::as_table) {
                    walk(text, &full, item)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The names that may stand inside the table `path`.
fn children(path: &str) -> Vec<&'static str> {
    let mut out: Vec<&'static str> = Vec::new();
    for table in TABLES {
        if path.is_empty() {
            out.push(table.name.split('.').next().unwrap_or(table.name));
        } else if table.name == path {
            out.extend(table.keys.iter().map(|k| k.0));
        } else if let Some(inner) = table.name.strip_prefix(path).and_then(|r| r.strip_prefix('.')) {
            out.push(inner);
        }
    }
    for (name, keys) in LISTS {
        if path.is_empty() {
            out.push(name);
        } else if *name == path {
            out.extend(*keys);
        }
    }
    out.dedup();
    out
}

fn unknown(text: &str, path: &str, key: &str, known: &[&'static str]) -> String {
    let place = line_of(text, key).or_else(|| line_of(text, &format!("{path}.{key}")));
    let place = place.map_or_else(String::new, |n| format!("line {n}: "));
    let what = if path.is_empty() {
        format!("unknown table [{key}]")
    } else {
        format!("unknown key {key} in [{path}]")
    };
    let meant = nearest(key, known.iter().copied());
    let meant = meant
        .map_or_else(|| format!("; known are: {}", known.join(", ")), |m| format!("; did you mean {m}?"));
    format!("{place}{what}{meant}")
}
