//! Texts: pieces, distances, marks of the rewrites.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;
use datafusion::logical_expr::Volatility;

use super::{DEF, Def, Takes};
use crate::problems::wrap;
use crate::words::type_name;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "typeof",
        takes: &[Takes::Any],
        gives: text,
        run: type_of,
        about: ("typeof(x)", "The type of a value, as text."),
        ..DEF
    },
    Def {
        name: "__text_slice",
        takes: &[Takes::Text, Takes::Int, Takes::Int],
        gives: text,
        run: slice,
        ..DEF
    },
    Def { name: "__split", takes: &[Takes::Text, Takes::Text], gives: texts, run: split, ..DEF },
    Def {
        name: "hamming",
        takes: &[Takes::Text, Takes::Text],
        gives: int,
        run: hamming,
        about: ("hamming(a, b)", "How many letters differ in two texts of the same length."),
        ..DEF
    },
    Def {
        name: "jaccard",
        takes: &[Takes::Text, Takes::Text],
        gives: double,
        run: jaccard,
        about: ("jaccard(a, b)", "How many letters two texts share, 0 to 1."),
        ..DEF
    },
    Def {
        name: "jaro_similarity",
        takes: &[Takes::Text, Takes::Text],
        gives: double,
        run: |args, _| similar(args, strsim::jaro),
        about: ("jaro_similarity(a, b)", "How alike two texts are, 0 to 1."),
        ..DEF
    },
    Def {
        name: "jaro_winkler_similarity",
        takes: &[Takes::Text, Takes::Text],
        gives: double,
        run: |args, _| similar(args, strsim::jaro_winkler),
        about: (
            "jaro_winkler_similarity(a, b)",
            "How alike two texts are, 0 to 1, with weight on how they begin.",
        ),
        ..DEF
    },
    Def {
        name: "damerau_levenshtein",
        takes: &[Takes::Text, Takes::Text],
        gives: int,
        run: damerau,
        about: (
            "damerau_levenshtein(a, b)",
            "Changes that make one text the other; swapped neighbours count once.",
        ),
        ..DEF
    },
    Def {
        name: "url_encode",
        takes: &[Takes::Text],
        gives: text,
        run: url_encode,
        about: ("url_encode(text)", "The text as part of a URL."),
        ..DEF
    },
    Def {
        name: "url_decode",
        takes: &[Takes::Text],
        gives: text,
        run: url_decode,
        about: ("url_decode(text)", "The text that was part of a URL."),
        ..DEF
    },
    Def {
        name: "octet_length",
        takes: &[Takes::Any],
        gives: int,
        run: octets,
        about: ("octet_length(x)", "How many bytes a text or a binary value has."),
        ..DEF
    },
    Def {
        name: "__substr",
        takes: &[Takes::Text, Takes::Int],
        optional: &[Takes::Int],
        gives: text,
        run: substr,
        ..DEF
    },
    Def {
        name: "bin",
        takes: &[Takes::Int],
        gives: text,
        run: bin,
        about: ("bin(n)", "A number in binary digits."),
        ..DEF
    },
    Def {
        name: "format_bytes",
        takes: &[Takes::Int],
        gives: text,
        run: |args, _| {
            let sizes = args[0].as_primitive::<Int64Type>();
            let text = |n: i64| u64::try_from(n).map_or_else(|_| n.to_string(), crate::words::show_size);
            Ok(Arc::new(sizes.iter().map(|n| n.map(text)).collect::<StringArray>()))
        },
        about: ("format_bytes(n)", "A size as people read it."),
        ..DEF
    },
    Def {
        name: "soundex",
        takes: &[Takes::Text],
        gives: text,
        run: soundex,
        about: ("soundex(text)", "How a word sounds in English, as a letter and three digits."),
        ..DEF
    },
    Def {
        name: "error",
        takes: &[Takes::Text],
        gives: null,
        run: fail,
        volatility: Volatility::Volatile,
        about: ("error(message)", "Ends the statement with a message of your own."),
        ..DEF
    },
    // marks that rewrites leave for each other; none is ever computed
    Def { name: "__asof", takes: &[Takes::Any], gives: boolean, ..DEF },
    Def { name: "__asof_using", gives: boolean, volatility: Volatility::Volatile, ..DEF },
    Def { name: "__percent", takes: &[Takes::Any], gives: int, ..DEF },
    Def { name: "__with_ties", takes: &[Takes::Any], gives: int, ..DEF },
    Def { name: "__exclude", takes: &[Takes::Text], gives: text, ..DEF },
    Def {
        name: "__sample",
        takes: &[Takes::Any, Takes::Any, Takes::Any],
        optional: &[Takes::Any],
        gives: boolean,
        volatility: Volatility::Volatile,
        ..DEF
    },
];

pub(super) fn text(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Utf8)
}

pub(super) fn texts(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))))
}

pub(super) fn int(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Int64)
}

pub(super) fn double(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Float64)
}

pub(super) fn boolean(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Boolean)
}

fn null(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Null)
}

/// The argument at a place, as texts.
pub(super) fn strings(args: &[ArrayRef], at: usize) -> &StringArray {
    args[at].as_string::<i32>()
}

/// One text for each row from the texts of the first argument.
pub(super) fn map_text(args: &[ArrayRef], f: impl Fn(&str) -> Option<String>) -> ArrayRef {
    Arc::new(strings(args, 0).iter().map(|text| text.and_then(&f)).collect::<StringArray>())
}

/// Two texts in, a value out.
pub(super) fn zip_text<T>(args: &[ArrayRef], f: impl Fn(&str, &str) -> Result<T>) -> Result<Vec<Option<T>>> {
    let (left, right) = (strings(args, 0), strings(args, 1));
    left.iter().zip(right.iter()).map(|(a, b)| a.zip(b).map(|(a, b)| f(a, b)).transpose()).collect()
}

fn type_of(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let name = type_name(args[0].data_type());
    Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, args[0].len()))))
}

/// Letters from one place to another, counted from 1, from the end if negative.
fn slice(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (from, to) = (args[1].as_primitive::<Int64Type>(), args[2].as_primitive::<Int64Type>());
    let rows = strings(args, 0).iter().zip(from.iter().zip(to.iter())).map(|(text, ends)| {
        let ((from, to), text) = ((ends.0?, ends.1?), text?);
        let letters: Vec<char> = text.chars().collect();
        let length = i64::try_from(letters.len()).ok()?;
        let place = |at: i64| if at < 0 { length + at + 1 } else { at };
        let (from, to) = (place(from).max(1), place(to).min(length));
        let (from, to) = (usize::try_from(from - 1).ok()?, usize::try_from(to.max(0)).ok()?);
        Some(letters.get(from..to.max(from)).unwrap_or_default().iter().collect::<String>())
    });
    Ok(Arc::new(rows.collect::<StringArray>()))
}

fn split(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(StringBuilder::new());
    for (text, separator) in strings(args, 0).iter().zip(strings(args, 1).iter()) {
        match (text, separator) {
            (Some(text), Some("")) => {
                text.chars().for_each(|c| out.values().append_value(c.to_string()));
                out.append(true);
            }
            (Some(text), Some(separator)) => {
                text.split(separator).for_each(|piece| out.values().append_value(piece));
                out.append(true);
            }
            _ => out.append(false),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn hamming(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = zip_text(args, |a, b| {
        strsim::hamming(a, b)
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX))
            .map_err(|_| wrap(Problem::new(Ename::ValueError, "hamming takes two texts of the same length")))
    })?;
    Ok(Arc::new(Int64Array::from(rows)))
}

fn jaccard(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = zip_text(args, |a, b| {
        let (a, b): (std::collections::BTreeSet<char>, std::collections::BTreeSet<char>) =
            (a.chars().collect(), b.chars().collect());
        if a.is_empty() || b.is_empty() {
            return Err(wrap(Problem::new(Ename::ValueError, "jaccard takes texts that are not empty")));
        }
        #[expect(clippy::cast_precision_loss, reason = "a share of letters")]
        let share = a.intersection(&b).count() as f64 / a.union(&b).count() as f64;
        Ok(share)
    })?;
    Ok(Arc::new(Float64Array::from(rows)))
}

fn similar(args: &[ArrayRef], f: fn(&str, &str) -> f64) -> Result<ArrayRef> {
    Ok(Arc::new(Float64Array::from(zip_text(args, |a, b| Ok(f(a, b)))?)))
}

fn damerau(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows =
        zip_text(args, |a, b| Ok(i64::try_from(strsim::damerau_levenshtein(a, b)).unwrap_or(i64::MAX)))?;
    Ok(Arc::new(Int64Array::from(rows)))
}

fn url_encode(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    Ok(map_text(args, |text| Some(utf8_percent_encode(text, KEPT).to_string())))
}

fn url_decode(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    Ok(map_text(args, |text| {
        percent_encoding::percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
    }))
}

fn bin(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = args[0].as_primitive::<Int64Type>().iter().map(|n| n.map(|n| format!("{n:b}")));
    Ok(Arc::new(rows.collect::<StringArray>()))
}

fn octets(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let binary = match args[0].data_type() {
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => arrow::compute::cast(&args[0], &DataType::LargeBinary)?,
        other => {
            let text = format!("octet_length does not take {}", type_name(other));
            return Err(wrap(Problem::new(Ename::TypeError, text).hint("it takes texts and binary values")));
        }
    };
    let rows =
        binary.as_binary::<i64>().iter().map(|bytes| bytes.and_then(|bytes| i64::try_from(bytes.len()).ok()));
    Ok(Arc::new(rows.collect::<Int64Array>()))
}

/// Letters from a place on, counted from 1, from the end if negative; so many, or all.
fn substr(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let starts = args[1].as_primitive::<Int64Type>();
    let lengths = args.get(2).map(|lengths| lengths.as_primitive::<Int64Type>());
    let rows = strings(args, 0).iter().zip(starts.iter()).enumerate().map(|(row, (text, start))| {
        let (text, start) = (text?, start?);
        let length = match lengths {
            Some(lengths) if lengths.is_null(row) => return None,
            Some(lengths) => Some(lengths.value(row)),
            None => None,
        };
        let letters: Vec<char> = text.chars().collect();
        let count = i64::try_from(letters.len()).ok()?;
        let start = if start < 0 { (count + start).max(0) } else { start - 1 };
        let end = length.map_or(count, |length| start.saturating_add(length)).clamp(0, count);
        let (start, end) = (usize::try_from(start.max(0)).ok()?, usize::try_from(end).ok()?);
        Some(letters.get(start..end.max(start)).unwrap_or_default().iter().collect::<String>())
    });
    Ok(Arc::new(rows.collect::<StringArray>()))
}

fn soundex(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let code = |c: char| match c.to_ascii_uppercase() {
        'B' | 'F' | 'P' | 'V' => Some('1'),
        'C' | 'G' | 'J' | 'K' | 'Q' | 'S' | 'X' | 'Z' => Some('2'),
        'D' | 'T' => Some('3'),
        'L' => Some('4'),
        'M' | 'N' => Some('5'),
        'R' => Some('6'),
        _ => None,
    };
    Ok(map_text(args, |word| {
        let mut letters = word.chars().filter(char::is_ascii_alphabetic);
        let first = letters.next()?;
        let (mut out, mut last) = (first.to_ascii_uppercase().to_string(), code(first));
        for c in letters {
            let this = code(c);
            if let Some(digit) = this.filter(|_| this != last) {
                out.push(digit);
            }
            if !matches!(c.to_ascii_uppercase(), 'H' | 'W') {
                last = this;
            }
        }
        out.extend(std::iter::repeat_n('0', 4_usize.saturating_sub(out.len())));
        Some(out.chars().take(4).collect())
    }))
}

fn fail(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    match strings(args, 0).iter().flatten().next() {
        Some(message) => Err(wrap(Problem::new(Ename::ValueError, message))),
        None => Ok(Arc::new(arrow::array::NullArray::new(args[0].len()))),
    }
}
