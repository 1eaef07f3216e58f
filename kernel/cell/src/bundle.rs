//! A MIME bundle: the same result in several formats, of which a front end shows one.

use serde_json::{Map, Value};

/// Formats of one result by MIME type. `text/plain` is always there; `application/json` never is, because JupyterLab would
/// show its tree in place of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MimeBundle(Map<String, Value>);

impl MimeBundle {
    /// A bundle that holds plain text only.
    pub fn text(text: impl Into<String>) -> Self {
        let mut map = Map::new();
        map.insert("text/plain".to_owned(), Value::String(text.into()));
        Self(map)
    }

    /// With HTML beside the text; front ends prefer it.
    #[must_use]
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.0.insert("text/html".to_owned(), Value::String(html.into()));
        self
    }

    /// With Markdown beside the text.
    #[must_use]
    pub fn markdown(mut self, markdown: impl Into<String>) -> Self {
        self.0.insert("text/markdown".to_owned(), Value::String(markdown.into()));
        self
    }

    /// With another format beside the text.
    #[must_use]
    pub fn with(mut self, mime: &str, value: Value) -> Self {
        self.0.insert(mime.to_owned(), value);
        self
    }

    /// The value of a format, if it is text.
    pub fn get(&self, mime: &str) -> Option<&str> {
        self.0.get(mime).and_then(Value::as_str)
    }

    /// The bundle as it goes into a message.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// Text made safe inside HTML elements and double-quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Control characters made visible, so that text of the data cannot steer a terminal or break a row.
pub fn visible(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_cannot_be_escaped_from() {
        assert_eq!(escape(r#"<b a="x">&'"#), "&lt;b a=&quot;x&quot;&gt;&amp;&#39;");
    }

    #[test]
    fn control_characters_are_seen_and_not_obeyed() {
        assert_eq!(visible("a\n\t\u{1b}[31m é"), "a\\n\\t\\u{1b}[31m é");
    }
}
