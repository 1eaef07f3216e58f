//! What training takes of each row: its label, its weight, and the number by which a split has it on one side.

use carrel_cell::problem::{Ename, Problem};
use polars::prelude::DataFrame;

use super::internal;
use super::label::Classes;
use super::options::{ClassWeights, Options};

/// Labels as numbers, 0 and 1 for a classifier; none where missing.
pub(super) fn labels(
    frame: &DataFrame,
    name: &str,
    classes: Option<&Classes>,
) -> Result<Vec<Option<f64>>, Problem> {
    if let Some(classes) = classes {
        return classes.codes(frame, name);
    }
    let polars = |error| internal("the label could not be read", error);
    let column = frame.column(name).map_err(polars)?.f64().map_err(polars)?;
    let labels: Vec<_> = column.iter().map(|label| label.filter(|v| !v.is_nan())).collect();
    if labels.iter().flatten().any(|label| label.is_infinite()) {
        return Err(Problem::new(Ename::TrainingError, format!("label {name} holds an infinite value")));
    }
    Ok(labels)
}

/// One number per row out of its values and the seed: the same row falls on the same side of a split wherever it stands.
pub(super) fn row_hashes(frame: &DataFrame, seed: u64) -> Result<Vec<u64>, Problem> {
    let mix = |mut h: u64| {
        h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        h ^ (h >> 31)
    };
    let mut hashes = vec![mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)); frame.height()];
    for column in frame.columns() {
        if let Ok(numbers) = column.f64() {
            for (hash, value) in hashes.iter_mut().zip(numbers.iter()) {
                *hash = mix(*hash ^ value.map_or(0x51ed_270b, f64::to_bits));
            }
        } else {
            let texts = column.str().map_err(|error| internal("a column could not be read", error))?;
            for (hash, value) in hashes.iter_mut().zip(texts.iter()) {
                let fnv = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3);
                let text =
                    value.map_or(0x51ed_270b, |t| t.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv));
                *hash = mix(*hash ^ text);
            }
        }
    }
    Ok(hashes)
}

/// What each row weighs, where classes weigh differently.
pub(super) fn weights(
    options: &Options,
    classes: Option<&Classes>,
    labels: &[f64],
) -> Result<Option<Vec<f64>>, Problem> {
    let Some(classes) = classes else { return Ok(None) };
    let (negative, positive) = match &options.class_weights {
        ClassWeights::Even => return Ok(None),
        ClassWeights::Auto => {
            let positives = labels.iter().sum::<f64>().max(1.0);
            let negatives = (labels.len() as f64 - positives).max(1.0);
            let half = labels.len() as f64 / 2.0;
            (half / negatives, half / positives)
        }
        ClassWeights::Given(given, span) => {
            let names = [&classes.negative, &classes.positive];
            if let Some((stranger, _)) = given.iter().find(|(class, _)| !names.contains(&class)) {
                return Err(Problem::new(
                    Ename::BadOption,
                    format!("class_weights names {stranger}, the classes are {} and {}", names[0], names[1]),
                )
                .at(*span));
            }
            let of = |name: &String| given.iter().find(|(class, _)| class == name).map_or(1.0, |(_, w)| *w);
            (of(names[0]), of(names[1]))
        }
    };
    Ok(Some(labels.iter().map(|label| if *label > 0.5 { positive } else { negative }).collect()))
}
