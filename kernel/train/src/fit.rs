//! The training call: settings and data in, a model with an exact account of how it was reached out.

use crate::{
    design::{Design, finite},
    error::TrainError,
    evaluate::{Pass, Want},
    linalg::{damped_cholesky, solve},
    loss::{Loss, sigmoid},
    newton, quasi,
};

/// Up to this many columns Newton's method with a dense Hessian is used, beyond it limited-memory quasi-Newton.
pub const NEWTON_MAX_COLUMNS: usize = 1024;

/// What to train on. All arrays have one entry per row of the design.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// Features.
    pub design: &'a Design,
    /// Labels: 0/1 for logistic and smoothed hinge, any for squared, not negative for Poisson.
    pub labels: &'a [f64],
    /// Multiplies each row's loss; not negative; 1 when absent.
    pub weights: Option<&'a [f64]>,
    /// Added to each row's score; 0 when absent.
    pub offsets: Option<&'a [f64]>,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The loss.
    pub loss: Loss,
    /// Strength of `|b|₁` (sum objective).
    pub l1: f64,
    /// Strength of `|b|₂²/2` (sum objective).
    pub l2: f64,
    /// Whether there is an intercept (never penalised).
    pub intercept: bool,
    /// Scale columns to unit standard deviation before the penalty applies; coefficients come back in the columns'
    /// own units. (Centring changes nothing but the intercept, which is free.)
    pub standardise: bool,
    /// Lower and upper bound of every coefficient (the intercept is free); in the standardised units when standardising.
    pub bounds: Option<(f64, f64)>,
    /// The most iterations.
    pub max_iterations: usize,
    /// Converged when the largest entry of the mean (per unit of weight) minimum-norm subgradient is below this.
    pub tolerance: f64,
    /// Also stop when one iteration lowers the objective by less than this share of it.
    pub min_relative_progress: Option<f64>,
    /// Threads for a pass over the data; the answer does not depend on it.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            loss: Loss::Logistic,
            l1: 0.0,
            l2: 1.0,
            intercept: true,
            standardise: false,
            bounds: None,
            max_iterations: 100,
            tolerance: 1e-9,
            min_relative_progress: None,
            threads: 1,
        }
    }
}

/// One line of the training trace; line 0 is the starting point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Iteration {
    /// Number, from 0.
    pub number: usize,
    /// Penalised objective (sum).
    pub objective: f64,
    /// Its data part (sum), without penalties.
    pub data_loss: f64,
    /// Largest entry of the minimum-norm subgradient (sum scale): the optimality residual.
    pub gradient_norm: f64,
    /// Length of the accepted step as a share of the full one (0 in line 0).
    pub step: f64,
}

/// What the progress callback answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Carry on.
    Continue,
    /// Stop and keep the last good model.
    Stop,
}

/// Why the fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The optimality residual is below the tolerance.
    Converged,
    /// The objective cannot be lowered any more in double precision.
    Precision,
    /// One iteration's progress fell below `min_relative_progress`.
    SmallProgress,
    /// The iteration limit was reached first.
    MaxIterations,
    /// The callback asked to stop.
    Cancelled,
}

/// Which method was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Damped (proximal) Newton with the dense Hessian.
    Newton,
    /// L-BFGS, OWL-QN with an L1 penalty.
    QuasiNewton,
}

/// A linear predictor in the columns' own units.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The loss it was trained by, which fixes its link.
    pub loss: Loss,
    /// `b₀` (0 without an intercept).
    pub intercept: f64,
    /// One per column.
    pub coefficients: Vec<f64>,
}

impl Model {
    /// The mean response for a score: a probability for logistic, a rate for Poisson, the score itself otherwise.
    pub fn mean(&self, score: f64) -> f64 {
        match self.loss {
            Loss::Logistic => sigmoid(score),
            Loss::Poisson => score.exp(),
            Loss::Squared | Loss::SmoothedHinge => score,
        }
    }
}

/// A trained model and how it was reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The last good model.
    pub model: Model,
    /// Every iteration, from the starting point on.
    pub trace: Vec<Iteration>,
    /// Why it ended.
    pub stop: Stop,
    /// Whether the model is the optimum: `Converged`, or `Precision` with a residual that is small too.
    pub converged: bool,
    /// The method used.
    pub method: Method,
    /// Diagonal of the inverse Hessian at the model, columns first, then the intercept (Laplace variances; for the
    /// squared loss still to be multiplied by the noise variance). Newton only, and not of a cancelled fit.
    pub variances: Option<Vec<f64>>,
}

/// What both methods hand back: parameters in the scaled units.
pub(crate) struct Outcome {
    pub parameters: Vec<f64>,
    pub trace: Vec<Iteration>,
    pub stop: Stop,
}

/// Trains. `progress` is called after every iteration and may end the fit early, keeping the model reached.
pub fn fit(
    data: &Data<'_>,
    settings: &Settings,
    progress: &mut dyn FnMut(&Iteration) -> Flow,
) -> Result<Fit, TrainError> {
    fit_interruptibly(data, settings, &|| false, progress)
}

/// Trains, and asks `interrupted` several times a second, from several threads, also within an iteration. Once it says
/// yes (and it must go on saying yes) the fit ends as [`Stop::Cancelled`] with the model of the last whole iteration; an empty
/// trace means that there was none.
pub fn fit_interruptibly(
    data: &Data<'_>,
    settings: &Settings,
    interrupted: &(dyn Fn() -> bool + Sync),
    progress: &mut dyn FnMut(&Iteration) -> Flow,
) -> Result<Fit, TrainError> {
    let total_weight = check(data, settings)?;
    let cols = data.design.cols();
    let scale = settings.standardise.then(|| -> Vec<f64> {
        let unit = |sd: f64| if sd > 0.0 { 1.0 / sd } else { 1.0 };
        data.design.deviations().into_iter().map(unit).collect()
    });
    let pass = Pass {
        data,
        loss: settings.loss,
        scale: scale.as_deref(),
        intercept: settings.intercept,
        l2: settings.l2,
        threads: settings.threads,
        interrupted,
    };
    let tolerance = settings.tolerance * total_weight;
    let method = if cols <= NEWTON_MAX_COLUMNS { Method::Newton } else { Method::QuasiNewton };
    let outcome = match method {
        Method::Newton => newton::minimise(&pass, settings, tolerance, progress),
        Method::QuasiNewton => quasi::minimise(&pass, settings, tolerance, progress),
    };
    let whole = method == Method::Newton && outcome.stop != Stop::Cancelled;
    let variances = whole.then(|| variances(&pass, &outcome.parameters)).filter(|_| !interrupted());
    let mut coefficients = outcome.parameters[..cols].to_vec();
    let variances = variances.map(|mut v| {
        if let Some(scale) = &scale {
            v.iter_mut().zip(scale).for_each(|(v, s)| *v *= s * s);
        }
        v
    });
    if let Some(scale) = &scale {
        coefficients.iter_mut().zip(scale).for_each(|(b, s)| *b *= s);
    }
    let residual = outcome.trace.last().map_or(f64::INFINITY, |line| line.gradient_norm);
    let converged = match outcome.stop {
        Stop::Converged => true,
        Stop::Precision => residual <= 1e-6 * total_weight,
        Stop::SmallProgress | Stop::MaxIterations | Stop::Cancelled => false,
    };
    let intercept = if settings.intercept { outcome.parameters[cols] } else { 0.0 };
    Ok(Fit {
        model: Model { loss: settings.loss, intercept, coefficients },
        trace: outcome.trace,
        stop: outcome.stop,
        converged,
        method,
        variances,
    })
}

/// Checks every argument; the total weight comes back.
fn check(data: &Data<'_>, settings: &Settings) -> Result<f64, TrainError> {
    let rows = data.design.rows();
    let shape = |what, found| {
        if found == rows { Ok(()) } else { Err(TrainError::Shape { what, found, expected: rows }) }
    };
    shape("labels", data.labels.len())?;
    settings.loss.check_labels(data.labels)?;
    if let Some(weights) = data.weights {
        shape("weights", weights.len())?;
        finite("weights", weights)?;
        if let Some(at) = weights.iter().position(|w| *w < 0.0) {
            return Err(TrainError::NotFinite { what: "weights (not negative)", at });
        }
    }
    if let Some(offsets) = data.offsets {
        shape("offsets", offsets.len())?;
        finite("offsets", offsets)?;
    }
    for (name, value) in [("l1", settings.l1), ("l2", settings.l2)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(TrainError::Setting { name, why: "must be a finite number, not negative" });
        }
    }
    if !(settings.tolerance.is_finite() && settings.tolerance > 0.0) {
        return Err(TrainError::Setting { name: "tolerance", why: "must be a positive number" });
    }
    if let Some((low, high)) = settings.bounds {
        if low.is_nan() || high.is_nan() || low > high {
            return Err(TrainError::Setting { name: "bounds", why: "the lower must not exceed the upper" });
        }
        if data.design.cols() > NEWTON_MAX_COLUMNS {
            let columns = data.design.cols();
            return Err(TrainError::TooWideForBounds { columns, limit: NEWTON_MAX_COLUMNS });
        }
    }
    let total = data.weights.map_or(rows as f64, |w| w.iter().sum());
    if total > 0.0 { Ok(total) } else { Err(TrainError::Empty) }
}

/// Diagonal of the inverse of the (damped) Hessian.
fn variances(pass: &Pass<'_>, parameters: &[f64]) -> Vec<f64> {
    let n = pass.size();
    let factor = damped_cholesky(&pass.at(parameters, Want::Hessian).hessian, n);
    let mut unit = vec![0.0; n];
    (0..n)
        .map(|i| {
            unit.fill(0.0);
            unit[i] = 1.0;
            solve(&factor, n, &mut unit);
            unit[i]
        })
        .collect()
}
