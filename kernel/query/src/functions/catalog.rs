//! All functions that a user may call, with how they are called: for `SHOW FUNCTIONS`, completion and tooltips.

use std::collections::BTreeMap;

use datafusion::execution::SessionState;
use datafusion::logical_expr::Documentation;

use crate::sql::{MACROS, REWRITTEN};

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// `scalar`, `aggregate`, `window` or `table`.
    pub kind: &'static str,
    /// How it is called.
    pub signature: Option<String>,
    /// What it does, in a line.
    pub description: Option<String>,
    /// Its arguments with what they are.
    pub arguments: Vec<(String, String)>,
}

/// All of them by name.
pub fn all(state: &SessionState) -> BTreeMap<String, Known> {
    let mut all = BTreeMap::new();
    let mut add = |name: &str, kind: &'static str, documentation: Option<&Documentation>| {
        if !name.starts_with("__") && !name.starts_with("carrel_") {
            all.entry(name.to_owned()).or_insert_with(|| of(name, kind, documentation));
        }
    };
    for (name, function) in state.aggregate_functions() {
        add(name, "aggregate", function.documentation());
    }
    for (name, function) in state.window_functions() {
        add(name, "window", function.documentation());
    }
    for (name, function) in state.higher_order_functions() {
        add(name, "scalar", function.documentation());
    }
    for (name, function) in state.scalar_functions() {
        add(name, "scalar", function.documentation());
    }
    for name in state.table_functions().keys() {
        add(name, "table", None);
    }
    for (name, parameters, meaning) in MACROS {
        let known = Known {
            name: (*name).to_owned(),
            kind: if AGGREGATES.iter().any(|word| meaning.contains(word)) { "aggregate" } else { "scalar" },
            signature: Some(format!("{name}({})", parameters.join(", "))),
            description: (!meaning.contains("__")).then(|| format!("The same as {meaning}")),
            arguments: Vec::new(),
        };
        all.entry((*name).to_owned()).or_insert(known);
    }
    for (signature, kind, description) in REWRITTEN {
        let name = signature.split('(').next().unwrap_or(signature);
        let known = Known {
            name: name.to_owned(),
            kind,
            signature: Some((*signature).to_owned()),
            description: Some((*description).to_owned()),
            arguments: Vec::new(),
        };
        all.insert(name.to_owned(), known);
    }
    all
}

/// What makes a function's meaning one of groups.
const AGGREGATES: &[&str] =
    &["_agg(", "count(", "sum(", "avg(", "_value(", "bool_", "stddev", "var_", "approx_", "corr("];

fn of(name: &str, kind: &'static str, documentation: Option<&Documentation>) -> Known {
    let signature = documentation.map(|documentation| {
        let written = documentation.syntax_example.trim();
        // an alias is called by its own name
        match written.split_once('(') {
            Some((before, rest)) if !before.contains(' ') => format!("{name}({rest}"),
            _ => written.to_owned(),
        }
    });
    Known {
        name: name.to_owned(),
        kind,
        signature,
        description: documentation.map(|documentation| plain(&documentation.description)),
        arguments: documentation
            .and_then(|documentation| documentation.arguments.clone())
            .unwrap_or_default(),
    }
}

/// The first sentences, on one line.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split("\n\n").next().unwrap_or(text).split_whitespace().collect();
    words.join(" ").replace("DataFusion", "The engine")
}
