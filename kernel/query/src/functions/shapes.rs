//! Structs and maps: put together, taken apart.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, MapArray, StringBuilder, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::row::{RowConverter, SortField};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;

use super::text::texts;
use super::{DEF, Def, Takes};
use crate::problems::wrap;
use crate::words::type_name;

/// The table.
pub(super) const DEFS: &[Def] = &[
    Def {
        name: "struct_concat",
        takes: &[Takes::Any],
        more: Some(Takes::Any),
        gives: |given| joined(given).map(DataType::Struct),
        run: concat,
        about: ("struct_concat(a, b, …)", "The fields of several structs in one."),
        ..DEF
    },
    Def { name: "__struct_update", takes: &[Takes::Any, Takes::Any], gives: updated, run: update, ..DEF },
    Def {
        name: "struct_keys",
        takes: &[Takes::Any],
        gives: texts,
        run: keys,
        about: ("struct_keys(s)", "The names of a struct's fields."),
        ..DEF
    },
    Def {
        name: "map_from_entries",
        takes: &[Takes::List],
        gives: map_type,
        run: map_from_entries,
        about: ("map_from_entries([(key, value), …])", "A map of pairs."),
        ..DEF
    },
];

fn fields_of(given: &DataType) -> Result<&Fields> {
    match given {
        DataType::Struct(fields) => Ok(fields),
        other => {
            let text = format!("a struct is needed here, this is {}", type_name(other));
            Err(wrap(Problem::new(Ename::TypeError, text).hint("{'a': 1} makes one")))
        }
    }
}

fn joined(given: &[DataType]) -> Result<Fields> {
    let mut all: Vec<FieldRef> = Vec::new();
    for one in given {
        for field in fields_of(one)? {
            if all.iter().any(|known| known.name() == field.name()) {
                let text = format!("two of these structs have a field {}", field.name());
                return Err(wrap(
                    Problem::new(Ename::TypeError, text).hint("struct_update(s, a := …) puts another value"),
                ));
            }
            all.push(field.clone());
        }
    }
    Ok(all.into())
}

/// The columns of a struct, NULL where the struct is.
fn columns(array: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let array = array.as_struct();
    let nulls = array.nulls().map(|nulls| arrow::array::BooleanArray::new(!nulls.inner(), None));
    let hidden = |column: &ArrayRef| match &nulls {
        Some(nulls) => Ok(arrow::compute::nullif(column, nulls)?),
        None => Ok(column.clone()),
    };
    array.columns().iter().map(hidden).collect()
}

fn built(to: &DataType, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
    let fields: Fields = fields_of(to)?.iter().map(nullable).collect();
    let made: ArrayRef = Arc::new(StructArray::try_new(fields, columns, None)?);
    Ok(arrow::compute::cast(&made, to)?)
}

fn concat(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    let all = args.iter().map(columns).collect::<Result<Vec<_>>>()?;
    built(to, all.into_iter().flatten().collect())
}

/// The fields of the first with those of the second put in their place, or behind.
fn updated(given: &[DataType]) -> Result<DataType> {
    let [old, new] = given else { return Ok(DataType::Null) };
    let mut fields: Vec<FieldRef> = fields_of(old)?.iter().cloned().collect();
    for field in fields_of(new)? {
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => *known = field.clone(),
            None => fields.push(field.clone()),
        }
    }
    Ok(DataType::Struct(fields.into()))
}

fn update(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    let (old, new) = (columns(&args[0])?, columns(&args[1])?);
    let (old_fields, new_fields) = (fields_of(args[0].data_type())?, fields_of(args[1].data_type())?);
    let of = |field: &FieldRef| {
        let at = |fields: &Fields| fields.iter().position(|known| known.name() == field.name());
        at(new_fields).map(|at| &new[at]).or_else(|| at(old_fields).map(|at| &old[at])).cloned()
    };
    built(to, fields_of(to)?.iter().filter_map(of).collect())
}

fn keys(args: &[ArrayRef], _: &DataType) -> Result<ArrayRef> {
    let fields = fields_of(args[0].data_type())?;
    let mut out = ListBuilder::new(StringBuilder::new());
    for row in 0..args[0].len() {
        fields.iter().for_each(|field| out.values().append_value(field.name()));
        out.append(!args[0].is_null(row));
    }
    Ok(Arc::new(out.finish()))
}

/// Pairs as the entries of a map.
fn entries_type(list: &DataType) -> Result<Fields> {
    let wrong = || {
        let problem = Problem::new(Ename::TypeError, "map_from_entries takes a list of pairs");
        wrap(problem.hint("[('a', 1), ('b', 2)] is one"))
    };
    let DataType::List(item) = list else { return Err(wrong()) };
    let DataType::Struct(pair) = item.data_type() else { return Err(wrong()) };
    let [key, value] = pair.as_ref() else { return Err(wrong()) };
    Ok(vec![
        Field::new("key", key.data_type().clone(), false),
        Field::new("value", value.data_type().clone(), true),
    ]
    .into())
}

fn map_type(given: &[DataType]) -> Result<DataType> {
    let Some(list) = given.first() else { return Ok(DataType::Null) };
    let entries = Field::new("entries", DataType::Struct(entries_type(list)?), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

fn map_from_entries(args: &[ArrayRef], to: &DataType) -> Result<ArrayRef> {
    let (Some(list), DataType::Map(entries, _)) = (args[0].as_list_opt::<i32>(), to) else {
        return Ok(arrow::array::new_null_array(to, args[0].len()));
    };
    let pairs = list.values().as_struct();
    let (key, value) = (pairs.column(0), pairs.column(1));
    let converter = RowConverter::new(vec![SortField::new(key.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(key))?;
    for (row, span) in list.offsets().windows(2).enumerate() {
        let span = if list.is_null(row) { 0..0 } else { span[0] as usize..span[1] as usize };
        let mut seen = HashSet::new();
        for at in span {
            let wrong = if key.is_null(at) || pairs.is_null(at) {
                "a key of a map is NULL"
            } else if seen.insert(rows.row(at)) {
                continue;
            } else {
                "a key is twice in a map"
            };
            return Err(wrap(Problem::new(Ename::ValueError, wrong)));
        }
    }
    let fields = fields_of(entries.data_type())?.clone();
    let pairs = StructArray::try_new(fields, vec![key.clone(), value.clone()], None)?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, false)?))
}
