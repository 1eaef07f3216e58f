//! A query computed for all values of its domain at once: the domain's columns are carried through it, from its leaves to its top.

mod join;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprSchemable, GroupingSet, Limit, LogicalPlan,
    LogicalPlanBuilder, Projection, Sort, SubqueryAlias, lit, when,
};

use super::{Domain, Unnest, columns_of, filtered, null_safe, unsupported};
use crate::plan::limits::numbered;

/// A plan and where the domain's columns are in it.
type Pushed = Result<(LogicalPlan, Vec<Column>)>;

impl Unnest {
    /// All rows of the query for all values of the domain.
    pub(super) fn push(&mut self, plan: LogicalPlan, domain: &Domain) -> Pushed {
        if !uses(&plan, domain)? {
            let (values, columns) = self.copy(domain)?;
            if matches!(&plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row) {
                return Ok((values, columns));
            }
            let joined = LogicalPlanBuilder::from(values).cross_join(plan)?.build()?;
            return Ok((joined, columns));
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let (input, columns) = self.push(projection.input.as_ref().clone(), domain)?;
                let mut exprs = Vec::with_capacity(projection.expr.len() + columns.len());
                for (expr, (relation, field)) in projection.expr.into_iter().zip(projection.schema.iter()) {
                    let bound = bind(expr, domain, &columns)?;
                    // an outer column that was selected keeps the name that it had here
                    let named = match &bound {
                        Expr::Column(column)
                            if column.name == *field.name() && column.relation.as_ref() == relation =>
                        {
                            bound
                        }
                        Expr::Alias(_) => bound,
                        _ => bound.alias_qualified(relation.cloned(), field.name()),
                    };
                    exprs.push(named);
                }
                exprs.extend(columns.iter().cloned().map(Expr::Column));
                let made = Projection::try_new(exprs, Arc::new(input))?;
                Ok((LogicalPlan::Projection(made), columns))
            }
            LogicalPlan::Filter(filter) => {
                let (input, columns) = self.push(filter.input.as_ref().clone(), domain)?;
                Ok((filtered(input, bind(filter.predicate, domain, &columns)?)?, columns))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, columns) = self.push(alias.input.as_ref().clone(), domain)?;
                let made = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                let moved =
                    columns.into_iter().map(|column| Column::new(Some(alias.alias.clone()), column.name));
                Ok((LogicalPlan::SubqueryAlias(made), moved.collect()))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, domain),
            LogicalPlan::Window(window) => {
                let (input, columns) = self.push(window.input.as_ref().clone(), domain)?;
                let keys: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
                let mut exprs = Vec::new();
                for expr in window.window_expr {
                    exprs.push(match bind(expr, domain, &columns)? {
                        Expr::WindowFunction(mut function) => {
                            function.params.partition_by.extend(keys.iter().cloned());
                            Expr::WindowFunction(Box::new(WindowFunction { ..*function }))
                        }
                        other => other,
                    });
                }
                let names: Vec<String> = exprs.iter().map(|expr| expr.schema_name().to_string()).collect();
                let made = LogicalPlanBuilder::window_plan(input.clone(), exprs)?;
                let kept = input.schema().columns();
                let functions = window.schema.iter().skip(window.schema.fields().len() - names.len());
                let out = kept.into_iter().map(Expr::Column).chain(names.iter().zip(functions).map(
                    |(name, (relation, field))| {
                        Expr::Column(Column::from_name(name)).alias_qualified(relation.cloned(), field.name())
                    },
                ));
                Ok((LogicalPlanBuilder::from(made).project(out)?.build()?, columns))
            }
            LogicalPlan::Sort(sort) => {
                let rows = sort.fetch;
                if let Some(rows) = rows {
                    let plain = LogicalPlan::Sort(Sort { fetch: None, ..sort });
                    let fetch = i64::try_from(rows).unwrap_or(i64::MAX);
                    return self.limit(&plain, None, Some(lit(fetch)), domain);
                }
                // the order of a nested query's rows matters only below a limit
                self.push(sort.input.as_ref().clone(), domain)
            }
            LogicalPlan::Limit(Limit { skip, fetch, input }) => {
                self.limit(&input, skip.map(|skip| *skip), fetch.map(|fetch| *fetch), domain)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let (input, columns) = self.push(input.as_ref().clone(), domain)?;
                Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(input))), columns))
            }
            LogicalPlan::Distinct(Distinct::On(on)) => self.distinct_on(on, domain),
            LogicalPlan::Union(union) => {
                let mut all: Option<LogicalPlanBuilder> = None;
                let mut names = Vec::new();
                for input in &union.inputs {
                    let own = columns_of(input.schema());
                    let (pushed, columns) = self.push(input.as_ref().clone(), domain)?;
                    let own = own
                        .into_iter()
                        .zip(union.schema.iter())
                        .map(|(expr, (_, field))| expr.alias(field.name()));
                    if names.is_empty() {
                        names = columns.iter().map(|_| self.fresh("u")).collect();
                    }
                    let keys = columns
                        .into_iter()
                        .zip(&names)
                        .map(|(column, name)| Expr::Column(column).alias(name));
                    let side = LogicalPlanBuilder::from(pushed).project(own.chain(keys))?.build()?;
                    all = Some(match all {
                        None => LogicalPlanBuilder::from(side),
                        Some(all) => all.union(side)?,
                    });
                }
                let Some(all) = all else { return Err(unsupported("this query", "write it without UNION")) };
                let out = union.schema.iter().map(|(relation, field)| {
                    Expr::Column(Column::from_name(field.name()))
                        .alias_qualified(relation.cloned(), field.name())
                });
                let keys: Vec<Column> = names.into_iter().map(Column::from_name).collect();
                let made = all.project(out.chain(keys.iter().cloned().map(Expr::Column)))?.build()?;
                Ok((made, keys))
            }
            LogicalPlan::Join(join) => self.join(join, domain),
            LogicalPlan::Unnest(unnest) => {
                let (input, columns) = self.push(unnest.input.as_ref().clone(), domain)?;
                let made = LogicalPlanBuilder::from(input)
                    .unnest_columns_with_options(unnest.exec_columns, unnest.options)?
                    .build()?;
                Ok((made, columns))
            }
            LogicalPlan::Values(values) => {
                let mut all: Option<LogicalPlanBuilder> = None;
                let mut keys = Vec::new();
                let names: Vec<String> = domain.columns.iter().map(|_| self.fresh("v")).collect();
                for row in values.values {
                    let (input, columns) = self.copy(domain)?;
                    let mut exprs = Vec::new();
                    for (expr, field) in row.into_iter().zip(values.schema.fields()) {
                        exprs.push(bind(expr, domain, &columns)?.alias(field.name()));
                    }
                    exprs.extend(
                        columns
                            .into_iter()
                            .zip(&names)
                            .map(|(column, name)| Expr::Column(column).alias(name)),
                    );
                    let row = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
                    all = Some(match all {
                        None => LogicalPlanBuilder::from(row),
                        Some(all) => all.union(row)?,
                    });
                    keys = names.iter().map(Column::from_name).collect();
                }
                match all {
                    Some(all) => Ok((all.build()?, keys)),
                    None => Err(unsupported("VALUES without rows", "give it one")),
                }
            }
            LogicalPlan::Subquery(query) => self.push(query.subquery.as_ref().clone(), domain),
            LogicalPlan::RecursiveQuery(_) => Err(unsupported(
                "a recursive query that uses columns from outside",
                "join with the recursive query instead",
            )),
            _ => Err(unsupported("a nested query of this form", "join with it instead")),
        }
    }

    /// A copy of the domain under new names.
    fn copy(&mut self, domain: &Domain) -> Pushed {
        self.renamed(domain.plan.clone(), &domain.columns, &[])
    }

    fn aggregate(&mut self, aggregate: Aggregate, domain: &Domain) -> Pushed {
        let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
        if group_expr.iter().any(|expr| {
            matches!(
                expr,
                Expr::GroupingSet(
                    GroupingSet::Rollup(_) | GroupingSet::Cube(_) | GroupingSet::GroupingSets(_)
                )
            )
        }) {
            return Err(unsupported(
                "GROUPING SETS in a query that uses columns from outside",
                "group in a common table expression and join with it",
            ));
        }
        let (input, columns) = self.push(input.as_ref().clone(), domain)?;
        let keys: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        let old_names: Vec<_> =
            schema.iter().map(|(relation, field)| (relation.cloned(), field.name().clone())).collect();
        let groups = group_expr
            .iter()
            .cloned()
            .map(|expr| bind(expr, domain, &columns))
            .collect::<Result<Vec<_>>>()?;
        let aggregates =
            aggr_expr.iter().cloned().map(|expr| bind(expr, domain, &columns)).collect::<Result<Vec<_>>>()?;
        let whole = groups.is_empty();
        let marker = self.fresh("n");
        let mut all = aggregates.clone();
        if whole {
            all.push(count(lit(1_i64)).alias(&marker));
        }
        let grouped = LogicalPlanBuilder::from(input)
            .aggregate(groups.iter().cloned().chain(keys.iter().cloned()), all)?
            .build()?;
        let name_of = |expr: &Expr| match expr {
            Expr::Column(column) => Expr::Column(column.clone()),
            other => Expr::Column(Column::from_name(other.schema_name().to_string())),
        };
        if !whole {
            let out = groups.iter().chain(&aggregates).zip(&old_names).map(|(expr, (relation, name))| {
                let column = name_of(expr);
                let same = matches!(&column, Expr::Column(c) if c.relation == *relation && c.name == *name);
                if same { column } else { column.alias_qualified(relation.clone(), name) }
            });
            let made = LogicalPlanBuilder::from(grouped).project(out.chain(keys))?.build()?;
            return Ok((made, columns));
        }
        // one row for every value of the domain, also where there is nothing to aggregate
        let (values, value_keys) = self.copy(domain)?;
        let joined = null_safe(values, grouped, JoinType::Left, &value_keys, &columns, None)?;
        let empty = Expr::Column(Column::from_name(&marker)).is_null();
        let mut out = Vec::new();
        for ((expr, (relation, name)), original) in aggregates.iter().zip(&old_names).zip(&aggr_expr) {
            let column = name_of(expr);
            let value = match default_of(original, joined.schema())? {
                Some(default) if !default.is_null() => when(empty.clone(), lit(default)).otherwise(column)?,
                _ => column,
            };
            out.push(value.alias_qualified(relation.clone(), name));
        }
        out.extend(value_keys.iter().cloned().map(Expr::Column));
        Ok((LogicalPlanBuilder::from(joined).project(out)?.build()?, value_keys))
    }

    /// So many rows for each value of the domain.
    fn limit(
        &mut self,
        input: &LogicalPlan,
        skip: Option<Expr>,
        fetch: Option<Expr>,
        domain: &Domain,
    ) -> Pushed {
        let boxed = |expr: &Option<Expr>| expr.clone().map(Box::new);
        let below = |input: &Arc<LogicalPlan>| {
            LogicalPlan::Limit(Limit { skip: boxed(&skip), fetch: boxed(&fetch), input: input.clone() })
        };
        // a limit and what changes neither the rows' number nor their order can change places
        match input {
            LogicalPlan::Projection(projection)
                if !projection.expr.iter().any(|expr| matches!(expr, Expr::Unnest(_))) =>
            {
                let moved = LogicalPlan::Projection(Projection::try_new_with_schema(
                    projection.expr.clone(),
                    Arc::new(below(&projection.input)),
                    projection.schema.clone(),
                )?);
                return self.push_even_if_plain(moved, domain);
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let moved = SubqueryAlias::try_new(Arc::new(below(&alias.input)), alias.alias.clone())?;
                return self.push_even_if_plain(LogicalPlan::SubqueryAlias(moved), domain);
            }
            _ => {}
        }
        let (order, rows) = match input {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.expr.clone(), sort.input.as_ref()),
            other => (Vec::new(), other),
        };
        let out = columns_of(rows.schema());
        let (pushed, columns) = self.push(rows.clone(), domain)?;
        let mut keys = Vec::new();
        for mut key in order {
            key.expr = bind(key.expr, domain, &columns)?;
            keys.push(key);
        }
        let partition: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        let (numbers, number) = numbered(pushed, partition, keys)?;
        let whole = |expr: Expr| datafusion::logical_expr::cast(expr, arrow::datatypes::DataType::Int64);
        let number = whole(Expr::Column(number));
        let skip = match skip {
            Some(skip) => whole(bind(skip, domain, &columns)?),
            None => lit(0_i64),
        };
        let mut condition = number.clone().gt(skip.clone());
        if let Some(fetch) = fetch {
            let fetch = whole(bind(fetch, domain, &columns)?);
            condition = condition.and(number.lt_eq(skip + fetch));
        }
        let made = filtered(numbers, condition)?;
        let out = out.into_iter().chain(columns.iter().cloned().map(Expr::Column));
        Ok((LogicalPlanBuilder::from(made).project(out)?.build()?, columns))
    }

    fn push_even_if_plain(&mut self, plan: LogicalPlan, domain: &Domain) -> Pushed {
        self.push(plan, domain)
    }

    fn distinct_on(&mut self, on: DistinctOn, domain: &Domain) -> Pushed {
        let (input, columns) = self.push(on.input.as_ref().clone(), domain)?;
        let keys: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        let all = |exprs: Vec<Expr>| {
            exprs
                .into_iter()
                .map(|expr| bind(expr, domain, &columns))
                .chain(keys.iter().cloned().map(Ok))
                .collect::<Result<Vec<_>>>()
        };
        let sort = match on.sort_expr {
            None => None,
            Some(sort) => {
                let mut bound: Vec<_> = keys.iter().map(|key| key.clone().sort(true, false)).collect();
                for mut key in sort {
                    key.expr = bind(key.expr, domain, &columns)?;
                    bound.push(key);
                }
                Some(bound)
            }
        };
        let mut on_exprs = keys.clone();
        for expr in on.on_expr {
            on_exprs.push(bind(expr, domain, &columns)?);
        }
        let select = all(on.select_expr)?;
        let made = DistinctOn::try_new(on_exprs, select, sort, Arc::new(input))?;
        let schema = made.schema.clone();
        let at = schema.fields().len() - columns.len();
        let columns = schema.columns().into_iter().skip(at).collect();
        Ok((LogicalPlan::Distinct(Distinct::On(made)), columns))
    }
}

/// What an aggregate says of no rows.
fn default_of(expr: &Expr, schema: &datafusion::common::DFSchema) -> Result<Option<ScalarValue>> {
    match expr {
        Expr::Alias(alias) => default_of(&alias.expr, schema),
        Expr::AggregateFunction(function) => {
            let data_type = Expr::Column(Column::from_name(expr.schema_name().to_string())).get_type(schema);
            let data_type = match data_type {
                Ok(data_type) => data_type,
                Err(_) => arrow::datatypes::DataType::Int64,
            };
            Ok(Some(function.func.default_value(&data_type)?))
        }
        _ => Ok(None),
    }
}

/// Does a plan use a column of the domain?
fn uses(plan: &LogicalPlan, domain: &Domain) -> Result<bool> {
    plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| {
                Ok(matches!(expr, Expr::OuterReferenceColumn(_, column) if domain.outer.contains(column)))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    })
}

/// An expression with the domain's columns in place of the outer ones.
fn bind(expr: Expr, domain: &Domain, columns: &[Column]) -> Result<Expr> {
    let bound = expr.transform_up(|expr| {
        if let Expr::OuterReferenceColumn(_, column) = &expr
            && let Some(at) = domain.outer.iter().position(|outer| outer == column)
            && let Some(column) = columns.get(at)
        {
            return Ok(Transformed::yes(Expr::Column(column.clone())));
        }
        Ok(Transformed::no(expr))
    })?;
    Ok(bound.data)
}
