//! Stars with options the planner lacks, `COLUMNS(…)`, and the fields of structs: written out as the columns they stand for.

use std::ops::ControlFlow;

use arrow::array::StringArray;
use arrow::datatypes::DataType;
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::ScalarValue;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, ExceptSelectItem, ExcludeSelectItem, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, LambdaFunction, RenameSelectItem, ReplaceSelectItem, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, Subscript, TableWithJoins, Value,
    ValueWithSpan, WildcardAdditionalOptions, visit_expressions, visit_expressions_mut,
};

use super::{Column, Done, Rewriter, Stop, from, last_name, normalized, quoted, select_all};

impl Rewriter<'_> {
    /// Writes out the stars of a SELECT where that is needed.
    pub(super) fn stars(&mut self, select: &mut Select, tables: &[TableWithJoins]) -> Done {
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) if options.opt_rename.is_some() => {
                    let columns = self.columns_of(tables)?;
                    items.extend(self.star(columns, &options)?);
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    items.extend(self.qualified(kind, options, tables)?);
                }
                SelectItem::UnnamedExpr(expr) => match columns_call(&expr) {
                    None => items.push(SelectItem::UnnamedExpr(expr)),
                    Some(call) => items.extend(self.expand(&expr, &call, None, tables)?),
                },
                SelectItem::ExprWithAlias { expr, alias } => match columns_call(&expr) {
                    None => items.push(SelectItem::ExprWithAlias { expr, alias }),
                    Some(call) => items.extend(self.expand(&expr, &call, Some(&alias), tables)?),
                },
                other => items.push(other),
            }
        }
        select.projection = items;
        if let Some(condition) = &mut select.selection
            && let Some(call) = columns_call(condition)
        {
            let all = self.expand(condition, &call, None, tables)?;
            let mut all = all.into_iter().filter_map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    Some(from::nested(expr))
                }
                _ => None,
            });
            if let Some(first) = all.next() {
                *condition = all.fold(first, |all, next| from::binary(all, BinaryOperator::And, next));
            }
        }
        Ok(())
    }

    /// `relation.*` with a rename, or the fields of a struct.
    fn qualified(
        &mut self,
        kind: SelectItemQualifiedWildcardKind,
        options: WildcardAdditionalOptions,
        tables: &[TableWithJoins],
    ) -> Result<Vec<SelectItem>, Stop> {
        let as_it_is = |kind, options| Ok(vec![SelectItem::QualifiedWildcard(kind, options)]);
        let (name, expr) = match &kind {
            SelectItemQualifiedWildcardKind::ObjectName(name) => {
                let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
                (last_name(name), Expr::CompoundIdentifier(parts))
            }
            SelectItemQualifiedWildcardKind::Expr(Expr::Nested(inner)) => {
                (String::new(), inner.as_ref().clone())
            }
            SelectItemQualifiedWildcardKind::Expr(expr) => (String::new(), expr.clone()),
        };
        let Ok(columns) = self.columns_of(tables) else { return as_it_is(kind, options) };
        let is_relation = columns.iter().any(|column| column.relation.as_deref() == Some(name.as_str()));
        if is_relation && options.opt_rename.is_none() {
            return as_it_is(kind, options);
        }
        if is_relation {
            let of = columns.into_iter().filter(|column| column.relation.as_deref() == Some(name.as_str()));
            return self.star(of.collect(), &options);
        }
        let one = match expr {
            Expr::CompoundIdentifier(parts) if parts.len() == 1 => Expr::Identifier(parts[0].clone()),
            other => other,
        };
        let mut probe = select_all(from::plain_table(sqlparser::ast::ObjectName(Vec::new())));
        probe.from = tables.to_vec();
        probe.projection = vec![SelectItem::UnnamedExpr(one.clone())];
        let found = self.columns_of_body(SetExpr::Select(Box::new(probe))).ok();
        let Some([Column { data_type: DataType::Struct(fields), .. }]) = found.as_deref() else {
            return as_it_is(kind, options);
        };
        let fields: Vec<Column> = fields
            .iter()
            .map(|field| Column {
                relation: None,
                name: field.name().clone(),
                data_type: field.data_type().clone(),
            })
            .collect();
        let of_field = |item: SelectItem| match item {
            SelectItem::UnnamedExpr(Expr::Identifier(field)) => {
                let expr = field_of(&one, &field.value);
                SelectItem::ExprWithAlias { expr, alias: field }
            }
            SelectItem::ExprWithAlias { expr: Expr::Identifier(field), alias } => {
                SelectItem::ExprWithAlias { expr: field_of(&one, &field.value), alias }
            }
            other => other,
        };
        Ok(self.star(fields, &options)?.into_iter().map(of_field).collect())
    }

    /// Columns after EXCLUDE, REPLACE and RENAME.
    fn star(
        &self,
        columns: Vec<Column>,
        options: &WildcardAdditionalOptions,
    ) -> Result<Vec<SelectItem>, Stop> {
        let excluded = excluded(options);
        let known = |name: &Ident| {
            if columns.iter().any(|column| column.name == normalized(name)) {
                return Ok(());
            }
            let problem = Problem::new(Ename::UnknownColumn, format!("no column {}", name.value));
            let problem = problem.suggest(&name.value, columns.iter().map(|column| column.name.as_str()));
            Err(self.problem(name.span, problem))
        };
        let renames = match &options.opt_rename {
            Some(RenameSelectItem::Single(one)) => vec![one.clone()],
            Some(RenameSelectItem::Multiple(all)) => all.clone(),
            None => Vec::new(),
        };
        excluded.iter().try_for_each(known)?;
        renames.iter().try_for_each(|rename| known(&rename.ident))?;
        let replaced = match &options.opt_replace {
            Some(ReplaceSelectItem { items }) => items.as_slice(),
            None => &[],
        };
        let mut items = Vec::new();
        for column in &columns {
            if excluded.iter().any(|name| normalized(name) == column.name) {
                continue;
            }
            let expr = match replaced.iter().find(|item| normalized(&item.column_name) == column.name) {
                Some(item) => item.expr.clone(),
                None => column_of(column),
            };
            let rename = renames.iter().find(|rename| normalized(&rename.ident) == column.name);
            let plain = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            items.push(match rename {
                Some(rename) => SelectItem::ExprWithAlias { expr, alias: rename.alias.clone() },
                None if plain => SelectItem::UnnamedExpr(expr),
                None => SelectItem::ExprWithAlias { expr, alias: quoted(&column.name) },
            });
        }
        Ok(items)
    }

    /// An expression with `COLUMNS(…)`, once for each column.
    fn expand(
        &mut self,
        expr: &Expr,
        call: &Function,
        alias: Option<&Ident>,
        tables: &[TableWithJoins],
    ) -> Result<Vec<SelectItem>, Stop> {
        let columns = self.chosen(call, tables)?;
        if columns.is_empty() {
            let problem = Problem::new(Ename::UnknownColumn, "no column is chosen here");
            return Err(self.problem(call.name.span(), problem));
        }
        let item = |column: &Column| {
            let (mut with, mut shown) = (expr.clone(), expr.clone());
            put(&mut with, &column_of(column));
            put(&mut shown, &Expr::Identifier(Ident::new(&column.name)));
            let plain = matches!(with, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            match alias {
                Some(alias) => SelectItem::ExprWithAlias { expr: with, alias: alias.clone() },
                None if plain => SelectItem::ExprWithAlias { expr: with, alias: quoted(&column.name) },
                None => SelectItem::ExprWithAlias { expr: with, alias: quoted(&shown.to_string()) },
            }
        };
        Ok(columns.iter().map(item).collect())
    }

    /// The columns that `COLUMNS(…)` names.
    pub(super) fn chosen(&mut self, call: &Function, tables: &[TableWithJoins]) -> Result<Vec<Column>, Stop> {
        let columns = self.columns_of(tables)?;
        let hint =
            "write COLUMNS(*), COLUMNS(* EXCLUDE (a)), COLUMNS('regular expression') or COLUMNS(['a', 'b'])";
        let refuse = || self.unsupported(call.name.span(), "COLUMNS of this is not supported", hint);
        let FunctionArguments::List(list) = &call.args else { return Err(refuse()) };
        let [FunctionArg::Unnamed(argument)] = list.args.as_slice() else { return Err(refuse()) };
        match argument {
            FunctionArgExpr::Wildcard => Ok(columns),
            FunctionArgExpr::QualifiedWildcard(name) => {
                let name = last_name(name);
                Ok(columns
                    .into_iter()
                    .filter(|column| column.relation.as_deref() == Some(name.as_str()))
                    .collect())
            }
            FunctionArgExpr::WildcardWithOptions(options) => {
                let out = excluded(options);
                Ok(columns
                    .into_iter()
                    .filter(|column| !out.iter().any(|name| normalized(name) == column.name))
                    .collect())
            }
            FunctionArgExpr::Expr(Expr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(pattern),
                span,
            })) => {
                let names = StringArray::from_iter_values(columns.iter().map(|column| column.name.as_str()));
                let fits = arrow::compute::regexp_is_match_scalar(&names, pattern, None).map_err(|_| {
                    self.problem(*span, Problem::new(Ename::ValueError, "this is no regular expression"))
                })?;
                Ok(columns
                    .into_iter()
                    .zip(fits.iter())
                    .filter(|(_, fits)| *fits == Some(true))
                    .map(|(column, _)| column)
                    .collect())
            }
            FunctionArgExpr::Expr(Expr::Array(array)) => {
                let wanted: Option<Vec<String>> = array.elem.iter().map(string_of).collect();
                let wanted = wanted.ok_or_else(refuse)?;
                Ok(columns.into_iter().filter(|column| wanted.contains(&column.name)).collect())
            }
            FunctionArgExpr::Expr(Expr::Lambda(lambda)) => self.by_lambda(columns, lambda),
            FunctionArgExpr::Expr(_) => Err(refuse()),
        }
    }

    /// Columns whose names a lambda says yes to: asked as a query without tables.
    fn by_lambda(&mut self, columns: Vec<Column>, lambda: &LambdaFunction) -> Result<Vec<Column>, Stop> {
        let Some(parameter) = lambda.params.iter().next().map(|parameter| normalized(&parameter.name)) else {
            return Ok(columns);
        };
        let mut question = select_all(from::plain_table(sqlparser::ast::ObjectName(Vec::new())));
        question.from = Vec::new();
        question.projection = columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let mut body = lambda.body.as_ref().clone();
                let _ = visit_expressions_mut(&mut body, |expr| {
                    if matches!(expr, Expr::Identifier(name) if normalized(name) == parameter) {
                        *expr = from::text(&column.name);
                    }
                    ControlFlow::<()>::Continue(())
                });
                SelectItem::ExprWithAlias { expr: body, alias: quoted(&format!("c{at}")) }
            })
            .collect();
        let mut question = super::query_of(SetExpr::Select(Box::new(question)));
        self.query(&mut question)?;
        match self.answers.get(&question.to_string()) {
            None => Err(Stop::Asks(Box::new(question))),
            Some(rows) => {
                let row = rows.first().map_or(&[][..], Vec::as_slice);
                let yes = |at: usize| matches!(row.get(at), Some(ScalarValue::Boolean(Some(true))));
                Ok(columns
                    .into_iter()
                    .enumerate()
                    .filter(|(at, _)| yes(*at))
                    .map(|(_, column)| column)
                    .collect())
            }
        }
    }
}

/// The first `COLUMNS(…)` in an expression.
fn columns_call(expr: &Expr) -> Option<Function> {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if is_columns(function) => ControlFlow::Break(Box::new(function.clone())),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(function) => Some(*function),
        ControlFlow::Continue(()) => None,
    }
}

pub(super) fn is_columns(function: &Function) -> bool {
    last_name(&function.name) == "columns" && function.name.0.len() == 1
}

/// Puts an expression in place of every `COLUMNS(…)`.
fn put(into: &mut Expr, expr: &Expr) {
    let _ = visit_expressions_mut(into, |at| {
        if matches!(at, Expr::Function(function) if is_columns(function)) {
            *at = expr.clone();
        }
        ControlFlow::<()>::Continue(())
    });
}

fn column_of(column: &Column) -> Expr {
    match &column.relation {
        Some(relation) => Expr::CompoundIdentifier(vec![quoted(relation), quoted(&column.name)]),
        None => Expr::Identifier(quoted(&column.name)),
    }
}

/// `expr['field']`
pub(super) fn field_of(expr: &Expr, field: &str) -> Expr {
    Expr::CompoundFieldAccess {
        root: Box::new(from::nested(expr.clone())),
        access_chain: vec![AccessExpr::Subscript(Subscript::Index { index: from::text(field) })],
    }
}

fn excluded(options: &WildcardAdditionalOptions) -> Vec<Ident> {
    let ident = |name: &sqlparser::ast::ObjectName| name.0.last().and_then(|part| part.as_ident().cloned());
    let mut out: Vec<Ident> = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(one)) => ident(one).into_iter().collect(),
        Some(ExcludeSelectItem::Multiple(all)) => all.iter().filter_map(ident).collect(),
        None => Vec::new(),
    };
    if let Some(ExceptSelectItem { first_element, additional_elements }) = &options.opt_except {
        out.push(first_element.clone());
        out.extend(additional_elements.iter().cloned());
    }
    out
}

pub(super) fn string_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        _ => None,
    }
}
