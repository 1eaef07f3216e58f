//! One pass over the data: objective, gradient, Hessian at a point.
//!
//! Rows are cut into a fixed number of parts, each summed in row order, and the parts are added in order: the answer
//! is the same bit for bit whatever the number of threads.

use crate::{design::Design, fit::Data, loss::Loss};

/// How many parts rows are cut into; also the most threads a pass can use.
const PARTS: usize = 16;
/// The work (rows times columns, squared for the Hessian) after which a pass asks whether it was interrupted.
const PATIENCE: usize = 4 << 20;
/// Fewer rows than this are one part.
const SMALL: usize = 4096;

/// What a pass is over: the data and how its columns are scaled. Parameters are the columns' coefficients and, last,
/// the intercept when there is one.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub data: &'a Data<'a>,
    pub loss: Loss,
    /// Multiplies a column (1/sd when standardising).
    pub scale: Option<&'a [f64]>,
    pub intercept: bool,
    pub l2: f64,
    pub threads: usize,
    /// Asked every few rows; once it says yes the pass is given up and its sums mean nothing.
    pub interrupted: &'a (dyn Fn() -> bool + Sync),
}

/// Smooth part of the objective (data and L2) with what was asked of its derivatives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Point {
    pub data_loss: f64,
    pub smooth: f64,
    pub gradient: Vec<f64>,
    /// Row-major, lower triangle; empty unless asked for.
    pub hessian: Vec<f64>,
}

/// What of the derivatives a pass computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Want {
    Value,
    Gradient,
    Hessian,
}

impl Pass<'_> {
    /// How many parameters.
    pub(crate) fn size(&self) -> usize {
        self.data.design.cols() + usize::from(self.intercept)
    }

    /// Evaluates at `b`.
    pub(crate) fn at(&self, b: &[f64], want: Want) -> Point {
        let cols = self.data.design.cols();
        let size = self.size();
        let mut raw: Vec<f64> = b[..cols].to_vec();
        if let Some(scale) = self.scale {
            raw.iter_mut().zip(scale).for_each(|(b, s)| *b *= s);
        }
        let intercept = if self.intercept { b[cols] } else { 0.0 };
        let mut point = self.sum_parts(&raw, intercept, want);
        if let Some(scale) = self.scale {
            point.gradient.iter_mut().zip(scale).for_each(|(g, s)| *g *= s);
            if want == Want::Hessian {
                for i in 0..size {
                    for j in 0..=i {
                        let factor = scale.get(i).unwrap_or(&1.0) * scale.get(j).unwrap_or(&1.0);
                        point.hessian[i * size + j] *= factor;
                    }
                }
            }
        }
        point.smooth = point.data_loss + 0.5 * self.l2 * b[..cols].iter().map(|b| b * b).sum::<f64>();
        if want >= Want::Gradient {
            point.gradient.iter_mut().zip(&b[..cols]).for_each(|(g, b)| *g += self.l2 * b);
        }
        if want == Want::Hessian {
            (0..cols).for_each(|j| point.hessian[j * size + j] += self.l2);
        }
        point
    }

    fn sum_parts(&self, b: &[f64], intercept: f64, want: Want) -> Point {
        let rows = self.data.design.rows();
        let parts = if rows < SMALL { 1 } else { PARTS };
        let bounds = |part: usize| (part * rows / parts)..((part + 1) * rows / parts);
        let threads = self.threads.clamp(1, parts);
        let mut sums: Vec<Point> = if threads == 1 {
            (0..parts).map(|part| self.part(bounds(part), b, intercept, want)).collect()
        } else {
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads)
                    .map(|t| {
                        let mine = (t * parts / threads)..((t + 1) * parts / threads);
                        scope.spawn(move || {
                            mine.map(|part| self.part(bounds(part), b, intercept, want)).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                workers
                    .into_iter()
                    .flat_map(|w| w.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)))
                    .collect()
            })
        };
        let mut total = std::mem::take(&mut sums[0]);
        for part in &sums[1..] {
            total.data_loss += part.data_loss;
            total.gradient.iter_mut().zip(&part.gradient).for_each(|(t, p)| *t += p);
            total.hessian.iter_mut().zip(&part.hessian).for_each(|(t, p)| *t += p);
        }
        total
    }

    fn part(&self, rows: std::ops::Range<usize>, b: &[f64], intercept: f64, want: Want) -> Point {
        let design: &Design = self.data.design;
        let size = self.size();
        let mut point = Point {
            gradient: if want >= Want::Gradient { vec![0.0; size] } else { Vec::new() },
            hessian: if want == Want::Hessian { vec![0.0; size * size] } else { Vec::new() },
            ..Point::default()
        };
        let last = (size.saturating_sub(1)) * size;
        let work = if want == Want::Hessian { size * size } else { size };
        let every = (PATIENCE / work.max(1)).max(1);
        let first_row = rows.start;
        for i in rows {
            if (i - first_row).is_multiple_of(every) && (self.interrupted)() {
                break;
            }
            let weight = self.data.weights.map_or(1.0, |w| w[i]);
            if weight == 0.0 {
                continue;
            }
            let row = design.row(i);
            let z = row.dot(b) + intercept + self.data.offsets.map_or(0.0, |o| o[i]);
            let (value, first, second) = self.loss.at(z, self.data.labels[i]);
            point.data_loss += weight * value;
            if want == Want::Value {
                continue;
            }
            row.add_to(weight * first, &mut point.gradient);
            if self.intercept {
                point.gradient[size - 1] += weight * first;
            }
            let second = weight * second;
            if want == Want::Hessian && second != 0.0 {
                row.add_outer(second, &mut point.hessian, size);
                if self.intercept {
                    row.add_to(second, &mut point.hessian[last..last + size - 1]);
                    point.hessian[last + size - 1] += second;
                }
            }
        }
        point
    }
}
