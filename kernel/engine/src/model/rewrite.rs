//! `ML.` calls in FROM, rewritten to what DataFusion understands before it parses. Only the call's own words are replaced: the
//! query or the table inside keeps its text, so a problem in it is shown where the user wrote it.

use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem, Span};
use carrel_cell::statement::{quote_name, quote_string};
use carrel_cell::token::{Token, TokenKind, tokenize};

use super::describe::{FUNCTION, Tables, inputs};
use super::learn::metric_names;
use super::predict::{LABEL, PROBS};
use super::store::{Store, Stored};
use super::{evaluate, predict};
use crate::run::Run;
use crate::session::Session;
use carrel_cell::edit::{Edited, Edits};

/// The calls.
const CALLS: &[&str] = &["EVALUATE", "PREDICT", "WEIGHTS", "TRAINING_INFO"];

/// Replaces `ML.PREDICT(MODEL m, TABLE t | (query))` and its kin in a query by what DataFusion understands.
/// Quick when the text holds no `ML.`.
pub async fn rewrite(session: &Session, sql: &str, _run: &Arc<Run>) -> Result<Edited, Problem> {
    if !sql.as_bytes().windows(3).any(|bytes| bytes.eq_ignore_ascii_case(b"ml.")) {
        return Ok(Edited::unchanged(sql));
    }
    let store = Store::new(session.models_dir());
    let mut edits = Edits::default();
    for call in calls(sql)? {
        let model = Arc::new(store.load(&call.model).map_err(|problem| problem.at(call.model_span))?);
        replace(sql, &call, &model, &mut edits);
        match (&call.kind, &call.data) {
            (Kind::Predict, _) => {
                session.context().register_udf(predict::function(name_of("predict", &model), model));
            }
            (Kind::Evaluate, Some(_)) => {
                session.context().register_udaf(evaluate::function(name_of("evaluate", &model), model));
            }
            _ => session.context().register_udtf(FUNCTION, Arc::new(Tables(store.clone()))),
        }
    }
    Ok(edits.apply(sql))
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Predict,
    Evaluate,
    Weights,
    TrainingInfo,
}

/// One call.
#[derive(Debug, PartialEq)]
struct Call {
    kind: Kind,
    /// From `ML` to the closing parenthesis.
    span: Span,
    model: String,
    model_span: Span,
    /// The table's name, or the query with its parentheses.
    data: Option<Span>,
    threshold: f64,
}

/// All calls of a text, the outer before the inner.
fn calls(sql: &str) -> Result<Vec<Call>, Problem> {
    let tokens = tokenize(sql)?;
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let begins = tokens[at].is_word(sql, "ML")
            && !(at > 0 && tokens[at - 1].is_symbol(sql, '.'))
            && tokens.get(at + 1).is_some_and(|t| t.is_symbol(sql, '.'))
            && tokens.get(at + 2).is_some_and(|t| t.kind == TokenKind::Word)
            && tokens.get(at + 3).is_some_and(|t| t.is_symbol(sql, '('));
        if begins {
            found.push(Reader { sql, tokens: &tokens, at: at + 2 }.call(tokens[at].span)?);
        }
    }
    Ok(found)
}

struct Reader<'a> {
    sql: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn call(mut self, begin: Span) -> Result<Call, Problem> {
        let name = self.tokens[self.at];
        let word = name.span.of(self.sql).to_ascii_uppercase();
        let kind = match word.as_str() {
            "PREDICT" => Kind::Predict,
            "EVALUATE" => Kind::Evaluate,
            "WEIGHTS" => Kind::Weights,
            "TRAINING_INFO" => Kind::TrainingInfo,
            _ => {
                return Err(Problem::new(Ename::UnknownFunction, format!("no function ML.{word}"))
                    .at(begin.to(name.span))
                    .hint(format!("there are ML.{}", CALLS.join(", ML.")))
                    .suggest(&word, CALLS.iter().map(|call| format!("ML.{call}"))));
            }
        };
        self.at += 2;
        self.word("MODEL", "MODEL and a model's name")?;
        let (model, model_span) = self.name()?;
        let mut call = Call { kind, span: begin, model, model_span, data: None, threshold: 0.5 };
        while self.symbol(',') {
            if self.peek_word("STRUCT") {
                call.threshold = self.settings(kind)?;
            } else if call.data.is_none() && matches!(kind, Kind::Predict | Kind::Evaluate) {
                call.data = Some(self.data()?);
            } else {
                return Err(self.unexpected(")"));
            }
        }
        if !self.symbol(')') {
            return Err(self.unexpected(", or )"));
        }
        if kind == Kind::Predict && call.data.is_none() {
            return Err(Problem::syntax(model_span, "ML.PREDICT needs data")
                .hint("ML.PREDICT(MODEL m, TABLE t) or ML.PREDICT(MODEL m, (SELECT …))"));
        }
        call.span = begin.to(self.tokens[self.at - 1].span);
        Ok(call)
    }

    /// `TABLE name` (the name's place) or `(query)` (its place with the parentheses).
    fn data(&mut self) -> Result<Span, Problem> {
        if self.peek_word("TABLE") {
            self.at += 1;
            let (_, mut span) = self.name()?;
            while self.symbol('.') {
                span = span.to(self.name()?.1);
            }
            return Ok(span);
        }
        let Some(open) = self.peek().filter(|token| token.is_symbol(self.sql, '(')) else {
            return Err(self.unexpected("TABLE and a name, or a query in parentheses"));
        };
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            self.at += 1;
            if token.is_symbol(self.sql, '(') {
                depth += 1;
            } else if token.is_symbol(self.sql, ')') {
                depth -= 1;
                if depth == 0 {
                    return Ok(open.span.to(token.span));
                }
            }
        }
        Err(Problem::syntax(open.span, "this parenthesis is not closed"))
    }

    /// `STRUCT(0.6 AS threshold)`
    fn settings(&mut self, kind: Kind) -> Result<f64, Problem> {
        let begin = self.at;
        self.at += 1;
        if !matches!(kind, Kind::Predict | Kind::Evaluate) || !self.symbol('(') {
            self.at = begin;
            return Err(self.unexpected(")"));
        }
        let number = self.peek().filter(|token| token.kind == TokenKind::Number);
        let value = number.and_then(|token| token.span.of(self.sql).parse::<f64>().ok());
        let Some(threshold) = value.filter(|value| (0.0..=1.0).contains(value)) else {
            return Err(self.unexpected("a threshold from 0 to 1"));
        };
        self.at += 1;
        self.word("AS", "AS threshold")?;
        self.word("threshold", "threshold")?;
        if self.symbol(')') { Ok(threshold) } else { Err(self.unexpected(")")) }
    }

    fn name(&mut self) -> Result<(String, Span), Problem> {
        match self.peek() {
            Some(token) if matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) => {
                self.at += 1;
                Ok((token.value(self.sql), token.span))
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn word(&mut self, word: &str, expected: &str) -> Result<(), Problem> {
        if self.peek_word(word) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(expected))
    }

    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn peek_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(self.sql, word))
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let there = self.peek().is_some_and(|token| token.is_symbol(self.sql, symbol));
        self.at += usize::from(there);
        there
    }

    fn unexpected(&self, expected: &str) -> Problem {
        match self.peek() {
            Some(token) => {
                let message = format!("expected {expected}, found {}", token.span.of(self.sql));
                Problem::syntax(token.span, message)
            }
            None => Problem::syntax(
                Span::new(self.sql.len(), self.sql.len()),
                format!("expected {expected}, found the end"),
            ),
        }
    }
}

/// The name of a model's function.
fn name_of(what: &str, model: &Stored) -> String {
    format!("__carrel_{what}_{}", model.name)
}

/// Replaces the words of one call.
fn replace(sql: &str, call: &Call, model: &Stored, edits: &mut Edits) {
    let table = |what: &str| format!("{FUNCTION}({}, {})", quote_string(what), quote_string(&model.name));
    let arguments = |first: Option<&str>| {
        let names = first.into_iter().chain(inputs(&model.features)).map(quote_column);
        std::iter::once(format!("CAST({} AS DOUBLE)", call.threshold))
            .chain(names)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let label = &model.label;
    let (front, back) = match (call.kind, call.data) {
        (Kind::Predict, Some(_)) => {
            let function = quote_column(&name_of("predict", model));
            let arguments = arguments(None);
            let predicted = quote_column(&format!("predicted_{label}"));
            let columns = if model.classes.is_some() {
                let probs = quote_column(&format!("predicted_{label}_probs"));
                format!("get_field(__p, '{LABEL}') AS {predicted}, get_field(__p, '{PROBS}') AS {probs}")
            } else {
                format!("__p AS {predicted}")
            };
            let front = format!(
                "(SELECT {columns}, * EXCLUDE (__p) FROM (SELECT {function}({arguments}) AS __p, * FROM "
            );
            (front, " AS __ml) AS __ml)")
        }
        (Kind::Evaluate, Some(_)) => {
            let function = quote_column(&name_of("evaluate", model));
            let columns: Vec<String> = metric_names(model.model_type)
                .iter()
                .map(|metric| format!("get_field(__e, '{metric}') AS {metric}"))
                .collect();
            let front = format!(
                "(SELECT {} FROM (SELECT {function}({}) AS __e FROM ",
                columns.join(", "),
                arguments(Some(label))
            );
            (front, " AS __ml) AS __ml)")
        }
        (Kind::Weights, _) => return edits.replace(call.span, table("weights")),
        (Kind::TrainingInfo, _) => return edits.replace(call.span, table("training_info")),
        (Kind::Predict | Kind::Evaluate, None) => return edits.replace(call.span, table("evaluation")),
    };
    if let Some(data) = call.data {
        debug_assert!(sql.is_char_boundary(data.start));
        edits.replace(Span::new(call.span.start, data.start), front);
        edits.replace(Span::new(data.end, call.span.end), back);
    }
}

/// A column's name, always quoted: it is taken as the model knows it.
fn quote_column(name: &str) -> String {
    let quoted = quote_name(name);
    if quoted.starts_with('"') { quoted } else { format!("\"{quoted}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_and_taken_apart() {
        let sql = "SELECT ml.x, 'ML.PREDICT(' FROM ML.PREDICT(MODEL \"My m\", (SELECT * FROM ml.evaluate(MODEL b, TABLE ads.clicks)), \
                   STRUCT(0.7 AS threshold)) AS p JOIN ML.WEIGHTS(MODEL m) ON true";
        let found = calls(sql).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|c| (c.kind, c.model.as_str(), c.data.map(|d| d.of(sql)), c.threshold))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Predict, "My m", Some("(SELECT * FROM ml.evaluate(MODEL b, TABLE ads.clicks))"), 0.7),
                (Kind::Evaluate, "b", Some("ads.clicks"), 0.5),
                (Kind::Weights, "m", None, 0.5),
            ]
        );
        assert!(found[0].span.of(sql).ends_with("STRUCT(0.7 AS threshold))"));
    }

    #[test]
    fn mistakes_are_placed() {
        for (sql, place, words) in [
            ("SELECT * FROM ML.PREDCT(MODEL m, TABLE t)", "ML.PREDCT", "no function ML.PREDCT"),
            ("SELECT * FROM ML.PREDICT(m, TABLE t)", "m", "expected MODEL"),
            ("SELECT * FROM ML.PREDICT(MODEL m)", "m", "needs data"),
            ("SELECT * FROM ML.PREDICT(MODEL m, t)", "t", "expected TABLE"),
            ("SELECT * FROM ML.PREDICT(MODEL m, (SELECT 1)", "", "expected , or )"),
            ("SELECT * FROM ML.WEIGHTS(MODEL m, TABLE t)", "TABLE", "expected )"),
            ("SELECT * FROM ML.PREDICT(MODEL m, TABLE t, STRUCT(3 AS threshold))", "3", "from 0 to 1"),
        ] {
            let problem = calls(sql).unwrap_err();
            assert!(problem.message.contains(words), "{problem}");
            assert_eq!(problem.span.unwrap().of(sql), place, "{problem}");
        }
        assert_eq!(
            calls("SELECT * FROM ML.PREDCT(MODEL m)").unwrap_err().hint.as_deref(),
            Some("did you mean ML.PREDICT?")
        );
    }
}
