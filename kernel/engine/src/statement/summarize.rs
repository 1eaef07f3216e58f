//! `SUMMARIZE`: DuckDB's columns for every column of a table or a query, in one pass over the data.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use carrel_cell::problem::{Ename, Problem};
use carrel_cell::statement::Target;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::{
    approx_distinct, approx_percentile_cont, avg, count, max, min, stddev,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::prelude::{Column, col};

use super::describe::type_name;
use crate::output::{Output, batch};
use crate::problems;
use crate::run::Run;
use crate::session::{Planned, Session};

/// Figures per column, in this order in the one row that the aggregation gives.
const FIGURES: usize = 9;

/// At most this many columns at a time.
const MOST_COLUMNS: usize = 500;

/// Every column's figures.
pub(super) async fn summarize(session: &Session, target: &Target, run: &Arc<Run>) -> Result<Output, Problem> {
    let planned = super::plan_target(session, target, run).await?;
    let Planned { plan, edited } = planned;
    let fields: Vec<(Column, String, DataType)> = plan
        .schema()
        .iter()
        .map(|(table, field)| {
            (Column::new(table.cloned(), field.name()), field.name().clone(), field.data_type().clone())
        })
        .collect();
    if fields.len() > MOST_COLUMNS {
        return Err(Problem::new(
            Ename::Unsupported,
            format!("SUMMARIZE takes at most {MOST_COLUMNS} columns"),
        )
        .hint("name the columns: SUMMARIZE SELECT a, b FROM …"));
    }
    let plan = aggregated(plan, &fields).map_err(|error| problems::of(&error, ""))?;
    let output = session.start(Planned { plan, edited }, run).await?;
    let (_, batches) = output.collect().await?;
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let Some(row) = row else { return Err(problems::internal("SUMMARIZE", &"no row")) };
    answer(&fields, row.columns())
}

/// One aggregation with all figures of all columns, all as text or plain numbers.
fn aggregated(
    plan: LogicalPlan,
    fields: &[(Column, String, DataType)],
) -> datafusion::error::Result<LogicalPlan> {
    let mut figures = vec![count(lit(1_i64)).alias("rows")];
    let mut out = vec![col(Column::from_name("rows"))];
    for (i, (column, _, data_type)) in fields.iter().enumerate() {
        let value = Expr::Column(column.clone());
        let number = numeric(data_type);
        let double = cast(value.clone(), DataType::Float64);
        let mut push = |name: &str, figure: Option<Expr>, to: &[DataType]| {
            let name = format!("c{i}_{name}");
            let plain = match figure {
                Some(figure) => {
                    figures.push(figure.alias(&name));
                    col(Column::from_name(&name))
                }
                None => lit(ScalarValue::Null),
            };
            out.push(to.iter().cloned().fold(plain, cast).alias(name));
        };
        let order = orderable(data_type);
        let (text, whole) = ([DataType::Utf8], [DataType::Int64]);
        let back = match data_type {
            DataType::Date32 => vec![DataType::Int32, DataType::Date32, DataType::Utf8],
            DataType::Timestamp(..) => vec![data_type.clone(), DataType::Utf8],
            _ => vec![DataType::Utf8],
        };
        push("count", Some(count(value.clone())), &whole);
        push("min", order.then(|| min(value.clone())), &text);
        push("max", order.then(|| max(value.clone())), &text);
        let unique =
            |to: Option<DataType>| approx_distinct(to.map_or(value.clone(), |to| cast(value.clone(), to)));
        push("approx_unique", hashable(data_type).map(unique), &whole);
        push("avg", number.then(|| avg(double.clone())), &text);
        push("std", number.then(|| stddev(double.clone())), &text);
        push("q25", quantile(&value, data_type, 0.25), &back);
        push("q50", quantile(&value, data_type, 0.5), &back);
        push("q75", quantile(&value, data_type, 0.75), &back);
    }
    LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), figures)?.project(out)?.build()
}

fn answer(fields: &[(Column, String, DataType)], row: &[ArrayRef]) -> Result<Output, Problem> {
    let int = |at: usize| row.get(at).and_then(|array| array.as_any().downcast_ref::<Int64Array>());
    let rows = int(0).map_or(0, |array| array.value(0));
    let number = |at: usize| {
        int(at).filter(|array| !arrow::array::Array::is_null(array, 0)).map(|array| array.value(0))
    };
    let text = |figure: usize| {
        let cell = |i: usize| {
            let array = row.get(1 + i * FIGURES + figure)?;
            let array = array.as_any().downcast_ref::<StringArray>()?;
            (!arrow::array::Array::is_null(array, 0)).then(|| array.value(0).to_owned())
        };
        Arc::new((0..fields.len()).map(cell).collect::<StringArray>()) as ArrayRef
    };
    let unique: Int64Array = (0..fields.len())
        .map(|i| {
            // the sketch may say more than there are values
            let present = number(1 + i * FIGURES)?;
            Some(number(1 + i * FIGURES + 3)?.min(present))
        })
        .collect();
    let counts: Int64Array = fields.iter().map(|_| Some(rows)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a percentage with two decimals")]
    let nulls: Float64Array = (0..fields.len())
        .map(|i| {
            let present = number(1 + i * FIGURES)?;
            (rows > 0).then(|| ((rows - present) as f64 / rows as f64 * 10_000.0).round() / 100.0)
        })
        .collect();
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("column_name", DataType::Utf8),
        field("column_type", DataType::Utf8),
        field("min", DataType::Utf8),
        field("max", DataType::Utf8),
        field("approx_unique", DataType::Int64),
        field("avg", DataType::Utf8),
        field("std", DataType::Utf8),
        field("q25", DataType::Utf8),
        field("q50", DataType::Utf8),
        field("q75", DataType::Utf8),
        field("count", DataType::Int64),
        field("null_percentage", DataType::Float64),
        field("exact", DataType::Boolean),
    ]);
    // unique counts and quantiles are sketches; everything else counts every row
    let exact: BooleanArray = fields.iter().map(|_| Some(rows == 0)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(fields.iter().map(|(_, name, _)| Some(name.as_str())).collect::<StringArray>()),
        Arc::new(fields.iter().map(|(_, _, data_type)| Some(type_name(data_type))).collect::<StringArray>()),
        text(1),
        text(2),
        Arc::new(unique),
        text(4),
        text(5),
        text(6),
        text(7),
        text(8),
        Arc::new(counts),
        Arc::new(nulls),
        Arc::new(exact),
    ];
    Ok(Output::whole(batch(schema, columns, fields.len())?))
}

/// A quantile in the column's own type, as DuckDB gives it; times go by their number.
fn quantile(value: &Expr, data_type: &DataType, at: f64) -> Option<Expr> {
    let value = match data_type {
        integer if integer.is_integer() => value.clone(),
        number if number.is_numeric() => cast(value.clone(), DataType::Float64),
        DataType::Date32 => cast(cast(value.clone(), DataType::Int32), DataType::Int64),
        DataType::Timestamp(..) => cast(value.clone(), DataType::Int64),
        _ => return None,
    };
    Some(approx_percentile_cont(value.sort(true, false), lit(at), None))
}

fn numeric(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn orderable(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || data_type.is_temporal() && !matches!(data_type, DataType::Duration(_) | DataType::Interval(_))
        || matches!(data_type, DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || matches!(data_type, DataType::Dictionary(_, value) if orderable(value))
}

/// Can distinct values be counted: as they are, as another type, or not?
#[expect(clippy::option_option, reason = "no, as it is, or as another type")]
fn hashable(data_type: &DataType) -> Option<Option<DataType>> {
    match data_type {
        DataType::Boolean | DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            Some(Some(DataType::Utf8))
        }
        DataType::Dictionary(_, value) => Some(Some(value.as_ref().clone())),
        data_type if data_type.is_numeric() && !data_type.is_integer() => Some(Some(DataType::Utf8)),
        data_type if orderable(data_type) => Some(None),
        _ => None,
    }
}
