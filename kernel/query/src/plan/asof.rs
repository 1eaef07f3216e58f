//! ASOF JOIN: to every row of the left side the last row of the right side up to its time, among those with equal keys. Both sides are put
//! below each other and sorted, and a window carries the last right row forward: it spills, and it is as fast as a sort.

use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, Result, ScalarValue};
use datafusion::functions::core::expr_fn::{get_field, named_struct};
use datafusion::functions_window::expr_fn::last_value;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, WindowFrame,
    WindowFrameBound, WindowFrameUnits, cast, lit, when,
};

use super::call_of;
use crate::problems::wrap;

/// What an ASOF JOIN compares.
struct Comparison {
    /// Equal on both sides.
    keys: Vec<(Expr, Expr)>,
    /// Left and right time, and how they compare.
    time: (Expr, Operator, Expr),
}

/// Rewrites a marked join.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
    let marked = join.filter.as_ref().and_then(|filter| call_of(filter, "__asof")).map(<[Expr]>::to_vec);
    if let Some(args) = marked {
        let Some(condition) = args.into_iter().next() else { return Ok(Transformed::no(plan)) };
        let comparison = read(join, condition)?;
        return joined(join, join.right.as_ref().clone(), &comparison).map(Transformed::yes);
    }
    if join.join_constraint == JoinConstraint::Using
        && let Some(right) = unmarked(&join.right)?
    {
        let mut keys = join.on.clone();
        let Some((left, right_time)) = keys.pop() else { return Ok(Transformed::no(plan)) };
        let comparison = Comparison { keys, time: (left, Operator::GtEq, right_time) };
        let made = joined(join, right, &comparison)?;
        return Ok(Transformed::yes(made));
    }
    Ok(Transformed::no(plan))
}

/// The right side without the mark that USING needs, if it has it.
fn unmarked(plan: &Arc<LogicalPlan>) -> Result<Option<LogicalPlan>> {
    let mut found = false;
    let made = plan.as_ref().clone().transform_down(|node| match &node {
        LogicalPlan::Filter(filter) if call_of(&filter.predicate, "__asof_using").is_some() => {
            found = true;
            Ok(Transformed::new(filter.input.as_ref().clone(), true, TreeNodeRecursion::Stop))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => Ok(Transformed::no(node)),
        _ => Ok(Transformed::new(node, false, TreeNodeRecursion::Stop)),
    })?;
    Ok(found.then_some(made.data))
}

fn read(join: &Join, condition: Expr) -> Result<Comparison> {
    let hint = "write ASOF JOIN b ON a.key = b.key AND a.time >= b.time";
    let wrong = |text: &str| wrap(Problem::new(Ename::Unsupported, text).hint(hint));
    let of = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| schema.has_column(column))
    };
    let mut keys = Vec::new();
    let mut time = None;
    for part in split_conjunction_owned(condition) {
        let Expr::BinaryExpr(both) = part else {
            return Err(wrong("ASOF JOIN takes equalities and one inequality"));
        };
        let (left, right) = (*both.left, *both.right);
        let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
        let (left, op, right) = if of(&left, left_schema) && of(&right, right_schema) {
            (left, both.op, right)
        } else if of(&left, right_schema) && of(&right, left_schema) {
            let Some(op) = both.op.swap() else {
                return Err(wrong("ASOF JOIN takes equalities and one inequality"));
            };
            (right, op, left)
        } else {
            return Err(wrong("each comparison of an ASOF JOIN has one side of each table"));
        };
        match op {
            Operator::Eq => keys.push((left, right)),
            Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq if time.is_none() => {
                time = Some((left, op, right));
            }
            _ => return Err(wrong("ASOF JOIN takes equalities and one inequality")),
        }
    }
    match time {
        Some(time) => Ok(Comparison { keys, time }),
        None => Err(wrong("ASOF JOIN needs one inequality")),
    }
}

fn joined(join: &Join, right: LogicalPlan, comparison: &Comparison) -> Result<LogicalPlan> {
    let left = join.left.as_ref();
    let Comparison { keys, time: (left_time, op, right_time) } = comparison;
    let backward = matches!(op, Operator::Gt | Operator::GtEq);
    // at the same time the right row comes first if it may be equal
    let (left_tag, right_tag) =
        if matches!(op, Operator::GtEq | Operator::LtEq) { (1_i64, 0_i64) } else { (0, 1) };
    let time_type = common(left_time.get_type(left.schema())?, right_time.get_type(right.schema())?);
    let key_types: Vec<_> = keys
        .iter()
        .map(|(l, r)| Ok(common(l.get_type(left.schema())?, r.get_type(right.schema())?)))
        .collect::<Result<_>>()?;

    let left_columns = left.schema().columns();
    let right_columns = right.schema().columns();
    let packed = right_columns
        .iter()
        .enumerate()
        .flat_map(|(at, column)| [lit(format!("c{at}")), Expr::Column(column.clone())]);
    let packed = named_struct(packed.collect());
    let packed_type = packed.get_type(right.schema())?;

    let mut below = Vec::new();
    let mut above = Vec::new();
    for (at, ((left_key, right_key), to)) in keys.iter().zip(&key_types).enumerate() {
        above.push(cast(left_key.clone(), to.clone()).alias(format!("__k{at}")));
        below.push(cast(right_key.clone(), to.clone()).alias(format!("__k{at}")));
    }
    above.push(cast(left_time.clone(), time_type.clone()).alias("__t"));
    below.push(cast(right_time.clone(), time_type).alias("__t"));
    above.push(lit(left_tag).alias("__tag"));
    below.push(lit(right_tag).alias("__tag"));
    for (at, (column, field)) in left_columns.iter().zip(left.schema().fields()).enumerate() {
        above.push(Expr::Column(column.clone()).alias(format!("__l{at}")));
        below.push(lit(ScalarValue::try_from(field.data_type())?).alias(format!("__l{at}")));
    }
    above.push(lit(ScalarValue::try_from(&packed_type)?).alias("__r"));
    below.push(packed.alias("__r"));

    let known = keys.iter().map(|(_, key)| key).chain([right_time]);
    let known = known.map(|expr| expr.clone().is_not_null()).reduce(Expr::and).unwrap_or_else(|| lit(true));
    let right_rows = LogicalPlanBuilder::from(right.clone()).filter(known)?.project(below)?.build()?;
    let both = LogicalPlanBuilder::from(left.clone()).project(above)?.union(right_rows)?.build()?;

    let column = |name: &str| Expr::Column(Column::from_name(name));
    let partition: Vec<Expr> = (0..keys.len()).map(|at| column(&format!("__k{at}"))).collect();
    let last = last_value(column("__r"))
        .null_treatment(datafusion::logical_expr::expr::NullTreatment::IgnoreNulls)
        .partition_by(partition.clone())
        .order_by(vec![column("__t").sort(backward, false), column("__tag").sort(true, false)])
        .window_frame(WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            WindowFrameBound::CurrentRow,
        ))
        .build()?;
    let name = last.schema_name().to_string();
    let carried = LogicalPlanBuilder::window_plan(both, vec![last])?;

    let unknown = partition.into_iter().chain([column("__t")]).map(Expr::is_null).reduce(Expr::or);
    let none = lit(ScalarValue::try_from(&packed_type)?);
    let matched = match unknown {
        Some(unknown) => when(unknown, none).otherwise(column(&name))?,
        None => column(&name),
    };
    let mut builder = LogicalPlanBuilder::from(carried).filter(column("__tag").eq(lit(left_tag)))?;
    let left_out = (0..left_columns.len()).map(|at| column(&format!("__l{at}")));
    builder = builder.project(left_out.clone().chain([matched.alias("__m")]))?;
    if join.join_type == JoinType::Inner {
        builder = builder.filter(column("__m").is_not_null())?;
    }
    let left_named = left_out
        .zip(&left_columns)
        .map(|(expr, column)| expr.alias_qualified(column.relation.clone(), &column.name));
    let right_named = right_columns.iter().enumerate().map(|(at, right)| {
        get_field(column("__m"), format!("c{at}")).alias_qualified(right.relation.clone(), &right.name)
    });
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        let problem = Problem::new(Ename::Unsupported, "this kind of ASOF JOIN is not supported")
            .hint("there are ASOF JOIN and ASOF LEFT JOIN");
        return Err(wrap(problem));
    }
    builder.project(left_named.chain(right_named))?.build()
}

/// The type that two sides are compared in.
fn common(left: arrow::datatypes::DataType, right: arrow::datatypes::DataType) -> arrow::datatypes::DataType {
    if left == right {
        return left;
    }
    datafusion::logical_expr::type_coercion::binary::comparison_coercion(&left, &right).unwrap_or(left)
}
