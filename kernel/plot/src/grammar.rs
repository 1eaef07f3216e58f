//! Recursive descent over what stands after the query: `VISUALISE … DRAW … SCALE … FACET … PROJECT … LABEL …`.

mod clauses;
mod layers;
#[cfg(test)]
mod tests;

use carrel_cell::problem::{Problem, Span};
use carrel_cell::token::{Token, TokenKind, tokenize};

use crate::spec::{Literal, SourceName, Spec};

type Parsed<T> = Result<T, Problem>;

/// Words that begin a clause.
pub(crate) const CLAUSES: &[&str] = &["DRAW", "PLACE", "SCALE", "FACET", "PROJECT", "LABEL"];
/// Words that begin a part of a clause.
const PARTS: &[&str] = &[
    "MAPPING",
    "REMAPPING",
    "SETTING",
    "FILTER",
    "PARTITION",
    "ORDER",
    "FROM",
    "TO",
    "VIA",
    "RENAMING",
    "BY",
];

/// Layers of one plot at most.
const LAYERS: usize = 32;

/// Reads a plot. `src` is the statement, `clauses` the place of `VISUALISE` and all after it; places in problems are those of `src`.
///
/// # Errors
/// What is wrong, where, and what to write instead.
pub fn parse(src: &str, clauses: Span) -> Parsed<Spec> {
    let text = src.get(..clauses.end).unwrap_or(src);
    let tokens: Vec<Token> =
        tokenize(text)?.into_iter().filter(|token| token.span.start >= clauses.start).collect();
    let mut parser = Parser { src: text, tokens, at: 0 };
    parser.spec()
}

pub(crate) struct Parser<'a> {
    src: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl Parser<'_> {
    fn spec(&mut self) -> Parsed<Spec> {
        let span = self.here();
        if !self.word("VISUALISE") && !self.word("VISUALIZE") {
            return Err(self.unexpected("VISUALISE"));
        }
        let mut spec = Spec {
            span,
            mappings: Vec::new(),
            source: None,
            layers: Vec::new(),
            scales: Vec::new(),
            facet: None,
            labels: Vec::new(),
            flipped: false,
        };
        if !self.at_clause() && !self.peek_word("FROM") && self.peek().is_some() {
            spec.mappings = self.mappings()?;
        }
        if self.word("FROM") {
            spec.source = Some(self.source()?);
        }
        while let Some(token) = self.peek().copied() {
            let start = token.span;
            if self.word("DRAW") {
                let layer = self.layer(false)?;
                spec.layers.push(layer);
            } else if self.word("PLACE") {
                let layer = self.layer(true)?;
                spec.layers.push(layer);
            } else if self.word("SCALE") {
                let scale = self.scale(start)?;
                spec.scales.push(scale);
            } else if self.word("FACET") {
                if spec.facet.is_some() {
                    return Err(Problem::syntax(start, "FACET stands once in a plot"));
                }
                spec.facet = Some(self.facet()?);
            } else if self.word("PROJECT") {
                spec.flipped = self.project()?;
            } else if self.word("LABEL") {
                let labels = self.labels()?;
                spec.labels.extend(labels);
            } else {
                let found = token.span.of(self.src);
                let problem = self.unexpected("DRAW, PLACE, SCALE, FACET, PROJECT or LABEL");
                return Err(problem.suggest(found, CLAUSES.iter().chain(PARTS)));
            }
            if spec.layers.len() > LAYERS {
                let message = format!("a plot has at most {LAYERS} layers");
                return Err(Problem::syntax(start, message));
            }
        }
        if spec.layers.is_empty() {
            let end = Span::new(span.start, span.end);
            return Err(Problem::syntax(end, "the plot has no layer")
                .hint("add one, as in VISUALISE a AS x, b AS y DRAW point"));
        }
        Ok(spec)
    }

    fn source(&mut self) -> Parsed<SourceName> {
        let start = self.here();
        match self.peek().map(|token| token.kind) {
            Some(TokenKind::String) => self.at += 1,
            Some(TokenKind::Word | TokenKind::QuotedName) => {
                self.at += 1;
                while self.symbol('.') {
                    self.name("a name")?;
                }
            }
            _ => return Err(self.unexpected("a dataset, a table or a 'file'")),
        }
        Ok(SourceName { span: start.to(self.before()) })
    }

    /// A bare or quoted name, folded as SQL does.
    fn name(&mut self, what: &str) -> Parsed<(String, Span)> {
        match self.peek().copied() {
            Some(token) if matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) => {
                self.at += 1;
                Ok((token.value(self.src), token.span))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        if let Some(close) = self.opens_list() {
            let mut values = Vec::new();
            while !self.symbol(close) {
                values.push(self.literal()?);
                if !self.symbol(',') && !self.peek().is_some_and(|token| token.is_symbol(self.src, close)) {
                    return Err(self.unexpected(&format!(", or {close}")));
                }
            }
            return Ok(Literal::List(values));
        }
        let negative = self.symbol('-');
        let Some(token) = self.peek().copied() else { return Err(self.unexpected("a value")) };
        let text = token.value(self.src);
        let value = match token.kind {
            TokenKind::Number => match text.replace('_', "").parse::<f64>() {
                Ok(n) if n.is_finite() => Literal::Number(if negative { -n } else { n }),
                _ => return Err(Problem::syntax(token.span, format!("{text} is not a number"))),
            },
            _ if negative => return Err(self.unexpected("a number after -")),
            TokenKind::Word => match text.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                "null" => Literal::Null,
                _ => return Err(self.unexpected("a value").hint("texts stand in single quotes")),
            },
            TokenKind::String => Literal::Text(text),
            TokenKind::QuotedName | TokenKind::Symbol => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(value)
    }

    fn opens_list(&mut self) -> Option<char> {
        if self.symbol('(') {
            Some(')')
        } else if self.symbol('[') {
            Some(']')
        } else {
            None
        }
    }

    fn arrow(&mut self) -> Parsed<()> {
        if self.symbol('=') && self.symbol('>') { Ok(()) } else { Err(self.unexpected("=>")) }
    }

    /// Everything up to the next clause or part at this depth, as it stands.
    fn raw(&mut self, what: &str) -> Parsed<Span> {
        let start = self.here();
        let from = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            if depth == 0 && (self.at_clause() || self.at_part()) {
                break;
            }
            if token.is_symbol(self.src, '(') || token.is_symbol(self.src, '[') {
                depth += 1;
            } else if token.is_symbol(self.src, ')') || token.is_symbol(self.src, ']') {
                match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return Err(Problem::syntax(token.span, "this closes nothing")),
                }
            }
            self.at += 1;
        }
        if self.at == from { Err(self.unexpected(what)) } else { Ok(start.to(self.before())) }
    }

    fn at_clause(&self) -> bool {
        CLAUSES.iter().any(|word| self.peek_word(word))
    }

    fn at_part(&self) -> bool {
        PARTS.iter().any(|word| self.peek_word(word))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn peek_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(self.src, word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_symbol(self.src, symbol));
        self.at += usize::from(found);
        found
    }

    fn here(&self) -> Span {
        self.peek().map_or_else(|| Span::new(self.before().end, self.before().end), |token| token.span)
    }

    fn before(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(Span::default(), |token| token.span)
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let found = match self.peek() {
            Some(token) => {
                let text: String = token.span.of(self.src).chars().take(40).collect();
                format!("found {}", text.replace('\n', " "))
            }
            None => "the plot ends".to_owned(),
        };
        Problem::syntax(self.here(), format!("{wanted} was expected here, {found}"))
    }
}
