//! Regular expressions and other patterns, beyond what DataFusion has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;
use regex::{Regex, RegexBuilder};

use super::text::{boolean, map_text, strings, text, texts};
use super::{DEF, Def, Takes};
use crate::problems::wrap;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "__glob",
        takes: &[Takes::Text, Takes::Text],
        gives: boolean,
        run: |args, _| matches(args, glob),
        ..DEF
    },
    Def {
        name: "__similar_to",
        takes: &[Takes::Text, Takes::Text],
        optional: &[Takes::Text],
        gives: boolean,
        run: similar,
        ..DEF
    },
    Def {
        name: "__like",
        takes: &[Takes::Text, Takes::Text, Takes::Text, Takes::Text],
        gives: boolean,
        run: like,
        ..DEF
    },
    Def {
        name: "regexp_full_match",
        takes: &[Takes::Text, Takes::Text],
        optional: &[Takes::Text],
        gives: boolean,
        run: full_match,
        about: ("regexp_full_match(text, pattern)", "Does the pattern match the whole text?"),
        ..DEF
    },
    Def {
        name: "regexp_extract",
        takes: &[Takes::Text, Takes::Text],
        optional: &[Takes::Int, Takes::Text],
        gives: text,
        run: extract,
        about: (
            "regexp_extract(text, pattern, group)",
            "The first match, or a group of it; an empty text if there is none.",
        ),
        ..DEF
    },
    Def {
        name: "regexp_extract_all",
        takes: &[Takes::Text, Takes::Text],
        optional: &[Takes::Int, Takes::Text],
        gives: texts,
        run: extract_all,
        about: ("regexp_extract_all(text, pattern, group)", "All matches, or a group of each."),
        ..DEF
    },
    Def {
        name: "regexp_split_to_array",
        takes: &[Takes::Text, Takes::Text],
        optional: &[Takes::Text],
        gives: texts,
        run: split,
        about: ("regexp_split_to_array(text, pattern)", "The pieces between matches."),
        ..DEF
    },
    Def {
        name: "regexp_escape",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| Ok(map_text(args, |text| Some(regex::escape(text)))),
        about: ("regexp_escape(text)", "A pattern that matches just this text."),
        ..DEF
    },
];

/// Patterns that were compiled, by their text.
#[derive(Default)]
struct Patterns(HashMap<String, Regex>);

impl Patterns {
    fn get(&mut self, pattern: &str, options: &str) -> Result<&Regex> {
        let key = format!("{options}\u{0}{pattern}");
        if !self.0.contains_key(&key) {
            let mut builder = RegexBuilder::new(pattern);
            for option in options.chars() {
                match option {
                    'i' => builder.case_insensitive(true),
                    'c' => builder.case_insensitive(false),
                    's' => builder.dot_matches_new_line(true),
                    'm' | 'n' => builder.multi_line(true),
                    'g' => &mut builder,
                    other => {
                        let problem = Problem::new(
                            Ename::ValueError,
                            format!("there is no option '{other}' of patterns"),
                        );
                        return Err(wrap(problem.hint("there are i, c, s, m and g")));
                    }
                };
            }
            let made = builder.size_limit(10 << 20).build().map_err(|error| {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                wrap(Problem::new(Ename::ValueError, format!("'{pattern}' is no regular expression: {why}")))
            })?;
            self.0.insert(key.clone(), made);
        }
        self.0.get(&key).ok_or_else(|| datafusion::common::plan_datafusion_err!("a pattern was lost"))
    }
}

/// Rows of text, pattern and options.
fn rows<T>(
    args: &[ArrayRef],
    options: Option<usize>,
    mut f: impl FnMut(usize, &str, &Regex) -> T,
) -> Result<Vec<Option<T>>> {
    let mut known = Patterns::default();
    let options = options.filter(|at| args.len() > *at).map(|at| strings(args, at));
    strings(args, 0)
        .iter()
        .zip(strings(args, 1).iter())
        .enumerate()
        .map(|(row, (text, pattern))| {
            let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
            let options =
                options.map_or("", |options| if options.is_null(row) { "" } else { options.value(row) });
            Ok(Some(f(row, text, known.get(pattern, options)?)))
        })
        .collect()
}

/// A pattern of another kind, turned into a regular expression of the whole text.
fn matches(args: &[ArrayRef], to_regex: fn(&str) -> String) -> Result<ArrayRef> {
    let mut known = Patterns::default();
    let found = strings(args, 0).iter().zip(strings(args, 1).iter()).map(|(text, pattern)| {
        let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
        Ok(Some(known.get(&to_regex(pattern), "s")?.is_match(text)))
    });
    Ok(Arc::new(found.collect::<Result<BooleanArray>>()?))
}

/// `*`, `?` and `[a-z]` as in file names.
fn glob(pattern: &str) -> String {
    let mut out = String::from("^");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let mut inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                if let Some(rest) = inside.strip_prefix('!') {
                    inside = format!("^{rest}");
                }
                out.push_str(&format!("[{}]", inside.replace('\\', "\\\\")));
            }
            '\\' => out.extend(chars.next().map(|c| regex::escape(&c.to_string()))),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push('$');
    out
}

/// SQL's regular expressions: `%` and `_` as in LIKE, `| * + ? {} () []` as usual; the dot is a dot.
fn similar_to(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?:");
    let mut chars = pattern.chars();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == escape => out.extend(chars.next().map(|c| regex::escape(&c.to_string()))),
            '[' => {
                inside = true;
                out.push(c);
            }
            ']' => {
                inside = false;
                out.push(c);
            }
            c if inside => out.push(c),
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    out
}

fn similar(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let escape = (args.len() > 2)
        .then(|| strings(args, 2).iter().flatten().next().and_then(|text| text.chars().next()));
    let escape = escape.unwrap_or(Some('\\'));
    let mut known = Patterns::default();
    let found = strings(args, 0).iter().zip(strings(args, 1).iter()).map(|(text, pattern)| {
        let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
        Ok(Some(known.get(&similar_to(pattern, escape), "s")?.is_match(text)))
    });
    Ok(Arc::new(found.collect::<Result<BooleanArray>>()?))
}

/// LIKE with an escape of the user's choice.
fn like(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let mut known = Patterns::default();
    let (escapes, kinds) = (strings(args, 2), strings(args, 3));
    let found =
        strings(args, 0).iter().zip(strings(args, 1).iter()).enumerate().map(|(row, (text, pattern))| {
            let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
            let escape = (!escapes.is_null(row)).then(|| escapes.value(row).chars().next()).flatten();
            let mut regex = String::from("^");
            let mut chars = pattern.chars();
            while let Some(c) = chars.next() {
                match c {
                    c if Some(c) == escape => {
                        regex.extend(chars.next().map(|c| regex::escape(&c.to_string())))
                    }
                    '%' => regex.push_str(".*"),
                    '_' => regex.push('.'),
                    c => regex.push_str(&regex::escape(&c.to_string())),
                }
            }
            regex.push('$');
            let options = if kinds.value(row) == "ilike" { "si" } else { "s" };
            Ok(Some(known.get(&regex, options)?.is_match(text)))
        });
    Ok(Arc::new(found.collect::<Result<BooleanArray>>()?))
}

fn full_match(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let found = rows(args, Some(2), |_, text, pattern| {
        pattern.find_iter(text).any(|found| found.start() == 0 && found.end() == text.len())
            || Regex::new(&format!("^(?:{})$", pattern.as_str())).is_ok_and(|whole| whole.is_match(text))
    })?;
    Ok(Arc::new(BooleanArray::from(found)))
}

/// Which group each row wants.
fn group(args: &[ArrayRef], row: usize) -> usize {
    match args.get(2) {
        Some(groups) if !groups.is_null(row) => {
            usize::try_from(groups.as_primitive::<Int64Type>().value(row)).unwrap_or(0)
        }
        _ => 0,
    }
}

fn extract(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let found = rows(args, Some(3), |row, text, pattern| {
        let found = pattern.captures(text).and_then(|found| found.get(group(args, row)));
        found.map_or_else(String::new, |found| found.as_str().to_owned())
    })?;
    Ok(Arc::new(StringArray::from(found)))
}

fn extract_all(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let found = rows(args, Some(3), |row, text, pattern| {
        let group = group(args, row);
        let piece = |found: regex::Captures<'_>| {
            found.get(group).map_or_else(String::new, |found| found.as_str().to_owned())
        };
        pattern.captures_iter(text).map(piece).collect::<Vec<_>>()
    })?;
    Ok(lists(found))
}

fn split(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    Ok(lists(rows(args, Some(2), |_, text, pattern| {
        pattern.split(text).map(str::to_owned).collect::<Vec<_>>()
    })?))
}

fn lists(rows: Vec<Option<Vec<String>>>) -> ArrayRef {
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in rows {
        let there = row.is_some();
        row.into_iter().flatten().for_each(|piece| out.values().append_value(piece));
        out.append(there);
    }
    Arc::new(out.finish())
}
