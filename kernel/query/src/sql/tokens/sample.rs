//! `TABLESAMPLE` and `USING SAMPLE` in all their spellings.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Tokens, mark, string, word};

/// A sample as it is written: `10%`, `reservoir(20 ROWS)`, `5 PERCENT (bernoulli, 7)`, …
struct Spec {
    method: Option<&'static str>,
    amount: TokenWithSpan,
    percent: bool,
    seed: Option<TokenWithSpan>,
    /// Where it ends.
    end: usize,
}

/// Methods by their names.
const METHODS: &[(&str, &str)] =
    &[("BERNOULLI", "BERNOULLI"), ("SYSTEM", "SYSTEM"), ("RESERVOIR", "ROW"), ("ROW", "ROW")];

fn method(tokens: &Tokens, at: usize) -> Option<&'static str> {
    METHODS.iter().find(|(name, _)| tokens.is_word(at, name)).map(|(_, method)| *method)
}

/// Reads a specification; `None` if it is none, and the parser will say so.
fn read(tokens: &Tokens, mut at: usize) -> Option<Spec> {
    let mut found = method(tokens, at);
    if found.is_some() {
        at += 1;
    }
    let inside = tokens.is(at, &Token::LParen);
    at += usize::from(inside);
    if !tokens.is_number(at) {
        return None;
    }
    let amount = tokens.slice(at, at + 1).pop()?;
    at += 1;
    let percent = tokens.is(at, &Token::Mod) || tokens.is_word(at, "PERCENT");
    let rows = tokens.is_any_word(at, &["ROWS", "ROW"]);
    at += usize::from(percent || rows);
    let mut seed = None;
    if inside {
        if tokens.is(at, &Token::Comma) && tokens.is_number(at + 1) {
            seed = tokens.slice(at + 1, at + 2).pop();
            at += 2;
        }
        if !tokens.is(at, &Token::RParen) {
            return None;
        }
        at += 1;
    } else if found.is_none() && tokens.is(at, &Token::LParen) && method(tokens, at + 1).is_some() {
        found = method(tokens, at + 1);
        at += 2;
        if tokens.is(at, &Token::Comma) && tokens.is_number(at + 1) {
            seed = tokens.slice(at + 1, at + 2).pop();
            at += 2;
        }
        if !tokens.is(at, &Token::RParen) {
            return None;
        }
        at += 1;
    }
    if tokens.is_any_word(at, &["REPEATABLE", "SEED"])
        && tokens.is(at + 1, &Token::LParen)
        && tokens.is_number(at + 2)
    {
        seed = tokens.slice(at + 2, at + 3).pop();
        at += 4;
    }
    // without a unit, the standard's methods count per cent, DuckDB's bare number counts rows
    let percent = percent || !rows && matches!(found, Some("BERNOULLI" | "SYSTEM"));
    Some(Spec { method: found, amount, percent, seed, end: at })
}

/// `TABLESAMPLE` as the parser reads it: a method, an amount in parentheses with its unit, a seed.
pub(super) fn table_samples(tokens: &mut Tokens) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens.is_word(at, "TABLESAMPLE")
            && let Some(spec) = read(tokens, at + 1)
        {
            let span = spec.amount.span;
            let mut out: Vec<_> = spec.method.map(|method| word(method, span)).into_iter().collect();
            let unit = if spec.percent { "PERCENT" } else { "ROWS" };
            out.extend([mark(Token::LParen, span), spec.amount, word(unit, span), mark(Token::RParen, span)]);
            if let Some(seed) = spec.seed {
                out.extend([
                    word("REPEATABLE", span),
                    mark(Token::LParen, span),
                    seed,
                    mark(Token::RParen, span),
                ]);
            }
            tokens.splice(at + 1, spec.end, out);
        }
        at += 1;
    }
}

/// `USING SAMPLE`, which stands behind GROUP BY and samples what FROM gives: moved there.
pub(super) fn using_samples(tokens: &mut Tokens) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens.is_word(at, "USING")
            && tokens.is_word(at + 1, "SAMPLE")
            && let Some(spec) = read(tokens, at + 2)
            && let Some(place) = end_of_from(tokens, at)
        {
            let span = tokens.span(at);
            let method = spec.method.unwrap_or(if spec.percent { "SYSTEM" } else { "ROW" });
            let mut call = vec![
                word("PREWHERE", span),
                word("__sample", span),
                mark(Token::LParen, span),
                string(&method.to_lowercase(), span),
                mark(Token::Comma, span),
                spec.amount,
                mark(Token::Comma, span),
                string(if spec.percent { "percent" } else { "rows" }, span),
            ];
            if let Some(seed) = spec.seed {
                call.extend([mark(Token::Comma, span), seed]);
            }
            call.push(mark(Token::RParen, span));
            tokens.splice(at, spec.end, []);
            tokens.splice(place, place, call);
        }
        at += 1;
    }
}

/// Where the FROM clause ends whose SELECT a token belongs to.
fn end_of_from(tokens: &Tokens, at: usize) -> Option<usize> {
    let mut depth = 0;
    let mut place = at;
    for before in (0..at).rev() {
        depth -= tokens.depth(before);
        if depth < 0 {
            return None;
        }
        if depth > 0 {
            continue;
        }
        if tokens.is_any_word(before, &["WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY"]) {
            place = before;
        }
        let distinct = before > 0 && tokens.is_word(before - 1, "DISTINCT");
        if tokens.is_word(before, "FROM") && !distinct {
            return Some(place);
        }
    }
    None
}
