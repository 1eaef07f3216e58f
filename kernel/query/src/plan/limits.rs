//! Limits that are no plain numbers: `LIMIT 10%`, `FETCH FIRST 3 ROWS WITH TIES`, `LIMIT (SELECT …)`. Rows are counted by a window.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_window::rank::rank_udwf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, SortExpr, WindowFrame,
    WindowFunctionDefinition, cast, lit,
};
use datafusion::prelude::Column;

use crate::functions;

pub(super) fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Limit(limit) = plan else { return Ok(Transformed::no(plan)) };
    let odd = |expr: &Option<Box<Expr>>| expr.as_ref().is_some_and(|expr| is_odd(expr));
    if !odd(&limit.fetch) && !odd(&limit.skip) {
        return Ok(Transformed::no(LogicalPlan::Limit(limit)));
    }
    counted(&limit).map(Transformed::yes)
}

fn is_odd(expr: &Expr) -> bool {
    expr.exists(|expr| {
        let ours =
            super::call_of(expr, "__percent").is_some() || super::call_of(expr, "__with_ties").is_some();
        Ok(ours || matches!(expr, Expr::ScalarSubquery(_)))
    })
    .unwrap_or(false)
}

fn counted(limit: &Limit) -> Result<LogicalPlan> {
    // the order is that of a sort below, which a projection hides but does not change
    if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
        let below = Limit { input: projection.input.clone(), ..limit.clone() };
        let input = Arc::new(counted(&below)?);
        let made =
            Projection::try_new_with_schema(projection.expr.clone(), input, projection.schema.clone())?;
        return Ok(LogicalPlan::Projection(made));
    }
    let input = limit.input.as_ref().clone();
    let order = match &input {
        LogicalPlan::Sort(sort) => sort.expr.clone(),
        _ => Vec::new(),
    };
    let columns = input.schema().columns();
    let number = window(row_number(), order.clone(), Vec::new());
    let rank = window(WindowFunctionDefinition::WindowUDF(rank_udwf()), order.clone(), Vec::new());
    let all = window(WindowFunctionDefinition::AggregateUDF(count_udaf()), Vec::new(), vec![lit(1_i64)]);
    let column = |function: &Expr| {
        let name = function.schema_name().to_string();
        cast(Expr::Column(Column::from_name(name)), arrow::datatypes::DataType::Int64)
    };
    let skip = limit
        .skip
        .as_ref()
        .map_or_else(|| lit(0_i64), |skip| cast(skip.as_ref().clone(), arrow::datatypes::DataType::Int64));
    let mut conditions = vec![column(&number).gt(skip.clone())];
    if let Some(fetch) = &limit.fetch {
        conditions.push(match (super::call_of(fetch, "__percent"), super::call_of(fetch, "__with_ties")) {
            (Some([share]), _) => {
                let part = cast(share.clone(), arrow::datatypes::DataType::Float64)
                    * cast(column(&all), arrow::datatypes::DataType::Float64)
                    / lit(100.0);
                let part = functions::call("floor", vec![part])?;
                column(&number).lt_eq(skip + cast(part, arrow::datatypes::DataType::Int64))
            }
            (_, Some([count])) => {
                column(&rank).lt_eq(skip + cast(count.clone(), arrow::datatypes::DataType::Int64))
            }
            _ => {
                column(&number).lt_eq(skip + cast(fetch.as_ref().clone(), arrow::datatypes::DataType::Int64))
            }
        });
    }
    let condition = conditions.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true));
    let counted = LogicalPlanBuilder::window_plan(input, vec![number, rank, all])?;
    let mut builder = LogicalPlanBuilder::from(counted).filter(condition)?;
    if !order.is_empty() {
        builder = builder.sort(order)?;
    }
    builder.project(columns.into_iter().map(Expr::Column))?.build()
}

fn row_number() -> WindowFunctionDefinition {
    WindowFunctionDefinition::WindowUDF(row_number_udwf())
}

/// A function over all rows in an order.
fn window(function: WindowFunctionDefinition, order_by: Vec<SortExpr>, args: Vec<Expr>) -> Expr {
    let frame = WindowFrame::new((!order_by.is_empty()).then_some(false));
    Expr::WindowFunction(Box::new(WindowFunction {
        fun: function,
        params: WindowFunctionParams {
            args,
            partition_by: Vec::new(),
            order_by,
            window_frame: frame,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

/// Numbers a plan's rows within groups; the column of the numbers.
pub(super) fn numbered(
    input: LogicalPlan,
    partition_by: Vec<Expr>,
    order_by: Vec<SortExpr>,
) -> Result<(LogicalPlan, Column)> {
    let number = match window(row_number(), order_by, Vec::new()) {
        Expr::WindowFunction(mut window) => {
            window.params.partition_by = partition_by;
            Expr::WindowFunction(window)
        }
        other => other,
    };
    let name = number.schema_name().to_string();
    Ok((LogicalPlanBuilder::window_plan(input, vec![number])?, Column::from_name(name)))
}
