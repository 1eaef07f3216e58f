//! What statements are made of: options and their values, queries, names, words, and what is said when something else stands there.

use super::*;

impl<'a> Parser<'a> {
    /// `(name = value, …)`, also `(name value, …)` as COPY has it.
    pub(super) fn options(&mut self) -> Parsed<Vec<OptionEntry>> {
        let mut entries = Vec::new();
        self.expect_symbol('(')?;
        while !self.symbol(')') {
            let start = self.here();
            let name = self.key()?;
            let _ = self.symbol('=');
            let value = self.value()?;
            entries.push(OptionEntry { name, value, span: start.to(self.before()) });
            if !self.symbol(',') && !self.peek().is_some_and(|token| token.is_symbol(self.src, ')')) {
                return Err(self.unexpected(", or )"));
            }
        }
        Ok(entries)
    }

    pub(super) fn value(&mut self) -> Parsed<OptionValue> {
        let _ = self.word("ARRAY");
        if self.symbol('[') {
            let mut values = Vec::new();
            while !self.symbol(']') {
                values.push(self.value()?);
                if !self.symbol(',') && !self.peek().is_some_and(|token| token.is_symbol(self.src, ']')) {
                    return Err(self.unexpected(", or ]"));
                }
            }
            return Ok(OptionValue::List(values));
        }
        let start = self.here();
        let negative = self.symbol('-');
        let Some(token) = self.peek().copied() else { return Err(self.unexpected("a value")) };
        let text = token.value(self.src);
        let value = match token.kind {
            TokenKind::Number => match text.replace('_', "").parse::<f64>() {
                Ok(number) => OptionValue::Number(if negative { -number } else { number }),
                Err(_) if negative => return Err(Problem::syntax(start, format!("-{text} is not a number"))),
                // `512MB`, `30s`: a size or a time, judged by whoever owns the key
                Err(_) => OptionValue::Text(text),
            },
            _ if negative => return Err(self.unexpected("a number after -")),
            TokenKind::Word => match text.as_str() {
                "true" => OptionValue::Bool(true),
                "false" => OptionValue::Bool(false),
                "null" => OptionValue::Null,
                _ => OptionValue::Text(text),
            },
            TokenKind::String | TokenKind::QuotedName => OptionValue::Text(text),
            TokenKind::Symbol => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        Ok(value)
    }

    pub(super) fn as_query(&mut self) -> Parsed<QueryText> {
        self.expect_word("AS")?;
        if !self.at_query() {
            return Err(self.unexpected("a query after AS"));
        }
        self.query()
    }

    pub(super) fn at_query(&self) -> bool {
        let Some(token) = self.peek() else { return false };
        let word = QUERY_WORDS.iter().any(|word| token.is_word(self.src, word));
        word || token.is_symbol(self.src, '(')
    }

    /// The rest of the statement as a query, after a look for what no SQL parser would explain well.
    pub(super) fn query(&mut self) -> Parsed<QueryText> {
        let mut depth = 0_i32;
        let mut open = Vec::new();
        for token in &self.tokens[self.at..] {
            match token.span.of(self.src) {
                "(" if token.kind == TokenKind::Symbol => {
                    depth += 1;
                    open.push(*token);
                }
                ")" if token.kind == TokenKind::Symbol => {
                    depth -= 1;
                    if open.pop().is_none() {
                        return Err(Problem::syntax(token.span, "this ) closes nothing"));
                    }
                }
                _ if depth == 0 && VISUALISE.iter().any(|word| token.is_word(self.src, word)) => {
                    let hint = "a plot is a statement of its own: query VISUALISE … DRAW …";
                    return Err(Problem::unsupported(token.span, "a plot cannot stand here", hint));
                }
                _ => {}
            }
        }
        match open.pop() {
            Some(token) => Err(Problem::syntax(token.span, "this ( is not closed")),
            None => Ok(self.rest_as_query()),
        }
    }

    pub(super) fn rest_as_query(&mut self) -> QueryText {
        let span = self.here().to(self.tokens[self.tokens.len() - 1].span);
        self.at = self.tokens.len();
        QueryText { text: span.of(self.src).to_owned(), span }
    }

    /// `(query)`: the text between the parentheses.
    pub(super) fn parenthesised(&mut self) -> Parsed<QueryText> {
        let open = self.here();
        let mut depth = 0_usize;
        for (i, token) in self.tokens.iter().enumerate().skip(self.at) {
            if token.is_symbol(self.src, '(') {
                depth += 1;
            } else if token.is_symbol(self.src, ')') {
                depth -= 1;
            }
            if depth == 0 {
                let inner = &self.tokens[self.at + 1..i];
                let (Some(first), Some(last)) = (inner.first(), inner.last()) else {
                    return Err(Problem::syntax(open.to(token.span), "a query was expected in ( )"));
                };
                let span = first.span.to(last.span);
                self.at = i + 1;
                return Ok(QueryText { text: span.of(self.src).to_owned(), span });
            }
        }
        Err(Problem::syntax(open, "this ( is not closed"))
    }

    pub(super) fn if_not_exists(&mut self) -> Parsed<bool> {
        if !self.word("IF") {
            return Ok(false);
        }
        self.expect_word("NOT")?;
        self.expect_word("EXISTS")?;
        Ok(true)
    }

    pub(super) fn name(&mut self, what: &str) -> Parsed<Name> {
        let start = self.here();
        let mut parts = Vec::new();
        loop {
            let Some(token) = self.peek().copied() else { return Err(self.unexpected(what)) };
            if !matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) {
                return Err(self.unexpected(what));
            }
            parts.push(token.value(self.src));
            self.at += 1;
            if !self.symbol('.') {
                break;
            }
        }
        let span = start.to(self.before());
        if parts.len() > 3 {
            return Err(Problem::syntax(span, "a name has at most three parts: catalog.schema.table"));
        }
        Ok(Name { parts, span })
    }

    /// A dotted setting or option name in lower case.
    pub(super) fn key(&mut self) -> Parsed<String> {
        let mut parts = Vec::new();
        loop {
            let Some(token) = self.peek().copied() else { return Err(self.unexpected("a name")) };
            if token.kind == TokenKind::Symbol || token.kind == TokenKind::Number {
                return Err(self.unexpected("a name"));
            }
            parts.push(token.value(self.src).to_lowercase());
            self.at += 1;
            if !self.symbol('.') {
                return Ok(parts.join("."));
            }
        }
    }

    pub(super) fn string(&mut self, what: &str) -> Parsed<(String, Span)> {
        match self.peek().copied() {
            Some(token) if token.kind == TokenKind::String => {
                self.at += 1;
                Ok((token.value(self.src), token.span))
            }
            _ => Err(self.unexpected(&format!("{what} in single quotes"))),
        }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn peek_after(&self) -> Option<&'a Token> {
        self.tokens.get(self.at + 1)
    }

    pub(super) fn peek_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(self.src, word))
    }

    pub(super) fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn symbol(&mut self, symbol: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_symbol(self.src, symbol));
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { Err(self.unexpected(word)) }
    }

    pub(super) fn expect_symbol(&mut self, symbol: char) -> Parsed<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.unexpected(&symbol.to_string())) }
    }

    /// The next token's place, or the end of the statement.
    pub(super) fn here(&self) -> Span {
        match self.peek() {
            Some(token) => token.span,
            None => {
                let end = self.before().end;
                Span::new(end, end)
            }
        }
    }

    pub(super) fn before(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(Span::default(), |token| token.span)
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Problem {
        let found = match self.peek() {
            Some(token) => format!("found {}", shortened(token.span.of(self.src))),
            None => "the statement ends".to_owned(),
        };
        Problem::syntax(self.here(), format!("{wanted} was expected here, {found}"))
    }

    pub(super) fn refused(&self) -> Problem {
        let token = self.tokens[0];
        let text = token.span.of(self.src);
        let upper = text.to_uppercase();
        if text.starts_with(['%', '!', '?']) {
            return Problem::syntax(token.span, "magics and shell commands are not part of SQL")
                .hint("write the SQL statement by itself; a Python notebook has magics");
        }
        for (words, hint) in REFUSED {
            if words.contains(&upper.as_str()) {
                return Problem::unsupported(token.span, format!("{upper} is not supported"), *hint);
            }
        }
        Problem::syntax(token.span, format!("a statement does not begin with {}", shortened(text)))
            .suggest(text, FIRST_WORDS)
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace('\n', " ")
}
