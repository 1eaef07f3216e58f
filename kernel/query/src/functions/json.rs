//! JSON in texts: values are found and cut out without taking the rest apart, so that numbers and the order of keys stay as they are.

mod apart;
mod scan;
mod write;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Int64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;

use super::text::{boolean, int, map_text, strings, text, texts};
use super::{DEF, Def, Takes};
use crate::problems::wrap;
use scan::{Kind, compact, elements, kind_of, members, step, string_of};
use write::{array, object, to_json};

/// What takes JSON apart.
pub(super) const MORE: &[Def] = apart::DEFS;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "json",
        takes: &[Takes::Text],
        gives: text,
        run: json,
        about: ("json(text)", "The text, if it is JSON, without white space."),
        ..DEF
    },
    Def {
        name: "__try_json",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| Ok(map_text(args, compact)),
        ..DEF
    },
    Def {
        name: "json_valid",
        takes: &[Takes::Text],
        gives: boolean,
        run: valid,
        about: ("json_valid(text)", "Is it JSON?"),
        ..DEF
    },
    Def {
        name: "json_extract",
        takes: &[Takes::Text, Takes::Any],
        gives: text,
        run: |args, _| pick(args, true, false),
        about: ("json_extract(json, '$.a.b[0]')", "A part of a JSON value, as JSON."),
        ..DEF
    },
    Def {
        name: "json_extract_string",
        takes: &[Takes::Text, Takes::Any],
        gives: text,
        run: |args, _| pick(args, true, true),
        about: ("json_extract_string(json, '$.a.b[0]')", "A part of a JSON value, as text."),
        ..DEF
    },
    Def {
        name: "__json_get",
        takes: &[Takes::Text, Takes::Any],
        gives: text,
        run: |args, _| pick(args, false, false),
        ..DEF
    },
    Def {
        name: "__json_get_text",
        takes: &[Takes::Text, Takes::Any],
        gives: text,
        run: |args, _| pick(args, false, true),
        ..DEF
    },
    Def {
        name: "__json_path",
        takes: &[Takes::Text, Takes::Text],
        gives: text,
        run: |args, _| pick(args, false, false),
        ..DEF
    },
    Def {
        name: "__json_path_text",
        takes: &[Takes::Text, Takes::Text],
        gives: text,
        run: |args, _| pick(args, false, true),
        ..DEF
    },
    Def {
        name: "json_array_length",
        takes: &[Takes::Text],
        gives: int,
        run: length,
        about: ("json_array_length(json)", "How many values an array has."),
        ..DEF
    },
    Def {
        name: "json_type",
        takes: &[Takes::Text],
        gives: text,
        run: type_of,
        about: ("json_type(json)", "OBJECT, ARRAY, VARCHAR, BIGINT, DOUBLE, BOOLEAN or NULL."),
        ..DEF
    },
    Def {
        name: "json_keys",
        takes: &[Takes::Text],
        gives: texts,
        run: keys,
        about: ("json_keys(json)", "The keys of an object."),
        ..DEF
    },
    Def {
        name: "json_contains",
        takes: &[Takes::Text, Takes::Text],
        gives: boolean,
        run: contains,
        about: ("json_contains(json, part)", "Does a JSON value contain another?"),
        ..DEF
    },
    Def {
        name: "to_json",
        takes: &[Takes::Any],
        gives: text,
        run: to_json,
        about: ("to_json(value)", "Any value as JSON."),
        ..DEF
    },
    Def {
        name: "json_object",
        more: Some(Takes::Any),
        gives: text,
        run: object,
        about: ("json_object('key', value, …)", "A JSON object of keys and values."),
        ..DEF
    },
    Def {
        name: "json_array",
        more: Some(Takes::Any),
        gives: text,
        run: array,
        about: ("json_array(value, …)", "A JSON array of values."),
        ..DEF
    },
];

pub(super) fn members_of(text: &str) -> Option<Vec<(String, String)>> {
    Some(members(text)?.into_iter().map(|(key, value)| (key, value.to_owned())).collect())
}

pub(super) fn elements_of(text: &str) -> Option<Vec<String>> {
    Some(elements(text)?.into_iter().map(str::to_owned).collect())
}

fn bad(text: &str) -> datafusion::error::DataFusionError {
    let shown: String = text.chars().take(40).collect();
    wrap(
        Problem::new(Ename::ValueError, format!("this is no JSON: {shown}"))
            .hint("json_valid(text) tells, TRY_CAST(text AS JSON) gives NULL"),
    )
}

fn json(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = strings(args, 0).iter().map(|text| match text {
        None => Ok(None),
        Some(text) => compact(text).map(Some).ok_or_else(|| bad(text)),
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

fn valid(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    Ok(Arc::new(
        strings(args, 0)
            .iter()
            .map(|text| text.map(|text| compact(text).is_some()))
            .collect::<BooleanArray>(),
    ))
}

/// One step of a path.
enum Step {
    Key(String),
    Index(i64),
}

/// `$.a."b c"[0]`, `/a/0`, `{a,0}`, or a plain key.
fn path(text: &str, always: bool) -> Option<Vec<Step>> {
    let number = |part: &str| part.parse::<i64>().map_or_else(|_| Step::Key(part.to_owned()), Step::Index);
    if let Some(rest) = text.strip_prefix('/') {
        return Some(rest.split('/').map(number).collect());
    }
    if let Some(rest) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return Some(rest.split(',').map(str::trim).map(number).collect());
    }
    let Some(mut rest) = text.strip_prefix('$') else {
        return if always && text.contains(['.', '[']) {
            path(&format!("$.{text}"), true)
        } else {
            Some(vec![Step::Key(text.to_owned())])
        };
    };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            if let Some(quoted) = after.strip_prefix('"') {
                let (key, after) = quoted.split_once('"')?;
                steps.push(Step::Key(key.to_owned()));
                rest = after;
            } else {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 || &after[..end] == "*" {
                    return None;
                }
                steps.push(Step::Key(after[..end].to_owned()));
                rest = &after[end..];
            }
        } else {
            let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
            let inside = inside.trim();
            match inside.strip_prefix("#-").map(str::parse::<i64>) {
                Some(Ok(back)) => steps.push(Step::Index(-back)),
                Some(Err(_)) => return None,
                None => match inside.parse() {
                    Ok(index) => steps.push(Step::Index(index)),
                    Err(_) => steps.push(Step::Key(inside.trim_matches(['"', '\'']).to_owned())),
                },
            }
            rest = after;
        }
    }
    Some(steps)
}

fn pick(args: &[ArrayRef], always_path: bool, as_text: bool) -> Result<ArrayRef> {
    let by_index = args[1].data_type().is_integer();
    let indexes = by_index.then(|| arrow::compute::cast(&args[1], &DataType::Int64)).transpose()?;
    let paths = if by_index { None } else { Some(arrow::compute::cast(&args[1], &DataType::Utf8)?) };
    let mut last: Option<(String, Vec<Step>)> = None;
    let rows = strings(args, 0).iter().enumerate().map(|(row, text)| {
        let Some(text) = text else { return Ok(None) };
        let found = match (&indexes, &paths) {
            (Some(indexes), _) => {
                let indexes = indexes.as_primitive::<Int64Type>();
                if indexes.is_null(row) {
                    return Ok(None);
                }
                follow(text, &[Step::Index(indexes.value(row))])
            }
            (None, Some(paths)) => {
                let paths = paths.as_string::<i32>();
                if paths.is_null(row) {
                    return Ok(None);
                }
                let wanted = paths.value(row);
                if last.as_ref().is_none_or(|(known, _)| known != wanted) {
                    let steps = path(wanted, always_path).ok_or_else(|| {
                        wrap(
                            Problem::new(Ename::ValueError, format!("'{wanted}' is no path into JSON"))
                                .hint("write '$.key', '$.key[0]' or '/key/0'; * is not supported"),
                        )
                    })?;
                    last = Some((wanted.to_owned(), steps));
                }
                last.as_ref().and_then(|(_, steps)| follow(text, steps))
            }
            (None, None) => None,
        };
        Ok(found.and_then(|found| {
            if !as_text {
                return compact(found);
            }
            match kind_of(found) {
                Kind::Null => None,
                Kind::Text => string_of(found),
                _ => compact(found),
            }
        }))
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

fn follow<'a>(text: &'a str, steps: &[Step]) -> Option<&'a str> {
    steps.iter().try_fold(text.trim(), |at, wanted| match wanted {
        Step::Key(key) => step(at, |name, _| name == Some(key.as_str())).or_else(|| {
            // an index that was written as a key
            let index: usize = key.parse().ok()?;
            (kind_of(at) == Kind::List).then(|| elements(at)?.get(index).copied())?
        }),
        Step::Index(index) => {
            let all = elements(at)?;
            let index = if *index < 0 {
                usize::try_from(i64::try_from(all.len()).ok()? + index).ok()?
            } else {
                usize::try_from(*index).ok()?
            };
            all.get(index).copied()
        }
    })
}

fn length(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = strings(args, 0).iter().map(|text| {
        let text = text?;
        if kind_of(text) == Kind::List {
            elements(text).and_then(|all| i64::try_from(all.len()).ok())
        } else {
            Some(0)
        }
    });
    Ok(Arc::new(rows.collect::<Int64Array>()))
}

fn type_of(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    Ok(map_text(args, |text| compact(text).map(|_| type_word(text).to_owned())))
}

/// What a value is, in the words of `json_type`.
fn type_word(text: &str) -> &'static str {
    match kind_of(text) {
        Kind::Object => "OBJECT",
        Kind::List => "ARRAY",
        Kind::Text => "VARCHAR",
        Kind::Bool => "BOOLEAN",
        Kind::Null => "NULL",
        Kind::Number if text.trim().parse::<i64>().is_err() => "DOUBLE",
        Kind::Number if text.trim().starts_with('-') => "BIGINT",
        Kind::Number => "UBIGINT",
    }
}

fn keys(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(StringBuilder::new());
    for text in strings(args, 0) {
        match text.map(members) {
            Some(Some(all)) => {
                all.into_iter().for_each(|(key, _)| out.values().append_value(key));
                out.append(true);
            }
            Some(None) if text.is_some_and(|text| compact(text).is_some()) => out.append(true),
            _ => out.append(false),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn contains(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows =
        strings(args, 0).iter().zip(strings(args, 1).iter()).map(|(whole, part)| Some(holds(whole?, part?)));
    Ok(Arc::new(rows.collect::<BooleanArray>()))
}

/// Is the part the whole, or somewhere in it?
fn holds(whole: &str, part: &str) -> bool {
    let here = match (kind_of(whole), kind_of(part)) {
        (Kind::Object, Kind::Object) => {
            let (Some(all), Some(wanted)) = (members(whole), members(part)) else { return false };
            wanted
                .iter()
                .all(|(key, value)| all.iter().any(|(name, other)| name == key && holds(other, value)))
        }
        (Kind::List, Kind::List) => {
            let (Some(all), Some(wanted)) = (elements(whole), elements(part)) else { return false };
            wanted.iter().all(|value| all.iter().any(|other| holds(other, value)))
        }
        _ => compact(whole) == compact(part),
    };
    here || match kind_of(whole) {
        Kind::Object => members(whole).is_some_and(|all| all.iter().any(|(_, other)| holds(other, part))),
        Kind::List => elements(whole).is_some_and(|all| all.iter().any(|other| holds(other, part))),
        _ => false,
    }
}
