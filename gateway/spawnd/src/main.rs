//! `carrel-spawnd`: the only privileged program. Takes its settings on descriptor 0, builds jails on request.
//!
//! It has one thread, starts before the gateway's runtime, and outlives the gateway. What it is told while it runs can
//! only name users, jails and kernelspecs (`protocol.rs`); the steps of a start are in `jail/inside.rs` and `docs/jail.md`.

mod host;
mod jail;
mod keeper;
mod log;
mod serve;
mod sys;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::settings::ModePreference;
use gateway_spawnd::{Hello, Mode, Refusal, Reply, Settings};
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use serde_json::json;

use host::cgroup::Cgroups;
use host::mode::{self, Living};
use host::{internal, probe, quota};
use keeper::{Keeper, Kept};

const USAGE: &str = "usage: carrel-spawnd serve [--detach] < settings.json
       carrel-spawnd sweep < settings.json
       carrel-spawnd probe [--mode auto|root|userns|degraded] [--state FOLDER]
";
const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve"] => serve(How::Foreground),
        ["serve", "--detach"] => serve(How::Detached),
        ["sweep"] => serve(How::OnlyToEnd),
        ["probe", options @ ..] => match wished(options) {
            Some((wish, state)) => report(wish, state),
            None => wrong_usage(),
        },
        ["--version"] => say(&format!("carrel-spawnd {}\n", env!("CARGO_PKG_VERSION"))),
        ["--help" | "help"] => say(USAGE),
        _ => wrong_usage(),
    }
}

fn wrong_usage() -> ExitCode {
    let _ = std::io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(EX_USAGE)
}

/// The options of `probe`: how jails would be built, and where homes would lie.
fn wished<'a>(options: &[&'a str]) -> Option<(ModePreference, Option<&'a Path>)> {
    let (mut wish, mut state) = (ModePreference::Auto, None);
    for option in options.chunks(2) {
        match option {
            ["--mode", "auto"] => wish = ModePreference::Auto,
            ["--mode", "root"] => wish = ModePreference::Root,
            ["--mode", "userns"] => wish = ModePreference::Userns,
            ["--mode", "degraded"] => wish = ModePreference::Degraded,
            ["--state", folder] => state = Some(Path::new(*folder)),
            _ => return None,
        }
    }
    Some((wish, state))
}

/// The ways to run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Under something that starts it again.
    Foreground,
    /// By itself, below a keeper of its own.
    Detached,
    /// Takes over what jails an earlier one left, ends them, and ends.
    OnlyToEnd,
}

/// Prints `{"ok":hello}` or `{"err":…}` on standard output once it serves or will not; then serves.
fn serve(how: How) -> ExitCode {
    let settings = match read_settings() {
        Ok(settings) => settings,
        Err(refusal) => return give_up(refusal),
    };
    // It holds some descriptors for each jail.
    let many = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: many, maximum: many });
    let mut keeper = Keeper::absent();
    if how == How::Detached {
        match detached() {
            Ok(None) => {}
            Ok(Some(code)) => return code,
            Err(error) => return give_up(internal("detaching", &error)),
        }
        match keeper::keep(&silence) {
            Ok(Kept::Serving(kept)) => keeper = kept,
            Ok(Kept::Over(code)) => return code,
            Err(error) => return give_up(internal("starting the keeper", &error)),
        }
    }
    let mut server = match serve::workshop::open(settings, keeper) {
        Ok(server) => server,
        Err(refusal) => return give_up(refusal),
    };
    answer(&Reply::Ok(server.hello.clone()));
    // Whoever waits for the answer reads up to the end of it.
    if let Err(error) = silence() {
        log::warn("silence", json!({ "error": error.to_string() }));
    }
    if how == How::OnlyToEnd {
        server.stop_all();
    }
    match server.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::event("ERROR", "fault", json!({ "error": error.to_string() }));
            ExitCode::from(EX_SOFTWARE)
        }
    }
}

/// What this host would give, as JSON.
fn report(wish: ModePreference, state: Option<&Path>) -> ExitCode {
    let found = || -> Result<(Mode, gateway_spawnd::LayerReport), Refusal> {
        let mode = mode::choose(wish, geteuid().is_root())?;
        let ids = mode::enter(mode, 0..0, Living::default())?;
        let filter =
            jail::filter::compile().map_err(|error| internal("compiling the system call filter", &error))?;
        let state = state.unwrap_or(Path::new("/var/lib/carrel"));
        let disk = rustix::fs::stat(quota::nearest(state))
            .map_err(|error| internal("looking at the folder of the homes", &error))?
            .st_dev;
        let cgroups = Cgroups::detect(mode, &format!("probe-{}", rustix::process::getpid()), disk);
        let mut given = probe::namespaces(mode);
        given.insert(gateway_spawnd::LayerName::Uid, ids.layer());
        let quotas = quota::detect_at(mode, state);
        Ok((mode, probe::all(mode, &given, &cgroups, &filter, &quotas)))
    };
    match found() {
        Ok((mode, layers)) => say(&format!("{}\n", json!({ "mode": mode, "layers": layers }))),
        Err(refusal) => give_up(refusal),
    }
}

fn read_settings() -> Result<Settings, Refusal> {
    let mut text = String::new();
    let read = std::io::stdin().take(16 << 20).read_to_string(&mut text);
    read.map_err(|error| internal("reading the settings from descriptor 0", &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Refusal::new(ErrorCode::BadRequest, format!("the settings on descriptor 0 are wrong: {error}"))
    })
}

/// Forks: the caller's child passes the answer on and ends, its child serves in a session of its own.
fn detached() -> std::io::Result<Option<ExitCode>> {
    let (answer, answer_in) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    if sys::fork()?.is_none() {
        rustix::process::setsid()?;
        sys::standard(answer_in.as_fd(), 1)?;
        rustix::process::chdir("/")?;
        return Ok(None);
    }
    drop(answer_in);
    let mut text = String::new();
    std::fs::File::from(answer).read_to_string(&mut text)?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Some(if text.starts_with("{\"ok\"") { ExitCode::SUCCESS } else { ExitCode::from(EX_UNAVAILABLE) }))
}

/// Standard input and output lead nowhere from now on.
fn silence() -> std::io::Result<()> {
    let null: OwnedFd = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty())?;
    sys::standard(null.as_fd(), 0)?;
    sys::standard(null.as_fd(), 1)
}

fn give_up(refusal: Refusal) -> ExitCode {
    log::event("ERROR", "refused", json!({ "code": refusal.code, "message": refusal.message }));
    let code = match refusal.code {
        ErrorCode::BadRequest => EX_USAGE,
        ErrorCode::Internal => EX_SOFTWARE,
        _ => EX_UNAVAILABLE,
    };
    answer(&Reply::Err(refusal));
    ExitCode::from(code)
}

fn answer(reply: &Reply<Hello>) {
    if let Ok(text) = serde_json::to_string(reply) {
        let _ = std::io::stdout().write_all(format!("{text}\n").as_bytes());
        let _ = std::io::stdout().flush();
    }
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EX_SOFTWARE),
    }
}
