//! Queries: plan to rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::Span;
use carrel_cell::token::{TokenKind, tokenize};
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;

use crate::corrupt;
use crate::output::Output;
use crate::run::Run;
use crate::scratch::provider::ScratchTable;
use crate::session::{Planned, Session};
use crate::table::FileTable;
use carrel_query::problems;

/// Starts a plan. The stream holds what it needs; dropping it stops the work.
pub async fn start(session: &Session, planned: Planned, run: &Arc<Run>) -> Result<Output, Problem> {
    run.check()?;
    run.stage("optimising");
    let Planned { plan, edited } = planned;
    let tables = Arc::new(file_tables(&plan, run));
    let state = session.context().state();
    let place = Arc::new(move |error: &DataFusionError| {
        edited.place(problems::in_words(problems::of(error, &edited.sql), &edited.sql))
    });
    let physical = match state.create_physical_plan(&plan).await {
        Ok(physical) => physical,
        Err(error) => return Err(blame(place(&error), &tables).await),
    };
    run.watch(physical.clone());
    let stream = execute_stream(physical, state.task_ctx()).map_err(|error| place(&error))?;
    run.stage("running");
    let output = Output {
        schema: stream.schema(),
        rows: Box::pin(stream.then(move |batch| {
            let (place, tables) = (place.clone(), tables.clone());
            async move {
                match batch {
                    Ok(batch) => Ok(batch),
                    Err(error) => Err(blame(place(&error), &tables).await),
                }
            }
        })),
    };
    Ok(output.plain())
}

/// The problem, placed at the name it is about.
pub(crate) fn at_name(problem: Problem, sql: &str, reference: &TableReference) -> Problem {
    if problem.span.is_some() {
        return problem;
    }
    let tokens = tokenize(sql).unwrap_or_default();
    let parts: Vec<&str> =
        [reference.catalog(), reference.schema(), Some(reference.table())].into_iter().flatten().collect();
    let is_name = |kind| matches!(kind, TokenKind::Word | TokenKind::QuotedName | TokenKind::String);
    for at in 0..tokens.len() {
        let mut next = at;
        let mut end = None;
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                if !tokens.get(next).is_some_and(|token| token.is_symbol(sql, '.')) {
                    end = None;
                    break;
                }
                next += 1;
            }
            end = tokens.get(next).filter(|token| is_name(token.kind) && token.value(sql) == *part);
            if end.is_none() {
                break;
            }
            next += 1;
        }
        let Some(end) = end else { continue };
        // a column may have the same name: prefer what follows FROM, JOIN or a comma
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let in_from = before.is_some_and(|token| {
            ["FROM", "JOIN", "TABLE"].iter().any(|word| token.is_word(sql, word))
                || token.is_symbol(sql, ',')
                || token.is_symbol(sql, '(')
        });
        if in_from && tokens.get(next).is_some_and(|token| token.is_symbol(sql, '(')) {
            let name = reference.table();
            return Problem::new(Ename::UnknownFunction, format!("no table function {name}"))
                .at(Span::new(tokens[at].span.start, end.span.end))
                .hint("read a file by its path: SELECT * FROM 'file.csv'")
                .suggest(name, ["generate_series", "range", "unnest"]);
        }
        if in_from {
            return problem.at(Span::new(tokens[at].span.start, end.span.end));
        }
    }
    problem
}

/// The files a plan may read: told to the run, kept to name the one that turns out broken.
fn file_tables(plan: &LogicalPlan, run: &Run) -> Vec<Arc<FileTable>> {
    let mut tables = Vec::new();
    let mut seen = BTreeSet::new();
    let _ = plan.apply_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
        let Ok(provider) = source_as_provider(&scan.source) else { return Ok(TreeNodeRecursion::Continue) };
        if let Some(table) = provider.downcast_ref::<FileTable>() {
            if seen.insert(table.label.clone()) {
                run.expect_files(table.files.list.len() as u64, table.files.bytes());
                tables.push(Arc::new(table.clone()));
            }
        } else if let Some(table) = provider.downcast_ref::<ScratchTable>()
            && seen.insert(format!("\0{}", scan.table_name))
        {
            run.expect_files(0, table.bytes());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    tables
}

/// A corrupt file gets its name.
async fn blame(problem: Problem, tables: &[Arc<FileTable>]) -> Problem {
    if problem.ename != Ename::CorruptFile {
        return problem;
    }
    for table in tables {
        if let Some(broken) = corrupt::find(&table.place, &table.files, true).await {
            return broken.problem(&table.label);
        }
    }
    match tables {
        [only] => Problem { message: format!("{} ({})", problem.message, only.label), ..problem },
        _ => problem,
    }
}
