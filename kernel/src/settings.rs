//! Settings of the front itself: how results are drawn, and values for `:name`. All others are the engine's.

use carrel_cell::parameters::Parameters;
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::{OptionValue, Span, StatementKind};

/// Rows that are drawn at most, whatever is set: a notebook is a document.
const MOST_ROWS: usize = 10_000;

/// What can be set with `SET display.…` and `SET VARIABLE`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Rows of a result that are fetched and drawn.
    pub(crate) rows: usize,
    /// Values for `:name` that the notebook's metadata holds.
    pub(crate) notebook: Parameters,
    /// Those of `SET VARIABLE`.
    pub(crate) variables: Parameters,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rows: 200, notebook: Parameters::default(), variables: Parameters::default() }
    }
}

/// What the front does with a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The engine has to do it.
    No,
    /// Done; this is to be said.
    Done(String),
    /// It was for the front, and wrong.
    Refused(Problem),
}

impl Settings {
    /// Does the statement if it is about the front's own settings.
    pub(crate) fn take(&mut self, kind: &StatementKind) -> Taken {
        match kind {
            StatementKind::Set { key, value, span } if key.starts_with("display.") => {
                self.set(key, value.as_ref(), *span)
            }
            StatementKind::SetVariable { name, value, .. } => {
                self.variables.set(name, value.as_ref());
                Taken::Done(match value {
                    Some(value) => format!("variable {name} = {value}"),
                    None => format!("variable {name} is forgotten"),
                })
            }
            StatementKind::ShowSetting { key: Some(key) } if key == "display.rows" => {
                Taken::Done(format!("display.rows = {}", self.rows))
            }
            _ => Taken::No,
        }
    }

    fn set(&mut self, key: &str, value: Option<&OptionValue>, span: Span) -> Taken {
        if key != "display.rows" {
            let problem = Problem::new(Ename::BadOption, format!("there is no setting {key}")).at(span);
            return Taken::Refused(problem.suggest(key, ["display.rows"]));
        }
        let rows = match value {
            None => Some(Self::default().rows),
            Some(value) => value
                .as_number()
                .filter(|n| n.fract() == 0.0 && (0.0..=MOST_ROWS as f64).contains(n))
                .map(|n| n as usize),
        };
        match rows {
            Some(rows) => {
                self.rows = rows;
                Taken::Done(format!("display.rows = {rows}"))
            }
            None => Taken::Refused(
                Problem::new(Ename::BadOption, "display.rows takes a whole number")
                    .at(span)
                    .hint(format!("0 to {MOST_ROWS}; write more with COPY (query) TO 'file'")),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use carrel_cell::statement::parse_statement;

    use super::*;

    #[test]
    fn display_rows_is_the_fronts_and_the_rest_is_not() {
        let mut settings = Settings::default();
        let mut take = |text: &str| settings.take(&parse_statement(text).unwrap().kind);
        assert_eq!(take("SET display.rows = 50"), Taken::Done("display.rows = 50".to_owned()));
        assert_eq!(take("SHOW display.rows"), Taken::Done("display.rows = 50".to_owned()));
        assert_eq!(take("SET memory.limit = '1GB'"), Taken::No);
        assert_eq!(take("SELECT 1"), Taken::No);
        for wrong in ["SET display.rows = -1", "SET display.rows = 'many'", "SET display.row = 5"] {
            assert!(matches!(take(wrong), Taken::Refused(_)), "{wrong}");
        }
        assert_eq!(take("RESET display.rows"), Taken::Done("display.rows = 200".to_owned()));
    }
}
