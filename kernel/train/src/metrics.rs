//! Metrics of predictions against labels, with optional row weights. Ties are handled exactly.
//!
//! Definitions are scikit-learn's: `roc_auc` counts a tied pair as half, `average_precision` is the step-wise sum over
//! distinct scores, `log_loss` clips probabilities to [1e-15, 1 - 1e-15]. A metric that has no value on the data given
//! (one class only, no rows, logarithm of a negative) is `None`, never a made-up number.

/// Classification at a threshold, and of the ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Classification {
    /// True positives among predicted positives; 0 when none is predicted.
    pub precision: f64,
    /// True positives among positives; 0 when there are none.
    pub recall: f64,
    /// Share predicted right.
    pub accuracy: f64,
    /// Harmonic mean of precision and recall.
    pub f1_score: f64,
    /// Mean negative log-likelihood (nats).
    pub log_loss: Option<f64>,
    /// Area under the receiver operating curve.
    pub roc_auc: Option<f64>,
    /// Area under the precision-recall curve, step-wise.
    pub average_precision: Option<f64>,
}

/// Classification metrics of probabilities; positive when `probability >= threshold`. Labels are 0 or 1.
pub fn classification(
    probabilities: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
    threshold: f64,
) -> Classification {
    let (mut hit, mut false_alarm, mut miss, mut right, mut total) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (i, (p, y)) in probabilities.iter().zip(labels).enumerate() {
        let w = weight(weights, i);
        total += w;
        match (*p >= threshold, *y > 0.5) {
            (true, true) => (hit, right) = (hit + w, right + w),
            (true, false) => false_alarm += w,
            (false, true) => miss += w,
            (false, false) => right += w,
        }
    }
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    Classification {
        precision: share(hit, hit + false_alarm),
        recall: share(hit, hit + miss),
        accuracy: share(right, total),
        f1_score: share(2.0 * hit, 2.0 * hit + false_alarm + miss),
        log_loss: log_loss(probabilities, labels, weights),
        roc_auc: roc_auc(probabilities, labels, weights),
        average_precision: average_precision(probabilities, labels, weights),
    }
}

/// Regression metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regression {
    /// Mean absolute error, in the label's units.
    pub mean_absolute_error: Option<f64>,
    /// Mean squared error, in squared units.
    pub mean_squared_error: Option<f64>,
    /// Mean of `(ln(1+prediction) - ln(1+label))²`; none when either is -1 or less.
    pub mean_squared_log_error: Option<f64>,
    /// Median absolute error (mean of the two middle ones when even; unweighted).
    pub median_absolute_error: Option<f64>,
    /// `1 - Σ(y-p)²/Σ(y-ȳ)²`; none when labels do not vary.
    pub r2_score: Option<f64>,
    /// `1 - Var(y-p)/Var(y)`; none when labels do not vary.
    pub explained_variance: Option<f64>,
}

/// Regression metrics of predictions.
pub fn regression(predictions: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Regression {
    let mean = |f: &dyn Fn(f64, f64) -> f64| weighted_mean(predictions, labels, weights, f);
    let label_mean = mean(&|_, y| y).unwrap_or(0.0);
    let error_mean = mean(&|p, y| y - p).unwrap_or(0.0);
    let squared = mean(&|p, y| (y - p) * (y - p));
    let variance = mean(&|_, y| (y - label_mean) * (y - label_mean)).filter(|v| *v > 0.0);
    let error_variance = mean(&|p, y| (y - p - error_mean) * (y - p - error_mean));
    let ratio = |part: Option<f64>| Some(1.0 - part? / variance?);
    let logs = predictions.iter().chain(labels).all(|v| *v > -1.0);
    let mut errors: Vec<f64> = predictions.iter().zip(labels).map(|(p, y)| (y - p).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let middle = errors.len() / 2;
    let median = match errors.len() {
        0 => None,
        n if n % 2 == 1 => Some(errors[middle]),
        _ => Some(0.5 * (errors[middle - 1] + errors[middle])),
    };
    Regression {
        mean_absolute_error: mean(&|p, y| (y - p).abs()),
        mean_squared_error: squared,
        mean_squared_log_error: logs
            .then(|| mean(&|p, y| (p.ln_1p() - y.ln_1p()) * (p.ln_1p() - y.ln_1p())))
            .flatten(),
        median_absolute_error: median,
        r2_score: ratio(squared),
        explained_variance: ratio(error_variance),
    }
}

/// Mean negative log-likelihood of 0/1 labels under `probabilities`.
pub fn log_loss(probabilities: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    weighted_mean(probabilities, labels, weights, &|p, y| {
        let p = p.clamp(1e-15, 1.0 - 1e-15);
        if y > 0.5 { -p.ln() } else { -(-p).ln_1p() }
    })
}

/// Mean squared difference of probability and 0/1 label.
pub fn brier(probabilities: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    weighted_mean(probabilities, labels, weights, &|p, y| (p - y) * (p - y))
}

/// Root mean squared error.
pub fn rmse(predictions: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    weighted_mean(predictions, labels, weights, &|p, y| (p - y) * (p - y)).map(f64::sqrt)
}

/// Area under the receiver operating curve; ties count half. None with one class only.
pub fn roc_auc(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    let (mut positives, mut negatives, mut area) = (0.0, 0.0, 0.0);
    for (positive, negative) in tie_groups(scores, labels, weights) {
        // Descending: what was seen before ranks above this group.
        area += negative * (positives + 0.5 * positive);
        positives += positive;
        negatives += negative;
    }
    (positives > 0.0 && negatives > 0.0).then(|| area / (positives * negatives))
}

/// Average precision. None without positives.
pub fn average_precision(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    let (mut positives, mut seen, mut sum) = (0.0, 0.0, 0.0);
    for (positive, negative) in tie_groups(scores, labels, weights) {
        positives += positive;
        seen += positive + negative;
        if seen > 0.0 {
            sum += positive * positives / seen;
        }
    }
    (positives > 0.0).then(|| sum / positives)
}

/// Plain mean of the groups' AUC, groups with one class left out; also how many groups counted.
pub fn grouped_roc_auc(scores: &[f64], labels: &[f64], groups: &[u32]) -> Option<(f64, usize)> {
    let mut order: Vec<usize> = (0..scores.len().min(labels.len()).min(groups.len())).collect();
    order.sort_by_key(|i| groups[*i]);
    let (mut sum, mut count) = (0.0, 0);
    for rows in order.chunk_by(|a, b| groups[*a] == groups[*b]) {
        let s: Vec<f64> = rows.iter().map(|i| scores[*i]).collect();
        let y: Vec<f64> = rows.iter().map(|i| labels[*i]).collect();
        if let Some(auc) = roc_auc(&s, &y, None) {
            sum += auc;
            count += 1;
        }
    }
    (count > 0).then(|| (sum / count as f64, count))
}

/// Weight of positives and negatives at each distinct score, highest first.
fn tie_groups(scores: &[f64], labels: &[f64], weights: Option<&[f64]>) -> Vec<(f64, f64)> {
    let mut order: Vec<u32> = (0..scores.len().min(labels.len()) as u32).collect();
    order.sort_unstable_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
    order
        .chunk_by(|a, b| scores[*a as usize] == scores[*b as usize])
        .map(|rows| {
            rows.iter().fold((0.0, 0.0), |(positive, negative), i| {
                let w = weight(weights, *i as usize);
                if labels[*i as usize] > 0.5 { (positive + w, negative) } else { (positive, negative + w) }
            })
        })
        .collect()
}

fn weight(weights: Option<&[f64]>, i: usize) -> f64 {
    weights.map_or(1.0, |w| w[i])
}

fn weighted_mean(
    predictions: &[f64],
    labels: &[f64],
    weights: Option<&[f64]>,
    f: &dyn Fn(f64, f64) -> f64,
) -> Option<f64> {
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, (p, y)) in predictions.iter().zip(labels).enumerate() {
        let w = weight(weights, i);
        sum += w * f(*p, *y);
        total += w;
    }
    (total > 0.0).then(|| sum / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        assert_eq!(roc_auc(&[0.5; 4], &[0.0, 1.0, 0.0, 1.0], None), Some(0.5));
        assert_eq!(roc_auc(&[0.1, 0.4, 0.4, 0.8], &[0.0, 0.0, 1.0, 1.0], None), Some(0.875));
        assert_eq!(roc_auc(&[0.1, 0.2], &[1.0, 1.0], None), None);
    }

    #[test]
    fn threshold_metrics() {
        let m = classification(&[0.9, 0.8, 0.3, 0.6], &[1.0, 0.0, 1.0, 1.0], None, 0.5);
        assert_eq!((m.precision, m.recall, m.accuracy), (2.0 / 3.0, 2.0 / 3.0, 0.5));
        let none = classification(&[0.1, 0.2], &[0.0, 0.0], None, 0.5);
        assert_eq!((none.precision, none.recall, none.f1_score, none.accuracy), (0.0, 0.0, 0.0, 1.0));
        assert_eq!((none.roc_auc, none.average_precision), (None, None));
    }

    #[test]
    fn regression_metrics() {
        // scikit-learn's documentation example.
        let m = regression(&[2.5, 0.0, 2.0, 8.0], &[3.0, -0.5, 2.0, 7.0], None);
        assert_eq!(m.mean_absolute_error, Some(0.5));
        assert_eq!(m.mean_squared_error, Some(0.375));
        assert_eq!(m.median_absolute_error, Some(0.5));
        assert!((m.r2_score.unwrap() - 0.9486081370449679).abs() < 1e-15);
        assert!((m.explained_variance.unwrap() - 0.9571734475374732).abs() < 1e-15);
        assert!(
            (regression(&[2.5, 5.0, 4.0, 8.0], &[3.0, 5.0, 2.5, 7.0], None).mean_squared_log_error.unwrap()
                - 0.03973012298459379)
                .abs()
                < 1e-15
        );
        assert_eq!(regression(&[-2.0], &[1.0], None).mean_squared_log_error, None);
        assert_eq!(regression(&[], &[], None).median_absolute_error, None);
        assert_eq!(regression(&[1.0, 2.0], &[3.0, 3.0], None).r2_score, None);
    }
}
