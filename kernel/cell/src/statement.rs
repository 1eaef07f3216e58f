//! The statements of the cell language: what a cell holds, cut at `;`, each recognised by its first words.
//! Queries stay text for the engine's SQL parser; everything around them is taken apart here.
//! Every span is a byte range of the text given to the parser.

mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

pub use crate::problem::Span;
use crate::problem::{Ename, Problem};
use crate::token::{Token, tokenize};
use parser::Parser;

/// One statement of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Its text, without the `;` and without comments around it.
    pub text: String,
    /// Its place.
    pub span: Span,
    /// What it asks for.
    pub kind: StatementKind,
}

/// What a statement asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `SHOW DATASETS [LIKE 'pattern']`
    ShowDatasets { like: Option<String> },
    /// `SHOW TABLES [LIKE 'pattern']`: the session's tables and views.
    ShowTables { like: Option<String> },
    /// `SHOW MORE`: the next rows of the last result.
    ShowMore,
    /// `SHOW MODELS [LIKE 'pattern']`
    ShowModels { like: Option<String> },
    /// `SHOW FUNCTIONS [LIKE 'pattern']`
    ShowFunctions { like: Option<String> },
    /// `SHOW ALL`, `SHOW SETTINGS`, `SHOW key`
    ShowSetting { key: Option<String> },
    /// `DESCRIBE name | 'file' | query`
    Describe { target: Target },
    /// `SUMMARIZE name | 'file' | query`
    Summarize { target: Target },
    /// `CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name OPTIONS(…) AS query`
    CreateModel(CreateModel),
    /// `DROP MODEL [IF EXISTS] name`
    DropModel { name: Name, if_exists: bool },
    /// `SET key = value`, `SET key TO value`, `USE schema`; no value means `RESET key`.
    Set { key: String, value: Option<OptionValue>, span: Span },
    /// `SET VARIABLE name = value`: a value for `:name`; no value means `RESET VARIABLE name`.
    SetVariable { name: String, value: Option<OptionValue>, span: Span },
    /// `CREATE [OR REPLACE] [TEMP] TABLE [IF NOT EXISTS] name AS query`
    CreateTable(Create),
    /// `CREATE [OR REPLACE] [TEMP] VIEW [IF NOT EXISTS] name AS query`
    CreateView(Create),
    /// `DROP TABLE|VIEW [IF EXISTS] name`
    Drop { object: Object, name: Name, if_exists: bool },
    /// `COPY query|name TO 'file' [(option value, …)]`
    Copy(Copy),
    /// `ATTACH 'hdfs://…' AS name`
    Attach { place: String, place_span: Span, name: Name },
    /// `DETACH [IF EXISTS] name`
    Detach { name: Name, if_exists: bool },
    /// `EXPLAIN [ANALYZE] [VERBOSE] query`
    Explain { analyze: bool, verbose: bool, query: QueryText },
    /// A query for the engine.
    Query(QueryText),
    /// `[query] VISUALISE … DRAW …`: a plot. The clauses begin at `VISUALISE`.
    Visualise { query: Option<QueryText>, clauses: QueryText },
}

/// What `DESCRIBE` and `SUMMARIZE` look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A dataset, session table or view.
    Name(Name),
    /// A file by path.
    File { path: String, span: Span },
    /// A query's result.
    Query(QueryText),
}

/// `CREATE MODEL`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateModel {
    /// The model's name.
    pub name: Name,
    /// `OR REPLACE`
    pub replace: bool,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// `OPTIONS(…)` in the order given; names in lower case.
    pub options: Vec<OptionEntry>,
    /// The training data.
    pub query: QueryText,
}

/// `CREATE TABLE … AS` or `CREATE VIEW … AS`
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// Its name.
    pub name: Name,
    /// `OR REPLACE`
    pub replace: bool,
    /// `IF NOT EXISTS`
    pub if_not_exists: bool,
    /// `TEMP` or `TEMPORARY`
    pub temp: bool,
    /// What fills it.
    pub query: QueryText,
}

/// `COPY … TO`
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// What is written.
    pub query: QueryText,
    /// The file, relative to the home.
    pub file: String,
    /// The file's place.
    pub file_span: Span,
    /// `(FORMAT csv, HEADER true)`; names in lower case.
    pub options: Vec<OptionEntry>,
}

/// A table or a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A table.
    Table,
    /// A view.
    View,
}

/// One `name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionEntry {
    /// The name in lower case.
    pub name: String,
    /// The value.
    pub value: OptionValue,
    /// Both, with what is between.
    pub span: Span,
}

/// A literal in an option list or after `SET`.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A string, or a bare word.
    Text(String),
    /// A number.
    Number(f64),
    /// `TRUE` or `FALSE`
    Bool(bool),
    /// `['a', 'b']`
    List(Vec<OptionValue>),
    /// `NULL`
    Null,
}

impl OptionValue {
    /// The text of a string or a bare word.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value; `on`, `off`, `yes`, `no` count.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => match text.to_ascii_lowercase().as_str() {
                "on" | "yes" | "true" => Some(true),
                "off" | "no" | "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("NULL"),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A name of one to three parts; bare parts are in lower case, as SQL folds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The parts, without quotes.
    pub parts: Vec<String>,
    /// Its place.
    pub span: Span,
}

impl Name {
    /// The last part.
    pub fn last(&self) -> &str {
        self.parts.last().map_or("", String::as_str)
    }

    /// The parts joined by dots, each quoted where SQL needs it.
    pub fn to_sql(&self) -> String {
        let quoted: Vec<_> = self.parts.iter().map(|part| quote_name(part)).collect();
        quoted.join(".")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join("."))
    }
}

/// A query's text and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryText {
    /// The text.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A name as SQL needs it: in double quotes unless it is a plain lower-case word.
pub fn quote_name(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A string as SQL needs it: in single quotes.
pub fn quote_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "create",
    "cross",
    "desc",
    "distinct",
    "drop",
    "else",
    "end",
    "except",
    "exists",
    "false",
    "fetch",
    "filter",
    "for",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "qualify",
    "right",
    "select",
    "set",
    "show",
    "sort",
    "table",
    "then",
    "true",
    "union",
    "unnest",
    "using",
    "values",
    "view",
    "when",
    "where",
    "window",
    "with",
];

/// The texts of a cell's statements with their places; none if it holds only white space and comments.
pub fn cut(src: &str) -> Result<Vec<QueryText>, Problem> {
    let tokens = tokenize(src)?;
    let parts = tokens.split(|token| token.is_symbol(src, ';'));
    let text = |part: &[Token]| {
        let span = part.first()?.span.to(part.last()?.span);
        Some(QueryText { text: span.of(src).to_owned(), span })
    };
    Ok(parts.filter_map(text).collect())
}

/// All statements of a cell; none if it holds only white space and comments.
pub fn parse_cell(src: &str) -> Result<Vec<Statement>, Problem> {
    let tokens = tokenize(src)?;
    let mut statements = Vec::new();
    for part in tokens.split(|token| token.is_symbol(src, ';')) {
        if !part.is_empty() {
            statements.push(Parser::new(src, part).statement()?);
        }
    }
    Ok(statements)
}

/// Exactly one statement.
pub fn parse_statement(src: &str) -> Result<Statement, Problem> {
    let mut statements = parse_cell(src)?;
    match statements.len() {
        1 => Ok(statements.remove(0)),
        0 => Err(Problem::new(Ename::SyntaxError, "there is no statement")),
        n => Err(Problem::syntax(statements[1].span, format!("one statement was expected, here are {n}"))
            .hint("send them one by one")),
    }
}
