//! The certified tables of `tests/conformance/train`, and what no table covers: wide designs, cancel, threads.

#![expect(clippy::unwrap_used, reason = "a test program: these are its assertions")]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use kernel_train::{
    Data, Design, DesignBuilder, Fit, Flow, Loss, Method, Settings, Stop, TrainError, fit, fit_interruptibly,
    metrics, sigmoid,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

fn read(name: &str) -> String {
    // Cargo runs tests in the package's folder; a path compiled in would be that of the checkout that was built first
    let path = PathBuf::from("../../tests/conformance/train").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Columns of a CSV by name.
fn column(csv: &str, name: &str) -> Vec<f64> {
    let mut lines = csv.lines();
    let at = lines.next().unwrap().split(',').position(|c| c == name).unwrap();
    lines.map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn run(data: &Data<'_>, settings: &Settings) -> Fit {
    fit(data, settings, &mut |_| Flow::Continue).unwrap()
}

#[test]
fn glm_small() {
    let csv = read("glm_small.csv");
    let expected: Value = serde_json::from_str(&read("glm_small.json")).unwrap();
    let coefficient_tolerance = expected["tolerance_coef"].as_f64().unwrap();
    let objective_tolerance = expected["tolerance_objective_rel"].as_f64().unwrap();
    let columns: Vec<Vec<f64>> = (0..8).map(|j| column(&csv, &format!("x{j}"))).collect();
    let rows = columns[0].len();
    let values = (0..rows).flat_map(|i| columns.iter().map(move |c| c[i])).collect();
    let design = Design::dense(rows, 8, values).unwrap();
    let (weights, offsets) = (column(&csv, "weight"), column(&csv, "offset"));
    let cases = expected["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 64);
    for case in cases {
        let labels = column(&csv, case["label"].as_str().unwrap());
        let (lambda, alpha) = (case["lambda_"].as_f64().unwrap(), case["alpha"].as_f64().unwrap());
        let loss = match case["task"].as_str().unwrap() {
            "logistic" => Loss::Logistic,
            "linear" => Loss::Squared,
            "poisson" => Loss::Poisson,
            "smoothed_hinge" => Loss::SmoothedHinge,
            other => panic!("{other}"),
        };
        let bounds = case.get("bounds").map(|b| (b["lower"].as_f64().unwrap(), b["upper"].as_f64().unwrap()));
        let settings = Settings {
            loss,
            l1: lambda * alpha,
            l2: lambda * (1.0 - alpha),
            standardise: case.get("normalization").is_some(),
            bounds,
            tolerance: 1e-13,
            ..Settings::default()
        };
        let data = Data {
            design: &design,
            labels: &labels,
            weights: case["weight"].as_bool().unwrap().then_some(&weights[..]),
            offsets: case["offset"].as_bool().unwrap().then_some(&offsets[..]),
        };
        let found = run(&data, &settings);
        let name = format!("{} {} {lambda} {alpha}", case["task"], case["reg"]);
        assert!(found.converged, "{name}: {:?} {:?}", found.stop, found.trace.last());
        let coefficients = numbers(&case["coef"]);
        let intercept = case["intercept"].as_f64().unwrap();
        for (j, (got, want)) in found.model.coefficients.iter().zip(&coefficients).enumerate() {
            assert!((got - want).abs() <= coefficient_tolerance, "{name}: x{j} {got} {want}");
        }
        assert!((found.model.intercept - intercept).abs() <= coefficient_tolerance, "{name}: intercept");
        let objective = case["objective"].as_f64().unwrap();
        let got = found.trace.last().unwrap().objective;
        assert!(
            (got - objective).abs() <= objective_tolerance * objective.abs(),
            "{name}: {got} {objective}"
        );
        for zero in case.get("zeros").and_then(Value::as_array).into_iter().flatten() {
            let j: usize = zero.as_str().unwrap()[1..].parse().unwrap();
            assert_eq!(found.model.coefficients[j], 0.0, "{name}: x{j}");
        }
        if let Some(variances) = case.get("variance_full") {
            let mut variances = numbers(variances);
            variances.rotate_left(1); // the table has the intercept first
            for (got, want) in found.variances.unwrap().iter().zip(variances) {
                assert!((got - want).abs() <= 1e-6 * want, "{name}: variance {got} {want}");
            }
        }
    }
}

#[test]
fn metrics_small() {
    let csv = read("metrics_small.csv");
    let expected: Value = serde_json::from_str(&read("metrics_small.json")).unwrap();
    let (score, label, weight) = (column(&csv, "score"), column(&csv, "label"), column(&csv, "weight"));
    let query: Vec<u32> =
        csv.lines().skip(1).map(|l| l.split(',').nth(3).unwrap()[1..].parse().unwrap()).collect();
    let w = Some(&weight[..]);
    let (grouped, groups) = metrics::grouped_roc_auc(&score, &label, &query).unwrap();
    for (name, got) in [
        ("auc", metrics::roc_auc(&score, &label, None)),
        ("auc_weighted", metrics::roc_auc(&score, &label, w)),
        ("average_precision", metrics::average_precision(&score, &label, None)),
        ("average_precision_weighted", metrics::average_precision(&score, &label, w)),
        ("log_loss", metrics::log_loss(&score, &label, None)),
        ("log_loss_weighted", metrics::log_loss(&score, &label, w)),
        ("brier", metrics::brier(&score, &label, None)),
        ("rmse", metrics::rmse(&score, &label, None)),
        ("auc_by_query_mean", Some(grouped)),
        ("auc_by_query_groups", Some(groups as f64)),
    ] {
        let want = expected["expected"][name].as_f64().unwrap();
        assert!((got.unwrap() - want).abs() < 1e-12, "{name}: {got:?} {want}");
    }
}

/// A one-hot design wider than Newton takes, labels from a known model.
fn wide(rows: usize, cols: u32, seed: u64) -> (Design, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut builder = DesignBuilder::new(cols as usize, rows, 3);
    let mut labels = Vec::new();
    for _ in 0..rows {
        let x: f64 = rng.random::<f64>() - 0.5;
        let category = rng.random_range(1..cols);
        builder.push(0, x);
        builder.push(category, 1.0);
        builder.end_row();
        let score = 2.0 * x + if category % 2 == 0 { 0.7 } else { -0.7 };
        labels.push(f64::from(u8::from(rng.random::<f64>() < sigmoid(score))));
    }
    (builder.finish().unwrap(), labels)
}

#[test]
fn quasi_newton_reaches_the_same_optimum() {
    // 300 columns go to Newton; the same rows in a design padded beyond its limit go to quasi-Newton.
    let (narrow, labels) = wide(5000, 300, 7);
    let (padded, same) = {
        let mut builder = DesignBuilder::new(1500, 5000, 3);
        for i in 0..5000 {
            if let kernel_train::Row::Sparse(columns, values) = narrow.row(i) {
                columns.iter().zip(values).for_each(|(c, v)| builder.push(*c, *v));
            }
            builder.end_row();
        }
        (builder.finish().unwrap(), labels.clone())
    };
    for l1 in [0.0, 2.0] {
        let settings =
            Settings { l1, max_iterations: 500, tolerance: 1e-9, threads: 2, ..Settings::default() };
        let data = |design, labels| Data { design, labels, weights: None, offsets: None };
        let a = run(&data(&narrow, &labels), &settings);
        let b = run(&data(&padded, &same), &settings);
        assert_eq!((a.method, b.method), (Method::Newton, Method::QuasiNewton));
        assert!(a.converged && b.converged, "{:?} {:?}", a.stop, b.stop);
        for (x, y) in a.model.coefficients.iter().zip(&b.model.coefficients) {
            assert!((x - y).abs() < 1e-4, "{x} {y}");
        }
        let (x, y) = (a.trace.last().unwrap().objective, b.trace.last().unwrap().objective);
        assert!((x - y).abs() < 1e-9 * x, "{x} {y}");
        assert!(a.trace.windows(2).all(|w| w[1].objective <= w[0].objective * (1.0 + 1e-12)));
    }
}

#[test]
fn threads_do_not_change_the_answer() {
    let (design, labels) = wide(10_000, 40, 3);
    let data = Data { design: &design, labels: &labels, weights: None, offsets: None };
    let one = run(&data, &Settings { threads: 1, ..Settings::default() });
    let four = run(&data, &Settings { threads: 4, ..Settings::default() });
    assert_eq!(one, four);
}

#[test]
fn cancel_keeps_the_last_good_model() {
    let (design, labels) = wide(5000, 40, 3);
    let data = Data { design: &design, labels: &labels, weights: None, offsets: None };
    let settings = Settings::default();
    let full = run(&data, &settings);
    let mut seen = 0;
    let stopped = fit(&data, &settings, &mut |line| {
        seen = line.number;
        if line.number == 2 { Flow::Stop } else { Flow::Continue }
    })
    .unwrap();
    assert_eq!((stopped.stop, stopped.converged, seen), (Stop::Cancelled, false, 2));
    assert_eq!(stopped.trace[..], full.trace[..3]);
    assert!(stopped.trace[2].objective < stopped.trace[0].objective);
    assert!(stopped.model.coefficients[0] != 0.0);
}

#[test]
fn an_interrupt_within_an_iteration_keeps_the_last_whole_one() {
    let (design, labels) = wide(20_000, 60, 3);
    let data = Data { design: &design, labels: &labels, weights: None, offsets: None };
    for l1 in [0.0, 1.0] {
        let settings = Settings { l1, threads: 2, ..Settings::default() };
        let full = run(&data, &settings);
        // Says yes from the moment that iteration 2 is reported: the next pass is given up.
        let stop = AtomicBool::new(false);
        let found = fit_interruptibly(&data, &settings, &|| stop.load(Ordering::Relaxed), &mut |line| {
            stop.store(line.number == 2, Ordering::Relaxed);
            Flow::Continue
        })
        .unwrap();
        assert_eq!((found.stop, found.converged), (Stop::Cancelled, false));
        assert_eq!(found.trace[..], full.trace[..3]);
        let at_once = fit_interruptibly(&data, &settings, &|| true, &mut |_| Flow::Continue).unwrap();
        assert_eq!((at_once.stop, at_once.trace.len()), (Stop::Cancelled, 0));
    }
}

#[test]
fn limits_are_reported_not_hidden() {
    // Separable without a penalty: no optimum exists, and the report says so or the residual is truly small.
    let design = Design::dense(4, 1, vec![-2.0, -1.0, 1.0, 2.0]).unwrap();
    let labels = [0.0, 0.0, 1.0, 1.0];
    let data = Data { design: &design, labels: &labels, weights: None, offsets: None };
    let found = run(&data, &Settings { l2: 0.0, max_iterations: 5, ..Settings::default() });
    assert_eq!((found.stop, found.converged), (Stop::MaxIterations, false));
    // Two equal columns without a penalty: singular, still an optimum of the loss.
    let twice = Design::dense(4, 2, vec![-2.0, -2.0, 1.0, 1.0, -1.0, -1.0, 2.0, 2.0]).unwrap();
    let data = Data { design: &twice, labels: &labels, weights: None, offsets: None };
    let found = run(&data, &Settings { l2: 0.0, loss: Loss::Squared, ..Settings::default() });
    assert!(found.converged, "{:?}", found.stop);
}

#[test]
fn bad_arguments_are_errors() {
    let design = Design::dense(2, 1, vec![1.0, 2.0]).unwrap();
    let good = Data { design: &design, labels: &[0.0, 1.0], weights: None, offsets: None };
    let go = |data: &Data<'_>, settings: &Settings| fit(data, settings, &mut |_| Flow::Continue).unwrap_err();
    let plain = Settings::default();
    assert!(matches!(go(&Data { labels: &[0.0], ..good }, &plain), TrainError::Shape { what: "labels", .. }));
    assert!(matches!(go(&Data { labels: &[0.0, 2.0], ..good }, &plain), TrainError::Label { at: 1, .. }));
    assert!(matches!(go(&Data { weights: Some(&[0.0, 0.0]), ..good }, &plain), TrainError::Empty));
    assert!(matches!(
        go(&Data { weights: Some(&[1.0, -1.0]), ..good }, &plain),
        TrainError::NotFinite { .. }
    ));
    let wrong = Settings { l2: -1.0, ..Settings::default() };
    assert!(matches!(go(&good, &wrong), TrainError::Setting { name: "l2", .. }));
    let poisson = Settings { loss: Loss::Poisson, ..Settings::default() };
    assert!(matches!(go(&Data { labels: &[-1.0, 1.0], ..good }, &poisson), TrainError::Label { .. }));
}
