//! `carrel-broker`: the only program that holds a credential of the cluster. It reads files there as the user who asks, for engines and
//! nobody else, and writes down what it read before the first byte leaves it. `docs/broker.md` has the protocol and the trust.

mod audit;
mod cluster;
mod config;
mod control;
mod engine;
mod failure;
mod identity;
mod keytab;
mod opened;
mod question;
mod reading;
mod serve;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use config::Config;

/// Reads the cluster for Carrel's engines.
#[derive(Parser)]
#[command(name = "carrel-broker", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves engines, which carrel-spawnd announces on descriptor 3.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Logs in and asks the cluster for its root folder, then says how that went.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Usage, configuration, keytab.
const USAGE: u8 = 64;
/// The cluster cannot be reached.
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
    let (Command::Serve { config: path } | Command::Check { config: path }) = &args.command;
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => return failed(USAGE, &error.to_string()),
    };
    if let Some(code) = with_own_environment(&config) {
        return code;
    }
    let filter = EnvFilter::try_from_env("CARREL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .json()
        .flatten_event(true)
        .init();
    let done = match args.command {
        Command::Serve { .. } => serve::serve(config),
        Command::Check { .. } => serve::check(config),
    };
    match done {
        Ok(said) => {
            if !said.is_empty() {
                println!("{said}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => failed(error.code(), &error.to_string()),
    }
}

/// Kerberos, Hadoop and the allocator read their settings from the environment, once: the program starts itself again with nothing in it
/// but what the configuration says.
fn with_own_environment(config: &Config) -> Option<ExitCode> {
    const MARK: &str = "CARREL_BROKER";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let mut again = std::process::Command::new("/proc/self/exe");
    again
        .arg0("carrel-broker")
        .args(std::env::args_os().skip(1))
        .env_clear()
        .env(MARK, "1")
        .env("LANG", "C.UTF-8");
    if let Some(level) = std::env::var_os("CARREL_LOG") {
        again.env("CARREL_LOG", level);
    }
    if let Some(krb5) = &config.krb5 {
        again.env("KRB5_CONFIG", krb5);
    }
    // bursts of reads would stay in the heaps of many threads
    again.env("MALLOC_ARENA_MAX", "2");
    let error = again.exec();
    Some(failed(INTERNAL, &format!("starting again: {error}")))
}

fn failed(code: u8, text: &str) -> ExitCode {
    eprintln!("carrel-broker: {text}");
    ExitCode::from(code)
}
