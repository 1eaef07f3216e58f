//! DataFusion's, sqlparser's, Arrow's and Parquet's errors as problems a user understands: one line, a kind, the place
//! in the statement, a suggestion. Nothing of the libraries' own words about themselves, nothing of the host.

mod files;
mod mismatch;
mod place;
mod text;
mod types;

use std::error::Error;
use std::fmt::Display;

use arrow::error::ArrowError;
use carrel_cell::problem::{Ename, Problem, did_you_mean};
use carrel_cell::statement::quote_name;
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use parquet::errors::ParquetError;

pub use place::{location, token};
pub use text::in_words;
use text::{clean, meant_as_text, memory};

/// An error of a query as a problem, placed in `sql` where that can be found out.
pub fn of(error: &DataFusionError, sql: &str) -> Problem {
    let problem = meant_as_text(root(error, None, sql), sql);
    match problem.span {
        Some(_) => problem,
        None => place::guess(problem, sql),
    }
}

/// An error while the columns of files were looked for.
pub fn of_files(error: &DataFusionError, label: &str) -> Problem {
    let problem = of(error, "");
    match problem.ename {
        Ename::Cancelled
        | Ename::Internal
        | Ename::MemoryLimit
        | Ename::PolicyDenied
        | Ename::FileNotFound
        | Ename::SourceUnavailable
        | Ename::SourceChanged
        | Ename::CorruptFile => problem,
        _ => Problem::new(Ename::CorruptFile, format!("{label} cannot be read: {}", problem.message)),
    }
}

/// A fault of ours: logged, shown by its reference.
pub fn internal(what: &str, error: &dyn Display) -> Problem {
    logged("-", &format!("{what}: {error}"))
}

/// Logs a fault and gives the problem that names its reference.
pub fn logged(handle: &str, what: &str) -> Problem {
    let reference = uuid::Uuid::new_v4().simple().to_string();
    let reference = &reference[..8];
    tracing::error!(
        fault.reference = reference,
        statement = handle,
        fault.cause = what,
        "fault in a statement"
    );
    Problem::new(Ename::Internal, format!("this is a fault of Carrel, logged as {reference}"))
        .hint("the session and its tables are unharmed; tell the administrator the reference")
}

/// What a full disk says.
pub fn disk_full() -> Problem {
    Problem::new(Ename::DiskLimit, "there is no space left for this result")
        .hint("drop tables that are not needed (SHOW TABLES), delete files, or ask for more space")
}

/// An I/O error in words, without paths.
pub fn kind_text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.kind().to_string(),
        |code| {
            rustix::io::Errno::from_raw_os_error(code)
                .to_string()
                .split(" (")
                .next()
                .unwrap_or_default()
                .to_lowercase()
        },
    )
}

/// A problem as an error that travels through DataFusion and comes out of [`of`] unchanged.
pub fn wrap(problem: Problem) -> DataFusionError {
    DataFusionError::External(Box::new(problem))
}

fn root(error: &DataFusionError, diagnostic: Option<&Diagnostic>, sql: &str) -> Problem {
    match error {
        DataFusionError::Diagnostic(inner_diagnostic, inner) => {
            root(inner, Some(diagnostic.unwrap_or(inner_diagnostic)), sql)
        }
        DataFusionError::Context(_, inner) => root(inner, diagnostic, sql),
        DataFusionError::Shared(inner) => root(inner, diagnostic, sql),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => root(first, diagnostic, sql),
            None => internal("an empty error", error),
        },
        DataFusionError::External(inner) => external(inner.as_ref(), sql),
        DataFusionError::SQL(inner, _) => parser(inner, sql),
        DataFusionError::SchemaError(inner, _) => with_place(schema(inner), diagnostic, sql),
        DataFusionError::Plan(message) => with_place(plan(message), diagnostic, sql),
        DataFusionError::NotImplemented(message) => with_place(not_supported(message), diagnostic, sql),
        DataFusionError::Configuration(message) => Problem::new(Ename::BadOption, clean(message)),
        DataFusionError::Execution(message) => execution(message),
        DataFusionError::ArrowError(inner, _) => arrow_error(inner, sql),
        DataFusionError::ParquetError(inner) => parquet(inner, sql),
        DataFusionError::ObjectStore(inner) => store(inner),
        DataFusionError::IoError(inner) => io(inner),
        DataFusionError::ResourcesExhausted(message) => memory(message),
        DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => {
            Problem::new(Ename::Cancelled, "cancelled")
        }
        DataFusionError::Internal(message) => doubtful_internal(message, diagnostic, sql),
        other if text::is_resource(&other.message()) => memory(&other.message()),
        other => internal("an unexpected error", other),
    }
}

/// Errors of others inside DataFusion's: ours come back as they were.
fn external(error: &(dyn Error + Send + Sync + 'static), sql: &str) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return of(inner, sql);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow_error(inner, sql);
    }
    if let Some(inner) = error.downcast_ref::<object_store::Error>() {
        return store(inner);
    }
    if let Some(inner) = error.downcast_ref::<std::io::Error>() {
        return io(inner);
    }
    if let Some(inner) = error.downcast_ref::<ParquetError>() {
        return parquet(inner, sql);
    }
    let text = error.to_string();
    if text::is_resource(&text) { memory(&text) } else { internal("an unexpected error", &text) }
}

/// A Parquet file that is broken, or the trouble of reading its bytes.
fn parquet(error: &ParquetError, sql: &str) -> Problem {
    match error {
        ParquetError::External(inner) => external(inner.as_ref(), sql),
        other => {
            let text = format!("a Parquet file cannot be read: {}", clean(&other.to_string()));
            Problem::new(Ename::CorruptFile, text)
        }
    }
}

fn with_place(problem: Problem, diagnostic: Option<&Diagnostic>, sql: &str) -> Problem {
    let span = diagnostic.and_then(|d| d.span).and_then(|span| place::span(sql, &span));
    match span {
        Some(span) if problem.span.is_none() => problem.at(span),
        _ => problem,
    }
}

/// A text that is no query.
pub fn parser(error: &ParserError, sql: &str) -> Problem {
    let (ParserError::ParserError(message) | ParserError::TokenizerError(message)) = error else {
        return Problem::new(Ename::Unsupported, "the statement is nested too deeply")
            .hint("break it into views or session tables");
    };
    let (message, at) = text::without_location(message);
    let span = match at {
        Some((line, column)) => location(sql, line, column).map(|at| token(sql, at)),
        None => Some(token(sql, sql.len())),
    };
    let message = text::parser_words(&message);
    let problem = Problem::new(Ename::SyntaxError, message);
    let Some(span) = span else { return problem };
    match text::misspelt_keyword(span.of(sql)) {
        Some(near) => problem.at(span).hint(format!("did you mean {near}?")),
        None => problem.at(span),
    }
}

fn schema(error: &SchemaError) -> Problem {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let text = match &field.relation {
                Some(relation) => format!("no column {} in {}", field.name, relation.table()),
                None => format!("no column {}", field.name),
            };
            let problem = Problem::new(Ename::UnknownColumn, text);
            suggest_column(problem, field, valid_fields)
        }
        SchemaError::AmbiguousReference { field } => {
            Problem::new(Ename::AmbiguousName, format!("the column {} is in more than one table", field.name))
                .hint(format!("write the table before it, as in t.{}", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Problem::new(Ename::AmbiguousName, format!("two columns are called {name}"))
                .hint(format!("give one of them another name with {name} AS …"))
        }
    }
}

/// What a column's name is told to need, before the name itself.
const CAPITALS: &str = "names with capitals need quotes: ";

/// The column that is meant by a name that is there only with other capitals, in quotes.
pub fn with_capitals(problem: &Problem) -> Option<&str> {
    problem.hint.as_deref().filter(|_| problem.ename == Ename::UnknownColumn)?.strip_prefix(CAPITALS)
}

fn suggest_column(problem: Problem, field: &Column, valid: &[Column]) -> Problem {
    // of a table that was named only what this table has
    let beside = |column: &&Column| field.relation.is_none() || column.relation == field.relation;
    let mut names: Vec<_> = valid.iter().filter(beside).map(|column| column.name.as_str()).collect();
    if names.is_empty() {
        names = valid.iter().map(|column| column.name.as_str()).collect();
    }
    let lower = field.name.to_lowercase();
    let mut alike: Vec<_> = names.iter().filter(|name| name.to_lowercase() == lower).collect();
    alike.sort_unstable();
    alike.dedup();
    if let [one] = alike.as_slice()
        && **one != field.name
    {
        return problem.hint(format!("{CAPITALS}\"{}\"", one.replace('"', "\"\"")));
    }
    if let Some(near) = did_you_mean(&field.name, &names) {
        let plain = near.chars().all(|c| c.is_alphanumeric() || c == '_');
        let near = if plain { near } else { quote_name(&near) };
        return problem.hint(format!("did you mean {near}?"));
    }
    if names.is_empty() || names.len() > 30 {
        return problem;
    }
    problem.hint(format!("there are: {}", names.join(", ")))
}

fn plan(message: &str) -> Problem {
    let known = [
        text::unknown_table,
        text::unknown_function,
        text::not_grouped,
        text::same_name,
        mismatch::no_condition,
    ];
    if let Some(problem) = known.iter().find_map(|read| read(message)) {
        return problem;
    }
    let cleaned = clean(message);
    let lower = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&[
        "coerc",
        "cannot infer common",
        "type_coercion",
        "data type",
        "cannot cast",
        "signature",
        "but received",
    ]) {
        return mismatch::mismatch(message);
    }
    if has(&["not supported", "unsupported", "not implemented", "does not support"]) {
        return not_supported(message);
    }
    if has(&["failed to resolve schema", "failed to resolve catalog"]) {
        return Problem::new(Ename::UnknownDataset, cleaned).hint("SHOW DATASETS lists what there is");
    }
    Problem::new(Ename::SyntaxError, cleaned)
}

fn not_supported(message: &str) -> Problem {
    if let Some(problem) = mismatch::stands_wrongly(message) {
        return problem;
    }
    let cleaned = clean(message);
    let cleaned = cleaned.split(". No function matches").next().unwrap_or(&cleaned).trim_end_matches('.');
    let said = cleaned.to_lowercase().contains("support") || cleaned.to_lowercase().contains("implemented");
    let text = if said { cleaned.to_owned() } else { format!("not supported: {cleaned}") };
    Problem::new(Ename::Unsupported, text)
}

/// DataFusion calls some mistakes of users internal errors.
fn doubtful_internal(message: &str, diagnostic: Option<&Diagnostic>, sql: &str) -> Problem {
    let lower = message.to_lowercase();
    if lower.contains("coerc")
        || lower.contains("signature")
        || lower.contains("expects")
        || lower.contains("argument")
    {
        return with_place(mismatch::mismatch(message), diagnostic, sql);
    }
    internal("an internal error of the query engine", &message)
}

fn execution(message: &str) -> Problem {
    let lower = message.to_lowercase();
    if lower.contains("resources exhausted") {
        return memory(message);
    }
    Problem::new(Ename::ValueError, clean(message))
}

fn arrow_error(error: &ArrowError, sql: &str) -> Problem {
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref(), sql),
        ArrowError::DivideByZero => Problem::new(Ename::ValueError, "division by zero")
            .hint("guard it: x / NULLIF(y, 0) gives NULL instead"),
        ArrowError::CastError(message) => Problem::new(Ename::ValueError, text::cast_words(message))
            .hint("TRY_CAST(x AS type) gives NULL where a value does not fit"),
        ArrowError::ArithmeticOverflow(message) => {
            Problem::new(Ename::ValueError, format!("a number is too large for its type: {}", clean(message)))
                .hint("compute in DOUBLE or in a wider DECIMAL: CAST(x AS DOUBLE)")
        }
        ArrowError::MemoryError(message) => memory(message),
        ArrowError::IoError(_, inner) => io(inner),
        ArrowError::CsvError(message) | ArrowError::JsonError(message) => files::text_file(message),
        ArrowError::ParquetError(message) => {
            Problem::new(Ename::CorruptFile, format!("a Parquet file cannot be read: {}", clean(message)))
        }
        ArrowError::IpcError(message) => {
            Problem::new(Ename::CorruptFile, format!("an Arrow file cannot be read: {}", clean(message)))
        }
        ArrowError::NotYetImplemented(message) => not_supported(message),
        ArrowError::ComputeError(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::SchemaError(message) => Problem::new(Ename::ValueError, clean(message)),
        other => internal("an unexpected error of Arrow", other),
    }
}

fn store(error: &object_store::Error) -> Problem {
    let source = match error {
        object_store::Error::Generic { source, .. }
        | object_store::Error::NotFound { source, .. }
        | object_store::Error::PermissionDenied { source, .. } => Some(source),
        _ => None,
    };
    // a cluster says itself what is the matter
    let said = source.and_then(|source| source.downcast_ref::<std::io::Error>()?.get_ref());
    if let Some(problem) = said.and_then(|inner| inner.downcast_ref::<Problem>()) {
        return problem.clone();
    }
    match error {
        object_store::Error::NotFound { path, .. } => {
            let name = path.rsplit('/').next().unwrap_or_default();
            Problem::new(Ename::FileNotFound, format!("the file {name} is gone"))
                .hint("run the statement again")
        }
        object_store::Error::PermissionDenied { path, .. } => {
            let name = path.rsplit('/').next().unwrap_or_default();
            Problem::new(Ename::PolicyDenied, format!("the file {name} may not be read"))
        }
        object_store::Error::Generic { source, .. } => match source.downcast_ref::<std::io::Error>() {
            Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Problem::new(Ename::CorruptFile, "a file is shorter than it says")
            }
            Some(error) => io(error),
            None => external(source.as_ref(), ""),
        },
        object_store::Error::JoinError { source } if source.is_cancelled() => {
            Problem::new(Ename::Cancelled, "cancelled")
        }
        other => internal("a store's error", other),
    }
}

fn io(error: &std::io::Error) -> Problem {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(),
        ErrorKind::UnexpectedEof => Problem::new(Ename::CorruptFile, "a file is shorter than it says"),
        _ => match error.get_ref() {
            Some(inner) => files::packed_file(&inner.to_string()).unwrap_or_else(|| external(inner, "")),
            None => Problem::new(Ename::FileNotFound, format!("a file cannot be used: {}", kind_text(error))),
        },
    }
}

#[cfg(test)]
mod tests;
