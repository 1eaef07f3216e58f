//! Queries inside expressions and LATERAL joins, as joins. DataFusion does so itself for the common shapes; this is for all others: any
//! depth, any condition, LIMIT, windows, set operations, EXISTS and IN anywhere with SQL's three truth values.
//!
//! The method is that of Neumann and Kemper ("Unnesting Arbitrary Queries"): the distinct values of the outer columns that a query uses are
//! its *domain*; the query is computed for the whole domain at once ([`push`]), and its result is joined back ([`attach`]).

mod attach;
mod push;

use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, NullEquality, Result};
use datafusion::logical_expr::logical_plan::check_subquery_expr;
use datafusion::logical_expr::{
    Distinct, Expr, Filter, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use crate::problems::wrap;

/// Joins instead of nested queries, wherever DataFusion does not make them itself.
pub fn unnest(plan: LogicalPlan) -> Result<LogicalPlan> {
    let nested = plan.exists(|node| Ok(has_query(node) || lateral(node).is_some()))?;
    if !nested {
        return Ok(plan);
    }
    Unnest::default().visit(plan)
}

/// Counts names.
#[derive(Default)]
struct Unnest {
    count: usize,
}

/// The outer columns that a query uses, as a plan of their distinct values.
struct Domain {
    plan: LogicalPlan,
    outer: Vec<Column>,
    columns: Vec<Column>,
}

impl Unnest {
    /// From the inside out.
    fn visit(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = plan.map_children(|child| self.visit(child).map(Transformed::yes))?.data;
        let plan = plan.map_expressions(|expr| expr.transform_up(|expr| self.inside(expr)))?.data;
        if let Some(query) = lateral(&plan).cloned() {
            return self.lateral_join(plan, &query);
        }
        if !has_query(&plan) || native(&plan)? {
            return Ok(plan);
        }
        self.attach_all(plan)
    }

    /// The query of an expression, visited.
    fn inside(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let mut visited = |plan: &Arc<LogicalPlan>| self.visit(plan.as_ref().clone()).map(Arc::new);
        Ok(match expr {
            Expr::ScalarSubquery(mut query) => {
                query.subquery = visited(&query.subquery)?;
                query.outer_ref_columns = outer_exprs(&query.subquery)?;
                Transformed::yes(Expr::ScalarSubquery(query))
            }
            Expr::Exists(mut exists) => {
                exists.subquery.subquery = visited(&exists.subquery.subquery)?;
                exists.subquery.outer_ref_columns = outer_exprs(&exists.subquery.subquery)?;
                Transformed::yes(Expr::Exists(exists))
            }
            Expr::InSubquery(mut within) => {
                within.subquery.subquery = visited(&within.subquery.subquery)?;
                within.subquery.outer_ref_columns = outer_exprs(&within.subquery.subquery)?;
                Transformed::yes(Expr::InSubquery(within))
            }
            Expr::SetComparison(mut comparison) => {
                comparison.subquery.subquery = visited(&comparison.subquery.subquery)?;
                comparison.subquery.outer_ref_columns = outer_exprs(&comparison.subquery.subquery)?;
                Transformed::yes(Expr::SetComparison(comparison))
            }
            other => Transformed::no(other),
        })
    }

    /// The domain of a query over an input: `None` if it uses none of its columns.
    fn domain(&mut self, input: &LogicalPlan, query: &LogicalPlan) -> Result<Option<Domain>> {
        let mut outer: Vec<Column> = Vec::new();
        for column in outer_columns(query)? {
            if input.schema().has_column(&column) && !outer.contains(&column) {
                outer.push(column);
            }
        }
        if outer.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> = outer.iter().map(|_| self.fresh("d")).collect();
        let exprs = outer.iter().zip(&names).map(|(column, name)| Expr::Column(column.clone()).alias(name));
        let values = Projection::try_new(exprs.collect(), Arc::new(input.clone()))?;
        let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(LogicalPlan::Projection(values))));
        let columns = names.into_iter().map(Column::from_name).collect();
        Ok(Some(Domain { plan, outer, columns }))
    }

    /// `FROM a, LATERAL (query)`
    fn lateral_join(&mut self, plan: LogicalPlan, query: &LogicalPlan) -> Result<LogicalPlan> {
        let LogicalPlan::Join(join) = &plan else { return Ok(plan) };
        let Some(domain) = self.domain(&join.left, query)? else {
            let LogicalPlan::Join(mut join) = plan else { return Ok(plan) };
            join.right = Arc::new(bare(join.right.as_ref().clone())?);
            return Ok(LogicalPlan::Join(join));
        };
        if DecorrelateLateralJoin::new()
            .rewrite(plan.clone(), &OptimizerContext::new())
            .is_ok_and(|made| made.transformed && is_flat(&made.data))
        {
            return Ok(plan);
        }
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return Err(unsupported(
                "LATERAL on the right of this kind of join",
                "use JOIN LATERAL or LEFT JOIN LATERAL",
            ));
        }
        let right = bare(join.right.as_ref().clone())?;
        let out: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        let (right, columns) = self.push(right, &domain)?;
        let on = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let filter = on.chain(join.filter.clone()).reduce(Expr::and);
        let joined =
            null_safe(join.left.as_ref().clone(), right, join.join_type, &domain.outer, &columns, filter)?;
        LogicalPlanBuilder::from(joined).project(out)?.build()
    }

    /// A column's name that nothing else has.
    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("__{what}{}_{}", self.count, unique())
    }
}

/// Tells the names of one plan from those of another that may become part of it.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Does DataFusion make a join of all queries in this node, with the right truth values?
fn native(plan: &LogicalPlan) -> Result<bool> {
    let mut fits = true;
    let mut correlated = false;
    for expr in plan.expressions() {
        let conjuncts = datafusion::logical_expr::utils::split_conjunction(&expr);
        for conjunct in conjuncts {
            let top = match conjunct {
                Expr::Not(inner) => inner.as_ref(),
                other => other,
            };
            conjunct.apply(|expr| {
                let query = match expr {
                    Expr::ScalarSubquery(query) => query,
                    Expr::Exists(exists) => {
                        fits &= matches!(plan, LogicalPlan::Filter(_));
                        correlated = true;
                        &exists.subquery
                    }
                    Expr::InSubquery(within) => {
                        fits &= matches!(plan, LogicalPlan::Filter(_)) && std::ptr::eq(expr, top);
                        correlated = true;
                        &within.subquery
                    }
                    Expr::SetComparison(_) => {
                        fits = false;
                        return Ok(TreeNodeRecursion::Stop);
                    }
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                let outer = outer_columns(&query.subquery)?;
                correlated |= !outer.is_empty();
                // one row for a value is checked by our aggregate; DataFusion wants to see it in the plan
                fits &= outer.is_empty() || check_subquery_expr(plan, &query.subquery, expr).is_ok();
                // references to queries further out are ours to resolve
                let known =
                    |column: &Column| plan.inputs().iter().any(|input| input.schema().has_column(column));
                fits &= outer.iter().all(known);
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
    }
    if !fits {
        return Ok(false);
    }
    if !correlated {
        return Ok(matches!(
            plan,
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::Sort(_)
        ));
    }
    let config = OptimizerContext::new();
    let rules: [&dyn OptimizerRule; 2] = [&DecorrelatePredicateSubquery::new(), &ScalarSubqueryToJoin::new()];
    let mut made = plan.clone();
    for rule in rules {
        // further down too: what was left nested in these queries was left because DataFusion makes joins of it
        match made.transform_down_with_subqueries(|node| rule.rewrite(node, &config)) {
            Ok(next) => made = next.data,
            Err(_) => return Ok(false),
        }
    }
    Ok(is_flat(&made))
}

/// Is nothing nested, and nothing refers outwards?
fn is_flat(plan: &LogicalPlan) -> bool {
    let nested = plan.exists(|node| {
        let mut found = matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expr| {
            found |= expr.exists(|expr| {
                let query = match expr {
                    Expr::ScalarSubquery(query) => !query.outer_ref_columns.is_empty(),
                    Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..) => true,
                    _ => false,
                };
                Ok(query)
            })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(found)
    });
    matches!(nested, Ok(false))
}

/// Is there a query in this node's own expressions?
fn has_query(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply_expressions(|expr| {
        found |= expr.exists(|expr| Ok(is_query(expr)))?;
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

/// The query of a LATERAL join.
fn lateral(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    let LogicalPlan::Join(join) = plan else { return None };
    let mut right = join.right.as_ref();
    loop {
        match right {
            LogicalPlan::Subquery(query) => return Some(&query.subquery),
            LogicalPlan::SubqueryAlias(alias) => right = &alias.input,
            LogicalPlan::Projection(projection) => right = &projection.input,
            _ => return None,
        }
    }
}

/// The plan without the mark of a LATERAL query.
fn bare(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Subquery(query) => Ok(query.subquery.as_ref().clone()),
        other => {
            let inner = other.map_children(|child| bare(child).map(Transformed::yes))?.data;
            inner.recompute_schema()
        }
    }
}

/// The columns of queries further out that a plan uses itself.
fn outer_columns(plan: &LogicalPlan) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    for expr in outer_exprs(plan)? {
        if let Expr::OuterReferenceColumn(_, column) = expr {
            found.push(column);
        }
    }
    Ok(found)
}

fn outer_exprs(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found: Vec<Expr> = Vec::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if matches!(expr, Expr::OuterReferenceColumn(..)) && !found.contains(expr) {
                    found.push(expr.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// A join on columns that are equal or both NULL, and a condition.
fn null_safe(
    left: LogicalPlan,
    right: LogicalPlan,
    join_type: JoinType,
    left_keys: &[Column],
    right_keys: &[Column],
    filter: Option<Expr>,
) -> Result<LogicalPlan> {
    let nullable = |schema: &DFSchema, keys: &[Column]| {
        keys.iter()
            .any(|key| schema.qualified_field_from_column(key).map_or(true, |(_, field)| field.is_nullable()))
    };
    let equality = if nullable(left.schema(), left_keys) || nullable(right.schema(), right_keys) {
        NullEquality::NullEqualsNull
    } else {
        NullEquality::NullEqualsNothing
    };
    let keys = (left_keys.to_vec(), right_keys.to_vec());
    LogicalPlanBuilder::from(left).join_detailed(right, join_type, keys, filter, equality)?.build()
}

fn columns_of(schema: &DFSchemaRef) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

fn filtered(plan: LogicalPlan, condition: Expr) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?))
}

fn unsupported(what: &str, hint: &str) -> datafusion::error::DataFusionError {
    wrap(Problem::new(Ename::Unsupported, format!("{what} is not supported")).hint(hint))
}
