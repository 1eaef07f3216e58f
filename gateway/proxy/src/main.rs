//! `carrel-proxy`: the only way from a kernel's jail to the network, for kernels of the profile `kernel+proxy`. It connects to what the
//! administrator's list allows the user who asks, to nothing else, and writes down every verdict. It holds no credential and opens no file
//! but its configuration and its journal. `docs/jail.md` has the trust, `docs/architecture.md` the packets.

mod address;
mod budget;
mod config;
mod control;
mod journal;
mod policy;
mod refusal;
mod relay;
mod request;
mod serve;
mod target;
mod tunnel;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use config::Config;

/// Takes kernels of the profile `kernel+proxy` to the hosts that they may reach.
#[derive(Parser)]
#[command(name = "carrel-proxy", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves kernels, which carrel-spawnd announces on descriptor 3.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Reads the configuration and says what is wrong with it.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Usage and configuration.
const USAGE: u8 = 64;
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
    let (Command::Serve { config: path } | Command::Check { config: path }) = &args.command;
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return failed(USAGE, &error.to_string()),
    };
    let filter = EnvFilter::try_from_env("CARREL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .json()
        .flatten_event(true)
        .init();
    match &args.command {
        Command::Check { .. } => {
            println!("{}", config.summary());
            ExitCode::SUCCESS
        }
        Command::Serve { config: path } => match serve::serve(path.clone(), config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(INTERNAL, &format!("cannot serve: {error}")),
        },
    }
}

fn failed(code: u8, text: &str) -> ExitCode {
    eprintln!("carrel-proxy: {text}");
    ExitCode::from(code)
}
