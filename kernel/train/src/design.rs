//! The design matrix: rows of features, dense (row-major) or sparse (compressed rows).

use crate::error::TrainError;

/// Features of all rows. Built once, checked once, read many times.
#[derive(Debug, Clone)]
pub struct Design {
    rows: usize,
    cols: usize,
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    Dense(Vec<f64>),
    Sparse { starts: Vec<usize>, columns: Vec<u32>, values: Vec<f64> },
}

/// One row of a [`Design`].
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// Every column's value.
    Dense(&'a [f64]),
    /// Column numbers (ascending) and their values; all others are zero.
    Sparse(&'a [u32], &'a [f64]),
}

impl Design {
    /// A dense design of `rows * cols` values, row after row.
    pub fn dense(rows: usize, cols: usize, values: Vec<f64>) -> Result<Self, TrainError> {
        if values.len() != rows.saturating_mul(cols) {
            return Err(TrainError::Shape {
                what: "design",
                found: values.len(),
                expected: rows.saturating_mul(cols),
            });
        }
        finite("design", &values)?;
        Ok(Self { rows, cols, store: Store::Dense(values) })
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns, the intercept not counted.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// One row; the caller stays below [`Design::rows`].
    pub fn row(&self, index: usize) -> Row<'_> {
        match &self.store {
            Store::Dense(values) => Row::Dense(&values[index * self.cols..(index + 1) * self.cols]),
            Store::Sparse { starts, columns, values } => {
                let range = starts[index]..starts[index + 1];
                Row::Sparse(&columns[range.clone()], &values[range])
            }
        }
    }

    /// Scores `x·coefficients + intercept + offset`, one per row.
    pub fn scores(
        &self,
        coefficients: &[f64],
        intercept: f64,
        offsets: Option<&[f64]>,
    ) -> Result<Vec<f64>, TrainError> {
        if coefficients.len() != self.cols {
            return Err(TrainError::Shape {
                what: "coefficients",
                found: coefficients.len(),
                expected: self.cols,
            });
        }
        if let Some(offsets) = offsets
            && offsets.len() != self.rows
        {
            return Err(TrainError::Shape { what: "offsets", found: offsets.len(), expected: self.rows });
        }
        Ok((0..self.rows)
            .map(|i| self.row(i).dot(coefficients) + intercept + offsets.map_or(0.0, |o| o[i]))
            .collect())
    }

    /// Standard deviation (n - 1) of each column.
    pub(crate) fn deviations(&self) -> Vec<f64> {
        let n = self.rows as f64;
        let mut mean = vec![0.0; self.cols];
        for i in 0..self.rows {
            self.row(i).add_to(1.0, &mut mean);
        }
        mean.iter_mut().for_each(|m| *m /= n.max(1.0));
        // Σ(x - m)² of a sparse column: over its stored values, plus m² for every zero.
        let mut squares = vec![0.0; self.cols];
        let mut stored = vec![0usize; self.cols];
        for i in 0..self.rows {
            self.row(i).each(|j, v| {
                squares[j] += (v - mean[j]) * (v - mean[j]);
                stored[j] += 1;
            });
        }
        (0..self.cols)
            .map(|j| {
                let zeros = (self.rows - stored[j]) as f64;
                ((squares[j] + zeros * mean[j] * mean[j]) / (n - 1.0).max(1.0)).sqrt()
            })
            .collect()
    }
}

impl Row<'_> {
    /// `x·b`.
    pub fn dot(&self, b: &[f64]) -> f64 {
        match self {
            Row::Dense(x) => x.iter().zip(b).map(|(x, b)| x * b).sum(),
            Row::Sparse(columns, values) => {
                columns.iter().zip(*values).map(|(j, v)| v * b[*j as usize]).sum()
            }
        }
    }

    /// `out += factor · x`.
    pub(crate) fn add_to(&self, factor: f64, out: &mut [f64]) {
        match self {
            Row::Dense(x) => x.iter().zip(out).for_each(|(x, o)| *o += factor * x),
            Row::Sparse(columns, values) => {
                columns.iter().zip(*values).for_each(|(j, v)| out[*j as usize] += factor * v);
            }
        }
    }

    /// Adds `factor · x xᵀ` to the lower triangle of a row-major matrix of width `n`.
    pub(crate) fn add_outer(&self, factor: f64, matrix: &mut [f64], n: usize) {
        match self {
            Row::Dense(x) => {
                for (i, xi) in x.iter().enumerate() {
                    let f = factor * xi;
                    matrix[i * n..=i * n + i].iter_mut().zip(*x).for_each(|(m, xj)| *m += f * xj);
                }
            }
            Row::Sparse(columns, values) => {
                for (a, i) in columns.iter().enumerate() {
                    let f = factor * values[a];
                    let line = &mut matrix[*i as usize * n..(*i as usize + 1) * n];
                    for (j, v) in columns[..=a].iter().zip(&values[..=a]) {
                        line[*j as usize] += f * v;
                    }
                }
            }
        }
    }

    /// Calls `f(column, value)` for every stored value.
    pub(crate) fn each(&self, mut f: impl FnMut(usize, f64)) {
        match self {
            Row::Dense(x) => x.iter().enumerate().for_each(|(j, v)| f(j, *v)),
            Row::Sparse(columns, values) => {
                columns.iter().zip(*values).for_each(|(j, v)| f(*j as usize, *v));
            }
        }
    }
}

/// Builds a sparse design row by row.
#[derive(Debug)]
pub struct DesignBuilder {
    cols: usize,
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl DesignBuilder {
    /// An empty design of `cols` columns with room for `rows` rows of `per_row` values.
    pub fn new(cols: usize, rows: usize, per_row: usize) -> Self {
        let room = rows.saturating_mul(per_row);
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(0);
        Self { cols, starts, columns: Vec::with_capacity(room), values: Vec::with_capacity(room) }
    }

    /// Adds a value to the row being built; columns ascend within a row.
    pub fn push(&mut self, column: u32, value: f64) {
        if value != 0.0 {
            self.columns.push(column);
            self.values.push(value);
        }
    }

    /// Ends the row being built.
    pub fn end_row(&mut self) {
        self.starts.push(self.columns.len());
    }

    /// The finished design, checked.
    pub fn finish(self) -> Result<Design, TrainError> {
        finite("design", &self.values)?;
        for range in self.starts.windows(2) {
            let row = &self.columns[range[0]..range[1]];
            if let Some(pair) = row.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(TrainError::Shape {
                    what: "columns of a row (ascending)",
                    found: pair[1] as usize,
                    expected: pair[0] as usize + 1,
                });
            }
            if let Some(last) = row.last()
                && *last as usize >= self.cols
            {
                return Err(TrainError::Shape {
                    what: "column number",
                    found: *last as usize,
                    expected: self.cols,
                });
            }
        }
        Ok(Design {
            rows: self.starts.len() - 1,
            cols: self.cols,
            store: Store::Sparse { starts: self.starts, columns: self.columns, values: self.values },
        })
    }
}

/// Refuses NaN and infinities.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<(), TrainError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(TrainError::NotFinite { what, at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_and_dense_agree() {
        let dense = Design::dense(3, 2, vec![1.0, 0.0, 0.0, 2.0, 3.0, 4.0]).unwrap();
        let mut builder = DesignBuilder::new(2, 3, 2);
        for row in [[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]] {
            builder.push(0, row[0]);
            builder.push(1, row[1]);
            builder.end_row();
        }
        let sparse = builder.finish().unwrap();
        let b = [0.5, -1.0];
        assert_eq!(dense.scores(&b, 1.0, None).unwrap(), sparse.scores(&b, 1.0, None).unwrap());
        for (x, y) in dense.deviations().iter().zip(sparse.deviations()) {
            assert!((x - y).abs() < 1e-12, "{x} {y}");
        }
    }

    #[test]
    fn bad_designs_are_refused() {
        assert!(matches!(Design::dense(2, 2, vec![0.0; 3]), Err(TrainError::Shape { .. })));
        assert!(matches!(Design::dense(1, 1, vec![f64::NAN]), Err(TrainError::NotFinite { at: 0, .. })));
        for columns in [[1, 0], [1, 1], [0, 9]] {
            let mut builder = DesignBuilder::new(3, 1, 2);
            columns.iter().for_each(|c| builder.push(*c, 1.0));
            builder.end_row();
            assert!(builder.finish().is_err(), "{columns:?}");
        }
    }
}
