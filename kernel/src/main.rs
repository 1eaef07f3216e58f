//! `carrel-kernel`: the Carrel SQL kernel, and its installation under plain Jupyter.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kernel::install::Place;

/// The Carrel SQL kernel for Jupyter.
#[derive(Parser)]
#[command(name = "carrel-kernel", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a notebook or console; Jupyter starts this.
    Run {
        /// The connection file that Jupyter wrote.
        #[arg(short = 'f', long = "connection-file")]
        connection_file: PathBuf,
    },
    /// Make the kernel known to Jupyter on this machine.
    Install {
        /// For this user only.
        #[arg(long, conflicts_with_all = ["prefix", "sys_prefix"])]
        user: bool,
        /// Below this folder.
        #[arg(long, value_name = "DIR", conflicts_with = "sys_prefix")]
        prefix: Option<PathBuf>,
        /// Into the active Python environment.
        #[arg(long)]
        sys_prefix: bool,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    let done = match arguments.command {
        Command::Run { connection_file } => kernel::run::run(&connection_file),
        Command::Install { user, prefix, sys_prefix } => {
            let place = match prefix {
                Some(prefix) => Place::Prefix(prefix),
                None if sys_prefix => Place::SysPrefix,
                None if user => Place::User,
                None => Place::System,
            };
            kernel::install::install(&place)
                .map(|folder| println!("installed the kernelspec carrel in {}", folder.display()))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(source) = cause {
                text = format!("{text}: {source}");
                cause = source.source();
            }
            eprintln!("carrel-kernel: {text}");
            ExitCode::from(error.exit_code())
        }
    }
}
