//! The command line.
//!
//! Exit codes: 0 done, 64 wrong usage or configuration, 69 something that is needed is not there, 70 a fault of ours.

mod limits;
mod people;

use crate::check;
use crate::config::{Config, keys};
use crate::settings;
use crate::start::{self, Fatal, lock, privileges};
use carrel_spawnd::{Client, ShutdownJails};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};
use std::time::{Duration, Instant};

/// Hosted notebooks with sandboxed kernels in milliseconds.
#[derive(Debug, Parser)]
#[command(name = "carrel", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: log in, JupyterLab, the Hub API.
    Serve(Place),
    /// Look at everything that Carrel needs and say what is missing.
    Check(Place),
    /// Write a configuration file with every key explained.
    Init(Init),
    /// Make the demo datasets (a second time it does nothing).
    Demo(Place),
    /// End the gateway, all kernels and the sandbox helper.
    Stop(Place),
    /// Manage users.
    User {
        #[command(subcommand)]
        command: people::UserCommand,
    },
    /// Manage API tokens.
    Token {
        #[command(subcommand)]
        command: people::TokenCommand,
    },
    /// List running jails.
    Jails(Jails),
    /// Bounds of jails.
    Limits {
        #[command(subcommand)]
        command: limits::LimitsCommand,
    },
}

/// Which Carrel is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The state folder [default: /var/lib/carrel for root, else ~/.local/share/carrel]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// The configuration file [default: carrel.toml in the state folder]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    place: Place,
    /// Where programs and JupyterLab's files lie
    #[arg(long, value_name = "FOLDER")]
    prefix: Option<PathBuf>,
    /// The port to listen on
    #[arg(long)]
    port: Option<u16>,
    /// Print docs/config.md instead of writing a file
    #[arg(long, hide = true)]
    document: bool,
}

#[derive(Debug, Args)]
struct Jails {
    #[command(flatten)]
    place: Place,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The sandbox helper itself instead of its jails
    #[arg(long)]
    spawner: bool,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // nothing can be done if even the terminal is gone
            let _ = e.print();
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(64) };
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(fatal) => {
            eprintln!("carrel: {fatal}");
            ExitCode::from(fatal.code)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Fatal> {
    match command {
        Command::Serve(place) => start::serve(place.config()?),
        Command::Check(place) => Ok(check::run(place.config())),
        Command::Init(init) => initialise(&init),
        Command::Demo(place) => demo(&place.config()?),
        Command::Stop(place) => stop(&place.config_or_defaults()),
        Command::User { command } => people::user(command),
        Command::Token { command } => people::token(command),
        Command::Jails(jails) => list_jails(&jails),
        Command::Limits { command } => limits::run(&command),
    }
}

impl Place {
    fn state(&self) -> PathBuf {
        let from_config =
            || self.config.as_deref().and_then(Path::parent).filter(|p| !p.as_os_str().is_empty());
        let state =
            self.state.clone().or_else(|| from_config().map(Path::to_owned)).unwrap_or_else(default_state);
        std::path::absolute(&state).unwrap_or(state)
    }

    fn file(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.state().join("carrel.toml"))
    }

    /// Stopping must work even while the file is wrong.
    fn config_or_defaults(&self) -> Config {
        self.config().unwrap_or_else(|e| {
            eprintln!("carrel: {e}\ncarrel: going on with the defaults");
            Config::defaults(&self.state())
        })
    }

    pub(crate) fn config(&self) -> Result<Config, Fatal> {
        Ok(Config::load(&self.file(), &self.state())?)
    }
}

fn default_state() -> PathBuf {
    if let Some(state) = std::env::var_os("CARREL_STATE").filter(|s| !s.is_empty()) {
        return PathBuf::from(state);
    }
    match std::env::var_os("HOME") {
        Some(home) if !privileges::is_root() => PathBuf::from(home).join(".local/share/carrel"),
        _ => PathBuf::from("/var/lib/carrel"),
    }
}

fn initialise(init: &Init) -> Result<ExitCode, Fatal> {
    if init.document {
        print!("{}", keys::document());
        return Ok(ExitCode::SUCCESS);
    }
    let (state, file) = (init.place.state(), init.place.file());
    std::fs::create_dir_all(&state)
        .map_err(|e| Fatal::unavailable(format!("cannot make {}: {e}", state.display())))?;
    let prefix = init.prefix.as_deref().map(std::path::absolute).transpose().map_err(Fatal::usage)?;
    Config::write_template(&file, prefix.as_deref(), init.port)?;
    println!(
        "{} is written; every key in it is explained. `carrel check` says whether all is there.",
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Runs `carrel-engine demo` beside us, into the state's datasets.
fn demo(config: &Config) -> Result<ExitCode, Fatal> {
    let out = config.state.join("datasets");
    let program = config.prefix().join("bin/carrel-engine");
    std::fs::create_dir_all(&out)
        .map_err(|e| Fatal::unavailable(format!("cannot make {}: {e}", out.display())))?;
    let status = Process::new(&program)
        .arg("demo")
        .arg("--out")
        .arg(&out)
        .status()
        .map_err(|e| Fatal::unavailable(format!("cannot run {}: {e}", program.display())))?;
    if !status.success() {
        return Err(Fatal::unavailable(format!(
            "the demo datasets were not made: {} ended with {status}",
            program.display()
        )));
    }
    println!("Demo datasets are in {}.", out.display());
    Ok(ExitCode::SUCCESS)
}

fn stop(config: &Config) -> Result<ExitCode, Fatal> {
    let me = privileges::identity(&config.gateway.user)?;
    let runtime = settings::runtime_dir(config, privileges::is_root(), me.uid);
    if let Some(holder) = lock::holder(config) {
        let pid = Pid::from_raw(holder.pid).ok_or_else(|| Fatal::internal("no such process"))?;
        kill_process(pid, Signal::TERM)
            .map_err(|e| Fatal::unavailable(format!("cannot stop process {}: {e}", holder.pid)))?;
        let end = Instant::now() + Duration::from_secs(config.gateway.drain_seconds + 10);
        while lock::holder(config).is_some() {
            if Instant::now() > end {
                return Err(Fatal::unavailable(format!("the gateway (process {}) does not end", holder.pid)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("The gateway has stopped.");
    }
    let socket = runtime.join("spawnd.sock");
    match Client::connect(&socket) {
        Err(_) => println!("The sandbox helper does not run."),
        Ok(client) => {
            let jails = client.list().map(|j| j.len()).unwrap_or(0);
            client.shutdown(ShutdownJails::Stop).map_err(|e| Fatal::unavailable(crate::error::chain(&e)))?;
            drop(client);
            if !start::wait_for_end(&socket) {
                return Err(Fatal::unavailable(
                    "the sandbox helper does not end; see spawnd.log in the runtime folder",
                ));
            }
            println!("{jails} kernels and helpers have ended, and the sandbox helper with them.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list_jails(args: &Jails) -> Result<ExitCode, Fatal> {
    let config = args.place.config()?;
    let me = privileges::identity(&config.gateway.user)?;
    let socket = settings::runtime_dir(&config, privileges::is_root(), me.uid).join("spawnd.sock");
    let unavailable = |e: carrel_spawnd::ClientError| Fatal::unavailable(crate::error::chain(&e));
    let client = match Client::connect(&socket) {
        Ok(client) => client,
        Err(_) if args.spawner => return Err(Fatal::unavailable("the sandbox helper does not run")),
        Err(_) => {
            println!("{}", if args.json { "[]" } else { "The sandbox helper does not run." });
            return Ok(ExitCode::SUCCESS);
        }
    };
    if args.spawner {
        let hello = client.hello().map_err(unavailable)?;
        println!("{}", json!(hello));
        return Ok(ExitCode::SUCCESS);
    }
    let jails = client.list().map_err(unavailable)?;
    if args.json {
        println!("{}", json!(jails));
    } else {
        for j in &jails {
            println!(
                "{:<12} {:<24} {:<8} pid {:<8} uid {}",
                j.profile_word(),
                j.user.to_string(),
                j.kernelspec_word(),
                j.pid,
                j.uid
            );
        }
        println!("{} jails", jails.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Words for the list.
trait Words {
    fn profile_word(&self) -> &'static str;
    fn kernelspec_word(&self) -> String;
}

impl Words for carrel_spawnd::JailInfo {
    fn profile_word(&self) -> &'static str {
        match self.profile {
            carrel_spawnd::Profile::Kernel if self.proxy => "kernel+proxy",
            carrel_spawnd::Profile::Kernel => "kernel",
            carrel_spawnd::Profile::Desk => "desk",
            carrel_spawnd::Profile::Classic => "classic",
            carrel_spawnd::Profile::Service => "service",
        }
    }
    fn kernelspec_word(&self) -> String {
        self.kernelspec.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    }
}
