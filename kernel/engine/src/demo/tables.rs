//! `ads.members` and `ads.items`: attributes to join with, and the planted effect of each.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        RecordBatch, StringArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::{
    DemoError,
    ads::{Plan, START},
    effects::COUNTRIES,
    files,
};

/// Item categories; they have no effect of their own.
pub(super) const CATEGORIES: [&str; 10] =
    ["books", "games", "garden", "health", "home", "music", "office", "sports", "tools", "travel"];

/// Writes `ads.members`.
pub(super) fn write_members(plan: &Plan, path: &Path) -> Result<(), DemoError> {
    let members = &plan.members;
    let start_day = (START / 86_400_000_000) as i32;
    let schema = schema(vec![
        ("member_id", DataType::Int64),
        ("country", DataType::Utf8),
        ("age", DataType::Int32),
        ("premium", DataType::Boolean),
        ("signup_date", DataType::Date32),
        ("true_effect", DataType::Float64),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..members.len() as i64)),
        Arc::new(StringArray::from_iter_values(members.iter().map(|m| COUNTRIES[m.country].0))),
        Arc::new(Int32Array::from_iter_values(members.iter().map(|m| m.age))),
        Arc::new(BooleanArray::from_iter(members.iter().map(|m| Some(m.premium)))),
        Arc::new(Date32Array::from_iter_values(members.iter().map(|m| start_day + m.signup_day))),
        Arc::new(Float64Array::from_iter_values(members.iter().map(|m| m.effect))),
    ];
    write(path, &schema, columns)
}

/// Writes `ads.items`.
pub(super) fn write_items(plan: &Plan, path: &Path) -> Result<(), DemoError> {
    let items = &plan.items;
    let schema = schema(vec![
        ("item_id", DataType::Int64),
        ("category", DataType::Utf8),
        ("price", DataType::Decimal128(12, 2)),
        ("quality", DataType::Float64),
        ("true_effect", DataType::Float64),
    ]);
    let prices = Decimal128Array::from_iter_values(items.iter().map(|i| i128::from(i.price_cents)))
        .with_precision_and_scale(12, 2)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..items.len() as i64)),
        Arc::new(StringArray::from_iter_values(items.iter().map(|i| CATEGORIES[i.category]))),
        Arc::new(prices),
        Arc::new(Float64Array::from_iter_values(items.iter().map(|i| i.quality))),
        Arc::new(Float64Array::from_iter_values(items.iter().map(|i| i.effect))),
    ];
    write(path, &schema, columns)
}

fn schema(columns: Vec<(&str, DataType)>) -> SchemaRef {
    Arc::new(Schema::new(
        columns.into_iter().map(|(name, kind)| Field::new(name, kind, false)).collect::<Vec<_>>(),
    ))
}

fn write(path: &Path, schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<(), DemoError> {
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(DemoError::from);
    files::write(path, schema, std::iter::once(batch))
}
