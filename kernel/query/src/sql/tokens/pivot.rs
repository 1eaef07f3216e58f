//! Statements that give rows and may stand where a query may: `PIVOT`, `UNPIVOT`, `SUMMARIZE`, `DESCRIBE`. Each becomes
//! `SELECT * FROM __name((query), …)`, which the rewrite of the syntax tree takes apart again.

use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::{Tokens, mark, word};

/// Rewrites them wherever a query may begin.
pub(super) fn statements(tokens: &mut Tokens) {
    // inner ones come first when going backwards
    for at in (0..tokens.len()).rev() {
        let begins = at == 0
            || tokens.is(at - 1, &Token::LParen)
            || tokens.is_any_word(at - 1, &["UNION", "ALL", "EXCEPT", "INTERSECT"])
            || tokens.is(at - 1, &Token::RParen) && at > 1 && !tokens.is(at + 1, &Token::LParen);
        if !begins {
            continue;
        }
        if tokens.is_any_word(at, &["PIVOT", "PIVOT_WIDER"]) {
            pivot(tokens, at);
        } else if tokens.is_any_word(at, &["UNPIVOT", "PIVOT_LONGER"])
            && !tokens.is_any_word(at + 1, &["INCLUDE", "EXCLUDE"])
        {
            unpivot(tokens, at);
        } else if tokens.is_any_word(at, &["SUMMARIZE", "SUMMARISE"]) && !tokens.is(at + 1, &Token::LParen) {
            one(tokens, at, "__summarize");
        } else if tokens.is_word(at, "DESCRIBE") && !tokens.is(at + 1, &Token::LParen) {
            one(tokens, at, "__describe");
        }
    }
}

/// What comes after such a statement's own clauses.
const AFTER: &[&str] = &["ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"];

/// `PIVOT source ON columns [USING aggregates] [GROUP BY columns]`
fn pivot(tokens: &mut Tokens, at: usize) {
    let on = tokens.until(at + 1, |tokens, at| tokens.is_word(at, "ON"));
    if !tokens.is_word(on, "ON") || on == at + 1 {
        return;
    }
    let stop = |tokens: &Tokens, at: usize| {
        tokens.is_any_word(at, &["USING", "GROUP"]) || tokens.is_any_word(at, AFTER)
    };
    let end_on = tokens.until(on + 1, stop);
    let mut out = vec![source(tokens, at, on), call("__on", tokens, on + 1, end_on)];
    let mut end = end_on;
    if tokens.is_word(end, "USING") {
        let to = tokens.until(end + 1, stop);
        out.push(call("__using", tokens, end + 1, to));
        end = to;
    }
    if tokens.is_word(end, "GROUP") && tokens.is_word(end + 1, "BY") {
        let to = tokens.until(end + 2, |tokens, at| tokens.is_any_word(at, AFTER));
        out.push(call("__group", tokens, end + 2, to));
        end = to;
    }
    replace(tokens, at, end, "__pivot", out);
}

/// `UNPIVOT source ON columns [INTO NAME name VALUE value, …]`
fn unpivot(tokens: &mut Tokens, at: usize) {
    let on = tokens.until(at + 1, |tokens, at| tokens.is_word(at, "ON"));
    if !tokens.is_word(on, "ON") || on == at + 1 {
        return;
    }
    let stop = |tokens: &Tokens, at: usize| tokens.is_word(at, "INTO") || tokens.is_any_word(at, AFTER);
    let mut end = tokens.until(on + 1, stop);
    let mut out = vec![source(tokens, at, on), call("__on", tokens, on + 1, end)];
    if tokens.is_word(end, "INTO") {
        let to = tokens.until(end + 1, |tokens, at| tokens.is_any_word(at, AFTER));
        let span = tokens.span(end);
        let mut names = vec![word("__into", span), mark(Token::LParen, span)];
        let mut inside = tokens.slice(end + 1, to);
        inside.retain(|token| !is_any(token, &["NAME", "VALUE"]));
        for (i, name) in inside.into_iter().filter(|token| token.token != Token::Comma).enumerate() {
            if i > 0 {
                names.push(mark(Token::Comma, span));
            }
            names.push(name);
        }
        names.push(mark(Token::RParen, span));
        out.push(names);
        end = to;
    }
    replace(tokens, at, end, "__unpivot", out);
}

fn is_any(token: &TokenWithSpan, words: &[&str]) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && words.iter().any(|known| word.value.eq_ignore_ascii_case(known)))
}

/// `SUMMARIZE name` or `SUMMARIZE query`, to the end of the parentheses that it stands in.
fn one(tokens: &mut Tokens, at: usize, name: &str) {
    let end = tokens.end_of_query(at + 1);
    if end == at + 1 {
        return;
    }
    let query = tokens.is_any_word(at + 1, &["SELECT", "WITH", "VALUES"]);
    let span = tokens.span(at);
    let inner = if query || tokens.is_word(at + 1, "FROM") {
        let mut inner = vec![mark(Token::LParen, span)];
        if !query {
            inner.extend([word("SELECT", span), mark(Token::Mul, span)]);
        }
        inner.extend(tokens.slice(at + 1, end));
        inner.push(mark(Token::RParen, span));
        inner
    } else {
        source(tokens, at, end)
    };
    replace(tokens, at, end, name, vec![inner]);
}

/// `(SELECT * FROM …)` around what stands between the statement's word and its first clause.
fn source(tokens: &Tokens, at: usize, end: usize) -> Vec<TokenWithSpan> {
    let span = tokens.span(at);
    let mut out =
        vec![mark(Token::LParen, span), word("SELECT", span), mark(Token::Mul, span), word("FROM", span)];
    out.extend(tokens.slice(at + 1, end));
    out.push(mark(Token::RParen, span));
    out
}

/// `name(item, alias => item, …)` from `item, item AS alias, …`
fn call(name: &str, tokens: &Tokens, from: usize, to: usize) -> Vec<TokenWithSpan> {
    let span = tokens.span(from);
    let mut out = vec![word(name, span), mark(Token::LParen, span)];
    let mut at = from;
    while at < to {
        let end = tokens.until(at, |tokens, at| tokens.is(at, &Token::Comma)).min(to);
        let alias = end.checked_sub(2).filter(|alias| *alias > at && tokens.is_word(*alias, "AS"));
        if let Some(alias) = alias {
            out.extend(tokens.slice(alias + 1, alias + 2));
            out.push(mark(Token::RArrow, span));
        }
        out.extend(tokens.slice(at, alias.unwrap_or(end)));
        if end < to {
            out.push(mark(Token::Comma, tokens.span(end)));
        }
        at = end + 1;
    }
    out.push(mark(Token::RParen, span));
    out
}

fn replace(tokens: &mut Tokens, at: usize, end: usize, name: &str, arguments: Vec<Vec<TokenWithSpan>>) {
    let span: Span = tokens.span(at);
    let mut out = vec![
        word("SELECT", span),
        mark(Token::Mul, span),
        word("FROM", span),
        word(name, span),
        mark(Token::LParen, span),
    ];
    for (i, argument) in arguments.into_iter().enumerate() {
        if i > 0 {
            out.push(mark(Token::Comma, span));
        }
        out.extend(argument);
    }
    out.push(mark(Token::RParen, span));
    tokens.splice(at, end, out);
}
