//! `SUMMARIZE`: figures of every column of a table, a file or a query, kept as long as its files stay the same.

use std::sync::Arc;

use arrow::compute::concat_batches;
use carrel_cell::problem::Problem;
use carrel_cell::statement::Target;

use crate::output::Output;
use crate::run::Run;
use crate::session::{Planned, Session};
use crate::summary::{self, Identity};
use carrel_query::problems;

/// Every column's figures.
pub(super) async fn summarize(session: &Session, target: &Target, run: &Arc<Run>) -> Result<Output, Problem> {
    let Planned { plan, edited } = super::plan_target(session, target, run).await?;
    let identity = Identity::of(&plan);
    if let Some(kept) = identity.as_ref().and_then(|identity| session.summaries().get(identity)) {
        return Ok(Output::whole(kept));
    }
    let plan = summary::planned(plan).map_err(|error| problems::of(&error, ""))?;
    let output = session.start(Planned { plan, edited }, run).await?;
    let Some(identity) = identity else { return Ok(output) };
    let (schema, batches) = output.collect().await?;
    let summary =
        concat_batches(&schema, &batches).map_err(|error| problems::internal("SUMMARIZE", &error))?;
    session.summaries().put(identity, summary.clone());
    Ok(Output::whole(summary))
}
