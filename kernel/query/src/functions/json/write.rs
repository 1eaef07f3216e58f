//! Values as JSON.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;

use crate::problems::wrap;

pub(super) fn to_json(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = (0..args[0].len()).map(|row| {
        let mut out = String::new();
        write_value(&mut out, &args[0], row)?;
        Ok(Some(out))
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

pub(super) fn object(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    if !args.len().is_multiple_of(2) {
        return Err(wrap(Problem::new(Ename::TypeError, "json_object takes keys and values in pairs")));
    }
    let rows = args.first().map_or(1, |array| array.len());
    let made = (0..rows).map(|row| {
        let mut out = String::from("{");
        for (at, pair) in args.chunks(2).enumerate() {
            let [key, value] = pair else { continue };
            if at > 0 {
                out.push(',');
            }
            let key = arrow::compute::cast(key, &DataType::Utf8)?;
            let key = key.as_string::<i32>();
            write_text(&mut out, if key.is_null(row) { "null" } else { key.value(row) });
            out.push(':');
            write_value(&mut out, value, row)?;
        }
        out.push('}');
        Ok(Some(out))
    });
    Ok(Arc::new(made.collect::<Result<StringArray>>()?))
}

pub(super) fn array(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let rows = args.first().map_or(1, |array| array.len());
    let made = (0..rows).map(|row| {
        let mut out = String::from("[");
        for (at, value) in args.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            write_value(&mut out, value, row)?;
        }
        out.push(']');
        Ok(Some(out))
    });
    Ok(Arc::new(made.collect::<Result<StringArray>>()?))
}

/// One value as JSON.
pub(crate) fn write_value(out: &mut String, array: &ArrayRef, row: usize) -> Result<()> {
    if array.is_null(row) || array.data_type().is_null() {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Struct(fields) => {
            let Some(parts) = array.as_any().downcast_ref::<StructArray>() else { return Ok(()) };
            out.push('{');
            for (at, (field, column)) in fields.iter().zip(parts.columns()).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(out, field.name());
                out.push(':');
                write_value(out, column, row)?;
            }
            out.push('}');
        }
        DataType::List(_) => write_list(out, &array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => write_list(out, &array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => write_list(out, &array.as_fixed_size_list().value(row))?,
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for at in 0..entries.len() {
                if at > 0 {
                    out.push(',');
                }
                write_text(out, &shown(entries.column(0), at)?);
                out.push(':');
                write_value(out, entries.column(1), at)?;
            }
            out.push('}');
        }
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let text = shown(array, row)?;
            let finite = !matches!(text.as_str(), "NaN" | "inf" | "-inf");
            if finite { out.push_str(&text) } else { write_text(out, &text) }
        }
        number if number.is_numeric() => out.push_str(&shown(array, row)?),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => write_text(out, &shown(array, row)?),
        _ => write_text(out, &shown(array, row)?.replace('T', " ")),
    }
    Ok(())
}

fn write_list(out: &mut String, values: &ArrayRef) -> Result<()> {
    out.push('[');
    for at in 0..values.len() {
        if at > 0 {
            out.push(',');
        }
        write_value(out, values, at)?;
    }
    out.push(']');
    Ok(())
}

fn shown(array: &ArrayRef, row: usize) -> Result<String> {
    Ok(ArrayFormatter::try_new(array, &FormatOptions::new())?.value(row).try_to_string()?)
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
