//! Operators whose meaning depends on types: division, intervals times numbers, letters of a text.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, Result};
use datafusion::functions_nested::extract::array_element_udf;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, binary_expr, cast, lit};
use sqlparser::ast::BinaryOperator;

use crate::functions;

/// Plans them.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let arithmetic = matches!(
            expr.op,
            BinaryOperator::Divide | BinaryOperator::Multiply | BinaryOperator::Plus | BinaryOperator::Minus
        );
        if !arithmetic {
            return Ok(PlannerResult::Original(expr));
        }
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let planned = match expr.op {
            BinaryOperator::Divide if number(&left) && number(&right) => quotient(expr.left, expr.right),
            BinaryOperator::Divide if interval(&left) && number(&right) => {
                functions::call("__interval_times", vec![expr.left, quotient(lit(1.0), expr.right)])?
            }
            BinaryOperator::Multiply if interval(&left) && number(&right) => {
                functions::call("__interval_times", vec![expr.left, cast(expr.right, DataType::Float64)])?
            }
            BinaryOperator::Multiply if number(&left) && interval(&right) => {
                functions::call("__interval_times", vec![expr.right, cast(expr.left, DataType::Float64)])?
            }
            // a date and an interval make a timestamp: an interval may have hours
            BinaryOperator::Plus | BinaryOperator::Minus if date(&left) && interval(&right) => {
                let time = cast(expr.left, stamp());
                let op = if expr.op == BinaryOperator::Plus { Operator::Plus } else { Operator::Minus };
                binary_expr(time, op, expr.right)
            }
            BinaryOperator::Plus if interval(&left) && date(&right) => {
                binary_expr(cast(expr.right, stamp()), Operator::Plus, expr.left)
            }
            // a date and a time make a timestamp
            BinaryOperator::Plus if date(&left) && time(&right) => {
                functions::call("__date_and_time", vec![expr.left, expr.right])?
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(planned))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        // DataFusion would make nth_value of it, of which two in different orders cannot stand in one query
        if let (Expr::AggregateFunction(_), GetFieldAccess::ListIndex { key }) =
            (&expr.expr, &expr.field_access)
            && expr.expr.get_type(schema).is_ok_and(|data_type| matches!(data_type, DataType::List(_)))
        {
            let element = array_element_udf().call(vec![expr.expr.clone(), key.as_ref().clone()]);
            return Ok(PlannerResult::Planned(element));
        }
        if !expr.expr.get_type(schema).is_ok_and(|data_type| text(&data_type)) {
            return Ok(PlannerResult::Original(expr));
        }
        let whole = |expr: Expr| cast(expr, DataType::Int64);
        let RawFieldAccessExpr { expr: of, field_access } = expr;
        let planned = match field_access {
            GetFieldAccess::ListIndex { key } => {
                functions::call("__text_slice", vec![of, whole(*key.clone()), whole(*key)])?
            }
            GetFieldAccess::ListRange { start, stop, .. } => {
                functions::call("__text_slice", vec![of, whole(*start), whole(*stop)])?
            }
            other => {
                return Ok(PlannerResult::Original(RawFieldAccessExpr { expr: of, field_access: other }));
            }
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// Division is of doubles, whatever is divided, as in DuckDB: 7 / 2 is 3.5, and 1 / 0 is infinite.
fn quotient(left: Expr, right: Expr) -> Expr {
    binary_expr(cast(left, DataType::Float64), Operator::Divide, cast(right, DataType::Float64))
}

fn stamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

fn number(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_null()
}

fn interval(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Interval(IntervalUnit::MonthDayNano | IntervalUnit::DayTime | IntervalUnit::YearMonth)
    )
}

fn date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}

fn time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

fn text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
