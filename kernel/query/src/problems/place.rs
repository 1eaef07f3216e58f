//! Where in a statement an error belongs.

use carrel_cell::problem::{Problem, Span};
use carrel_cell::token::{TokenKind, tokenize};
use datafusion::common::Span as LineSpan;

/// Byte offset of a line and column, both counted from 1, columns in characters.
pub fn location(sql: &str, line: u64, column: u64) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let start = if line == 0 { 0 } else { sql.match_indices('\n').nth(line - 1)?.0 + 1 };
    let text = &sql[start..];
    let text = &text[..text.find('\n').unwrap_or(text.len())];
    Some(start + text.char_indices().nth(column).map_or(text.len(), |(at, _)| at))
}

/// The token that begins at or covers an offset; the end of the text if it is past the last one.
pub fn token(sql: &str, at: usize) -> Span {
    let tokens = tokenize(sql).unwrap_or_default();
    match tokens.iter().find(|token| token.span.end > at) {
        Some(token) => token.span,
        None => {
            let end = tokens.last().map_or(sql.len(), |token| token.span.end);
            Span::new(end, end)
        }
    }
}

/// A span of lines and columns in bytes.
pub(super) fn span(sql: &str, span: &LineSpan) -> Option<Span> {
    let start = location(sql, span.start.line, span.start.column)?;
    let end = location(sql, span.end.line, span.end.column)?;
    (start <= end && end <= sql.len() && start < sql.len()).then(|| Span::new(start, end.max(start + 1)))
}

/// Places a problem at the first name in its message that is also a token of the statement.
pub(super) fn guess(problem: Problem, sql: &str) -> Problem {
    let tokens = tokenize(sql).unwrap_or_default();
    let named = |word: &str| {
        let word = word.rsplit('.').next().unwrap_or(word);
        let is = |kind| {
            matches!(kind, TokenKind::Word | TokenKind::QuotedName | TokenKind::String | TokenKind::Number)
        };
        tokens.iter().find(|token| is(token.kind) && token.value(sql).eq_ignore_ascii_case(word))
    };
    let mut words: Vec<&str> = problem.message.split(['\'', '"', '`']).skip(1).step_by(2).collect();
    if let Some(word) = ["no column ", "no function ", "the column ", "columns are called "]
        .iter()
        .find_map(|before| problem.message.split_once(before)?.1.split([' ', ':', ',']).next())
    {
        words.push(word);
    }
    if let Some((function, _)) = problem.message.split_once(" does not take ") {
        words.push(function);
    }
    let found = words.into_iter().filter(|word| !word.is_empty()).find_map(named).map(|token| token.span);
    match found {
        Some(span) => problem.at(span),
        None => problem,
    }
}
