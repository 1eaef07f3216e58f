//! Should Enter run the cell or begin a new line? Only consoles ask.

use crate::problem::Ename;
use crate::token::tokenize;

/// The answer to `is_complete_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Enter runs it.
    Complete,
    /// Enter begins a new line, indented by this.
    Incomplete {
        /// Spaces to begin the line with.
        indent: &'static str,
    },
    /// It can never become a statement.
    Invalid,
}

/// A cell is complete when its last statement ends with `;`, or when a blank line follows.
pub fn is_complete(code: &str) -> Completeness {
    let tokens = match tokenize(code) {
        Ok(tokens) => tokens,
        // An open string, name or comment: the text continues as it stands.
        Err(problem) if problem.ename == Ename::SyntaxError => {
            return Completeness::Incomplete { indent: "" };
        }
        Err(_) => return Completeness::Invalid,
    };
    let mut open = 0_usize;
    for token in &tokens {
        if token.is_symbol(code, '(') || token.is_symbol(code, '[') {
            open += 1;
        } else if token.is_symbol(code, ')') || token.is_symbol(code, ']') {
            match open.checked_sub(1) {
                Some(rest) => open = rest,
                None => return Completeness::Invalid,
            }
        } else if token.is_symbol(code, ';') && open > 0 {
            return Completeness::Invalid;
        }
    }
    let Some(last) = tokens.last() else { return Completeness::Complete };
    if open > 0 {
        Completeness::Incomplete { indent: "  " }
    } else if last.is_symbol(code, ';') || blank_line_follows(&code[last.span.end..]) {
        Completeness::Complete
    } else {
        Completeness::Incomplete { indent: "" }
    }
}

fn blank_line_follows(rest: &str) -> bool {
    rest.contains('\n') && rest.rsplit('\n').next().is_some_and(|line| line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_when_to_run() {
        let more = Completeness::Incomplete { indent: "" };
        let inside = Completeness::Incomplete { indent: "  " };
        for (code, expected) in [
            ("", Completeness::Complete),
            ("-- only a comment", Completeness::Complete),
            ("SELECT 1;", Completeness::Complete),
            ("SELECT 1; -- done", Completeness::Complete),
            ("SELECT 1\n", Completeness::Complete),
            ("SELECT 1\n  ", Completeness::Complete),
            ("SELECT 1", more),
            ("SELECT ';", more),
            ("SELECT \"a", more),
            ("SELECT 1 /* ;", more),
            ("SELECT (1 +\n", inside),
            ("SELECT 1)", Completeness::Invalid),
            ("SELECT (1;", Completeness::Invalid),
        ] {
            assert_eq!(is_complete(code), expected, "{code:?}");
        }
    }
}
