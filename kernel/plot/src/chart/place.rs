//! What happens to marks at the same place: on top of each other, side by side, or a little apart.

use std::collections::BTreeMap;

use super::{Chart, Form, Mark, MarkLayer, Value2};
use crate::aesthetic::{Aes, Axis};
use crate::frame::Value;
use crate::layer::Drawn;
use crate::scale::{Along, Legend};

/// The least distance of two places along an axis; 1 (a day for times) if there is only one.
pub(super) fn resolution(layer: &Drawn, aes: Aes) -> f64 {
    let mut places: Vec<f64> = layer.rows.iter().filter_map(|row| row.number(aes)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
    let one = if layer.kinds.get(&aes) == Some(&crate::frame::Kind::Time) { 86_400_000.0 } else { 1.0 };
    gaps.fold(None, |least: Option<f64>, gap| Some(least.map_or(gap, |least| least.min(gap)))).unwrap_or(one)
}

fn key(place: &Value2) -> String {
    match (&place.from, place.from.number()) {
        (_, Some(n)) => format!("{n:e}"),
        (value, None) => value.label().unwrap_or_default(),
    }
}

/// Where a mark's category stands in its legend, so that stacks have the legend's order.
fn rank(chart: &Chart, mark: &Mark) -> usize {
    [Aes::Colour, Aes::Fill, Aes::Stroke]
        .iter()
        .find_map(|aes| {
            let label = mark.values.get(aes)?.label()?;
            let (_, legend, _) = chart.legends.iter().find(|(known, _, _)| known == aes)?;
            match legend {
                Legend::Discrete { domain, .. } => domain.iter().position(|one| *one == label),
                _ => None,
            }
        })
        .unwrap_or(0)
}

/// On top of each other, what is below zero downwards.
pub(super) fn stack(chart: &Chart, layer: &mut MarkLayer) {
    let transposed = layer.transposed;
    let mut order: Vec<usize> = (0..layer.marks.len()).collect();
    order.sort_by_key(|at| rank(chart, &layer.marks[*at]));
    let mut sums: BTreeMap<([String; 2], String), [f64; 2]> = BTreeMap::new();
    for at in order {
        let mark = &mut layer.marks[at];
        let (foot, height) = if transposed { (&mark.y, &mut mark.x) } else { (&mark.x, &mut mark.y) };
        let Some(n) = height.to.as_ref().and_then(Value::number) else { continue };
        let sum = sums.entry((mark.panel.clone(), key(foot))).or_default();
        let side = &mut sum[usize::from(n < 0.0)];
        *height = Value2 { from: Value::Number(*side), to: Some(Value::Number(*side + n)) };
        *side += n;
    }
}

/// Side by side within a band.
pub(super) fn dodge(chart: &Chart, layer: &mut MarkLayer) {
    let axis = if layer.transposed { Axis::Y } else { Axis::X };
    dodge_all(chart, std::slice::from_mut(layer), axis);
}

/// Several layers side by side in the same slots.
pub(super) fn dodge_all(chart: &Chart, layers: &mut [MarkLayer], axis: Axis) {
    let along = if axis == Axis::X { &chart.x.along } else { &chart.y.along };
    let found = [Aes::Colour, Aes::Fill, Aes::Stroke].iter().find_map(|aes| {
        let (_, legend, _) = chart.legends.iter().find(|(known, _, _)| known == aes)?;
        match legend {
            Legend::Discrete { domain, .. } => Some((*aes, domain)),
            _ => None,
        }
    });
    let Some((aes, domain)) = found else { return };
    let place = |mark: &Mark| key(if axis == Axis::X { &mark.x } else { &mark.y });
    let label = |mark: &Mark| mark.values.get(&aes).and_then(Value::label).unwrap_or_default();
    // Where every place has one category (the axis shows the same column), there is nothing to put side by side.
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let several =
        layers.iter().flat_map(|layer| &layer.marks).filter(|mark| mark.values.contains_key(&aes)).any(
            |mark| {
                let here = label(mark);
                let before = seen.entry(place(mark)).or_insert_with(|| here.clone());
                *before != here
            },
        );
    if !several {
        return;
    }
    let count = domain.len().max(1);
    let mut slots: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for layer in layers {
        layer.slots = count;
        for (at, mark) in layer.marks.iter_mut().enumerate() {
            let slot = match mark.values.get(&aes).and_then(Value::label) {
                Some(label) => domain.iter().position(|one| *one == label).unwrap_or(0),
                // The line in the middle lost its colour; it stands where its box does.
                None => slots.get(&(at, place(mark))).copied().unwrap_or(0),
            };
            if layer.form == Form::Rect {
                slots.insert((at, place(mark)), slot);
            }
            mark.slot = slot;
            if matches!(along, Along::Line { .. }) {
                narrow(if axis == Axis::X { &mut mark.x } else { &mut mark.y }, slot, count);
            }
        }
        if matches!(along, Along::Line { .. }) {
            layer.slots = 1;
        }
    }
}

/// The slot's part of a range.
fn narrow(place: &mut Value2, slot: usize, count: usize) {
    let (Some(from), Some(to)) = (place.from.number(), place.to.as_ref().and_then(Value::number)) else {
        return;
    };
    let part = (to - from) / count as f64;
    let time = matches!(place.from, Value::Time(_));
    let value = |n: f64| if time { Value::Time(n) } else { Value::Number(n) };
    *place =
        Value2 { from: value(from + part * slot as f64), to: Some(value(from + part * (slot + 1) as f64)) };
}

/// A little apart, always by the same: a low-discrepancy sequence (golden ratio) in place of chance.
pub(super) fn jitter(layer: &mut MarkLayer) {
    for (at, mark) in layer.marks.iter_mut().enumerate() {
        mark.jitter = ((at as f64 * 0.618_033_988_749_895).fract() - 0.5) * 0.8;
    }
}
