//! The built program over its socket: HTTP answers, terminals on a real pty, its end.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests, too"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

type Tab = WebSocketStream<UnixStream>;

struct Program {
    child: Child,
    log: std::io::Lines<BufReader<std::process::ChildStderr>>,
    socket: PathBuf,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(args: &[&str]) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let (root, socket) = (folder.path().join("home"), folder.path().join("socket"));
    std::fs::create_dir(&root).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_carrel-desk"))
        .arg("--listen")
        .arg(format!("unix:{}", socket.display()))
        .args(args)
        .env("HOME", &root)
        .env("SHELL", "/bin/sh")
        .env("PS1", "$ ")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.next().unwrap().unwrap().contains("listening"));
    Program { child, log, socket, root, _folder: folder }
}

async fn send(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Bytes> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("Host", "desk");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

impl Program {
    async fn send(&self, method: &str, path: &str, body: Value) -> Response<Bytes> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("X-Carrel-Prefix", "/user/ada/"), ("X-Request-Id", "req-1")];
        send(&self.socket, method, path, &headers, &body).await
    }

    async fn json(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let response = self.send(method, path, body).await;
        assert_eq!(response.status(), status, "{method} {path}: {:?}", response.body());
        serde_json::from_slice(response.body()).unwrap_or(Value::Null)
    }

    async fn tab(&self, name: &str) -> Result<Tab, u16> {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let url = format!("ws://desk/terminals/websocket/{name}");
        match tokio_tungstenite::client_async(url, stream).await {
            Ok((mut tab, _)) => {
                assert_eq!(hear(&mut tab).await, Some(json!(["setup", {}])));
                Ok(tab)
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(e) => panic!("{e}"),
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

async fn hear(tab: &mut Tab) -> Option<Value> {
    let patience = Duration::from_secs(30);
    loop {
        match tokio::time::timeout(patience, tab.next()).await.expect("the terminal says nothing") {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

async fn say(tab: &mut Tab, message: Value) {
    tab.send(Message::text(message.to_string())).await.unwrap();
}

async fn until(tab: &mut Tab, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let message = hear(tab).await.unwrap_or_else(|| panic!("ended before {text:?}: {seen}"));
        if message[0] == "stdout" {
            seen.push_str(message[1].as_str().unwrap());
            let keep = seen.floor_char_boundary(seen.len().saturating_sub(100_000));
            seen.drain(..keep);
        }
    }
    seen
}

#[tokio::test]
async fn contents_over_http() {
    let mut program = start(&["--max-body-mib", "1"]);
    let file = json!({"type": "file", "format": "text", "content": "0123456789"});
    let response = program.send("PUT", "/api/contents/a%20b.txt", file.clone()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["Location"], "/user/ada/api/contents/a%20b.txt");
    assert!(response.headers().contains_key("Last-Modified"));
    assert_eq!(program.send("PUT", "/api/contents/a%20b.txt", file).await.status(), StatusCode::OK);

    let range = [("Range", "bytes=2-4")];
    let part = send(&program.socket, "GET", "/files/a%20b.txt?download=1", &range, "").await;
    assert_eq!((part.status(), part.body().as_ref()), (StatusCode::PARTIAL_CONTENT, &b"234"[..]));
    assert_eq!(part.headers()["Content-Range"], "bytes 2-4/10");
    assert!(part.headers()["Content-Security-Policy"].to_str().unwrap().contains("sandbox"));
    assert!(part.headers()["Content-Disposition"].to_str().unwrap().starts_with("attachment"));
    let tag = part.headers()["ETag"].to_str().unwrap().to_owned();
    let held = send(&program.socket, "GET", "/files/a%20b.txt", &[("If-None-Match", &tag)], "").await;
    assert_eq!((held.status(), held.body().len()), (StatusCode::NOT_MODIFIED, 0));
    let head = send(&program.socket, "HEAD", "/files/a%20b.txt", &[], "").await;
    assert_eq!((head.headers()["Content-Length"].to_str().unwrap(), head.body().len()), ("10", 0));

    let missing = program.json("GET", "/api/contents/gone", Value::Null, 404).await;
    assert!(missing["message"].is_string() && missing.get("reason").is_some());
    let line = program.log.next().unwrap().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["request.id"], &line["http.status"]), (&json!("req-1"), &json!(404)));

    assert_eq!(
        program.send("PUT", "/api/terminals", Value::Null).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    program.json("GET", "/api/contents?content=7", Value::Null, 400).await;
    program.json("GET", "/nbconvert/html/a.ipynb", Value::Null, 501).await;
    assert_eq!(program.json("GET", "/api/nbconvert", Value::Null, 200).await, json!({}));
    let large = json!({"type": "file", "format": "text", "content": "x".repeat(2 << 20)});
    program.json("PUT", "/api/contents/large", large, 413).await;
    let found = program.root.join("a b.txt");
    let found = program
        .json(
            "GET",
            &format!("/api/resolvePath?path={}", found.display().to_string().replace(' ', "+")),
            Value::Null,
            200,
        )
        .await;
    assert_eq!(found, json!({"resolved": [{"scope": "server", "path": "a b.txt"}]}));
}

#[tokio::test]
async fn folders_called_checkpoints_are_folders() {
    let program = start(&[]);
    for path in ["/api/contents/d", "/api/contents/d/checkpoints"] {
        program.json("PUT", path, json!({"type": "directory"}), 201).await;
    }
    let file = json!({"type": "file", "format": "text", "content": "weights"});
    program.json("PUT", "/api/contents/d/checkpoints/epoch-1", file.clone(), 201).await;
    let listed = program.json("GET", "/api/contents/d/checkpoints", Value::Null, 200).await;
    assert_eq!(listed["content"][0]["name"], "epoch-1");
    program.json("PUT", "/api/contents/d/a.txt", file, 201).await;
    let made = program.send("POST", "/api/contents/d/a.txt/checkpoints", Value::Null).await;
    assert_eq!(made.headers()["Location"], "/user/ada/api/contents/d/a.txt/checkpoints/checkpoint");
    assert_eq!(
        program.json("GET", "/api/contents/d/a.txt/checkpoints", Value::Null, 200).await[0]["id"],
        "checkpoint"
    );
}

#[tokio::test]
async fn two_tabs_share_a_terminal_and_a_third_sees_what_was() {
    let program = start(&[]);
    let model = program.json("POST", "/api/terminals", Value::Null, 200).await;
    assert_eq!(model["name"], "1");
    assert_eq!(program.json("POST", "/api/terminals", json!({"name": "1"}), 200).await["name"], "1");
    assert_eq!(program.json("GET", "/api/terminals", Value::Null, 200).await.as_array().unwrap().len(), 1);
    let (mut a, mut b) = (program.tab("1").await.unwrap(), program.tab("1").await.unwrap());
    say(&mut a, json!(["set_size", 33, 101])).await;
    say(&mut b, json!(["set_size", 40, 90])).await;
    say(&mut b, json!(["stdin", "echo ready-$((1+1))\r"])).await;
    until(&mut a, "ready-2").await;
    until(&mut b, "ready-2").await;
    say(&mut a, json!(["stdin", "stty size; echo $TERM; pwd\r"])).await;
    let seen = until(&mut a, program.root.canonicalize().unwrap().to_str().unwrap()).await;
    assert!(seen.contains("33 90"), "the smallest tab decides: {seen}");
    assert!(seen.contains("xterm-256color"));
    drop((a, b));
    let mut c = program.tab("1").await.unwrap();
    until(&mut c, "ready-2").await;
    assert_eq!(program.tab("99").await.err(), Some(404));
}

#[tokio::test]
async fn a_flood_is_stopped_by_ctrl_c_and_exit_ends_the_terminal() {
    let program = start(&[]);
    std::fs::create_dir(program.root.join("sub")).unwrap();
    program.json("POST", "/api/terminals", json!({"name": "flood", "cwd": "sub"}), 200).await;
    let mut tab = program.tab("flood").await.unwrap();
    say(&mut tab, json!(["stdin", "basename $(pwd); yes\r"])).await;
    until(&mut tab, "sub").await;
    for _ in 0..200 {
        hear(&mut tab).await.unwrap();
    }
    say(&mut tab, json!(["stdin", "\u{3}"])).await;
    say(&mut tab, json!(["stdin", "echo still-$((2+2))\r"])).await;
    until(&mut tab, "still-4").await;
    say(&mut tab, json!(["stdin", "exit\r"])).await;
    loop {
        match hear(&mut tab).await {
            Some(message) if message[0] == "disconnect" => break,
            Some(_) => {}
            None => panic!("closed without saying disconnect"),
        }
    }
    program.json("GET", "/api/terminals/flood", Value::Null, 404).await;
}

/// Says something to the shell that makes it print `pid=<number>.`, and gives the number.
async fn pid_of(tab: &mut Tab, line: &str) -> i32 {
    say(tab, json!(["stdin", format!("{line}\r")])).await;
    let mut seen = String::new();
    loop {
        seen.push_str(&until(tab, ".").await);
        let number = seen.rsplit_once("pid=").and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
        if let Some(pid) = number {
            return pid;
        }
    }
}

/// Not there any more, or only waiting to be reaped.
fn gone(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z")
}

#[tokio::test]
async fn delete_kills_what_runs_in_the_background_too() {
    let program = start(&[]);
    program.json("POST", "/api/terminals", Value::Null, 200).await;
    let mut tab = program.tab("1").await.unwrap();
    let pid = pid_of(&mut tab, "set -m; trap '' HUP; sleep 1000 & echo \"pid=$!.\"").await;
    assert!(!gone(pid));
    program.json("DELETE", "/api/terminals/1", Value::Null, 204).await;
    assert!(gone(pid));
    program.json("DELETE", "/api/terminals/1", Value::Null, 404).await;
}

/// Forks twice, leads a session of its own, ignores signals: the shell knows nothing of it.
const DAEMON: &str =
    "(setsid sh -c 'trap \"\" HUP TERM INT; (while :; do sleep 1; done) & echo \"pid=$!.\"' 2>/dev/null)";

#[tokio::test]
async fn no_daemon_outlives_its_terminal_and_other_terminals_do_not_suffer() {
    let program = start(&[]);
    program.json("POST", "/api/terminals", Value::Null, 200).await;
    program.json("POST", "/api/terminals", Value::Null, 200).await;
    let (mut tab, mut other) = (program.tab("1").await.unwrap(), program.tab("2").await.unwrap());
    let theirs = pid_of(&mut other, DAEMON).await;
    for end in ["delete", "exit", "kill the keeper"] {
        let daemon = pid_of(&mut tab, DAEMON).await;
        assert!(!gone(daemon), "{end}");
        match end {
            "delete" => {
                program.json("DELETE", "/api/terminals/1", Value::Null, 204).await;
            }
            "exit" => {
                say(&mut tab, json!(["stdin", "exit\r"])).await;
                while hear(&mut tab).await.is_some() {}
            }
            // A hostile user's own way: the process between desk and shell is of the same user.
            _ => {
                say(&mut tab, json!(["stdin", "kill -9 $PPID\r"])).await;
                while hear(&mut tab).await.is_some() {}
            }
        }
        assert!(gone(daemon), "{end}");
        assert!(!gone(theirs), "{end}");
        program.json("POST", "/api/terminals", json!({"name": "1"}), 200).await;
        tab = program.tab("1").await.unwrap();
    }
    program.json("DELETE", "/api/terminals/2", Value::Null, 204).await;
    assert!(gone(theirs));
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_terminal() {
    let program = start(&[]);
    program.json("POST", "/api/terminals", Value::Null, 200).await;
    let mut tab = program.tab("1").await.unwrap();
    // Bounded, so that a machine without a jail survives it: each copy makes two more, each in a session of its own.
    let bomb = "b() { [ $1 = 0 ] && exec sleep 98761; setsid sh -c \"$2\" b $(($1-1)) \"$2\" & setsid sh -c \"$2\" b $(($1-1)) \"$2\" & wait; }; b $1 \"$2\"";
    let line = format!("B='{bomb}'; sh -c \"$B\" b 6 \"$B\" & echo \"pid=$!.\"");
    pid_of(&mut tab, &line).await;
    let count = || {
        let lines = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = lines.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.starts_with(b"sh\0-c\0b()") || line.starts_with(b"sleep\098761")).count()
    };
    let begun = std::time::Instant::now();
    while count() < 40 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the bomb does not go off");
    }
    program.json("DELETE", "/api/terminals/1", Value::Null, 204).await;
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn the_number_of_terminals_is_bounded() {
    let program = start(&[]);
    for _ in 0..32 {
        program.json("POST", "/api/terminals", Value::Null, 200).await;
    }
    program.json("POST", "/api/terminals", Value::Null, 503).await;
    program.json("DELETE", "/api/terminals/7", Value::Null, 204).await;
    assert_eq!(program.json("POST", "/api/terminals", Value::Null, 200).await["name"], "7");
}

#[tokio::test]
async fn sigterm_ends_it_cleanly_with_its_terminals() {
    let mut program = start(&[]);
    program.json("POST", "/api/terminals", Value::Null, 200).await;
    let mut tab = program.tab("1").await.unwrap();
    program.signal(rustix::process::Signal::TERM);
    while hear(&mut tab).await.is_some() {}
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn it_ends_when_nothing_happens_and_says_what_is_wrong() {
    let mut program = start(&["--idle-secs", "1"]);
    assert!(program.child.wait().unwrap().success());
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_carrel-desk")).args(args).output().unwrap().status.code()
    };
    assert_eq!(run(&["--nonsense"]), Some(64));
    assert_eq!(run(&["--listen", "0.0.0.0:80"]), Some(64));
    let socket = program.root.join("s");
    assert_eq!(
        run(&["--listen", &format!("unix:{}", socket.display()), "--root", "/no/such/home"]),
        Some(69)
    );
}
