//! `carrel limits`: brings the bounds of `carrel.toml` to jails that run.

use super::Place;
use crate::config::limits;
use crate::settings;
use crate::start::{Fatal, privileges};
use carrel_spawnd::Client;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum LimitsCommand {
    /// Give running jails the bounds that [limits.*] and [[limit]] say now. Memory, swap, processes, processors, io and wall time change at
    /// once; descriptors, file size and temporary space with the next start.
    Apply(Place),
}

pub(super) fn run(command: &LimitsCommand) -> Result<ExitCode, Fatal> {
    let LimitsCommand::Apply(place) = command;
    let config = place.config()?;
    let tables = limits::tables(&config.limits, &config.limit_rules).map_err(Fatal::usage)?;
    let me = privileges::identity(&config.gateway.user)?;
    let socket = settings::runtime_dir(&config, privileges::is_root(), me.uid).join("spawnd.sock");
    let unavailable = |e: carrel_spawnd::ClientError| Fatal::unavailable(crate::error::chain(&e));
    let Ok(client) = Client::connect(&socket) else {
        println!("The sandbox helper does not run; it begins with these bounds.");
        return Ok(ExitCode::SUCCESS);
    };
    let bounded = client.limits(tables).map_err(unavailable)?;
    println!("{} jails have other bounds now.", bounded.changed);
    for failed in &bounded.failed {
        println!("not in force: {failed}");
    }
    Ok(if bounded.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(69) })
}
