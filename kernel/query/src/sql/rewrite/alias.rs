//! Names that the SELECT itself gives: an alias may be used in the items behind it and in WHERE, unless a column has the same name. And
//! the columns that an outer join merges.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Expr, GroupByExpr, Ident, OrderBy, Query, Select, SelectItem, TableWithJoins, VisitMut,
    VisitorMut, visit_expressions,
};

use super::select::Merged;
use super::{Done, Rewriter, from, normalized, quoted};

impl Rewriter<'_> {
    /// Puts the meaning of aliases where they are used.
    pub(super) fn aliases(
        &mut self,
        select: &mut Select,
        order_by: &mut Option<OrderBy>,
        tables: &[TableWithJoins],
    ) -> Done {
        self.relations_as_columns(select, order_by, tables)?;
        let names: BTreeSet<String> = select.projection.iter().filter_map(alias_name).collect();
        if names.is_empty() || !uses_any(select, &names) {
            return Ok(());
        }
        let Ok(columns) = self.columns_of(tables) else { return Ok(()) };
        let relations: BTreeSet<String> =
            columns.iter().filter_map(|column| column.relation.clone()).collect();
        let columns: BTreeSet<String> = columns.into_iter().map(|column| column.name).collect();
        let mut known: BTreeMap<String, Expr> = BTreeMap::new();
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => replace_aliases(expr, &known, &relations),
                SelectItem::ExprWithAlias { expr, alias } => {
                    replace_aliases(expr, &known, &relations);
                    let name = normalized(alias);
                    if !columns.contains(&name) {
                        known.insert(name, from::nested(expr.clone()));
                    }
                }
                _ => {}
            }
        }
        // an alias of an aggregate has no meaning in WHERE: the planner says so
        let rows: BTreeMap<String, Expr> = known
            .iter()
            .filter(|(_, expr)| !self.is_of_groups(expr))
            .map(|(name, expr)| (name.clone(), expr.clone()))
            .collect();
        if let Some(condition) = &mut select.selection {
            replace_aliases(condition, &rows, &relations);
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs.iter_mut().filter(|expr| !matches!(expr, Expr::Identifier(_))) {
                replace_aliases(expr, &rows, &relations);
            }
        }
        Ok(())
    }

    /// Does an expression need all rows of a group or a window?
    fn is_of_groups(&self, expr: &Expr) -> bool {
        let found = visit_expressions(expr, |expr| match expr {
            Expr::Function(function)
                if function.over.is_some()
                    || self.provider.is_aggregate(&function.name.to_string().to_lowercase()) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    }

    /// The name of a relation that has one column, made by a function, means that column.
    fn relations_as_columns(
        &mut self,
        select: &mut Select,
        order_by: &mut Option<OrderBy>,
        tables: &[TableWithJoins],
    ) -> Done {
        let relations = self.one_column_relations(tables);
        let names: BTreeSet<String> = relations.iter().map(|(name, _)| name.clone()).collect();
        if names.is_empty() || !uses_any(select, &names) {
            return Ok(());
        }
        let Ok(columns) = self.columns_of(tables) else { return Ok(()) };
        let known: BTreeMap<String, Expr> = relations
            .into_iter()
            .filter(|(name, _)| !columns.iter().any(|column| column.name == *name))
            .map(|(name, column)| {
                let expr = Expr::CompoundIdentifier(vec![quoted(&name), quoted(&column)]);
                (name, expr)
            })
            .collect();
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
                && let Some(expr) = known.get(&normalized(name))
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name.clone() };
            }
        }
        replace(select, &known);
        if let Some(order) = order_by {
            replace(order, &known);
        }
        Ok(())
    }

    /// Names columns that FULL or RIGHT JOIN merges by what they are.
    pub(super) fn use_merged(
        &mut self,
        select: &mut Select,
        order_by: &mut Option<OrderBy>,
        merged: &BTreeMap<String, Merged>,
        tables: &[TableWithJoins],
    ) -> Done {
        if merged.is_empty() {
            return Ok(());
        }
        let meaning: BTreeMap<String, Expr> = merged
            .iter()
            .map(|(name, column)| {
                let of = |source: &Ident| Expr::CompoundIdentifier(vec![source.clone(), quoted(name)]);
                let meaning = match column.sources.as_slice() {
                    [one] => of(one),
                    all => from::call("coalesce", all.iter().map(of).collect()),
                };
                (name.clone(), meaning)
            })
            .collect();
        let mut items = Vec::new();
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) if options == Default::default() || no_options(&options) => {
                    let mut done = BTreeSet::new();
                    for column in self.columns_of(tables)? {
                        let relation = column.relation.as_deref().map(quoted);
                        match (merged.get(&column.name), relation) {
                            (Some(of), Some(relation)) if of.all.contains(&relation) => {
                                if done.insert(column.name.clone())
                                    && let Some(expr) = meaning.get(&column.name)
                                {
                                    items.push(SelectItem::ExprWithAlias {
                                        expr: expr.clone(),
                                        alias: quoted(&column.name),
                                    });
                                }
                            }
                            (_, Some(relation)) => {
                                items.push(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![
                                    relation,
                                    quoted(&column.name),
                                ])))
                            }
                            (_, None) => {
                                items.push(SelectItem::UnnamedExpr(Expr::Identifier(quoted(&column.name))))
                            }
                        }
                    }
                }
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => match meaning.get(&normalized(&name)) {
                    Some(expr) => items.push(SelectItem::ExprWithAlias { expr: expr.clone(), alias: name }),
                    None => items.push(SelectItem::UnnamedExpr(Expr::Identifier(name))),
                },
                other => items.push(other),
            }
        }
        select.projection = items;
        replace(select, &meaning);
        // ORDER BY and GROUP BY of a name mean the item of that name, if there is one
        let taken: BTreeSet<String> = select.projection.iter().filter_map(alias_name).collect();
        let free: BTreeMap<String, Expr> =
            meaning.into_iter().filter(|(name, _)| !taken.contains(name)).collect();
        if let Some(order) = order_by {
            replace(order, &free);
        }
        Ok(())
    }
}

fn no_options(options: &sqlparser::ast::WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn alias_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
        _ => None,
    }
}

/// Does a bare name of these occur in what may use an alias?
fn uses_any(select: &Select, names: &BTreeSet<String>) -> bool {
    let uses = |expr: &Expr| {
        visit_expressions(expr, |expr| match expr {
            Expr::Identifier(name) if names.contains(&normalized(name)) => ControlFlow::Break(()),
            Expr::CompoundIdentifier(parts)
                if parts.first().is_some_and(|name| names.contains(&normalized(name))) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
        .is_break()
    };
    let item = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => uses(expr),
        _ => false,
    };
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => exprs.iter().any(uses),
        GroupByExpr::All(_) => false,
    };
    let more = [&select.selection, &select.having, &select.qualify];
    select.projection.iter().any(item) || grouped || more.into_iter().flatten().any(uses)
}

/// Replaces bare names, but not in queries inside and not where a lambda has a parameter of that name.
fn replace(node: &mut impl VisitMut, known: &BTreeMap<String, Expr>) {
    replaced(node, known, None);
}

/// Replaces aliases, also where a field of one is named: `alias.field`, unless a relation has that name.
fn replace_aliases(node: &mut impl VisitMut, known: &BTreeMap<String, Expr>, relations: &BTreeSet<String>) {
    replaced(node, known, Some(relations));
}

fn replaced(node: &mut impl VisitMut, known: &BTreeMap<String, Expr>, relations: Option<&BTreeSet<String>>) {
    struct Replace<'a> {
        known: &'a BTreeMap<String, Expr>,
        relations: Option<&'a BTreeSet<String>>,
        depth: usize,
        hidden: Vec<String>,
    }
    impl VisitorMut for Replace<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Lambda(lambda) = expr {
                self.hidden.extend(lambda.params.iter().map(|parameter| normalized(&parameter.name)));
            }
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::Lambda(lambda) => {
                    let left = self.hidden.len().saturating_sub(lambda.params.iter().count());
                    self.hidden.truncate(left);
                }
                Expr::Identifier(name) if self.depth == 0 => {
                    let name = normalized(name);
                    if let Some(meaning) = self.known.get(&name)
                        && !self.hidden.contains(&name)
                    {
                        *expr = meaning.clone();
                    }
                }
                // a part of a struct
                Expr::CompoundIdentifier(parts) if self.depth == 0 => {
                    let (Some((name, fields)), Some(relations)) = (parts.split_first(), self.relations)
                    else {
                        return ControlFlow::Continue(());
                    };
                    let name = normalized(name);
                    if let Some(meaning) = self.known.get(&name)
                        && !relations.contains(&name)
                        && !self.hidden.contains(&name)
                    {
                        let field = |field: &Ident| AccessExpr::Dot(from::text(&normalized(field)));
                        *expr = Expr::CompoundFieldAccess {
                            root: Box::new(meaning.clone()),
                            access_chain: fields.iter().map(field).collect(),
                        };
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    if !known.is_empty() {
        let _ = node.visit(&mut Replace { known, relations, depth: 0, hidden: Vec::new() });
    }
}
