//! Feature preparation: what was learnt about each column (mean, spread, categories) and how it makes columns of the design.
//!
//! * Numbers are centred and scaled; a missing or NaN value counts as the mean.
//! * Booleans are 0 and 1; a missing value counts as the mean.
//! * Strings are one-hot: one column for each category seen in training, most frequent first; a missing value is a category of
//!   its own if training had any. A category that training did not see sets no column.

use std::collections::HashMap;

use carrel_cell::problem::{Ename, Problem};
use carrel_train::{Design, DesignBuilder};
use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::{frame::Kind, internal};

/// One input column of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Feature {
    /// The column's name.
    pub(super) name: String,
    /// How it is encoded.
    pub(super) input: Input,
}

/// How a column is encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Input {
    /// `(value - mean) / scale`
    Number { mean: f64, scale: f64 },
    /// 0 or 1, centred
    Flag { mean: f64 },
    /// One column per level; `None` is the missing value. With a reference, the first level has no column.
    Category { levels: Vec<Option<String>>, reference: bool },
}

/// How categories are turned into columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Leave out the most frequent category's column (dummy encoding).
    pub(super) reference: bool,
    /// The most categories of one column.
    pub(super) max_categories: usize,
    /// Scale numbers to unit standard deviation.
    pub(super) standardize: bool,
}

impl Feature {
    /// The kind of frame column it needs.
    pub(super) fn kind(&self) -> Kind {
        match self.input {
            Input::Number { .. } => Kind::Number,
            Input::Flag { .. } => Kind::Flag,
            Input::Category { .. } => Kind::Text,
        }
    }

    /// How many columns of the design it makes.
    pub(super) fn width(&self) -> usize {
        match &self.input {
            Input::Number { .. } | Input::Flag { .. } => 1,
            Input::Category { levels, reference } => {
                levels.len() - usize::from(*reference && !levels.is_empty())
            }
        }
    }

    /// Learns a feature from its column.
    pub(super) fn learn(frame: &DataFrame, name: &str, kind: Kind, how: Encoding) -> Result<Self, Problem> {
        let polars = |error| internal("a column could not be read", error);
        let input = match kind {
            Kind::Number | Kind::Flag => {
                let column = frame.column(name).map_err(polars)?.f64().map_err(polars)?;
                let (mut n, mut mean, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
                for value in column.iter().flatten().filter(|v| !v.is_nan()) {
                    if value.is_infinite() {
                        return Err(Problem::new(
                            Ename::TrainingError,
                            format!("column {name} holds an infinite value"),
                        )
                        .hint(format!("leave such rows out: WHERE abs({name}) < 1e300")));
                    }
                    n += 1.0;
                    let delta = value - mean;
                    mean += delta / n;
                    squares += delta * (value - mean);
                }
                let sd = (squares / (n - 1.0).max(1.0)).sqrt();
                match kind {
                    Kind::Flag => Input::Flag { mean },
                    _ if how.standardize && sd > 0.0 => Input::Number { mean, scale: sd },
                    _ => Input::Number { mean, scale: 1.0 },
                }
            }
            Kind::Text => {
                let grouped = frame.group_by([name]).map_err(polars)?;
                let groups = grouped.get_groups();
                if groups.len() > how.max_categories {
                    let message = format!(
                        "column {name} has {} different values, at most {} can be one-hot encoded",
                        groups.len(),
                        how.max_categories
                    );
                    return Err(Problem::new(Ename::TrainingError, message)
                        .hint("leave it out of the SELECT, group its values, or raise max_categories"));
                }
                let column = frame.column(name).map_err(polars)?.str().map_err(polars)?;
                let mut levels: Vec<(usize, Option<String>)> = groups
                    .iter()
                    .map(|group| (group.len(), column.get(group.first() as usize).map(str::to_owned)))
                    .collect();
                levels.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
                Input::Category {
                    levels: levels.into_iter().map(|(_, level)| level).collect(),
                    reference: how.reference,
                }
            }
        };
        Ok(Self { name: name.to_owned(), input })
    }
}

/// How many columns the design has.
pub(super) fn width(features: &[Feature]) -> usize {
    features.iter().map(Feature::width).sum()
}

/// One encoded column of a frame.
enum Encoded {
    /// A value for every row.
    Value(Vec<f64>),
    /// The column of the design that is 1, counted from the feature's first; none for [`NONE`].
    Code(Vec<u32>),
}

/// No column is set.
const NONE: u32 = u32::MAX;

/// Asked now and then in long work: an error ends it.
pub(super) type Check<'a> = &'a dyn Fn() -> Result<(), Problem>;

/// Rows between two checks.
const CHECK_ROWS: usize = 65_536;

/// The design of a frame that has every feature's column.
pub(super) fn design(features: &[Feature], frame: &DataFrame, check: Check<'_>) -> Result<Design, Problem> {
    let rows = frame.height();
    let encoded = features
        .iter()
        .map(|feature| check().and_then(|()| encode(feature, frame)))
        .collect::<Result<Vec<_>, _>>()?;
    let cols = width(features);
    let result = if encoded.iter().all(|column| matches!(column, Encoded::Value(_))) {
        let mut values = Vec::with_capacity(rows * cols);
        for row in 0..rows {
            if row.is_multiple_of(CHECK_ROWS) {
                check()?;
            }
            for column in &encoded {
                if let Encoded::Value(column) = column {
                    values.push(column[row]);
                }
            }
        }
        Design::dense(rows, cols, values)
    } else {
        let starts: Vec<u32> = features
            .iter()
            .scan(0, |at, feature| {
                let start = *at;
                *at += feature.width() as u32;
                Some(start)
            })
            .collect();
        let mut builder = DesignBuilder::new(cols, rows, features.len());
        for row in 0..rows {
            if row.is_multiple_of(CHECK_ROWS) {
                check()?;
            }
            for (column, start) in encoded.iter().zip(&starts) {
                match column {
                    Encoded::Value(values) => builder.push(*start, values[row]),
                    Encoded::Code(codes) if codes[row] != NONE => builder.push(start + codes[row], 1.0),
                    Encoded::Code(_) => {}
                }
            }
            builder.end_row();
        }
        builder.finish()
    };
    result.map_err(|error| Problem::new(Ename::ValueError, format!("features cannot be used: {error}")))
}

fn encode(feature: &Feature, frame: &DataFrame) -> Result<Encoded, Problem> {
    let polars = |error| internal("a column could not be read", error);
    let column = frame.column(&feature.name).map_err(polars)?;
    Ok(match &feature.input {
        Input::Number { mean, scale } => Encoded::Value(
            column
                .f64()
                .map_err(polars)?
                .iter()
                .map(|value| match value {
                    Some(value) if !value.is_nan() => (value - mean) / scale,
                    _ => 0.0,
                })
                .collect(),
        ),
        Input::Flag { mean } => Encoded::Value(
            column.f64().map_err(polars)?.iter().map(|value| value.map_or(0.0, |v| v - mean)).collect(),
        ),
        Input::Category { levels, reference } => {
            let skip = u32::from(*reference);
            let codes: HashMap<Option<&str>, u32> = levels
                .iter()
                .enumerate()
                .map(|(at, level)| (level.as_deref(), (at as u32).checked_sub(skip).unwrap_or(NONE)))
                .collect();
            let code = |value| codes.get(&value).copied().unwrap_or(NONE);
            Encoded::Code(column.str().map_err(polars)?.iter().map(code).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::super::frame::from_arrays;
    use super::*;

    const PLAIN: Encoding = Encoding { reference: false, max_categories: 3, standardize: true };

    fn frame(numbers: Vec<Option<f64>>, texts: Vec<Option<&str>>) -> DataFrame {
        let rows = numbers.len();
        let numbers: ArrayRef = Arc::new(Float64Array::from(numbers));
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        from_arrays(rows, &[("n", &numbers, Kind::Number), ("t", &texts, Kind::Text)]).unwrap()
    }

    #[test]
    fn numbers_and_categories_are_learnt_and_encoded() {
        let seen =
            frame(vec![Some(1.0), Some(3.0), None, Some(5.0)], vec![Some("b"), Some("a"), None, Some("b")]);
        let number = Feature::learn(&seen, "n", Kind::Number, PLAIN).unwrap();
        assert_eq!(number.input, Input::Number { mean: 3.0, scale: 2.0 });
        let text = Feature::learn(&seen, "t", Kind::Text, PLAIN).unwrap();
        let levels = vec![Some("b".to_owned()), None, Some("a".to_owned())];
        assert_eq!(text.input, Input::Category { levels: levels.clone(), reference: false });
        let features = [number, text];
        assert_eq!(width(&features), 4);
        // New data: an unseen category and a missing number.
        let new = frame(vec![None, Some(7.0)], vec![Some("new"), Some("a")]);
        let design = design(&features, &new, &|| Ok(())).unwrap();
        let scores = design.scores(&[10.0, 1.0, 2.0, 3.0], 0.5, None).unwrap();
        assert_eq!(scores, [0.5, 0.5 + 20.0 + 3.0]);
        let dummy = Feature::learn(&seen, "t", Kind::Text, Encoding { reference: true, ..PLAIN }).unwrap();
        assert_eq!((dummy.width(), &dummy.input), (2, &Input::Category { levels, reference: true }));
    }

    #[test]
    fn too_many_categories_and_infinities_are_refused() {
        let wide = frame(vec![Some(1.0); 4], vec![Some("a"), Some("b"), Some("c"), Some("d")]);
        let problem = Feature::learn(&wide, "t", Kind::Text, PLAIN).unwrap_err();
        assert_eq!(problem.message, "column t has 4 different values, at most 3 can be one-hot encoded");
        let infinite = frame(vec![Some(f64::INFINITY)], vec![None]);
        assert!(Feature::learn(&infinite, "n", Kind::Number, PLAIN).is_err());
    }
}
