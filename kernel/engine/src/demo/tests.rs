//! The demo datasets on small sizes: same bytes, whole or not at all, known truth.

use std::{fs, path::Path};

use super::*;

fn demo(out: &Path) -> Demo {
    Demo { out: out.to_owned(), scale: 0.001, clicks: 20_000, seed: 7 }
}

/// Every visible file below a folder with its bytes.
fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("carrel-demo-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn same_arguments_same_bytes() {
    let (a, b) = (scratch("a"), scratch("b"));
    let first = make(&demo(&a), &mut io::sink()).unwrap();
    let second = make(&demo(&b), &mut io::sink()).unwrap();
    assert_eq!(first, second);
    let (left, right) = (tree(&a), tree(&b));
    assert_eq!(left.iter().map(|f| &f.0).collect::<Vec<_>>(), right.iter().map(|f| &f.0).collect::<Vec<_>>());
    assert!(left == right, "bytes differ");
    assert!(left.iter().any(|f| f.0 == "tpch/lineitem/part-0000.parquet"));
    assert!(left.iter().any(|f| f.0 == "ads/README.md"));
    let other = Demo { seed: 8, ..demo(&b) };
    assert!(matches!(make(&other, &mut io::sink()).unwrap(), Made::Datasets(_)));
    let changed = tree(&b);
    let clicks = |files: &[(String, Vec<u8>)]| {
        files.iter().find(|f| f.0.starts_with("ads/clicks/")).map(|f| f.1.clone()).unwrap()
    };
    assert!(clicks(&left) != clicks(&changed), "the seed changes nothing");
    for path in [a, b] {
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn again_is_nothing_and_strangers_are_left_alone() {
    let out = scratch("again");
    let Made::Datasets(truth) = make(&demo(&out), &mut io::sink()).unwrap() else { panic!("not made") };
    assert_eq!(make(&demo(&out), &mut io::sink()).unwrap(), Made::Nothing(truth.clone()));
    assert!(truth.bayes_auc > truth.global_auc && truth.global_auc > 0.6, "{truth:?}");
    assert!((0.03..0.4).contains(&truth.click_rate), "{truth:?}");
    assert!(!out.join(".demo-partial").exists());
    // A killed run leaves its hidden folder and perhaps no manifest: the next one starts over.
    fs::create_dir(out.join(".demo-partial")).unwrap();
    fs::remove_file(out.join(MANIFEST)).unwrap();
    assert_eq!(make(&demo(&out), &mut io::sink()).unwrap(), Made::Datasets(truth));
    fs::remove_file(out.join("ads").join(MARK)).unwrap();
    fs::remove_file(out.join(MANIFEST)).unwrap();
    let error = make(&demo(&out), &mut io::sink()).unwrap_err();
    assert!(matches!(error, DemoError::NotOurs { .. }), "{error}");
    assert!(out.join("ads/README.md").exists());
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn impossible_arguments_are_refused() {
    for wrong in [
        Demo { scale: 0.0, ..demo(Path::new("/nonexistent")) },
        Demo { scale: f64::NAN, ..demo(Path::new("/nonexistent")) },
        Demo { clicks: 3, ..demo(Path::new("/nonexistent")) },
    ] {
        assert!(matches!(make(&wrong, &mut io::sink()), Err(DemoError::Argument { .. })));
    }
}
