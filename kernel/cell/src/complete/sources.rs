//! What a statement reads from, as far as it has been typed: the relations after `FROM` and the like, and what they are called there.

use super::keywords;
use crate::token::{Token, TokenKind, tokenize};

/// Relations named after FROM, JOIN and the like in the statement around `here`, with their aliases.
pub(super) fn sources(code: &str, here: usize) -> Vec<(String, Option<String>)> {
    let tokens = match tokenize(code) {
        Ok(tokens) => tokens,
        Err(_) => tokenize(&code[..here]).unwrap_or_default(),
    };
    let from =
        tokens.iter().rposition(|t| t.is_symbol(code, ';') && t.span.end <= here).map_or(0, |at| at + 1);
    let to =
        tokens.iter().position(|t| t.is_symbol(code, ';') && t.span.start >= here).unwrap_or(tokens.len());
    let tokens = tokens.get(from..to).unwrap_or_default();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let opens = keywords::BEFORE_RELATION.iter().any(|word| tokens[at].is_word(code, word));
        at += 1;
        if opens {
            at = relation_list(code, tokens, at, here, &mut found);
        }
    }
    found
}

/// Reads `name [[AS] alias] [, name …]` and returns where it ends. The word being typed at `here` is not yet an alias.
fn relation_list(
    code: &str,
    tokens: &[Token],
    mut at: usize,
    here: usize,
    found: &mut Vec<(String, Option<String>)>,
) -> usize {
    loop {
        let Some(name) = dotted(code, tokens, &mut at) else { return at };
        if tokens.get(at).is_some_and(|token| token.is_word(code, "AS")) {
            at += 1;
        }
        let alias = tokens.get(at).filter(|token| {
            token.kind == TokenKind::QuotedName
                || token.kind == TokenKind::Word
                    && token.span.end != here
                    && !keywords::is_reserved(token.span.of(code))
        });
        if alias.is_some() {
            at += 1;
        }
        found.push((name, alias.map(|token| token.value(code))));
        if !tokens.get(at).is_some_and(|token| token.is_symbol(code, ',')) {
            return at;
        }
        at += 1;
    }
}

fn dotted(code: &str, tokens: &[Token], at: &mut usize) -> Option<String> {
    let is_name = |token: &Token| match token.kind {
        TokenKind::QuotedName => true,
        TokenKind::Word => !keywords::is_reserved(token.span.of(code)),
        _ => false,
    };
    let first = tokens.get(*at).filter(|token| is_name(token))?;
    *at += 1;
    let mut parts = vec![first.value(code)];
    while tokens.get(*at).is_some_and(|token| token.is_symbol(code, '.')) {
        let Some(next) =
            tokens.get(*at + 1).filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName))
        else {
            break;
        };
        parts.push(next.value(code));
        *at += 2;
    }
    Some(parts.join("."))
}
