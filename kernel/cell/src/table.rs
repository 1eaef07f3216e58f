//! A result table as text and as HTML, with the line above it that says how complete it is.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use crate::bundle::{MimeBundle, escape, visible};

/// A column's heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as users write it.
    pub type_name: String,
    /// Numbers are aligned at the right.
    pub numeric: bool,
}

/// Formatted values below their headings. `None` is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The headings.
    pub columns: Vec<Column>,
    /// The values, a row after the other.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Bounds of what a table puts into a notebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Columns that are drawn.
    pub columns: usize,
    /// Characters of one value that are drawn.
    pub value_chars: usize,
    /// Bytes of HTML (and of text) after which no further row is drawn.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { columns: 100, value_chars: 1_000, bytes: 1_000_000 }
    }
}

/// The table in the formats that every front end has a way to show: `text/html` and `text/plain`.
pub fn bundle(table: &Table, caption: &str, limits: Limits) -> MimeBundle {
    let caption = match cut_note(table, limits) {
        Some(note) => format!("{caption}; {note}"),
        None => caption.to_owned(),
    };
    MimeBundle::text(text(table, &caption, limits)).html(html(table, &caption, limits))
}

fn cut_note(table: &Table, limits: Limits) -> Option<String> {
    (table.columns.len() > limits.columns)
        .then(|| format!("the first {} of {} columns are drawn", limits.columns, table.columns.len()))
}

/// The table as plain `<table>`: no scripts, no classes, readable with and without JupyterLab's style sheet.
pub fn html(table: &Table, caption: &str, limits: Limits) -> String {
    let mut out = String::with_capacity(256 + table.rows.len() * table.columns.len() * 24);
    let _ = write!(out, "<div><p style=\"margin:0 0 .4em;opacity:.75\">{}</p>", escape(caption));
    if table.columns.is_empty() {
        out.push_str("</div>");
        return out;
    }
    out.push_str("<table><thead><tr>");
    let columns = &table.columns[..table.columns.len().min(limits.columns)];
    for column in columns {
        let _ = write!(
            out,
            "<th title=\"{}\" style=\"text-align:{}\">{}</th>",
            escape(&column.type_name),
            side(column),
            escape(&column.name)
        );
    }
    out.push_str("</tr></thead><tbody>");
    let mut drawn = 0;
    for row in &table.rows {
        if out.len() > limits.bytes {
            break;
        }
        out.push_str("<tr>");
        for (column, value) in columns.iter().zip(row) {
            html_cell(&mut out, column, value.as_deref(), limits);
        }
        out.push_str("</tr>");
        drawn += 1;
    }
    out.push_str("</tbody></table>");
    if drawn < table.rows.len() {
        let _ = write!(out, "<p>{}</p>", size_note(drawn));
    }
    out.push_str("</div>");
    out
}

/// A list or a record is folded beyond so many characters …
const NESTED: usize = 48;
/// … and a text beyond so many.
const PROSE: usize = 400;
/// Bytes of a value that stays on one line.
const SHORT: usize = 40;

fn html_cell(out: &mut String, column: &Column, value: Option<&str>, limits: Limits) {
    let _ = match value {
        None => write!(out, "<td style=\"text-align:{};opacity:.55\"><i>NULL</i></td>", side(column)),
        Some(value) => {
            let shown = escape(&shorten(value, limits.value_chars));
            let shown = match folded(value) {
                Some(head) => format!("<details><summary>{}…</summary>{shown}</details>", escape(head)),
                None => shown,
            };
            let space = if folded(value).is_some() { ";white-space:nowrap" } else { white_space(value) };
            write!(out, "<td style=\"text-align:{}{space}\">{shown}</td>", side(column))
        }
    };
}

/// What is seen of a long value until it is opened: a row stays a line.
fn folded(value: &str) -> Option<&str> {
    let nested = value.starts_with(['[', '{']);
    let (most, head) = if nested { (NESTED, NESTED) } else { (PROSE, PROSE / 2) };
    value.char_indices().nth(most)?;
    value.char_indices().nth(head).map(|(at, _)| value[..at].trim_end())
}

/// Lines and columns inside a value stay; a short value (a time, a few words) is not broken over lines.
fn white_space(value: &str) -> &'static str {
    if value.contains(['\n', '\t']) || value.contains("  ") {
        ";white-space:pre-wrap"
    } else if value.len() <= SHORT && value.contains([' ', '-']) {
        ";white-space:nowrap"
    } else {
        ""
    }
}

fn side(column: &Column) -> &'static str {
    if column.numeric { "right" } else { "left" }
}

/// The table in aligned columns, also for wide characters.
pub fn text(table: &Table, caption: &str, limits: Limits) -> String {
    let mut out = format!("{}\n", visible(caption));
    if table.columns.is_empty() {
        out.pop();
        return out;
    }
    let columns = &table.columns[..table.columns.len().min(limits.columns)];
    let value_chars = limits.value_chars.min(200);
    let mut cells: Vec<Vec<String>> = Vec::with_capacity(table.rows.len());
    let mut widths: Vec<usize> = columns.iter().map(|column| visible(&column.name).width()).collect();
    let mut bytes = 0;
    for row in &table.rows {
        if bytes > limits.bytes {
            break;
        }
        let mut line = Vec::with_capacity(columns.len());
        for (value, width) in row.iter().take(columns.len()).zip(&mut widths) {
            let cell =
                value.as_deref().map_or("NULL".to_owned(), |value| visible(&shorten(value, value_chars)));
            *width = (*width).max(cell.width());
            bytes += cell.len() + 2;
            line.push(cell);
        }
        cells.push(line);
    }
    let heading: Vec<String> = columns.iter().map(|column| visible(&column.name)).collect();
    text_line(&mut out, &heading, columns, &widths);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    text_line(&mut out, &rule, columns, &widths);
    for line in &cells {
        text_line(&mut out, line, columns, &widths);
    }
    if cells.len() < table.rows.len() {
        out.push_str(&size_note(cells.len()));
        out.push('\n');
    }
    out.pop();
    out
}

fn text_line(out: &mut String, cells: &[String], columns: &[Column], widths: &[usize]) {
    let begin = out.len();
    for ((cell, column), width) in cells.iter().zip(columns).zip(widths) {
        let pad = width.saturating_sub(cell.width());
        if out.len() > begin {
            out.push_str("  ");
        }
        if column.numeric {
            out.extend(std::iter::repeat_n(' ', pad));
            out.push_str(cell);
        } else {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', pad));
        }
    }
    while out.ends_with(' ') && out.len() > begin {
        out.pop();
    }
    out.push('\n');
}

fn size_note(rows: usize) -> String {
    format!(
        "only {rows} rows are drawn, the values are too large for more; select fewer columns or shorter values"
    )
}

/// A value cut to so many characters, saying how many there are.
pub fn shorten(value: &str, chars: usize) -> String {
    if value.len() <= chars {
        return value.to_owned();
    }
    match value.char_indices().nth(chars) {
        None => value.to_owned(),
        Some((at, _)) => format!("{}… ({} characters)", &value[..at], value.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let column = |name: &str, type_name: &str, numeric| Column {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            numeric,
        };
        Table {
            columns: vec![column("city", "text", false), column("n", "bigint", true)],
            rows: vec![
                vec![Some("東京".to_owned()), Some("7".to_owned())],
                vec![None, Some("1234".to_owned())],
                vec![Some("<b>a\nb</b>".to_owned()), None],
            ],
        }
    }

    #[test]
    fn text_is_aligned_by_what_is_seen() {
        let expected = "3 rows, complete\n\
                        city            n\n\
                        ───────────  ────\n\
                        東京            7\n\
                        NULL         1234\n\
                        <b>a\\nb</b>  NULL";
        assert_eq!(text(&sample(), "3 rows, complete", Limits::default()), expected);
    }

    #[test]
    fn html_is_escaped_aligned_and_typed() {
        let html = html(&sample(), "3 rows <complete>", Limits::default());
        assert!(html.contains("3 rows &lt;complete&gt;"), "{html}");
        assert!(html.contains("<th title=\"bigint\" style=\"text-align:right\">n</th>"), "{html}");
        assert!(
            html.contains("<td style=\"text-align:left;white-space:pre-wrap\">&lt;b&gt;a\nb&lt;/b&gt;</td>"),
            "{html}"
        );
        assert!(html.contains("<i>NULL</i>"), "{html}");
        assert!(!html.contains("<b>"), "{html}");
    }

    #[test]
    fn a_row_stays_a_line() {
        let cell = |value: &str| {
            let mut out = String::new();
            html_cell(&mut out, &sample().columns[0], Some(value), Limits::default());
            out
        };
        assert_eq!(cell("plain"), "<td style=\"text-align:left\">plain</td>");
        assert_eq!(
            cell("2026-01-01 00:00"),
            "<td style=\"text-align:left;white-space:nowrap\">2026-01-01 00:00</td>"
        );
        let long = format!("[{}]", "1<2, ".repeat(20));
        let seen = escape(&long[..48]);
        let expected = format!(
            "<td style=\"text-align:left;white-space:nowrap\"><details><summary>{}…</summary>{}</details></td>",
            seen.trim_end(),
            escape(&long)
        );
        assert_eq!(cell(&long), expected);
        assert!(!cell(&"word ".repeat(50)).contains("<details>"));
        assert!(cell(&"word ".repeat(100)).contains("<details>"));
    }

    #[test]
    fn cuts_are_said() {
        let limits = Limits { columns: 1, value_chars: 3, bytes: 40 };
        let bundle = bundle(&sample(), "3 rows", limits);
        let text = bundle.get("text/plain").unwrap();
        assert!(text.starts_with("3 rows; the first 1 of 2 columns are drawn\n"), "{text}");
        assert!(text.contains("<b>… (10 characters)"), "{text}");
        let html = bundle.get("text/html").unwrap();
        assert!(html.contains("only 0 rows are drawn"), "{html}");
        assert!(bundle.get("application/json").is_none());
    }

    #[test]
    fn a_result_without_columns_is_its_caption() {
        assert_eq!(text(&Table::default(), "done, 0.1 s", Limits::default()), "done, 0.1 s");
    }
}
