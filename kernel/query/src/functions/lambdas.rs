//! Functions that take functions: each value of a list, with its place, goes through a lambda.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, UInt32Array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, filter, take, take_arrays};
use arrow::datatypes::{DataType, Field, FieldRef};
use carrel_cell::problem::{Ename, Problem};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs,
    HigherOrderSignature, HigherOrderUDF, HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress,
    ValueOrLambda, Volatility,
};

use crate::problems::wrap;
use crate::words::type_name;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Transform,
    Filter,
    Reduce,
}

/// All of them.
pub(super) fn all() -> Vec<HigherOrderUDF> {
    let one = |name: &'static str, aliases: &[&str], kind, about: (&str, &str)| {
        HigherOrderUDF::new_from_impl(OverList {
            name,
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            kind,
            signature: HigherOrderSignature::user_defined(Volatility::Immutable),
            documentation: Documentation::builder(DocSection::default(), about.1, about.0).build(),
        })
    };
    vec![
        one(
            "list_transform",
            &["array_transform", "list_apply", "array_apply", "apply", "transform"],
            Kind::Transform,
            (
                "list_transform(list, x -> x + 1)",
                "A list of what a function makes of each value; (x, i) -> … also knows the place.",
            ),
        ),
        one(
            "list_filter",
            &["array_filter", "filter"],
            Kind::Filter,
            ("list_filter(list, x -> x > 1)", "The values of a list for which a condition is true."),
        ),
        one(
            "list_reduce",
            &["array_reduce", "reduce"],
            Kind::Reduce,
            (
                "list_reduce(list, (a, x) -> a + x)",
                "One value from all of a list, from left to right; a third argument is the first value.",
            ),
        ),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OverList {
    name: &'static str,
    aliases: Vec<String>,
    kind: Kind,
    signature: HigherOrderSignature,
    documentation: Documentation,
}

impl OverList {
    fn wrong(&self, text: &str) -> datafusion::error::DataFusionError {
        wrap(
            Problem::new(Ename::TypeError, text).hint(format!("write {}", self.documentation.syntax_example)),
        )
    }

    fn item<'a>(&self, list: &'a DataType) -> Result<&'a FieldRef> {
        match list {
            DataType::List(item) => Ok(item),
            other => Err(self.wrong(&format!("{} does not take {}", self.name, type_name(other)))),
        }
    }

    fn parts<'a, V, L>(&self, args: &'a [ValueOrLambda<V, L>]) -> Result<(&'a V, &'a L, Option<&'a V>)> {
        match args {
            [ValueOrLambda::Value(list), ValueOrLambda::Lambda(lambda)] => Ok((list, lambda, None)),
            [ValueOrLambda::Value(list), ValueOrLambda::Lambda(lambda), ValueOrLambda::Value(first)]
                if self.kind == Kind::Reduce =>
            {
                Ok((list, lambda, Some(first)))
            }
            _ => Err(self.wrong(&format!("{} takes a list and a function", self.name))),
        }
    }
}

impl HigherOrderUDFImpl for OverList {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let mut out = Vec::with_capacity(given.len());
        for (at, data_type) in given.iter().enumerate() {
            out.push(match data_type {
                other if at > 0 => other.clone(),
                DataType::List(_) => data_type.clone(),
                DataType::LargeList(item)
                | DataType::FixedSizeList(item, _)
                | DataType::ListView(item)
                | DataType::LargeListView(item) => DataType::List(item.clone()),
                DataType::Null => DataType::new_list(DataType::Null, true),
                other => {
                    return Err(self.wrong(&format!("{} does not take {}", self.name, type_name(other))));
                }
            });
        }
        Ok(out)
    }

    fn lambda_parameters(
        &self,
        _: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let (list, _, first) = self.parts(fields)?;
        let item = Arc::new(self.item(list.data_type())?.as_ref().clone().with_nullable(true));
        let place: FieldRef = Arc::new(Field::new("i", DataType::Int64, false));
        let parameters = match self.kind {
            Kind::Reduce => {
                let so_far = first.map_or_else(
                    || item.clone(),
                    |first| Arc::new(first.as_ref().clone().with_nullable(true)),
                );
                vec![so_far, item, place]
            }
            _ => vec![item, place],
        };
        Ok(LambdaParametersProgress::Complete(vec![parameters]))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let (list, lambda, first) = self.parts(args.arg_fields)?;
        let data_type = match self.kind {
            Kind::Transform => {
                DataType::List(Arc::new(Field::new_list_field(lambda.data_type().clone(), true)))
            }
            Kind::Filter => list.data_type().clone(),
            Kind::Reduce => match first {
                Some(first) => first.data_type().clone(),
                None => self.item(list.data_type())?.data_type().clone(),
            },
        };
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let (list, lambda, first) = self.parts(&args.args)?;
        let list = list.to_array(args.number_rows)?;
        let Some(list) = list.as_any().downcast_ref::<ListArray>() else {
            return Err(self.wrong(&format!("{} takes a list", self.name)));
        };
        let list = tight(list)?;
        let made = match self.kind {
            Kind::Transform => transformed(&list, lambda, args.return_type())?,
            Kind::Filter => filtered(&list, lambda)?,
            Kind::Reduce => {
                let first = first.map(|first| first.to_array(args.number_rows)).transpose()?;
                reduced(&list, lambda, first, args.return_type())?
            }
        };
        Ok(ColumnarValue::Array(made))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The list with the values of its rows and no others.
fn tight(list: &ListArray) -> Result<ListArray> {
    let rows: UInt32Array = list
        .iter()
        .enumerate()
        .flat_map(|(row, values)| {
            let start = list.value_offsets().get(row).copied().unwrap_or(0);
            let length = values.map_or(0, |values| values.len());
            (0..length).map(move |at| {
                u32::try_from(start).ok().zip(u32::try_from(at).ok()).map(|(start, at)| start + at)
            })
        })
        .collect();
    let values = take(list.values(), &rows, None)?;
    let lengths = list.iter().map(|values| values.map_or(0, |values| values.len()));
    let DataType::List(item) = list.data_type() else { return Ok(list.clone()) };
    Ok(ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), values, list.nulls().cloned())?)
}

/// Of each value, its row and its place in the list, from 1.
fn places(list: &ListArray) -> (UInt32Array, Int64Array) {
    let each = || {
        list.value_offsets()
            .windows(2)
            .enumerate()
            .flat_map(|(row, ends)| (0..ends[1] - ends[0]).map(move |at| (row, at)))
    };
    (
        each().map(|(row, _)| u32::try_from(row).ok()).collect(),
        each().map(|(_, at)| Some(i64::from(at) + 1)).collect(),
    )
}

/// What the lambda says of every value.
fn applied(list: &ListArray, lambda: &LambdaArgument) -> Result<ArrayRef> {
    let (rows, places) = places(list);
    let places: ArrayRef = Arc::new(places);
    let values = || Ok(list.values().clone());
    let place = || Ok(places.clone());
    let made = lambda.evaluate(&[&values, &place], |captured| Ok(take_arrays(captured, &rows, None)?))?;
    made.into_array(list.values().len())
}

fn transformed(list: &ListArray, lambda: &LambdaArgument, to: &DataType) -> Result<ArrayRef> {
    let values = applied(list, lambda)?;
    let DataType::List(item) = to else { return Ok(values) };
    let values = cast(&values, item.data_type())?;
    Ok(Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned())?))
}

fn filtered(list: &ListArray, lambda: &LambdaArgument) -> Result<ArrayRef> {
    let keep = cast(&applied(list, lambda)?, &DataType::Boolean)?;
    let keep = keep.as_boolean();
    let lengths = list.value_offsets().windows(2).map(|ends| {
        let range = usize::try_from(ends[0]).unwrap_or(0)..usize::try_from(ends[1]).unwrap_or(0);
        range.filter(|at| !keep.is_null(*at) && keep.value(*at)).count()
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = filter(list.values(), keep)?;
    let DataType::List(item) = list.data_type() else { return Ok(values) };
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, list.nulls().cloned())?))
}

/// All lists at once, place by place.
fn reduced(
    list: &ListArray,
    lambda: &LambdaArgument,
    first: Option<ArrayRef>,
    to: &DataType,
) -> Result<ArrayRef> {
    let offsets = list.value_offsets();
    let length = |row: usize| offsets[row + 1] - offsets[row];
    let rows = list.len();
    let from = i32::from(first.is_none());
    let mut so_far = match first {
        Some(first) => cast(&first, to)?,
        None => {
            let starts: UInt32Array = (0..rows)
                .map(|row| (length(row) > 0).then(|| u32::try_from(offsets[row]).ok()).flatten())
                .collect();
            if list.values().is_empty() {
                new_null_array(to, rows)
            } else {
                take(list.values(), &starts, None)?
            }
        }
    };
    let longest = (0..rows).map(length).max().unwrap_or(0);
    for at in from..longest {
        let active: Vec<u32> =
            (0..rows).filter(|row| length(*row) > at).filter_map(|row| u32::try_from(row).ok()).collect();
        let values: UInt32Array =
            active.iter().map(|row| u32::try_from(offsets[*row as usize] + at).ok()).collect();
        let active_rows = UInt32Array::from(active.clone());
        let (before, next) = (take(&so_far, &active_rows, None)?, take(list.values(), &values, None)?);
        let places: ArrayRef = Arc::new(Int64Array::from_value(i64::from(at) + 1, active.len()));
        let (before, next, place) = (|| Ok(before.clone()), || Ok(next.clone()), || Ok(places.clone()));
        let made = lambda
            .evaluate(&[&before, &next, &place], |captured| Ok(take_arrays(captured, &active_rows, None)?))?;
        let made = cast(&made.into_array(active.len())?, to)?;
        // each row has its new value, or keeps the one it had
        let mut from_made: Vec<u32> = (0..rows).filter_map(|row| u32::try_from(row).ok()).collect();
        let shift = u32::try_from(rows).unwrap_or(0);
        for (new, row) in active.iter().enumerate() {
            if let (Some(slot), Ok(new)) = (from_made.get_mut(*row as usize), u32::try_from(new)) {
                *slot = shift + new;
            }
        }
        so_far = take(&concat(&[so_far.as_ref(), made.as_ref()])?, &UInt32Array::from(from_made), None)?;
    }
    let Some(nulls) = list.nulls() else { return Ok(so_far) };
    let there: UInt32Array =
        (0..rows).map(|row| nulls.is_valid(row).then(|| u32::try_from(row).ok()).flatten()).collect();
    Ok(take(&so_far, &there, None)?)
}
