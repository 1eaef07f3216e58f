//! A query's text and syntax tree. The text is cut into tokens ([`tokens`]) and parsed ([`dialect`]); what the planner would pass over
//! in silence is refused ([`check`]); spellings that the planner lacks are rewritten in the syntax tree ([`mod@rewrite`]); the planner
//! binds names and types ([`Provider`], [`Operators`]); and what is left to do on the plan is in [`crate::plan`].

mod dialect;
mod operators;
mod provider;
mod rewrite;
mod strict;
mod tokens;
mod types;

use carrel_cell::problem::{Problem, Span};
use sqlparser::ast::Query;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::problems;
pub use operators::Operators;
pub use provider::Provider;
pub use rewrite::{Answers, DATE_PARTS, Stop, TWIN, is_call, rewrite};
pub(crate) use rewrite::{MACROS, REWRITTEN};
pub use strict::{check, check_functions};

/// How deeply a query may be nested.
const DEPTH: usize = 64;

/// The syntax tree of a query.
pub fn parse(sql: &str) -> Result<Query, Problem> {
    let tokens = Tokenizer::new(&dialect::Carrel, sql)
        .tokenize_with_location()
        .map_err(|error| problems::parser(&ParserError::from(error), sql))?;
    let mut parser = Parser::new(&dialect::Carrel)
        .with_recursion_limit(DEPTH)
        .with_tokens_with_locations(tokens::prepare(tokens));
    let query = parser.parse_query().map_err(|error| problems::parser(&error, sql))?;
    if parser.peek_token_ref().token == Token::EOF {
        return Ok(*query);
    }
    let wrong: Result<(), _> = parser.expected_ref("end of statement", parser.peek_token_ref());
    match wrong {
        Ok(()) => Ok(*query),
        Err(error) => Err(problems::parser(&error, sql)),
    }
}

/// The place of a node of the syntax tree in the text.
pub fn place(sql: &str, span: sqlparser::tokenizer::Span) -> Option<Span> {
    let start = problems::location(sql, span.start.line, span.start.column)?;
    let end = problems::location(sql, span.end.line, span.end.column)?;
    (start < end && end <= sql.len()).then(|| Span::new(start, end))
}
