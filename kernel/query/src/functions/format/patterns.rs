//! PostgreSQL's patterns of times and numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::super::text::strings;
use super::wrong;

/// PostgreSQL's pattern as strftime's, longest words first.
pub(super) fn postgres(pattern: &str) -> String {
    if pattern.contains('%') {
        return pattern.to_owned();
    }
    const WORDS: &[(&str, &str)] = &[
        ("YYYY", "%Y"),
        ("yyyy", "%Y"),
        ("YY", "%y"),
        ("yy", "%y"),
        ("IYYY", "%G"),
        ("IW", "%V"),
        ("WW", "%U"),
        ("MONTH", "%B"),
        ("Month", "%B"),
        ("month", "%B"),
        ("MON", "%b"),
        ("Mon", "%b"),
        ("mon", "%b"),
        ("MM", "%m"),
        ("mm", "%m"),
        ("DDD", "%j"),
        ("DD", "%d"),
        ("dd", "%d"),
        ("DAY", "%A"),
        ("Day", "%A"),
        ("day", "%A"),
        ("DY", "%a"),
        ("Dy", "%a"),
        ("dy", "%a"),
        ("ID", "%u"),
        ("D", "%w"),
        ("HH24", "%H"),
        ("hh24", "%H"),
        ("HH12", "%I"),
        ("hh12", "%I"),
        ("HH", "%I"),
        ("hh", "%I"),
        ("MI", "%M"),
        ("mi", "%M"),
        ("SS", "%S"),
        ("ss", "%S"),
        ("MS", "%3f"),
        ("US", "%6f"),
        ("AM", "%p"),
        ("PM", "%p"),
        ("am", "%P"),
        ("pm", "%P"),
        ("TZ", "%Z"),
        ("OF", "%:z"),
        ("Q", "%q"),
        ("J", "%J"),
    ];
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('"') {
            let (quoted, after) = after.split_once('"').unwrap_or((after, ""));
            out.push_str(&quoted.replace('%', "%%"));
            rest = after;
            continue;
        }
        rest = rest.strip_prefix("FM").unwrap_or(rest);
        let word = WORDS.iter().filter(|(word, _)| rest.starts_with(word)).max_by_key(|(word, _)| word.len());
        match word {
            Some((word, meaning)) => {
                out.push_str(meaning);
                rest = &rest[word.len()..];
            }
            None => {
                let c = rest.chars().next().unwrap_or(c);
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// A number by a pattern of 9, 0, `.`, `,` and FM.
pub(super) fn number_as(number: f64, pattern: &str) -> Option<String> {
    let (filled, pattern) = match pattern.strip_prefix("FM") {
        Some(rest) => (false, rest),
        None => (true, pattern),
    };
    if !pattern.chars().all(|c| matches!(c, '9' | '0' | '.' | ',')) {
        return None;
    }
    let (whole, digits) = pattern.split_once('.').unwrap_or((pattern, ""));
    let text = format!("{:.*}", digits.len(), number.abs());
    let (number_whole, number_digits) = text.split_once('.').unwrap_or((&text, ""));
    let zeros = whole.chars().skip_while(|c| *c != '0').filter(|c| *c != ',').count();
    let places = whole.chars().filter(|c| *c != ',').count();
    let number_whole =
        if number_whole == "0" && zeros == 0 && !digits.is_empty() { "" } else { number_whole };
    if number_whole.len() > places {
        return Some(pattern.replace(['9', '0'], "#"));
    }
    let padded = format!("{number_whole:0>zeros$}");
    let mut out = String::new();
    let mut left = padded.chars().rev();
    let mut next = left.next();
    for c in whole.chars().rev() {
        let Some(digit) = next else { break };
        if c == ',' {
            out.push(',');
            continue;
        }
        out.push(digit);
        next = left.next();
    }
    let mut out: String = out.trim_end_matches(',').chars().rev().collect();
    if number < 0.0 {
        out.insert(0, '-');
    }
    if !digits.is_empty() {
        out.push('.');
        out.push_str(number_digits);
    }
    let width = pattern.len() + 1;
    Some(if filled { format!("{out:>width$}") } else { out })
}

pub(super) fn to_number(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = strings(args, 0).iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        let kept: String =
            text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+')).collect();
        match kept.parse::<f64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => {
                Err(wrong(format!("'{text}' is no number"), "TRY_CAST(x AS DOUBLE) gives NULL instead"))
            }
        }
    });
    Ok(Arc::new(rows.collect::<Result<Float64Array>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_patterns() {
        assert_eq!(postgres("YYYY-MM-DD HH24:MI:SS"), "%Y-%m-%d %H:%M:%S");
        assert_eq!(postgres("FMMonth \"at\" DD"), "%B at %d");
        assert_eq!(number_as(1234.5, "FM9,999.00").as_deref(), Some("1,234.50"));
        assert_eq!(number_as(-7.0, "FM000").as_deref(), Some("-007"));
        assert_eq!(number_as(12345.0, "FM999").as_deref(), Some("###"));
    }
}
