//! Paths as text, numbers to other bases, bars of letters, letters without accents.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;
use sha1::{Digest, Sha1};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::text::{double, map_text, strings, text, texts};
use super::{DEF, Def, Takes};
use crate::problems::wrap;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "parse_path",
        takes: &[Takes::Text],
        optional: &[Takes::Text],
        gives: texts,
        run: parts,
        about: ("parse_path(path)", "The parts of a path, as a list."),
        ..DEF
    },
    Def {
        name: "parse_dirname",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| {
            Ok(map_text(args, |path| {
                Some(
                    split(path)
                        .first()
                        .filter(|_| path.contains('/'))
                        .copied()
                        .unwrap_or_default()
                        .to_owned(),
                )
            }))
        },
        about: ("parse_dirname(path)", "The first folder of a path."),
        ..DEF
    },
    Def {
        name: "parse_dirpath",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| {
            Ok(map_text(args, |path| Some(path.rsplit_once('/').map_or("", |(above, _)| above).to_owned())))
        },
        about: ("parse_dirpath(path)", "A path without its last part."),
        ..DEF
    },
    Def {
        name: "parse_filename",
        takes: &[Takes::Text],
        optional: &[Takes::Any],
        gives: text,
        run: file_name,
        about: ("parse_filename(path, without_ending)", "The last part of a path."),
        ..DEF
    },
    Def {
        name: "to_base",
        takes: &[Takes::Int, Takes::Int],
        optional: &[Takes::Int],
        gives: text,
        run: to_base,
        about: ("to_base(n, 16)", "A number in the digits of another base, 2 to 36."),
        ..DEF
    },
    Def {
        name: "bar",
        takes: &[Takes::Double, Takes::Double, Takes::Double],
        optional: &[Takes::Double],
        gives: text,
        run: bar,
        about: ("bar(x, from, to, width)", "A bar of letters as long as x lies between two numbers."),
        ..DEF
    },
    Def {
        name: "nextafter",
        takes: &[Takes::Double, Takes::Double],
        gives: double,
        run: |args, _| {
            numbers(args, |x, to| {
                if x < to {
                    x.next_up()
                } else if x > to {
                    x.next_down()
                } else {
                    to
                }
            })
        },
        about: ("nextafter(x, y)", "The number next to x towards y."),
        ..DEF
    },
    Def {
        name: "round_even",
        takes: &[Takes::Double, Takes::Double],
        gives: double,
        run: |args, _| numbers(args, round_even),
        about: ("round_even(x, digits)", "Rounded to so many digits, halves to the even neighbour."),
        ..DEF
    },
    Def {
        name: "strip_accents",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| {
            Ok(map_text(args, |text| Some(text.nfd().filter(|c| !is_combining_mark(*c)).nfc().collect())))
        },
        about: ("strip_accents(text)", "Letters without accents."),
        ..DEF
    },
    Def {
        name: "nfc_normalize",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| Ok(map_text(args, |text| Some(text.nfc().collect()))),
        about: ("nfc_normalize(text)", "The text in Unicode's composed form, so that equals are equal."),
        ..DEF
    },
    Def {
        name: "sha1",
        takes: &[Takes::Text],
        gives: text,
        run: |args, _| Ok(map_text(args, |text| Some(hex_digits(&Sha1::digest(text.as_bytes()))))),
        about: ("sha1(text)", "The SHA-1 of a text, in hexadecimal digits. It is broken: for old data only."),
        ..DEF
    },
    Def {
        name: "formatreadabledecimalsize",
        takes: &[Takes::Int],
        gives: text,
        run: |args, _| {
            let sizes = args[0].as_primitive::<Int64Type>();
            Ok(Arc::new(sizes.iter().map(|n| n.map(decimal_size)).collect::<StringArray>()))
        },
        about: ("formatReadableDecimalSize(n)", "A size as people read it, in units of a thousand."),
        ..DEF
    },
    Def { name: "__hex", takes: &[Takes::Any], gives: text, run: hex, ..DEF },
];

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

fn parts(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(StringBuilder::new());
    for path in strings(args, 0) {
        if let Some(path) = path {
            let root = path.starts_with('/').then_some("/");
            root.into_iter().chain(split(path)).for_each(|part| out.values().append_value(part));
        }
        out.append(path.is_some());
    }
    Ok(Arc::new(out.finish()))
}

fn file_name(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let bare = args.get(1).and_then(|bare| bare.as_boolean_opt());
    let rows = strings(args, 0).iter().enumerate().map(|(row, path)| {
        let name = path?.rsplit('/').next()?;
        let without = bare.is_some_and(|bare| bare.is_valid(row) && bare.value(row));
        let stem = name.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty());
        Some(if without { stem.unwrap_or(name) } else { name })
    });
    Ok(Arc::new(rows.collect::<StringArray>()))
}

fn to_base(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let numbers = args[0].as_primitive::<Int64Type>();
    let radix = args[1].as_primitive::<Int64Type>();
    let least = args.get(2).map(|least| least.as_primitive::<Int64Type>());
    let rows = numbers.iter().zip(radix.iter()).enumerate().map(|(row, (number, radix))| {
        let (Some(number), Some(radix)) = (number, radix) else { return Ok(None) };
        if !(2..=36).contains(&radix) || number < 0 {
            let problem = Problem::new(
                Ename::ValueError,
                "to_base takes a number that is not negative and a base from 2 to 36",
            );
            return Err(wrap(problem));
        }
        let (mut left, mut digits) = (number, Vec::new());
        while left > 0 {
            let digit = u32::try_from(left % radix).unwrap_or_default();
            digits.push(char::from_digit(digit, 36).unwrap_or('0').to_ascii_uppercase());
            left /= radix;
        }
        let least =
            least.filter(|least| least.is_valid(row)).map_or(1, |least| least.value(row).clamp(1, 64));
        while digits.len() < usize::try_from(least).unwrap_or(1) {
            digits.push('0');
        }
        Ok(Some(digits.iter().rev().collect::<String>()))
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

/// Widest bar.
const WIDEST: f64 = 1000.0;

fn bar(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let column = |at: usize| args.get(at).map(|array| array.as_primitive::<Float64Type>());
    let at = |which: usize, row: usize| column(which).filter(|c| c.is_valid(row)).map(|c| c.value(row));
    let rows = (0..args[0].len()).map(|row| {
        let (x, from, to) = (at(0, row)?, at(1, row)?, at(2, row)?);
        let width = if args.len() > 3 { at(3, row)? } else { 80.0 }.clamp(1.0, WIDEST).floor();
        let share = ((x - from) / (to - from)).clamp(0.0, 1.0);
        let eighths = if share.is_nan() { 0 } else { (share * width * 8.0) as usize };
        let mut out = "█".repeat(eighths / 8);
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        out.push_str(part);
        let full = eighths.div_ceil(8);
        out.push_str(&" ".repeat((width as usize).saturating_sub(full)));
        Some(out)
    });
    Ok(Arc::new(rows.collect::<StringArray>()))
}

fn numbers(args: &[ArrayRef], f: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (left, right) = (args[0].as_primitive::<Float64Type>(), args[1].as_primitive::<Float64Type>());
    let rows = left.iter().zip(right.iter()).map(|(a, b)| a.zip(b).map(|(a, b)| f(a, b)));
    Ok(Arc::new(rows.collect::<Float64Array>()))
}

fn round_even(x: f64, digits: f64) -> f64 {
    let unit = 10f64.powi(digits.clamp(-300.0, 300.0) as i32);
    let rounded = (x * unit).round_ties_even() / unit;
    if rounded.is_finite() { rounded } else { x }
}

fn decimal_size(n: i64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let sign = if n < 0 { "-" } else { "" };
    let size = n.unsigned_abs();
    if size < 1000 {
        return format!("{sign}{size} {}", if size == 1 { "byte" } else { "bytes" });
    }
    let (mut shown, mut unit) = (size as f64 / 1000.0, 0);
    while shown >= 1000.0 && unit + 1 < UNITS.len() {
        shown /= 1000.0;
        unit += 1;
    }
    format!("{sign}{shown:.1} {}", UNITS[unit])
}

/// A whole number's digits, or the bytes of a text, in base 16.
fn hex(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    if args[0].data_type().is_integer() {
        let numbers = arrow::compute::cast(&args[0], &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        return Ok(Arc::new(numbers.iter().map(|n| n.map(|n| format!("{n:x}"))).collect::<StringArray>()));
    }
    let bytes = arrow::compute::cast(&args[0], &DataType::Binary)?;
    let bytes = bytes.as_binary::<i32>();
    Ok(Arc::new(bytes.iter().map(|value| value.map(hex_digits)).collect::<StringArray>()))
}

fn hex_digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
