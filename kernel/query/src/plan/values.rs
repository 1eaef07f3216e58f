//! What values become: arithmetic on whole numbers that overflows is an error, casts to whole numbers round, texts are read as times in all
//! usual forms, and times are written as SQL does. Applied after DataFusion has decided on the types, so that casts that nobody wrote are seen too.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast, cast, lit,
};
use datafusion::optimizer::AnalyzerRule;

use crate::functions;

/// The rule.
#[derive(Debug)]
pub struct Values;

impl AnalyzerRule for Values {
    fn name(&self) -> &str {
        "values"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let made = plan.transform_up_with_subqueries(|node| {
            if matches!(node, LogicalPlan::TableScan(_)) {
                return Ok(Transformed::no(node));
            }
            let schema = match node.inputs().as_slice() {
                [] => DFSchema::empty(),
                inputs => merge_schema(inputs),
            };
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let made = expr.transform_up(|expr| one(expr, &schema))?;
                Ok(made.update_data(|expr| name.restore(expr)))
            })
        })?;
        // names and types are what they were, but for whether a value may be NULL
        made.data
            .transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))
            .map(|made| made.data)
    }
}

fn one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply) =>
        {
            let (Ok(a), Ok(b)) = (left.get_type(schema), right.get_type(schema)) else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            };
            if a == b && a.is_integer() {
                let name = match op {
                    Operator::Plus => "__add",
                    Operator::Minus => "__subtract",
                    _ => "__multiply",
                };
                return functions::call(name, vec![*left, *right]).map(Transformed::yes);
            }
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::Cast(Cast { expr, field }) => {
            let from = expr.get_type(schema).unwrap_or(DataType::Null);
            Ok(match read(*expr, &from, field.data_type(), true)? {
                Transformed { data, transformed: true, .. } => {
                    Transformed::yes(Expr::Cast(Cast { expr: Box::new(data), field }))
                }
                Transformed { data, .. } => Transformed::no(Expr::Cast(Cast { expr: Box::new(data), field })),
            })
        }
        Expr::TryCast(TryCast { expr, field }) => {
            let from = expr.get_type(schema).unwrap_or(DataType::Null);
            Ok(match read(*expr, &from, field.data_type(), false)? {
                Transformed { data, transformed: true, .. } => {
                    Transformed::yes(Expr::TryCast(TryCast { expr: Box::new(data), field }))
                }
                Transformed { data, .. } => {
                    Transformed::no(Expr::TryCast(TryCast { expr: Box::new(data), field }))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A text in the one form that our functions take: the types of arguments were decided before.
fn plain(expr: Expr, from: &DataType) -> Expr {
    if *from == DataType::Utf8 { expr } else { cast(expr, DataType::Utf8) }
}

/// What is to be cast, made ready for Arrow's cast.
fn read(expr: Expr, from: &DataType, to: &DataType, strict: bool) -> Result<Transformed<Expr>> {
    let text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let made = match to {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            if matches!(from, DataType::Timestamp(..)) =>
        {
            functions::call("__time_text", vec![expr])?
        }
        whole if whole.is_integer() && (from.is_floating() || from.is_decimal()) => {
            functions::call("__rounded", vec![expr])?
        }
        DataType::Timestamp(_, zone) if text => {
            let name = if strict { "__read_time" } else { "__try_read_time" };
            let zone = zone.as_deref().unwrap_or("");
            functions::call(name, vec![plain(expr, from), lit(zone)])?
        }
        DataType::Date32 if text => {
            functions::call(if strict { "__read_date" } else { "__try_read_date" }, vec![plain(expr, from)])?
        }
        _ => return Ok(Transformed::no(expr)),
    };
    Ok(Transformed::yes(made))
}
