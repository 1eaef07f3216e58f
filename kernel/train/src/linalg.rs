//! The little dense linear algebra that Newton steps need: Cholesky of a symmetric matrix, lower triangle used.

/// Lower Cholesky factor of the `n` × `n` row-major matrix `a` (lower triangle read), or nothing when it is not
/// positive definite to working precision.
pub(crate) fn cholesky(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut l = vec![0.0; n * n];
    let largest = (0..n).map(|i| a[i * n + i]).fold(0.0, f64::max);
    for i in 0..n {
        for j in 0..=i {
            let (row_i, row_j) = (&l[i * n..i * n + j], &l[j * n..j * n + j]);
            let sum: f64 = row_i.iter().zip(row_j).map(|(x, y)| x * y).sum();
            let rest = a[i * n + j] - sum;
            if i == j {
                if !rest.is_finite() || rest <= 1e-14 * largest {
                    return None;
                }
                l[i * n + i] = rest.sqrt();
            } else {
                l[i * n + j] = rest / l[j * n + j];
            }
        }
    }
    Some(l)
}

/// Solves `L Lᵀ x = b` in place.
pub(crate) fn solve(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| l[i * n + k] * b[k]).sum();
        b[i] = (b[i] - sum) / l[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| l[k * n + i] * b[k]).sum();
        b[i] = (b[i] - sum) / l[i * n + i];
    }
}

/// The factor of `a`, with as much added to the diagonal as it needs (0 in the regular case).
pub(crate) fn damped_cholesky(a: &[f64], n: usize) -> Vec<f64> {
    if let Some(l) = cholesky(a, n) {
        return l;
    }
    let scale = (0..n).map(|i| a[i * n + i].abs()).fold(1e-12, f64::max);
    let mut damping = 1e-10 * scale;
    loop {
        let mut b = a.to_vec();
        (0..n).for_each(|i| b[i * n + i] += damping);
        if let Some(l) = cholesky(&b, n) {
            return l;
        }
        if !damping.is_finite() || damping > 1e10 * scale {
            // Not a number in the matrix: fall back to the identity, a gradient step.
            return (0..n * n).map(|k| if k / n == k % n { 1.0 } else { 0.0 }).collect();
        }
        damping *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves() {
        let a = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 1.0, 3.0, 6.0];
        let l = cholesky(&a, 3).unwrap();
        let mut x = [9.0, 21.0, 25.0];
        solve(&l, 3, &mut x);
        // 4x+2y+z=9, 2x+5y+3z=21, x+3y+6z=25
        assert!((4.0 * x[0] + 2.0 * x[1] + x[2] - 9.0).abs() < 1e-12);
        assert!((2.0 * x[0] + 5.0 * x[1] + 3.0 * x[2] - 21.0).abs() < 1e-12);
        assert!((x[0] + 3.0 * x[1] + 6.0 * x[2] - 25.0).abs() < 1e-12);
    }

    #[test]
    fn singular_is_noticed_and_damped() {
        let a = [1.0, 0.0, 1.0, 1.0];
        assert!(cholesky(&a, 2).is_none());
        let mut x = [1.0, 1.0];
        solve(&damped_cholesky(&a, 2), 2, &mut x);
        assert!((x[0] + x[1] - 1.0).abs() < 1e-6);
    }
}
