//! Floats beside decimals: where values of both kinds meet (a comparison, a CASE, COALESCE, a UNION), the decimals become floats, as in DuckDB and
//! PostgreSQL. DataFusion would make decimals of the floats, `DECIMAL(30, 15)` for a DOUBLE: 999999.0 is then not equal to 999999.0, and 1e20 an error.
//! Applied before DataFusion decides on the types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union, cast, lit,
};

/// Functions whose arguments from the given one on become one type.
const UNIFYING: &[(&str, usize)] = &[
    ("coalesce", 0),
    ("greatest", 0),
    ("least", 0),
    ("make_array", 0),
    ("nullif", 0),
    ("nvl", 0),
    ("nvl2", 1),
];

/// Rewrites a plan and the queries inside its expressions.
pub fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let made = plan.transform_up_with_subqueries(|node| {
        // what is below may have got other types
        let node = union(node.recompute_schema()?)?;
        let schema = match node.inputs().as_slice() {
            [] => DFSchema::empty(),
            inputs => merge_schema(inputs),
        };
        let names = NamePreserver::new(&node);
        let made = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let made = expr.transform_up(|expr| one(expr, &schema))?;
            Ok(made.update_data(|expr| name.restore(expr)))
        })?;
        made.data.recompute_schema().map(Transformed::yes)
    })?;
    Ok(made.data)
}

/// The values that meet in this expression, as one kind.
fn one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if compares(op) => {
            let changed = meet(vec![left.as_mut(), right.as_mut()], schema);
            Ok(told(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
        }
        Expr::Between(mut between) => {
            let Between { expr, low, high, .. } = &mut between;
            let changed = meet(vec![expr.as_mut(), low.as_mut(), high.as_mut()], schema);
            Ok(told(Expr::Between(between), changed))
        }
        Expr::InList(mut within) => {
            let InList { expr, list, .. } = &mut within;
            let changed = meet(std::iter::once(expr.as_mut()).chain(list).collect(), schema);
            Ok(told(Expr::InList(within), changed))
        }
        Expr::Case(mut case) => {
            let (mut asked, mut given) = (Vec::new(), Vec::new());
            let compared = case.expr.is_some();
            asked.extend(case.expr.as_deref_mut());
            for (when, then) in &mut case.when_then_expr {
                if compared {
                    asked.push(when.as_mut());
                }
                given.push(then.as_mut());
            }
            given.extend(case.else_expr.as_deref_mut());
            let changed = meet(asked, schema) | meet(given, schema);
            Ok(told(Expr::Case(case), changed))
        }
        Expr::ScalarFunction(ScalarFunction { func, mut args }) => {
            let from = UNIFYING.iter().find(|(name, _)| *name == func.name()).map(|(_, from)| *from);
            let changed = from.is_some_and(|from| meet(args.iter_mut().skip(from).collect(), schema));
            Ok(told(Expr::ScalarFunction(ScalarFunction { func, args }), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn told(expr: Expr, changed: bool) -> Transformed<Expr> {
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Makes floats of the decimals if there are floats among these; whether it did.
fn meet(values: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<DataType> =
        values.iter().map(|value| value.get_type(schema).unwrap_or(DataType::Null)).collect();
    let Some(float) = common(&types) else { return false };
    for (value, data_type) in values.into_iter().zip(&types) {
        if data_type.is_decimal() {
            let decimal = std::mem::take(value);
            *value = as_float(decimal, &float);
        }
    }
    true
}

/// The float that floats and decimals among these become; `None` if there are not both.
fn common(types: &[DataType]) -> Option<DataType> {
    let widest = if types.contains(&DataType::Float64) { DataType::Float64 } else { DataType::Float32 };
    (types.iter().any(DataType::is_decimal) && types.contains(&widest)).then_some(widest)
}

fn as_float(decimal: Expr, float: &DataType) -> Expr {
    if let Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale), None) = &decimal
        && *float == DataType::Float64
        && let Ok(nearest) = Decimal128Type::format_decimal(*value, *precision, *scale).parse::<f64>()
    {
        return lit(nearest);
    }
    cast(decimal, float.clone())
}

/// The inputs of a UNION, with floats in place of decimals wherever another input has floats.
fn union(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Union(union) = node else { return Ok(node) };
    let types = |at: usize| -> Vec<DataType> {
        let column =
            |input: &Arc<LogicalPlan>| input.schema().fields().get(at).map(|field| field.data_type().clone());
        union.inputs.iter().filter_map(column).collect()
    };
    let wanted: Vec<Option<DataType>> =
        (0..union.schema.fields().len()).map(|at| common(&types(at))).collect();
    if wanted.iter().all(Option::is_none) {
        return Ok(LogicalPlan::Union(union));
    }
    let mut inputs = Vec::with_capacity(union.inputs.len());
    for input in &union.inputs {
        let columns = input.schema().iter().zip(&wanted).map(|((relation, field), wanted)| {
            let column = Expr::Column((relation, field).into());
            match wanted {
                Some(float) if field.data_type().is_decimal() => {
                    as_float(column, float).alias_qualified(relation.cloned(), field.name())
                }
                _ => column,
            }
        });
        let columns: Vec<Expr> = columns.collect();
        inputs.push(Arc::new(LogicalPlanBuilder::from(input.clone()).project(columns)?.build()?));
    }
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
}
