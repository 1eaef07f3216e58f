//! A whole server in one jail (`carrel-shim serve`): it is started once the gateway has said with which environment, the gateway's connections
//! are led to its port, and it ends the jail when it ends.
//!
//! Every connection on descriptor 3 begins with one byte: [`START`] brings the environment, [`STOP`] asks for an orderly end, [`CONNECT`] makes
//! the rest of the connection one to the server's port, [`WATCH`] is closed when all is over. Only the gateway can open that socket.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::args::ServerArgs;
use crate::{listener, output};

/// First bytes of a connection.
const START: u8 = b's';
const STOP: u8 = b't';
const CONNECT: u8 = b'c';
const WATCH: u8 = b'w';
/// Answers to the first two; a refusal is followed by its reason.
const DONE: u8 = b'1';
const REFUSED: u8 = b'0';

/// Connections to the server at a time; more wait to be taken.
const MAX_CONNECTIONS: usize = 512;
/// The longest environment.
const MAX_ENVIRONMENT: usize = 64 * 1024;
/// How long a connection may take to say what it is.
const FIRST_WORDS: Duration = Duration::from_secs(10);
/// A gateway that has died before it said the environment starts nothing any more.
const UNSTARTED: Duration = Duration::from_secs(60);
/// How long the server may take to end in order.
const GRACE: Duration = Duration::from_secs(10);

/// What the gateway says before the server runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    env: BTreeMap<String, String>,
}

/// What a connection asks of the one who holds the process.
enum Order {
    Start(Start, oneshot::Sender<Result<(), String>>),
    Stop(oneshot::Sender<()>),
}

/// The server's life, seen from here.
enum State {
    /// Nobody has said the environment yet.
    Waiting { until: Instant },
    /// It runs.
    Running(Pid),
    /// Told to end; ended the hard way at this moment.
    Ending { pid: Pid, until: Instant },
}

/// Serves until the server has ended; gives its exit code as a shell says it.
pub(crate) async fn run(args: ServerArgs) -> io::Result<ExitCode> {
    let listener = listener::take()?;
    for relay in args.relays {
        relay.start()?;
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
    let (orders, ordered) = mpsc::channel(8);
    tokio::select! {
        code = supervise(&args.argv, ordered) => code,
        () = accept(&listener, args.port, &orders) => Err(io::Error::other("the listener is gone")),
    }
}

async fn supervise(argv: &[String], mut orders: mpsc::Receiver<Order>) -> io::Result<ExitCode> {
    let mut ended = signal(SignalKind::child())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut state = State::Waiting { until: Instant::now() + UNSTARTED };
    let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        let until = match &state {
            State::Waiting { until } | State::Ending { until, .. } => Some(*until),
            State::Running(_) => None,
        };
        let overdue = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = ended.recv() => {
                if let Some(code) = reap(&state) {
                    output::note(&format!("the server has ended with code {code}"));
                    drop(waiting);
                    return Ok(ExitCode::from(code));
                }
            }
            _ = terminate.recv() => state = end(state),
            () = overdue => match state {
                State::Waiting { .. } => {
                    output::note("nobody said how to start the server");
                    return Ok(ExitCode::SUCCESS);
                }
                State::Ending { pid, .. } => {
                    output::note("the server does not end and is killed");
                    kill_process_group(pid, Signal::KILL).ok();
                    state = State::Running(pid);
                }
                State::Running(_) => {}
            },
            Some(order) = orders.recv() => match order {
                Order::Start(start, answer) => {
                    let started = match &state {
                        State::Waiting { .. } => launch(argv, &start).map_err(|why| why.to_string()),
                        _ => Err("the server was started already".to_owned()),
                    };
                    let answered = started.as_ref().map(|_| ()).map_err(Clone::clone);
                    if let Ok(pid) = started {
                        state = State::Running(pid);
                    }
                    answer.send(answered).ok();
                }
                Order::Stop(answer) => {
                    if matches!(state, State::Waiting { .. }) {
                        return Ok(ExitCode::SUCCESS);
                    }
                    waiting.push(answer);
                    state = end(state);
                }
            },
        }
    }
}

fn end(state: State) -> State {
    match state {
        State::Running(pid) => {
            kill_process(pid, Signal::TERM).ok();
            State::Ending { pid, until: Instant::now() + GRACE }
        }
        other => other,
    }
}

/// Collects every process that ended; the server's exit code, if it is among them.
fn reap(state: &State) -> Option<u8> {
    let server = match state {
        State::Waiting { .. } => None,
        State::Running(pid) | State::Ending { pid, .. } => Some(*pid),
    };
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Some(pid) == server {
            let said = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
            code = Some(said.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
    }
    code
}

fn launch(argv: &[String], start: &Start) -> io::Result<Pid> {
    use std::os::unix::process::CommandExt;
    let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
    let mut command = Command::new(program);
    // What the jail has set is not for the gateway to change: it may only add.
    let new = start.env.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    command.args(arguments).envs(new).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|why| io::Error::other(format!("{program} cannot be started: {why}")))?;
    for stream in [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)] {
        if let Some(stream) = stream.and_then(|stream| pipe::Receiver::from_owned_fd(stream).ok()) {
            tokio::task::spawn_local(output::pass_on(stream, "server"));
        }
    }
    Ok(Pid::from_child(&child))
}

async fn accept(listener: &UnixListener, port: Option<u16>, orders: &mpsc::Sender<Order>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let orders = orders.clone();
                tokio::task::spawn_local(async move {
                    // Its client sees that it broke off; nobody else has to.
                    let _ = serve(stream, port, &orders).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(mut stream: UnixStream, port: Option<u16>, orders: &mpsc::Sender<Order>) -> io::Result<()> {
    let kind = timeout(FIRST_WORDS, stream.read_u8()).await??;
    match (kind, port) {
        (CONNECT, Some(port)) => {
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            server.set_nodelay(true)?;
            copy_bidirectional(&mut stream, &mut server).await?;
        }
        (START, _) => {
            let start = timeout_at(Instant::now() + FIRST_WORDS, environment(&mut stream)).await??;
            let (answer, answered) = oneshot::channel();
            orders.send(Order::Start(start, answer)).await.map_err(io::Error::other)?;
            match answered.await.map_err(io::Error::other)? {
                Ok(()) => stream.write_u8(DONE).await?,
                Err(why) => {
                    stream.write_u8(REFUSED).await?;
                    stream.write_all(why.as_bytes()).await?;
                }
            }
        }
        (STOP, _) => {
            let (answer, answered) = oneshot::channel();
            orders.send(Order::Stop(answer)).await.map_err(io::Error::other)?;
            // Never answered: the jail's end closes the connection.
            let _ = answered.await;
        }
        (WATCH, _) => {
            // Whoever watches says nothing more; the end of the connection is all.
            let _ = stream.read_u8().await;
        }
        _ => return Err(io::Error::other("an unknown first byte")),
    }
    Ok(())
}

async fn environment(stream: &mut UnixStream) -> io::Result<Start> {
    let length = stream.read_u32().await?;
    let length = usize::try_from(length).ok().filter(|length| *length <= MAX_ENVIRONMENT);
    let mut text = vec![0; length.ok_or_else(|| io::Error::other("too long an environment"))?];
    stream.read_exact(&mut text).await?;
    let start: Start = serde_json::from_slice(&text)?;
    let plain = |name: &String| {
        name.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    // What a dynamic linker or a shell looks at before the program runs has no business here.
    let allowed = |name: &String| plain(name) && !name.starts_with("LD_");
    if let Some(odd) = start.env.keys().find(|name| !allowed(name)) {
        return Err(io::Error::other(format!("{odd:?} is no name for the environment")));
    }
    if start.env.values().any(|value| value.contains('\0')) {
        return Err(io::Error::other("a value of the environment contains NUL"));
    }
    Ok(start)
}
