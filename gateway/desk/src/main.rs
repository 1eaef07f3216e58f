//! `carrel-desk`: the files, checkpoints and terminals of one user, over the contents and terminals parts of the
//! Jupyter Server API.
//!
//! It runs inside the user's jail with the user's uid and asks nobody for a password: whoever reaches its socket is the
//! gateway, which has checked. It knows one home and nothing of other users.

mod account;
mod app;
mod atomic;
mod body;
mod checkpoints;
#[cfg(test)]
mod contents_tests;
mod desk;
mod error;
mod files;
mod home;
mod largest;
mod listener;
mod listing;
mod log;
mod model;
mod names;
mod notebook;
mod path;
mod read;
mod remove;
mod route;
mod save;
mod serve;
mod stream;
mod terminal;
mod transfer;
mod trust;
mod uploads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use crate::desk::Desk;
use crate::home::Home;
use crate::listener::Address;

/// Wrong usage.
const USAGE: u8 = 64;
/// Something that is needed is not there.
const UNAVAILABLE: u8 = 69;
/// Our own fault.
const INTERNAL: u8 = 70;

/// Serves one user's files and terminals.
#[derive(Debug, Parser)]
#[command(name = "carrel-desk", version)]
struct Args {
    /// Where to listen: fd:3 (inherited), unix:/path, or 127.0.0.1:port for development.
    #[arg(long, default_value = "fd:3")]
    listen: Address,
    /// The folder to serve; $HOME if not given.
    #[arg(long)]
    root: Option<PathBuf>,
    /// A folder whose home.json says what the home may hold, as spawnd writes it; without it there is no bound.
    #[arg(long)]
    bound: Option<PathBuf>,
    /// End after so many seconds without a request or a terminal.
    #[arg(long, default_value_t = 600)]
    idle_secs: u64,
    /// The largest request body, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_body_mib: u64,
}

fn main() -> ExitCode {
    if let Some(code) = terminal::child::main_if_asked() {
        return code;
    }
    // Programs in terminals run as the same user: they could write into this process's memory otherwise.
    if let Err(why) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        eprintln!("carrel-desk: {why}");
        return ExitCode::from(INTERNAL);
    }
    if let Some(code) = terminal::keeper::main_if_asked() {
        return code;
    }
    // What a killed keeper of a terminal leaves behind comes here.
    if let Err(why) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        eprintln!("carrel-desk: {why}");
        return ExitCode::from(INTERNAL);
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            eprintln!("carrel-desk: {text}");
            ExitCode::from(code)
        }
    }
}

fn run(args: Args) -> Result<(), (u8, String)> {
    let bound =
        args.listen.bind().map_err(|e| (UNAVAILABLE, format!("cannot listen on {:?}: {e}", args.listen)))?;
    let root = args
        .root
        .or_else(|| std::env::var_os("HOME").map(PathBuf::from))
        .ok_or_else(|| (USAGE, "neither --root nor $HOME is given".to_owned()))?;
    let home = Home::open(&root, args.bound).map_err(|e| (UNAVAILABLE, e.chain()))?;
    let desk = Arc::new(Desk::new(home, args.max_body_mib << 20));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .map_err(|e| (INTERNAL, e.to_string()))?;
    let served = runtime.block_on(async {
        let listener = bound.listen()?;
        serve::run(listener, desk, Duration::from_secs(args.idle_secs)).await
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    served.map_err(|e| (INTERNAL, e.to_string()))
}
