//! The program itself: arguments, configuration, ending by itself.
#![expect(clippy::unwrap_used, reason = "test program")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn engine(dir: &Path, config: &str, more: &[&str]) -> Output {
    std::fs::write(dir.join("engine.toml"), config).unwrap();
    std::fs::create_dir_all(dir.join("home")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_carrel-engine"))
        .args(["serve", "--config"])
        .arg(dir.join("engine.toml"))
        .arg("--scratch")
        .arg(dir.join("scratch"))
        .arg("--home")
        .arg(dir.join("home"))
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn an_engine_that_nobody_asks_ends_and_takes_its_socket_along() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/e.sock", dir.path().display());
    let began = Instant::now();
    let output = engine(dir.path(), "", &["--listen", &address, "--idle-secs", "1"]);
    assert!(output.status.success(), "{output:?}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(!dir.path().join("e.sock").exists());
    assert!(dir.path().join("scratch/tables").is_dir());
}

#[test]
fn what_is_wrong_is_said_in_one_line_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/e.sock", dir.path().display());
    let listen = ["--listen", address.as_str(), "--idle-secs", "1"];
    for (config, more, code, says) in [
        ("[engine]\nmemory_limt = 1", &listen[..], 64, "did you mean memory_limit?"),
        ("", &["--listen", "tcp:1", "--idle-secs", "1"][..], 69, "only unix:/path is served"),
        ("", &["--fd", "1", "--idle-secs", "1"][..], 64, "descriptor 1"),
        ("", &["--nonsense"][..], 64, "--nonsense"),
    ] {
        let output = engine(dir.path(), config, more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_socket_that_somebody_serves_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.sock");
    let _held = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let output = engine(dir.path(), "", &["--listen", &address, "--idle-secs", "1"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen"));
    assert!(path.exists());
}
