//! PIVOT and UNPIVOT, in the standard's spelling and in DuckDB's: grouped aggregates with a filter for each column, and a join with the
//! names of the columns.

mod parts;

use carrel_cell::problem::{Ename, Problem};
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Distinct, Expr, ExprWithAlias, FunctionArg, FunctionArgExpr, GroupByExpr,
    Ident, Join, JoinConstraint, JoinOperator, NullInclusion, Parens, PivotValueSource, Query, SelectItem,
    SetExpr, Spanned, TableAlias, TableFactor, Values,
};
use sqlparser::tokenizer::Span;

use super::{
    Done, Rewriter, Stop, alias_of, columns, derived, from, normalized, query_of, quoted, select_all,
};
use parts::{Parts, choice, combinations, only, rest, shown, unnested};

/// Columns that a PIVOT may make.
const MOST: usize = 2000;

/// One of the values that become columns, with the name that it gives.
struct Choice {
    value: Expr,
    name: String,
}

impl Rewriter<'_> {
    /// `__pivot((source), __on(…), __using(…), __group(…))`
    pub(super) fn pivot_call(
        &mut self,
        span: Span,
        args: Vec<FunctionArg>,
        alias: Option<TableAlias>,
    ) -> Result<TableFactor, Stop> {
        let Parts { mut source, on, using, group, .. } = Parts::of(args);
        self.query(&mut source)?;
        let source = derived(source, Some(alias_of("__source", [])));
        let columns = self.columns_of(&[only(source.clone())])?;
        let mut sets = Vec::new();
        let mut keys = Vec::new();
        for (_, item) in on {
            let (key, values) = match item {
                Expr::InList { expr, list, negated: false } => (*expr, Some(list)),
                other => (other, None),
            };
            let choices = match values {
                Some(list) => list.into_iter().map(|value| Choice { name: shown(&value), value }).collect(),
                None => self.values_of(&key, &source)?,
            };
            keys.push(key);
            sets.push(choices);
        }
        let count = from::function_call(
            sqlparser::ast::ObjectName::from(vec![Ident::new("count")]),
            vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)],
        );
        let aggregates = if using.is_empty() { vec![(None, count)] } else { using };
        let groups = match group {
            Some(groups) => groups.into_iter().map(|(_, expr)| expr).collect(),
            None => rest(&columns, keys.iter().chain(aggregates.iter().map(|(_, expr)| expr))),
        };
        self.pivoted(span, source, &keys, sets, aggregates, groups, alias)
    }

    /// `source PIVOT (aggregates FOR column IN (values))`
    pub(super) fn pivot_factor(&mut self, factor: &mut TableFactor) -> Done {
        let TableFactor::Pivot { table, aggregate_functions, value_column, value_source, alias, .. } = factor
        else {
            return Ok(());
        };
        self.factor(table)?;
        let source = table.as_ref().clone();
        let columns = self.columns_of(&[only(source.clone())])?;
        let keys = value_column.clone();
        let sets = match value_source {
            PivotValueSource::List(values) => {
                let choice = |given: &ExprWithAlias| Choice {
                    name: given
                        .alias
                        .as_ref()
                        .map_or_else(|| shown(&given.expr), |alias| alias.value.clone()),
                    value: given.expr.clone(),
                };
                vec![values.iter().map(choice).collect()]
            }
            PivotValueSource::Any(_) => match keys.as_slice() {
                [key] => vec![self.values_of(key, &source)?],
                _ => Vec::new(),
            },
            PivotValueSource::Subquery(query) => {
                let mut query = query.clone();
                self.query(&mut query)?;
                vec![self.answered(*query)?]
            }
        };
        let aggregates: Vec<(Option<Ident>, Expr)> =
            aggregate_functions.iter().map(|given| (given.alias.clone(), given.expr.clone())).collect();
        let used = keys.iter().chain(aggregates.iter().map(|(_, expr)| expr));
        let groups = rest(&columns, used);
        let span = keys.first().map_or(from::nowhere(), Spanned::span);
        // several columns with rows of values are one key
        let keys = if keys.len() > 1 { vec![Expr::Tuple(keys)] } else { keys };
        let alias = alias.take();
        *factor = self.pivoted(span, source, &keys, sets, aggregates, groups, alias)?;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one statement")]
    fn pivoted(
        &mut self,
        span: Span,
        source: TableFactor,
        keys: &[Expr],
        sets: Vec<Vec<Choice>>,
        aggregates: Vec<(Option<Ident>, Expr)>,
        groups: Vec<Expr>,
        alias: Option<TableAlias>,
    ) -> Result<TableFactor, Stop> {
        let count: usize = sets.iter().map(Vec::len).product::<usize>() * aggregates.len();
        if count > MOST {
            let problem = Problem::new(Ename::Unsupported, format!("this PIVOT would make {count} columns"))
                .hint(format!("at most {MOST} are made: name the values with IN (…)"));
            return Err(self.problem(span, problem));
        }
        let mut items: Vec<SelectItem> = groups.iter().cloned().map(SelectItem::UnnamedExpr).collect();
        for combination in combinations(&sets) {
            let condition = keys
                .iter()
                .zip(&combination)
                .map(|(key, choice)| self.same(key, &choice.value))
                .reduce(|all, next| from::binary(all, BinaryOperator::And, next));
            let names: Vec<&str> = combination.iter().map(|choice| choice.name.as_str()).collect();
            let name = names.join("_");
            for (alias, aggregate) in &aggregates {
                let Expr::Function(function) = unnested(aggregate) else {
                    let hint = "write an aggregate function such as sum(x)";
                    return Err(self.unsupported(aggregate.span(), "this is no aggregate function", hint));
                };
                let mut function = function.clone();
                if let Some(condition) = &condition {
                    function.filter = Some(Box::new(match function.filter.take() {
                        Some(filter) => {
                            from::binary(from::nested(*filter), BinaryOperator::And, condition.clone())
                        }
                        None => condition.clone(),
                    }));
                }
                let name = match (alias, aggregates.len()) {
                    (Some(alias), _) => format!("{name}_{}", alias.value),
                    (None, 1) => name.clone(),
                    (None, _) => format!("{name}_{aggregate}"),
                };
                items
                    .push(SelectItem::ExprWithAlias { expr: Expr::Function(function), alias: quoted(&name) });
            }
        }
        let mut select = select_all(source);
        select.projection = items;
        select.group_by = GroupByExpr::Expressions(groups, Vec::new());
        // aggregates, conditions and values may need rewriting themselves
        let tables = std::mem::take(&mut select.from);
        self.expressions(&mut select)?;
        select.from = tables;
        let alias = alias.or_else(|| Some(alias_of(&self.fresh("pivot"), [])));
        Ok(derived(query_of(SetExpr::Select(Box::new(select))), alias))
    }

    fn same(&mut self, key: &Expr, value: &Expr) -> Expr {
        match (unnested(key), unnested(value)) {
            (Expr::Tuple(keys), Expr::Tuple(values)) if keys.len() == values.len() => {
                let each = keys.iter().zip(values).map(|(key, value)| self.same(key, value));
                each.reduce(|all, next| from::binary(all, BinaryOperator::And, next))
                    .unwrap_or_else(|| from::binary(key.clone(), BinaryOperator::Eq, value.clone()))
            }
            (_, Expr::Identifier(word)) if word.quote_style.is_none() => {
                // DuckDB: a bare word is the text
                from::binary(from::nested(key.clone()), BinaryOperator::Eq, from::text(&word.value))
            }
            _ => from::binary(from::nested(key.clone()), BinaryOperator::Eq, from::nested(value.clone())),
        }
    }

    /// The values that a column has, in order.
    fn values_of(&mut self, key: &Expr, source: &TableFactor) -> Result<Vec<Choice>, Stop> {
        let mut select = select_all(source.clone());
        select.distinct = Some(Distinct::Distinct);
        select.projection = vec![SelectItem::ExprWithAlias { expr: key.clone(), alias: quoted("__value") }];
        select.selection = Some(Expr::IsNotNull(Box::new(from::nested(key.clone()))));
        let tables = std::mem::take(&mut select.from);
        self.expressions(&mut select)?;
        select.from = tables;
        let mut query = self.in_scope(SetExpr::Select(Box::new(select)));
        query.order_by = Some(sqlparser::ast::OrderBy {
            kind: sqlparser::ast::OrderByKind::Expressions(vec![sqlparser::ast::OrderByExpr {
                expr: from::number("1"),
                options: sqlparser::ast::OrderByOptions { asc: None, nulls_first: None },
                with_fill: None,
            }]),
            interpolate: None,
        });
        self.answered(query)
    }

    fn answered(&mut self, query: Query) -> Result<Vec<Choice>, Stop> {
        match self.answers.get(&query.to_string()) {
            None => Err(Stop::Asks(Box::new(query))),
            Some(rows) => Ok(rows
                .iter()
                .filter_map(|row| row.first())
                .filter(|value| !value.is_null())
                .map(choice)
                .collect()),
        }
    }

    /// `__unpivot((source), __on(…), __into(name, value, …))`
    pub(super) fn unpivot_call(
        &mut self,
        span: Span,
        args: Vec<FunctionArg>,
        alias: Option<TableAlias>,
    ) -> Result<TableFactor, Stop> {
        let Parts { mut source, on, into, .. } = Parts::of(args);
        self.query(&mut source)?;
        let source = derived(source, Some(alias_of("__source", [])));
        let mut groups: Vec<(String, Vec<Expr>)> = Vec::new();
        for (name, item) in on {
            match unnested(&item) {
                Expr::Function(call) if columns::is_columns(call) => {
                    let chosen = self.chosen(call, &[only(source.clone())])?;
                    groups.extend(chosen.into_iter().map(|column| {
                        let expr = Expr::Identifier(quoted(&column.name));
                        (column.name, vec![expr])
                    }));
                }
                Expr::Tuple(all) => {
                    let names: Vec<String> = all.iter().map(shown).collect();
                    let name = name.map_or_else(|| names.join("_"), |name| name.value);
                    groups.push((name, all.clone()));
                }
                other => {
                    groups.push((name.map_or_else(|| shown(other), |name| name.value), vec![other.clone()]))
                }
            }
        }
        let mut names = into.into_iter();
        let name = names.next().unwrap_or_else(|| "name".to_owned());
        let values: Vec<String> = names.collect();
        let values = if values.is_empty() { vec!["value".to_owned()] } else { values };
        self.unpivoted(span, source, groups, name, values, false, alias)
    }

    /// `source UNPIVOT (value FOR name IN (columns))`
    pub(super) fn unpivot_factor(&mut self, factor: &mut TableFactor) -> Done {
        let TableFactor::Unpivot { table, value, name, columns, null_inclusion, alias } = factor else {
            return Ok(());
        };
        self.factor(table)?;
        let groups = columns.iter().map(|column| {
            let parts = match unnested(&column.expr) {
                Expr::Tuple(all) => all.clone(),
                other => vec![other.clone()],
            };
            let texts: Vec<String> = parts.iter().map(shown).collect();
            (column.alias.as_ref().map_or_else(|| texts.join("_"), |alias| alias.value.clone()), parts)
        });
        let groups: Vec<(String, Vec<Expr>)> = groups.collect();
        let values = match unnested(value) {
            Expr::Tuple(all) => all.iter().map(shown).collect(),
            other => vec![shown(other)],
        };
        let nulls = matches!(null_inclusion, Some(NullInclusion::IncludeNulls));
        let (source, name, span, alias) =
            (table.as_ref().clone(), normalized(name), value.span(), alias.take());
        *factor = self.unpivoted(span, source, groups, name, values, nulls, alias)?;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one statement")]
    fn unpivoted(
        &mut self,
        span: Span,
        source: TableFactor,
        groups: Vec<(String, Vec<Expr>)>,
        name: String,
        values: Vec<String>,
        nulls: bool,
        alias: Option<TableAlias>,
    ) -> Result<TableFactor, Stop> {
        if let Some((_, group)) = groups.iter().find(|(_, group)| group.len() != values.len()) {
            let text = format!("{} columns do not fit {} values", group.len(), values.len());
            return Err(self.problem(group.first().map_or(span, Spanned::span), from::wrong(text)));
        }
        if groups.is_empty() {
            return Err(self.problem(span, from::wrong("UNPIVOT needs columns")));
        }
        let columns = self.columns_of(&[only(source.clone())])?;
        let others = rest(&columns, groups.iter().flat_map(|(_, group)| group));
        let number =
            |at: usize| Expr::Value(sqlparser::ast::Value::Number(at.to_string(), false).with_empty_span());
        let rows = groups
            .iter()
            .enumerate()
            .map(|(at, (name, _))| Parens::with_empty_span(vec![number(at), from::text(name)]))
            .collect();
        let names = SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows });
        let names =
            derived(query_of(names), Some(alias_of("__names", ["__at".to_owned(), "__name".to_owned()])));
        let of_names = |column: &str| Expr::CompoundIdentifier(vec![quoted("__names"), quoted(column)]);
        let mut items: Vec<SelectItem> = others.into_iter().map(SelectItem::UnnamedExpr).collect();
        items.push(SelectItem::ExprWithAlias { expr: of_names("__name"), alias: quoted(&name) });
        let cases: Vec<Expr> = (0..values.len())
            .map(|value| Expr::Case {
                case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
                end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
                operand: Some(Box::new(of_names("__at"))),
                conditions: groups
                    .iter()
                    .enumerate()
                    .map(|(at, (_, group))| CaseWhen { condition: number(at), result: group[value].clone() })
                    .collect(),
                else_result: None,
            })
            .collect();
        for (value, case) in values.iter().zip(&cases) {
            items.push(SelectItem::ExprWithAlias { expr: case.clone(), alias: quoted(value) });
        }
        let mut select = select_all(source);
        select.projection = items;
        if !nulls {
            select.selection = cases
                .into_iter()
                .map(|case| Expr::IsNotNull(Box::new(case)))
                .reduce(|all, next| from::binary(all, BinaryOperator::Or, next));
        }
        if let Some(table) = select.from.first_mut() {
            table.joins.push(Join {
                relation: names,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            });
        }
        let alias = alias.or_else(|| Some(alias_of(&self.fresh("unpivot"), [])));
        Ok(derived(query_of(SetExpr::Select(Box::new(select))), alias))
    }
}
