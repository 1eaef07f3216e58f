//! Prepared statements: `?` and `$1` parameters, their types, their values.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::token::tokenize;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use futures::TryStreamExt;

use carrel_cell::edit::{Edited, Edits};
use carrel_query::problems::internal;

/// Bytes of parameters or ingested rows that are held at a time.
const MOST_ROWS: usize = 1_000_000;

/// `?` as `$1`, `$2` …
pub(super) fn numbered(sql: &str) -> Result<Edited, Problem> {
    let mut edits = Edits::default();
    let mut number = 0;
    for token in tokenize(sql)? {
        if token.is_symbol(sql, '?') {
            number += 1;
            edits.replace(token.span, format!("${number}"));
        }
    }
    Ok(edits.apply(sql))
}

/// The parameters' columns: `$1`, `$2` … with the types that the query gives them.
pub(super) fn parameters(plan: &LogicalPlan) -> Result<Schema, Problem> {
    let types = plan.get_parameter_types().map_err(|error| carrel_query::problems::of(&error, ""))?;
    let mut types: Vec<_> = types.into_iter().collect();
    types.sort_by_key(|(name, _)| {
        (name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX), name.clone())
    });
    let field = |(name, data_type): (String, Option<DataType>)| {
        Field::new(name, data_type.unwrap_or(DataType::Null), true)
    };
    Ok(Schema::new(types.into_iter().map(field).collect::<Vec<_>>()))
}

/// A schema as the bytes of a Flight message.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Problem> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    message.map(|message| message.0).map_err(|error| internal("a schema", &error))
}

/// The values in the one row of a batch.
pub(super) fn values(batch: &RecordBatch) -> Result<ParamValues, Problem> {
    if batch.num_rows() != 1 {
        return Err(Problem::new(
            Ename::Unsupported,
            format!("{} rows of parameters were sent", batch.num_rows()),
        )
        .hint("send one row, or join with a table of values"));
    }
    let values: Result<Vec<_>, _> =
        batch.columns().iter().map(|column| ScalarValue::try_from_array(column.as_ref(), 0)).collect();
    values.map(ParamValues::from).map_err(|error| carrel_query::problems::of(&error, ""))
}

/// The rows that a client sends, as one batch.
pub(super) async fn received(stream: PeekableFlightDataStream) -> Result<Option<RecordBatch>, Problem> {
    // not `into_inner`: that would lose the message that was looked at
    let data = stream.into_peekable().map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut stream = FlightRecordBatchStream::new_from_flight_data(data);
    let mut batches = Vec::new();
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await.map_err(|error| unreadable(&error))? {
        rows += batch.num_rows();
        if rows > MOST_ROWS {
            return Err(Problem::new(Ename::MemoryLimit, "too many rows of parameters"));
        }
        batches.push(batch);
    }
    let Some(first) = batches.first() else { return Ok(None) };
    let schema: Arc<Schema> = first.schema();
    arrow::compute::concat_batches(&schema, &batches)
        .map(Some)
        .map_err(|error| internal("parameters", &error))
}

/// What a client sent is not Arrow data.
pub(super) fn unreadable(error: &FlightError) -> Problem {
    Problem::new(Ename::TypeError, format!("the rows that were sent cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_are_numbered_outside_strings() {
        assert_eq!(numbered("SELECT ?, '?' -- ?\n, ?").unwrap().sql, "SELECT $1, '?' -- ?\n, $2");
    }
}
