//! Scales: what range values have, where the ticks are and what they say, and what colours and sizes values become.

use std::collections::BTreeSet;

use carrel_cell::problem::{Ename, Problem};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta};

use crate::aesthetic::Aes;
use crate::frame::{Kind, Value, plain};
use crate::palette;
use crate::spec::{Literal, ScaleSpec, Transform};

/// Shapes of points, in the order in which categories take them.
pub(crate) const SHAPES: &[&str] = &["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"];
/// Dashes of lines, in the order in which categories take them.
pub(crate) const LINETYPES: &[&str] = &["solid", "dashed", "dotted", "dotdash", "longdash"];

/// A day in milliseconds.
const DAY: f64 = 86_400_000.0;

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

/// A step of 1, 2 or 5 times a power of ten near this; of whole units for times.
pub(crate) fn nice_step(step: f64, kind: Kind) -> f64 {
    if kind == Kind::Time {
        let units = [
            1.0,
            10.0,
            100.0,
            1e3,
            5e3,
            15e3,
            6e4,
            3e5,
            9e5,
            36e5,
            108e5,
            216e5,
            DAY,
            7.0 * DAY,
            30.0 * DAY,
            91.0 * DAY,
            365.0 * DAY,
        ];
        return units.into_iter().find(|unit| *unit >= step).unwrap_or((step / DAY).ceil() * DAY);
    }
    let power = 10_f64.powf(step.log10().floor());
    let found = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| step <= times * power * 1.000_001);
    found.unwrap_or(10.0) * power
}

/// Ticks of an axis with their labels: some `wanted`, at round places.
#[must_use]
pub fn ticks(domain: [f64; 2], time: bool, transform: Transform, wanted: usize) -> Vec<(f64, String)> {
    let [low, high] = [domain[0].min(domain[1]), domain[0].max(domain[1])];
    let wanted = wanted.max(2) as f64;
    if !(low.is_finite() && high.is_finite()) || high <= low {
        return Vec::new();
    }
    if time {
        return time_ticks(low, high, wanted);
    }
    if transform == Transform::Log {
        let (from, to) = (low.log10().ceil() as i32, high.log10().floor() as i32);
        let every = (f64::from(to - from) / wanted).ceil().max(1.0) as i32;
        let powers = (from..=to).filter(|power| (power - from) % every == 0).map(|power| 10_f64.powi(power));
        let all: Vec<_> = powers.map(|n| (n, short(n))).collect();
        if all.len() >= 2 {
            return all;
        }
    }
    let step = nice_step((high - low) / wanted, Kind::Number);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last.min(first + 50)).map(|at| at as f64 * step).map(|n| (n, short(n))).collect()
}

/// A number as an axis shows it: commas, or powers where there are too many digits.
fn short(n: f64) -> String {
    let size = n.abs();
    if size >= 1e9 || size > 0.0 && size < 1e-4 {
        return format!("{n:e}");
    }
    let text = plain(n);
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    match digits.split_once('.') {
        Some((whole, part)) => format!("{sign}{}.{part}", commas(whole)),
        None => format!("{sign}{}", commas(digits)),
    }
}

fn commas(digits: &str) -> String {
    digits.parse::<u64>().map_or_else(|_| digits.to_owned(), carrel_cell::caption::grouped)
}

fn time_ticks(low: f64, high: f64, wanted: f64) -> Vec<(f64, String)> {
    let step = (high - low) / wanted;
    let months = step / (30.4 * DAY);
    if months > 0.6 {
        let every = [1, 2, 3, 4, 6].into_iter().find(|n| f64::from(*n) >= months);
        let every = every.unwrap_or_else(|| nice_step((months / 12.0).max(1.0), Kind::Number) as i32 * 12);
        let Some(start) = at(low) else { return Vec::new() };
        let mut month = (start.year() * 12 + start.month0() as i32).div_euclid(every) * every;
        let mut all = Vec::new();
        while all.len() < 60 {
            let date = NaiveDate::from_ymd_opt(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1);
            let Some(date) = date.and_then(|date| date.and_hms_opt(0, 0, 0)) else { break };
            let ms = date.and_utc().timestamp_millis() as f64;
            if ms > high {
                break;
            }
            if ms >= low {
                let format = if every % 12 == 0 { "%Y" } else { "%b %Y" };
                all.push((ms, date.format(format).to_string()));
            }
            month += every;
        }
        return all;
    }
    let step = nice_step(step, Kind::Time);
    let format = match step {
        step if step >= DAY => "%b %d",
        step if step >= 6e4 => "%b %d %H:%M",
        _ => "%H:%M:%S%.f",
    };
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let places = (first..=last.min(first + 50)).map(|n| n as f64 * step);
    places.filter_map(|ms| Some((ms, at(ms)?.format(format).to_string()))).collect()
}

fn at(ms: f64) -> Option<NaiveDateTime> {
    DateTime::UNIX_EPOCH
        .checked_add_signed(TimeDelta::try_milliseconds(ms as i64)?)
        .map(|time| time.naive_utc())
}

/// A time as a category or a tooltip shows it.
#[must_use]
pub fn time_label(ms: f64) -> String {
    let Some(time) = at(ms) else { return plain(ms) };
    let midnight = ms.rem_euclid(DAY) == 0.0;
    time.format(if midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S%.f" }).to_string()
}

/// A date or a time that was written as text.
#[must_use]
pub fn parse_time(text: &str) -> Option<f64> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let time =
        date.or_else(|| formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()));
    time.map(|time| time.and_utc().timestamp_millis() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(domain: [f64; 2], time: bool, transform: Transform) -> Vec<String> {
        ticks(domain, time, transform, 5).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels([0.0, 10.0], false, Transform::Linear), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(labels([0.0, 0.31], false, Transform::Linear), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels([1234.0, 9876.0], false, Transform::Linear), ["2,000", "4,000", "6,000", "8,000"]);
        assert_eq!(labels([1.0, 1000.0], false, Transform::Log), ["1", "10", "100", "1,000"]);
        assert!(labels([5.0, 5.0], false, Transform::Linear).is_empty());
        assert!(labels([f64::NAN, 1.0], false, Transform::Linear).is_empty());
    }

    #[test]
    fn times_are_cut_at_whole_units() {
        let at = |text| parse_time(text).unwrap();
        let domain = [at("2024-01-15"), at("2024-06-20")];
        assert_eq!(labels(domain, true, Transform::Linear), ["Mar 2024", "May 2024"]);
        let domain = [at("2024-01-01 00:00:00"), at("2024-01-01 10:00:00")];
        assert_eq!(labels(domain, true, Transform::Linear)[0], "Jan 01 00:00");
        let domain = [at("1990-01-01"), at("2024-06-20")];
        assert_eq!(labels(domain, true, Transform::Linear), ["1990", "2000", "2010", "2020"]);
        assert_eq!(time_label(at("2024-01-15")), "2024-01-15");
        assert_eq!(time_label(at("2024-01-15 10:30")), "2024-01-15 10:30:00");
    }

    #[test]
    fn categories_that_are_numbers_are_ordered_as_such() {
        let values = [Value::Text("10".into()), Value::Text("9".into()), Value::Null];
        let values: Vec<&Value> = values.iter().collect();
        assert_eq!(categories(&values, None), ["9", "10"]);
    }
}
