//! What is known about a name, as a tooltip (Shift-Tab) and for the inspector panel.

use std::fmt::Write;

use serde::Deserialize;

use crate::bundle::{MimeBundle, escape, visible};

/// What the engine knows about a name without reading data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Is there anything of that name?
    pub found: bool,
    /// `dataset`, `table`, `view`, `model`, `column`, `function`.
    pub kind: Option<String>,
    /// The full name, or how a function is called.
    pub title: Option<String>,
    /// What its owner says about it.
    pub description: Option<String>,
    /// Labels with values.
    pub facts: Vec<(String, String)>,
    /// Columns of a relation.
    pub columns: Vec<FactColumn>,
}

/// A column of a relation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct FactColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// More about it.
    #[serde(default)]
    pub note: Option<String>,
}

/// Columns that a tooltip (detail 0) lists.
const FEW: usize = 20;
/// Columns that the inspector panel (detail 1) lists.
const MANY: usize = 500;

/// The facts as `text/html` and `text/plain`; `None` if nothing was found.
pub fn inspection(facts: &Facts, detail: u8) -> Option<MimeBundle> {
    if !facts.found {
        return None;
    }
    let most = if detail == 0 { FEW } else { MANY };
    Some(MimeBundle::text(text(facts, most)).html(html(facts, most)))
}

fn text(facts: &Facts, most: usize) -> String {
    let mut out = visible(facts.title.as_deref().unwrap_or(""));
    if let Some(kind) = &facts.kind {
        let _ = write!(out, " ({})", visible(kind));
    }
    if let Some(description) = &facts.description {
        let _ = write!(out, "\n{}", visible(description));
    }
    for (label, value) in &facts.facts {
        let _ = write!(out, "\n{}: {}", visible(label), visible(value));
    }
    for column in facts.columns.iter().take(most) {
        let _ = write!(out, "\n  {} {}", visible(&column.name), visible(&column.type_name));
        if let Some(note) = &column.note {
            let _ = write!(out, "  {}", visible(note));
        }
    }
    if let Some(more) = more(facts, most) {
        let _ = write!(out, "\n  {more}");
    }
    out
}

fn html(facts: &Facts, most: usize) -> String {
    let mut out = format!("<div><b>{}</b>", escape(facts.title.as_deref().unwrap_or("")));
    if let Some(kind) = &facts.kind {
        let _ = write!(out, " <i>{}</i>", escape(kind));
    }
    if let Some(description) = &facts.description {
        let _ = write!(out, "<p>{}</p>", escape(description));
    }
    if !facts.facts.is_empty() {
        out.push_str("<table><tbody>");
        for (label, value) in &facts.facts {
            let _ = write!(
                out,
                "<tr><td style=\"text-align:left\">{}</td><td style=\"text-align:left\">{}</td></tr>",
                escape(label),
                escape(value)
            );
        }
        out.push_str("</tbody></table>");
    }
    if !facts.columns.is_empty() {
        out.push_str("<table><tbody>");
        for column in facts.columns.iter().take(most) {
            let _ = write!(
                out,
                "<tr><td style=\"text-align:left\">{}</td><td style=\"text-align:left\">{}</td><td style=\"text-align:left\">{}</td></tr>",
                escape(&column.name),
                escape(&column.type_name),
                escape(column.note.as_deref().unwrap_or(""))
            );
        }
        out.push_str("</tbody></table>");
    }
    if let Some(more) = more(facts, most) {
        let _ = write!(out, "<p>{more}</p>");
    }
    out.push_str("</div>");
    out
}

fn more(facts: &Facts, most: usize) -> Option<String> {
    let rest = facts.columns.len().checked_sub(most).filter(|rest| *rest > 0)?;
    Some(format!("and {rest} more columns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_engines_answer_and_shows_it() {
        let json = r#"{"found":true,"kind":"dataset","title":"ads.clicks","description":"who <clicked>",
            "facts":[["rows","1,000,000"]],"columns":[{"name":"country","type":"text","note":"12 values"}]}"#;
        let facts: Facts = serde_json::from_str(json).unwrap();
        let bundle = inspection(&facts, 0).unwrap();
        assert_eq!(
            bundle.get("text/plain").unwrap(),
            "ads.clicks (dataset)\nwho <clicked>\nrows: 1,000,000\n  country text  12 values"
        );
        assert!(bundle.get("text/html").unwrap().contains("who &lt;clicked&gt;"));
    }

    #[test]
    fn says_how_many_columns_are_left_out() {
        let column = FactColumn { name: "c".to_owned(), type_name: "text".to_owned(), note: None };
        let facts = Facts { found: true, columns: vec![column; 23], ..Facts::default() };
        assert!(inspection(&facts, 0).unwrap().get("text/plain").unwrap().ends_with("and 3 more columns"));
        assert!(!inspection(&facts, 1).unwrap().get("text/plain").unwrap().contains("more"));
        assert_eq!(inspection(&Facts::default(), 1), None);
    }
}
