//! Calls of date functions whose arguments have another order, or bare words among them, in other dialects.

use sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, ObjectName, Spanned};

use super::super::{Rewriter, from};
use super::{arguments, named};

/// Words for parts of a date that stand bare among arguments, as in BigQuery and Snowflake.
pub const DATE_PARTS: &[&str] = &[
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "dayofweek",
    "dayofyear",
    "week",
    "isoweek",
    "month",
    "quarter",
    "year",
    "isoyear",
    "decade",
    "century",
];

impl Rewriter<'_> {
    /// Functions of dates whose part stands bare, or whose arguments have another order elsewhere.
    pub(super) fn dates(&mut self, name: &str, function: &mut Function) -> Option<Expr> {
        let mut args = arguments(function);
        let part = |expr: &Expr| match expr {
            Expr::Identifier(word) if word.quote_style.is_none() => {
                let word = word.value.to_lowercase();
                let plain = word.trim_end_matches('s').to_owned();
                DATE_PARTS
                    .iter()
                    .find(|part| **part == word || **part == plain)
                    .map(|part| (*part).to_owned())
            }
            _ => None,
        };
        let text = |part: &str| {
            from::text(match part {
                "dayofweek" => "dow",
                "dayofyear" => "doy",
                "isoweek" => "week",
                other => other,
            })
        };
        let span = function.name.span();
        let make = |name: &str, args: Vec<Expr>| {
            let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
            Some(from::function_call(ObjectName::from(vec![named(name, span)]), args))
        };
        match (name, args.as_mut_slice()) {
            ("date_trunc" | "timestamp_trunc" | "datetime_trunc", [value, word]) => {
                make("date_trunc", vec![text(&part(word)?), value.clone()])
            }
            // BigQuery counts from the second to the first
            ("date_diff" | "timestamp_diff" | "datetime_diff", [end, start, word])
                if part(word).is_some() =>
            {
                make("date_diff", vec![text(&part(word)?), start.clone(), end.clone()])
            }
            ("datediff" | "date_diff" | "timestampdiff", [word, start, end]) => {
                let word = part(word).map_or_else(|| word.clone(), |part| text(&part));
                make("date_diff", vec![word, start.clone(), end.clone()])
            }
            ("datediff", [end, start]) => {
                make("date_diff", vec![from::text("day"), start.clone(), end.clone()])
            }
            ("datesub" | "date_sub", [word, start, end]) => {
                let word = part(word).map_or_else(|| word.clone(), |part| text(&part));
                make("date_sub", vec![word, start.clone(), end.clone()])
            }
            ("date_add" | "timestamp_add" | "datetime_add", [value, step]) => Some(Expr::Nested(Box::new(
                from::binary(from::nested(value.clone()), BinaryOperator::Plus, from::nested(step.clone())),
            ))),
            ("date_sub" | "timestamp_sub" | "datetime_sub", [value, step]) => Some(Expr::Nested(Box::new(
                from::binary(from::nested(value.clone()), BinaryOperator::Minus, from::nested(step.clone())),
            ))),
            ("dateadd" | "timestampadd" | "date_add", [word, count, value]) => {
                let word = part(word).map_or_else(|| word.clone(), |part| text(&part));
                let step = from::call("__interval_of", vec![word, count.clone()]);
                let sum = from::binary(from::nested(value.clone()), BinaryOperator::Plus, step);
                Some(Expr::Nested(Box::new(sum)))
            }
            ("date_part" | "datepart", [word, value]) => {
                let word = part(word)?;
                make("date_part", vec![text(&word), value.clone()])
            }
            _ => None,
        }
    }
}
