//! Samples: each row by chance, or so many rows in random order. With a seed, chance is a hash of the row: the same rows every time,
//! whatever the order and the number of threads.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, lit};

use carrel_cell::problem::{Ename, Problem};

use crate::functions;
use crate::problems::wrap;

/// How a sample is taken.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// So many per cent, or rows.
    pub amount: f64,
    /// Per cent?
    pub percent: bool,
    /// For the same sample every time.
    pub seed: Option<f64>,
}

/// A sample of a plan's rows.
pub fn sampled(plan: LogicalPlan, sample: &Sample) -> Result<LogicalPlan> {
    let wrong = |text: &str| Err(wrap(Problem::new(Ename::ValueError, text)));
    if sample.percent && !(0.0..=100.0).contains(&sample.amount) {
        return wrong("a sample is 0 to 100 per cent");
    }
    if !sample.percent && (sample.amount < 0.0 || sample.amount.fract() != 0.0 || sample.amount > 1e9) {
        return wrong("a sample has a whole number of rows");
    }
    let chance = match sample.seed {
        None => functions::call("random", Vec::new())?,
        Some(seed) => {
            let mut args = vec![lit(seed)];
            args.extend(plan.schema().columns().into_iter().map(Expr::Column));
            functions::call("__chance", args)?
        }
    };
    if sample.percent {
        return LogicalPlanBuilder::from(plan).filter(chance.lt(lit(sample.amount / 100.0)))?.build();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let rows = sample.amount as usize;
    LogicalPlanBuilder::from(plan).sort(vec![chance.sort(true, false)])?.limit(0, Some(rows))?.build()
}

/// `__sample(method, amount, unit, seed)` in a condition, which `USING SAMPLE` became.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
    let conditions = split_conjunction_owned(filter.predicate.clone());
    let Some(at) = conditions.iter().position(|expr| super::call_of(expr, "__sample").is_some()) else {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    };
    let mut conditions = conditions;
    let sample = conditions.remove(at);
    let args = super::call_of(&sample, "__sample").unwrap_or_default();
    let number = |at: usize| match args.get(at) {
        Some(Expr::Literal(value, _)) => match value.cast_to(&arrow::datatypes::DataType::Float64) {
            Ok(ScalarValue::Float64(value)) => value,
            _ => None,
        },
        _ => None,
    };
    let percent = matches!(args.get(2), Some(Expr::Literal(unit, _)) if unit.to_string() == "percent");
    let Some(amount) = number(1) else {
        return Err(wrap(Problem::new(Ename::SyntaxError, "USING SAMPLE needs a number")));
    };
    let plan = sampled(filter.input.as_ref().clone(), &Sample { amount, percent, seed: number(3) })?;
    Ok(Transformed::yes(match conjunction(conditions) {
        Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, std::sync::Arc::new(plan))?),
        None => plan,
    }))
}
