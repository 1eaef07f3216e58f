//! Rows as a plot needs them: numbers, times and texts, nothing else.

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL, or a number that is none.
    Null,
    /// A number.
    Number(f64),
    /// Milliseconds since 1970 in UTC, or of the clock on the wall for times without a zone.
    Time(f64),
    /// Anything else, as text.
    Text(String),
}

impl Value {
    /// The place on a continuous axis.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(n) | Self::Time(n) => Some(*n).filter(|n| n.is_finite()),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// The value as a category.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Number(n) => Some(plain(*n)),
            Self::Time(ms) => Some(crate::scale::time_label(*ms)),
            Self::Text(text) => Some(text.clone()),
        }
    }
}

/// A number without needless digits.
#[must_use]
pub fn plain(n: f64) -> String {
    let rounded = (n * 1e9).round() / 1e9;
    if rounded.is_finite() && n.abs() < 1e15 && n.abs() >= 1e-6 || n == 0.0 {
        format!("{rounded}")
    } else {
        format!("{n:e}")
    }
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers: a continuous scale.
    Number,
    /// Dates and times: a continuous scale with other labels.
    Time,
    /// Texts and truth values: categories.
    Category,
}

/// A column of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// Rows of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each as long as the columns are many.
    pub rows: Vec<Vec<Value>>,
    /// Are these all rows of the answer?
    pub complete: bool,
}

impl Frame {
    /// The place of a column.
    #[must_use]
    pub fn at(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// A value, NULL if there is no such column or row.
    #[must_use]
    pub fn value(&self, row: usize, name: &str) -> Value {
        let found = self.at(name).and_then(|at| self.rows.get(row)?.get(at));
        found.cloned().unwrap_or(Value::Null)
    }

    /// A number of a row.
    #[must_use]
    pub fn number(&self, row: usize, name: &str) -> Option<f64> {
        self.value(row, name).number()
    }
}
