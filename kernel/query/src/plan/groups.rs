//! Grouping sets of computed keys: the keys are computed below, so that what changes an expression later changes it in one place only.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Projection};

/// Moves computed keys of ROLLUP, CUBE and GROUPING SETS below the aggregation.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
    let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() else { return Ok(Transformed::no(plan)) };
    let computed: Vec<Expr> =
        sets.distinct_expr().into_iter().filter(|key| !matches!(key, Expr::Column(_))).cloned().collect();
    if computed.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let column = |key: &Expr| Expr::Column(Column::from_name(key.schema_name().to_string()));
    let named = |expr: Expr| if computed.contains(&expr) { column(&expr) } else { expr };
    let all = |keys: &Vec<Expr>| keys.iter().cloned().map(named).collect::<Vec<_>>();
    let sets = match sets {
        GroupingSet::Rollup(keys) => GroupingSet::Rollup(all(keys)),
        GroupingSet::Cube(keys) => GroupingSet::Cube(all(keys)),
        GroupingSet::GroupingSets(sets) => GroupingSet::GroupingSets(sets.iter().map(all).collect()),
    };
    // grouping(key) names the key too; other aggregates may go on computing it
    let names = NamePreserver::new(&plan);
    let figures = aggregate.aggr_expr.iter().cloned().map(|figure| {
        let name = names.save(&figure);
        let made = figure.transform_up(|expr| match expr {
            Expr::AggregateFunction(mut call) if call.func.name() == "grouping" => {
                call.params.args = call.params.args.into_iter().map(named).collect();
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(name.restore(made.data))
    });
    let figures = figures.collect::<Result<Vec<_>>>()?;
    let kept = aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let keys = computed.iter().map(|key| key.clone().alias(key.schema_name().to_string()));
    let input = Projection::try_new(kept.chain(keys).collect(), aggregate.input.clone())?;
    let input = Arc::new(LogicalPlan::Projection(input));
    let made = Aggregate::try_new(input, vec![Expr::GroupingSet(sets)], figures)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(made)))
}
