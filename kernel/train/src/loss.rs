//! Pointwise losses: value, first and second derivative in the score `z`, for one row.

use crate::error::TrainError;

/// What a row's score is compared with its label by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// `log(1 + e^z) - y·z`, labels 0 and 1.
    Logistic,
    /// `(z - y)²/2`.
    Squared,
    /// `e^z - y·z`, labels not negative.
    Poisson,
    /// Rectified smoothed hinge on the margin `m = ±z`: `0.5 - m`, `(1 - m)²/2`, `0`; labels 0 and 1.
    SmoothedHinge,
}

impl Loss {
    /// The loss's name as messages give it.
    pub fn name(self) -> &'static str {
        match self {
            Loss::Logistic => "logistic",
            Loss::Squared => "squared",
            Loss::Poisson => "Poisson",
            Loss::SmoothedHinge => "smoothed hinge",
        }
    }

    /// `(loss, first, second)` at score `z` and label `y`.
    pub(crate) fn at(self, z: f64, y: f64) -> (f64, f64, f64) {
        match self {
            Loss::Logistic => {
                let p = sigmoid(z);
                (softplus(z) - y * z, p - y, p * (1.0 - p))
            }
            Loss::Squared => (0.5 * (z - y) * (z - y), z - y, 1.0),
            Loss::Poisson => {
                let mean = z.exp();
                (mean - y * z, mean - y, mean)
            }
            Loss::SmoothedHinge => {
                let sign = if y > 0.5 { 1.0 } else { -1.0 };
                let margin = sign * z;
                if margin >= 1.0 {
                    (0.0, 0.0, 0.0)
                } else if margin <= 0.0 {
                    (0.5 - margin, -sign, 0.0)
                } else {
                    (0.5 * (1.0 - margin) * (1.0 - margin), -sign * (1.0 - margin), 1.0)
                }
            }
        }
    }

    /// Refuses labels that the loss has no meaning for.
    pub(crate) fn check_labels(self, labels: &[f64]) -> Result<(), TrainError> {
        let suits = |y: f64| match self {
            Loss::Logistic | Loss::SmoothedHinge => y == 0.0 || y == 1.0,
            Loss::Squared => y.is_finite(),
            Loss::Poisson => y.is_finite() && y >= 0.0,
        };
        match labels.iter().position(|y| !suits(*y)) {
            Some(at) => Err(TrainError::Label { value: labels[at], at, loss: self.name() }),
            None => Ok(()),
        }
    }
}

/// `1/(1 + e^-z)` without overflow.
pub fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

/// `log(1 + e^z)` without overflow or cancellation.
pub(crate) fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_match_differences() {
        for loss in [Loss::Logistic, Loss::Squared, Loss::Poisson, Loss::SmoothedHinge] {
            for y in [0.0, 1.0] {
                for z in [-3.1, -0.4, 0.3, 0.7, 2.2] {
                    let h = 1e-5;
                    let (_, first, second) = loss.at(z, y);
                    let numeric = (loss.at(z + h, y).0 - loss.at(z - h, y).0) / (2.0 * h);
                    let numeric2 = (loss.at(z + h, y).1 - loss.at(z - h, y).1) / (2.0 * h);
                    assert!((first - numeric).abs() < 1e-8, "{loss:?} {y} {z}");
                    assert!((second - numeric2).abs() < 1e-8, "{loss:?} {y} {z}");
                }
            }
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for z in [-1e4, 1e4] {
            let (loss, first, second) = Loss::Logistic.at(z, 1.0);
            assert!(loss.is_finite() && first.is_finite() && second >= 0.0);
        }
        assert_eq!(softplus(-800.0), 0.0);
        assert_eq!(softplus(800.0), 800.0);
    }
}
