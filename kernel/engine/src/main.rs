//! `carrel-engine`: serves a session's data, or writes the demo datasets.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kernel_engine::config::Config;
use kernel_engine::demo::{self, Demo};
use kernel_engine::serve::{Serve, serve};
use kernel_engine::{listen, panics};
use tracing_subscriber::EnvFilter;

/// Carrel's data engine.
#[derive(Parser)]
#[command(name = "carrel-engine", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves one session as Arrow Flight SQL.
    Serve(ServeArgs),
    /// Writes the demo datasets.
    Demo(Demo),
}

#[derive(clap::Args)]
struct ServeArgs {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// The session's folder: tables, views, models, spilled data.
    #[arg(long)]
    scratch: PathBuf,
    /// The user's files; $HOME if not given.
    #[arg(long)]
    home: Option<PathBuf>,
    /// The broker's socket, through which datasets of a cluster are read.
    #[arg(long)]
    broker: Option<PathBuf>,
    /// A listening unix socket that was handed over.
    #[arg(long, default_value_t = 3, conflicts_with = "listen")]
    fd: i32,
    /// Listen on unix:/path instead.
    #[arg(long)]
    listen: Option<String>,
    /// End after this many seconds without work, whatever the configuration says; 0 is never.
    #[arg(long)]
    idle_secs: Option<u64>,
}

/// Usage or configuration.
const USAGE: u8 = 64;
/// What is needed cannot be reached.
const UNAVAILABLE: u8 = 69;
/// A fault of ours.
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let filter = EnvFilter::try_from_env("CARREL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .json()
        .flatten_event(true)
        .init();
    panics::log_panics();
    let done = match args.command {
        Command::Serve(args) => start(args),
        Command::Demo(args) => make_demo(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, error)) => {
            eprintln!("carrel-engine: {}", chain(&*error));
            ExitCode::from(code)
        }
    }
}

type Failed = (u8, Box<dyn Error>);

fn start(args: ServeArgs) -> Result<(), Failed> {
    let (listener, path) = match &args.listen {
        Some(address) => {
            let (listener, path) =
                listen::on_address(address).map_err(|error| (UNAVAILABLE, error.into()))?;
            (listener, Some(path))
        }
        None => (listen::from_descriptor(args.fd).map_err(|error| (USAGE, error.into()))?, None),
    };
    let mut config = Config::load(&args.config).map_err(|error| (USAGE, error.into()))?;
    if let Some(seconds) = args.idle_secs {
        config.engine.idle_seconds = seconds;
    }
    let home = args.home.or_else(|| std::env::var_os("HOME").map(PathBuf::from));
    let home = home.ok_or_else(|| (USAGE, "no --home and no $HOME".into()))?;
    let served = serve(Serve { config, scratch: args.scratch, home, listener, broker: args.broker });
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    served.map_err(|error| (INTERNAL, error.into()))
}

fn make_demo(args: &Demo) -> Result<(), Failed> {
    demo::make(args, &mut std::io::stdout()).map(|_| ()).map_err(|error| (UNAVAILABLE, error.into()))
}

/// An error with its causes, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
