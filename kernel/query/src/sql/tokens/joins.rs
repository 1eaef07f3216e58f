//! `ASOF` and `POSITIONAL` joins, as ordinary joins whose condition carries a mark that the plan's rewrite looks for.

use sqlparser::tokenizer::Token;

use super::{Tokens, mark, word};

/// The marks are calls of these names.
pub(super) fn asof_and_positional(tokens: &mut Tokens) {
    let mut at = 0;
    while at < tokens.len() {
        let join = tokens.until(at, |tokens, at| tokens.is_word(at, "JOIN"));
        let between = join.saturating_sub(at + 1);
        if tokens.is_word(at, "ASOF") && join < tokens.len() && between <= 2 {
            tokens.splice(at, at + 1, []);
            asof(tokens, join);
        } else if tokens.is_word(at, "POSITIONAL") && tokens.is_word(at + 1, "JOIN") {
            let span = tokens.span(at);
            tokens.splice(at, at + 1, []);
            let end = tokens.until(at + 1, |tokens, at| tokens.is_clause(at) || tokens.is(at, &Token::Comma));
            let mark = [
                word("ON", span),
                word("__positional", span),
                mark(Token::LParen, span),
                mark(Token::RParen, span),
            ];
            tokens.splice(end, end, mark);
        }
        at += 1;
    }
}

/// Marks the condition of the join whose relation begins at `at`.
fn asof(tokens: &mut Tokens, at: usize) {
    let stop = |tokens: &Tokens, at: usize| {
        tokens.is_word(at, "ON") || tokens.is_clause(at) || tokens.is(at, &Token::Comma)
    };
    let condition = tokens.until(at, stop);
    let span = tokens.span(condition);
    if tokens.is_word(condition, "USING") && tokens.is(condition + 1, &Token::LParen) {
        tokens.splice(condition + 2, condition + 2, [word("__asof", span), mark(Token::Comma, span)]);
    } else if tokens.is_word(condition, "ON") {
        let end =
            tokens.until(condition + 1, |tokens, at| tokens.is_clause(at) || tokens.is(at, &Token::Comma));
        let end_span = tokens.span(end.saturating_sub(1));
        tokens.insert(end, mark(Token::RParen, end_span));
        tokens.splice(condition + 1, condition + 1, [word("__asof", span), mark(Token::LParen, span)]);
    }
}
