//! Function calls: names and orders of arguments of other dialects, aggregates that the planner spells differently.

mod dates;
mod extreme;
mod told;

use carrel_cell::problem::{Ename, Problem};
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, HavingBoundKind, Ident, ObjectName, OrderByExpr, OrderByOptions, Spanned,
    visit_expressions_mut,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Tokenizer};

use super::macros::MACROS;
use super::{Rewriter, Stop, columns, from, last_name, normalized};
use crate::sql::dialect::Carrel;
pub use dates::DATE_PARTS;

type Made = Result<Option<Expr>, Stop>;

impl Rewriter<'_> {
    /// What a call means, if not itself.
    pub(super) fn call(&mut self, function: &mut Function) -> Made {
        if function.name.0.len() > 1 {
            return self.method(function);
        }
        let name = last_name(&function.name);
        if columns::is_columns(function) {
            let hint = "it goes into the list of SELECT and into WHERE";
            return Err(self.unsupported(function.name.span(), "COLUMNS here is not supported", hint));
        }
        if let Some(made) = of_list(&name, function) {
            return Ok(Some(made));
        }
        if name == "grouping_id" {
            function.name = ObjectName::from(vec![named("grouping", function.name.span())]);
        }
        if let Some(made) = self.clauses(&name, function)? {
            return Ok(Some(made));
        }
        if let Some(made) = self.told(&name, function)? {
            return Ok(Some(made));
        }
        if let Some(made) = self.dates(&name, function) {
            return Ok(Some(made));
        }
        if let Some(made) = self.ordered(&name, function)? {
            return Ok(Some(made));
        }
        if let Some(made) = named_struct(&name, function) {
            return Ok(Some(made));
        }
        self.expand_macro(&name, function)
    }

    /// `text.upper()` is `upper(text)`.
    fn method(&mut self, function: &mut Function) -> Made {
        let mut parts: Vec<Ident> =
            function.name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let Some(last) = parts.pop() else { return Ok(None) };
        let name = normalized(&last);
        if parts.iter().any(|part| part.value.starts_with("__")) || !self.knows(&name) {
            return Ok(None);
        }
        let root = match parts.as_slice() {
            [one] => Expr::Identifier(one.clone()),
            _ => Expr::CompoundIdentifier(parts),
        };
        let mut call = function.clone();
        call.name = ObjectName::from(vec![last]);
        if let FunctionArguments::List(list) = &mut call.args {
            list.args.insert(0, FunctionArg::Unnamed(FunctionArgExpr::Expr(root)));
        }
        let made = self.call(&mut call)?;
        Ok(Some(made.unwrap_or(Expr::Function(call))))
    }

    /// Is it a function, or does it mean one?
    pub(super) fn knows(&self, name: &str) -> bool {
        self.provider.is_function(name) || MACROS.iter().any(|(known, _, _)| *known == name)
    }

    /// Clauses among the arguments: LIMIT, HAVING MAX, IGNORE NULLS, WITHIN GROUP.
    fn clauses(&mut self, name: &str, function: &mut Function) -> Made {
        if !function.within_group.is_empty() {
            let order = function.within_group.clone();
            let first = order.first().map(|order| order.expr.clone());
            match (name, first) {
                ("mode", Some(value)) => {
                    function.within_group.clear();
                    set_arguments(function, vec![value]);
                    return Ok(Some(Expr::Function(function.clone())));
                }
                ("percentile_disc" | "percentile_cont" | "quantile_disc", Some(value)) => {
                    let descending = order.first().is_some_and(|order| order.options.asc == Some(false));
                    let share = arguments(function).pop().unwrap_or_else(|| from::number("0.5"));
                    let share = if descending {
                        from::binary(from::number("1"), BinaryOperator::Minus, from::nested(share))
                    } else {
                        share
                    };
                    if name == "percentile_cont" && !matches!(share, Expr::Array(_)) {
                        return Ok(None);
                    }
                    function.within_group.clear();
                    let to = if name == "percentile_cont" { "quantile_cont" } else { "quantile_disc" };
                    function.name = ObjectName::from(vec![named(to, function.name.span())]);
                    set_arguments(function, vec![value, share]);
                    return Ok(Some(match self.ordered(to, function)? {
                        Some(made) => made,
                        None => Expr::Function(function.clone()),
                    }));
                }
                ("listagg" | "string_agg" | "group_concat" | "array_agg", Some(_)) => {
                    function.within_group.clear();
                    add_clause(function, FunctionArgumentClause::OrderBy(order));
                }
                _ => {}
            }
        }
        let FunctionArguments::List(list) = &mut function.args else { return Ok(None) };
        let mut limit = None;
        let mut having = None;
        list.clauses.retain(|clause| match clause {
            FunctionArgumentClause::Limit(count) => {
                limit = Some(count.clone());
                false
            }
            FunctionArgumentClause::Having(bound) => {
                having = Some(bound.clone());
                false
            }
            _ => true,
        });
        if let Some(bound) = having {
            let ascending = matches!(bound.0, HavingBoundKind::Min);
            list.clauses.push(FunctionArgumentClause::OrderBy(vec![ordered_by(bound.1.clone(), ascending)]));
            add_filter(function, Expr::IsNotNull(Box::new(from::nested(bound.1))));
            function.name = ObjectName::from(vec![named("first_value", function.name.span())]);
            return Ok(Some(Expr::Function(function.clone())));
        }
        if let Some(count) = limit {
            let inner = self.call(&mut function.clone())?.unwrap_or(Expr::Function(function.clone()));
            return Ok(Some(from::call("array_slice", vec![inner, from::number("1"), count])));
        }
        Ok(None)
    }

    /// Aggregates that look at one value in an order.
    fn ordered(&mut self, name: &str, function: &mut Function) -> Made {
        let args = arguments(function);
        if let Some(made) = self.extreme(name, function, &args)? {
            return Ok(Some(made));
        }
        match (name, args.as_slice()) {
            (
                "quantile" | "quantile_disc" | "quantile_cont" | "percentile_cont" | "approx_quantile"
                | "percentile_approx",
                [value, Expr::Array(shares)],
            ) => {
                let each = shares.elem.iter().map(|share| {
                    let mut one = function.clone();
                    set_arguments(&mut one, vec![value.clone(), share.clone()]);
                    let made = self.call(&mut one)?;
                    Ok(made.unwrap_or(Expr::Function(one)))
                });
                let each = each.collect::<Result<Vec<_>, Stop>>()?;
                Ok(Some(Expr::Array(sqlparser::ast::Array { elem: each, named: false })))
            }
            ("quantile", [_, _]) => {
                function.name = ObjectName::from(vec![named("quantile_disc", function.name.span())]);
                Ok(None)
            }
            ("substr" | "substring", [value, start, ..]) if !is_positive(start) => {
                let args = [value.clone(), start.clone()].into_iter().chain(args.get(2).cloned());
                Ok(Some(from::call("__substr", args.collect())))
            }
            ("count", []) if !is_star_call(function) => {
                if let FunctionArguments::List(list) = &mut function.args
                    && list.args.is_empty()
                {
                    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A function that is spelt with others.
    fn expand_macro(&mut self, name: &str, function: &Function) -> Made {
        let args = arguments(function);
        let fits = |(known, parameters, _): &&(&str, &[&str], &str)| {
            *known == name && parameters.len() == args.len()
        };
        let Some((_, parameters, meaning)) = MACROS.iter().find(fits) else { return Ok(None) };
        let span = function.name.span();
        let mut expr = parse_at(meaning, span)
            .map_err(|error| Stop::from(crate::problems::internal("a function's meaning", &error)))?;
        let mut wrong = None;
        let _ = visit_expressions_mut(&mut expr, |expr| {
            match expr {
                Expr::Identifier(ident) => {
                    let at = parameters.iter().position(|parameter| *parameter == ident.value);
                    if let Some(arg) = at.and_then(|at| args.get(at)) {
                        *expr = from::nested(arg.clone());
                    }
                }
                Expr::Function(inner) if self.provider.is_aggregate(&last_name(&inner.name)) => {
                    wrong = wrong.take().or_else(|| hand_over(function, inner));
                }
                _ => {}
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        if let Some(text) = wrong {
            return Err(self.problem(span, Problem::new(Ename::SyntaxError, text)));
        }
        let made = match &mut expr {
            Expr::Function(inner) if last_name(&inner.name) != name => self.call(inner)?,
            _ => None,
        };
        Ok(Some(made.unwrap_or(match expr {
            plain @ (Expr::Function(_) | Expr::Case { .. } | Expr::Cast { .. }) => plain,
            other => Expr::Nested(Box::new(other)),
        })))
    }
}

/// A text as an expression, all of it at one place.
pub(super) fn parse_at(text: &str, span: Span) -> Result<Expr, sqlparser::parser::ParserError> {
    let mut tokens = Tokenizer::new(&Carrel, text).tokenize_with_location()?;
    for token in &mut tokens {
        token.span = span;
    }
    Parser::new(&Carrel).with_tokens_with_locations(tokens).parse_expr()
}

/// Gives an aggregate inside what the call around it said.
fn hand_over(outer: &Function, inner: &mut Function) -> Option<String> {
    if let Some(filter) = &outer.filter {
        add_filter(inner, from::nested(filter.as_ref().clone()));
    }
    inner.over = outer.over.clone();
    inner.null_treatment = outer.null_treatment;
    if let (FunctionArguments::List(outer), FunctionArguments::List(inner)) = (&outer.args, &mut inner.args) {
        inner.clauses.extend(outer.clauses.iter().cloned());
        if outer.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            let star =
                inner.args.iter().any(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)));
            if star {
                return Some("DISTINCT has no meaning here".to_owned());
            }
            inner.duplicate_treatment = outer.duplicate_treatment;
        }
    }
    None
}

/// `list_aggregate(list, 'sum')` is `list_sum(list)`.
fn of_list(name: &str, function: &Function) -> Option<Expr> {
    if !matches!(name, "list_aggregate" | "list_aggr" | "array_aggregate" | "array_aggr" | "aggregate") {
        return None;
    }
    let mut args = arguments(function);
    let which = columns::string_of(args.get(1)?)?.to_lowercase();
    args.remove(1);
    let which = match which.as_str() {
        "stddev" => "stddev_samp",
        "variance" => "var_samp",
        "string_agg" if args.len() > 1 => return Some(from::call("array_to_string", args)),
        other => other,
    };
    Some(from::call(&format!("list_{which}"), args))
}

/// `struct_pack(a := 1)` and its kin.
fn named_struct(name: &str, function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let onto = match name {
        "struct_pack" | "struct" | "object_construct" => None,
        "struct_insert" => Some("struct_concat"),
        "struct_update" => Some("__struct_update"),
        _ => return None,
    };
    let (mut fields, mut plain) = (Vec::new(), Vec::new());
    for arg in &list.args {
        match arg {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::ExprNamed {
                name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), ..
            } => {
                fields.extend([from::text(&name.value), expr.clone()]);
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if onto.is_some() && fields.is_empty() => {
                plain.push(expr.clone());
            }
            _ => return None,
        }
    }
    let made = from::call("named_struct", fields);
    match (onto, plain.as_slice()) {
        (None, []) => Some(made),
        (Some(onto), [old]) => Some(from::call(onto, vec![old.clone(), made])),
        _ => None,
    }
}

/// Is it a plain number above zero?
pub(super) fn is_positive(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.to_string().parse::<f64>().is_ok_and(|number| number >= 1.0))
}

fn is_star_call(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if !list.args.is_empty())
}

/// The plain arguments; a star or a named one is none.
pub(super) fn arguments(function: &Function) -> Vec<Expr> {
    match &function.args {
        FunctionArguments::List(list) => {
            let all: Option<Vec<Expr>> = list.args.iter().cloned().map(from::plain_argument).collect();
            all.unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn set_arguments(function: &mut Function, args: Vec<Expr>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    }
}

fn add_clause(function: &mut Function, clause: FunctionArgumentClause) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.push(clause);
    }
}

fn add_filter(function: &mut Function, condition: Expr) {
    function.filter = Some(Box::new(match function.filter.take() {
        Some(filter) => from::binary(from::nested(*filter), BinaryOperator::And, condition),
        None => condition,
    }));
}

fn ordered_by(expr: Expr, ascending: bool) -> OrderByExpr {
    OrderByExpr {
        expr,
        options: OrderByOptions { asc: Some(ascending), nulls_first: Some(false) },
        with_fill: None,
    }
}

fn named(name: &str, span: Span) -> Ident {
    Ident { value: name.to_owned(), quote_style: None, span }
}
