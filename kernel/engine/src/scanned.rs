//! What the scans of a running plan have read so far, out of the plan's own metrics.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

/// Sums over all scans of a plan.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// Rows that came out of the scans.
    pub rows: u64,
    /// Rows that may come out of them, if all scans know.
    pub rows_expected: Option<u64>,
    /// Files opened.
    pub files: u64,
    /// Row groups read.
    pub row_groups: u64,
    /// Row groups in the opened files.
    pub row_groups_total: u64,
}

impl Scanned {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            rows_expected: match (self.rows_expected, other.rows_expected) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            },
            files: self.files + other.files,
            row_groups: self.row_groups + other.row_groups,
            row_groups_total: self.row_groups_total + other.row_groups_total,
        }
    }

    /// How far the scans are; never quite 1, for the work above them is not known.
    pub fn fraction(&self) -> Option<f64> {
        let expected = self.rows_expected.filter(|rows| *rows > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
        let share = self.rows as f64 / expected as f64;
        Some(share.min(0.99))
    }
}

/// Sums over the scans of one plan.
pub fn scanned(plan: &Arc<dyn ExecutionPlan>) -> Scanned {
    let mut sum = Scanned::default();
    let mut unknown = false;
    let mut todo = vec![plan];
    while let Some(node) = todo.pop() {
        todo.extend(node.children());
        let Some(source) = node.downcast_ref::<DataSourceExec>() else { continue };
        let Some(config) = source.data_source().downcast_ref::<FileScanConfig>() else { continue };
        let expected = source
            .data_source()
            .partition_statistics(None)
            .ok()
            .and_then(|s| s.num_rows.get_value().copied());
        unknown |= expected.is_none();
        let groups = config.file_groups.iter().map(|group| group.len() as u64).sum::<u64>();
        let metrics = node.metrics().unwrap_or_default();
        let one = of_scan(&metrics, groups);
        sum = sum.plus(Scanned { rows_expected: expected.map(|rows| rows as u64), ..one });
    }
    if unknown {
        sum.rows_expected = None;
    }
    sum
}

fn of_scan(metrics: &MetricsSet, ranges: u64) -> Scanned {
    let mut names = BTreeSet::new();
    let (mut opened, mut left, mut pruned_late, mut one) = (0, None, 0, Scanned::default());
    for metric in metrics.iter() {
        if let Some(label) = metric.labels().iter().find(|label| label.name() == "filename") {
            names.insert(label.value().to_owned());
        }
        match metric.value() {
            MetricValue::OutputRows(rows) => one.rows += rows.value() as u64,
            MetricValue::Count { name, count } if name == "files_opened" => opened += count.value() as u64,
            MetricValue::Count { name, count } if name == "row_groups_pruned_dynamic_filter" => {
                pruned_late += count.value() as u64;
            }
            MetricValue::PruningMetrics { name, pruning_metrics } => match name.as_ref() {
                "files_ranges_pruned_statistics" => {
                    *left.get_or_insert(0) += pruning_metrics.matched();
                }
                "row_groups_pruned_statistics" => {
                    one.row_groups += pruning_metrics.matched() as u64;
                    one.row_groups_total += (pruning_metrics.matched() + pruning_metrics.pruned()) as u64;
                }
                "row_groups_pruned_bloom_filter" | "limit_pruned_row_groups" => {
                    pruned_late += pruning_metrics.pruned() as u64;
                }
                _ => {}
            },
            _ => {}
        }
    }
    one.row_groups = one.row_groups.saturating_sub(pruned_late);
    one.files = match left {
        // parts of files that statistics left to read: a file may have several parts
        Some(parts) => names.len().min(parts) as u64,
        None if names.is_empty() => opened.min(ranges),
        None => names.len() as u64,
    };
    one
}
