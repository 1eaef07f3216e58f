//! The parts of a PIVOT: its arguments, its values, its columns.

use datafusion::common::ScalarValue;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SetExpr, TableFactor,
    Values, visit_expressions,
};

use super::super::{Column, columns, from, last_name, normalized, query_of, quoted};
use super::Choice;

/// The arguments of a call that [`crate::sql::tokens`] made.
pub(super) struct Parts {
    pub(super) source: Query,
    pub(super) on: Vec<(Option<Ident>, Expr)>,
    pub(super) using: Vec<(Option<Ident>, Expr)>,
    pub(super) group: Option<Vec<(Option<Ident>, Expr)>>,
    pub(super) into: Vec<String>,
}

impl Parts {
    pub(super) fn of(args: Vec<FunctionArg>) -> Self {
        let mut parts = Self {
            source: query_of(SetExpr::Values(Values {
                explicit_row: false,
                value_keyword: false,
                rows: Vec::new(),
            })),
            on: Vec::new(),
            using: Vec::new(),
            group: None,
            into: Vec::new(),
        };
        for arg in args {
            match from::plain_argument(arg) {
                Some(Expr::Subquery(query)) => parts.source = *query,
                Some(Expr::Function(call)) => match last_name(&call.name).as_str() {
                    "__on" => parts.on = items(call),
                    "__using" => parts.using = items(call),
                    "__group" => parts.group = Some(items(call)),
                    "__into" => parts.into = items(call).iter().map(|(_, expr)| shown(expr)).collect(),
                    _ => {}
                },
                _ => {}
            }
        }
        parts
    }
}

pub(super) fn items(call: Function) -> Vec<(Option<Ident>, Expr)> {
    let FunctionArguments::List(list) = call.args else { return Vec::new() };
    let item = |arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some((None, expr)),
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {
            let all = from::function_call(
                sqlparser::ast::ObjectName::from(vec![Ident::new("columns")]),
                vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)],
            );
            Some((None, all))
        }
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => Some((Some(name), expr)),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((Some(name), expr))
        }
        _ => None,
    };
    list.args.into_iter().filter_map(item).collect()
}

pub(super) fn only(factor: TableFactor) -> sqlparser::ast::TableWithJoins {
    sqlparser::ast::TableWithJoins { relation: factor, joins: Vec::new() }
}

pub(super) fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

/// Columns that no expression names.
pub(super) fn rest<'a>(columns: &[Column], used: impl Iterator<Item = &'a Expr>) -> Vec<Expr> {
    let mut names = Vec::new();
    for expr in used {
        let _ = visit_expressions(expr, |expr| {
            match expr {
                Expr::Identifier(name) => names.push(normalized(name)),
                Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(normalized)),
                _ => {}
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
    }
    let free = columns.iter().filter(|column| !names.contains(&column.name));
    free.map(|column| Expr::Identifier(quoted(&column.name))).collect()
}

/// What a value looks like as a column's name.
pub(super) fn shown(expr: &Expr) -> String {
    match unnested(expr) {
        Expr::Identifier(name) => normalized(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized).unwrap_or_default(),
        Expr::Tuple(all) => all.iter().map(shown).collect::<Vec<_>>().join("_"),
        other => columns::string_of(other).unwrap_or_else(|| other.to_string()),
    }
}

pub(super) fn choice(value: &ScalarValue) -> Choice {
    let name = match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.clone(),
        other => other.to_string(),
    };
    let cast = |to: sqlparser::ast::DataType| Expr::Cast {
        kind: sqlparser::ast::CastKind::Cast,
        expr: Box::new(from::text(&name)),
        data_type: to,
        array: false,
        format: None,
    };
    let data_type = value.data_type();
    let literal = if data_type.is_numeric() {
        match name.strip_prefix('-') {
            Some(positive) => Expr::Nested(Box::new(Expr::UnaryOp {
                op: sqlparser::ast::UnaryOperator::Minus,
                expr: Box::new(from::number(positive)),
            })),
            None => from::number(&name),
        }
    } else {
        match data_type {
            arrow::datatypes::DataType::Boolean => {
                Expr::Value(sqlparser::ast::Value::Boolean(name == "true").with_empty_span())
            }
            arrow::datatypes::DataType::Date32 => cast(sqlparser::ast::DataType::Date),
            arrow::datatypes::DataType::Timestamp(..) => {
                cast(sqlparser::ast::DataType::Timestamp(None, sqlparser::ast::TimezoneInfo::None))
            }
            _ => from::text(&name),
        }
    };
    Choice { value: literal, name }
}

/// One of each set, in all ways.
pub(super) fn combinations(sets: &[Vec<Choice>]) -> Vec<Vec<&Choice>> {
    let mut all = vec![Vec::new()];
    for set in sets {
        all = all
            .iter()
            .flat_map(|begun: &Vec<&Choice>| {
                set.iter().map(move |choice| {
                    let mut next = begun.clone();
                    next.push(choice);
                    next
                })
            })
            .collect();
    }
    all
}
