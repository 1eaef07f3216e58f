//! Counters, gauges and histograms in Prometheus' text form, under JupyterHub's names where the meaning is the same.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounds of all duration histograms, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// No family keeps more label sets than this; further ones are counted together.
const MAX_SERIES: usize = 500;

/// All figures of the program. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<&'static str, Family>>>);

#[derive(Debug)]
struct Family {
    help: &'static str,
    kind: &'static str,
    series: BTreeMap<String, Series>,
}

#[derive(Debug)]
enum Series {
    Number(f64),
    Histogram { counts: [u64; BUCKETS.len()], sum: f64, count: u64 },
}

impl Metrics {
    /// Adds to a counter. `labels` are pairs of name and value.
    pub fn add(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)], by: u64) {
        #[expect(clippy::cast_precision_loss, reason = "Prometheus counts in floating point")]
        let by = by as f64;
        self.with(
            name,
            help,
            "counter",
            labels,
            || Series::Number(0.0),
            |s| {
                if let Series::Number(n) = s {
                    *n += by;
                }
            },
        );
    }

    /// Sets a gauge.
    pub fn set(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.with(name, help, "gauge", labels, || Series::Number(0.0), |s| *s = Series::Number(value));
    }

    /// Notes how long something took.
    pub fn observe(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)], took: Duration) {
        let seconds = took.as_secs_f64();
        let fresh = || Series::Histogram { counts: [0; BUCKETS.len()], sum: 0.0, count: 0 };
        self.with(name, help, "histogram", labels, fresh, |s| {
            if let Series::Histogram { counts, sum, count } = s {
                *sum += seconds;
                *count += 1;
                for (bound, n) in BUCKETS.iter().zip(counts.iter_mut()) {
                    if seconds <= *bound {
                        *n += 1;
                    }
                }
            }
        });
    }

    /// Everything as text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (name, family) in self.lock().iter() {
            // writing to a String cannot fail
            let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {}", family.help, family.kind);
            for (labels, series) in &family.series {
                match series {
                    Series::Number(n) => {
                        let _ = writeln!(out, "{name}{} {n}", braced(labels, ""));
                    }
                    Series::Histogram { counts, sum, count } => {
                        for (bound, n) in BUCKETS.iter().zip(counts) {
                            let _ = writeln!(
                                out,
                                "{name}_bucket{} {n}",
                                braced(labels, &format!("le=\"{bound}\""))
                            );
                        }
                        let _ = writeln!(out, "{name}_bucket{} {count}", braced(labels, "le=\"+Inf\""));
                        let _ = writeln!(out, "{name}_sum{} {sum}", braced(labels, ""));
                        let _ = writeln!(out, "{name}_count{} {count}", braced(labels, ""));
                    }
                }
            }
        }
        out
    }

    fn with(
        &self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&str, &str)],
        fresh: impl FnOnce() -> Series,
        change: impl FnOnce(&mut Series),
    ) {
        let mut key = label_text(labels);
        let mut families = self.lock();
        let family = families.entry(name).or_insert_with(|| Family { help, kind, series: BTreeMap::new() });
        if family.series.len() >= MAX_SERIES && !family.series.contains_key(&key) {
            key = "overflow=\"true\"".to_owned();
        }
        change(family.series.entry(key).or_insert_with(fresh));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label_text(labels: &[(&str, &str)]) -> String {
    labels
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect::<Vec<_>>()
        .join(",")
}

fn braced(labels: &str, more: &str) -> String {
    match (labels.is_empty(), more.is_empty()) {
        (true, true) => String::new(),
        (false, false) => format!("{{{labels},{more}}}"),
        _ => format!("{{{labels}{more}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rendered_as_prometheus_wants_them() {
        let m = Metrics::default();
        m.add("a_total", "As.", &[("route", "/x\"y")], 2);
        m.add("a_total", "As.", &[("route", "/x\"y")], 1);
        m.set("b", "Bs.", &[], 1.5);
        m.observe("c_seconds", "Cs.", &[("k", "v")], Duration::from_millis(3));
        let text = m.render();
        for line in [
            "# HELP a_total As.",
            "# TYPE a_total counter",
            "a_total{route=\"/x\\\"y\"} 3",
            "b 1.5",
            "c_seconds_bucket{k=\"v\",le=\"0.0025\"} 0",
            "c_seconds_bucket{k=\"v\",le=\"0.005\"} 1",
            "c_seconds_bucket{k=\"v\",le=\"+Inf\"} 1",
            "c_seconds_count{k=\"v\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn label_sets_are_bounded() {
        let m = Metrics::default();
        for n in 0..MAX_SERIES * 2 {
            m.add("a_total", "As.", &[("n", &n.to_string())], 1);
        }
        assert!(m.render().contains("overflow=\"true\""));
        assert!(m.render().lines().count() < MAX_SERIES + 10);
    }
}
