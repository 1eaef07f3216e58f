//! The libraries' sentences in plainer words.

use super::types;
use carrel_cell::problem::{Ename, Problem, did_you_mean};

/// Prefixes that say which library speaks, not what is wrong.
const PREFIXES: &[&str] = &[
    "DataFusion error: ",
    "Error during planning: ",
    "Execution error: ",
    "External error: ",
    "External: ",
    "Arrow error: ",
    "Arrow: ",
    "Parquet error: ",
    "Parquet argument error: ",
    "Invalid argument error: ",
    "Compute error: ",
    "Cast error: ",
    "Csv error: ",
    "CSV error: ",
    "Json error: ",
    "Parser error: ",
    "Schema error: ",
    "Ipc error: ",
    "Optimizer rule ",
    "SQL error: ",
    "This feature is not implemented: ",
    "Internal error: ",
    "General error: ",
    "EOF: ",
    "type_coercion\ncaused by\n",
];

/// The last cause's first line, without prefixes, in lower case at the start, without a full stop.
pub(super) fn clean(message: &str) -> String {
    let mut text = message.rsplit("\ncaused by\n").next().unwrap_or(message).trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim_start();
    }
    let line = text.lines().next().unwrap_or_default().trim_end_matches('.');
    let line = line.replace("DataFusion", "the engine").replace("datafusion.", "");
    let line = mask_paths(&line);
    if let Some(said) = too_large(&line) {
        return said;
    }
    let mut chars = line.chars();
    match (chars.next(), chars.clone().next()) {
        // one capital letter alone begins a sentence, two are an acronym or a name
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => line,
    }
}

/// `5000000000 is too large to store in a Decimal128 of precision 5. Max is 99999`, and its kin for scaled values.
fn too_large(text: &str) -> Option<String> {
    let (value, rest) = text.split_once(" is too ")?;
    let (which, rest) = rest.split_once(" to store in a Decimal")?;
    let digits = rest.split_once(" of precision ")?.1.split('.').next()?;
    let value = value.rsplit(' ').next()?;
    matches!(which, "large" | "small")
        .then(|| format!("{value} has more digits than a DECIMAL of {digits} digits holds"))
}

/// What a library prints of its own structures begins with one of these.
const STRUCTURES: &[&str] = &[
    "Ident {",
    "Identifier(",
    "Span(",
    "Some(",
    "Column {",
    "Expr::",
    "Literal(",
    "ScalarFunction(",
    "GroupingSet(",
];

/// The problem in one line, without what a library prints of its own structures, and without names of ours that the text does not have.
pub fn in_words(problem: Problem, sql: &str) -> Problem {
    let plain = |text: String| {
        let structure =
            STRUCTURES.iter().filter(|mark| !sql.contains(**mark)).filter_map(|mark| text.find(mark)).min();
        let text = match structure.and_then(|at| text.get(..at)) {
            Some(before) => {
                let whole = before.rfind([' ', ':']).and_then(|end| before.get(..end)).unwrap_or_default();
                let whole = whole.trim_end_matches([' ', ':', ',', '(']);
                if whole.is_empty() { "this is not supported here".to_owned() } else { whole.to_owned() }
            }
            None => text,
        };
        let text = if sql.contains("__") { text } else { text.replace("__", "") };
        let text = types::in_sql(&text, sql);
        // a string that goes over lines is told by its first
        match text.split_once('\n') {
            Some((first, _)) => format!("{first} …"),
            None => text,
        }
    };
    Problem { message: plain(problem.message), hint: problem.hint.map(plain), ..problem }
}

/// Host paths become their last part.
fn mask_paths(line: &str) -> String {
    let words: Vec<_> = line
        .split(' ')
        .map(|word| {
            let bare = word.trim_start_matches(['\'', '"', '(']);
            let is_path = bare.starts_with('/') && bare.matches('/').count() > 1 || bare.contains("://");
            if is_path { word.rsplit('/').find(|part| !part.is_empty()).unwrap_or(word) } else { word }
        })
        .collect();
    words.join(" ")
}

/// `… at Line: 1, Column: 8` taken off.
pub(super) fn without_location(message: &str) -> (String, Option<(u64, u64)>) {
    let Some(at) = message.rfind("at Line: ") else { return (message.to_owned(), None) };
    let numbers = &message[at + "at Line: ".len()..];
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let line = number(numbers);
    let column = numbers.split_once("Column: ").and_then(|(_, rest)| number(rest));
    let text = message[..at].trim_end().trim_end_matches(',').to_owned();
    (text, line.zip(column))
}

/// sqlparser's "Expected: x, found: y".
pub(super) fn parser_words(message: &str) -> String {
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    if let Some((expected, found)) =
        message.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: "))
    {
        let found = match found.trim() {
            "EOF" | "" => "the statement ends".to_owned(),
            found => format!("found {found}"),
        };
        return format!("{} was expected here, {found}", plain_expected(expected));
    }
    clean(message)
}

fn plain_expected(expected: &str) -> String {
    match expected.trim() {
        "an expression" | "an expression:" => "an expression".to_owned(),
        "end of statement" => "the end of the statement".to_owned(),
        "identifier" => "a name".to_owned(),
        "joined table" => "a joined table".to_owned(),
        other => other.to_owned(),
    }
}

/// Words that begin a clause; a near miss is probably meant.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT",
    "RIGHT",
    "INNER",
    "OUTER",
    "UNION",
    "BETWEEN",
    "DISTINCT",
    "PARTITION",
    "WINDOW",
    "QUALIFY",
    "OFFSET",
    "INTERSECT",
    "EXCEPT",
    "USING",
    "CROSS",
    "WITH",
];

pub(super) fn misspelt_keyword(word: &str) -> Option<String> {
    let upper = word.to_uppercase();
    if word.len() < 3 || KEYWORDS.contains(&upper.as_str()) {
        return None;
    }
    did_you_mean(&upper, KEYWORDS)
}

/// `table 'carrel.session.x' not found`
pub(super) fn unknown_table(message: &str) -> Option<Problem> {
    let rest = message.strip_prefix("table '")?;
    let (name, rest) = rest.split_once('\'')?;
    if !rest.trim_start().starts_with("not found") {
        return None;
    }
    let name = name.strip_prefix("carrel.").unwrap_or(name);
    let name = name.strip_prefix("session.").unwrap_or(name);
    Some(Problem::new(Ename::UnknownDataset, format!("no dataset, table or view '{name}'")))
}

/// `Invalid function 'x'.\nDid you mean 'y'?`
pub(super) fn unknown_function(message: &str) -> Option<Problem> {
    let rest =
        message.strip_prefix("Invalid function '").or_else(|| message.strip_prefix("table function '"))?;
    let (name, rest) = rest.split_once('\'')?;
    let near =
        rest.split_once("Did you mean '").and_then(|(_, near)| near.split_once('\'')).map(|(near, _)| near);
    let problem = Problem::new(Ename::UnknownFunction, format!("no function {name}"));
    match near.filter(|near| did_you_mean(name, [near]).is_some()) {
        Some(near) => Some(problem.hint(format!("did you mean {near}?"))),
        None => Some(problem.hint("SHOW FUNCTIONS lists them")),
    }
}

/// Two columns of one name.
pub(super) fn same_name(message: &str) -> Option<Problem> {
    let before = message.split_once("have the same name")?.0;
    let last = before.split('"').nth_back(1)?;
    let name = last.rsplit_once(" AS ").map_or(last, |(_, alias)| alias);
    let name = name.rsplit('.').next().unwrap_or(name);
    let problem = Problem::new(Ename::AmbiguousName, format!("two columns are called {name}"));
    Some(problem.hint("give one of them another name with AS"))
}

/// A column that is neither grouped nor aggregated.
pub(super) fn not_grouped(message: &str) -> Option<Problem> {
    let (before, rest) = message.split_once("must appear in the GROUP BY clause")?;
    let column = before.split('"').nth_back(1)?;
    let list = rest
        .split_once("currently only \"")
        .map_or("", |(_, list)| list.split('"').next().unwrap_or_default());
    let name = column.rsplit('.').next().unwrap_or(column);
    let problem = Problem::new(
        Ename::SyntaxError,
        format!("the column {name} must be in GROUP BY or in an aggregate function"),
    );
    Some(match list {
        "" => problem.hint(format!("add GROUP BY {name}, or use min({name}) or max({name})")),
        _ => problem.hint(format!("add {name} to GROUP BY, or use min or max")),
    })
}

/// `Cannot cast string 'x' to value of Int64 type`
pub(super) fn cast_words(message: &str) -> String {
    clean(message).replace("value of ", "").trim_end_matches(" type").to_owned()
}

/// Is it about memory or disk that ran out, wherever it was wrapped?
pub(super) fn is_resource(message: &str) -> bool {
    message.contains("used disk space during the spilling") || message.contains("Resources exhausted")
}

/// Memory: which operator, how much it had, what the limit is.
pub(super) fn memory(message: &str) -> Problem {
    if message.contains("used disk space") || message.contains("max_temp_directory_size") {
        return Problem::new(
            Ename::DiskLimit,
            "the query needs more disk space for intermediate results than its limit",
        )
        .hint("filter earlier, select fewer columns, or build the result in steps with CREATE TABLE … AS");
    }
    let after = |before: &str| message.split_once(before).map(|(_, rest)| rest);
    let consumer = after("Failed to allocate additional ")
        .and_then(|rest| rest.split_once(" for "))
        .and_then(|(_, rest)| rest.split(" with ").next())
        .or_else(|| after("Additional allocation failed for ").and_then(|rest| rest.split(" with ").next()));
    let limit = after("pool_size: ").and_then(|rest| rest.split(')').next());
    let operator = consumer.map_or("the query", operator_words);
    let asked = after("Failed to allocate additional ").and_then(|rest| rest.split(" for ").next());
    let held =
        message.split_once(" already allocated").and_then(|(before, _)| before.rsplit(" with ").next());
    let peak = match (held, asked) {
        (Some(held), Some(asked)) => format!(": it held {held} and asked for {asked} more"),
        _ => String::new(),
    };
    let limit = limit.map_or(String::new(), |limit| format!(", the limit is {limit}"));
    let text = format!("{operator} needs more memory than this session has{peak}{limit}");
    Problem::new(Ename::MemoryLimit, text)
        .hint("filter earlier, select fewer columns, join on a key, or build the result in steps with CREATE TABLE … AS; your tables are unharmed")
}

/// A memory consumer's name as what it does.
fn operator_words(consumer: &str) -> &'static str {
    let lower = consumer.to_lowercase();
    let known = [
        ("externalsorter", "the sort"),
        ("sort", "the sort"),
        ("topk", "the sort"),
        ("groupedhashaggregate", "the GROUP BY"),
        ("aggregate", "the GROUP BY"),
        ("hashjoin", "the join"),
        ("nestedloopjoin", "the join without a key"),
        ("crossjoin", "the cross join"),
        ("smj", "the join"),
        ("symmetric", "the join"),
        ("window", "the window function"),
        ("repartition", "the exchange between threads"),
        ("recursive", "the recursive query"),
    ];
    known.iter().find(|(name, _)| lower.contains(name)).map_or("the query", |(_, words)| words)
}

/// A column that nobody has, in double quotes: a text was meant.
pub(super) fn meant_as_text(problem: Problem, sql: &str) -> Problem {
    let near = problem.hint.as_ref().is_some_and(|hint| !hint.starts_with("there are"));
    match problem.message.strip_prefix("no column ").map(|rest| rest.split(" in ").next().unwrap_or(rest)) {
        Some(name) if !near && sql.contains(&format!("\"{name}\"")) => {
            let hint = format!("a text is written in single quotes: '{name}'");
            problem.hint(hint)
        }
        _ => problem,
    }
}
