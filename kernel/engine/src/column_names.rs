//! Names of columns that nobody named: `SELECT 1 + x` makes DataFusion say `Int64(1) + t.x`; a person wrote `1 + t.x`.

use carrel_query::sql::TWIN;

/// How DataFusion writes the type around a literal.
const WRAPPERS: &[&str] = &[
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Utf8View",
    "LargeUtf8",
    "Utf8",
    "Boolean",
];

/// The names, with literals as they are written and without what tells columns of one name from each other.
pub(crate) fn plain_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(plain_name).collect()
}

fn plain_name(name: &str) -> String {
    // what tells a column from another of the same name is ours
    let name = name.split(TWIN).next().unwrap_or_default();
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, value, after)) = first_literal(rest) {
        out.push_str(before);
        match value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => out.extend(["'", &text.replace('\'', "''"), "'"]),
            None => out.push_str(value),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What stands before the first wrapped literal, its value, and what follows.
fn first_literal(text: &str) -> Option<(&str, &str, &str)> {
    let starts = text.char_indices().filter(|(at, _)| {
        // not in the middle of a word
        text.get(..*at)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric() && c != '_')
    });
    starts.into_iter().find_map(|(at, _)| {
        let (before, here) = text.split_at_checked(at)?;
        let inner = WRAPPERS.iter().find_map(|wrapper| here.strip_prefix(wrapper)?.strip_prefix('('))?;
        let end = if inner.starts_with('"') {
            inner.get(1..)?.find("\")").map(|end| end + 2)?
        } else {
            inner.find(')')?
        };
        Some((before, inner.get(..end)?, inner.get(end + 1..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_written_as_people_write_them() {
        for (full, plain) in [
            ("Int64(1)", "1"),
            ("Int64(1) + t.x", "1 + t.x"),
            ("sum(t.x * Float64(0.5)) / Int64(-2)", "sum(t.x * 0.5) / -2"),
            ("Utf8(\"a (b)\")", "'a (b)'"),
            ("concat(t.a,Utf8(\"it's\"),Utf8(\"\"))", "concat(t.a,'it''s','')"),
            ("Boolean(true)", "true"),
            ("Int64(NULL)", "NULL"),
            ("count(*)", "count(*)"),
            ("MyInt64(1)", "MyInt64(1)"),
            ("Int64(", "Int64("),
            ("grün Int64(3)", "grün 3"),
            ("", ""),
        ] {
            assert_eq!(plain_name(full), plain);
        }
    }

    #[test]
    fn columns_of_one_name_are_called_the_same() {
        let twin = format!("Int64(1){TWIN}2");
        assert_eq!(plain_names(["Int64(1)", &twin, "Utf8(\"x\")"].into_iter()), ["1", "1", "'x'"]);
    }
}
