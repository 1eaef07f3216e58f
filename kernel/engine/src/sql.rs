//! From a query's text to its plan: the tables that it names are looked up, questions to the data that a rewrite has are asked, and the
//! rest is [`carrel_query::sql`]'s.

mod readers;
mod relations;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use carrel_query::problems;
use carrel_query::sql::{Provider, Stop, check, check_functions, is_call, parse, rewrite};
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::resolve::resolve_table_references;
use sqlparser::ast::{Query, Statement, TableFactor, Visit, Visitor};

use crate::run::Run;
use crate::session::Session;

pub use relations::Relations;

/// Questions that a statement may have to ask of the data before it can be planned (the columns of a PIVOT, …).
const QUESTIONS: usize = 32;

/// Understands a query. Problems are placed in `sql`.
pub async fn plan(session: &Session, sql: &str, run: &Arc<Run>) -> Result<LogicalPlan, Problem> {
    understood(session, sql, run).await.map_err(|problem| problems::in_words(problem, sql))
}

async fn understood(session: &Session, sql: &str, run: &Arc<Run>) -> Result<LogicalPlan, Problem> {
    run.check()?;
    let mut parsed = parse(sql)?;
    check(&parsed, sql)?;
    let state = session.context().state();
    let mut provider = Provider::new(&state);
    readers::opened(session, &mut provider, &mut parsed, sql, run).await?;
    add_tables(session, &mut provider, &parsed, sql, run).await?;
    let mut answers = HashMap::new();
    let query = loop {
        let mut query = parsed.clone();
        match rewrite(&mut query, sql, &provider, &answers) {
            Ok(()) => break query,
            Err(Stop::Problem(problem)) => return Err(*problem),
            Err(Stop::Asks(question)) if answers.len() < QUESTIONS => {
                let answer = ask(session, &provider, *question.clone(), sql, run).await?;
                answers.insert(question.to_string(), answer);
            }
            Err(Stop::Asks(_)) => {
                return Err(Problem::new(Ename::Unsupported, "too many PIVOTs depend on each other's data")
                    .hint("keep steps with CREATE TABLE … AS"));
            }
        }
    };
    check_functions(&query, sql, &provider)?;
    let plan = provider.plan(query).map_err(|error| problems::of(&error, sql))?;
    carrel_query::plan::rewrite(plan).map_err(|error| problems::of(&error, sql))
}

/// Looks up every table that the query names.
async fn add_tables(
    session: &Session,
    provider: &mut Provider<'_>,
    query: &Query,
    sql: &str,
    run: &Arc<Run>,
) -> Result<(), Problem> {
    let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query.clone()))));
    let (references, _) =
        resolve_table_references(&statement, true).map_err(|error| problems::of(&error, sql))?;
    let called = called(query);
    for reference in references {
        let name = reference.table().to_lowercase();
        let function = is_call(&name) || provider.state.table_functions().contains_key(&name);
        if provider.has(&reference) || function && called.contains(&name) {
            continue;
        }
        let table = if reference.schema() == Some("information_schema") {
            information(provider.state, &reference).await.map_err(|error| problems::of(&error, sql))?
        } else {
            crate::names::resolve(session, &reference)
                .await
                .map_err(|problem| crate::query::at_name(problem, sql, &reference))?
        };
        provider.add(reference, provider_as_source(table));
        run.check()?;
    }
    Ok(())
}

/// Names in FROM that are called as functions.
fn called(query: &Query) -> BTreeSet<String> {
    struct Called(BTreeSet<String>);
    impl Visitor for Called {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: Some(_), .. } = factor {
                self.0.extend(
                    name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase()),
                );
            }
            ControlFlow::Continue(())
        }
    }
    let mut found = Called(BTreeSet::new());
    let _ = query.visit(&mut found);
    found.0
}

/// A view of DataFusion's information schema.
async fn information(
    state: &SessionState,
    reference: &TableReference,
) -> datafusion::error::Result<Arc<dyn datafusion::catalog::TableProvider>> {
    let schema = state.schema_for_ref(reference.clone())?;
    match schema.table(reference.table()).await? {
        Some(table) => Ok(table),
        None => Err(problems::wrap(Problem::new(
            Ename::UnknownDataset,
            format!("no view {} in information_schema", reference.table()),
        ))),
    }
}

/// Runs a small query whose answer is needed before the statement can be planned: its rows, as text of literals.
async fn ask(
    session: &Session,
    provider: &Provider<'_>,
    question: Query,
    sql: &str,
    run: &Arc<Run>,
) -> Result<Vec<Vec<datafusion::common::ScalarValue>>, Problem> {
    run.stage("looking at values");
    let plan = provider.plan(question).map_err(|error| problems::of(&error, sql))?;
    let plan = carrel_query::plan::rewrite(plan).map_err(|error| problems::of(&error, sql))?;
    let planned = crate::session::Planned { plan, edited: carrel_cell::edit::Edited::unchanged(sql) };
    let (_, batches) = Box::pin(session.start(planned, run)).await?.collect().await?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|column| datafusion::common::ScalarValue::try_from_array(column, row));
            rows.push(
                values
                    .collect::<datafusion::error::Result<_>>()
                    .map_err(|error| problems::of(&error, sql))?,
            );
        }
    }
    Ok(rows)
}
