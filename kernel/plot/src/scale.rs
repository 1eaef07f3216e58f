//! Scales: what range values have, where the ticks are and what they say, and what colours and sizes values become.

mod ticks;

use std::collections::BTreeSet;

use carrel_cell::problem::{Ename, Problem};

use crate::aesthetic::Aes;
use crate::frame::{Kind, Value, plain};
use crate::palette;
use crate::spec::{Literal, ScaleSpec, Transform};
pub(crate) use ticks::nice_step;
pub use ticks::{parse_time, ticks, time_label};

/// Shapes of points, in the order in which categories take them.
pub(crate) const SHAPES: &[&str] = &["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
/// Dashes of lines, in the order in which categories take them.
pub(crate) const LINETYPES: &[&str] = &["solid", "dashed", "dotted", "dotdash", "longdash"];

/// The dashes of a line in points.
pub(crate) fn dashes(name: &str) -> &'static [u32] {
    match name {
        "dashed" => &[6, 4],
        "dotted" => &[2, 3],
        "dotdash" => &[2, 3, 6, 3],
        "longdash" => &[10, 5],
        _ => &[],
    }
}

/// A position axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Along {
    /// Numbers or times between two ends.
    Line {
        /// The lowest and the highest.
        domain: [f64; 2],
        /// Are they times?
        time: bool,
        /// How they are spread.
        transform: Transform,
    },
    /// Categories, one band each.
    Band {
        /// All categories.
        domain: Vec<String>,
    },
}

/// A scale of an aesthetic that a legend explains.
#[derive(Clone, Debug, PartialEq)]
pub enum Legend {
    /// Category by category: what it is called and what it becomes.
    Discrete {
        /// Values of the data.
        domain: Vec<String>,
        /// What each becomes.
        range: Vec<String>,
    },
    /// Colours along numbers.
    Gradient {
        /// The lowest and the highest.
        domain: [f64; 2],
        /// Are they times?
        time: bool,
        /// From the lowest to the highest.
        stops: Vec<String>,
    },
    /// Sizes along numbers.
    Amount {
        /// The lowest and the highest.
        domain: [f64; 2],
        /// What they become.
        range: [f64; 2],
    },
}

impl Legend {
    /// The scale of an aesthetic over these values.
    pub(crate) fn new(
        aes: Aes,
        kind: Kind,
        values: &[&Value],
        spec: Option<&ScaleSpec>,
    ) -> Result<Self, Problem> {
        if kind != Kind::Category {
            return Self::continuous(aes, kind, values, spec);
        }
        let domain = categories(values, spec);
        let wrong = |message: String| {
            let problem = Problem::new(Ename::ValueError, message);
            match spec {
                Some(spec) => problem.at(spec.span),
                None => problem,
            }
        };
        if domain.len() > 60 {
            let message = format!("{} has {} categories, a plot shows 60", aes.name(), domain.len());
            return Err(wrong(message).hint("group the rare ones in the query, or FACET"));
        }
        let to = spec.and_then(|spec| spec.to.as_ref());
        let range = match (aes, to) {
            (_, Some(Literal::List(values))) => {
                let mut range = Vec::new();
                for value in values {
                    let text = value.label().unwrap_or_default();
                    let known = match aes {
                        Aes::Colour | Aes::Fill | Aes::Stroke => palette::colour(&text),
                        Aes::Shape => SHAPES.contains(&text.as_str()).then(|| text.clone()),
                        Aes::Linetype => LINETYPES.contains(&text.as_str()).then(|| text.clone()),
                        _ => text.parse::<f64>().is_ok().then(|| text.clone()),
                    };
                    range.push(known.ok_or_else(|| wrong(format!("{} cannot become {text}", aes.name())))?);
                }
                if range.len() < domain.len() {
                    let message =
                        format!("{} has {} categories and {} values", aes.name(), domain.len(), range.len());
                    return Err(wrong(message).hint("TO needs one value for each, or a palette"));
                }
                range.truncate(domain.len());
                range
            }
            (Aes::Shape, _) => repeated(SHAPES, domain.len()),
            (Aes::Linetype, _) => repeated(LINETYPES, domain.len()),
            (Aes::Size, _) => spread(domain.len(), 20.0, 250.0),
            (Aes::Opacity, _) => spread(domain.len(), 0.3, 1.0),
            (_, to) => palette::discrete(to.and_then(Literal::text), domain.len()),
        };
        Ok(Self::Discrete { domain, range })
    }

    fn continuous(
        aes: Aes,
        kind: Kind,
        values: &[&Value],
        spec: Option<&ScaleSpec>,
    ) -> Result<Self, Problem> {
        let wrong = |message: &str| {
            let problem = Problem::new(Ename::TypeError, message);
            spec.map_or(problem.clone(), |spec| problem.at(spec.span))
        };
        if matches!(aes, Aes::Shape | Aes::Linetype) {
            let hint = format!("SCALE DISCRETE {} shows its values one by one", aes.name());
            return Err(wrong(&format!("{} is for categories, not for numbers", aes.name())).hint(hint));
        }
        let mut domain = extent(values.iter().filter_map(|value| value.number())).unwrap_or([0.0, 1.0]);
        if domain[0] == domain[1] {
            domain[1] += 1.0;
        }
        bounded(&mut domain, spec);
        let to = spec.and_then(|spec| spec.to.as_ref());
        if aes.is_colour() {
            let stops = match to {
                Some(Literal::List(values)) => values
                    .iter()
                    .map(|value| value.text().and_then(palette::colour))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| wrong("TO takes colours such as 'red' or '#1f77b4'"))?,
                other => palette::continuous(other.and_then(Literal::text)),
            };
            return Ok(Self::Gradient { domain, time: kind == Kind::Time, stops });
        }
        let default = if aes == Aes::Size { [10.0, 300.0] } else { [0.1, 1.0] };
        let range = match to.map(Literal::list) {
            Some(values) => match values.iter().map(Literal::number).collect::<Option<Vec<_>>>().as_deref() {
                Some([low, high]) => [*low, *high],
                _ => return Err(wrong("TO takes the lowest and the highest, as in TO (1, 6)")),
            },
            None => default,
        };
        Ok(Self::Amount { domain, range })
    }

    /// What a value becomes.
    #[must_use]
    pub fn of(&self, value: &Value) -> Option<String> {
        match self {
            Self::Discrete { domain, range } => {
                let label = value.label()?;
                let at = domain.iter().position(|known| *known == label)?;
                range.get(at).cloned()
            }
            Self::Gradient { domain, stops, .. } => {
                let part = (value.number()? - domain[0]) / (domain[1] - domain[0]);
                Some(palette::between(stops, part))
            }
            Self::Amount { domain, range } => {
                let part = ((value.number()? - domain[0]) / (domain[1] - domain[0])).clamp(0.0, 1.0);
                Some(plain(range[0] + part * (range[1] - range[0])))
            }
        }
    }
}

fn repeated(names: &[&str], count: usize) -> Vec<String> {
    (0..count).map(|at| names[at % names.len()].to_owned()).collect()
}

fn spread(count: usize, low: f64, high: f64) -> Vec<String> {
    let last = count.saturating_sub(1).max(1) as f64;
    (0..count).map(|at| plain(low + (high - low) * at as f64 / last)).collect()
}

/// Categories in the order in which they are shown.
pub(crate) fn categories(values: &[&Value], spec: Option<&ScaleSpec>) -> Vec<String> {
    if let Some(from) = spec.and_then(|spec| spec.from.as_ref()) {
        return from.iter().filter_map(Literal::label).collect();
    }
    let unique: BTreeSet<String> = values.iter().filter_map(|value| value.label()).collect();
    let mut all: Vec<String> = unique.into_iter().collect();
    if all.iter().all(|text| text.parse::<f64>().is_ok_and(f64::is_finite)) {
        all.sort_by(|a, b| a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse().unwrap_or(0.0)));
    }
    all
}

/// The least and the greatest.
pub(crate) fn extent(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |found, n| match found {
        None => Some([n, n]),
        Some([low, high]) => Some([f64::min(low, n), f64::max(high, n)]),
    })
}

/// Puts the ends of `FROM (low, high)` in the place of the data's.
pub(crate) fn bounded(domain: &mut [f64; 2], spec: Option<&ScaleSpec>) {
    let Some(from) = spec.and_then(|spec| spec.from.as_ref()) else { return };
    for (end, given) in domain.iter_mut().zip(from) {
        let given = match given {
            Literal::Text(text) => parse_time(text),
            other => other.number(),
        };
        *end = given.unwrap_or(*end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_that_are_numbers_are_ordered_as_such() {
        let values = [Value::Text("10".into()), Value::Text("9".into()), Value::Null];
        let values: Vec<&Value> = values.iter().collect();
        assert_eq!(categories(&values, None), ["9", "10"]);
    }
}
