//! What a statement answers: a schema and a stream of batches, in types that every Arrow client reads.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use carrel_cell::problem::{Ename, Problem};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::column_names::plain_names;

/// Batches, or the problem that ended them.
pub type Rows = Pin<Box<dyn Stream<Item = Result<RecordBatch, Problem>> + Send>>;

/// A statement's answer.
pub struct Output {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub rows: Rows,
}

impl Output {
    /// A whole answer that is there already.
    pub fn whole(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), rows: Box::pin(stream::iter([Ok(batch)])) }
    }

    /// An answer of one text column and one row, such as "table t created".
    pub fn says(column: &str, text: impl Into<String>) -> Result<Self, Problem> {
        Ok(Self::whole(text_table(&[column], vec![vec![Some(text.into())]])?))
    }

    /// All rows.
    pub async fn collect(self) -> Result<(SchemaRef, Vec<RecordBatch>), Problem> {
        let batches = self.rows.try_collect().await?;
        Ok((self.schema, batches))
    }

    /// The same answer in types that every client reads (views become plain strings and binaries) under names that people write.
    #[must_use]
    pub fn plain(self) -> Self {
        let schema = plain_schema(&self.schema);
        if schema == self.schema {
            return self;
        }
        let target = schema.clone();
        let rows = self.rows.map(move |batch| plain_batch(&batch?, &target));
        Self { schema, rows: Box::pin(rows) }
    }
}

/// A batch of nullable text columns from rows.
pub fn text_table(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<RecordBatch, Problem> {
    let fields: Vec<_> = columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let arrays = (0..columns.len())
        .map(|i| {
            let column: StringArray = rows.iter().map(|row| row.get(i).cloned().flatten()).collect();
            Arc::new(column) as ArrayRef
        })
        .collect();
    batch(Schema::new(fields), arrays, rows.len())
}

/// A batch from its parts.
pub fn batch(schema: Schema, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Problem> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(schema), columns, &options).map_err(|error| {
        Problem::new(Ename::Internal, format!("an answer could not be put together: {error}"))
    })
}

/// The schema that `Output::plain` gives.
pub fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let names = plain_names(schema.fields().iter().map(|field| field.name().as_str()));
    let named = |(field, name): (FieldRef, String)| {
        if field.name() == &name { field } else { Arc::new(field.as_ref().clone().with_name(name)) }
    };
    let fields: Fields = schema.fields().iter().map(plain_field).zip(names).map(named).collect();
    if &fields == schema.fields() {
        return schema.clone();
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = plain_type(field.data_type());
    if &data_type == field.data_type() {
        return field.clone();
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::List(field) | DataType::ListView(field) => DataType::List(plain_field(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => {
            DataType::LargeList(plain_field(field))
        }
        DataType::FixedSizeList(field, n) => DataType::FixedSizeList(plain_field(field), *n),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}

/// The batch with the columns of `schema`, which differs only in the types and names above.
pub fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Problem> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(column.clone());
            }
            arrow::compute::cast(column, field.data_type())
        })
        .collect::<Result<Vec<_>, _>>();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    columns
        .and_then(|columns| RecordBatch::try_new_with_options(schema.clone(), columns, &options))
        .map_err(|error| Problem::new(Ename::ValueError, format!("a result cannot be handed out: {error}")))
}
