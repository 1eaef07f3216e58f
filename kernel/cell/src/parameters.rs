//! Values for `:name` in a statement: from a notebook's or a cell's metadata, or kept with `SET VARIABLE`. A value is put into the text as a
//! literal, so it stands wherever a value may stand, and what is in it can never be SQL.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::edit::{Edited, Edits};
use crate::problem::{Ename, Problem};
use crate::statement::{OptionValue, quote_string};
use crate::token::{Token, TokenKind, tokenize};

/// Where values come from, for hints.
const SOURCES: &str =
    "give it a value in the notebook's metadata, as \"parameters\": {…}, or with SET VARIABLE name = value";

/// Values by name. Names are compared in lower case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(BTreeMap<String, Literal>);

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Literal>),
    /// It has a value that SQL has no literal for.
    Unusable(&'static str),
}

impl Parameters {
    /// The object `parameters` of some metadata. A value that cannot be used is a problem only where it is used.
    #[must_use]
    pub fn from_metadata(metadata: &Map<String, Value>) -> Self {
        let Some(Value::Object(values)) = metadata.get("parameters") else { return Self::default() };
        Self(values.iter().map(|(name, value)| (name.to_lowercase(), literal(value))).collect())
    }

    /// Sets a value, or forgets it with none.
    pub fn set(&mut self, name: &str, value: Option<&OptionValue>) {
        match value {
            Some(value) => self.0.insert(name.to_lowercase(), kept(value)),
            None => self.0.remove(&name.to_lowercase()),
        };
    }

    /// These, with others where those have a value.
    #[must_use]
    pub fn under(mut self, others: &Self) -> Self {
        self.0.extend(others.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// Puts the values into a text.
    ///
    /// # Errors
    /// A name without a value, or with one that cannot stand there; its place is that of `src`.
    pub fn bind(&self, src: &str) -> Result<Edited, Problem> {
        let tokens = tokenize(src)?;
        let mut edits = Edits::default();
        for at in 0..tokens.len() {
            if let Some(name) = parameter(src, &tokens, at) {
                let span = tokens[at].span.to(name.span);
                let text = self.text(&name.value(src), &Around::new(src, &tokens, at, at + 2));
                edits.replace(span, text.map_err(|problem| problem.at(span))?);
            } else if let Some((name, end)) = getvariable(src, &tokens, at) {
                let around = Around::new(src, &tokens, at, end);
                let span = tokens[at].span.to(tokens[end - 1].span);
                let text = match self.0.get(&name) {
                    Some(value) => value.sql(&name, &around).map_err(|problem| problem.at(span))?,
                    None => "NULL".to_owned(),
                };
                edits.replace(span, text);
            }
        }
        Ok(edits.apply(src))
    }

    fn text(&self, name: &str, around: &Around<'_>) -> Result<String, Problem> {
        match self.0.get(name) {
            Some(value) => value.sql(name, around),
            None => {
                let problem =
                    Problem::new(Ename::UnknownParameter, format!("the parameter {name} has no value"));
                let problem = problem.suggest(name, self.0.keys());
                Err(if problem.hint.is_some() { problem } else { problem.hint(SOURCES) })
            }
        }
    }
}

impl Literal {
    fn sql(&self, name: &str, around: &Around<'_>) -> Result<String, Problem> {
        let refused = |why: &str| Problem::new(Ename::BadOption, format!("the parameter {name} {why}"));
        Ok(match self {
            Self::Null => "NULL".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) if number.starts_with('-') && around.binds() => format!("({number})"),
            Self::Number(number) => number.clone(),
            Self::Text(text) => quote_string(text),
            Self::Unusable(why) => return Err(refused(why)),
            Self::List(values) => {
                let texts: Result<Vec<_>, _> =
                    values.iter().map(|value| value.sql(name, &Around::NOTHING)).collect();
                let texts = texts?.join(", ");
                if around.is_in() && values.is_empty() {
                    return Err(refused("is an empty list").hint("IN needs one value at least"));
                }
                match around {
                    Around { in_word: true, .. } => format!("({texts})"),
                    Around { in_list: true, .. } => texts,
                    _ => format!("[{texts}]"),
                }
            }
        })
    }
}

/// What stands around a parameter, as far as its literal depends on it.
struct Around<'a> {
    /// `IN :x`
    in_word: bool,
    /// `IN (:x)`
    in_list: bool,
    before: &'a str,
    after: &'a str,
}

impl<'a> Around<'a> {
    const NOTHING: Around<'static> = Around { in_word: false, in_list: false, before: "", after: "" };

    /// Around the tokens `from..end`.
    fn new(src: &'a str, tokens: &[Token], from: usize, end: usize) -> Self {
        let back = |n: usize| from.checked_sub(n).and_then(|at| tokens.get(at));
        let is_in = |token: Option<&Token>| token.is_some_and(|token| token.is_word(src, "IN"));
        let text = |token: Option<&Token>| token.map_or("", |token| token.span.of(src));
        let (before, after) = (text(back(1)), text(tokens.get(end)));
        let in_list = before == "(" && after == ")" && is_in(back(2));
        Self { in_word: is_in(back(1)), in_list, before, after }
    }

    fn is_in(&self) -> bool {
        self.in_word || self.in_list
    }

    /// Would a sign be read as a comment, or belong to less than the number?
    fn binds(&self) -> bool {
        let ends =
            ["", ",", ")", ";", "]"].contains(&self.after) || self.after.starts_with(char::is_alphabetic);
        self.before == "-" || !ends
    }
}

/// The name of a parameter whose colon is at `at`. `a::type`, `list[1:n]`, `{a: 1}` and `json:path` are none.
fn parameter<'t>(src: &str, tokens: &'t [Token], at: usize) -> Option<&'t Token> {
    let colon = tokens[at];
    let name = tokens.get(at + 1)?;
    if !colon.is_symbol(src, ':') || name.kind != TokenKind::Word || name.span.start != colon.span.end {
        return None;
    }
    let before =
        at.checked_sub(1).map(|before| tokens[before]).filter(|token| token.span.end == colon.span.start);
    let opens = |token: Token| {
        token.kind == TokenKind::Symbol && !matches!(token.span.of(src), ":" | ")" | "]" | "}" | "?")
    };
    before.is_none_or(opens).then_some(name)
}

/// DuckDB's `getvariable('name')`: the name in lower case, and the token behind it.
fn getvariable(src: &str, tokens: &[Token], at: usize) -> Option<(String, usize)> {
    let [function, open, name, close] = tokens.get(at..at + 4)? else { return None };
    let fits = function.is_word(src, "getvariable")
        && open.is_symbol(src, '(')
        && name.kind == TokenKind::String
        && close.is_symbol(src, ')');
    fits.then(|| (name.value(src).to_lowercase(), at + 4))
}

fn literal(value: &Value) -> Literal {
    match value {
        Value::Null => Literal::Null,
        Value::Bool(value) => Literal::Bool(*value),
        Value::Number(number) => Literal::Number(number.to_string()),
        Value::String(text) => Literal::Text(text.clone()),
        Value::Array(values) => Literal::List(values.iter().map(literal).collect()),
        Value::Object(_) => {
            Literal::Unusable("is an object; texts, numbers, true, false, null and lists can be used")
        }
    }
}

fn kept(value: &OptionValue) -> Literal {
    match value {
        OptionValue::Text(text) => Literal::Text(text.clone()),
        OptionValue::Number(number) => Literal::Number(number.to_string()),
        OptionValue::Bool(value) => Literal::Bool(*value),
        OptionValue::List(values) => Literal::List(values.iter().map(kept).collect()),
        OptionValue::Null => Literal::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::Span;

    fn some() -> Parameters {
        let metadata = json!({"parameters": {
            "n": 5, "loss": -1.5, "big": 9_007_199_254_740_993_i64, "Region": "EU' OR 1=1 --", "ok": true, "none": null,
            "days": ["mon", "tue"], "few": [], "deep": {"a": 1}}});
        Parameters::from_metadata(metadata.as_object().unwrap())
    }

    fn bound(src: &str) -> String {
        some().bind(src).unwrap_or_else(|problem| panic!("{src}: {problem}")).sql
    }

    #[test]
    fn values_become_literals_and_never_sql() {
        for (src, expected) in [
            ("SELECT :n, :ok, :none, :big", "SELECT 5, true, NULL, 9007199254740993"),
            ("SELECT * FROM t WHERE region=:region", "SELECT * FROM t WHERE region='EU'' OR 1=1 --'"),
            ("SELECT :REGION", "SELECT 'EU'' OR 1=1 --'"),
            (
                "SELECT a - :loss, a -:loss, :loss::INT, :loss^2",
                "SELECT a - (-1.5), a -(-1.5), (-1.5)::INT, (-1.5)^2",
            ),
            ("SELECT x FROM t LIMIT :n", "SELECT x FROM t LIMIT 5"),
            ("x IN (:days) OR x IN :days", "x IN ('mon', 'tue') OR x IN ('mon', 'tue')"),
            ("list_contains(:days, x), :few", "list_contains(['mon', 'tue'], x), []"),
            ("getvariable('N') + getvariable('nothing')", "5 + NULL"),
        ] {
            assert_eq!(bound(src), expected, "{src}");
        }
    }

    #[test]
    fn other_colons_stay() {
        for src in
            ["a::int", "l[1:n]", "{a:n}", "col:path", "':n' -- :n", "SELECT {a: n}", "\"c\":n", "f(x):n"]
        {
            assert_eq!(bound(src), src);
        }
    }

    #[test]
    fn what_cannot_be_bound_is_said_at_its_place() {
        let problem = some().bind("SELECT :regoin").unwrap_err();
        assert_eq!((problem.ename, problem.span), (Ename::UnknownParameter, Some(Span::new(7, 14))));
        assert_eq!(problem.hint.as_deref(), Some("did you mean region?"));
        let problem = Parameters::default().bind("SELECT :x").unwrap_err();
        assert!(problem.hint.unwrap().contains("SET VARIABLE"));
        for (src, says) in [("SELECT :deep", "object"), ("x IN (:few)", "empty")] {
            let problem = some().bind(src).unwrap_err();
            assert!(problem.ename == Ename::BadOption && problem.message.contains(says), "{problem}");
        }
    }

    #[test]
    fn values_of_the_session_go_before_those_of_the_notebook() {
        let mut own = Parameters::default();
        own.set("N", Some(&OptionValue::Number(7.0)));
        assert_eq!(some().under(&own).bind(":n").unwrap().sql, "7");
        own.set("n", None);
        assert_eq!(some().under(&own).bind(":n").unwrap().sql, "5");
    }
}
