//! Spellings that need a few tokens changed.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{Tokens, mark, string, word};

/// `a ** b` is a power.
pub(super) fn power(tokens: &mut Tokens) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        if tokens.is(at, &Token::Mul)
            && tokens.is(at + 1, &Token::Mul)
            && tokens.span(at).end == tokens.span(at + 1).start
        {
            let span = tokens.span(at);
            tokens.splice(at, at + 2, [mark(Token::Caret, span)]);
        }
        at += 1;
    }
}

/// `TABLE name` where a query begins.
pub(super) fn tables(tokens: &mut Tokens) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let begins = at == 0
            || tokens.is(at - 1, &Token::LParen)
            || tokens.is_any_word(at - 1, &["UNION", "ALL", "EXCEPT", "INTERSECT"])
            || tokens.is(at - 1, &Token::RParen);
        if begins && tokens.is_word(at, "TABLE") && tokens.is_name(at + 1) {
            let span = tokens.span(at);
            tokens.splice(at, at + 1, [word("SELECT", span), mark(Token::Mul, span), word("FROM", span)]);
        }
        at += 1;
    }
}

/// `(FROM t …)` without SELECT gives all columns.
pub(super) fn from_first(tokens: &mut Tokens) {
    let mut at = 0;
    while at + 1 < tokens.len() {
        if tokens.is(at, &Token::LParen) && tokens.is_word(at + 1, "FROM") {
            let end = tokens.until(at + 2, |tokens, at| tokens.is_word(at, "SELECT"));
            if !tokens.is_word(end, "SELECT") {
                let span = tokens.span(at + 1);
                tokens.splice(at + 1, at + 1, [word("SELECT", span), mark(Token::Mul, span)]);
            }
        }
        at += 1;
    }
}

/// `0x1F` is a number; `X'1F'`, which is as many bytes, has quotes around it.
pub(super) fn hex_numbers(tokens: &mut Tokens) {
    for at in 0..tokens.len() {
        let Some(Token::HexStringLiteral(digits)) = tokens.get(at) else { continue };
        let span = tokens.span(at);
        let long = span.end.column.saturating_sub(span.start.column);
        if span.start.line == span.end.line
            && long == digits.len() as u64 + 2
            && let Ok(number) = u64::from_str_radix(digits, 16)
        {
            tokens.splice(at, at + 1, [mark(Token::Number(number.to_string(), false), span)]);
        }
    }
}

/// `AS [NOT] MATERIALIZED (`: a hint that changes no answer; a common table expression whose values differ from one look to the
/// next is computed once anyway.
pub(super) fn materialized(tokens: &mut Tokens) {
    let mut at = 1;
    while at + 1 < tokens.len() {
        if tokens.is_word(at, "MATERIALIZED") && tokens.is(at + 1, &Token::LParen) {
            let from = if tokens.is_word(at - 1, "NOT") { at - 1 } else { at };
            if from > 0 && tokens.is_word(from - 1, "AS") {
                tokens.splice(from, at + 1, []);
                at = from;
            }
        }
        at += 1;
    }
}

/// `FILTER (condition)` without WHERE.
pub(super) fn filter(tokens: &mut Tokens) {
    let mut at = 1;
    while at + 2 < tokens.len() {
        if tokens.is(at - 1, &Token::RParen)
            && tokens.is_word(at, "FILTER")
            && tokens.is(at + 1, &Token::LParen)
            && !tokens.is_word(at + 2, "WHERE")
        {
            let span = tokens.span(at + 2);
            tokens.insert(at + 2, word("WHERE", span));
        }
        at += 1;
    }
}

/// `[expr FOR x IN list IF condition]`
pub(super) fn comprehensions(tokens: &mut Tokens) {
    // inner ones come first when going backwards
    for open in (0..tokens.len()).rev() {
        if !tokens.is(open, &Token::LBracket) {
            continue;
        }
        let Some(close) = tokens.close_of(open) else { continue };
        let at_for = tokens.until(open + 1, |tokens, at| tokens.is_word(at, "FOR"));
        let at_in = tokens.until(at_for, |tokens, at| tokens.is_word(at, "IN"));
        if at_for >= close || at_in >= close || at_for == open + 1 {
            continue;
        }
        let at_if = tokens.until(at_in, |tokens, at| tokens.is_word(at, "IF"));
        let (span, if_span) = (tokens.span(open), tokens.span(at_if.min(close)));
        let lambda = |body: Vec<_>| lambda_of(span, tokens.slice(at_for + 1, at_in), body);
        let mut out = vec![word("list_transform", span), mark(Token::LParen, span)];
        if at_if < close {
            out.extend([word("list_filter", if_span), mark(Token::LParen, if_span)]);
            out.extend(tokens.slice(at_in + 1, at_if));
            out.push(mark(Token::Comma, if_span));
            out.extend(lambda(tokens.slice(at_if + 1, close)));
            out.push(mark(Token::RParen, if_span));
        } else {
            out.extend(tokens.slice(at_in + 1, close));
        }
        out.push(mark(Token::Comma, span));
        out.extend(lambda(tokens.slice(open + 1, at_for)));
        out.push(mark(Token::RParen, tokens.span(close)));
        tokens.splice(open, close + 1, out);
    }
}

/// Functions that take a function.
const TAKE_LAMBDAS: &[&str] = &[
    "list_transform",
    "array_transform",
    "list_apply",
    "array_apply",
    "apply",
    "transform",
    "list_filter",
    "array_filter",
    "filter",
    "list_reduce",
    "array_reduce",
    "reduce",
    "list_any_match",
    "array_any_match",
    "any_match",
    "columns",
];

/// `x -> body`, `(x, y) -> body` and `lambda x, y : body` as arguments.
pub(super) fn lambdas(tokens: &mut Tokens) {
    // inner ones come first when going backwards
    for at in (0..tokens.len()).rev() {
        let span = tokens.span(at);
        if tokens.is_word(at, "LAMBDA") && tokens.is_name(at + 1) {
            let colon = tokens.until(at + 1, |tokens, at| tokens.is(at, &Token::Colon));
            let end = tokens.until(colon, |tokens, at| tokens.is(at, &Token::Comma));
            let (names, body) = (tokens.slice(at + 1, colon), tokens.slice(colon + 1, end));
            tokens.splice(at, end, lambda_of(span, names, body));
            continue;
        }
        let argument =
            tokens.is(at.wrapping_sub(1), &Token::LParen) || tokens.is(at.wrapping_sub(1), &Token::Comma);
        if !argument || !in_call_of(tokens, at, TAKE_LAMBDAS) {
            continue;
        }
        let (from, to, arrow) = match tokens.close_of(at) {
            Some(close) if tokens.is(at, &Token::LParen) => (at + 1, close, close + 1),
            _ => (at, at + 1, at + 1),
        };
        if tokens.is_name(from) && tokens.is(arrow, &Token::Arrow) {
            let end = tokens.until(arrow, |tokens, at| tokens.is(at, &Token::Comma));
            let (names, body) = (tokens.slice(from, to), tokens.slice(arrow + 1, end));
            tokens.splice(at, end, lambda_of(span, names, body));
        }
    }
}

fn lambda_of(span: Span, names: Vec<TokenWithSpan>, body: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = vec![word("__lambda", span), mark(Token::LParen, span)];
    out.extend(names);
    out.push(mark(Token::RParen, span));
    out.extend(body);
    out
}

/// Does a token stand among the arguments of one of these functions?
fn in_call_of(tokens: &Tokens, at: usize, names: &[&str]) -> bool {
    let mut depth = 0;
    for open in (0..at).rev() {
        depth += tokens.depth(open);
        if depth > 0 {
            return open > 0 && tokens.is(open, &Token::LParen) && tokens.is_any_word(open - 1, names);
        }
    }
    false
}

/// `EXCLUDE …` at the end of a window's frame: the parser has no place for it, so it travels as the first key of PARTITION BY.
pub(super) fn exclude_in_frames(tokens: &mut Tokens) {
    let kinds: [(&str, &[&str]); 4] = [
        ("current row", &["CURRENT", "ROW"]),
        ("group", &["GROUP"]),
        ("ties", &["TIES"]),
        ("no others", &["NO", "OTHERS"]),
    ];
    let mut at = 0;
    while at < tokens.len() {
        let found = kinds.iter().find(|(_, words)| {
            tokens.is_word(at, "EXCLUDE")
                && words.iter().enumerate().all(|(i, word)| tokens.is_word(at + 1 + i, word))
                && tokens.is(at + 1 + words.len(), &Token::RParen)
        });
        let open = found.and_then(|_| window_open(tokens, at));
        let (Some((kind, words)), Some(open)) = (found, open) else {
            at += 1;
            continue;
        };
        let span = tokens.span(at);
        tokens.splice(at, at + 1 + words.len(), []);
        if *kind == "no others" {
            continue;
        }
        let mut key = vec![
            word("__exclude", span),
            mark(Token::LParen, span),
            string(kind, span),
            mark(Token::RParen, span),
        ];
        let first = open + 1;
        let partition = tokens.until(first, |tokens, at| tokens.is_word(at, "PARTITION"));
        if partition < tokens.len() && tokens.is_word(partition, "PARTITION") {
            key.push(mark(Token::Comma, span));
            tokens.splice(partition + 2, partition + 2, key);
        } else {
            let clauses = ["ORDER", "ROWS", "RANGE", "GROUPS"];
            let place = if tokens.is_any_word(first, &clauses) { first } else { first + 1 };
            key.splice(0..0, [word("PARTITION", span), word("BY", span)]);
            tokens.splice(place, place, key);
        }
    }
}

/// The parenthesis of a window that a token stands in.
fn window_open(tokens: &Tokens, at: usize) -> Option<usize> {
    let mut depth = 0;
    for open in (0..at).rev() {
        depth += tokens.depth(open);
        if depth > 0 {
            let over = open > 0 && tokens.is_word(open - 1, "OVER");
            let named = open > 1 && tokens.is_word(open - 1, "AS");
            return (tokens.is(open, &Token::LParen) && (over || named)).then_some(open);
        }
    }
    None
}

/// `LIMIT 10%`
pub(super) fn limit_percent(tokens: &mut Tokens) {
    let mut at = 0;
    while at + 2 < tokens.len() {
        let percent = tokens.is(at + 2, &Token::Mod) || tokens.is_word(at + 2, "PERCENT");
        let goes_on = tokens.is_number(at + 3) || tokens.is_name(at + 3) && !tokens.is_clause(at + 3);
        if tokens.is_word(at, "LIMIT")
            && tokens.is_number(at + 1)
            && percent
            && !(goes_on || tokens.is(at + 3, &Token::LParen))
        {
            let (number, span) = (tokens.slice(at + 1, at + 2), tokens.span(at + 1));
            let mut call = vec![word("__percent", span), mark(Token::LParen, span)];
            call.extend(number);
            call.push(mark(Token::RParen, span));
            tokens.splice(at + 1, at + 3, call);
        }
        at += 1;
    }
}
