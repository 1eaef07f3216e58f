//! `carrel`: reads the command line, does one thing, ends with an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::memory::return_large_blocks();
    gateway::cli::main()
}
