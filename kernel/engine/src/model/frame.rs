//! Arrow batches as a polars frame: numbers as 64-bit floats, texts as string views; values are shared, not copied.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use carrel_cell::problem::{Ename, Problem};
use polars::prelude::{Column, DataFrame, Float64Chunked, IntoColumn, IntoSeries, StringChunked};
use polars_arrow::{
    array::{PrimitiveArray, Utf8ViewArray, View},
    bitmap::Bitmap,
    datatypes::ArrowDataType,
};
use polars_buffer::Buffer;

use super::internal;

/// How a column enters a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Integers, floats, decimals.
    Number,
    /// Booleans, as 0 and 1.
    Flag,
    /// Strings.
    Text,
}

impl Kind {
    /// The kind of an Arrow type, if models can use it.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Flag),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Dictionary(_, value) => Self::of(value),
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Some(Self::Number),
            other if other.is_numeric() => Some(Self::Number),
            _ => None,
        }
    }
}

/// A frame of some columns of batches that share a schema: (position in the batches, name, kind).
pub(super) fn from_batches(
    batches: &[RecordBatch],
    columns: &[(usize, String, Kind)],
) -> Result<DataFrame, Problem> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = columns
        .iter()
        .map(|(at, name, kind)| {
            let chunks: Vec<ArrayRef> = batches.iter().map(|batch| batch.column(*at).clone()).collect();
            column(name, &chunks, *kind)
        })
        .collect::<Result<Vec<_>, _>>()?;
    DataFrame::new(rows, columns).map_err(|error| internal("a frame could not be made", error))
}

/// A frame of arrays of one length.
pub(super) fn from_arrays(rows: usize, columns: &[(&str, &ArrayRef, Kind)]) -> Result<DataFrame, Problem> {
    let columns = columns
        .iter()
        .map(|(name, array, kind)| column(name, std::slice::from_ref(*array), *kind))
        .collect::<Result<Vec<_>, _>>()?;
    DataFrame::new(rows, columns).map_err(|error| internal("a frame could not be made", error))
}

fn column(name: &str, chunks: &[ArrayRef], kind: Kind) -> Result<Column, Problem> {
    let to = match kind {
        Kind::Number | Kind::Flag => DataType::Float64,
        Kind::Text => DataType::Utf8View,
    };
    let chunks: Vec<ArrayRef> = chunks
        .iter()
        .map(|chunk| if chunk.data_type() == &to { Ok(chunk.clone()) } else { cast(chunk, &to) })
        .collect::<Result<_, _>>()
        .map_err(|error| {
            Problem::new(Ename::TypeError, format!("column {name} cannot be used by a model: {error}"))
        })?;
    Ok(match kind {
        Kind::Number | Kind::Flag => {
            let chunks = chunks.iter().map(numbers).collect::<Result<Vec<_>, _>>()?;
            Float64Chunked::from_chunk_iter(name.into(), chunks).into_series().into_column()
        }
        Kind::Text => {
            let chunks = chunks.iter().map(texts).collect::<Result<Vec<_>, _>>()?;
            StringChunked::from_chunk_iter(name.into(), chunks).into_series().into_column()
        }
    })
}

fn numbers(array: &ArrayRef) -> Result<PrimitiveArray<f64>, Problem> {
    let array = array.as_primitive::<Float64Type>();
    let values: Buffer<f64> = Buffer::from_owner(array.values().clone());
    PrimitiveArray::try_new(ArrowDataType::Float64, values, validity(array.nulls())?)
        .map_err(|error| internal("a column could not be handed over", error))
}

/// An Arrow buffer as the owner of a polars buffer.
struct Shared(arrow::buffer::Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn texts(array: &ArrayRef) -> Result<Utf8ViewArray, Problem> {
    let array = array.as_string_view();
    let views: Vec<View> = array.views().iter().map(|view| View::from(*view)).collect();
    let buffers: Vec<Buffer<u8>> =
        array.data_buffers().iter().map(|buffer| Buffer::from_owner(Shared(buffer.clone()))).collect();
    Utf8ViewArray::try_new(ArrowDataType::Utf8View, views.into(), buffers.into(), validity(array.nulls())?)
        .map_err(|error| internal("a column could not be handed over", error))
}

/// Which values are there; one bit a row is copied.
fn validity(nulls: Option<&NullBuffer>) -> Result<Option<Bitmap>, Problem> {
    let Some(nulls) = nulls else { return Ok(None) };
    let bits = nulls.inner().sliced();
    Bitmap::try_new(bits.as_slice().to_vec(), nulls.len())
        .map(Some)
        .map_err(|error| internal("a column could not be handed over", error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, Float64Array, StringArray};

    use super::*;

    #[test]
    fn values_and_nulls_come_across() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), None, Some(-2.0)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("a rather long text"), None]));
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
        let money: ArrayRef =
            Arc::new(Decimal128Array::from(vec![150, 275, 0]).with_precision_and_scale(9, 2).unwrap());
        let sliced = numbers.slice(1, 2);
        let frame = from_arrays(
            3,
            &[
                ("n", &numbers, Kind::Number),
                ("t", &texts, Kind::Text),
                ("f", &flags, Kind::Flag),
                ("m", &money, Kind::Number),
            ],
        )
        .unwrap();
        let column = |name: &str| frame.column(name).unwrap().f64().unwrap().iter().collect::<Vec<_>>();
        assert_eq!(column("n"), [Some(1.5), None, Some(-2.0)]);
        assert_eq!(column("f"), [Some(1.0), Some(0.0), None]);
        assert_eq!(column("m"), [Some(1.5), Some(2.75), Some(0.0)]);
        let t: Vec<_> = frame.column("t").unwrap().str().unwrap().iter().collect();
        assert_eq!(t, [Some("a"), Some("a rather long text"), None]);
        let part = from_arrays(2, &[("n", &sliced, Kind::Number)]).unwrap();
        assert_eq!(part.column("n").unwrap().f64().unwrap().iter().collect::<Vec<_>>(), [None, Some(-2.0)]);
    }

    #[test]
    fn only_what_models_can_use_has_a_kind() {
        assert_eq!(Kind::of(&DataType::Date32), None);
        assert_eq!(Kind::of(&DataType::Binary), None);
        assert_eq!(Kind::of(&DataType::Int8), Some(Kind::Number));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(Kind::of(&dictionary), Some(Kind::Text));
    }
}
