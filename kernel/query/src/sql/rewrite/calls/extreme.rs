//! The value of the row where another value is largest or smallest, and the largest or smallest few.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    CaseWhen, Expr, Function, FunctionArgumentClause, NullTreatment, ObjectName, Spanned, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::super::{Rewriter, from};
use super::{Made, add_clause, add_filter, named, ordered_by, set_arguments};

impl Rewriter<'_> {
    /// `arg_max(value, by[, count])`, `max(value, count)` and their kin.
    pub(super) fn extreme(&mut self, name: &str, function: &Function, args: &[Expr]) -> Made {
        let ascending = match (name, args) {
            ("max" | "min", [value, count]) => {
                return Ok(Some(picked(function, (value, value), name == "min", false, Some(count))));
            }
            ("arg_max" | "argmax" | "max_by" | "arg_max_null", _) => false,
            ("arg_min" | "argmin" | "min_by" | "arg_min_null", _) => true,
            _ => return Ok(None),
        };
        if let Some(WindowType::WindowSpec(window)) = &function.over
            && window.order_by.is_empty()
            && window.window_frame.is_none()
            && window.window_name.is_none()
            && function.filter.is_none()
            && let [value, by] = args
        {
            return Ok(Some(over_partition(function, window, (value, by), ascending)));
        }
        if function.over.is_some() {
            let hint = "use first_value(a) OVER (… ORDER BY b DESC)";
            let text = format!("{name} with this OVER is not supported");
            return Err(self.unsupported(function.name.span(), text, hint));
        }
        let nulls = name.ends_with("_null");
        Ok(match args {
            [value, by] => Some(picked(function, (value, by), ascending, nulls, None)),
            [value, by, count] => Some(picked(function, (value, by), ascending, nulls, Some(count))),
            _ => None,
        })
    }
}

/// The first value in the order of another one, or so many.
fn picked(
    function: &Function,
    (value, by): (&Expr, &Expr),
    ascending: bool,
    nulls: bool,
    count: Option<&Expr>,
) -> Expr {
    let mut call = function.clone();
    let to = if count.is_some() { "array_agg" } else { "first_value" };
    call.name = ObjectName::from(vec![named(to, function.name.span())]);
    set_arguments(&mut call, vec![value.clone()]);
    add_clause(&mut call, FunctionArgumentClause::OrderBy(vec![ordered_by(by.clone(), ascending)]));
    add_filter(&mut call, Expr::IsNotNull(Box::new(from::nested(by.clone()))));
    if !nulls && value != by {
        add_filter(&mut call, Expr::IsNotNull(Box::new(from::nested(value.clone()))));
    }
    match count {
        Some(count) => {
            from::call("array_slice", vec![Expr::Function(call), from::number("1"), count.clone()])
        }
        None => Expr::Function(call),
    }
}

/// `arg_max(a, b) OVER (PARTITION BY p)`: the first value in the order of the other, over the whole partition.
fn over_partition(
    function: &Function,
    window: &WindowSpec,
    (value, by): (&Expr, &Expr),
    ascending: bool,
) -> Expr {
    let mut call = function.clone();
    call.name = ObjectName::from(vec![named("first_value", function.name.span())]);
    let known = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition: Expr::IsNotNull(Box::new(from::nested(by.clone()))),
            result: value.clone(),
        }],
        else_result: None,
    };
    set_arguments(&mut call, vec![known]);
    call.null_treatment = Some(NullTreatment::IgnoreNulls);
    call.over = Some(WindowType::WindowSpec(WindowSpec {
        order_by: vec![ordered_by(by.clone(), ascending)],
        window_frame: Some(WindowFrame {
            units: WindowFrameUnits::Rows,
            start_bound: WindowFrameBound::Preceding(None),
            end_bound: Some(WindowFrameBound::Following(None)),
        }),
        ..window.clone()
    }));
    Expr::Function(call)
}
