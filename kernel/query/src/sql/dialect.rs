//! What the SQL parser accepts: PostgreSQL's and DuckDB's spellings, and BigQuery's where they do not contradict them. Accepting
//! is not answering: what the planner would pass over in silence is refused in [`super::strict`].

use std::any::TypeId;

use sqlparser::ast::{
    BinaryOperator, Expr, LambdaFunction, LambdaFunctionParameter, LambdaSyntax, OneOrManyWithParens,
    UnaryOperator,
};
use sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::Token;

/// The dialect of Carrel's cells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carrel;

/// How tightly operators bind: PostgreSQL's order. (The parser's own default lets `->>` bind weaker than `=`.)
mod bind {
    pub(super) const PERIOD: u8 = 200;
    pub(super) const CAST: u8 = 140;
    pub(super) const AT_TIME_ZONE: u8 = 110;
    pub(super) const POWER: u8 = 100;
    pub(super) const TIMES: u8 = 90;
    pub(super) const PLUS: u8 = 80;
    pub(super) const OTHER: u8 = 70;
    pub(super) const LIKE: u8 = 60;
    pub(super) const EQUALS: u8 = 50;
    pub(super) const IS: u8 = 40;
    pub(super) const NOT: u8 = 30;
    pub(super) const AND: u8 = 20;
    pub(super) const XOR: u8 = 15;
    pub(super) const OR: u8 = 10;
}

impl Dialect for Carrel {
    /// Wherever the parser asks which dialect it has, this is the permissive one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        match prec {
            Precedence::Period => bind::PERIOD,
            Precedence::DoubleColon => bind::CAST,
            Precedence::AtTz => bind::AT_TIME_ZONE,
            Precedence::MulDivModOp => bind::TIMES,
            Precedence::PlusMinus => bind::PLUS,
            Precedence::Caret => bind::POWER,
            Precedence::Ampersand | Precedence::Pipe | Precedence::Colon | Precedence::PgOther => bind::OTHER,
            Precedence::Between | Precedence::Like => bind::LIKE,
            Precedence::Eq => bind::EQUALS,
            Precedence::Is => bind::IS,
            Precedence::UnaryNot => bind::NOT,
            Precedence::And => bind::AND,
            Precedence::Xor => bind::XOR,
            Precedence::Or => bind::OR,
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            token if is_word(token, "GLOB") => Some(Ok(bind::LIKE)),
            // slices and lambdas have colons; there is no `column:path`
            Token::Colon => Some(Ok(0)),
            Token::StringConcat
            | Token::Sharp
            | Token::ShiftLeft
            | Token::ShiftRight
            | Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => Some(Ok(bind::OTHER)),
            _ => None,
        }
    }

    /// `__lambda (x, y) body`, which [`super::tokens`] made of `(x, y) -> body` and `lambda x, y : body`. (The parser's own reading of
    /// `x -> y` would take everything behind JSON's arrow for a function's body.)
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        is_word(&parser.peek_token_ref().token, "__lambda").then(|| {
            parser.advance_token();
            let names = parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)?;
            let parameter = |name| LambdaFunctionParameter { name, data_type: None };
            Ok(Expr::Lambda(LambdaFunction {
                params: OneOrManyWithParens::Many(names.into_iter().map(parameter).collect()),
                body: Box::new(parser.parse_expr()?),
                syntax: LambdaSyntax::LambdaKeyword,
            }))
        })
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if is_word(&parser.peek_token_ref().token, "GLOB") {
            parser.advance_token();
            return Some(parser.parse_subexpr(precedence).map(|pattern| Expr::BinaryOp {
                left: Box::new(expr.clone()),
                op: BinaryOperator::Custom("GLOB".to_owned()),
                right: Box::new(pattern),
            }));
        }
        let negated = usize::from(is_word(&parser.peek_token_ref().token, "NOT"));
        let symmetric = is_word(&parser.peek_nth_token_ref(negated).token, "BETWEEN")
            && is_word(&parser.peek_nth_token_ref(negated + 1).token, "SYMMETRIC");
        symmetric.then(|| {
            (0..negated + 2).for_each(|_| parser.advance_token());
            between_symmetric(parser, expr, negated > 0)
        })
    }

    // a name after FROM may be any word that begins no clause
    fn is_table_alias(&self, kw: &Keyword, parser: &mut Parser) -> bool {
        const OURS: &[Keyword] = &[Keyword::FORMAT, Keyword::SETTINGS, Keyword::ARRAY, Keyword::OPEN];
        const RESERVED: &[Keyword] = &[Keyword::POSITION];
        if OURS.contains(kw) {
            return !matches!(parser.peek_nth_token_ref(1).token, Token::LParen);
        }
        !sqlparser::keywords::RESERVED_FOR_TABLE_ALIAS.contains(kw) && !RESERVED.contains(kw)
    }

    fn is_column_alias(&self, kw: &Keyword, _parser: &mut Parser) -> bool {
        const ALSO: &[Keyword] = &[Keyword::QUALIFY, Keyword::WINDOW, Keyword::ON, Keyword::USING];
        !sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS.contains(kw) && !ALSO.contains(kw)
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        false
    }
    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
    fn supports_string_escape_constant(&self) -> bool {
        true
    }
    fn supports_nested_comments(&self) -> bool {
        true
    }
    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }
    fn supports_factorial_operator(&self) -> bool {
        true
    }
    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }
    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }
    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }
    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }
    fn supports_group_by_expr(&self) -> bool {
        true
    }
    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }
    fn supports_order_by_all(&self) -> bool {
        true
    }
    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }
    fn supports_from_first_select(&self) -> bool {
        true
    }
    fn supports_pipe_operator(&self) -> bool {
        true
    }
    fn supports_limit_comma(&self) -> bool {
        true
    }
    /// So that it is refused with its name.
    fn supports_match_recognize(&self) -> bool {
        true
    }
    fn supports_limit_by(&self) -> bool {
        true
    }
    /// What `USING SAMPLE` becomes ([`super::tokens`]).
    fn supports_prewhere(&self) -> bool {
        true
    }
    fn supports_trailing_commas(&self) -> bool {
        true
    }
    fn supports_projection_trailing_commas(&self) -> bool {
        true
    }
    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }
    fn supports_values_as_table_factor(&self) -> bool {
        true
    }
    fn supports_table_sample_before_alias(&self) -> bool {
        false
    }
    fn supports_select_wildcard_except(&self) -> bool {
        true
    }
    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }
    fn supports_select_wildcard_replace(&self) -> bool {
        true
    }
    fn supports_select_wildcard_ilike(&self) -> bool {
        true
    }
    fn supports_select_wildcard_rename(&self) -> bool {
        true
    }
    fn supports_select_expr_star(&self) -> bool {
        true
    }
    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }
    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }
    fn supports_named_fn_args_with_eq_operator(&self) -> bool {
        false
    }
    fn supports_subquery_as_function_arg(&self) -> bool {
        true
    }
    fn supports_in_empty_list(&self) -> bool {
        true
    }
    fn supports_dictionary_syntax(&self) -> bool {
        true
    }
    fn support_map_literal_syntax(&self) -> bool {
        true
    }
    fn supports_struct_literal(&self) -> bool {
        true
    }
    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }
    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }
    fn supports_notnull_operator(&self) -> bool {
        true
    }
    fn supports_try_convert(&self) -> bool {
        true
    }
    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
    fn allow_extract_custom(&self) -> bool {
        true
    }
    fn allow_extract_single_quotes(&self) -> bool {
        true
    }
    fn supports_extract_comma_syntax(&self) -> bool {
        true
    }
    fn supports_data_type_signed_suffix(&self) -> bool {
        true
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// `x BETWEEN SYMMETRIC a AND b`: between them, whichever is the smaller.
fn between_symmetric(parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    let one = parser.parse_subexpr(bind::LIKE)?;
    parser.expect_keyword(Keyword::AND)?;
    let other = parser.parse_subexpr(bind::LIKE)?;
    let between = |low: &Expr, high: &Expr| Expr::Between {
        expr: Box::new(expr.clone()),
        negated: false,
        low: Box::new(low.clone()),
        high: Box::new(high.clone()),
    };
    let either = Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(between(&one, &other)),
        op: BinaryOperator::Or,
        right: Box::new(between(&other, &one)),
    }));
    Ok(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) } } else { either })
}
