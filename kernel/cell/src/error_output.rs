//! A problem as a cell shows it: one to four lines with a caret below the exact place.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::bundle::visible;
use crate::problem::{Problem, Span};

const RED: &str = "\u{1b}[1;31m";
const DIM: &str = "\u{1b}[2m";
const GREEN: &str = "\u{1b}[32m";
const OFF: &str = "\u{1b}[0m";
/// Columns of source that are shown around a mistake in a long line.
const WINDOW: usize = 110;

/// What an `error` message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorOutput {
    /// The kind, for programs.
    pub ename: String,
    /// One line, for people.
    pub evalue: String,
    /// The lines that the front end shows, with ANSI colours.
    pub traceback: Vec<String>,
}

/// Renders a problem whose span (if any) is in bytes of `cell`, the text of the whole cell.
pub fn error_output(problem: &Problem, cell: &str) -> ErrorOutput {
    let message = visible(&problem.message);
    let ename = problem.ename.to_string();
    let mut traceback = vec![format!("{RED}{ename}{OFF}: {message}")];
    if let Some((source, caret)) = problem.span.and_then(|span| place(span, cell)) {
        traceback.push(source);
        traceback.push(caret);
    }
    if let Some(hint) = &problem.hint {
        traceback.push(format!("{GREEN}{}{OFF}", visible(hint)));
    }
    let evalue = match &problem.hint {
        Some(hint) => format!("{message}; {}", visible(hint)),
        None => message,
    };
    ErrorOutput { ename, evalue, traceback }
}

/// The line of source with its number, and the line with carets below it.
fn place(span: Span, cell: &str) -> Option<(String, String)> {
    let start = floor(cell, span.start.min(cell.len()));
    let line_start = cell[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = cell[start..].find('\n').map_or(cell.len(), |at| start + at);
    let line = cell[line_start..line_end].trim_end_matches('\r');
    if line.trim().is_empty() {
        return None;
    }
    let number = cell[..line_start].matches('\n').count() + 1;
    let end = floor(cell, span.end.clamp(start, line_start + line.len()).min(cell.len()));
    let start = start.min(line_start + line.len());
    let before = drawn(&cell[line_start..start]);
    let marked = drawn(cell.get(start..end.max(start)).unwrap_or(""));
    let after = drawn(&cell[end.max(start)..line_start + line.len()]);
    let (before, after) = window(&before, &marked, &after);
    let gutter = format!("{number:>3} | ");
    let carets = marked.width().clamp(1, WINDOW);
    let source = format!("{DIM}{gutter}{OFF}{before}{marked}{after}");
    let caret = format!(
        "{DIM}{:>width$}{OFF}{}{RED}{}{OFF}",
        "| ",
        " ".repeat(before.width()),
        "^".repeat(carets),
        width = gutter.width()
    );
    Some((source, caret))
}

/// Source as it is drawn: a tab is four columns, other control characters are one.
fn drawn(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("    "),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Cuts what stands far before and after the mark.
fn window(before: &str, marked: &str, after: &str) -> (String, String) {
    let total = before.width() + marked.width() + after.width();
    if total <= WINDOW {
        return (before.to_owned(), after.to_owned());
    }
    let room = WINDOW.saturating_sub(marked.width().min(WINDOW));
    let keep_before = before.width().min((room * 2 / 3).max(room.saturating_sub(after.width())));
    let keep_after = room.saturating_sub(keep_before);
    (tail(before, keep_before), head(after, keep_after))
}

fn tail(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut width = 0;
    let kept = text.char_indices().rev().take_while(|(_, c)| {
        width += c.width().unwrap_or(0);
        width < columns
    });
    let from = kept.last().map_or(text.len(), |(at, _)| at);
    format!("…{}", &text[from..])
}

fn head(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut width = 0;
    let mut out: String = text
        .chars()
        .take_while(|c| {
            width += c.width().unwrap_or(0);
            width < columns
        })
        .collect();
    out.push('…');
    out
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Ename;

    fn plain(lines: &[String]) -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                [RED, DIM, GREEN, OFF]
                    .iter()
                    .fold(line.clone(), |line, code| line.replace(code, ""))
                    .trim_end()
                    .to_owned()
            })
            .collect()
    }

    fn check(cell: &str, word: &str, expected: &[&str]) {
        let at = cell.find(word).unwrap();
        let problem = Problem::new(Ename::UnknownColumn, format!("no column {word}"))
            .at(Span::new(at, at + word.len()))
            .hint("did you mean country?");
        let output = error_output(&problem, cell);
        assert_eq!(plain(&output.traceback), expected);
        assert_eq!(output.ename, "UnknownColumn");
    }

    #[test]
    fn the_caret_is_below_the_word() {
        check(
            "SELECT contry FROM t",
            "contry",
            &[
                "UnknownColumn: no column contry",
                "  1 | SELECT contry FROM t",
                "    |        ^^^^^^",
                "did you mean country?",
            ],
        );
    }

    #[test]
    fn also_after_wide_characters_tabs_and_in_later_lines() {
        check(
            "SELECT 1;\n\tSELECT '東京', contry\nFROM t",
            "contry",
            &[
                "UnknownColumn: no column contry",
                "  2 |     SELECT '東京', contry",
                "    |                    ^^^^^^",
                "did you mean country?",
            ],
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let cell = format!("SELECT {}contry{}", "a, ".repeat(200), ", b".repeat(200));
        let at = cell.find("contry").unwrap();
        let problem = Problem::new(Ename::UnknownColumn, "no").at(Span::new(at, at + 6));
        let lines = plain(&error_output(&problem, &cell).traceback);
        assert!(lines[1].width() < 130, "{}", lines[1]);
        let caret = lines[2].find('^').unwrap();
        let shown: String = lines[1].chars().skip(lines[2][..caret].chars().count()).take(6).collect();
        assert_eq!(shown, "contry");
    }

    #[test]
    fn places_outside_the_cell_do_no_harm() {
        for span in [Span::new(0, 0), Span::new(99, 120), Span::new(1, 3), Span::new(7, 2)] {
            for cell in ["", "é", "SELECT é\n", "\n\n"] {
                let problem = Problem::new(Ename::SyntaxError, "x").at(span);
                let lines = error_output(&problem, cell).traceback;
                assert!((1..=4).contains(&lines.len()));
            }
        }
    }

    #[test]
    fn without_a_place_it_is_one_line() {
        let output = error_output(&Problem::new(Ename::MemoryLimit, "out\nof memory"), "SELECT 1");
        assert_eq!(plain(&output.traceback), ["MemoryLimit: out\\nof memory"]);
    }
}
