//! Starts the built `carrel-shim` with a scripted kernel, and a client that asks and collects answers.

use std::collections::VecDeque;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use carrel_wire::{Channel, Header, Message};
use gateway_shim::client::{Delivery, ShimConn};
use gateway_shim::protocol::{Cmd, Event, From, Hello, Reply, Role};
use serde_json::{Value, json};

/// Nothing takes that long unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Shim {
    pub(crate) child: Child,
    pub(crate) folder: tempfile::TempDir,
}

impl Shim {
    pub(crate) fn start(options: &[&str], argv: &[&str]) -> Shim {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("home/work")).unwrap();
        let listener = UnixListener::bind(folder.path().join("main.sock")).unwrap();
        let mut command = Command::new("sh");
        // The shell moves standard input, which is the listener, to descriptor 3.
        command.args(["-c", "exec 3<&0 0</dev/null; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_carrel-shim")]);
        command.args(["--interrupt", "signal", "--cwd", "work", "--runtime"]).arg(folder.path());
        command.arg("--scratch").arg(folder.path()).args(options).arg("--").args(argv);
        command
            .env("HOME", folder.path().join("home"))
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        Shim { child: command.spawn().unwrap(), folder }
    }

    pub(crate) fn with_kernel(options: &[&str]) -> Shim {
        Shim::start(options, &[fake_kernel().to_str().unwrap(), "{connection_file}"])
    }

    pub(crate) async fn client(&self, session: &str, from: From) -> Client {
        self.connect(Role::Client, session, from).await
    }

    pub(crate) async fn connect(&self, role: Role, session: &str, from: From) -> Client {
        let hello = Hello { role, session: session.to_owned(), from };
        let conn = ShimConn::connect(&self.folder.path().join("main.sock"), hello).await.unwrap();
        Client { conn, session: session.to_owned(), asked: 0, held: VecDeque::new() }
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        for _ in 0..LIMIT.as_millis() / 5 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the shim did not end");
    }
}

impl Drop for Shim {
    /// In order first, so that the fake kernel ends with its shim: only in a jail does pid 1 take everything with it.
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let end = std::time::Instant::now() + std::time::Duration::from_secs(6);
        while std::time::Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Built by cargo beside the tests.
pub(crate) fn fake_kernel() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.ancestors().nth(2).unwrap().join("examples/fake-kernel");
    assert!(path.exists(), "{} is built by cargo test", path.display());
    path
}

pub(crate) struct Client {
    pub(crate) conn: ShimConn,
    session: String,
    asked: u32,
    held: VecDeque<Delivery>,
}

impl Client {
    pub(crate) async fn next(&mut self) -> Delivery {
        if let Some(held) = self.held.pop_front() {
            return held;
        }
        let next = tokio::time::timeout(LIMIT, self.conn.receiver.next()).await.expect("something arrives");
        next.unwrap().expect("the connection stays open")
    }

    /// Sends an execute_request; returns its id.
    pub(crate) async fn ask(&mut self, code: &str) -> String {
        self.send(Channel::Shell, "execute_request", &json!({"code": code})).await
    }

    pub(crate) async fn send(&mut self, channel: Channel, kind: &str, content: &Value) -> String {
        self.asked += 1;
        let id = format!("{}-{}-{}", self.session, self.asked, std::process::id());
        let header = Header::new(&id, kind, &self.session, "ada", UNIX_EPOCH);
        let message = Message::new(&header, None, content).unwrap();
        self.conn.sender.message(channel, message).await.unwrap();
        id
    }

    pub(crate) async fn command(&mut self, id: u64, cmd: Cmd) -> Reply {
        self.conn.sender.command(id, cmd).await.unwrap();
        let mut before = VecDeque::new();
        loop {
            match self.next().await {
                Delivery::Reply(reply) if reply.id == id => {
                    self.held = before;
                    return reply;
                }
                other => before.push_back(other),
            }
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            if let Delivery::Event { event, .. } = self.next().await {
                return event;
            }
        }
    }

    pub(crate) async fn event_that(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.event().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Everything that answers the request, until both its reply and its idle status came.
    pub(crate) async fn answers(&mut self, id: &str) -> Vec<(u64, Channel, Message)> {
        let (mut all, mut replied, mut idle) = (Vec::new(), false, false);
        while !(replied && idle) {
            let Delivery::Message { seq, channel, message } = self.next().await else { continue };
            if message.parent().is_some_and(|parent| parent.msg_id == id) {
                replied |= channel != Channel::Iopub && message.header().unwrap().msg_type != "input_request";
                idle |= status(&message).as_deref() == Some("idle");
                all.push((seq, channel, message));
            }
        }
        all
    }

    pub(crate) async fn run(&mut self, code: &str) -> Vec<String> {
        let id = self.ask(code).await;
        self.answers(&id).await.iter().filter_map(|(_, _, message)| text(message)).collect()
    }
}

pub(crate) fn content(message: &Message) -> Value {
    message.content().unwrap()
}

pub(crate) fn status(message: &Message) -> Option<String> {
    let is = message.header().unwrap().msg_type == "status";
    is.then(|| content(message)["execution_state"].as_str().unwrap().to_owned())
}

pub(crate) fn text(message: &Message) -> Option<String> {
    let is = message.header().unwrap().msg_type == "stream";
    is.then(|| content(message)["text"].as_str().unwrap().to_owned())
}
