//! SQL for the engine, made of our own words and of pieces of the user's, whose places are kept.

use carrel_cell::problem::{Problem, Span};
use carrel_cell::statement::quote_name;
use carrel_cell::token::{TokenKind, tokenize};

use crate::spec::SourceName;

/// A query to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Its text.
    pub sql: String,
    /// Where a piece of the user's begins in `sql`, and which it is.
    pieces: Vec<(usize, Span)>,
    /// The place of everything else.
    whole: Span,
}

impl Query {
    pub(crate) fn new(whole: Span) -> Self {
        Self { sql: String::new(), pieces: Vec::new(), whole }
    }

    /// Our own words.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    /// A piece of the user's text.
    pub(crate) fn splice(&mut self, src: &str, span: Span) -> &mut Self {
        self.pieces.push((self.sql.len(), span));
        self.sql.push_str(span.of(src));
        self
    }

    /// The engine's problem with this query as a problem of the statement.
    #[must_use]
    pub fn placed(&self, problem: Problem) -> Problem {
        let Some(sent) = problem.span else { return problem.at(self.whole) };
        let inside = self
            .pieces
            .iter()
            .find(|(start, piece)| sent.start >= *start && sent.end <= start + (piece.end - piece.start));
        let place = match inside {
            Some((start, piece)) => {
                let from = piece.start + (sent.start - start);
                Span::new(from, from + (sent.end - sent.start))
            }
            None => self.whole,
        };
        problem.at(place)
    }
}

/// The statement's query as a source of rows.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    src: &'a str,
    /// The query before `VISUALISE`.
    query: Option<Span>,
    /// `WITH …`, as far as its last `)`.
    with: Option<Span>,
    /// Does a SELECT follow the `WITH`?
    whole: bool,
}

impl<'a> Source<'a> {
    /// Reads where common table expressions end.
    ///
    /// # Errors
    /// When the text has no tokens; the statement was parsed before, so it has.
    pub fn new(src: &'a str, query: Option<Span>) -> Result<Self, Problem> {
        let Some(span) = query else { return Ok(Self { src, query, with: None, whole: false }) };
        let tokens = tokenize(span.of(src)).map_err(|problem| problem.shifted(span.start))?;
        let text = span.of(src);
        if !tokens.first().is_some_and(|token| token.is_word(text, "WITH")) {
            return Ok(Self { src, query, with: None, whole: true });
        }
        let (mut depth, mut end) = (0_usize, tokens.len());
        for (at, token) in tokens.iter().enumerate() {
            if token.is_symbol(text, '(') {
                depth += 1;
            } else if token.is_symbol(text, ')') {
                depth = depth.saturating_sub(1);
                let next = tokens.get(at + 1);
                let goes_on = next.is_some_and(|next| next.is_symbol(text, ',') || next.is_word(text, "AS"));
                if depth == 0 && !goes_on {
                    end = at + 1;
                    break;
                }
            }
        }
        let last = tokens.get(end - 1).map_or(0, |token| token.span.end);
        let with = Span::new(span.start, span.start + last);
        Ok(Self { src, query, with: Some(with), whole: end < tokens.len() })
    }

    /// Is there a query whose rows can be drawn?
    #[must_use]
    pub fn has_rows(&self) -> bool {
        self.whole
    }

    /// Begins a query that reads this source: `WITH …` if it needs it.
    pub(crate) fn open(&self, name: Option<&SourceName>, query: &mut Query) {
        if name.is_some()
            && let Some(with) = self.with
        {
            query.splice(self.src, with).push("\n");
        }
    }

    /// `FROM …`
    pub(crate) fn from(&self, name: Option<&SourceName>, query: &mut Query) {
        query.push(" FROM ");
        match (name, self.query) {
            (Some(name), _) => query.splice(self.src, name.span),
            (None, Some(span)) => query.push("(\n").splice(self.src, span).push("\n)"),
            (None, None) => query,
        };
        query.push(" AS plot_data");
    }

    /// Asks for the columns of a source.
    #[must_use]
    pub fn columns(&self, name: Option<&SourceName>, at: Span) -> Query {
        let mut query = Query::new(name.map_or_else(|| self.query.unwrap_or(at), |name| name.span));
        self.open(name, &mut query);
        query.push("SELECT *");
        self.from(name, &mut query);
        query.push(" LIMIT 0");
        query
    }

    /// The statement.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.src
    }
}

/// A column of the user's data, as SQL.
pub(crate) fn column(name: &str) -> String {
    quote_name(name)
}

/// Is the text one string or number, so that it names no column?
pub(crate) fn is_constant(text: &str) -> bool {
    let Ok(tokens) = tokenize(text) else { return false };
    tokens.iter().all(|token| match token.kind {
        TokenKind::String | TokenKind::Number => true,
        TokenKind::Word => matches!(token.value(text).as_str(), "true" | "false"),
        TokenKind::Symbol => token.span.of(text) == "-",
        TokenKind::QuotedName => false,
    })
}

#[cfg(test)]
mod tests {
    use carrel_cell::problem::Ename;

    use super::*;

    #[test]
    fn with_is_told_from_the_query() {
        let case = |src: &str, with: Option<&str>, whole: bool| {
            let source = Source::new(src, Some(Span::new(0, src.len()))).unwrap();
            assert_eq!(source.with.map(|span| span.of(src)), with, "{src}");
            assert_eq!(source.has_rows(), whole, "{src}");
        };
        case("SELECT 1", None, true);
        case("WITH a AS (SELECT (1)) SELECT * FROM a", Some("WITH a AS (SELECT (1))"), true);
        case(
            "WITH a(x) AS (VALUES (1)), b AS (SELECT 2)",
            Some("WITH a(x) AS (VALUES (1)), b AS (SELECT 2)"),
            false,
        );
    }

    #[test]
    fn the_engines_places_become_those_of_the_statement() {
        let src = "SELECT a FROM t VISUALISE b AS x DRAW point";
        let source = Source::new(src, Some(Span::new(0, 15))).unwrap();
        let query = source.columns(None, Span::default());
        let at = query.sql.find('a').unwrap();
        let found = query.placed(Problem::new(Ename::UnknownColumn, "no").at(Span::new(at, at + 1)));
        assert_eq!(found.span.unwrap().of(src), "a");
        let outside = query.placed(Problem::new(Ename::UnknownColumn, "no").at(Span::new(0, 1)));
        assert_eq!(outside.span.unwrap().of(src), "SELECT a FROM t");
    }
}
