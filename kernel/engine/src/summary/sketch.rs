//! What is kept of a column's values: all different ones with their counts while they are few; a sketch of the number of different ones and a
//! sample of the rows when they are many. Both can be put together from parts.

use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use datafusion::common::ScalarValue;

/// Different values that are counted one by one.
const FEW: usize = 1024;

/// Rows in the sample. The middle of so many is within one per cent of the middle of all.
const SAMPLE: usize = 8192;

/// Registers of the sketch, and the bits that choose one: 0.8 % error.
const REGISTERS: usize = 1 << BITS;
const BITS: u32 = 14;

/// A hash is hashed already.
#[derive(Default)]
pub(super) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Counts = HashMap<u64, (i64, ScalarValue), BuildHasherDefault<Same>>;

/// One row of the sample: those with the smallest numbers drawn stay.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) number: u64,
    pub(super) value: ScalarValue,
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Drawn {}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

/// The values of a column, as far as they are kept.
#[derive(Debug)]
pub(super) enum Sketch {
    Few(Counts),
    Many { registers: Vec<u8>, sample: BinaryHeap<Drawn>, drawn: u64 },
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Few(Counts::default())
    }
}

impl Sketch {
    /// Counts a value that is there so many times. Its hash is known; the value is only made where it is kept.
    pub(super) fn add<E>(
        &mut self,
        hash: u64,
        times: i64,
        value: impl Fn() -> Result<ScalarValue, E>,
    ) -> Result<(), E> {
        match self {
            Self::Few(counts) => {
                if let Some((count, _)) = counts.get_mut(&hash) {
                    *count += times;
                    return Ok(());
                }
                counts.insert(hash, (times, value()?));
                if counts.len() > FEW {
                    *self = std::mem::take(self).spread();
                }
            }
            Self::Many { registers, sample, drawn } => {
                register(registers, hash);
                for _ in 0..times {
                    *drawn += 1;
                    let number = mixed(hash ^ mixed(*drawn));
                    if sample.len() < SAMPLE || sample.peek().is_some_and(|most| number < most.number) {
                        push(sample, Drawn { number, value: value()? });
                    }
                }
            }
        }
        Ok(())
    }

    /// The same values as a sketch and a sample.
    pub(super) fn spread(self) -> Self {
        let Self::Few(counts) = self else { return self };
        let mut many = Self::Many { registers: vec![0; REGISTERS], sample: BinaryHeap::new(), drawn: 0 };
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|(hash, _)| *hash);
        for (hash, (times, value)) in counts {
            let Ok(()) = many.add(hash, times, || Ok::<_, std::convert::Infallible>(value.clone()));
        }
        many
    }

    /// Both together.
    pub(super) fn merged(self, other: Self) -> Self {
        match (self, other) {
            (Self::Few(mut counts), Self::Few(more)) => {
                for (hash, (times, value)) in more {
                    counts.entry(hash).or_insert((0, value)).0 += times;
                }
                let few = counts.len() <= FEW;
                if few { Self::Few(counts) } else { Self::Few(counts).spread() }
            }
            (one, other) => match (one.spread(), other.spread()) {
                (
                    Self::Many { mut registers, mut sample, drawn },
                    Self::Many { registers: more, sample: others, drawn: also },
                ) => {
                    registers.iter_mut().zip(more).for_each(|(rank, more)| *rank = more.max(*rank));
                    others.into_iter().for_each(|row| push(&mut sample, row));
                    Self::Many { registers, sample, drawn: drawn + also }
                }
                (one, _) => one,
            },
        }
    }

    /// How many different values there are, about.
    pub(super) fn different(&self) -> i64 {
        match self {
            Self::Few(counts) => i64::try_from(counts.len()).unwrap_or(i64::MAX),
            Self::Many { registers, .. } => estimate(registers),
        }
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        let each = size_of::<Drawn>() + 16;
        match self {
            Self::Few(counts) => counts.len() * (each + 16),
            Self::Many { registers, sample, .. } => registers.len() + sample.len() * each,
        }
    }
}

fn push(sample: &mut BinaryHeap<Drawn>, row: Drawn) {
    sample.push(row);
    if sample.len() > SAMPLE {
        sample.pop();
    }
}

fn register(registers: &mut [u8], hash: u64) {
    let at = usize::try_from(hash >> (u64::BITS - BITS)).unwrap_or(0);
    let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() + 1;
    if let (Some(known), Ok(rank)) = (registers.get_mut(at), u8::try_from(rank)) {
        *known = rank.max(*known);
    }
}

/// HyperLogLog's estimate, counted linearly while registers are empty.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate")]
fn estimate(registers: &[u8]) -> i64 {
    let size = registers.len() as f64;
    let sum: f64 = registers.iter().map(|rank| 2_f64.powi(-i32::from(*rank))).sum();
    let raw = 0.7213 / (1.0 + 1.079 / size) * size * size / sum;
    let empty = registers.iter().filter(|rank| **rank == 0).count();
    let linear = empty > 0 && raw <= 2.5 * size;
    (if linear { size * (size / empty as f64).ln() } else { raw }).round() as i64
}

/// SplitMix64's finisher.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(values: std::ops::Range<u64>, times: i64) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            let scalar = || Ok::<_, ()>(ScalarValue::UInt64(Some(value)));
            sketch.add(mixed(value.wrapping_mul(0x9e37_79b9_7f4a_7c15)), times, scalar).unwrap();
        }
        sketch
    }

    #[test]
    fn few_are_counted_and_many_estimated() {
        let few = sketch(0..1000, 7);
        assert!(matches!(&few, Sketch::Few(_)) && few.different() == 1000);
        for size in [5_000_u64, 100_000] {
            let many = sketch(0..size, 1).merged(sketch(size / 2..size, 1));
            let error = many.different() as f64 / size as f64 - 1.0;
            assert!(error.abs() < 0.05, "{size}: {error}");
        }
    }

    #[test]
    fn the_sample_is_of_all_rows_alike() {
        let Sketch::Many { sample, drawn, .. } =
            sketch(0..1000, 100).merged(sketch(1000..41_000, 1)).spread()
        else {
            panic!("there are many")
        };
        assert_eq!((drawn, sample.len()), (140_000, SAMPLE));
        let old =
            sample.iter().filter(|row| matches!(row.value, ScalarValue::UInt64(Some(value)) if value < 1000));
        let share = old.count() as f64 / SAMPLE as f64;
        assert!((share - 100.0 / 140.0).abs() < 0.03, "{share}");
    }
}
