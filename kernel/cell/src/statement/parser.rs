//! Recursive descent over the tokens of one statement.

mod pieces;

use super::*;
use crate::token::{Token, TokenKind};

/// Reads one statement from its tokens (at least one, no `;`).
pub(super) struct Parser<'a> {
    src: &'a str,
    tokens: &'a [Token],
    at: usize,
}

type Parsed<T> = Result<T, Problem>;

/// First words that begin a query.
const QUERY_WORDS: &[&str] =
    &["SELECT", "WITH", "VALUES", "FROM", "TABLE", "PIVOT", "PIVOT_WIDER", "UNPIVOT", "PIVOT_LONGER"];

/// Begins the plot after a query.
const VISUALISE: &[&str] = &["VISUALISE", "VISUALIZE"];

/// First words of the language, for "did you mean".
const FIRST_WORDS: &[&str] = &[
    "SELECT",
    "WITH",
    "VALUES",
    "FROM",
    "TABLE",
    "PIVOT",
    "UNPIVOT",
    "SHOW",
    "DESCRIBE",
    "SUMMARIZE",
    "CREATE",
    "DROP",
    "SET",
    "RESET",
    "USE",
    "COPY",
    "EXPLAIN",
    "ATTACH",
    "DETACH",
    "VISUALISE",
];

/// First words of SQL that Carrel refuses, with what to do instead.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "REPLACE", "UPSERT"],
        "datasets are read-only; build a session table with CREATE OR REPLACE TABLE name AS SELECT …",
    ),
    (&["ALTER", "RENAME"], "use CREATE OR REPLACE TABLE name AS SELECT …"),
    (&["GRANT", "REVOKE", "DENY"], "rights are given by the administrator, in the configuration"),
    (
        &["BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "END"],
        "each statement takes effect by itself; there are no transactions",
    ),
    (
        &["INSTALL", "LOAD", "IMPORT", "EXPORT", "UNLOAD"],
        "read a file by its path: SELECT * FROM 'file.parquet'; write one with COPY (query) TO 'file.parquet'",
    ),
    (&["PREPARE", "EXECUTE", "DEALLOCATE"], "prepared statements are made through Flight SQL, not in a cell"),
    (&["PRAGMA"], "use SET key = value, or SHOW ALL"),
    (
        &["ANALYZE", "VACUUM", "OPTIMIZE", "CACHE", "UNCACHE", "REFRESH", "MSCK"],
        "statistics and caches look after themselves; EXPLAIN ANALYZE query shows what a query did",
    ),
    (&["CALL", "DO", "DECLARE", "KILL", "LOCK", "COMMENT"], "it has no meaning here"),
];

impl<'a> Parser<'a> {
    pub(super) fn new(src: &'a str, tokens: &'a [Token]) -> Self {
        Self { src, tokens, at: 0 }
    }

    pub(super) fn statement(mut self) -> Parsed<Statement> {
        let span = self.tokens[0].span.to(self.tokens[self.tokens.len() - 1].span);
        let kind = self.kind()?;
        if self.at < self.tokens.len() {
            return Err(self.unexpected("the end of the statement"));
        }
        Ok(Statement { text: span.of(self.src).to_owned(), span, kind })
    }

    fn kind(&mut self) -> Parsed<StatementKind> {
        if let Some(at) = self.visualise() {
            return self.plot(at);
        }
        if self.at_query() {
            return Ok(StatementKind::Query(self.query()?));
        }
        if self.word("SHOW") {
            self.show()
        } else if self.word("DESCRIBE") || self.word("DESC") {
            Ok(StatementKind::Describe { target: self.target()? })
        } else if self.word("SUMMARIZE") || self.word("SUMMARISE") {
            Ok(StatementKind::Summarize { target: self.target()? })
        } else if self.word("CREATE") {
            self.create()
        } else if self.word("DROP") {
            self.drop()
        } else if self.word("SET") || self.word("RESET") || self.word("USE") {
            self.set()
        } else if self.word("COPY") {
            self.copy()
        } else if self.word("EXPLAIN") {
            self.explain()
        } else if self.word("ATTACH") {
            self.attach()
        } else if self.word("DETACH") {
            let if_exists = self.if_exists()?;
            Ok(StatementKind::Detach { name: self.name("the name of something attached")?, if_exists })
        } else {
            Err(self.refused())
        }
    }

    /// Where `VISUALISE` stands after a query, or at the start.
    fn visualise(&self) -> Option<usize> {
        let is = |token: &Token| VISUALISE.iter().any(|word| token.is_word(self.src, word));
        if !self.at_query() && !self.peek().is_some_and(is) {
            return None;
        }
        let mut depth = 0_i32;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.span.of(self.src) {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ if depth == 0 && is(token) => return Some(at),
                _ => {}
            }
        }
        None
    }

    fn plot(&mut self, at: usize) -> Parsed<StatementKind> {
        let clauses = self.tokens[at].span.to(self.tokens[self.tokens.len() - 1].span);
        let before = &self.tokens[..at];
        let query = before.first().zip(before.last()).map(|(first, last)| {
            let span = first.span.to(last.span);
            QueryText { text: span.of(self.src).to_owned(), span }
        });
        self.at = self.tokens.len();
        let clauses = QueryText { text: clauses.of(self.src).to_owned(), span: clauses };
        Ok(StatementKind::Visualise { query, clauses })
    }

    fn show(&mut self) -> Parsed<StatementKind> {
        if self.word("DATASETS") {
            return Ok(StatementKind::ShowDatasets { like: self.like()? });
        }
        if self.word("MORE") {
            return Ok(StatementKind::ShowMore);
        }
        if self.word("TABLES") || self.word("VIEWS") {
            return Ok(StatementKind::ShowTables { like: self.like()? });
        }
        if self.word("MODELS") {
            return Ok(StatementKind::ShowModels { like: self.like()? });
        }
        if self.word("ALL") || self.word("SETTINGS") {
            return Ok(StatementKind::ShowSetting { key: None });
        }
        if self.word("FUNCTIONS") {
            return Ok(StatementKind::ShowFunctions { like: self.like()? });
        }
        for (word, hint) in [
            ("COLUMNS", "use DESCRIBE name"),
            ("FIELDS", "use DESCRIBE name"),
            ("CREATE", "use DESCRIBE name"),
            ("DATABASES", "use SHOW DATASETS"),
            ("SCHEMAS", "use SHOW DATASETS"),
            ("CATALOGS", "use SHOW DATASETS"),
        ] {
            if self.peek_word(word) {
                return Err(Problem::unsupported(self.here(), format!("SHOW {word} is not supported"), hint));
            }
        }
        let what = "DATASETS, TABLES, MODELS, FUNCTIONS, ALL or a setting";
        let Some(token) = self.peek().copied() else { return Err(self.unexpected(what)) };
        let near = crate::problem::did_you_mean(
            token.span.of(self.src),
            ["DATASETS", "TABLES", "MODELS", "FUNCTIONS", "SETTINGS"],
        );
        if let Some(near) = near {
            return Err(self.unexpected(what).hint(format!("did you mean SHOW {near}?")));
        }
        Ok(StatementKind::ShowSetting { key: Some(self.key()?) })
    }

    fn like(&mut self) -> Parsed<Option<String>> {
        if self.word("LIKE") || self.word("ILIKE") {
            return Ok(Some(self.string("a pattern such as 'click%'")?.0));
        }
        Ok(None)
    }

    fn target(&mut self) -> Parsed<Target> {
        if self.peek_word("TABLE") && self.tokens.len() > self.at + 1 {
            self.at += 1;
        } else if self.at_query() {
            return Ok(Target::Query(self.query()?));
        }
        if self.peek().is_some_and(|token| token.kind == TokenKind::String) {
            let (path, span) = self.string("a file")?;
            return Ok(Target::File { path, span });
        }
        let name = self.name("a dataset, a table, a 'file' or a query")?;
        if self.peek().is_some_and(|token| token.is_symbol(self.src, '(')) {
            let hint = format!("write FROM {name}(…) behind it, which is a query");
            return Err(Problem::unsupported(self.here(), "a function is not supported here", hint));
        }
        Ok(Target::Name(name))
    }

    fn create(&mut self) -> Parsed<StatementKind> {
        let replace = self.word("OR");
        if replace {
            self.expect_word("REPLACE")?;
        }
        let temp = self.word("TEMP") || self.word("TEMPORARY");
        if self.word("MODEL") {
            return self.create_model(replace);
        }
        let view = self.peek_word("VIEW");
        if !view && !self.peek_word("TABLE") {
            let what = self.peek().map_or("nothing", |token| token.span.of(self.src)).to_uppercase();
            let hint = "Carrel creates a TABLE, a VIEW or a MODEL, each AS SELECT …";
            return Err(Problem::unsupported(self.here(), format!("CREATE {what} is not supported"), hint));
        }
        self.at += 1;
        let if_not_exists = self.if_not_exists()?;
        let name = self.name(if view { "a name for the view" } else { "a name for the table" })?;
        if self.peek().is_some_and(|token| token.is_symbol(self.src, '(')) {
            return Err(Problem::unsupported(
                self.here(),
                "a column list is not supported here",
                format!("use CREATE TABLE {name} AS SELECT …; its columns are those of the query"),
            ));
        }
        let query = self.as_query()?;
        let create = Create { name, replace, if_not_exists, temp, query };
        Ok(if view { StatementKind::CreateView(create) } else { StatementKind::CreateTable(create) })
    }

    fn create_model(&mut self, replace: bool) -> Parsed<StatementKind> {
        let if_not_exists = self.if_not_exists()?;
        let name = self.name("a name for the model")?;
        if self.peek_word("TRANSFORM") {
            let hint = "write the expressions into the query after AS";
            return Err(Problem::unsupported(self.here(), "TRANSFORM is not supported", hint));
        }
        let options = if self.word("OPTIONS") { self.options()? } else { Vec::new() };
        let query = self.as_query()?;
        Ok(StatementKind::CreateModel(CreateModel { name, replace, if_not_exists, options, query }))
    }

    fn drop(&mut self) -> Parsed<StatementKind> {
        let model = self.word("MODEL");
        let object = match () {
            () if self.word("TABLE") => Object::Table,
            () if self.word("VIEW") => Object::View,
            () if model => Object::Table,
            () => {
                let what = self.peek().map_or("nothing", |token| token.span.of(self.src)).to_uppercase();
                let hint = "Carrel drops a TABLE, a VIEW or a MODEL of this session";
                return Err(Problem::unsupported(self.here(), format!("DROP {what} is not supported"), hint));
            }
        };
        let if_exists = self.if_exists()?;
        let name = self.name("a name")?;
        if model {
            return Ok(StatementKind::DropModel { name, if_exists });
        }
        Ok(StatementKind::Drop { object, name, if_exists })
    }

    fn if_exists(&mut self) -> Parsed<bool> {
        let there = self.word("IF");
        if there {
            self.expect_word("EXISTS")?;
        }
        Ok(there)
    }

    fn attach(&mut self) -> Parsed<StatementKind> {
        let what = "a place on the cluster, as in ATTACH 'hdfs:///data/x' AS x";
        let token = self.peek().copied().filter(|token| token.kind == TokenKind::String);
        let Some(token) = token else { return Err(self.unexpected(what)) };
        self.at += 1;
        if !self.word("AS") {
            return Err(self.unexpected("AS and a name"));
        }
        let name = self.name("a name")?;
        Ok(StatementKind::Attach { place: token.value(self.src), place_span: token.span, name })
    }

    fn set(&mut self) -> Parsed<StatementKind> {
        let first = self.tokens[0];
        if first.is_word(self.src, "RESET") && !(self.peek_word("VARIABLE") && self.peek_after().is_some()) {
            let span = self.here();
            return Ok(StatementKind::Set { key: self.key()?, value: None, span });
        }
        if first.is_word(self.src, "USE") {
            let name = self.name("a schema, as in USE ads")?;
            let value = Some(OptionValue::Text(name.to_string()));
            return Ok(StatementKind::Set { key: "schema".to_owned(), value, span: name.span });
        }
        if self.peek_word("VARIABLE")
            && !self.peek_after().is_some_and(|token| token.is_symbol(self.src, '='))
        {
            return self.variable();
        }
        let start = self.here();
        let key = self.key()?;
        if !self.symbol('=') && !self.word("TO") {
            return Err(self.unexpected("= and a value"));
        }
        let value = self.value()?;
        Ok(StatementKind::Set { key, value: Some(value), span: start.to(self.before()) })
    }

    fn variable(&mut self) -> Parsed<StatementKind> {
        let reset = self.tokens[0].is_word(self.src, "RESET");
        let _ = self.word("VARIABLE");
        let start = self.here();
        let name = self.name("the name of a variable")?;
        let [name] = name.parts.as_slice() else {
            return Err(Problem::syntax(name.span, "a variable's name has no dots"));
        };
        let value = if reset {
            None
        } else {
            if !self.symbol('=') && !self.word("TO") {
                return Err(self.unexpected("= and a value"));
            }
            Some(self.value().map_err(|problem| {
                problem.hint(
                    "a variable takes a literal: a text, a number, true, false, NULL or a [list] of them",
                )
            })?)
        };
        let span = start.to(self.before());
        Ok(StatementKind::SetVariable { name: name.clone(), value, span })
    }

    fn copy(&mut self) -> Parsed<StatementKind> {
        let query = if self.peek().is_some_and(|token| token.is_symbol(self.src, '(')) {
            self.parenthesised()?
        } else {
            let name = self.name("a name or (query)")?;
            QueryText { text: format!("SELECT * FROM {}", name.to_sql()), span: name.span }
        };
        if self.peek_word("FROM") {
            let hint = "read a file by its path: SELECT * FROM 'file.csv'";
            return Err(Problem::unsupported(self.here(), "COPY … FROM is not supported", hint));
        }
        self.expect_word("TO")?;
        let (file, file_span) = self.string("a file such as 'result.parquet'")?;
        let mut options = Vec::new();
        if self.word("STORED") {
            self.expect_word("AS")?;
            let span = self.here();
            options.push(OptionEntry { name: "format".to_owned(), value: self.value()?, span });
        }
        let _ = self.word("WITH") || self.word("OPTIONS");
        if self.peek().is_some_and(|token| token.is_symbol(self.src, '(')) {
            options.extend(self.options()?);
        }
        Ok(StatementKind::Copy(Copy { query, file, file_span, options }))
    }

    fn explain(&mut self) -> Parsed<StatementKind> {
        let analyze = self.word("ANALYZE") || self.word("ANALYSE");
        let verbose = self.word("VERBOSE");
        if !self.at_query() {
            let hint = "EXPLAIN [ANALYZE] takes a query";
            return Err(self.unexpected("a query").hint(hint));
        }
        Ok(StatementKind::Explain { analyze, verbose, query: self.query()? })
    }
}
