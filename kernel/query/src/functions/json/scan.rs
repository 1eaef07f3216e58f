//! A scanner of JSON: where values begin and end. Nothing is built but what is asked for; depth is bounded.

/// What a JSON value is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    Text,
    Number,
    Bool,
    Null,
}

/// How deeply values may be nested.
const DEPTH: usize = 200;

/// What a value is.
pub(super) fn kind_of(text: &str) -> Kind {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::List,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        _ => Kind::Number,
    }
}

/// The text of a JSON string.
pub(super) fn string_of(text: &str) -> Option<String> {
    serde_json::from_str(text.trim()).ok()
}

/// The value without white space; `None` if it is no JSON.
pub(super) fn compact(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let start = space(bytes, 0);
    let end = value(bytes, start, 0)?;
    if space(bytes, end) != bytes.len() {
        return None;
    }
    let mut out = String::with_capacity(end - start);
    let mut quoted = false;
    let mut escaped = false;
    for c in text.get(start..end)?.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
        } else if !c.is_ascii_whitespace() {
            quoted = c == '"';
            out.push(c);
        }
    }
    Some(out)
}

/// The elements of an array.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    walk(text, |name, value| {
        if name.is_none() {
            found.push(value);
        }
        false
    })?;
    (kind_of(text) == Kind::List).then_some(found)
}

/// The members of an object.
pub(super) fn members(text: &str) -> Option<Vec<(String, &str)>> {
    let mut found = Vec::new();
    walk(text, |name, value| {
        if let Some(name) = name {
            found.push((name.to_owned(), value));
        }
        false
    })?;
    (kind_of(text) == Kind::Object).then_some(found)
}

/// The first member or element that is wanted.
pub(super) fn step<'a>(
    text: &'a str,
    mut wanted: impl FnMut(Option<&str>, &'a str) -> bool,
) -> Option<&'a str> {
    let mut found = None;
    walk(text, |name, value| {
        let this = wanted(name, value);
        if this {
            found = Some(value);
        }
        this
    });
    found
}

/// Goes over members or elements until `stop` says so. `None` if it is neither, or broken.
fn walk<'a>(text: &'a str, mut stop: impl FnMut(Option<&str>, &'a str) -> bool) -> Option<()> {
    let bytes = text.as_bytes();
    let mut at = space(bytes, 0);
    let object = match bytes.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let close = if object { b'}' } else { b']' };
    at = space(bytes, at + 1);
    if *bytes.get(at)? == close {
        return Some(());
    }
    loop {
        let mut name = None;
        if object {
            let end = string(bytes, at)?;
            name = Some(string_of(text.get(at..end)?)?);
            at = space(bytes, end);
            if *bytes.get(at)? != b':' {
                return None;
            }
            at = space(bytes, at + 1);
        }
        let end = value(bytes, at, 0)?;
        if stop(name.as_deref(), text.get(at..end)?) {
            return Some(());
        }
        at = space(bytes, end);
        match *bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            c if c == close => return Some(()),
            _ => return None,
        }
    }
}

fn space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The end of the value that begins here.
fn value(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    if depth > DEPTH {
        return None;
    }
    match *bytes.get(at)? {
        b'"' => string(bytes, at),
        open @ (b'{' | b'[') => {
            let close = if open == b'{' { b'}' } else { b']' };
            let mut at = space(bytes, at + 1);
            if *bytes.get(at)? == close {
                return Some(at + 1);
            }
            loop {
                if open == b'{' {
                    at = space(bytes, string(bytes, at)?);
                    if *bytes.get(at)? != b':' {
                        return None;
                    }
                    at = space(bytes, at + 1);
                }
                at = space(bytes, value(bytes, at, depth + 1)?);
                match *bytes.get(at)? {
                    b',' => at = space(bytes, at + 1),
                    c if c == close => return Some(at + 1),
                    _ => return None,
                }
            }
        }
        b't' => word(bytes, at, b"true"),
        b'f' => word(bytes, at, b"false"),
        b'n' => word(bytes, at, b"null"),
        _ => number(bytes, at),
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    (bytes.get(at..at + word.len())? == word).then_some(at + word.len())
}

fn string(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                let escape = *bytes.get(at + 1)?;
                if escape == b'u' {
                    let digits = bytes.get(at + 2..at + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    at += 6;
                } else if matches!(escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') {
                    at += 2;
                } else {
                    return None;
                }
            }
            0..=0x1f => return None,
            _ => at += 1,
        }
    }
}

fn number(bytes: &[u8], start: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let from = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > from).then_some(at)
    };
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = digits(at)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_the_rest_is_refused() {
        assert_eq!(
            compact(r#" { "a" : [ 1, 2.50e3 , "x y" ] , "b": null } "#).unwrap(),
            r#"{"a":[1,2.50e3,"x y"],"b":null}"#
        );
        for wrong in ["", "{", "[1,]", "{\"a\"}", "01", "1 2", "'a'", "{a:1}", "\"\\x\"", "nul", "[1}", "-"] {
            assert_eq!(compact(wrong), None, "{wrong}");
        }
        assert_eq!(elements("[1, [2], {\"a\": 3}]").unwrap(), ["1", "[2]", "{\"a\": 3}"]);
        assert_eq!(step(r#"{"b":1,"a":{"c":2}}"#, |name, _| name == Some("a")), Some(r#"{"c":2}"#));
        assert!(compact(&"[".repeat(100_000)).is_none());
    }
}
