//! The line above a result: how many rows, whether these are all, how long it took, how much was read.

use std::fmt::Write;

/// What is known about a statement that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Rows of the same result that were shown earlier.
    pub before: u64,
    /// Rows shown.
    pub rows: u64,
    /// Are these all rows?
    pub complete: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// Bytes read from files.
    pub bytes_scanned: u64,
    /// Bytes that the files have in all.
    pub bytes_total: u64,
}

/// The line above a table, for example `37 rows, complete, 0.4 s, scanned 1.2 MB of 60 MB`.
pub fn caption(stats: &Stats) -> String {
    let (from, to) = (grouped(stats.before + 1), grouped(stats.before + stats.rows));
    let more = "nothing else was fetched (SHOW MORE: the next)";
    let mut line = match (stats.complete, stats.before) {
        (true, 0) if stats.rows == 1 => "1 row, complete".to_owned(),
        (true, 0) => format!("{to} rows, complete"),
        (true, _) => format!("rows {from} to {to}, the last"),
        (false, 0) => format!("showing the first {to} rows; {more}"),
        (false, _) => format!("rows {from} to {to}; {more}"),
    };
    ending(&mut line, stats);
    line
}

/// The line of a statement that has no table to show, for example `done, 0.1 s`.
pub fn done(stats: &Stats) -> String {
    let mut line = "done".to_owned();
    ending(&mut line, stats);
    line
}

fn ending(line: &mut String, stats: &Stats) {
    let _ = write!(line, ", {}", seconds(stats.seconds));
    if stats.bytes_total > 0 {
        let _ = write!(line, ", scanned {} of {}", bytes(stats.bytes_scanned), bytes(stats.bytes_total));
    } else if stats.bytes_scanned > 0 {
        let _ = write!(line, ", scanned {}", bytes(stats.bytes_scanned));
    }
}

/// A count with commas: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count that need not be exact: `31 M`.
pub fn rough(n: u64) -> String {
    scaled(n, &["", " k", " M", " G", " T"])
}

/// A size in decimal units: `1.2 MB`.
pub fn bytes(n: u64) -> String {
    scaled(n, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

fn scaled(n: u64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 9.95 {
        format!("{value:.0}{}", units[unit])
    } else {
        format!("{value:.1}{}", units[unit])
    }
}

/// A length of time: `3 ms`, `0.4 s`, `12 s`, `3 min 5 s`.
pub fn seconds(s: f64) -> String {
    if s < 0.0995 {
        format!("{:.0} ms", (s * 1000.0).max(1.0))
    } else if s < 9.95 {
        format!("{s:.1} s")
    } else if s < 119.5 {
        format!("{s:.0} s")
    } else {
        let whole = s.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_rows_time_and_bytes() {
        let stats = Stats {
            before: 0,
            rows: 37,
            complete: true,
            seconds: 0.41,
            bytes_scanned: 1_234_000,
            bytes_total: 60_000_000,
        };
        assert_eq!(caption(&stats), "37 rows, complete, 0.4 s, scanned 1.2 MB of 60 MB");
        let cut = Stats { rows: 200, complete: false, seconds: 0.004, ..Stats::default() };
        assert_eq!(
            caption(&cut),
            "showing the first 200 rows; nothing else was fetched (SHOW MORE: the next), 4 ms"
        );
        let next = Stats { before: 1_200, ..cut };
        assert_eq!(
            caption(&next),
            "rows 1,201 to 1,400; nothing else was fetched (SHOW MORE: the next), 4 ms"
        );
        assert_eq!(caption(&Stats { complete: true, ..next }), "rows 1,201 to 1,400, the last, 4 ms");
        let one = Stats { rows: 1, complete: true, seconds: 185.2, ..Stats::default() };
        assert_eq!(caption(&one), "1 row, complete, 3 min 5 s");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(rough(31_400_000), "31 M");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!(bytes(60_000_000_000), "60 GB");
        assert_eq!(seconds(0.0), "1 ms");
    }
}
