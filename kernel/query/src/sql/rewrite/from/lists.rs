//! Lists in FROM.

use sqlparser::ast::{BinaryOperator, Expr, ObjectName, SelectItem, SetExpr, TableAlias, TableFactor};

use super::super::{alias_of, derived, query_of, quoted, select_all};
use super::{binary, call, number, plain_table, text};

/// Lists side by side, with the position of each value if that is wanted.
pub(super) fn unnest(
    lists: Vec<Expr>,
    alias: Option<TableAlias>,
    position: Option<(&str, String)>,
) -> TableFactor {
    let one = lists.len() == 1;
    let Some((first, position)) = position else {
        let alias = if one { Some(column_alias(alias, "unnest")) } else { alias };
        return TableFactor::UNNEST {
            alias,
            array_exprs: lists,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        };
    };
    let mut items = Vec::new();
    let length = lists.first().map(|list| call("array_length", vec![list.clone()]));
    let last = match length {
        Some(length) if first == "0" => binary(length, BinaryOperator::Minus, number("1")),
        Some(length) => length,
        None => number("0"),
    };
    let column = |at: usize| match alias.as_ref().and_then(|alias| alias.columns.get(at)) {
        Some(column) => column.name.clone(),
        None if at < lists.len() => match &alias {
            // BigQuery: UNNEST(list) AS x WITH OFFSET
            Some(alias) if one && alias.columns.is_empty() => alias.name.clone(),
            _ => quoted("unnest"),
        },
        None => quoted(&position),
    };
    for (at, list) in lists.iter().enumerate() {
        items.push(SelectItem::ExprWithAlias { expr: call("unnest", vec![list.clone()]), alias: column(at) });
    }
    let positions = call("unnest", vec![call("generate_series", vec![number(first), last])]);
    items.push(SelectItem::ExprWithAlias { expr: positions, alias: column(lists.len()) });
    let mut select = select_all(plain_table(ObjectName(Vec::new())));
    select.from = Vec::new();
    select.projection = items;
    let alias = alias.map(|alias| TableAlias { columns: Vec::new(), ..alias });
    let alias = alias.unwrap_or_else(|| alias_of("unnest", []));
    match derived(query_of(SetExpr::Select(Box::new(select))), Some(alias)) {
        TableFactor::Derived { subquery, alias, sample, .. } => {
            TableFactor::Derived { lateral: true, subquery, alias, sample }
        }
        other => other,
    }
}

/// The columns of `json_each` and `json_tree`.
const JSON_ROWS: [&str; 8] = ["key", "value", "type", "atom", "id", "parent", "fullkey", "path"];

/// The parts of a JSON value as rows.
pub(super) fn json_rows(function: &str, args: Vec<Expr>, alias: Option<TableAlias>) -> Option<TableFactor> {
    let json = match <[Expr; 1]>::try_from(args) {
        Ok([json]) => json,
        Err(args) => call("json_extract", <[Expr; 2]>::try_from(args).ok()?.into()),
    };
    let list = call(&format!("__{function}"), vec![json]);
    let one = || Expr::Identifier(quoted("__row"));
    let mut select = select_all(unnest(vec![list], Some(alias_of("__rows", ["__row".to_owned()])), None));
    let item = |column: &&str| SelectItem::ExprWithAlias {
        expr: call("get_field", vec![one(), text(column)]),
        alias: quoted(column),
    };
    select.projection = JSON_ROWS.iter().map(item).collect();
    let alias = alias.unwrap_or_else(|| alias_of(function, []));
    let subquery = Box::new(query_of(SetExpr::Select(Box::new(select))));
    Some(TableFactor::Derived { lateral: true, subquery, alias: Some(alias), sample: None })
}

/// An alias that names the one column after the function, unless it names it itself.
pub(super) fn column_alias(alias: Option<TableAlias>, function: &str) -> TableAlias {
    match alias {
        None => alias_of(function, [function.to_owned()]),
        Some(alias) if alias.columns.is_empty() => {
            TableAlias { columns: alias_of(function, [function.to_owned()]).columns, ..alias }
        }
        Some(alias) => alias,
    }
}
