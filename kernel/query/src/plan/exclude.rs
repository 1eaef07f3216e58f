//! `EXCLUDE CURRENT ROW | GROUP | TIES` in a window's frame: the aggregate is computed for each row over its frame without these rows.
//! It costs as many steps as the frames have rows.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter;
use arrow::datatypes::FieldRef;
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, PartitionEvaluator, Signature, Volatility,
    WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};

use super::call_of;
use crate::problems::wrap;

/// Rows that the frame leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    CurrentRow,
    Group,
    Ties,
}

/// Rewrites a window with a marked function.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
    let marked = |expr: &Expr| match expr {
        Expr::WindowFunction(function) => {
            function.params.partition_by.iter().any(|key| call_of(key, "__exclude").is_some())
        }
        _ => false,
    };
    if !window.window_expr.iter().any(marked) {
        return Ok(Transformed::no(plan));
    }
    let mut exprs = Vec::with_capacity(window.window_expr.len());
    for expr in &window.window_expr {
        exprs.push(match expr {
            Expr::WindowFunction(function) if marked(expr) => excluding(function)?,
            other => other.clone(),
        });
    }
    let names: Vec<String> = exprs.iter().map(|expr| expr.schema_name().to_string()).collect();
    let input = window.input.as_ref().clone();
    let kept = input.schema().columns();
    let made = LogicalPlanBuilder::window_plan(input, exprs)?;
    let old = window.schema.iter().skip(kept.len());
    let renamed = names.iter().zip(old).map(|(name, (relation, field))| {
        Expr::Column(Column::from_name(name)).alias_qualified(relation.cloned(), field.name())
    });
    let out = kept.into_iter().map(Expr::Column).chain(renamed);
    LogicalPlanBuilder::from(made).project(out)?.build().map(Transformed::yes)
}

/// The function without the mark, over frames without the rows.
fn excluding(function: &WindowFunction) -> Result<Expr> {
    let params = &function.params;
    let mut kind = Kind::CurrentRow;
    let mut partition_by = Vec::new();
    for key in &params.partition_by {
        match call_of(key, "__exclude") {
            Some([Expr::Literal(text, _)]) => {
                kind = match text.to_string().as_str() {
                    "group" => Kind::Group,
                    "ties" => Kind::Ties,
                    _ => Kind::CurrentRow,
                };
            }
            _ => partition_by.push(key.clone()),
        }
    }
    let WindowFunctionDefinition::AggregateUDF(aggregate) = &function.fun else {
        let problem =
            Problem::new(Ename::Unsupported, "EXCLUDE with a function that is no aggregate is not supported");
        return Err(wrap(
            problem.hint("first_value, last_value and nth_value have no EXCLUDE; sum, avg, count, … have"),
        ));
    };
    if params.distinct {
        let problem = Problem::new(Ename::Unsupported, "EXCLUDE together with DISTINCT is not supported");
        return Err(wrap(problem.hint("leave DISTINCT out")));
    }
    let arguments = params.args.len();
    let mut args = params.args.clone();
    args.extend(params.order_by.iter().map(|key| key.expr.clone()));
    if let Some(filter) = &params.filter {
        args.push(filter.as_ref().clone());
    }
    let inner = Excluding {
        aggregate: aggregate.clone(),
        kind,
        arguments,
        order: params.order_by.len(),
        filtered: params.filter.is_some(),
        signature: Signature::variadic_any(Volatility::Immutable),
    };
    Ok(Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(inner))),
        params: WindowFunctionParams { args, partition_by, filter: None, ..params.clone() },
    })))
}

/// An aggregate over frames without some rows. Its arguments: the aggregate's, the keys of the order, the filter.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Excluding {
    aggregate: Arc<AggregateUDF>,
    kind: Kind,
    arguments: usize,
    order: usize,
    filtered: bool,
    signature: Signature,
}

impl WindowUDFImpl for Excluding {
    fn name(&self) -> &str {
        self.aggregate.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let fields: Vec<FieldRef> = args.input_fields().iter().take(self.arguments).cloned().collect();
        let made = self.aggregate.return_field(&coerced(&self.aggregate, &fields)?)?;
        Ok(Arc::new(made.as_ref().clone().with_name(args.name()).with_nullable(true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let fields: Vec<FieldRef> = args.input_fields().iter().take(self.arguments).cloned().collect();
        let fields = coerced(&self.aggregate, &fields)?;
        let exprs = args.input_exprs().iter().take(self.arguments).cloned().collect();
        Ok(Box::new(Evaluator {
            aggregate: self.aggregate.clone(),
            kind: self.kind,
            arguments: self.arguments,
            order: self.order,
            filtered: self.filtered,
            return_field: self.aggregate.return_field(&fields)?,
            fields,
            exprs,
            row: 0,
        }))
    }
}

/// The types that the aggregate takes these in.
fn coerced(aggregate: &AggregateUDF, fields: &[FieldRef]) -> Result<Vec<FieldRef>> {
    datafusion::logical_expr::type_coercion::functions::fields_with_udf(fields, aggregate)
}

#[derive(Debug)]
struct Evaluator {
    aggregate: Arc<AggregateUDF>,
    kind: Kind,
    arguments: usize,
    order: usize,
    filtered: bool,
    fields: Vec<FieldRef>,
    return_field: FieldRef,
    exprs: Vec<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    row: usize,
}

impl PartitionEvaluator for Evaluator {
    fn uses_window_frame(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        false
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let row = self.row;
        self.row += 1;
        let (args, rest) = values.split_at(self.arguments.min(values.len()));
        let (keys, filters) = rest.split_at(self.order.min(rest.len()));
        let mut parts: Vec<Range<usize>> = Vec::new();
        let out = match self.kind {
            Kind::CurrentRow => row..row + 1,
            Kind::Group | Kind::Ties => peers(keys, row)?,
        };
        parts.push(range.start..range.end.min(out.start).max(range.start));
        if self.kind == Kind::Ties && range.contains(&row) {
            parts.push(row..row + 1);
        }
        parts.push(range.start.max(out.end).min(range.end.max(out.end))..range.end.max(out.end));
        let schema = arrow::datatypes::Schema::new(self.fields.clone());
        let mut accumulator = self.aggregate.accumulator(AccumulatorArgs {
            return_field: self.return_field.clone(),
            schema: &schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.aggregate.name(),
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.fields,
        })?;
        for part in parts.into_iter().filter(|part| part.start < part.end) {
            let mut slices = Vec::with_capacity(args.len());
            for (arg, field) in args.iter().zip(&self.fields) {
                let slice = arg.slice(part.start, part.end - part.start);
                slices.push(arrow::compute::cast(&slice, field.data_type())?);
            }
            if let (true, Some(condition)) = (self.filtered, filters.first()) {
                let keep = condition.slice(part.start, part.end - part.start);
                let keep = keep.as_any().downcast_ref::<BooleanArray>().cloned();
                if let Some(keep) = keep {
                    slices = slices.iter().map(|slice| filter(slice, &keep)).collect::<Result<_, _>>()?;
                }
            }
            accumulator.update_batch(&slices)?;
        }
        accumulator.evaluate()
    }
}

/// The rows around one that have the same keys.
fn peers(keys: &[ArrayRef], row: usize) -> Result<Range<usize>> {
    let Some(length) = keys.first().map(|key| key.len()) else { return Ok(0..usize::MAX) };
    let same = |other: usize| -> Result<bool> {
        for key in keys {
            if ScalarValue::try_from_array(key, other)? != ScalarValue::try_from_array(key, row)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let (mut start, mut end) = (row, row + 1);
    while start > 0 && same(start - 1)? {
        start -= 1;
    }
    while end < length && same(end)? {
        end += 1;
    }
    Ok(start..end)
}
