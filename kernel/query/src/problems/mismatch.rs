//! Types that do not go together: the sentence that says which, without signatures and without how the planner tried.

use carrel_cell::problem::{Ename, Problem};

use super::text::clean;

/// What a message about types says.
pub(super) fn mismatch(message: &str) -> Problem {
    let said = |text: String| Problem::new(Ename::TypeError, text);
    let after =
        |before: &str| message.split_once(before).map(|(_, rest)| rest.lines().next().unwrap_or_default());
    // a problem of ours that went through the planner as text
    if let Some((_, ours)) = message.rsplit_once("TypeError: ") {
        let ours = ours.lines().next().unwrap_or_default();
        return said(ours.split(". No function matches").next().unwrap_or(ours).to_owned());
    }
    if let Some((computed, _)) =
        after("arithmetic expression ").and_then(|rest| rest.split_once(" to valid types"))
    {
        return said(format!("{computed} cannot be computed"))
            .hint("give one side another type with CAST(x AS type)");
    }
    if let Some((types, _)) = after("argument types of make_array: [").and_then(|rest| rest.rsplit_once(']'))
    {
        return said(format!("the values of a list have one type, these have {types}"));
    }
    if let Some((function, rest)) = after("a call to '").and_then(|rest| rest.split_once('\''))
        && let Some((types, _)) =
            rest.split_once("coercion from ").and_then(|(_, rest)| rest.split_once(" to the signature"))
    {
        return said(format!("{function} does not take {types}"));
    }
    if let Some((function, rest)) = called(message) {
        if let Some((_, received)) = rest.split_once("received ") {
            let plain = received.split(['(', '.', ',', '\n']).next().unwrap_or_default().trim();
            return said(format!("{function} does not take {}", plain_type(plain)));
        }
        if rest.contains("user-defined coercion failed") {
            return said(format!("the arguments of {function} have types that do not go together"))
                .hint("give them one type with CAST(x AS type)");
        }
    }
    let cleaned = clean(message);
    let text = cleaned.split("No function matches").next().unwrap_or(&cleaned);
    let text = text.split("You might need to add").next().unwrap_or(text);
    let text = text.split("Candidate functions").next().unwrap_or(text).trim();
    let text = text.trim_end_matches(['.', ',', ';', ' ']);
    said(if text.is_empty() { cleaned } else { text.to_owned() })
}

/// `Cannot create filter with non-boolean predicate 'x' returning Int64`
pub(super) fn no_condition(message: &str) -> Option<Problem> {
    let (_, rest) = message.split_once("non-boolean predicate '")?;
    let (what, rest) = rest.rsplit_once('\'')?;
    let given = rest.trim_start_matches(" returning ").trim();
    let what = what.rsplit('.').next().unwrap_or(what);
    let problem = Problem::new(Ename::TypeError, format!("a condition is true or false, {what} is {given}"));
    Some(problem.hint(format!("compare it, as in {what} <> 0")))
}

/// `Physical plan does not support logical expression WindowFunction(…`
pub(super) fn stands_wrongly(message: &str) -> Option<Problem> {
    let (_, rest) = message.split_once("does not support logical expression ")?;
    let kind = rest.split(['(', ' ', '{']).next().unwrap_or_default();
    let (what, hint) = match kind {
        "WindowFunction" => (
            "a window function cannot stand here",
            "QUALIFY filters by one: SELECT … QUALIFY row_number() OVER (…) = 1",
        ),
        "AggregateFunction" => {
            ("an aggregate function cannot stand here", "HAVING filters by one, after GROUP BY")
        }
        _ => ("this expression cannot stand here", "compute it in a query of its own, WITH x AS (SELECT …)"),
    };
    Some(Problem::new(Ename::Unsupported, what).hint(hint))
}

/// `Function 'f' …`
fn called(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("unction '")?;
    rest.split_once('\'')
}

fn plain_type(name: &str) -> &str {
    match name {
        "String" | "Utf8" | "Utf8View" | "LargeUtf8" => "VARCHAR",
        "Int64" => "BIGINT",
        "Int32" => "INTEGER",
        "Float64" => "DOUBLE",
        "Boolean" => "BOOLEAN",
        "Date32" => "DATE",
        "Decimal" => "DECIMAL",
        other => other,
    }
}
