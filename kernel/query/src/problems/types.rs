//! Arrow's names of types in a library's sentence as SQL's.

/// Arrow's names with SQL's.
const NAMES: &[(&str, &str)] = &[
    ("Binary", "BLOB"),
    ("BinaryView", "BLOB"),
    ("Boolean", "BOOLEAN"),
    ("Date32", "DATE"),
    ("Date64", "DATE"),
    ("Decimal128", "DECIMAL"),
    ("Decimal256", "DECIMAL"),
    ("Decimal32", "DECIMAL"),
    ("Decimal64", "DECIMAL"),
    ("Float16", "FLOAT"),
    ("Float32", "FLOAT"),
    ("Float64", "DOUBLE"),
    ("Int16", "SMALLINT"),
    ("Int32", "INTEGER"),
    ("Int64", "BIGINT"),
    ("Int8", "TINYINT"),
    ("LargeBinary", "BLOB"),
    ("LargeUtf8", "VARCHAR"),
    ("Time32", "TIME"),
    ("Time64", "TIME"),
    ("UInt16", "USMALLINT"),
    ("UInt32", "UINTEGER"),
    ("UInt64", "UBIGINT"),
    ("UInt8", "UTINYINT"),
    ("Utf8", "VARCHAR"),
    ("Utf8View", "VARCHAR"),
];

/// Types whose unit in parentheses says nothing to a user.
const UNITS: &[(&str, &str)] = &[
    ("Duration", "INTERVAL"),
    ("Interval", "INTERVAL"),
    ("Time32", "TIME"),
    ("Time64", "TIME"),
    ("Timestamp", "TIMESTAMP"),
];

/// The sentence with SQL's names. A word that stands in the statement is the user's own and stays.
pub(super) fn in_sql(text: &str, sql: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word_ends = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if word_ends == 0 {
            let one = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..one]);
            rest = &rest[one..];
            continue;
        }
        let word = &rest[..word_ends];
        rest = &rest[word_ends..];
        if sql.contains(word) {
            out.push_str(word);
        } else if let Some((name, inside, after)) = with_unit(word, rest) {
            out.push_str(name);
            let zone = name == "TIMESTAMP" && (inside.contains("Some(") || inside.contains('"'));
            out.push_str(if zone { " WITH TIME ZONE" } else { "" });
            rest = after;
        } else {
            let known = NAMES.iter().find(|(arrow, _)| *arrow == word);
            out.push_str(known.map_or(word, |(_, name)| name));
        }
    }
    out
}

/// `Timestamp(Nanosecond, None)`: SQL's name, what the parentheses hold, what follows them.
fn with_unit<'a>(word: &str, rest: &'a str) -> Option<(&'static str, &'a str, &'a str)> {
    let (_, name) = UNITS.iter().find(|(arrow, _)| *arrow == word)?;
    let mut depth = 0_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some((name, &rest[1..at], &rest[at + 1..])),
            ')' => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::in_sql;

    #[test]
    fn types_are_called_as_in_sql() {
        for (text, expected) in [
            ("cannot cast Utf8View to Decimal128(10, 2)", "cannot cast VARCHAR to DECIMAL(10, 2)"),
            ("Timestamp(Nanosecond, None) + Int64", "TIMESTAMP + BIGINT"),
            ("Timestamp(ns, \"UTC\")", "TIMESTAMP WITH TIME ZONE"),
            ("Interval(MonthDayNano), List(Int32)", "INTERVAL, List(INTEGER)"),
            ("a Timestamp of Größe", "a Timestamp of Größe"),
            ("(Utf8", "(VARCHAR"),
        ] {
            assert_eq!(in_sql(text, ""), expected);
        }
        assert_eq!(in_sql("no column Int64", "SELECT Int64"), "no column Int64");
    }
}
