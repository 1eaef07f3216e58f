//! `ads.clicks`: impressions with a click or not, drawn from the planted model, in time order.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Float64Builder, Int32Array, Int32Builder, Int64Array, RecordBatch, StringBuilder,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Normal, StandardNormal, Zipf};

use super::{
    DemoError,
    effects::{
        CAMPAIGNS, COUNTRIES, DEVICES, INTERCEPT, ITEM_SD, ITEM_SKEW, MEMBER_SD, MEMBER_SKEW, NULLS, NUMERIC,
        pick,
    },
    files,
    truth::Part,
};

/// Rows of one file.
const PER_FILE: u64 = 125_000;
/// Rows generated at a time.
const BATCH: u64 = 8_192;
/// 2026-03-01T00:00:00Z in microseconds.
pub(super) const START: i64 = 1_772_323_200_000_000;
/// 30 days in microseconds.
const SPAN: i64 = 30 * 86_400_000_000;

/// Streams of the random generator: one for each table, then one for each file of clicks.
const MEMBER_STREAM: u64 = 1;
const ITEM_STREAM: u64 = 2;
const CLICK_STREAM: u64 = 16;

/// Everything that is fixed before a row is drawn.
pub(super) struct Plan {
    pub(super) clicks: u64,
    pub(super) seed: u64,
    pub(super) members: Vec<Member>,
    pub(super) items: Vec<Item>,
    members_by_rank: Zipf<f64>,
    items_by_rank: Zipf<f64>,
    recency: Exp<f64>,
}

/// A member as generated; its id is its place.
pub(super) struct Member {
    pub(super) country: usize,
    pub(super) age: i32,
    pub(super) premium: bool,
    pub(super) signup_day: i32,
    pub(super) effect: f64,
}

/// An item as generated; its id is its place.
pub(super) struct Item {
    pub(super) category: usize,
    pub(super) price_cents: i64,
    pub(super) quality: f64,
    pub(super) effect: f64,
}

impl Plan {
    /// Draws members and items; a member comes for every 20 clicks, an item for every 200.
    pub(super) fn new(clicks: u64, seed: u64) -> Result<Self, DemoError> {
        let bad = |e: &dyn std::fmt::Display| DemoError::Generator(e.to_string());
        let members = (clicks / 20).max(50);
        let items = (clicks / 200).max(20);
        let member_effect = Normal::new(0.0, MEMBER_SD).map_err(|e| bad(&e))?;
        let item_effect = Normal::new(0.0, ITEM_SD).map_err(|e| bad(&e))?;
        let mut rng = stream(seed, MEMBER_STREAM);
        let members: Vec<Member> = (0..members)
            .map(|_| Member {
                country: pick(&COUNTRIES, rng.random()),
                age: rng.random_range(18..80),
                premium: rng.random::<f64>() < 0.12,
                signup_day: rng.random_range(-2_000..0),
                effect: member_effect.sample(&mut rng),
            })
            .collect();
        let mut rng = stream(seed, ITEM_STREAM);
        let items: Vec<Item> = (0..items)
            .map(|_| {
                let log_price: f64 = 3.0 + 0.8 * rng.sample::<f64, _>(StandardNormal);
                Item {
                    category: rng.random_range(0..super::tables::CATEGORIES.len()),
                    price_cents: (log_price.exp() * 100.0).round() as i64,
                    quality: (rng.random::<f64>() * 1000.0).round() / 1000.0,
                    effect: item_effect.sample(&mut rng),
                }
            })
            .collect();
        Ok(Self {
            clicks,
            seed,
            members_by_rank: Zipf::new(members.len() as f64, MEMBER_SKEW).map_err(|e| bad(&e))?,
            items_by_rank: Zipf::new(items.len() as f64, ITEM_SKEW).map_err(|e| bad(&e))?,
            recency: Exp::new(1.0 / 24.0).map_err(|e| bad(&e))?,
            members,
            items,
        })
    }

    /// How many files `ads.clicks` has.
    pub(super) fn parts(&self) -> usize {
        self.clicks.div_ceil(PER_FILE) as usize
    }

    /// Writes one file; its rows' true scores and labels come back.
    pub(super) fn write_clicks(&self, index: usize, path: &Path) -> Result<Part, DemoError> {
        let first = index as u64 * PER_FILE;
        let last = (first + PER_FILE).min(self.clicks);
        let mut rng = stream(self.seed, CLICK_STREAM + index as u64);
        let mut part = Part::with_capacity((last - first) as usize);
        let schema = schema();
        let starts = (first..last).step_by(BATCH as usize);
        files::write(
            path,
            &schema,
            starts.map(|from| self.batch(&schema, &mut rng, from..(from + BATCH).min(last), &mut part)),
        )?;
        Ok(part)
    }

    fn batch(
        &self,
        schema: &SchemaRef,
        rng: &mut ChaCha8Rng,
        rows: std::ops::Range<u64>,
        part: &mut Part,
    ) -> Result<RecordBatch, DemoError> {
        let n = (rows.end - rows.start) as usize;
        let [_, _, position_effect, recency_effect] = NUMERIC.map(|(_, effect)| effect);
        let [relevance_effect, quality_effect, ..] = NUMERIC.map(|(_, effect)| effect);
        let [country_nulls, device_nulls, relevance_nulls] = NULLS.map(|(_, rate)| rate);
        let (mut times, mut members, mut items) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut qualities, mut recencies) =
            (Float64Builder::with_capacity(n), Float64Builder::with_capacity(n));
        let mut relevances = Float64Builder::with_capacity(n);
        let (mut positions, mut labels) = (Int32Builder::with_capacity(n), Int32Builder::with_capacity(n));
        let mut countries = StringBuilder::with_capacity(n, 2 * n);
        let mut devices = StringBuilder::with_capacity(n, 8 * n);
        let mut campaigns = StringBuilder::with_capacity(n, 8 * n);
        for row in rows.clone() {
            // Times ascend: each row has its own slot of the 30 days and falls somewhere within it.
            let slot = SPAN as f64 / self.clicks as f64;
            times.push(START + ((row as f64 + rng.random::<f64>()) * slot) as i64);
            let member_id = scatter(self.members_by_rank.sample(rng), self.members.len());
            let item_id = scatter(self.items_by_rank.sample(rng), self.items.len());
            let (member, item) = (&self.members[member_id], &self.items[item_id]);
            let relevance = round(rng.sample::<f64, _>(StandardNormal), 1e4);
            let recency = round(self.recency.sample(rng), 1e2);
            let position: i32 = rng.random_range(1..=10);
            let device = &DEVICES[pick(&DEVICES, rng.random())];
            let campaign = &CAMPAIGNS[pick(&CAMPAIGNS, rng.random())];
            let country = &COUNTRIES[member.country];
            let fixed = INTERCEPT
                + relevance_effect * relevance
                + quality_effect * item.quality
                + position_effect * f64::from(position)
                + recency_effect * recency
                + (device.2 + campaign.2 + country.2);
            let score = fixed + member.effect + item.effect;
            let clicked = rng.random::<f64>() < carrel_train::sigmoid(score);
            part.push(fixed, score, clicked);
            members.push(member_id as i64);
            items.push(item_id as i64);
            countries.append_option((rng.random::<f64>() >= country_nulls).then_some(country.0));
            devices.append_option((rng.random::<f64>() >= device_nulls).then_some(device.0));
            campaigns.append_value(campaign.0);
            positions.append_value(position);
            relevances.append_option((rng.random::<f64>() >= relevance_nulls).then_some(relevance));
            qualities.append_value(item.quality);
            recencies.append_value(recency);
            labels.append_value(i32::from(clicked));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.map(|row| row as i64))),
            Arc::new(TimestampMicrosecondArray::from(times)),
            Arc::new(Int64Array::from(members)),
            Arc::new(Int64Array::from(items)),
            Arc::new(countries.finish()),
            Arc::new(devices.finish()),
            Arc::new(campaigns.finish()),
            Arc::new(positions.finish()),
            Arc::new(relevances.finish()),
            Arc::new(qualities.finish()),
            Arc::new(recencies.finish()),
            Arc::new(labels.finish()) as Arc<Int32Array>,
        ];
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, kind: DataType, nulls: bool| Field::new(name, kind, nulls);
    Arc::new(Schema::new(vec![
        field("event_id", DataType::Int64, false),
        field("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        field("member_id", DataType::Int64, false),
        field("item_id", DataType::Int64, false),
        field("country", DataType::Utf8, true),
        field("device", DataType::Utf8, true),
        field("campaign", DataType::Utf8, false),
        field("position", DataType::Int32, false),
        field("relevance", DataType::Float64, true),
        field("quality", DataType::Float64, false),
        field("recency_hours", DataType::Float64, false),
        field("clicked", DataType::Int32, false),
    ]))
}

/// A generator of its own for every table and file, so that threads cannot change what is drawn.
fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// The id of a popularity rank (from 1): a fixed one-to-one scattering, so that ids do not show popularity.
fn scatter(rank: f64, n: usize) -> usize {
    const STEP: u64 = 1_000_003; // prime: shares no factor with any n that it does not divide
    let n = n as u64;
    let rank = (rank as u64).clamp(1, n) - 1;
    if n.is_multiple_of(STEP) { rank as usize } else { ((rank * STEP + n / 3) % n) as usize }
}

fn round(value: f64, unit: f64) -> f64 {
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattering_is_one_to_one() {
        for n in [20, 50, 5_000, 50_000] {
            let mut seen = vec![false; n];
            for rank in 1..=n {
                let id = scatter(rank as f64, n);
                assert!(!std::mem::replace(&mut seen[id], true), "{n} {rank}");
            }
        }
    }
}
