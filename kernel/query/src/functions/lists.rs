//! Lists, beyond what DataFusion has.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, Int64Builder, ListArray, ListBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, Int64Type, UInt32Type};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;

use super::text::int;
use super::{DEF, Def, Takes};
use crate::problems::wrap;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "length",
        takes: &[Takes::Any],
        gives: int,
        run: length,
        about: ("length(x)", "How many letters a text has, or values a list."),
        ..DEF
    },
    Def {
        name: "len",
        takes: &[Takes::Any],
        gives: int,
        run: length,
        about: ("len(x)", "How many letters a text has, or values a list."),
        ..DEF
    },
    Def { name: "__or_empty", takes: &[Takes::List], gives: same, run: or_empty, ..DEF },
    Def { name: "__list_grade_up", takes: &[Takes::List], gives: ints, run: grade_up, ..DEF },
    Def { name: "__list_where", takes: &[Takes::List, Takes::List], gives: same, run: list_where, ..DEF },
    Def { name: "__list_select", takes: &[Takes::List, Takes::List], gives: same, run: list_select, ..DEF },
];

fn ints(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))))
}

fn same(given: &[DataType]) -> Result<DataType> {
    Ok(given.first().cloned().unwrap_or(DataType::Null))
}

/// A list without values where there is none.
fn or_empty(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let (Some(list), DataType::List(field)) = (args[0].as_list_opt::<i32>(), args[0].data_type()) else {
        return Ok(args[0].clone());
    };
    if list.null_count() == 0 {
        return Ok(args[0].clone());
    }
    let mut rows = Vec::new();
    let mut lengths = Vec::new();
    for (row, span) in list.offsets().windows(2).enumerate() {
        let span = if list.is_null(row) { 0..0 } else { span[0]..span[1] };
        lengths.push(span.len());
        rows.extend(span);
    }
    let values = take(list.values(), &Int32Array::from(rows), None)?;
    Ok(Arc::new(ListArray::new(field.clone(), OffsetBuffer::from_lengths(lengths), values, None)))
}

fn length(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let array = &args[0];
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let rows: Int64Array = match array.data_type() {
        DataType::List(_) => {
            array.as_list::<i32>().iter().map(|list| list.map(|list| count(list.len()))).collect()
        }
        DataType::LargeList(_) => {
            array.as_list::<i64>().iter().map(|list| list.map(|list| count(list.len()))).collect()
        }
        DataType::FixedSizeList(_, n) => {
            (0..array.len()).map(|row| (!array.is_null(row)).then_some(i64::from(*n))).collect()
        }
        DataType::Map(..) => array.as_map().iter().map(|map| map.map(|map| count(map.len()))).collect(),
        DataType::Utf8 => {
            array.as_string::<i32>().iter().map(|text| text.map(|text| count(text.chars().count()))).collect()
        }
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().map(|text| text.map(|text| count(text.chars().count()))).collect()
        }
        DataType::Utf8View => {
            array.as_string_view().iter().map(|text| text.map(|text| count(text.chars().count()))).collect()
        }
        DataType::Dictionary(..) => {
            let plain = arrow::compute::cast(array, &DataType::Utf8)?;
            plain.as_string::<i32>().iter().map(|text| text.map(|text| count(text.chars().count()))).collect()
        }
        DataType::Null => Int64Array::new_null(array.len()),
        other => {
            let text = format!("length does not take {}", crate::words::type_name(other));
            return Err(wrap(
                Problem::new(Ename::TypeError, text).hint("length takes a text, a list or a map"),
            ));
        }
    };
    Ok(Arc::new(rows))
}

/// Where the values stand in order.
fn grade_up(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(Int64Builder::new());
    for list in args[0].as_list::<i32>().iter() {
        match list {
            None => out.append(false),
            Some(list) => {
                let order = sort_to_indices(
                    &list,
                    Some(SortOptions { descending: false, nulls_first: false }),
                    None,
                )?;
                order.iter().flatten().for_each(|at| out.values().append_value(i64::from(at) + 1));
                out.append(true);
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Values whose mark is true.
fn list_where(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    chosen(args, to, |marks| {
        let marks = arrow::compute::cast(marks, &DataType::Boolean)?;
        let marks = marks.as_boolean().clone();
        Ok((0..marks.len())
            .filter(|at| !marks.is_null(*at) && marks.value(*at))
            .map(|at| i64::try_from(at).map_or(0, |at| at + 1))
            .collect())
    })
}

/// Values at the places that another list names.
fn list_select(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    chosen(args, to, |places| {
        let places = arrow::compute::cast(places, &DataType::Int64)?;
        Ok(places.as_primitive::<Int64Type>().iter().map(|at| at.unwrap_or(0)).collect())
    })
}

fn chosen(args: &[ArrayRef], to: &DataType, places: fn(&ArrayRef) -> Result<Vec<i64>>) -> Result<ArrayRef> {
    let DataType::List(item) = to else {
        return Err(wrap(Problem::new(Ename::TypeError, "a list was expected here")));
    };
    let (lists, others) = (args[0].as_list::<i32>(), args[1].as_list::<i32>());
    let mut indices: Vec<Option<u32>> = Vec::new();
    let mut lengths = Vec::new();
    let mut there = Vec::new();
    for (row, other) in others.iter().enumerate() {
        let both = !lists.is_null(row) && other.is_some();
        there.push(both);
        let Some(other) = other.filter(|_| both) else {
            lengths.push(0);
            continue;
        };
        let start = i64::from(lists.value_offsets()[row]);
        let length = i64::from(lists.value_length(row));
        let places = places(&other)?;
        lengths.push(places.len());
        indices.extend(
            places
                .into_iter()
                .map(|at| (at >= 1 && at <= length).then(|| u32::try_from(start + at - 1).ok()).flatten()),
        );
    }
    let indices = arrow::array::PrimitiveArray::<UInt32Type>::from(indices);
    let values = take(lists.values(), &indices, None)?;
    let made = ListArray::try_new(
        item.clone(),
        OffsetBuffer::from_lengths(lengths),
        values,
        Some(NullBuffer::from(there)),
    )?;
    Ok(Arc::new(made))
}
