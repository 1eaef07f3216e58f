//! Statements, done: every statement of the cell language becomes an answer here. Problems are placed in the statement.

mod attach;
mod copy;
mod describe;
mod show;
mod summarize;

use std::sync::Arc;

use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::{
    Create, Name, Object, OptionValue, QueryText, Span, Statement, StatementKind, Target,
};
use carrel_cell::token::{TokenKind, tokenize};
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;

use crate::model;
use crate::names;
use crate::output::{Output, text_table};
use crate::run::{Run, grouped};
use crate::session::{Planned, Session};
use carrel_cell::edit::Edited;
pub(crate) use describe::describe_schema;

/// A statement that was looked at: a query is planned, the rest waits for its run.
pub struct Ready {
    statement: Statement,
    planned: Option<Planned>,
}

impl Ready {
    /// The plan of a query.
    pub fn plan(&self) -> Option<&LogicalPlan> {
        self.planned.as_ref().map(|planned| &planned.plan)
    }

    /// Gives the query's parameters their values.
    pub fn bind(mut self, values: datafusion::common::ParamValues) -> Result<Self, Problem> {
        let Some(planned) = self.planned.take() else { return Ok(self) };
        let plan =
            planned.plan.with_param_values(values).map_err(|error| carrel_query::problems::of(&error, ""))?;
        Ok(Self { planned: Some(Planned { plan, ..planned }), ..self })
    }
}

/// Looks at a statement without doing anything: a query's names and types are checked.
pub async fn prepare(session: &Session, statement: Statement, run: &Arc<Run>) -> Result<Ready, Problem> {
    let planned = match &statement.kind {
        StatementKind::Query(query) => Some(plan(session, query, run).await?),
        _ => None,
    };
    Ok(Ready { statement, planned })
}

/// Does a statement.
pub async fn execute(session: &Session, ready: Ready, run: &Arc<Run>) -> Result<Output, Problem> {
    let Ready { statement, planned } = ready;
    match statement.kind {
        StatementKind::Query(query) => {
            let planned = match planned {
                Some(planned) => planned,
                None => plan(session, &query, run).await?,
            };
            let output = session.start(planned, run).await?;
            Ok(capped(output, session.config().engine.max_result_rows))
        }
        StatementKind::Visualise { clauses, .. } => {
            let hint = "send the query without VISUALISE; the Carrel SQL kernel draws plots, Python has libraries for them";
            Err(Problem::unsupported(clauses.span, "the engine draws no plots", hint))
        }
        StatementKind::ShowDatasets { like } => show::datasets(session, like.as_deref(), run).await,
        StatementKind::ShowTables { like } => show::tables(session, like.as_deref()),
        StatementKind::ShowMore => Err(Problem::new(Ename::Unsupported, "a result is fetched whole here")
            .hint("SHOW MORE is for notebooks of the Carrel SQL kernel")),
        StatementKind::ShowModels { like } => model::show(session, like.as_deref()),
        StatementKind::ShowFunctions { like } => show::functions(session, like.as_deref()),
        StatementKind::ShowSetting { key: None } => {
            let rows = session.with_settings(|settings| settings.rows(session.config()));
            Ok(Output::whole(text_table(&["name", "value", "description"], rows)?))
        }
        StatementKind::ShowSetting { key: Some(key) } => {
            Output::says("value", session.with_settings(|settings| settings.get(&key, session.config()))?)
        }
        StatementKind::Describe { target } => describe::describe(session, &target, run).await,
        StatementKind::Summarize { target } => summarize::summarize(session, &target, run).await,
        StatementKind::CreateModel(create) => model::create(session, &create, run).await,
        StatementKind::DropModel { name, if_exists } => model::drop(session, &name, if_exists),
        StatementKind::Set { key, value, span } => {
            if let Some(schema) = value.as_ref().and_then(OptionValue::as_text).filter(|_| key == "schema") {
                known_schema(session, schema, span)?;
            }
            session.with_settings(|settings| {
                settings.set(&key, value.as_ref(), span)?;
                settings.apply(session.context(), session.config())?;
                settings.save(session.scratch())
            })?;
            let text = value
                .map_or_else(|| format!("{key} is back to its default"), |value| format!("{key} = {value}"));
            Output::says("status", text)
        }
        StatementKind::SetVariable { span, .. } => {
            let hint =
                "give parameters with the statement, as ? or $1; the Carrel SQL kernel keeps variables";
            Err(Problem::unsupported(span, "the engine keeps no variables", hint))
        }
        StatementKind::CreateTable(create) => create_table(session, &create, run).await,
        StatementKind::CreateView(create) => create_view(session, &create, run).await,
        StatementKind::Drop { object, name, if_exists } => drop(session, object, &name, if_exists),
        StatementKind::Copy(copy) => copy::copy(session, &copy, run).await,
        StatementKind::Attach { place, place_span, name } => {
            attach::attach(session, &place, place_span, &name).await
        }
        StatementKind::Detach { name, if_exists } => attach::detach(session, &name, if_exists),
        StatementKind::Explain { analyze, verbose, query } => {
            explain(session, analyze, verbose, &query, run).await
        }
    }
}

/// A schema that names can be looked up in; none at all is one too.
fn known_schema(session: &Session, schema: &str, span: Span) -> Result<(), Problem> {
    let known = session.catalog().schemas();
    if schema.is_empty() || schema == names::SESSION || known.iter().any(|name| name == schema) {
        return Ok(());
    }
    let problem =
        Problem::new(Ename::UnknownDataset, format!("no schema {schema}")).at(span).suggest(schema, &known);
    Err(if problem.hint.is_some() || known.is_empty() {
        problem
    } else {
        problem.hint(format!("there are: {}", known.join(", ")))
    })
}

/// Plans a query that stands somewhere in a statement.
async fn plan(session: &Session, query: &QueryText, run: &Arc<Run>) -> Result<Planned, Problem> {
    let planned =
        session.plan(&query.text, run).await.map_err(|problem| problem.shifted(query.span.start))?;
    Ok(Planned { edited: planned.edited.within(query.span.start), ..planned })
}

/// Starts a query that stands somewhere in a statement.
async fn start(session: &Session, query: &QueryText, run: &Arc<Run>) -> Result<Output, Problem> {
    let planned = plan(session, query, run).await?;
    session.start(planned, run).await
}

/// What `DESCRIBE` and `SUMMARIZE` look at, as a query over it.
fn target_query(target: &Target) -> QueryText {
    match target {
        Target::Query(query) => query.clone(),
        Target::Name(name) => QueryText { text: format!("SELECT * FROM {}", name.to_sql()), span: name.span },
        Target::File { path, span } => {
            let text = format!("SELECT * FROM {}", carrel_cell::statement::quote_string(path));
            QueryText { text, span: *span }
        }
    }
}

/// Plans a target; a problem with a made-up query is placed at the name it was made from.
async fn plan_target(session: &Session, target: &Target, run: &Arc<Run>) -> Result<Planned, Problem> {
    let query = target_query(target);
    if let Target::Query(query) = target {
        return plan(session, query, run).await;
    }
    let planned = session.plan(&query.text, run).await.map_err(|problem| problem.at(query.span))?;
    let edited = Edited::all_from(planned.edited.sql, query.span);
    Ok(Planned { edited, ..planned })
}

async fn create_table(session: &Session, create: &Create, run: &Arc<Run>) -> Result<Output, Problem> {
    let name = own_name(&create.name)?;
    if let Some(said) = there_already(session, create, name)? {
        return Ok(said);
    }
    let mut output = start(session, &create.query, run).await?;
    distinct_columns(&output, &create.query)?;
    let mut writer = session.scratch().writer(name, &output.schema)?;
    run.stage("writing the table");
    while let Some(batch) = output.rows.next().await {
        run.check()?;
        writer.write(&batch?)?;
    }
    let rows = writer.rows();
    run.check()?;
    writer.finish()?;
    Output::says("status", format!("table {name} created, {} rows", grouped(rows)))
}

async fn create_view(session: &Session, create: &Create, run: &Arc<Run>) -> Result<Output, Problem> {
    let name = own_name(&create.name)?;
    if let Some(said) = there_already(session, create, name)? {
        return Ok(said);
    }
    names::inside_view(name, plan(session, &create.query, run)).await?;
    session.scratch().put_view(name, &create.query.text)?;
    Output::says("status", format!("view {name} created"))
}

fn drop(session: &Session, object: Object, name: &Name, if_exists: bool) -> Result<Output, Problem> {
    let plain = own_name(name)?;
    let entry = session.scratch().entry(plain);
    let word = if object == Object::View { "view" } else { "table" };
    match entry {
        Some(entry) if entry.view == (object == Object::View) => {
            session.scratch().remove(&entry)?;
            Output::says("status", format!("{word} {plain} dropped"))
        }
        Some(entry) => {
            let is = if entry.view { "view" } else { "table" };
            Err(Problem::new(Ename::TypeError, format!("{plain} is a {is}"))
                .at(name.span)
                .hint(format!("use DROP {} {plain}", is.to_uppercase())))
        }
        None if if_exists => Output::says("status", format!("there is no {word} {plain}")),
        None => {
            let names = session.scratch().entries().into_iter().map(|entry| entry.name);
            Err(Problem::new(Ename::UnknownDataset, format!("no {word} '{plain}' in this session"))
                .at(name.span)
                .suggest(plain, names))
        }
    }
}

async fn explain(
    session: &Session,
    analyze: bool,
    verbose: bool,
    query: &QueryText,
    run: &Arc<Run>,
) -> Result<Output, Problem> {
    let planned = plan(session, query, run).await?;
    let Planned { plan, edited } = planned;
    let explained = datafusion::logical_expr::LogicalPlanBuilder::from(plan)
        .explain(verbose, analyze)
        .and_then(|builder| builder.build())
        .map_err(|error| carrel_query::problems::of(&error, ""))?;
    session.start(Planned { plan: explained, edited }, run).await
}

/// The plain name of something of the session's own.
fn own_name(name: &Name) -> Result<&str, Problem> {
    match name.parts.as_slice() {
        [plain] => Ok(plain),
        [schema, plain] if schema == names::SESSION => Ok(plain),
        _ => Err(Problem::new(
            Ename::PolicyDenied,
            format!("{name} cannot be made or dropped: datasets are read-only"),
        )
        .at(name.span)
        .hint(format!("use a name without a schema: {}", name.last()))),
    }
}

fn there_already(session: &Session, create: &Create, name: &str) -> Result<Option<Output>, Problem> {
    let Some(entry) = session.scratch().entry(name) else { return Ok(None) };
    if create.replace {
        return Ok(None);
    }
    let word = if entry.view { "view" } else { "table" };
    if create.if_not_exists {
        return Output::says("status", format!("{word} {name} is there already")).map(Some);
    }
    Err(Problem::new(Ename::AlreadyExists, format!("there is a {word} {name} already"))
        .at(create.name.span)
        .hint("use CREATE OR REPLACE, or DROP it first"))
}

fn distinct_columns(output: &Output, query: &QueryText) -> Result<(), Problem> {
    let mut seen = std::collections::BTreeSet::new();
    for field in output.schema.fields() {
        if !seen.insert(field.name()) {
            return Err(Problem::new(
                Ename::AmbiguousName,
                format!("two columns are called {}", field.name()),
            )
            .at(last_word(query, field.name()).unwrap_or(query.span))
            .hint("give one of them another name with AS"));
        }
    }
    Ok(())
}

/// The last place in a query where a name stands.
fn last_word(query: &QueryText, name: &str) -> Option<Span> {
    let tokens = tokenize(&query.text).ok()?;
    let token = tokens
        .iter()
        .rev()
        .find(|token| token.kind != TokenKind::Symbol && token.value(&query.text) == name)?;
    Some(token.span.shifted(query.span.start))
}

/// The rows, ended by a problem where there are more than the configuration allows.
fn capped(output: Output, most: u64) -> Output {
    if most == 0 {
        return output;
    }
    let mut seen = 0;
    let rows = output.rows.map(move |batch| {
        let batch = batch?;
        seen += batch.num_rows() as u64;
        if seen > most {
            return Err(Problem::new(
                Ename::PolicyDenied,
                format!("the result has more than {} rows", grouped(most)),
            )
            .hint("add LIMIT, aggregate, or keep it with CREATE TABLE or COPY"));
        }
        Ok(batch)
    });
    Output { schema: output.schema, rows: Box::pin(rows) }
}
