//! Summaries of relations.

use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;

/// The plan of a relation's summary.
pub(crate) fn planned(_plan: LogicalPlan) -> Result<LogicalPlan> {
    Err(crate::problems::wrap(Problem::new(Ename::Unsupported, "SUMMARIZE in FROM is not supported")))
}
