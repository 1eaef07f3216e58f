//! The label: two classes for a classifier, a number for a regressor.

use arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray},
    datatypes::DataType,
};
use carrel_cell::problem::{Ename, Problem};
use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{frame::Kind, internal};

/// The two classes of a label column; the positive one is the greater (1, true, the later text).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Classes {
    /// What type the label had.
    pub(super) kind: ClassKind,
    /// The class whose probability is not modelled.
    pub(super) negative: String,
    /// The class whose probability is modelled.
    pub(super) positive: String,
}

/// The type of a classifier's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClassKind {
    /// `true`, `false`
    Boolean,
    /// Whole numbers
    Integer,
    /// Other numbers
    Number,
    /// Texts
    Text,
}

impl ClassKind {
    /// The class type of a label column.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Boolean),
            other if other.is_integer() => Some(Self::Integer),
            other => Kind::of(other).map(|kind| if kind == Kind::Text { Self::Text } else { Self::Number }),
        }
    }

    /// The Arrow type that predictions of it have.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }

    /// The frame column that a label of it becomes.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Boolean => Kind::Flag,
            Self::Integer | Self::Number => Kind::Number,
            Self::Text => Kind::Text,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::Boolean => (value != 0.0).to_string(),
            _ => value.to_string(),
        }
    }
}

impl Classes {
    /// Finds the two classes of a label column. Missing labels are no class.
    pub(super) fn learn(frame: &DataFrame, name: &str, kind: ClassKind) -> Result<Self, Problem> {
        let polars = |error| internal("the label could not be read", error);
        let column = frame.column(name).map_err(polars)?;
        let mut found: Vec<String> = Vec::new();
        let mut note = |text: String| {
            if !found.contains(&text) {
                found.push(text);
            }
            found.len() <= 3
        };
        if kind == ClassKind::Text {
            let mut seen: Vec<&str> = Vec::new();
            for value in column.str().map_err(polars)?.iter().flatten() {
                if !seen.contains(&value) {
                    seen.push(value);
                    if !note(value.to_owned()) {
                        break;
                    }
                }
            }
            found.sort();
        } else {
            let mut seen: Vec<f64> = Vec::new();
            for value in column.f64().map_err(polars)?.iter().flatten().filter(|v| !v.is_nan()) {
                if !seen.contains(&value) {
                    seen.push(value);
                    if seen.len() > 3 {
                        break;
                    }
                }
            }
            seen.sort_by(f64::total_cmp);
            found = seen.into_iter().map(|value| kind.text(value)).collect();
        }
        match found.as_slice() {
            [negative, positive] => Ok(Self { kind, negative: negative.clone(), positive: positive.clone() }),
            [] => Err(Problem::new(
                Ename::TrainingError,
                format!("label {name} has no values: there is nothing to train on"),
            )),
            [one] => Err(Problem::new(
                Ename::TrainingError,
                format!("label {name} is always {one}: a classifier needs two different values"),
            )),
            many => {
                let more = if many.len() > 3 { ", …" } else { "" };
                let values = many[..3].join(", ");
                let hint = format!("compare it with a value in the SELECT, as in ({name} = …) AS {name}");
                let numbers = if kind == ClassKind::Text { "" } else { ", or use model_type = 'linear_reg'" };
                Err(Problem::new(
                    Ename::TrainingError,
                    format!(
                        "label {name} has more than two different values ({values}{more}): logistic_reg tells two apart"
                    ),
                )
                .hint(format!("{hint}{numbers}")))
            }
        }
    }

    /// 0 and 1 for each row, none where the label is missing. A third value is refused.
    pub(super) fn codes(&self, frame: &DataFrame, name: &str) -> Result<Vec<Option<f64>>, Problem> {
        let polars = |error| internal("the label could not be read", error);
        let column = frame.column(name).map_err(polars)?;
        let stranger = |value: &str| {
            Problem::new(
                Ename::ValueError,
                format!(
                    "label {name} is {value} in a row: the model knows {} and {}",
                    self.negative, self.positive
                ),
            )
        };
        if self.kind == ClassKind::Text {
            let code = |value: Option<&str>| match value {
                None => Ok(None),
                Some(value) if value == self.positive => Ok(Some(1.0)),
                Some(value) if value == self.negative => Ok(Some(0.0)),
                Some(value) => Err(stranger(value)),
            };
            return column.str().map_err(polars)?.iter().map(code).collect();
        }
        let number = |text: &str| match self.kind {
            ClassKind::Boolean => Some(f64::from(u8::from(text == "true"))),
            _ => text.parse::<f64>().ok(),
        };
        let (negative, positive) = (number(&self.negative), number(&self.positive));
        let code = |value: Option<f64>| match value.filter(|v| !v.is_nan()) {
            None => Ok(None),
            value if value == positive => Ok(Some(1.0)),
            value if value == negative => Ok(Some(0.0)),
            Some(value) => Err(stranger(&self.kind.text(value))),
        };
        column.f64().map_err(polars)?.iter().map(code).collect()
    }

    /// An array of classes: the positive one where `positive` is true.
    pub(super) fn array(&self, positive: impl ExactSizeIterator<Item = bool>) -> Result<ArrayRef, Problem> {
        let bad = |text: &str| internal("a stored class cannot be read", text);
        Ok(match self.kind {
            ClassKind::Boolean => {
                let (yes, no) = (self.positive == "true", self.negative == "true");
                Arc::new(positive.map(|p| Some(if p { yes } else { no })).collect::<BooleanArray>())
            }
            ClassKind::Integer => {
                let parse = |text: &str| text.parse::<i64>().map_err(|_| bad(text));
                let (yes, no) = (parse(&self.positive)?, parse(&self.negative)?);
                Arc::new(Int64Array::from_iter_values(positive.map(|p| if p { yes } else { no })))
            }
            ClassKind::Number => {
                let parse = |text: &str| text.parse::<f64>().map_err(|_| bad(text));
                let (yes, no) = (parse(&self.positive)?, parse(&self.negative)?);
                Arc::new(Float64Array::from_iter_values(positive.map(|p| if p { yes } else { no })))
            }
            ClassKind::Text => Arc::new(StringArray::from_iter_values(
                positive.map(|p| if p { &self.positive } else { &self.negative }),
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::from_arrays;
    use super::*;

    fn frame(array: ArrayRef, kind: ClassKind) -> DataFrame {
        from_arrays(array.len(), &[("y", &array, kind.kind())]).unwrap()
    }

    #[test]
    fn two_values_of_any_type_are_classes() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("yes"), None, Some("no")]));
        let classes = Classes::learn(&frame(texts.clone(), ClassKind::Text), "y", ClassKind::Text).unwrap();
        assert_eq!((classes.negative.as_str(), classes.positive.as_str()), ("no", "yes"));
        let codes = classes.codes(&frame(texts, ClassKind::Text), "y").unwrap();
        assert_eq!(codes, [Some(1.0), None, Some(0.0)]);
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        let classes = Classes::learn(&frame(flags, ClassKind::Boolean), "y", ClassKind::Boolean).unwrap();
        assert_eq!((classes.negative.as_str(), classes.positive.as_str()), ("false", "true"));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![10, 9]));
        let classes = Classes::learn(&frame(numbers, ClassKind::Integer), "y", ClassKind::Integer).unwrap();
        assert_eq!((classes.negative.as_str(), classes.positive.as_str()), ("9", "10"));
        let back = classes.array([true, false].into_iter()).unwrap();
        assert_eq!(back.as_ref(), &Int64Array::from(vec![10, 9]) as &dyn arrow::array::Array);
        let stranger: ArrayRef = Arc::new(Int64Array::from(vec![3]));
        assert!(classes.codes(&frame(stranger, ClassKind::Integer), "y").is_err());
    }

    #[test]
    fn one_or_three_values_are_refused() {
        for (values, words) in [
            (vec![1, 1], "is always 1"),
            (vec![1, 2, 3, 4, 5], "more than two different values (1, 2, 3, …)"),
        ] {
            let array: ArrayRef = Arc::new(Int64Array::from(values));
            let problem =
                Classes::learn(&frame(array, ClassKind::Integer), "y", ClassKind::Integer).unwrap_err();
            assert!(problem.message.contains(words), "{problem}");
        }
    }
}
