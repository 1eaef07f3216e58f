//! Cuts a cell into words, strings, numbers and symbols with their places. Comments are dropped, nothing is judged.

use crate::problem::{Problem, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A bare word: a keyword or a name.
    Word,
    /// A name in double quotes or backticks.
    QuotedName,
    /// A string in single quotes (also `E'…'`) or dollar quotes.
    String,
    /// A number.
    Number,
    /// One character of punctuation.
    Symbol,
}

/// A token and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is, with its quotes.
    pub span: Span,
}

impl Token {
    /// Is it the bare word `word` (ASCII, any case)?
    pub fn is_word(&self, src: &str, word: &str) -> bool {
        self.kind == TokenKind::Word && self.span.of(src).eq_ignore_ascii_case(word)
    }

    /// Is it this punctuation?
    pub fn is_symbol(&self, src: &str, symbol: char) -> bool {
        self.kind == TokenKind::Symbol && self.span.of(src).starts_with(symbol)
    }

    /// The name or string without its quotes; a bare word in lower case, as SQL folds names.
    pub fn value(&self, src: &str) -> String {
        let text = self.span.of(src);
        match self.kind {
            TokenKind::Word => text.to_lowercase(),
            TokenKind::QuotedName => {
                let quote = &text[..1];
                inside(text, 1).replace(&format!("{quote}{quote}"), quote)
            }
            TokenKind::String if text.starts_with('$') => {
                let tag = text[1..].find('$').map_or(1, |at| at + 2);
                inside(text, tag).to_owned()
            }
            TokenKind::String if text.starts_with(['e', 'E']) => unescape(inside(&text[1..], 1)),
            TokenKind::String => inside(text, 1).replace("''", "'"),
            TokenKind::Number | TokenKind::Symbol => text.to_owned(),
        }
    }
}

/// All tokens of a text. An unterminated string, name or comment is a syntax error at its opening quote.
pub fn tokenize(src: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = src[at..].chars().next() {
        let rest = &src[at..];
        let (kind, len) = if c.is_whitespace() || c == '\u{feff}' {
            at += c.len_utf8();
            continue;
        } else if rest.starts_with("--") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if rest.starts_with("/*") {
            at += comment(rest)
                .ok_or_else(|| Problem::syntax(Span::new(at, at + 2), "this comment is not closed by */"))?;
            continue;
        } else if c == '\'' {
            (TokenKind::String, closed(rest, at, '\'', false, "this string is not closed by '")?)
        } else if (c == 'e' || c == 'E') && rest[1..].starts_with('\'') {
            (TokenKind::String, 1 + closed(&rest[1..], at + 1, '\'', true, "this string is not closed by '")?)
        } else if c == '"' || c == '`' {
            let message = format!("this name is not closed by {c}");
            (TokenKind::QuotedName, closed(rest, at, c, false, &message)?)
        } else if c == '$' && dollar_tag(rest).is_some() {
            (TokenKind::String, dollar(rest, at)?)
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
            (TokenKind::Number, number(rest))
        } else if c.is_alphabetic() || c == '_' {
            (TokenKind::Word, rest.find(|c: char| !word_char(c)).unwrap_or(rest.len()))
        } else {
            (TokenKind::Symbol, c.len_utf8())
        };
        tokens.push(Token { kind, span: Span::new(at, at + len) });
        at += len;
    }
    Ok(tokens)
}

fn word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn inside(text: &str, quote: usize) -> &str {
    text.get(quote..text.len().saturating_sub(quote)).unwrap_or("")
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.peek() == Some(&'\'') => {
                chars.next();
                out.push('\'');
            }
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// Length of a quoted token, both quotes counted; a doubled quote stands for itself.
fn closed(rest: &str, at: usize, quote: char, backslash: bool, message: &str) -> Result<usize, Problem> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((offset, c)) = chars.next() {
        if backslash && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Ok(offset + 1);
            }
        }
    }
    Err(Problem::syntax(Span::new(at, at + 1), message))
}

fn comment(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

fn dollar_tag(rest: &str) -> Option<&str> {
    let end = rest[1..].find('$')? + 2;
    let tag = &rest[..end];
    let inner = &tag[1..end - 1];
    let starts_well = inner.chars().next().is_none_or(|c| c.is_alphabetic() || c == '_');
    (starts_well && inner.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(tag)
}

fn dollar(rest: &str, at: usize) -> Result<usize, Problem> {
    let tag = dollar_tag(rest).unwrap_or("$$");
    match rest[tag.len()..].find(tag) {
        Some(end) => Ok(end + 2 * tag.len()),
        None => {
            Err(Problem::syntax(Span::new(at, at + tag.len()), format!("this string is not closed by {tag}")))
        }
    }
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let c = bytes[at];
        let sign = (c == b'+' || c == b'-') && matches!(bytes[at - 1], b'e' | b'E');
        let range = c == b'.' && bytes.get(at + 1) == Some(&b'.');
        if range || !(c.is_ascii_alphanumeric() || c == b'.' || c == b'_' || sign) {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(src: &str) -> Vec<&str> {
        tokenize(src).unwrap().iter().map(|token| token.span.of(src)).collect()
    }

    #[test]
    fn cuts_words_strings_numbers_and_comments() {
        assert_eq!(
            texts("SELECT 'a;''b', \"x\"\"y\", $t$ ; $t$ -- no ;\n, 1.5e-3 /* a /* b */ ; */ , Größe+.5"),
            [
                "SELECT",
                "'a;''b'",
                ",",
                "\"x\"\"y\"",
                ",",
                "$t$ ; $t$",
                ",",
                "1.5e-3",
                ",",
                "Größe",
                "+",
                ".5"
            ]
        );
    }

    #[test]
    fn takes_quotes_off() {
        let src = r#"'it''s' "a""b" `c` $q$d'$q$ E'\n\'x' AbC"#;
        let values: Vec<_> = tokenize(src).unwrap().iter().map(|token| token.value(src)).collect();
        assert_eq!(values, ["it's", "a\"b", "c", "d'", "\n'x", "abc"]);
    }

    #[test]
    fn says_where_a_string_was_opened() {
        for (src, at) in [("SELECT 'abc", 7), ("a \"b", 2), ("x /* y", 2), ("$a$ b", 0)] {
            let problem = tokenize(src).unwrap_err();
            assert_eq!(problem.span.unwrap().start, at, "{src}");
        }
    }
}
