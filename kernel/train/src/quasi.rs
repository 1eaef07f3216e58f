//! Limited-memory quasi-Newton for wide designs: L-BFGS, and OWL-QN when there is an L1 penalty.

use std::collections::VecDeque;

use crate::{
    evaluate::{Pass, Point, Want},
    fit::{Flow, Iteration, Outcome, Settings, Stop},
};

/// How many curvature pairs are kept.
const MEMORY: usize = 10;
/// The least share of the predicted decrease that a step must bring.
const ARMIJO: f64 = 1e-4;
/// The most halvings of a step.
const HALVINGS: usize = 50;

/// One curvature pair: step, change of gradient, 1/(their product).
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// Minimises from zero; `tolerance` is on the sum scale.
pub(crate) fn minimise(
    pass: &Pass<'_>,
    settings: &Settings,
    tolerance: f64,
    progress: &mut dyn FnMut(&Iteration) -> Flow,
) -> Outcome {
    let cols = pass.data.design.cols();
    let l1 = settings.l1;
    let l1_of = |b: &[f64]| if l1 == 0.0 { 0.0 } else { l1 * b[..cols].iter().map(|b| b.abs()).sum::<f64>() };
    let mut b = vec![0.0; pass.size()];
    let mut point = pass.at(&b, Want::Gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let mut trace: Vec<Iteration> = Vec::new();
    let mut step = 0.0;
    let stop = loop {
        if (pass.interrupted)() {
            break Stop::Cancelled;
        }
        let steepest = pseudo_gradient(&point.gradient, &b, cols, l1);
        let objective = point.smooth + l1_of(&b);
        let gradient_norm = steepest.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let line =
            Iteration { number: trace.len(), objective, data_loss: point.data_loss, gradient_norm, step };
        let previous = trace.last().map(|line| line.objective);
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
        let mut found = None;
        for fresh in [false, true] {
            if fresh {
                pairs.clear();
            }
            let direction = direction(&steepest, &pairs, l1 > 0.0, cols);
            let first = if pairs.is_empty() { 1.0 / norm(&steepest).max(1e-300) } else { 1.0 };
            let ray = Ray { b: &b, steepest: &steepest, direction: &direction, cols, l1 };
            found = search(pass, &ray, objective, first);
            if found.is_some() {
                break;
            }
        }
        if (pass.interrupted)() {
            break Stop::Cancelled;
        }
        let Some((next, at, length)) = found else { break Stop::Precision };
        let s: Vec<f64> = next.iter().zip(&b).map(|(n, b)| n - b).collect();
        let y: Vec<f64> = at.gradient.iter().zip(&point.gradient).map(|(n, g)| n - g).collect();
        let sy = dot(&s, &y);
        if sy > 1e-12 * norm(&s) * norm(&y) {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair { s, y, rho: 1.0 / sy });
        }
        (b, point, step) = (next, at, length);
    };
    Outcome { parameters: b, trace, stop }
}

/// Minimum-norm subgradient.
fn pseudo_gradient(gradient: &[f64], b: &[f64], cols: usize, l1: f64) -> Vec<f64> {
    let entry = |(j, g): (usize, &f64)| match b[j] {
        _ if j >= cols || l1 == 0.0 => *g,
        v if v > 0.0 => g + l1,
        v if v < 0.0 => g - l1,
        _ => g.signum() * (g.abs() - l1).max(0.0),
    };
    gradient.iter().enumerate().map(entry).collect()
}

/// Two-loop recursion; with L1, entries that disagree with the steepest descent are dropped.
fn direction(steepest: &[f64], pairs: &VecDeque<Pair>, sparse: bool, cols: usize) -> Vec<f64> {
    let mut q: Vec<f64> = steepest.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let alpha = pair.rho * dot(&pair.s, &q);
        add(&mut q, -alpha, &pair.y);
        alphas.push(alpha);
    }
    if let Some(pair) = pairs.back() {
        let gamma = 1.0 / (pair.rho * dot(&pair.y, &pair.y));
        q.iter_mut().for_each(|q| *q *= gamma);
    }
    for (pair, alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = pair.rho * dot(&pair.y, &q);
        add(&mut q, alpha - beta, &pair.s);
    }
    if sparse {
        q[..cols].iter_mut().zip(steepest).for_each(|(q, g)| {
            if *q * g >= 0.0 {
                *q = 0.0;
            }
        });
    }
    q
}

/// Where a line search starts and goes.
struct Ray<'a> {
    b: &'a [f64],
    steepest: &'a [f64],
    direction: &'a [f64],
    cols: usize,
    l1: f64,
}

/// Backtracks within the orthant of the start; nothing when the objective cannot fall any more.
fn search(pass: &Pass<'_>, ray: &Ray<'_>, objective: f64, first: f64) -> Option<(Vec<f64>, Point, f64)> {
    let mut length = first;
    for _ in 0..HALVINGS {
        if (pass.interrupted)() {
            return None;
        }
        let mut next = ray.b.to_vec();
        add(&mut next, length, ray.direction);
        if ray.l1 > 0.0 {
            for (j, value) in next.iter_mut().enumerate().take(ray.cols) {
                let orthant = if ray.b[j] == 0.0 { -ray.steepest[j] } else { ray.b[j] };
                if *value * orthant <= 0.0 {
                    *value = 0.0;
                }
            }
        }
        let predicted: f64 =
            ray.steepest.iter().zip(next.iter().zip(ray.b)).map(|(g, (n, b))| g * (n - b)).sum();
        if predicted.is_nan() || predicted >= 0.0 {
            return None;
        }
        let found = pass.at(&next, Want::Gradient);
        let l1 = ray.l1 * next[..ray.cols].iter().map(|b| b.abs()).sum::<f64>();
        let value = found.smooth + l1;
        if value <= objective + ARMIJO * predicted && value < objective {
            return Some((next, found, length));
        }
        length *= 0.5;
    }
    None
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}
