//! From what was gathered of a column to what is told of it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue};

use super::sketch::Sketch;

/// Bars of a histogram.
const BARS: usize = 10;

/// Values that are told with their counts.
const TOP: usize = 5;

/// How often a value must be in the sample to be told: less may be chance.
const SURE: i64 = 16;

/// What was gathered.
pub(super) struct Figures {
    pub(super) data_type: DataType,
    pub(super) rows: i64,
    pub(super) count: i64,
    pub(super) mean: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) least: ScalarValue,
    pub(super) greatest: ScalarValue,
    /// The values, of types that can be sorted.
    pub(super) sketch: Option<Sketch>,
}

/// The share of rows without a value, with two decimals.
#[expect(clippy::cast_precision_loss, reason = "a share")]
pub(super) fn null_percentage(rows: u64, nulls: u64) -> Option<f64> {
    (rows > 0).then(|| (nulls as f64 / rows as f64 * 10_000.0).round() / 100.0)
}

/// The fields of the answer, in the order of [`Figures::told`].
pub(super) fn fields() -> Fields {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Fields::from(vec![
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
        field("top_values", list_of(&top_fields())),
        field("histogram", list_of(&bar_fields())),
        field("exact", DataType::Boolean),
    ])
}

fn list_of(fields: &Fields) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), true)))
}

fn top_fields() -> Fields {
    Fields::from(vec![Field::new("value", DataType::Utf8, true), Field::new("count", DataType::Int64, true)])
}

fn bar_fields() -> Fields {
    Fields::from(vec![
        Field::new("from", DataType::Utf8, true),
        Field::new("to", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ])
}

/// Different values in their order with how often they were seen, and how many rows stand for one that was.
struct Seen {
    values: Vec<(ScalarValue, i64)>,
    scale: f64,
    whole: bool,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "shares and places of rows; where every row counts the scale is 1"
)]
impl Figures {
    /// All figures as one struct.
    pub(super) fn told(mut self) -> Result<ScalarValue> {
        let sketch = self.sketch.take();
        let different = sketch.as_ref().map(Sketch::different);
        let seen = sketch.map(|sketch| self.seen(sketch));
        let unique = match &seen {
            Some(seen) if seen.whole => i64::try_from(seen.values.len()).ok(),
            _ => different.map(|different| different.min(self.count)),
        };
        let quartile = |share: f64| self.quantile(seen.as_ref(), share);
        let nulls = null_percentage(self.rows.unsigned_abs(), (self.rows - self.count).unsigned_abs());
        let exact = seen.as_ref().is_none_or(|seen| seen.whole);
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let columns: Vec<ArrayRef> = vec![
            one(text(&self.least)),
            one(text(&self.greatest)),
            Arc::new(Int64Array::from(vec![unique])),
            one(number(self.mean)),
            one(number(self.deviation)),
            one(quartile(0.25)),
            one(quartile(0.5)),
            one(quartile(0.75)),
            Arc::new(Int64Array::from(vec![self.rows])),
            Arc::new(arrow::array::Float64Array::from(vec![nulls])),
            self.top(seen.as_ref())?,
            self.histogram(seen.as_ref())?,
            Arc::new(arrow::array::BooleanArray::from(vec![exact])),
        ];
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields(), columns, None)?)))
    }

    fn seen(&self, sketch: Sketch) -> Seen {
        let (mut values, whole) = match sketch {
            Sketch::Few(counts) => {
                (counts.into_values().map(|(count, value)| (value, count)).collect(), true)
            }
            Sketch::Many { sample, drawn, .. } => {
                let whole = usize::try_from(drawn).is_ok_and(|drawn| drawn == sample.len());
                (sample.into_iter().map(|row| (row.value, 1)).collect::<Vec<_>>(), whole)
            }
        };
        values.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        values.dedup_by(|(value, count), (before, all)| {
            let same = value == before;
            if same {
                *all += *count;
            }
            same
        });
        let rows: i64 = values.iter().map(|(_, count)| count).sum();
        let scale = if whole || rows == 0 { 1.0 } else { self.count as f64 / rows as f64 };
        Seen { values, scale, whole }
    }

    /// A quantile in the column's own type, as DuckDB gives it; of numbers and times.
    fn quantile(&self, seen: Option<&Seen>, share: f64) -> Option<String> {
        if !self.data_type.is_numeric() && !is_time(&self.data_type) {
            return None;
        }
        let values = &seen?.values;
        let rows: i64 = values.iter().map(|(_, count)| count).sum();
        // as SQL's percentile_disc: the first value that so many are not above
        let mut left = ((share * rows as f64).ceil() as i64 - 1).max(0);
        for (value, count) in values {
            if left < *count {
                return text(value);
            }
            left -= count;
        }
        None
    }

    /// The most frequent values.
    fn top(&self, seen: Option<&Seen>) -> Result<ArrayRef> {
        let mut rows: Option<Vec<(Option<String>, i64)>> = None;
        if let Some(seen) = seen {
            let mut values: Vec<&(ScalarValue, i64)> = seen.values.iter().collect();
            // equals stay in the order of their values
            values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            let few = values.len() <= TOP;
            let told = values.into_iter().take(TOP).filter(|(_, count)| match seen.whole {
                true => few || *count > 1,
                false => *count >= SURE,
            });
            rows = Some(
                told.map(|(value, count)| (text(value), (*count as f64 * seen.scale).round() as i64))
                    .collect(),
            );
        }
        let given = rows.is_some();
        let rows = rows.unwrap_or_default();
        let values: StringArray = rows.iter().map(|(value, _)| value.clone()).collect();
        let counts: Int64Array = rows.iter().map(|(_, count)| Some(*count)).collect();
        list(&top_fields(), vec![Arc::new(values), Arc::new(counts)], given)
    }

    /// Bars of the same width from the least to the greatest; of numbers and times.
    fn histogram(&self, seen: Option<&Seen>) -> Result<ArrayRef> {
        let ends = (place(&self.least), place(&self.greatest));
        let bars = match (ends, seen) {
            ((Some(low), Some(high)), Some(seen)) if (high - low).is_finite() => {
                Some(self.bars(low, high, seen))
            }
            _ => None,
        };
        let given = bars.is_some();
        let bars = bars.unwrap_or_default();
        let from: StringArray = bars.iter().map(|(from, _, _)| Some(from.clone())).collect();
        let to: StringArray = bars.iter().map(|(_, to, _)| Some(to.clone())).collect();
        let counts: Int64Array = bars.iter().map(|(_, _, count)| Some(*count)).collect();
        list(&bar_fields(), vec![Arc::new(from), Arc::new(to), Arc::new(counts)], given)
    }

    fn bars(&self, low: f64, high: f64, seen: &Seen) -> Vec<(String, String, i64)> {
        let bars = if low < high { BARS } else { 1 };
        let width = (high - low) / bars as f64;
        let mut counts = vec![0_i64; bars];
        for (value, count) in &seen.values {
            let Some(at) = place(value) else { continue };
            let bar = if width > 0.0 { ((at - low) / width).floor().max(0.0) as usize } else { 0 };
            if let Some(bar) = counts.get_mut(bar.min(bars - 1)) {
                *bar += count;
            }
        }
        let edge = |bar: usize| match bar {
            0 => text(&self.least),
            _ if bar == bars => text(&self.greatest),
            _ => shown(low + width * bar as f64, &self.data_type),
        };
        let bar = |(at, count): (usize, &i64)| {
            let rows = (*count as f64 * seen.scale).round() as i64;
            (edge(at).unwrap_or_default(), edge(at + 1).unwrap_or_default(), rows)
        };
        counts.iter().enumerate().map(bar).collect()
    }
}

fn one(text: Option<String>) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

/// A list of structs as the one value of an array.
fn list(fields: &Fields, columns: Vec<ArrayRef>, given: bool) -> Result<ArrayRef> {
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), true));
    let nulls = (!given).then(|| arrow::buffer::NullBuffer::new_null(1));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths([rows.len()]), Arc::new(rows), nulls)?))
}

pub(super) fn text(value: &ScalarValue) -> Option<String> {
    if let DataType::Timestamp(..) = value.data_type() {
        let texts = carrel_query::functions::time_text(&value.to_array().ok()?).ok()?;
        let texts = texts.as_string_opt::<i32>()?;
        return texts.is_valid(0).then(|| texts.value(0).to_owned());
    }
    match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(text)) => text,
        _ => None,
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Date32
            | DataType::Date64
            | DataType::Timestamp(..)
            | DataType::Time32(_)
            | DataType::Time64(_)
    )
}

/// The integer under a time.
fn under(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Date32 | DataType::Time32(_) => DataType::Int32,
        _ => DataType::Int64,
    }
}

/// Where a number or a time lies on the line.
fn place(value: &ScalarValue) -> Option<f64> {
    let data_type = value.data_type();
    let number = if is_time(&data_type) {
        value.cast_to(&under(&data_type)).ok()?.cast_to(&DataType::Float64).ok()?
    } else if data_type.is_numeric() {
        value.cast_to(&DataType::Float64).ok()?
    } else {
        return None;
    };
    match number {
        ScalarValue::Float64(Some(number)) if number.is_finite() => Some(number),
        _ => None,
    }
}

/// A place on the line as a value of the column's type; numbers with six digits.
#[expect(clippy::cast_possible_truncation, reason = "a time between two times of the column")]
fn shown(at: f64, data_type: &DataType) -> Option<String> {
    if is_time(data_type) {
        let number = ScalarValue::Int64(Some(at.round() as i64)).cast_to(&under(data_type)).ok()?;
        return text(&number.cast_to(data_type).ok()?);
    }
    let rounded: f64 = format!("{at:.5e}").parse().ok()?;
    Some(rounded.to_string())
}
