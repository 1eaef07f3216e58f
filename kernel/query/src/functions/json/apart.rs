//! JSON taken apart into rows, put together anew, described.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder, StructBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;

use super::super::text::{map_text, strings, text, texts, zip_text};
use super::super::{DEF, Def, Takes};
use super::scan::{Kind, compact, elements, kind_of, members};
use super::{bad, type_word};

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def { name: "__json_elements", takes: &[Takes::Text], gives: texts, run: json_elements, ..DEF },
    Def {
        name: "__json_each",
        takes: &[Takes::Text],
        gives: rows_type,
        run: |args, _| rows(args, false),
        ..DEF
    },
    Def {
        name: "__json_tree",
        takes: &[Takes::Text],
        gives: rows_type,
        run: |args, _| rows(args, true),
        ..DEF
    },
    Def {
        name: "json_merge_patch",
        takes: &[Takes::Text, Takes::Text],
        gives: text,
        run: merge_patch,
        about: (
            "json_merge_patch(json, patch)",
            "A JSON object with the members of another put into it (RFC 7396).",
        ),
        ..DEF
    },
    Def {
        name: "json_pretty",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| {
            Ok(map_text(args, |text| {
                compact(text)?;
                let mut out = String::new();
                pretty(text.trim(), 0, &mut out);
                Some(out)
            }))
        },
        about: ("json_pretty(json)", "JSON with line breaks."),
        ..DEF
    },
    Def {
        name: "json_structure",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| Ok(map_text(args, |text| compact(text).map(|_| structure(&[text])))),
        about: ("json_structure(json)", "The types of a JSON value's parts, as JSON."),
        ..DEF
    },
];

/// The elements of an array, as JSON.
fn json_elements(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(StringBuilder::new());
    for text in strings(args, 0) {
        let all = text.and_then(elements);
        for element in all.iter().flatten() {
            out.values().append_option(compact(element));
        }
        out.append(all.is_some());
    }
    Ok(Arc::new(out.finish()))
}

/// The columns of `json_each` and `json_tree`.
fn row_fields() -> Fields {
    let column = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let (text, number) = (DataType::Utf8, DataType::UInt64);
    Fields::from(vec![
        column("key", &text),
        column("value", &text),
        column("type", &text),
        column("atom", &text),
        column("id", &number),
        column("parent", &number),
        column("fullkey", &text),
        column("path", &text),
    ])
}

fn rows_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Struct(row_fields()), true))))
}

struct Rows {
    out: ListBuilder<StructBuilder>,
    next: u64,
}

impl Rows {
    fn row(
        &mut self,
        key: Option<&str>,
        value: &str,
        parent: Option<u64>,
        (full, path): (&str, &str),
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let row = self.out.values();
        let mut put = |at: usize, text: Option<String>| {
            if let Some(column) = row.field_builder::<StringBuilder>(at) {
                column.append_option(text);
            }
        };
        let plain = !matches!(kind_of(value), Kind::Object | Kind::List);
        put(0, key.map(str::to_owned));
        put(1, compact(value));
        put(2, Some(type_word(value).to_owned()));
        put(3, if plain { compact(value) } else { None });
        put(6, Some(full.to_owned()));
        put(7, Some(path.to_owned()));
        for (at, number) in [(4, Some(id)), (5, parent)] {
            if let Some(column) = row.field_builder::<UInt64Builder>(at) {
                column.append_option(number);
            }
        }
        row.append(true);
        id
    }

    /// What is in a value; of its parts what is in them too, if it is to be the whole tree.
    fn inside(&mut self, value: &str, parent: Option<u64>, path: &str, tree: bool) {
        let parts: Vec<(String, String, &str)> = match kind_of(value) {
            Kind::Object => members(value)
                .unwrap_or_default()
                .into_iter()
                .map(|(key, part)| {
                    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                    let full = if plain { format!("{path}.{key}") } else { format!("{path}.\"{key}\"") };
                    (key, full, part)
                })
                .collect(),
            Kind::List => elements(value)
                .unwrap_or_default()
                .into_iter()
                .enumerate()
                .map(|(at, part)| (at.to_string(), format!("{path}[{at}]"), part))
                .collect(),
            _ => Vec::new(),
        };
        for (key, full, part) in parts {
            let id = self.row(Some(&key), part, parent, (&full, path));
            if tree {
                self.inside(part, Some(id), &full, true);
            }
        }
    }
}

fn rows(args: &[ArrayRef], tree: bool) -> Result<ArrayRef> {
    let fields = row_fields();
    let mut rows = Rows { out: ListBuilder::new(StructBuilder::from_fields(fields, 0)), next: 0 };
    for text in strings(args, 0) {
        rows.next = 0;
        let Some(text) = text else {
            rows.out.append(false);
            continue;
        };
        compact(text).ok_or_else(|| bad(text))?;
        let plain = !matches!(kind_of(text), Kind::Object | Kind::List);
        if tree || plain {
            let id = rows.row(None, text, None, ("$", "$"));
            rows.inside(text, Some(id), "$", tree);
        } else {
            rows.inside(text, None, "$", false);
        }
        rows.out.append(true);
    }
    Ok(Arc::new(rows.out.finish()))
}

fn merge_patch(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let merged = zip_text(args, |target, patch| {
        compact(target).ok_or_else(|| bad(target))?;
        compact(patch).ok_or_else(|| bad(patch))?;
        Ok(merged(Some(target), patch))
    })?;
    Ok(Arc::new(merged.into_iter().collect::<arrow::array::StringArray>()))
}

/// RFC 7396, section 2.
fn merged(target: Option<&str>, patch: &str) -> String {
    let Some(changes) = members(patch) else { return compact(patch).unwrap_or_default() };
    let old = target.and_then(members).unwrap_or_default();
    let mut new: Vec<(String, String)> = Vec::new();
    for (key, value) in &old {
        match changes.iter().rev().find(|(name, _)| name == key) {
            Some((_, change)) if kind_of(change) == Kind::Null => {}
            Some((_, change)) => new.push((key.clone(), merged(Some(value), change))),
            None => new.push((key.clone(), compact(value).unwrap_or_default())),
        }
    }
    for (key, change) in &changes {
        let known = old.iter().any(|(name, _)| name == key);
        if !known && kind_of(change) != Kind::Null {
            new.push((key.clone(), merged(None, change)));
        }
    }
    let members = new.iter().map(|(key, value)| format!("{}:{value}", quoted(key)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn pretty(value: &str, depth: usize, out: &mut String) {
    let (open, close, parts): (char, char, Vec<(Option<String>, &str)>) = match kind_of(value) {
        Kind::Object => {
            let all = members(value).unwrap_or_default();
            ('{', '}', all.into_iter().map(|(key, part)| (Some(key), part)).collect())
        }
        Kind::List => {
            ('[', ']', elements(value).unwrap_or_default().into_iter().map(|part| (None, part)).collect())
        }
        _ => {
            out.push_str(&compact(value).unwrap_or_default());
            return;
        }
    };
    out.push(open);
    let count = parts.len();
    for (at, (key, part)) in parts.into_iter().enumerate() {
        let _ = write!(out, "\n{}", "    ".repeat(depth + 1));
        if let Some(key) = key {
            let _ = write!(out, "{}: ", quoted(&key));
        }
        pretty(part, depth + 1, out);
        if at + 1 < count {
            out.push(',');
        }
    }
    if count > 0 {
        let _ = write!(out, "\n{}", "    ".repeat(depth));
    }
    out.push(close);
}

/// The structure that all of these values have.
fn structure(values: &[&str]) -> String {
    let some: Vec<&str> = values.iter().copied().filter(|value| kind_of(value) != Kind::Null).collect();
    let all = |kind: Kind| !some.is_empty() && some.iter().all(|value| kind_of(value) == kind);
    if all(Kind::Object) {
        let mut found: Vec<(String, Vec<&str>)> = Vec::new();
        for (key, part) in some.iter().filter_map(|value| members(value)).flatten() {
            match found.iter_mut().find(|(name, _)| *name == key) {
                Some((_, parts)) => parts.push(part),
                None => found.push((key, vec![part])),
            }
        }
        let each = found.iter().map(|(key, parts)| format!("{}:{}", quoted(key), structure(parts)));
        return format!("{{{}}}", each.collect::<Vec<_>>().join(","));
    }
    if all(Kind::List) {
        let parts: Vec<&str> = some.iter().filter_map(|value| elements(value)).flatten().collect();
        return format!("[{}]", structure(&parts));
    }
    let mut words: Vec<&str> = some.iter().map(|value| type_word(value)).collect();
    words.sort_unstable();
    words.dedup();
    let word = match words.as_slice() {
        [] => "NULL",
        [one] => one,
        ["BIGINT", "UBIGINT"] => "BIGINT",
        several if several.iter().all(|word| matches!(*word, "BIGINT" | "UBIGINT" | "DOUBLE")) => "DOUBLE",
        _ => "JSON",
    };
    quoted(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_as_in_the_rfc() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(Some(target), patch), result, "{target} {patch}");
        }
    }

    #[test]
    fn structures_of_many_values() {
        assert_eq!(structure(&[r#"{"a":1,"b":["x"]}"#]), r#"{"a":"UBIGINT","b":["VARCHAR"]}"#);
        assert_eq!(structure(&[r#"[{"a":1},{"a":-1.5,"b":null}]"#]), r#"[{"a":"DOUBLE","b":"NULL"}]"#);
    }
}
