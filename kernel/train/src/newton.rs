//! Damped Newton, proximal when there is an L1 penalty or bounds: for designs narrow enough for a dense Hessian.

use crate::{
    evaluate::{Pass, Point, Want},
    fit::{Flow, Iteration, Outcome, Settings, Stop},
    linalg::{damped_cholesky, solve},
};

/// The least share of the predicted decrease that a step must bring.
const ARMIJO: f64 = 1e-4;
/// The most halvings of a step.
const HALVINGS: usize = 50;
/// The most sweeps over the coordinates of one quadratic model.
const SWEEPS: usize = 2000;

/// Minimises from zero; `tolerance` is on the sum scale.
pub(crate) fn minimise(
    pass: &Pass<'_>,
    settings: &Settings,
    tolerance: f64,
    progress: &mut dyn FnMut(&Iteration) -> Flow,
) -> Outcome {
    let shape = Shape { cols: pass.data.design.cols(), l1: settings.l1, bounds: settings.bounds };
    let mut b = vec![0.0; pass.size()];
    shape.clip(&mut b);
    let mut point = pass.at(&b, Want::Hessian);
    let mut trace = Vec::new();
    let mut step = 0.0;
    let stop = loop {
        if (pass.interrupted)() {
            break Stop::Cancelled;
        }
        let objective = point.smooth + shape.l1_of(&b);
        let gradient_norm = shape.residual(&point.gradient, &b);
        let line =
            Iteration { number: trace.len(), objective, data_loss: point.data_loss, gradient_norm, step };
        let previous = trace.last().map(|line: &Iteration| line.objective);
        trace.push(line);
        if progress(&line) == Flow::Stop {
            break Stop::Cancelled;
        }
        if gradient_norm <= tolerance {
            break Stop::Converged;
        }
        if let (Some(previous), Some(least)) = (previous, settings.min_relative_progress)
            && previous - objective <= least * previous.abs()
        {
            break Stop::SmallProgress;
        }
        if trace.len() > settings.max_iterations {
            break Stop::MaxIterations;
        }
        let direction = shape.direction(&point, &b, pass.interrupted);
        let found = search(pass, &shape, &b, &point, &direction);
        match found {
            _ if (pass.interrupted)() => break Stop::Cancelled,
            Some((next, at, length)) => (b, point, step) = (next, at, length),
            None => break Stop::Precision,
        }
    };
    Outcome { parameters: b, trace, stop }
}

/// The non-smooth part of the objective: which parameters are penalised and bounded (the first `cols`).
struct Shape {
    cols: usize,
    l1: f64,
    bounds: Option<(f64, f64)>,
}

impl Shape {
    fn l1_of(&self, b: &[f64]) -> f64 {
        if self.l1 == 0.0 { 0.0 } else { self.l1 * b[..self.cols].iter().map(|b| b.abs()).sum::<f64>() }
    }

    fn clip(&self, b: &mut [f64]) {
        if let Some((low, high)) = self.bounds {
            b[..self.cols].iter_mut().for_each(|b| *b = b.clamp(low, high));
        }
    }

    /// Largest entry of the minimum-norm subgradient, with what pushes against a bound left out.
    fn residual(&self, gradient: &[f64], b: &[f64]) -> f64 {
        let entry = |j: usize| {
            let g = gradient[j];
            if j >= self.cols {
                return g.abs();
            }
            let mut g = match b[j] {
                v if v > 0.0 => g + self.l1,
                v if v < 0.0 => g - self.l1,
                _ => g.signum() * (g.abs() - self.l1).max(0.0),
            };
            if let Some((low, high)) = self.bounds {
                if b[j] <= low {
                    g = g.min(0.0);
                }
                if b[j] >= high {
                    g = g.max(0.0);
                }
            }
            g.abs()
        };
        (0..gradient.len()).map(entry).fold(0.0, f64::max)
    }

    /// The Newton direction of the quadratic model at `b`.
    fn direction(&self, point: &Point, b: &[f64], interrupted: &dyn Fn() -> bool) -> Vec<f64> {
        let n = b.len();
        if self.l1 == 0.0 && self.bounds.is_none() {
            let mut direction: Vec<f64> = point.gradient.iter().map(|g| -g).collect();
            solve(&damped_cholesky(&point.hessian, n), n, &mut direction);
            return direction;
        }
        self.coordinate_descent(point, b, interrupted)
    }

    /// Minimises `g·d + d'Hd/2 + l1·|b + d|₁` within the bounds, coordinate by coordinate.
    fn coordinate_descent(&self, point: &Point, b: &[f64], interrupted: &dyn Fn() -> bool) -> Vec<f64> {
        let n = b.len();
        let h = |i: usize, j: usize| point.hessian[i.max(j) * n + i.min(j)];
        let floor = 1e-12 * (0..n).map(|i| h(i, i)).fold(1e-12, f64::max);
        let mut d = vec![0.0; n];
        let mut slope = point.gradient.clone();
        for _ in 0..SWEEPS {
            let mut largest: f64 = 0.0;
            let mut reach: f64 = 0.0;
            for j in 0..n {
                let curvature = h(j, j).max(floor);
                let at = b[j] + d[j];
                let mut target = at - slope[j] / curvature;
                if j < self.cols {
                    target = target.signum() * (target.abs() - self.l1 / curvature).max(0.0);
                    if let Some((low, high)) = self.bounds {
                        target = target.clamp(low, high);
                    }
                }
                let change = target - at;
                if change != 0.0 {
                    d[j] += change;
                    (0..n).for_each(|i| slope[i] += change * h(i, j));
                }
                largest = largest.max(change.abs());
                reach = reach.max(target.abs());
            }
            if largest <= 1e-13 * reach.max(1e-3) || interrupted() {
                break;
            }
        }
        d
    }
}

/// Backtracks along `direction` until the objective falls enough; nothing when it cannot fall any more.
fn search(
    pass: &Pass<'_>,
    shape: &Shape,
    b: &[f64],
    point: &Point,
    direction: &[f64],
) -> Option<(Vec<f64>, Point, f64)> {
    let objective = point.smooth + shape.l1_of(b);
    let at = |length: f64| -> Vec<f64> {
        let mut next: Vec<f64> = b.iter().zip(direction).map(|(b, d)| b + length * d).collect();
        shape.clip(&mut next);
        next
    };
    let slope: f64 = point.gradient.iter().zip(direction).map(|(g, d)| g * d).sum();
    let predicted = slope + shape.l1_of(&at(1.0)) - shape.l1_of(b);
    if predicted.is_nan() || predicted >= 0.0 {
        return None;
    }
    let noise = 4.0 * f64::EPSILON * objective.abs();
    let mut length = 1.0;
    for _ in 0..HALVINGS {
        if (pass.interrupted)() {
            return None;
        }
        let next = at(length);
        let want = if length == 1.0 { Want::Hessian } else { Want::Value };
        let mut found = pass.at(&next, want);
        let value = found.smooth + shape.l1_of(&next);
        if value <= objective + ARMIJO * length * predicted {
            if want != Want::Hessian {
                found = pass.at(&next, Want::Hessian);
            }
            return Some((next, found, length));
        }
        // At the limit of double precision the objective says nothing: let a full step pass if the residual falls.
        if length == 1.0 && -predicted <= noise.max(1e-12 * objective.abs()) {
            let better = shape.residual(&found.gradient, &next) < 0.5 * shape.residual(&point.gradient, b);
            return (better && value <= objective + noise).then_some((next, found, length));
        }
        length *= 0.5;
    }
    None
}
