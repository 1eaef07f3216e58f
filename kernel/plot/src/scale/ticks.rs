//! Where the ticks of an axis are and what they say; times as texts and back.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta};

use crate::frame::{Kind, plain};
use crate::spec::Transform;

/// A day in milliseconds.
const DAY: f64 = 86_400_000.0;

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
}
