//! A date that is compared with a time: where the time is a constant, the date can be compared with a date, so that files and row groups
//! that have no such dates are not read.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, LogicalPlan, Operator, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

const DAY: i64 = 86_400_000_000;

/// The rule.
#[derive(Debug)]
pub struct Dates;

impl OptimizerRule for Dates {
    fn name(&self) -> &str {
        "dates_compared_with_times"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(_) | LogicalPlan::TableScan(_) | LogicalPlan::Join(_) => {
                plan.map_expressions(|expr| expr.transform_up(one))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn one(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(Transformed::no(expr)) };
    let made = match (date_in(&left), time_of(&right)) {
        (Some(date), Some(time)) => compared(date, op, time),
        _ => match (time_of(&left), date_in(&right), op.swap()) {
            (Some(time), Some(date), Some(op)) => compared(date, op, time),
            _ => None,
        },
    };
    Ok(match made {
        Some(made) => Transformed::yes(made),
        None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
    })
}

/// The date that is cast to a time.
fn date_in(expr: &Expr) -> Option<Expr> {
    let Expr::Cast(Cast { expr, field }) = expr else { return None };
    let to_time = matches!(field.data_type(), DataType::Timestamp(_, None));
    // only a plain column is known to be a date here
    match expr.as_ref() {
        Expr::Column(_) if to_time => Some(expr.as_ref().clone()),
        _ => None,
    }
}

/// A constant time in microseconds.
fn time_of(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(
            value @ (ScalarValue::TimestampMicrosecond(Some(_), None)
            | ScalarValue::TimestampNanosecond(Some(_), None)),
            _,
        ) => match value.cast_to(&DataType::Timestamp(TimeUnit::Microsecond, None)).ok()? {
            ScalarValue::TimestampMicrosecond(micros, _) => micros,
            _ => None,
        },
        _ => None,
    }
}

fn compared(date: Expr, op: Operator, time: i64) -> Option<Expr> {
    let day = i32::try_from(time.div_euclid(DAY)).ok()?;
    let whole = time.rem_euclid(DAY) == 0;
    let to = |day: i32| lit(ScalarValue::Date32(Some(day)));
    Some(match (op, whole) {
        (
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq,
            true,
        ) => datafusion::logical_expr::binary_expr(date, op, to(day)),
        // midnight is before the time of that day
        (Operator::Lt | Operator::LtEq, false) => date.lt_eq(to(day)),
        (Operator::Gt | Operator::GtEq, false) => date.gt(to(day)),
        _ => return None,
    })
}
