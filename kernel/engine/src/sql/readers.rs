//! `read_csv`, `read_json` and `read_parquet` in FROM: their files are opened as their options say, and a name takes their place. Where
//! values have to be changed after reading (a text that means NULL, dates as people write them), it is a query over the values as text.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use carrel_cell::problem::{Ename, Problem};
use carrel_query::sql::{Provider, parse, place};
use carrel_query::words::type_name;
use datafusion::catalog::TableProvider;
use datafusion::common::{ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, Spanned, TableAlias,
    TableFactor, Value as SqlValue, VisitMut, VisitorMut,
};

use crate::config::Format;
use crate::names::open_files;
use crate::run::Run;
use crate::session::Session;
use crate::table::{FileTable, Reading, Value};

/// Rows that are looked at to find out which texts are dates or numbers.
const LOOK_ROWS: usize = 1000;

/// The functions, with the format that they read.
const READERS: &[(&str, Format)] = &[
    ("read_parquet", Format::Parquet),
    ("parquet_scan", Format::Parquet),
    ("read_csv", Format::Csv),
    ("read_csv_auto", Format::Csv),
    ("read_json", Format::Ndjson),
    ("read_json_auto", Format::Ndjson),
    ("read_ndjson", Format::Ndjson),
    ("read_ndjson_auto", Format::Ndjson),
];

/// Opens what the query reads by these functions and puts names in their place.
///
/// # Errors
/// What is wrong with a call, at its place; what is wrong with its files.
pub(super) async fn opened(
    session: &Session,
    provider: &mut Provider<'_>,
    query: &mut Query,
    sql: &str,
    run: &Arc<Run>,
) -> Result<(), Problem> {
    let found = {
        let mut calls = Calls { sql, provider, found: Vec::new() };
        if let ControlFlow::Break(problem) = VisitMut::visit(query, &mut calls) {
            return Err(*problem);
        }
        calls.found
    };
    let mut changed = BTreeMap::new();
    for call in found {
        run.check()?;
        let at = |problem: Problem| {
            if problem.span.is_none() { Problem { span: call.span, ..problem } } else { problem }
        };
        let reading = call.reading.clone();
        let table = open_files(session, &call.paths, reading.clone()).await.map_err(at)?;
        if !reading.converts() {
            provider.add(TableReference::bare(call.name), provider_as_source(table));
            continue;
        }
        let typed = table.schema();
        let raw = open_files(session, &call.paths, reading.as_text()).await.map_err(at)?;
        provider.add(TableReference::bare(call.name.as_str()), provider_as_source(raw.clone()));
        let types = types(session, provider, (&call, &raw), typed, run).await.map_err(at)?;
        changed.insert(call.name.clone(), parse(&converted(&call, &types))?);
    }
    let mut queries = Queries(changed);
    let _ = VisitMut::visit(query, &mut queries);
    Ok(())
}

/// One call.
struct Call {
    /// What it is called instead.
    name: String,
    paths: Vec<String>,
    reading: Reading,
    /// Where its paths are written.
    span: Option<carrel_cell::problem::Span>,
}

struct Calls<'a, 'b> {
    sql: &'a str,
    provider: &'a Provider<'b>,
    found: Vec<Call>,
}

impl VisitorMut for Calls<'_, '_> {
    type Break = Box<Problem>;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Box<Problem>> {
        let TableFactor::Table { name, alias, args, .. } = factor else { return ControlFlow::Continue(()) };
        let [part] = name.0.as_slice() else { return ControlFlow::Continue(()) };
        let (Some(ident), Some(given)) = (part.as_ident(), args.as_ref()) else {
            return ControlFlow::Continue(());
        };
        let function = ident.value.to_lowercase();
        let Some((_, format)) = READERS.iter().find(|(known, _)| *known == function) else {
            return ControlFlow::Continue(());
        };
        let span = ident.span;
        match self.call(&function, *format, &given.args, place(self.sql, span)) {
            Ok(call) => {
                if alias.is_none() {
                    *alias = Some(alias_of(Ident { value: function, quote_style: None, span }));
                }
                *name =
                    ObjectName::from(vec![Ident { value: call.name.clone(), quote_style: Some('"'), span }]);
                *args = None;
                self.found.push(call);
                ControlFlow::Continue(())
            }
            Err(problem) => ControlFlow::Break(Box::new(problem)),
        }
    }
}

impl Calls<'_, '_> {
    fn call(
        &self,
        function: &str,
        format: Format,
        args: &[FunctionArg],
        span: Option<carrel_cell::problem::Span>,
    ) -> Result<Call, Problem> {
        let problem = |text: String| {
            Problem { span, ..Problem::new(Ename::TypeError, text) }
                .hint(format!("write {function}('data/*.csv', option = value), or a list of paths"))
        };
        let mut reading = Reading::of(format);
        let (mut paths, mut files) = (None, span);
        for arg in args {
            let here = |problem: Problem| match place(self.sql, arg.span()) {
                Some(span) if problem.span.is_none() => Problem { span: Some(span), ..problem },
                _ => problem,
            };
            match option(arg) {
                Some((name, expr)) => {
                    let given = value(expr)
                        .ok_or_else(|| here(problem(format!("the option {name} takes a literal"))))?;
                    reading.set(&name, given, &|name| self.type_of(name)).map_err(here)?;
                }
                None => {
                    let given = match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => value(expr),
                        _ => None,
                    };
                    let given = match given {
                        Some(Value::Text(path)) => Some(vec![path]),
                        Some(Value::List(list)) => list
                            .into_iter()
                            .map(|value| if let Value::Text(path) = value { Some(path) } else { None })
                            .collect(),
                        _ => None,
                    };
                    let given = given.filter(|given| !given.is_empty() && paths.is_none());
                    files = place(self.sql, arg.span()).or(span);
                    paths = Some(given.ok_or_else(|| {
                        here(problem(format!("{function} takes a path or a list of paths, as text")))
                    })?);
                }
            }
        }
        let paths = paths.ok_or_else(|| problem(format!("{function} takes a path")))?;
        Ok(Call { name: format!("__read_{}", self.found.len()), paths, reading, span: files })
    }

    /// The type of this name.
    fn type_of(&self, name: &str) -> Option<DataType> {
        let query = parse(&format!("SELECT CAST(NULL AS {name}) AS x")).ok()?;
        let plan = self.provider.plan(query).ok()?;
        let [field] = plan.schema().fields().as_ref() else { return None };
        Some(field.data_type().clone())
    }
}

/// `name = value`, `name := value` or `name => value`.
fn option(arg: &FunctionArg) -> Option<(String, &Expr)> {
    match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((name.value.to_lowercase(), expr))
        }
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((name.value.to_lowercase(), expr))
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        })) => match left.as_ref() {
            Expr::Identifier(name) => Some((name.value.to_lowercase(), right)),
            _ => None,
        },
        _ => None,
    }
}

fn value(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Value(value) => match &value.value {
            SqlValue::SingleQuotedString(text) => Some(Value::Text(text.clone())),
            SqlValue::Boolean(yes) => Some(Value::Bool(*yes)),
            SqlValue::Number(number, _) => number.parse().ok().map(Value::Number),
            _ => None,
        },
        Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Minus, expr } => match value(expr)? {
            Value::Number(number) => Some(Value::Number(-number)),
            _ => None,
        },
        Expr::Nested(inner) => value(inner),
        Expr::Array(array) => array.elem.iter().map(value).collect::<Option<_>>().map(Value::List),
        Expr::Dictionary(fields) => {
            let field = |field: &sqlparser::ast::DictionaryField| {
                Some((field.key.value.clone(), value(&field.value)?))
            };
            fields.iter().map(field).collect::<Option<_>>().map(Value::Struct)
        }
        _ => None,
    }
}

/// The types that the columns get: as they were told or found out; texts that all are dates or numbers as these are written.
async fn types(
    session: &Session,
    provider: &Provider<'_>,
    (call, raw): (&Call, &FileTable),
    typed: SchemaRef,
    run: &Arc<Run>,
) -> Result<Vec<(String, DataType)>, Problem> {
    let mut types: Vec<_> =
        typed.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
    let told = |at: usize| {
        let reading = &call.reading;
        reading.columns.is_some()
            || reading.all_text
            || at < reading.first_types.len()
            || reading.types.iter().any(|(name, _)| name.eq_ignore_ascii_case(&types[at].0))
            || raw.partitions.contains(&types[at].0)
    };
    let unsure: Vec<usize> = (0..types.len())
        .filter(|at| matches!(types[*at].1, DataType::Utf8 | DataType::Utf8View) && !told(*at))
        .collect();
    let kinds = kinds(&call.reading);
    if unsure.is_empty() || kinds.is_empty() {
        return Ok(types);
    }
    let each = unsure.iter().flat_map(|at| {
        let base = base(call, &types[*at].0);
        let fits = |(_, of): &(DataType, Attempt)| {
            format!("count({base}) > 0 AND count({base}) = count({})", of.replace(BASE, &base))
        };
        kinds.iter().map(fits).collect::<Vec<_>>()
    });
    let items: Vec<_> = each.enumerate().map(|(n, item)| format!("{item} AS c{n}")).collect();
    let question =
        format!("SELECT {} FROM (SELECT * FROM {} LIMIT {LOOK_ROWS}) t", items.join(", "), name(&call.name));
    let answer = super::ask(session, provider, parse(&question)?, &question, run).await?;
    let fits = answer.into_iter().next().unwrap_or_default();
    let mut fits = fits.into_iter().map(|value| value == ScalarValue::Boolean(Some(true)));
    for at in unsure {
        for (kind, _) in &kinds {
            if fits.next() == Some(true) && matches!(types[at].1, DataType::Utf8 | DataType::Utf8View) {
                types[at].1 = kind.clone();
            }
        }
    }
    Ok(types)
}

/// SQL that gives NULL for a text that is none of a kind; [`BASE`] stands for the text.
type Attempt = String;

const BASE: &str = "\u{1}";

/// What texts may be, by what was told.
fn kinds(reading: &Reading) -> Vec<(DataType, Attempt)> {
    let mut kinds = Vec::new();
    if reading.decimal.is_some() {
        kinds.push((DataType::Float64, format!("TRY_CAST(replace({BASE}, ',', '.') AS DOUBLE)")));
    }
    if let Some(pattern) = &reading.dates {
        kinds.push((DataType::Date32, format!("try_strptime({BASE}, {})", text(pattern))));
    }
    if let Some(pattern) = &reading.times {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
        kinds.push((kind, format!("try_strptime({BASE}, {})", text(pattern))));
    }
    kinds
}

/// A column's text without what means NULL.
fn base(call: &Call, column: &str) -> String {
    let nulls: Vec<_> = call.reading.nulls.iter().map(|null| text(null)).collect();
    match nulls.is_empty() {
        true => name(column),
        false => format!("(CASE WHEN {0} IN ({1}) THEN NULL ELSE {0} END)", name(column), nulls.join(", ")),
    }
}

/// The query that takes the place of a call.
fn converted(call: &Call, types: &[(String, DataType)]) -> String {
    let reading = &call.reading;
    let each = types.iter().map(|(column, kind)| {
        if reading.filename.as_ref() == Some(column) {
            return name(column);
        }
        let base = base(call, column);
        let value = match (kind, &reading.dates, &reading.times) {
            (DataType::Utf8 | DataType::Utf8View, _, _) => base,
            (DataType::Date32, Some(pattern), _) => {
                format!("CAST(strptime({base}, {}) AS DATE)", text(pattern))
            }
            (DataType::Timestamp(..), _, Some(pattern)) => format!("strptime({base}, {})", text(pattern)),
            (kind, _, _) if kind.is_numeric() && reading.decimal.is_some() => {
                format!("CAST(replace({base}, ',', '.') AS {})", type_name(kind))
            }
            (kind, _, _) => format!("CAST({base} AS {})", type_name(kind)),
        };
        format!("{value} AS {}", name(column))
    });
    format!("SELECT {} FROM {}", each.collect::<Vec<_>>().join(", "), name(&call.name))
}

/// Puts queries in the place of names.
struct Queries(BTreeMap<String, Query>);

impl VisitorMut for Queries {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, sample, .. } = factor
            && let [part] = name.0.as_slice()
            && let Some(query) = part.as_ident().and_then(|ident| self.0.remove(&ident.value))
        {
            *factor = TableFactor::Derived {
                lateral: false,
                subquery: Box::new(query),
                alias: alias.take(),
                sample: sample.take(),
            };
        }
        ControlFlow::Continue(())
    }
}

fn alias_of(name: Ident) -> TableAlias {
    TableAlias { explicit: false, name, columns: Vec::new(), at: None }
}

fn name(of: &str) -> String {
    format!("\"{}\"", of.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
