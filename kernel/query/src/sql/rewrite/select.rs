//! One SELECT: its FROM, its stars, its names, its aliases.

use std::collections::BTreeMap;

use sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, Ident, JoinConstraint, JoinOperator, OrderBy, OrderByExpr,
    OrderByKind, OrderByOptions, Query, Select, SelectFlavor, SelectItem, SetExpr, Spanned, TableFactor,
    TableWithJoins,
};

use super::{Done, Rewriter, from, last_name, normalized, quoted, select_all};

/// Between a column's name and the number that tells it from another of the same name. It is taken off where rows leave.
pub const TWIN: char = '\u{1f}';

impl Rewriter<'_> {
    /// Rewrites a SELECT and the ORDER BY that belongs to it.
    pub(super) fn select(&mut self, select: &mut Select, order_by: &mut Option<OrderBy>) -> Done {
        if select.flavor == SelectFlavor::FromFirstNoSelect {
            select.projection = vec![SelectItem::Wildcard(Default::default())];
        }
        select.flavor = SelectFlavor::Standard;
        let mut tables = std::mem::take(&mut select.from);
        for table in &mut tables {
            self.table_with_joins(table)?;
        }
        self.sample(select, &mut tables)?;
        self.windows(select, order_by)?;
        group_by_modifiers(&mut select.group_by);
        positions_in_sets(&mut select.group_by, &select.projection);
        let written = written_names(&select.projection);
        self.stars(select, &tables)?;
        let merged = self.merged_columns(&tables)?;
        self.use_merged(select, order_by, &merged, &tables)?;
        // the FROM clause is done: only what stands around it is visited
        self.expressions(select)?;
        if let Some(order) = order_by {
            self.expressions(order)?;
        }
        self.aliases(select, order_by, &tables)?;
        select.from = tables;
        name_items(&mut select.projection, &written);
        let each_row = select.distinct.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
        twins(&mut select.projection, order_by.as_ref().filter(|_| each_row));
        Ok(())
    }

    /// `USING SAMPLE` was moved to where PREWHERE would be.
    fn sample(&mut self, select: &mut Select, tables: &mut [TableWithJoins]) -> Done {
        let Some(Expr::Function(call)) = select.prewhere.take() else { return Ok(()) };
        let args: Vec<Expr> = match call.args {
            sqlparser::ast::FunctionArguments::List(list) => {
                list.args.into_iter().filter_map(from::plain_argument).collect()
            }
            _ => Vec::new(),
        };
        let rows = matches!(args.get(2), Some(Expr::Value(value)) if value.to_string() == "'rows'");
        if !rows {
            // each row is taken or left: before or after WHERE is the same
            let taken = from::call("__sample", args);
            select.selection = Some(match select.selection.take() {
                Some(condition) => {
                    from::binary(taken, sqlparser::ast::BinaryOperator::And, from::nested(condition))
                }
                None => taken,
            });
            return Ok(());
        }
        let single = match &mut *tables {
            [TableWithJoins { relation, joins }] if joins.is_empty() => Some(relation),
            _ => None,
        };
        let Some(relation) = single else {
            let hint =
                "put the join into a subquery: FROM (SELECT … FROM a JOIN b ON …) USING SAMPLE 100 ROWS";
            return Err(self.unsupported(
                call.name.span(),
                "USING SAMPLE of so many rows of a join is not supported",
                hint,
            ));
        };
        let alias = match &*relation {
            TableFactor::Table { alias: None, name, .. } => Some(super::alias_of(&last_name(name), [])),
            TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.clone(),
            _ => None,
        };
        let inner = std::mem::replace(relation, from::plain_table(sqlparser::ast::ObjectName(Vec::new())));
        let mut sampled = select_all(inner);
        sampled.selection = Some(from::call("__sample", args));
        *relation = super::derived(super::query_of(SetExpr::Select(Box::new(sampled))), alias);
        Ok(())
    }

    /// ORDER BY ALL: by every column of the answer, from left to right.
    pub(super) fn order_by_all(&mut self, query: &mut Query) -> Done {
        let Some(OrderBy { kind: OrderByKind::All(options), .. }) = &query.order_by else { return Ok(()) };
        let options = *options;
        let items = match query.body.as_ref() {
            SetExpr::Select(select) if !select.projection.iter().any(is_star) => select.projection.len(),
            body => self.columns_of_body(body.clone())?.len(),
        };
        query.order_by = Some(by_position(items, options));
        Ok(())
    }

    /// Columns that FULL or RIGHT JOIN … USING merges: which relations they come from. (The planner takes the left one's, which is
    /// NULL where only the right one has a row.)
    fn merged_columns(&mut self, tables: &[TableWithJoins]) -> Result<BTreeMap<String, Merged>, super::Stop> {
        let mut merged: BTreeMap<String, Merged> = BTreeMap::new();
        for table in tables {
            for (at, join) in table.joins.iter().enumerate() {
                let asof = from::is_asof_using(&join.relation);
                let (constraint, right_first) = match &join.join_operator {
                    JoinOperator::Join(constraint)
                    | JoinOperator::Inner(constraint)
                    | JoinOperator::Left(constraint)
                    | JoinOperator::LeftOuter(constraint)
                        if asof =>
                    {
                        (constraint, false)
                    }
                    JoinOperator::FullOuter(constraint) => (constraint, false),
                    JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                        (constraint, true)
                    }
                    _ => continue,
                };
                if !matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural) {
                    continue;
                }
                let before =
                    TableWithJoins { relation: table.relation.clone(), joins: table.joins[..at].to_vec() };
                let left = self.columns_of(std::slice::from_ref(&before))?;
                let only = TableWithJoins { relation: join.relation.clone(), joins: Vec::new() };
                let right = self.columns_of(std::slice::from_ref(&only))?;
                let names: Vec<String> = match constraint {
                    JoinConstraint::Using(columns) => columns.iter().map(last_name).collect(),
                    _ => left
                        .iter()
                        .map(|column| column.name.clone())
                        .filter(|name| right.iter().any(|column| column.name == *name))
                        .collect(),
                };
                for name in names {
                    let of = |columns: &[super::Column]| {
                        columns
                            .iter()
                            .find(|column| column.name == name)
                            .and_then(|column| column.relation.clone())
                    };
                    let (Some(left), Some(right)) = (of(&left), of(&right)) else { continue };
                    let Merged { sources, all } = merged.entry(name).or_default();
                    let (left, right) = (quoted(&left), quoted(&right));
                    all.extend([left.clone(), right.clone()]);
                    if asof {
                        // the times differ: it is the left one's
                        if sources.is_empty() {
                            sources.push(left);
                        }
                    } else if right_first {
                        sources.retain(|source| *source != right);
                        sources.insert(0, right);
                        if !sources.contains(&left) {
                            sources.push(left);
                        }
                    } else {
                        for source in [left, right] {
                            if !sources.contains(&source) {
                                sources.push(source);
                            }
                        }
                    }
                }
            }
        }
        Ok(merged)
    }
}

/// A column that a join merges.
#[derive(Default)]
pub(super) struct Merged {
    /// The relations whose values count, the first that has one.
    pub(super) sources: Vec<Ident>,
    /// All relations that have it.
    pub(super) all: Vec<Ident>,
}

/// `WITH ROLLUP` and its kin as grouping sets.
fn group_by_modifiers(group_by: &mut GroupByExpr) {
    let GroupByExpr::Expressions(exprs, modifiers) = group_by else { return };
    for modifier in std::mem::take(modifiers) {
        let sets = |exprs: &mut Vec<Expr>| std::mem::take(exprs).into_iter().map(|expr| vec![expr]).collect();
        match modifier {
            GroupByWithModifier::Rollup => *exprs = vec![Expr::Rollup(sets(exprs))],
            GroupByWithModifier::Cube => *exprs = vec![Expr::Cube(sets(exprs))],
            GroupByWithModifier::GroupingSets(sets) => *exprs = vec![sets],
            GroupByWithModifier::Totals => {}
        }
    }
}

/// Inside ROLLUP, CUBE and GROUPING SETS too a number means the item at that place.
fn positions_in_sets(group_by: &mut GroupByExpr, items: &[SelectItem]) {
    let GroupByExpr::Expressions(exprs, _) = group_by else { return };
    for expr in exprs {
        let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = expr else { continue };
        for key in sets.iter_mut().flatten() {
            let Expr::Value(number) = &*key else { continue };
            let at = number.to_string().parse::<usize>().ok().and_then(|at| at.checked_sub(1));
            if let Some(SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) =
                at.and_then(|at| items.get(at))
            {
                *key = item.clone();
            }
        }
    }
}

pub(super) fn is_star(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

fn by_position(items: usize, options: OrderByOptions) -> OrderBy {
    let expr = |at: usize| OrderByExpr { expr: from::number(&at.to_string()), options, with_fill: None };
    OrderBy { kind: OrderByKind::Expressions((1..=items).map(expr).collect()), interpolate: None }
}

/// What unnamed items look like before anything is rewritten.
fn written_names(items: &[SelectItem]) -> Vec<Option<String>> {
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(expr.to_string()),
        _ => None,
    };
    items.iter().map(name).collect()
}

/// Items that were rewritten keep the name that the user would give them: what was written.
fn name_items(items: &mut [SelectItem], written: &[Option<String>]) {
    if items.len() != written.len() {
        return;
    }
    for (item, written) in items.iter_mut().zip(written) {
        if let (SelectItem::UnnamedExpr(expr), Some(written)) = (&*item, written)
            && !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
            && (expr.to_string() != *written || has_query(expr) || is_spelt_otherwise(expr))
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: quoted(written) };
        }
    }
}

/// The planner would write operators, lists and the like with its own names for them, and with the tables of their columns.
fn is_spelt_otherwise(expr: &Expr) -> bool {
    !matches!(expr, Expr::Cast { .. } | Expr::Nested(_) | Expr::Value(_) | Expr::TypedString(_))
}

fn has_query(expr: &Expr) -> bool {
    sqlparser::ast::visit_expressions(expr, |expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => std::ops::ControlFlow::Break(()),
        _ => std::ops::ControlFlow::Continue(()),
    })
    .is_break()
}

/// Does ORDER BY name this column?
fn sorts_by(order_by: Option<&OrderBy>, name: &str) -> bool {
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = order_by else { return false };
    keys.iter().any(|key| match &key.expr {
        Expr::Identifier(column) => normalized(column) == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|column| normalized(column) == name),
        _ => false,
    })
}

fn is_cast_column(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => {
            matches!(**expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) || is_cast_column(expr)
        }
        _ => false,
    }
}

/// What the planner calls an unnamed item: a cast is called like what is cast.
fn planned_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => normalized(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized).unwrap_or_default(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => planned_name(expr),
        Expr::TypedString(text) => text.value.to_string(),
        other => other.to_string(),
    }
}

/// Items of the same name are told from each other by a number that nobody sees.
fn twins(items: &mut [SelectItem], order_by: Option<&OrderBy>) {
    let star = items.iter().any(is_star);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), planned_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), normalized(alias)),
            _ => continue,
        };
        let plain = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        // beside a star every plain column may be there twice
        let mut twin = *count > 1 || star && plain && matches!(item, SelectItem::UnnamedExpr(_));
        // ORDER BY means the column itself, which the planner then adds
        twin |= !plain && matches!(item, SelectItem::UnnamedExpr(_)) && sorts_by(order_by, &name);
        if twin {
            let number = if *count > 1 { *count } else { 0 };
            *item = SelectItem::ExprWithAlias { expr, alias: quoted(&format!("{name}{TWIN}{number}")) };
        } else if matches!(item, SelectItem::UnnamedExpr(_)) && is_cast_column(&expr) {
            // the planner would write the table before it
            *item = SelectItem::ExprWithAlias { expr, alias: quoted(&name) };
        }
    }
}
