//! Values in the place of marks in a text: `format('{:>8.2f}', x)` as in DuckDB and Python, `printf('%08.2f', x)` as in C.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use super::text::{strings, text};
use super::{DEF, Def, Takes};
use crate::problems::wrap;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "format",
        takes: &[Takes::Text],
        more: Some(Takes::Any),
        gives: text,
        run: braces,
        about: ("format('{} is {:.2f}', a, b)", "Puts values in the place of {}."),
        ..DEF
    },
    Def {
        name: "printf",
        takes: &[Takes::Text],
        more: Some(Takes::Any),
        gives: text,
        run: percents,
        about: ("printf('%s is %05.2f', a, b)", "Puts values in the place of %s, %d, %f and %x."),
        ..DEF
    },
];

/// No text is made wider than this.
const WIDEST: usize = 10_000;

/// Where a value goes in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Middle,
    /// Between the sign and the digits.
    Inside,
}

/// How a value is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    fill: char,
    align: Option<Align>,
    plus: bool,
    /// Between thousands.
    thousands: Option<char>,
    width: usize,
    digits: Option<usize>,
    kind: Option<char>,
}

/// The usual shape.
const SHAPE: Shape =
    Shape { fill: ' ', align: None, plus: false, thousands: None, width: 0, digits: None, kind: None };

impl Shape {
    /// `[[fill]align][+][0][width][,][.digits][kind]`, what stands behind the colon in braces.
    fn of_braces(spec: &str) -> Option<Self> {
        let mut shape = SHAPE;
        let mut rest = spec.chars().peekable();
        let align = |c: char| match c {
            '<' => Some(Align::Left),
            '>' => Some(Align::Right),
            '^' => Some(Align::Middle),
            _ => None,
        };
        let mut ahead = spec.chars();
        match (ahead.next(), ahead.next().and_then(align)) {
            (Some(fill), Some(found)) => {
                (shape.fill, shape.align) = (fill, Some(found));
                rest.next();
                rest.next();
            }
            (Some(first), None) if align(first).is_some() => {
                shape.align = align(first);
                rest.next();
            }
            _ => {}
        }
        shape.plus = rest.next_if(|c| matches!(c, '+' | '-' | ' ')) == Some('+');
        if rest.next_if_eq(&'0').is_some() && shape.align.is_none() {
            (shape.fill, shape.align) = ('0', Some(Align::Inside));
        }
        shape.width = number(&mut rest).unwrap_or(0);
        shape.thousands = rest.next_if(|c| matches!(c, ',' | '_'));
        if rest.next_if_eq(&'.').is_some() {
            shape.digits = Some(number(&mut rest)?);
        }
        shape.kind = rest.next();
        (rest.next().is_none() && shape.fits()).then_some(shape)
    }

    /// `[-+0][width][.digits]kind`, what stands behind a per cent sign.
    fn of_percent(spec: &str, kind: char) -> Option<Self> {
        let mut shape = Shape { align: Some(Align::Right), kind: Some(kind), ..SHAPE };
        let mut rest = spec.chars().filter(|c| *c != 'l').collect::<Vec<_>>().into_iter().peekable();
        while let Some(flag) = rest.next_if(|c| matches!(c, '-' | '+' | ' ' | '0')) {
            match flag {
                '-' => shape.align = Some(Align::Left),
                '+' => shape.plus = true,
                '0' if shape.align == Some(Align::Right) && kind != 's' => {
                    (shape.fill, shape.align) = ('0', Some(Align::Inside));
                }
                _ => {}
            }
        }
        shape.width = number(&mut rest).unwrap_or(0);
        if rest.next_if_eq(&'.').is_some() {
            shape.digits = Some(number(&mut rest).unwrap_or(0));
        }
        (rest.next().is_none() && shape.fits()).then_some(shape)
    }

    fn fits(&self) -> bool {
        self.width <= WIDEST && self.digits.unwrap_or(0) <= WIDEST
    }

    /// The value in this shape; `None` if it is of another kind.
    fn show(&self, text: &str, is_number: bool) -> Option<String> {
        let float = || text.parse::<f64>().ok();
        let whole = || text.parse::<i128>().ok().or_else(|| float().map(|number| number.trunc() as i128));
        let mut shown = match self.kind {
            None | Some('s') if self.digits.is_none() || !is_number => match self.digits {
                Some(most) => text.chars().take(most).collect(),
                None => text.to_owned(),
            },
            None => general(float()?, self.digits),
            Some('d' | 'i' | 'u' | 'n') => whole()?.to_string(),
            Some('f' | 'F') => format!("{:.*}", self.digits.unwrap_or(6), float()?),
            Some('%') => format!("{:.*}%", self.digits.unwrap_or(6), float()? * 100.0),
            Some('e') => exponent(float()?, self.digits.unwrap_or(6)),
            Some('E') => exponent(float()?, self.digits.unwrap_or(6)).to_uppercase(),
            Some('g' | 'G') => general(float()?, self.digits),
            Some('x') => signed(whole()?, |number| format!("{number:x}")),
            Some('X') => signed(whole()?, |number| format!("{number:X}")),
            Some('o') => signed(whole()?, |number| format!("{number:o}")),
            Some('b') => signed(whole()?, |number| format!("{number:b}")),
            Some('c') => text.chars().take(1).collect(),
            _ => return None,
        };
        if let Some(separator) = self.thousands {
            shown = grouped(&shown, separator);
        }
        if self.plus && is_number && !shown.starts_with('-') {
            shown.insert(0, '+');
        }
        let missing = self.width.saturating_sub(shown.chars().count());
        let fill = |count: usize| self.fill.to_string().repeat(count);
        let usual = if is_number && self.kind != Some('s') { Align::Right } else { Align::Left };
        Some(match self.align.unwrap_or(usual) {
            Align::Left => format!("{shown}{}", fill(missing)),
            Align::Right => format!("{}{shown}", fill(missing)),
            Align::Middle => format!("{}{shown}{}", fill(missing / 2), fill(missing - missing / 2)),
            Align::Inside => {
                let digits = shown.trim_start_matches(['-', '+']);
                let sign = shown.get(..shown.len() - digits.len()).unwrap_or_default();
                format!("{sign}{}{digits}", fill(missing))
            }
        })
    }
}

fn number(rest: &mut std::iter::Peekable<impl Iterator<Item = char>>) -> Option<usize> {
    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok()
}

fn signed(number: i128, digits: impl Fn(u128) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", digits(number.unsigned_abs()))
}

/// `1.5e+04`, as in C.
fn exponent(number: f64, digits: usize) -> String {
    let shown = format!("{number:.digits$e}");
    match shown.split_once('e') {
        Some((front, power)) => {
            let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
            format!("{front}e{sign}{power:0>2}")
        }
        None => shown,
    }
}

/// So many digits in all, with an exponent where that is shorter, as in C.
fn general(number: f64, digits: Option<usize>) -> String {
    let digits = digits.unwrap_or(6).max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let most = i32::try_from(digits).unwrap_or(i32::MAX);
    let trimmed = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    if power < -4 || power >= most {
        let shown = exponent(number, digits - 1);
        return match shown.split_once('e') {
            Some((front, power)) => format!("{}e{power}", trimmed(front.to_owned())),
            None => shown,
        };
    }
    let places = usize::try_from(most - 1 - power).unwrap_or(0);
    trimmed(format!("{number:.places$}"))
}

/// `1,234,567.8`
fn grouped(shown: &str, separator: char) -> String {
    let digits = shown.trim_start_matches(['-', '+']);
    let sign = shown.get(..shown.len() - digits.len()).unwrap_or_default();
    let (whole, rest) = match digits.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => digits.split_at(end),
        None => (digits, ""),
    };
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(digit);
    }
    format!("{sign}{out}{rest}")
}

/// The arguments behind the first: as texts, and whether they are numbers.
fn values(args: &[ArrayRef]) -> Result<Vec<(StringArray, bool)>> {
    let text = |array: &ArrayRef| {
        let texts = arrow::compute::cast(array, &DataType::Utf8)?.as_string::<i32>().clone();
        Ok((texts, array.data_type().is_numeric()))
    };
    args.iter().skip(1).map(text).collect()
}

fn wrong(text: String, hint: &str) -> DataFusionError {
    wrap(Problem::new(Ename::ValueError, text).hint(hint))
}

fn braces(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    // PostgreSQL's format has %s
    let patterns = strings(args, 0);
    if patterns.iter().flatten().all(|pattern| pattern.contains('%') && !pattern.contains('{')) {
        return percents(args, to);
    }
    let values = values(args)?;
    let rows = patterns.iter().enumerate().map(|(row, pattern)| {
        let Some(pattern) = pattern else { return Ok(None) };
        let mut out = String::new();
        let mut rest = pattern;
        let mut next = 0;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(&before.replace("}}", "}"));
            if let Some(after) = after.strip_prefix('{') {
                out.push('{');
                rest = after;
                continue;
            }
            let Some((inside, after)) = after.split_once('}') else {
                return Err(wrong("format: a { is not closed".to_owned(), "write {{ for the sign itself"));
            };
            let unfit = || {
                let text = format!("format: nothing fits {{{inside}}}");
                wrong(text, "write {} or {0}, with a value for each, and a shape as in {:>8.2f} or {:05d}")
            };
            let (at, spec) = inside.split_once(':').unwrap_or((inside, ""));
            let at = if at.is_empty() { Some(next) } else { at.parse().ok() };
            let (value, is_number) = at.and_then(|at| values.get(at)).ok_or_else(unfit)?;
            let shape = Shape::of_braces(spec).ok_or_else(unfit)?;
            next += 1;
            if value.is_null(row) {
                return Ok(None);
            }
            out.push_str(&shape.show(value.value(row), *is_number).ok_or_else(unfit)?);
            rest = after;
        }
        out.push_str(&rest.replace("}}", "}"));
        Ok(Some(out))
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

fn percents(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let values = values(args)?;
    let hint = "there are %s, %d, %f, %e, %g, %x, with a width and digits as in %05.2f";
    let rows = strings(args, 0).iter().enumerate().map(|(row, pattern)| {
        let Some(pattern) = pattern else { return Ok(None) };
        let mut out = String::new();
        let mut chars = pattern.chars().peekable();
        let mut next = 0;
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            if chars.next_if_eq(&'%').is_some() {
                out.push('%');
                continue;
            }
            let mut spec = String::new();
            let kind = loop {
                match chars.next() {
                    Some(c) if c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | ' ' | 'l') => spec.push(c),
                    Some(c) => break c,
                    None => return Err(wrong("printf: a % is not finished".to_owned(), hint)),
                }
            };
            let (value, is_number) =
                values.get(next).ok_or_else(|| wrong(format!("printf: no value for %{spec}{kind}"), hint))?;
            next += 1;
            if value.is_null(row) {
                return Ok(None);
            }
            // PostgreSQL's format quotes with these
            let kind = if matches!(kind, 'I' | 'L') { 's' } else { kind };
            let text = value.value(row);
            let shown = Shape::of_percent(&spec, kind).and_then(|shape| shape.show(text, *is_number));
            let unfit = || wrong(format!("printf: %{spec}{kind} does not fit {text}"), hint);
            out.push_str(&shown.ok_or_else(unfit)?);
        }
        Ok(Some(out))
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_as_duckdb_has_them() {
        let shown = |spec: &str, value: &str| {
            Shape::of_braces(spec).unwrap().show(value, value.parse::<f64>().is_ok())
        };
        for (spec, value, is) in [
            (">8.2f", "1.5", "    1.50"),
            ("05d", "42", "00042"),
            (",", "1234567", "1,234,567"),
            ("x", "255", "ff"),
            ("<5", "a", "a    "),
            ("^7", "b", "   b   "),
            ("+d", "5", "+5"),
            ("e", "12345.678", "1.234568e+04"),
            ("s", "q", "q"),
            ("*>4", "-1", "**-1"),
            ("06.1f", "-2.25", "-002.2"),
        ] {
            assert_eq!(shown(spec, value).as_deref(), Some(is), "{spec}");
        }
        assert_eq!(shown("d", "q"), None);
        for refused in ["zz", ">99999999999", ".99999999999f"] {
            assert!(Shape::of_braces(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn shapes_as_c_has_them() {
        let shown =
            |spec: &str, kind: char, value: &str| Shape::of_percent(spec, kind).unwrap().show(value, true);
        for (spec, kind, value, is) in [
            ("05", 'd', "42", "00042"),
            ("-6.2", 'f', "1.5", "1.50  "),
            ("8", 's', "7", "       7"),
            ("", 'g', "0.0001", "0.0001"),
            ("", 'g', "1234567", "1.23457e+06"),
            ("+", 'd', "3", "+3"),
        ] {
            assert_eq!(shown(spec, kind, value).as_deref(), Some(is), "%{spec}{kind}");
        }
    }
}
