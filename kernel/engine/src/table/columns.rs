//! The columns of a table of many files that were written over the years: columns were added, put in another order, made wider.
//! By name, a column is there once, with the type that all its files' values fit; a file that lacks it has NULLs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use carrel_cell::problem::{Ename, Problem};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};

use super::{Files, Reading};
use crate::config::Format;
use crate::snapshot::Snapshot;
use carrel_query::problems;

/// Files whose columns are looked at at the same time.
const ABREAST: usize = 32;

/// Bytes at the beginning of a text file that hold its header line.
const HEADER_BYTES: u64 = 1 << 16;

/// The columns of all files together.
pub(super) async fn of(
    state: &SessionState,
    options: &ListingOptions,
    url: &ListingTableUrl,
    store: &Arc<Snapshot>,
    files: &Files,
    label: &str,
) -> Result<SchemaRef, Problem> {
    if let Some(columns) = &files.reading.columns {
        let field = |(name, kind): &(String, DataType)| Field::new(name, kind.clone(), true);
        return Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())));
    }
    let found = match files.format {
        Format::Parquet | Format::Avro => merged(state, &*options.format, store, label).await,
        Format::Csv => {
            same_header(files, store, label).await?;
            inferred(state, options, url, label).await
        }
        Format::Ndjson | Format::Arrow => inferred(state, options, url, label).await,
    };
    told(found?, &files.reading, label)
}

/// The columns with the names and types that were told.
fn told(found: SchemaRef, reading: &Reading, label: &str) -> Result<SchemaRef, Problem> {
    let mut fields: Vec<Field> = found.fields().iter().map(|field| field.as_ref().clone()).collect();
    let too_many = |what: &str| {
        Problem::new(
            Ename::BadOption,
            format!("{label} has {} columns, fewer than {what}", found.fields().len()),
        )
    };
    if reading.header == Some(false) {
        fields = fields
            .into_iter()
            .enumerate()
            .map(|(at, field)| field.with_name(format!("column{at}")))
            .collect();
    }
    if reading.all_text {
        fields = fields.into_iter().map(|field| field.with_data_type(DataType::Utf8)).collect();
    }
    if reading.names.len() > fields.len() {
        return Err(too_many("names"));
    }
    for (field, name) in fields.iter_mut().zip(&reading.names) {
        field.set_name(name.clone());
    }
    if reading.first_types.len() > fields.len() {
        return Err(too_many("types"));
    }
    for (field, kind) in fields.iter_mut().zip(&reading.first_types) {
        field.set_data_type(kind.clone());
    }
    for (name, kind) in &reading.types {
        let Some(field) = fields.iter_mut().find(|field| field.name().eq_ignore_ascii_case(name)) else {
            let names: Vec<_> = fields.iter().map(|field| field.name().clone()).collect();
            return Err(Problem::new(Ename::UnknownColumn, format!("{label} has no column {name}"))
                .suggest(name, names));
        };
        field.set_data_type(kind.clone());
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, found.metadata().clone())))
}

async fn inferred(
    state: &SessionState,
    options: &ListingOptions,
    url: &ListingTableUrl,
    label: &str,
) -> Result<SchemaRef, Problem> {
    options.infer_schema(state, url).await.map_err(|error| problems::of_files(&error, label))
}

/// Files that know their own columns.
async fn merged(
    state: &SessionState,
    format: &dyn FileFormat,
    store: &Arc<Snapshot>,
    label: &str,
) -> Result<SchemaRef, Problem> {
    let files = store.files();
    let store: Arc<dyn ObjectStore> = store.clone();
    let mut looks = Vec::new();
    for file in &files {
        looks.push(format.infer_schema(state, &store, std::slice::from_ref(file)));
    }
    let schemas: Result<Vec<SchemaRef>, DataFusionError> =
        stream::iter(looks).buffered(ABREAST).try_collect().await;
    let schemas = schemas.map_err(|error| problems::of_files(&error, label))?;
    let mut columns = Columns::default();
    for (file, schema) in files.iter().zip(&schemas) {
        columns.add(schema).map_err(|clash| {
            let name = file.location.filename().unwrap_or_default();
            let Clash { column, before, now } = clash;
            Problem::new(
                Ename::TypeError,
                format!("{label}: the column {column} is {now} in {name}, and {before} in other files"),
            )
            .hint("types that fit into each other are widened, these do not: ask the owner of the data")
        })?;
    }
    Ok(Arc::new(Schema::new(columns.fields)))
}

/// Text files have their columns by position: where headers differ, values would end up in the wrong column.
async fn same_header(files: &Files, store: &Arc<Snapshot>, label: &str) -> Result<(), Problem> {
    if files.list.len() < 2 || !files.plain_text() || files.reading.header == Some(false) {
        return Ok(());
    }
    let with_data: Vec<_> = store.files().into_iter().filter(|file| file.size > 0).collect();
    let mut looks = Vec::new();
    for file in &with_data {
        looks.push(header(file, store));
    }
    let headers: Result<Vec<String>, object_store::Error> =
        stream::iter(looks).buffered(ABREAST).try_collect().await;
    let headers = headers.map_err(|error| problems::of_files(&error.into(), label))?;
    let Some(first) = headers.first() else { return Ok(()) };
    match with_data.iter().zip(&headers).find(|(_, header)| *header != first) {
        None => Ok(()),
        Some((file, _)) => {
            let name = file.location.filename().unwrap_or_default();
            Err(Problem::new(
                Ename::CorruptFile,
                format!("{label}: the header of {name} differs from those of files before it"),
            )
            .hint("files of text have their columns by position: name files of one kind by their path, or ask for Parquet"))
        }
    }
}

async fn header(file: &ObjectMeta, store: &Snapshot) -> object_store::Result<String> {
    let first = 0..file.size.min(HEADER_BYTES);
    let bytes = store.get_ranges(&file.location, &[first]).await?.pop().unwrap_or_default();
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).trim_end_matches('\r').to_owned())
}

#[derive(Default)]
struct Columns {
    fields: Vec<FieldRef>,
}

#[derive(Debug, PartialEq)]
struct Clash {
    column: String,
    before: String,
    now: String,
}

impl Columns {
    fn add(&mut self, schema: &Schema) -> Result<(), Clash> {
        let was_empty = self.fields.is_empty();
        for field in self.fields.iter_mut().filter(|field| schema.field_with_name(field.name()).is_err()) {
            *field = Arc::new(field.as_ref().clone().with_nullable(true));
        }
        for field in schema.fields() {
            let Some(known) = self.fields.iter_mut().find(|known| known.name() == field.name()) else {
                let missing_before = !was_empty;
                let nullable = field.is_nullable() || missing_before;
                self.fields.push(Arc::new(field.as_ref().clone().with_nullable(nullable)));
                continue;
            };
            if known.data_type() == field.data_type() && known.is_nullable() == field.is_nullable() {
                continue;
            }
            let wider = wider(known.data_type(), field.data_type()).ok_or_else(|| Clash {
                column: field.name().clone(),
                before: carrel_query::words::type_name(known.data_type()),
                now: carrel_query::words::type_name(field.data_type()),
            })?;
            let nullable = known.is_nullable() || field.is_nullable();
            *known =
                Arc::new(Field::new(field.name(), wider, nullable).with_metadata(known.metadata().clone()));
        }
        Ok(())
    }
}

/// The type that the values of both fit without loss, if there is one.
fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Date32, Decimal128, Dictionary, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeUtf8, List, Null, Struct, Timestamp, UInt8, UInt16, UInt32, Utf8, Utf8View,
    };
    if a == b {
        return Some(a.clone());
    }
    // the order of the two does not matter
    let one_way = |a: &DataType, b: &DataType| -> Option<DataType> {
        match (a, b) {
            (Null, other) => Some(other.clone()),
            (Int8, Int16 | Int32 | Int64)
            | (Int16, Int32 | Int64)
            | (Int32, Int64)
            | (UInt8, UInt16 | UInt32 | Int16 | Int32 | Int64)
            | (UInt16, UInt32 | Int32 | Int64)
            | (UInt32, Int64)
            | (Float32, Float64)
            | (Int8 | Int16 | UInt8 | UInt16, Float32)
            | (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64)
            | (Date32, Timestamp(..)) => Some(b.clone()),
            (Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32, Decimal128(p, s)) => {
                let digits: u8 = match a {
                    Int8 | UInt8 => 3,
                    Int16 | UInt16 => 5,
                    Int32 | UInt32 => 10,
                    _ => 19,
                };
                decimal(digits, 0, *p, *s)
            }
            (Decimal128(p1, s1), Decimal128(p2, s2)) => decimal(*p1, *s1, *p2, *s2),
            (Timestamp(u1, z1), Timestamp(u2, z2)) if z1 == z2 => {
                Some(Timestamp(finer(*u1, *u2), z1.clone()))
            }
            (Utf8, LargeUtf8 | Utf8View) | (LargeUtf8, Utf8View) => Some(b.clone()),
            (Binary, LargeBinary | BinaryView) | (LargeBinary, BinaryView) => Some(b.clone()),
            (Dictionary(_, value), other) => wider(value, other),
            (List(x), List(y)) => {
                let item = wider(x.data_type(), y.data_type())?;
                let nullable = x.is_nullable() || y.is_nullable();
                Some(List(Arc::new(Field::new(x.name(), item, nullable))))
            }
            (Struct(x), Struct(y)) => {
                let mut columns = Columns::default();
                columns.add(&Schema::new(x.clone())).ok()?;
                columns.add(&Schema::new(y.clone())).ok()?;
                Some(Struct(columns.fields.into()))
            }
            _ => None,
        }
    };
    one_way(a, b).or_else(|| one_way(b, a))
}

fn decimal(p1: u8, s1: i8, p2: u8, s2: i8) -> Option<DataType> {
    let scale = s1.max(s2);
    let whole = (i16::from(p1) - i16::from(s1)).max(i16::from(p2) - i16::from(s2));
    let precision = u8::try_from(whole + i16::from(scale)).ok()?;
    (precision <= 38).then_some(DataType::Decimal128(precision, scale))
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    a.max(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(schemas: &[&[(&str, DataType)]]) -> Result<Vec<(String, DataType, bool)>, Clash> {
        let mut columns = Columns::default();
        for schema in schemas {
            let fields: Vec<_> =
                schema.iter().map(|(name, kind)| Field::new(*name, kind.clone(), false)).collect();
            columns.add(&Schema::new(fields))?;
        }
        let column = |field: FieldRef| (field.name().clone(), field.data_type().clone(), field.is_nullable());
        Ok(columns.fields.into_iter().map(column).collect())
    }

    #[test]
    fn columns_are_added_reordered_and_widened() {
        use DataType::{Float64, Int32, Int64, Utf8};
        let got = merged(&[
            &[("a", Int32), ("b", Utf8)],
            &[("b", Utf8), ("a", Int64), ("c", Float64)],
            &[("a", Int32), ("c", Int32), ("b", Utf8)],
        ])
        .unwrap();
        assert_eq!(got, [("a".into(), Int64, false), ("b".into(), Utf8, false), ("c".into(), Float64, true)]);
        let got = merged(&[&[("a", Int32), ("b", Utf8)], &[("a", Int32)]]).unwrap();
        assert!(got[1].2, "a column that a later file lacks may be NULL");
    }

    #[test]
    fn types_that_do_not_fit_are_named() {
        let clash = merged(&[&[("a", DataType::Int32)], &[("a", DataType::Utf8)]]).unwrap_err();
        assert_eq!(clash, Clash { column: "a".into(), before: "INTEGER".into(), now: "VARCHAR".into() });
        assert!(merged(&[&[("a", DataType::Int64)], &[("a", DataType::Float64)]]).is_err(), "would round");
    }

    #[test]
    fn wider_types() {
        use DataType::{Decimal128, Int32, Int64, Timestamp};
        for (a, b, is) in [
            (Decimal128(10, 2), Decimal128(12, 4), Some(Decimal128(12, 4))),
            (Decimal128(38, 2), Decimal128(38, 10), None),
            (Int32, Decimal128(5, 2), Some(Decimal128(12, 2))),
            (Int64, Int32, Some(Int64)),
            (
                Timestamp(TimeUnit::Millisecond, None),
                Timestamp(TimeUnit::Microsecond, None),
                Some(Timestamp(TimeUnit::Microsecond, None)),
            ),
            (
                Timestamp(TimeUnit::Millisecond, None),
                Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
                None,
            ),
        ] {
            assert_eq!(wider(&a, &b), is, "{a} and {b}");
            assert_eq!(wider(&b, &a), is, "{b} and {a}");
        }
    }
}
