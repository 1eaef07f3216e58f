//! Training on plain arrays: generalised linear models and the metrics that judge them.
//!
//! Nothing here knows SQL, Arrow, files or sockets: slices in, a model and an exact report out. Shapes and units:
//!
//! * a [`Design`] has `rows` × `cols`, row-major when dense, compressed by rows when sparse; all values finite;
//! * labels, weights and offsets have one entry per row; offsets and scores are on the link scale (log-odds for
//!   the logistic loss, log of the mean for Poisson), weights multiply a row's loss;
//! * the objective is a **sum** over rows, not a mean: `Σ wᵢ·loss(xᵢ·b + b₀ + offsetᵢ, yᵢ) + l1·|b|₁ + l2/2·|b|₂²`,
//!   and the intercept `b₀` is free of both penalties (Photon-ML's objective; scikit-learn's with `C = 1/l2`).
//!
//! Methods: damped Newton with a dense Hessian while the design is narrow (Lee, Sun, Saunders, "Proximal Newton-type
//! methods", SIAM J. Optim. 2014, for L1 and bounds), limited-memory quasi-Newton beyond (Liu and Nocedal 1989;
//! OWL-QN of Andrew and Gao, ICML 2007, for L1). Rectified smoothed hinge: Rennie and Srebro, IJCAI 2005.

mod design;
mod error;
mod evaluate;
mod fit;
mod linalg;
mod loss;
pub mod metrics;
mod newton;
mod quasi;

pub use design::{Design, DesignBuilder, Row};
pub use error::TrainError;
pub use fit::{
    Data, Fit, Flow, Iteration, Method, Model, NEWTON_MAX_COLUMNS, Settings, Stop, fit, fit_interruptibly,
};
pub use loss::{Loss, sigmoid};
