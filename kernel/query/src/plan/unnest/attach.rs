//! The results of nested queries, as columns of the input of the node that uses them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, Result};
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, not, when,
};

use super::{Unnest, columns_of, filtered, has_query, is_query, null_safe, outer_exprs, unsupported};
use crate::functions;

impl Unnest {
    /// A node whose expressions hold queries, over an input that has their results.
    pub(super) fn attach_all(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if let LogicalPlan::Join(join) = plan {
            return self.attach_to_join(join);
        }
        let [input] = plan.inputs()[..] else {
            return Err(unsupported("a query here", "put it into a common table expression: WITH a AS (…)"));
        };
        let before = plan.schema().clone();
        let mut input = input.clone();
        if let LogicalPlan::Filter(filter) = &plan {
            // fewer rows have fewer different values to compute a query for
            let conditions = split_conjunction_owned(filter.predicate.clone());
            let (nested, plain): (Vec<Expr>, Vec<Expr>) = conditions
                .into_iter()
                .partition(|expr| expr.exists(|expr| Ok(is_query(expr))).unwrap_or(true));
            if let (Some(nested), Some(plain)) =
                (nested.into_iter().reduce(Expr::and), plain.into_iter().reduce(Expr::and))
            {
                return self.attach_all(filtered(filtered(input, plain)?, nested)?);
            }
        }
        let mut exprs = Vec::new();
        for expr in plan.expressions() {
            exprs.push(self.replaced(expr, &mut input)?);
        }
        // names that nodes above use
        let exprs = match &plan {
            LogicalPlan::Projection(_) => {
                let named =
                    exprs.into_iter().zip(before.iter()).map(|(expr, (relation, field))| match expr {
                        Expr::Column(column)
                            if column.name == *field.name() && column.relation.as_ref() == relation =>
                        {
                            Expr::Column(column)
                        }
                        other => other.unalias().alias_qualified(relation.cloned(), field.name()),
                    });
                named.collect()
            }
            _ => exprs,
        };
        let made = plan.with_new_exprs(exprs, vec![input])?;
        match &made {
            LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
                LogicalPlanBuilder::from(made).project(columns_of(&before))?.build()
            }
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                // what holds a query has another name now
                let start = made.schema().fields().len() - before.fields().len();
                let renamed = made.schema().columns().into_iter().skip(start).zip(before.iter()).map(
                    |(column, (relation, field))| {
                        let same = column.relation.as_ref() == relation && column.name == *field.name();
                        let expr = Expr::Column(column);
                        if same { expr } else { expr.alias_qualified(relation.cloned(), field.name()) }
                    },
                );
                let renamed: Vec<Expr> = match &made {
                    LogicalPlan::Window(_) => self.window_columns(&made, &before)?,
                    _ => renamed.collect(),
                };
                LogicalPlanBuilder::from(made).project(renamed)?.build()
            }
            _ => Ok(made),
        }
    }

    /// A window's output without the columns that were attached below it.
    fn window_columns(&self, made: &LogicalPlan, before: &datafusion::common::DFSchema) -> Result<Vec<Expr>> {
        let LogicalPlan::Window(window) = made else { return Ok(Vec::new()) };
        let old_input = before.fields().len() - window.window_expr.len();
        let new: Vec<Column> = made.schema().columns();
        let functions = new.iter().skip(new.len() - window.window_expr.len());
        let old = before.columns();
        let mut exprs: Vec<Expr> = old.iter().take(old_input).cloned().map(Expr::Column).collect();
        for (column, (relation, field)) in functions.zip(before.iter().skip(old_input)) {
            exprs.push(Expr::Column(column.clone()).alias_qualified(relation.cloned(), field.name()));
        }
        Ok(exprs)
    }

    /// A join whose condition holds queries: above an inner join it is a filter; else one side must have all columns.
    fn attach_to_join(&mut self, join: Join) -> Result<LogicalPlan> {
        let out = columns_of(&join.schema);
        if join.join_type == JoinType::Inner {
            let on = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
            let conditions: Vec<Expr> = on.chain(join.filter.clone()).collect();
            let (nested, plain): (Vec<Expr>, Vec<Expr>) = conditions
                .into_iter()
                .flat_map(split_conjunction_owned)
                .partition(|expr| expr.exists(|expr| Ok(is_query(expr))).unwrap_or(true));
            let joined = LogicalPlanBuilder::from(join.left.as_ref().clone())
                .join_on(join.right.as_ref().clone(), JoinType::Inner, plain)?
                .build()?;
            let Some(condition) = nested.into_iter().reduce(Expr::and) else { return Ok(joined) };
            let filter = filtered(joined, condition)?;
            return if super::native(&filter)? { Ok(filter) } else { self.attach_all(filter) };
        }
        let (mut left, mut right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
        let Some(filter) = &join.filter else {
            return Err(unsupported("a query in this join's keys", "compute it in a subquery first"));
        };
        let filter = filter
            .clone()
            .transform_up(|expr| {
                if !is_query(&expr) {
                    return Ok(Transformed::no(expr));
                }
                let used = used_columns(&expr)?;
                let of = |plan: &LogicalPlan| used.iter().all(|column| plan.schema().has_column(column));
                let side = if of(&left) {
                    &mut left
                } else if of(&right) {
                    &mut right
                } else {
                    return Err(unsupported(
                        "a query over both sides in the condition of an outer join",
                        "join first, then filter",
                    ));
                };
                let (plan, made) = self.attach(side.clone(), expr)?;
                *side = plan;
                Ok(Transformed::yes(made))
            })?
            .data;
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = join.on.into_iter().unzip();
        let keys = left_keys.into_iter().zip(right_keys).map(|(left, right)| left.eq(right));
        let joined = LogicalPlanBuilder::from(left).join_on(right, join.join_type, keys.chain([filter]))?;
        joined.project(out)?.build()
    }

    /// An expression with columns in place of its queries; the input gets them.
    fn replaced(&mut self, expr: Expr, input: &mut LogicalPlan) -> Result<Expr> {
        let made = expr.transform_up(|expr| {
            if !is_query(&expr) {
                return Ok(Transformed::no(expr));
            }
            let (plan, made) = self.attach(input.clone(), expr)?;
            *input = plan;
            Ok(Transformed::yes(made))
        })?;
        Ok(made.data)
    }

    /// One query's result as a column; the expression that stands for it.
    fn attach(&mut self, input: LogicalPlan, expr: Expr) -> Result<(LogicalPlan, Expr)> {
        match expr {
            Expr::ScalarSubquery(query) => self.scalar(input, &query),
            Expr::Exists(Exists { subquery, negated }) => {
                let (plan, found) = self.exists(input, &subquery.subquery)?;
                Ok((plan, if negated { not(found) } else { found }))
            }
            Expr::InSubquery(within) => self.within(input, within),
            Expr::SetComparison(comparison) => self.compared(input, comparison),
            other => Ok((input, other)),
        }
    }

    fn scalar(&mut self, input: LogicalPlan, query: &Subquery) -> Result<(LogicalPlan, Expr)> {
        let name = self.fresh("value");
        let result = Expr::Column(Column::from_name(&name));
        let plan = query.subquery.as_ref();
        let Some(domain) = self.domain(&input, plan)? else {
            let value = single_column(plan)?;
            let one = functions::aggregate("__single_value", vec![value])?.alias(&name);
            let single =
                LogicalPlanBuilder::from(plan.clone()).aggregate(Vec::<Expr>::new(), vec![one])?.build()?;
            let joined = LogicalPlanBuilder::from(input).cross_join(single)?.build()?;
            return Ok((joined, result));
        };
        let value = single_column(plan)?;
        let (pushed, keys) = self.push(plan.clone(), &domain)?;
        let one = functions::aggregate("__single_value", vec![value])?.alias(&name);
        let groups: Vec<Expr> = keys.iter().cloned().map(Expr::Column).collect();
        let single = LogicalPlanBuilder::from(pushed).aggregate(groups, vec![one])?.build()?;
        let (single, keys) = self.renamed(single, &keys, &[Column::from_name(&name)])?;
        let joined = null_safe(input, single, JoinType::Left, &domain.outer, &keys, None)?;
        Ok((joined, result))
    }

    /// Is there a row? Never NULL.
    fn exists(&mut self, input: LogicalPlan, query: &LogicalPlan) -> Result<(LogicalPlan, Expr)> {
        let name = self.fresh("found");
        let column = Expr::Column(Column::from_name(&name));
        let Some(domain) = self.domain(&input, query)? else {
            let any = LogicalPlanBuilder::from(query.clone())
                .limit(0, Some(1))?
                .aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64)).alias(&name)])?
                .build()?;
            let joined = LogicalPlanBuilder::from(input).cross_join(any)?.build()?;
            return Ok((joined, column.gt(lit(0_i64))));
        };
        let (pushed, keys) = self.push(query.clone(), &domain)?;
        let (rows, keys) = self.distinct(pushed, &keys, &[])?;
        let marked = keys.iter().cloned().map(Expr::Column).chain([lit(true).alias(&name)]);
        let marked = LogicalPlanBuilder::from(rows).project(marked)?.build()?;
        let joined = null_safe(input, marked, JoinType::Left, &domain.outer, &keys, None)?;
        Ok((joined, column.is_not_null()))
    }

    /// `x IN (query)`: true, or NULL if a NULL may be equal, or false.
    fn within(&mut self, input: LogicalPlan, within: InSubquery) -> Result<(LogicalPlan, Expr)> {
        let InSubquery { expr, subquery, negated } = within;
        let query = subquery.subquery.as_ref();
        let value = single_column(query)?;
        let (found, rows, present) = (self.fresh("match"), self.fresh("rows"), self.fresh("present"));
        let counts =
            |value: &Expr| vec![count(lit(1_i64)).alias(&rows), count(value.clone()).alias(&present)];
        let domain = self.domain(&input, query)?;
        let plan = match &domain {
            None => {
                let (values, _, one) = self.distinct_values(query.clone(), &[], &value)?;
                let marked = LogicalPlanBuilder::from(values)
                    .project([Expr::Column(one.clone()), lit(true).alias(&found)])?
                    .build()?;
                let matched = LogicalPlanBuilder::from(input)
                    .join_on(marked, JoinType::Left, [expr.as_ref().clone().eq(Expr::Column(one))])?
                    .build()?;
                let counted = LogicalPlanBuilder::from(query.clone())
                    .aggregate(Vec::<Expr>::new(), counts(&value))?
                    .build()?;
                LogicalPlanBuilder::from(matched).cross_join(counted)?.build()?
            }
            Some(domain) => {
                let (pushed, keys) = self.push(query.clone(), domain)?;
                let (values, value_keys, one) = self.distinct_values(pushed.clone(), &keys, &value)?;
                let marked = value_keys.iter().cloned().chain([one.clone()]).map(Expr::Column);
                let marked = LogicalPlanBuilder::from(values)
                    .project(marked.chain([lit(true).alias(&found)]))?
                    .build()?;
                let same = expr.as_ref().clone().eq(Expr::Column(one));
                let matched =
                    null_safe(input, marked, JoinType::Left, &domain.outer, &value_keys, Some(same))?;
                let groups: Vec<Expr> = keys.iter().cloned().map(Expr::Column).collect();
                let counted = LogicalPlanBuilder::from(pushed).aggregate(groups, counts(&value))?.build()?;
                let figures = [Column::from_name(&rows), Column::from_name(&present)];
                let (counted, keys) = self.renamed(counted, &keys, &figures)?;
                null_safe(matched, counted, JoinType::Left, &domain.outer, &keys, None)?
            }
        };
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let none = column(&rows).is_null().or(column(&rows).eq(lit(0_i64)));
        let unsure = expr.as_ref().clone().is_null().or(column(&present).lt(column(&rows)));
        let null = lit(datafusion::common::ScalarValue::Boolean(None));
        let answer = when(column(&found).is_not_null(), lit(true))
            .when(none, lit(false))
            .when(unsure, null)
            .otherwise(lit(false))?;
        Ok((plan, if negated { not(answer) } else { answer }))
    }

    /// `x > ANY (query)`, `x > ALL (query)`: by whether rows exist.
    fn compared(&mut self, input: LogicalPlan, comparison: SetComparison) -> Result<(LogicalPlan, Expr)> {
        let SetComparison { expr, subquery, op, quantifier } = comparison;
        let query = subquery.subquery.as_ref();
        let value = single_column(query)?;
        // the left side stands inside the query now
        let left = expr.as_ref().clone().transform_up(|expr| match &expr {
            Expr::Column(column) => {
                let (_, field) = input.schema().qualified_field_from_column(column)?;
                let field = field.clone();
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column.clone())))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        let compared = binary_expr(left.data, op, value);
        let rows = |condition: Expr| filtered(query.clone(), condition);
        let all = quantifier == SetQuantifier::All;
        let deciding = if all {
            Expr::IsFalse(Box::new(compared.clone()))
        } else {
            Expr::IsTrue(Box::new(compared.clone()))
        };
        let (plan, decided) = self.exists(input, &rows(deciding)?)?;
        let (plan, unsure) = self.exists(plan, &rows(Expr::IsUnknown(Box::new(compared)))?)?;
        let null = lit(datafusion::common::ScalarValue::Boolean(None));
        let answer = when(decided, lit(!all)).when(unsure, null).otherwise(lit(all))?;
        debug_assert!(matches!(
            op,
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        ));
        Ok((plan, answer))
    }

    /// Distinct keys and values, under names of their own.
    fn distinct_values(
        &mut self,
        plan: LogicalPlan,
        keys: &[Column],
        value: &Expr,
    ) -> Result<(LogicalPlan, Vec<Column>, Column)> {
        let Expr::Column(value) = value else { return Err(unsupported("this query", "name its column")) };
        let (plan, mut columns) = self.distinct(plan, keys, std::slice::from_ref(value))?;
        let one = columns.pop().unwrap_or_else(|| value.clone());
        Ok((plan, columns, one))
    }

    fn distinct(
        &mut self,
        plan: LogicalPlan,
        keys: &[Column],
        more: &[Column],
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        let names: Vec<String> = keys.iter().chain(more).map(|_| self.fresh("k")).collect();
        let exprs =
            keys.iter().chain(more).zip(&names).map(|(key, name)| Expr::Column(key.clone()).alias(name));
        let projected = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        let columns = names.into_iter().map(Column::from_name).collect();
        Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(projected))), columns))
    }

    /// Keys under new names, so that nothing in the plan that is joined has the same; other columns as they are.
    pub(super) fn renamed(
        &mut self,
        plan: LogicalPlan,
        keys: &[Column],
        more: &[Column],
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        let names: Vec<String> = keys.iter().map(|_| self.fresh("k")).collect();
        let renamed = keys.iter().zip(&names).map(|(key, name)| Expr::Column(key.clone()).alias(name));
        let exprs: Vec<Expr> = renamed.chain(more.iter().cloned().map(Expr::Column)).collect();
        let plan = LogicalPlanBuilder::from(plan).project(exprs)?.build()?;
        Ok((plan, names.into_iter().map(Column::from_name).collect()))
    }
}

/// The one column of a query that is used as a value.
fn single_column(query: &LogicalPlan) -> Result<Expr> {
    match query.schema().columns().as_slice() {
        [one] => Ok(Expr::Column(one.clone())),
        _ => Err(unsupported("a query of several columns as one value", "select one column")),
    }
}

/// The columns of the input that a nested query uses, and the value that it is compared with.
fn used_columns(expr: &Expr) -> Result<Vec<Column>> {
    let query = match expr {
        Expr::ScalarSubquery(query) => query,
        Expr::Exists(exists) => &exists.subquery,
        Expr::InSubquery(within) => &within.subquery,
        Expr::SetComparison(comparison) => &comparison.subquery,
        _ => return Ok(Vec::new()),
    };
    let mut columns: Vec<Column> = outer_exprs(&query.subquery)?
        .into_iter()
        .filter_map(|expr| match expr {
            Expr::OuterReferenceColumn(_, column) => Some(column),
            _ => None,
        })
        .collect();
    match expr {
        Expr::InSubquery(within) => columns.extend(within.expr.column_refs().into_iter().cloned()),
        Expr::SetComparison(comparison) => columns.extend(comparison.expr.column_refs().into_iter().cloned()),
        _ => {}
    }
    debug_assert!(!has_query(&LogicalPlan::default()));
    Ok(columns)
}
