//! What could stand at the cursor: keywords by context, datasets after `FROM`, columns of the tables that the statement names.
//! Names are given by the caller; nothing here reads data.

mod keywords;
mod sources;

use std::collections::BTreeMap;

use crate::position::{byte_of, code_point_of};
use crate::statement::quote_name;
use crate::token::{Token, TokenKind, tokenize};
use sources::sources;

/// A dataset, table, view or model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its full name, parts joined by dots.
    pub name: String,
    /// `dataset`, `table`, `view` or `model`.
    pub kind: String,
    /// One line about it.
    pub description: Option<String>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// How it is called.
    pub signature: Option<String>,
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnName {
    /// Its name.
    pub name: String,
    /// Its type as users write it.
    pub type_name: String,
}

/// All names that the user may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Datasets, tables, views and models.
    pub relations: Vec<Relation>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Columns by full name of the relation, as far as the caller looked them up (see [`relations_in`]).
    pub columns: BTreeMap<String, Vec<ColumnName>>,
}

/// One thing that could stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What is inserted.
    pub text: String,
    /// `keyword`, `dataset`, `table`, `view`, `model`, `column`, `function`.
    pub kind: String,
    /// A type, a signature or a description.
    pub signature: Option<String>,
}

/// The answer to `complete_request`; places are code points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Candidates, best first.
    pub matches: Vec<Match>,
    /// Where the replaced text begins.
    pub start: usize,
    /// Where it ends: the cursor.
    pub end: usize,
}

/// Candidates that are sent at most.
const MOST: usize = 200;

/// What could stand at `cursor` (a code point) of `code`.
pub fn complete(code: &str, cursor: usize, names: &Names) -> Completion {
    let here = byte_of(code, cursor);
    let nothing =
        Completion { matches: Vec::new(), start: code_point_of(code, here), end: code_point_of(code, here) };
    let Some(at) = Place::find(code, here) else { return nothing };
    let mut matches = at.matches(names);
    matches.truncate(MOST);
    Completion { matches, start: code_point_of(code, at.start), end: nothing.end }
}

/// The relations that the statement at the cursor names, as written and unquoted: what the caller should know the columns of.
pub fn relations_in(code: &str, cursor: usize) -> Vec<String> {
    let here = byte_of(code, cursor);
    let mut names: Vec<String> = Vec::new();
    for (name, _) in sources(code, here) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The dotted name under or just before the cursor (a code point), unquoted, with the relation of an alias in its place.
pub fn name_at(code: &str, cursor: usize) -> Option<String> {
    let here = byte_of(code, cursor);
    let tokens = tokenize(code).ok()?;
    let is_name = |token: &Token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
    let at = tokens
        .iter()
        .position(|token| is_name(token) && token.span.start <= here && here <= token.span.end)?;
    let mut first = at;
    while first >= 2 && tokens[first - 1].is_symbol(code, '.') && is_name(&tokens[first - 2]) {
        first -= 2;
    }
    let mut parts: Vec<String> =
        tokens[first..=at].iter().step_by(2).map(|token| token.value(code)).collect();
    if parts.len() > 1 || !tokens.get(at + 1).is_some_and(|next| next.is_symbol(code, '(')) {
        let alias =
            sources(code, here).into_iter().find(|(_, alias)| alias.as_deref() == Some(parts[0].as_str()));
        if let Some((relation, _)) = alias {
            parts[0] = relation;
        }
    }
    Some(parts.join("."))
}

/// The cursor's surroundings.
struct Place {
    /// Byte where the word being typed begins.
    start: usize,
    /// The word so far, without an opening quote.
    prefix: String,
    /// Is it typed in double quotes?
    quoted: bool,
    /// Parts before it, each followed by a dot.
    path: Vec<String>,
    /// The word before all that, in upper case; `None` at the start of a statement.
    before: Option<String>,
    /// The word before `before`.
    earlier: Option<String>,
    /// Relations of the statement with their aliases.
    sources: Vec<(String, Option<String>)>,
}

impl Place {
    fn find(code: &str, here: usize) -> Option<Self> {
        let (head, quoted) = match tokenize(&code[..here]) {
            Ok(tokens) => (tokens, None),
            // Typing inside a quoted name is a place to complete at, inside a string or a comment it is not.
            Err(problem) => {
                let open = problem.span?.start;
                if !code[open..here].starts_with('"') {
                    return None;
                }
                (tokenize(&code[..open]).ok()?, Some(open))
            }
        };
        let (mut head, last_word) = split_word(here, head);
        let (start, prefix) = match (quoted, last_word) {
            (Some(open), _) => (open, code[open + 1..here].to_owned()),
            (None, Some(word)) => (word.span.start, word.span.of(code).to_owned()),
            (None, None) => (here, String::new()),
        };
        if head.last().is_some_and(|last| last.span.end == here && last.kind != TokenKind::Symbol) {
            return None;
        }
        let mut path = Vec::new();
        while head.last().is_some_and(|token| token.is_symbol(code, '.')) {
            head.pop();
            let token = head.pop()?;
            path.insert(0, token.value(code));
        }
        let from = head.iter().rposition(|token| token.is_symbol(code, ';')).map_or(0, |at| at + 1);
        let mut back = head[from..].iter().rev().map(|token| token.span.of(code).to_uppercase());
        let (before, earlier) = (back.next(), back.next());
        Some(Self {
            start,
            prefix,
            quoted: quoted.is_some(),
            path,
            before,
            earlier,
            sources: sources(code, here),
        })
    }

    fn matches(&self, names: &Names) -> Vec<Match> {
        let mut found = Vec::new();
        if !self.path.is_empty() {
            self.columns_of_path(names, &mut found);
            self.relations(names, &mut found);
            return found;
        }
        match self.before.as_deref() {
            None => self.keywords(keywords::FIRST, &mut found),
            Some(
                "FROM" | "JOIN" | "TABLE" | "VIEW" | "MODEL" | "DESCRIBE" | "DESC" | "SUMMARIZE"
                | "SUMMARISE" | "INTO",
            ) => {
                self.relations(names, &mut found);
                if matches!(self.before.as_deref(), Some("DESCRIBE" | "DESC" | "SUMMARIZE" | "SUMMARISE")) {
                    self.keywords(&["SELECT", "TABLE"], &mut found);
                }
            }
            Some("SHOW") => self.keywords(keywords::SHOW, &mut found),
            Some("DRAW" | "PLACE") => self.keywords(keywords::LAYERS, &mut found),
            Some("SCALE") => self.keywords(keywords::SCALES, &mut found),
            Some("CREATE" | "REPLACE" | "TEMP" | "TEMPORARY") => self.keywords(keywords::CREATE, &mut found),
            Some("DROP") => self.keywords(&["TABLE", "VIEW", "MODEL"], &mut found),
            Some("EXPLAIN") => self.keywords(&["ANALYZE", "SELECT", "VERBOSE", "WITH"], &mut found),
            Some("GROUP" | "ORDER" | "PARTITION") => self.keywords(&["BY"], &mut found),
            Some(",") if self.earlier_is_relation(names) => self.relations(names, &mut found),
            Some(_) => {
                self.columns(names, &mut found);
                self.functions(names, &mut found);
                self.keywords(keywords::INSIDE, &mut found);
            }
        }
        found
    }

    fn earlier_is_relation(&self, names: &Names) -> bool {
        let Some(earlier) = &self.earlier else { return false };
        names.relations.iter().any(|relation| {
            relation.name.eq_ignore_ascii_case(earlier)
                || relation.name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(earlier))
                    && !self.is_column(names, earlier)
        })
    }

    fn is_column(&self, names: &Names, word: &str) -> bool {
        names.columns.values().flatten().any(|column| column.name.eq_ignore_ascii_case(word))
    }

    /// Relations whose name goes on where the path and the prefix end; also by their last part alone.
    fn relations(&self, names: &Names, found: &mut Vec<Match>) {
        let depth = self.path.len();
        for relation in &names.relations {
            let parts: Vec<&str> = relation.name.split('.').collect();
            let under = parts.len() > depth
                && self.path.iter().zip(&parts).all(|(typed, part)| typed.eq_ignore_ascii_case(part));
            let goes_on = under && starts_with(&parts[depth..].join("."), &self.prefix);
            let by_last = depth == 0 && parts.last().is_some_and(|last| starts_with(last, &self.prefix));
            if goes_on || by_last {
                let rest: Vec<String> = parts[depth..].iter().map(|part| self.quoted_name(part)).collect();
                self.push(found, rest.join("."), &relation.kind, relation.description.clone());
            }
        }
    }

    /// Columns after `alias.` or `table.`
    fn columns_of_path(&self, names: &Names, found: &mut Vec<Match>) {
        let path = self.path.join(".");
        let by_alias = self.sources.iter().find(|(name, alias)| {
            alias.as_deref() == Some(path.as_str())
                || name.rsplit('.').next() == Some(path.as_str())
                || *name == path
        });
        let relation = by_alias.map_or(path.as_str(), |(name, _)| name.as_str());
        for column in names.columns.get(relation).into_iter().flatten() {
            self.column(column, found);
        }
    }

    fn columns(&self, names: &Names, found: &mut Vec<Match>) {
        for (relation, _) in &self.sources {
            for column in names.columns.get(relation).into_iter().flatten() {
                self.column(column, found);
            }
        }
        for (relation, alias) in &self.sources {
            let short = alias.as_deref().unwrap_or_else(|| relation.rsplit('.').next().unwrap_or(relation));
            if starts_with(short, &self.prefix) && !self.prefix.is_empty() {
                self.push(found, self.quoted_name(short), "table", Some(relation.clone()));
            }
        }
    }

    fn column(&self, column: &ColumnName, found: &mut Vec<Match>) {
        if starts_with(&column.name, &self.prefix) {
            self.push(found, self.quoted_name(&column.name), "column", Some(column.type_name.clone()));
        }
    }

    fn functions(&self, names: &Names, found: &mut Vec<Match>) {
        if self.prefix.is_empty() || self.quoted {
            return;
        }
        for function in &names.functions {
            if starts_with(&function.name, &self.prefix) {
                self.push(found, function.name.clone(), "function", function.signature.clone());
            }
        }
    }

    /// Keywords in the case that the user began in.
    fn keywords(&self, words: &[&str], found: &mut Vec<Match>) {
        if self.quoted {
            return;
        }
        let lower = self.prefix.starts_with(|c: char| c.is_lowercase());
        for word in words.iter().filter(|word| starts_with(word, &self.prefix)) {
            let text = if lower { word.to_lowercase() } else { (*word).to_owned() };
            self.push(found, text, "keyword", None);
        }
    }

    fn push(&self, found: &mut Vec<Match>, text: String, kind: &str, signature: Option<String>) {
        if !found.iter().any(|other| other.text == text) {
            found.push(Match { text, kind: kind.to_owned(), signature });
        }
    }

    fn quoted_name(&self, name: &str) -> String {
        if self.quoted { format!("\"{}\"", name.replace('"', "\"\"")) } else { quote_name(name) }
    }
}

fn starts_with(name: &str, prefix: &str) -> bool {
    let mut name = name.chars().flat_map(char::to_lowercase);
    prefix.chars().flat_map(char::to_lowercase).all(|c| name.next() == Some(c))
}

/// Takes the word that ends at the cursor off the tokens before it.
fn split_word(here: usize, mut tokens: Vec<Token>) -> (Vec<Token>, Option<Token>) {
    let typed = tokens.last().is_some_and(|token| token.kind == TokenKind::Word && token.span.end == here);
    let last = if typed { tokens.pop() } else { None };
    (tokens, last)
}

#[cfg(test)]
mod tests;
