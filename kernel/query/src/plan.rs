//! Rewrites of a query's plan, between the planner and DataFusion's optimizer: what has types and columns by now, and what DataFusion's own
//! rules leave undone.

pub mod asof;
pub mod dates;
pub mod exclude;
pub mod floats;
pub mod groups;
pub mod limits;
pub mod sample;
pub mod unnest;
pub mod values;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Rewrites a plan and the queries inside its expressions.
pub fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = marks(plan)?;
    floats::rewrite(unnest::unnest(plan)?)
}

/// What the syntax tree's rewrite marked for the plan.
fn marks(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let before = node.schema().clone();
        let node = asof::rewrite(node)?;
        let node = node.transform_data(sample::rewrite)?;
        let node = node.transform_data(limits::rewrite)?;
        let node = node.transform_data(exclude::rewrite)?;
        let node = node.transform_data(groups::rewrite)?;
        if node.transformed && node.data.schema() != &before {
            return Ok(Transformed::yes(node.data));
        }
        Ok(node)
    })?;
    Ok(plan.data)
}

/// The call of a function of ours, if an expression is one.
pub(crate) fn call_of<'a>(expr: &'a Expr, name: &str) -> Option<&'a [Expr]> {
    match expr {
        Expr::ScalarFunction(function) if function.func.name() == name => Some(&function.args),
        Expr::Alias(alias) => call_of(&alias.expr, name),
        _ => None,
    }
}
