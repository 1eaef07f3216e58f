//! `SUMMARIZE`: figures of every column of a table, a file or a query, kept as long as its files stay the same.

use std::sync::Arc;

use carrel_cell::problem::Problem;
use carrel_cell::statement::Target;

use crate::output::Output;
use crate::run::Run;
use crate::session::{Planned, Session};
use crate::summary;
use carrel_query::problems;

/// Every column's figures.
pub(super) async fn summarize(session: &Session, target: &Target, run: &Arc<Run>) -> Result<Output, Problem> {
    let Planned { plan, edited } = super::plan_target(session, target, run).await?;
    let plan = summary::planned(plan, session.summaries()).map_err(|error| problems::of(&error, ""))?;
    session.start(Planned { plan, edited }, run).await
}
