//! The planted model of `ads.clicks`: what makes a click more or less likely, and by how much (log-odds).

/// Log-odds of a click with every feature at zero or at its reference value, by an average member on an average item.
pub(super) const INTERCEPT: f64 = -2.2;

/// Numeric features and the log-odds per unit of each.
pub(super) const NUMERIC: [(&str, f64); 4] =
    [("relevance", 0.80), ("quality", 1.20), ("position", -0.15), ("recency_hours", -0.01)];

/// A categorical value: name, share of rows, log-odds against the reference (the first, at 0).
pub(super) type Level = (&'static str, f64, f64);

/// Device of the impression.
pub(super) const DEVICES: [Level; 3] =
    [("desktop", 0.35, 0.0), ("mobile", 0.55, 0.30), ("tablet", 0.10, -0.20)];

/// Country of the member.
pub(super) const COUNTRIES: [Level; 8] = [
    ("us", 0.40, 0.0),
    ("in", 0.20, 0.25),
    ("gb", 0.10, 0.10),
    ("de", 0.10, -0.15),
    ("br", 0.08, 0.35),
    ("fr", 0.06, -0.10),
    ("jp", 0.04, -0.40),
    ("se", 0.02, -0.25),
];

/// Campaign of the impression.
pub(super) const CAMPAIGNS: [Level; 6] = [
    ("brand", 0.30, 0.0),
    ("retarget", 0.20, 0.60),
    ("search", 0.20, 0.40),
    ("social", 0.15, -0.20),
    ("video", 0.10, -0.50),
    ("partner", 0.05, 0.15),
];

/// Standard deviation of the per-member effect (normal, mean zero).
pub(super) const MEMBER_SD: f64 = 0.70;
/// Standard deviation of the per-item effect (normal, mean zero).
pub(super) const ITEM_SD: f64 = 0.50;
/// Zipf exponent of how often a member appears.
pub(super) const MEMBER_SKEW: f64 = 0.8;
/// Zipf exponent of how often an item appears.
pub(super) const ITEM_SKEW: f64 = 1.0;

/// Columns with missing values and their rate; values go missing independently of everything else.
pub(super) const NULLS: [(&str, f64); 3] = [("country", 0.02), ("device", 0.005), ("relevance", 0.01)];

/// Which level a uniform number in [0, 1) falls on.
pub(super) fn pick(levels: &[Level], mut u: f64) -> usize {
    for (index, (_, share, _)) in levels.iter().enumerate() {
        u -= share;
        if u < 0.0 {
            return index;
        }
    }
    levels.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_references_are_zero() {
        for levels in [&DEVICES[..], &COUNTRIES, &CAMPAIGNS] {
            assert!((levels.iter().map(|l| l.1).sum::<f64>() - 1.0).abs() < 1e-12);
            assert_eq!(levels[0].2, 0.0);
            assert_eq!(pick(levels, 0.0), 0);
            assert_eq!(pick(levels, 1.0 - f64::EPSILON), levels.len() - 1);
        }
    }
}
