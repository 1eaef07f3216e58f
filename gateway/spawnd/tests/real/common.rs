//! A real `carrel-spawnd` on scratch folders, with shell and Python stand-ins for the programs it starts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_spawnd::settings::Interrupt;
use gateway_spawnd::{
    Client, Hello, JailId, Kernelspec, Limits, Profile, Programs, Reply, Settings, ShutdownJails, Start,
};

/// An uid that has nothing to do with anybody else.
pub(crate) const ORDINARY: u32 = 64_123;

/// Pid 1 of the tests' kernels: answers each connection on descriptor 3 by running it as Python.
const SHIM: &str = r#"#!/usr/bin/python3 -S
import io, os, signal, socket, sys, contextlib
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
server = socket.socket(fileno=3)
server.setblocking(True)
while True:
    connection, _ = server.accept()
    text = connection.makefile("rb").read().decode()
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(text, {"os": os, "sys": sys, "socket": socket, "print": lambda *a: print(*a, file=out)})
    except BaseException as error:
        print(type(error).__name__, error, file=out)
    with contextlib.suppress(OSError):
        connection.sendall(out.getvalue().encode())
    connection.close()
"#;

/// One connection, one line, the end.
const ENGINE: &str = r#"#!/usr/bin/python3 -S
import os, socket, sys
server = socket.socket(fileno=3)
server.setblocking(True)
connection, _ = server.accept()
with open("/scratch/starts", "a") as f: f.write("x")
kept = open("/scratch/starts").read()
try: data = open(os.environ.get("DATA", "/nowhere")).read()
except OSError as error: data = str(error)
connection.sendall(f"engine {len(kept)} {sys.argv[1:]} {open('/etc/carrel/engine.toml').read()}".encode())
connection.close()
"#;

/// Lives as long as a test.
pub(crate) struct Spawnd {
    pub(crate) root: tempfile::TempDir,
    pub(crate) settings: Settings,
    pub(crate) hello: Hello,
    pub(crate) child: Child,
    pub(crate) client: Client,
    pub(crate) log: Box<dyn Fn() -> String>,
    who: As,
    collected: Arc<Mutex<String>>,
}

/// Who starts spawnd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum As {
    Root,
    Ordinary,
}

/// Whether this test can run here; says so if not.
pub(crate) fn possible(who: As) -> bool {
    let root = rustix::process::geteuid().is_root();
    if who == As::Root && !root {
        eprintln!("skipped: needs root");
    }
    who == As::Ordinary || root
}

/// Scratch folders and settings, ready to be changed.
pub(crate) fn prepare(who: As) -> (tempfile::TempDir, Settings) {
    // Short: socket paths have 107 bytes.
    let root = tempfile::Builder::new().prefix("sp").tempdir_in("/tmp").unwrap();
    let bin = root.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, text) in [("shim", SHIM), ("desk", SHIM), ("engine", ENGINE)] {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(root.path().join("engine.toml"), "test = 1").unwrap();
    let (uid, gid) = match who {
        As::Root => (0, 0),
        As::Ordinary if rustix::process::geteuid().is_root() => (ORDINARY, ORDINARY),
        As::Ordinary => (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
    };
    for folder in ["run", "state"] {
        fs::create_dir(root.path().join(folder)).unwrap();
        chown(root.path().join(folder), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(root.path().join(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The programs lie below a folder that only root may pass; an ordinary spawnd must pass it itself.
    let mode = if who == As::Root { 0o700 } else { 0o755 };
    fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
    let programs =
        Programs { shim: bin.join("shim"), desk: bin.join("desk"), engine: Some(bin.join("engine")) };
    let mut settings = Settings::new(root.path().join("run"), root.path().join("state"), uid, gid, programs);
    settings.engine_config = Some(root.path().join("engine.toml"));
    let spec = Kernelspec {
        argv: vec!["true".into()],
        env: BTreeMap::new(),
        interrupt: Interrupt::Signal,
        ..Kernelspec::default()
    };
    settings.kernelspecs.insert("py".parse().unwrap(), spec);
    settings.limits.kernel =
        Limits { memory_bytes: Some(256 << 20), pids: Some(64), tmp_bytes: 64 << 20, ..Limits::kernel() };
    (root, settings)
}

/// Connects as the gateway would: inside a user namespace root is nobody.
fn connect_as(uid: u32, settings: &Settings) -> Client {
    try_connect_as(uid, settings).unwrap()
}

fn try_connect_as(uid: u32, settings: &Settings) -> Option<Client> {
    use rustix::process::Uid;
    use rustix::thread::set_thread_res_uid;
    let (me, gateway) = (rustix::process::getuid(), Uid::from_raw(uid));
    set_thread_res_uid(me, gateway, me).unwrap();
    let client = Client::connect(settings.socket());
    set_thread_res_uid(me, me, me).unwrap();
    client.ok()
}

/// Starts the program and waits for its answer.
pub(crate) fn run(who: As, settings: &Settings) -> (Child, Result<Hello, gateway_spawnd::Refusal>) {
    run_with(who, settings, &["serve"])
}

/// The same in another way: with its keeper, or only to end what is left.
pub(crate) fn run_with(
    who: As,
    settings: &Settings,
    arguments: &[&str],
) -> (Child, Result<Hello, gateway_spawnd::Refusal>) {
    let program = env!("CARGO_BIN_EXE_carrel-spawnd");
    let mut command = if who == As::Ordinary && rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        let ids = ["--reuid", &ORDINARY.to_string(), "--regid", &ORDINARY.to_string(), "--clear-groups"]
            .map(str::to_owned);
        // The build folder may be closed to others: run a copy.
        let copy = settings.state.parent().unwrap().join("bin/carrel-spawnd");
        if !copy.exists() {
            fs::copy(program, &copy).unwrap();
        }
        command.args(ids).arg(copy);
        command
    } else {
        Command::new(program)
    };
    let mut child = command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(settings).unwrap()).unwrap();
    let mut answer = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    match serde_json::from_str(&answer) {
        Ok(Reply::Ok(hello)) => (child, Ok(hello)),
        Ok(Reply::Err(refusal)) => (child, Err(refusal)),
        Err(_) => {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("no answer: {answer:?} {log}");
        }
    }
}

impl Spawnd {
    /// With the prepared settings, changed by the test.
    pub(crate) fn start(who: As, change: impl FnOnce(&Path, &mut Settings)) -> Self {
        Self::start_with(who, &["serve"], change)
    }

    /// Below a keeper.
    pub(crate) fn detached(who: As, change: impl FnOnce(&Path, &mut Settings)) -> Self {
        Self::start_with(who, &["serve", "--detach"], change)
    }

    fn start_with(who: As, arguments: &[&str], change: impl FnOnce(&Path, &mut Settings)) -> Self {
        let (root, mut settings) = prepare(who);
        change(root.path(), &mut settings);
        let (mut child, hello) = run_with(who, &settings, arguments);
        let hello = hello.unwrap();
        let collected = Arc::new(Mutex::new(String::new()));
        collect(&mut child, &collected);
        let read = collected.clone();
        let log = Box::new(move || read.lock().unwrap().clone());
        let client = connect_as(settings.gateway_uid, &settings);
        Self { root, settings, hello, child, client, log, who, collected }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another one with the same settings.
    pub(crate) fn again(&mut self) {
        let (mut child, hello) = run(self.who, &self.settings);
        self.hello = hello.unwrap();
        collect(&mut child, &self.collected);
        self.child = child;
        self.client = connect_as(self.settings.gateway_uid, &self.settings);
    }

    /// A client of whoever serves in the place of the one that was killed.
    pub(crate) fn connect_again(&self) -> Client {
        let mut found = None;
        eventually("somebody else serves", || {
            // The killed one's socket may still take connections for a moment.
            let there = Client::connect(self.settings.socket()).is_ok();
            let client = there.then(|| try_connect_as(self.settings.gateway_uid, &self.settings)).flatten();
            found = client.filter(|client| client.hello().is_ok_and(|hello| hello.pid != self.hello.pid));
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn kernel(&self, user: &str, id: &str) -> gateway_spawnd::Started {
        match self.client.start(kernel(user, id)) {
            Ok((started, _)) => started,
            Err(error) => panic!("{error}: {}", (self.log)()),
        }
    }

    /// Runs Python as the kernel's pid 1 and gives what it printed.
    pub(crate) fn python(&self, id: &str, code: &str) -> String {
        python(&self.settings.runtime.join("jails").join(id).join("main.sock"), code)
    }

    /// Ends it and checks that nothing is left.
    pub(crate) fn finish(mut self) {
        let (runtime, state) = (self.settings.runtime.clone(), self.settings.state.clone());
        let stopped = self.client.shutdown(ShutdownJails::Stop);
        assert!(stopped.is_ok(), "{stopped:?} {}", (self.log)());
        assert!(self.child.wait().unwrap().success(), "{}", (self.log)());
        eventually("the end of spawnd", || !runtime.join("spawnd.sock").exists());
        assert_eq!(names(&runtime.join("jails")), Vec::<String>::new());
        assert_eq!(names(&state.join("scratch")), Vec::<String>::new());
        assert!(!runtime.join("spawnd.sock").exists());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.root.path().to_str().unwrap()), "{mounts}");
    }
}

impl Drop for Spawnd {
    /// A test that failed leaves nothing either.
    fn drop(&mut self) {
        let _ = self.client.shutdown(ShutdownJails::Stop);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.settings.runtime.join("jails").read_dir().is_ok_and(|mut jails| jails.next().is_some()) {
            let (mut child, _) = run_with(self.who, &self.settings, &["sweep"]);
            let _ = child.wait();
        }
    }
}

/// What it writes to standard error.
fn collect(child: &mut Child, into: &Arc<Mutex<String>>) {
    let (stderr, sink) = (child.stderr.take().unwrap(), into.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut text = sink.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
}

pub(crate) fn kernel(user: &str, id: &str) -> Start {
    Start {
        user: user.parse().unwrap(),
        id: id.parse().unwrap(),
        profile: Profile::Kernel,
        kernelspec: Some("py".parse().unwrap()),
        cwd: Default::default(),
        groups: vec![],
    }
}

pub(crate) fn id(id: &str) -> JailId {
    id.parse().unwrap()
}

pub(crate) fn python(socket: &Path, code: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(code.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.trim().to_owned()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Host pids whose command line holds this text.
pub(crate) fn processes(text: &str) -> Vec<String> {
    let pids = names(Path::new("/proc")).into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    pids.filter(|pid| {
        fs::read(PathBuf::from("/proc").join(pid).join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    })
    .collect()
}

/// Waits for a condition, by looking.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
