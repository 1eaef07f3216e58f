//! The kernel's process: start, watch, reap, interrupt, restart, end.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use carrel_wire::{Channel, ConnectionInfo};
use gateway_shim::protocol::{Exit, State};
use rustix::process::{
    Pid, Signal as Sig, WaitOptions, getpid, getpriority_process, kill_process, kill_process_group,
    setpriority_process, wait,
};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::link::{Link, socket_path};
use crate::output;
use crate::shared::Shared;

/// How long a kernel may take over a shutdown_request, and then over SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
const TERM_GRACE: Duration = Duration::from_secs(1);
/// How often in a row a dying kernel is started again, and after what time alive the count begins anew.
const MAX_RESTARTS: u32 = 5;
const STABLE: Duration = Duration::from_secs(10);

/// How the kernel wants to be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// SIGINT to its process group.
    Signal,
    /// `interrupt_request` on the control channel.
    Message,
}

/// What the supervisor is told, with the way to answer.
pub(crate) enum Order {
    /// End the kernel and start it again.
    Restart(oneshot::Sender<Result<(), String>>),
    /// End the kernel and the shim.
    Shutdown(oneshot::Sender<Result<(), String>>),
}

/// How to start the kernel.
pub(crate) struct Spec {
    /// Program and arguments; `{connection_file}` is replaced.
    pub(crate) argv: Vec<String>,
    /// Working directory relative to `$HOME`.
    pub(crate) cwd: PathBuf,
    /// Where the connection file goes.
    pub(crate) connection_file: PathBuf,
    pub(crate) info: ConnectionInfo,
    /// ZeroMQ identity, the same on shell and stdin so that the kernel can ask back.
    pub(crate) identity: Bytes,
}

/// Interrupts the running cell.
pub(crate) fn interrupt(shared: &Rc<Shared>, how: Interrupt) -> Result<(), String> {
    let pid = {
        let kernel = shared.kernel();
        if kernel.state == State::Dead {
            return Err("the kernel is dead".to_owned());
        }
        kernel.pid.and_then(|pid| Pid::from_raw(pid.cast_signed()))
    };
    match (how, pid) {
        (Interrupt::Message, _) => {
            shared.own_request(Channel::Control, "interrupt_request", &serde_json::json!({}));
            Ok(())
        }
        (Interrupt::Signal, Some(pid)) => match shared.busy_since().map(|since| since.elapsed()) {
            Some(busy) if busy < ARMED_AFTER => {
                tokio::task::spawn_local(interrupt_later(shared.clone(), pid, ARMED_AFTER - busy));
                Ok(())
            }
            _ => kill_process_group(pid, Sig::INT).map_err(|why| why.to_string()),
        },
        (Interrupt::Signal, None) => Err("the kernel is not running".to_owned()),
    }
}

/// ipykernel says "busy" before it lets SIGINT through to the cell: a signal in between would be lost, and the cell would run on.
const ARMED_AFTER: Duration = Duration::from_millis(50);

/// Sends the signal after a moment, if the same process still runs the same cell.
async fn interrupt_later(shared: Rc<Shared>, pid: Pid, wait: Duration) {
    let cell = shared.busy_since();
    tokio::time::sleep(wait).await;
    let same = shared.kernel().pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) == Some(pid);
    if same && cell.is_some() && shared.busy_since() == cell {
        kill_process_group(pid, Sig::INT).ok();
    }
}

/// Keeps the kernel running until it is told to end.
pub(crate) struct Supervisor {
    shared: Rc<Shared>,
    spec: Spec,
    orders: mpsc::Receiver<Order>,
    child_ended: Signal,
    terminate: Signal,
    running: Option<Running>,
    /// Deaths in a row.
    deaths: u32,
}

struct Running {
    pid: Pid,
    link: Link,
    since: Instant,
}

impl Supervisor {
    pub(crate) fn new(
        shared: Rc<Shared>,
        spec: Spec,
        orders: mpsc::Receiver<Order>,
    ) -> std::io::Result<Supervisor> {
        let child_ended = signal(SignalKind::child())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Supervisor { shared, spec, orders, child_ended, terminate, running: None, deaths: 0 })
    }

    /// Returns when the kernel was told to end, and has.
    pub(crate) async fn run(mut self) {
        self.launch();
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => {
                    self.stop(false).await;
                    return;
                }
                _ = self.child_ended.recv() => if let Some(exit) = self.reap() {
                    self.died(exit).await;
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Restart(reply) => self.restart(reply).await,
                    Order::Shutdown(reply) => {
                        self.stop(false).await;
                        self.shared.dead("it was shut down");
                        reply.send(Ok(())).ok();
                        return;
                    }
                },
            }
        }
    }

    async fn restart(&mut self, reply: oneshot::Sender<Result<(), String>>) {
        self.shared.when_ready(reply);
        self.deaths = 0;
        self.shared.restarting(0);
        self.stop(true).await;
        self.end_strays().await;
        self.launch();
    }

    /// The kernel ended although nobody asked it to.
    async fn died(&mut self, exit: Exit) {
        let Some(running) = self.running.take() else { return };
        running.link.drain().await;
        self.shared.exited(exit, false);
        self.deaths = if running.since.elapsed() > STABLE { 1 } else { self.deaths + 1 };
        output::note(&format!("the kernel died ({})", describe(exit)));
        if self.deaths > MAX_RESTARTS {
            self.shared.dead(&format!("it died {} times in a row ({})", self.deaths, describe(exit)));
        } else {
            self.shared.restarting(self.deaths);
            self.end_strays().await;
            self.launch();
        }
    }

    /// What a kernel left behind ends with it, however it hid: the next one begins alone. In a jail only, where this is pid 1.
    async fn end_strays(&mut self) {
        if getpid() != Pid::INIT {
            return;
        }
        let deadline = Instant::now() + GRACE;
        // To the "group" of pid 1 means to everybody but oneself. It reaches all at once: nothing can fork its way out of it.
        while kill_process_group(Pid::INIT, Sig::KILL).is_ok() {
            self.reap();
            if timeout_at(deadline, self.child_ended.recv()).await.is_err() {
                output::note("processes of the kernel before do not end");
                return;
            }
        }
        self.reap();
    }

    fn launch(&mut self) {
        match self.start() {
            Ok(running) => {
                self.shared.started(running.pid.as_raw_nonzero().get().cast_unsigned());
                self.running = Some(running);
            }
            Err(why) => {
                let reason =
                    format!("{} cannot be started: {why}", self.spec.argv.first().map_or("", String::as_str));
                output::note(&reason);
                self.shared.dead(&reason);
            }
        }
    }

    fn start(&self) -> std::io::Result<Running> {
        let spec = &self.spec;
        for channel in Channel::ALL {
            // A socket file that is left over would keep the next kernel from binding.
            std::fs::remove_file(socket_path(&spec.info, channel)).ok();
        }
        write_connection_file(&spec.connection_file, &spec.info)?;
        let file = spec.connection_file.to_string_lossy();
        let mut argv = spec.argv.iter().map(|arg| arg.replace("{connection_file}", &file));
        let program = argv.next().unwrap_or_default();
        let mut command = Command::new(program);
        command.args(argv).current_dir(working_directory(&spec.cwd)).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        for stream in [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)] {
            if let Some(stream) = stream.and_then(|stream| pipe::Receiver::from_owned_fd(stream).ok()) {
                tokio::task::spawn_local(output::pass_on(stream, "kernel"));
            }
        }
        let pid = Pid::from_child(&child);
        if getpriority_process(None).is_ok_and(|nice| nice < 0) {
            // The shim may run ahead of others, so that it reads promptly; the user's code may not.
            setpriority_process(Some(pid), 0).ok();
        }
        let link = Link::start(&self.shared, &spec.info, &spec.identity);
        Ok(Running { pid, link, since: Instant::now() })
    }

    /// Ends the kernel: by request, then SIGTERM, then SIGKILL.
    async fn stop(&mut self, restart: bool) {
        let Some(running) = &self.running else { return };
        let (pid, has_control) = (running.pid, running.link.has_control());
        running.link.stop_nudging();
        let mut exit = None;
        if has_control {
            let content = serde_json::json!({ "restart": restart });
            self.shared.own_request(Channel::Control, "shutdown_request", &content);
            exit = self.wait(GRACE).await;
        }
        if exit.is_none() {
            kill_process(pid, Sig::TERM).ok();
            exit = self.wait(TERM_GRACE).await;
        }
        if exit.is_none() {
            kill_process_group(pid, Sig::KILL).ok();
            exit = self.wait(GRACE).await;
        }
        if let Some(running) = self.running.take() {
            running.link.drain().await;
        }
        // A process that survives SIGKILL hangs in the operating system; it is nobody's kernel any more.
        self.shared.exited(exit.unwrap_or(Exit { code: None, signal: Some(Sig::KILL.as_raw()) }), true);
    }

    async fn wait(&mut self, most: Duration) -> Option<Exit> {
        let deadline = Instant::now() + most;
        loop {
            if let Some(exit) = self.reap() {
                return Some(exit);
            }
            timeout_at(deadline, self.child_ended.recv()).await.ok()?;
        }
    }

    /// Collects every process that ended: the kernel, if it did, and orphans that were left to pid 1.
    fn reap(&self) -> Option<Exit> {
        let mut kernel = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if self.running.as_ref().is_some_and(|running| running.pid == pid) {
                kernel = Some(Exit { code: status.exit_status(), signal: status.terminating_signal() });
            }
        }
        kernel
    }
}

fn describe(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

/// Written anew for every start, readable by the owner only: it holds the key.
fn write_connection_file(path: &Path, info: &ConnectionInfo) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::remove_file(path).ok();
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(info.to_json().as_bytes())
}

/// The wanted folder below `$HOME`; `$HOME` when it is not there; the root when there is no home.
fn working_directory(cwd: &Path) -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    [home.join(cwd), home].into_iter().find(|folder| folder.is_dir()).unwrap_or_else(|| PathBuf::from("/"))
}
