//! What can be wrong with the arguments of a training call.

/// Why a fit or a metric could not be computed at all (slow convergence is reported in the fit, not here).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// An array does not have one entry per row, or an index points outside the design.
    #[error("{what} has {found} entries, {expected} are needed")]
    Shape {
        /// Which argument.
        what: &'static str,
        /// Entries found.
        found: usize,
        /// Entries needed.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error("{what} holds a value that is not finite (entry {at})")]
    NotFinite {
        /// Which argument.
        what: &'static str,
        /// Its position in that argument.
        at: usize,
    },
    /// A label does not suit the loss (not 0/1, or negative for Poisson).
    #[error("label {value} (row {at}) does not suit the {loss} loss")]
    Label {
        /// The label.
        value: f64,
        /// Its row.
        at: usize,
        /// The loss's name.
        loss: &'static str,
    },
    /// A setting is out of its range.
    #[error("setting {name}: {why}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There are no rows, or all weights are zero.
    #[error("there is nothing to train on: no rows with a positive weight")]
    Empty,
    /// Bounds were asked for on a design too wide for the method that honours them.
    #[error("bounds need at most {limit} columns, the design has {columns}")]
    TooWideForBounds {
        /// Columns in the design.
        columns: usize,
        /// The most that bounds are supported for.
        limit: usize,
    },
}
