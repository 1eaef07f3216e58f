//! What a tooltip says of a column's values, from what is known already: the kept summary of its files, else their Parquet statistics. No data is read.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;

use crate::run::grouped;
use crate::session::Session;
use crate::table::FileTable;

/// Characters of a value in a tooltip.
const VALUE: usize = 60;
/// Most frequent values in a tooltip.
const TOP: usize = 5;

/// Labels with values.
pub(super) async fn facts(
    session: &Session,
    table: &FileTable,
    field: &Field,
) -> Vec<(&'static str, String)> {
    if let Some(summary) = session.summaries().of_column(table, field.name()) {
        return summarized(&summary);
    }
    let Some(known) = table.column_statistics(&session.context().state(), field.name()).await else {
        return Vec::new();
    };
    let mut facts = Vec::new();
    if let (Precision::Exact(nulls), Precision::Exact(rows)) = (known.nulls, known.rows) {
        facts.push(("null share", share(nulls, rows)));
    }
    if let (Precision::Exact(least), Precision::Exact(greatest)) = (&known.least, &known.greatest)
        && !least.is_null()
    {
        facts.push(("range", range(&text(least), &text(greatest))));
    }
    facts
}

/// The facts in the one row of a summary.
fn summarized(summary: &arrow::array::RecordBatch) -> Vec<(&'static str, String)> {
    let of = |name: &str| summary.column_by_name(name).filter(|column| column.is_valid(0)).cloned();
    let shown = |name: &str| of(name).and_then(|column| value(&column));
    let number =
        |name: &str| of(name).and_then(|column| Some(column.as_primitive_opt::<Int64Type>()?.value(0)));
    let mut facts = Vec::new();
    if let Some(nulls) =
        of("null_percentage").and_then(|column| Some(column.as_primitive_opt::<Float64Type>()?.value(0)))
    {
        facts.push(("null share", percent(nulls)));
    }
    if let (Some(least), Some(greatest)) = (shown("min"), shown("max")) {
        facts.push(("range", range(&least, &greatest)));
    }
    if let Some(distinct) = number("approx_unique") {
        let exact =
            of("exact").is_some_and(|column| column.as_boolean_opt().is_some_and(|exact| exact.value(0)));
        let sign = if exact { "" } else { "~" };
        facts.push(("distinct", format!("{sign}{}", grouped(u64::try_from(distinct).unwrap_or(0)))));
    }
    let top = of("top_values").map(|column| top(&column)).unwrap_or_default();
    if !top.is_empty() {
        facts.push(("most frequent", top));
    }
    facts.extend(shown("as_of").map(|when| ("as of", when)));
    facts
}

/// `de (30), fr (2)`
fn top(column: &ArrayRef) -> String {
    let Some(list) = column.as_list_opt::<i32>().map(|list| list.value(0)) else { return String::new() };
    let Some(list) = list.as_struct_opt() else { return String::new() };
    let field =
        |name: &str, row: usize| list.column_by_name(name).and_then(|column| value(&column.slice(row, 1)));
    let one = |row: usize| {
        Some(format!("{} ({})", field("value", row).unwrap_or_else(|| "NULL".into()), field("count", row)?))
    };
    (0..list.len().min(TOP)).filter_map(one).collect::<Vec<_>>().join(", ")
}

/// The first value of a column as text.
fn value(column: &ArrayRef) -> Option<String> {
    if column.is_null(0) {
        return None;
    }
    if let DataType::Timestamp(..) = column.data_type() {
        let texts = carrel_query::functions::time_text(column).ok()?;
        return Some(texts.as_string_opt::<i32>()?.value(0).to_owned());
    }
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default()).ok()?;
    Some(shortened(&formatter.value(0).try_to_string().ok()?))
}

fn text(value: &ScalarValue) -> String {
    value.to_array().ok().and_then(|column| self::value(&column)).unwrap_or_else(|| "NULL".into())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn range(least: &str, greatest: &str) -> String {
    format!("{least} … {greatest}")
}

#[expect(clippy::cast_precision_loss, reason = "a share of rows")]
fn share(nulls: usize, rows: usize) -> String {
    percent(if rows == 0 { 0.0 } else { nulls as f64 * 100.0 / rows as f64 })
}

fn percent(share: f64) -> String {
    match share {
        0.0 => "0 %".to_owned(),
        s if s < 0.1 => "< 0.1 %".to_owned(),
        s => format!("{s:.1} %"),
    }
}
