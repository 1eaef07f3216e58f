//! The engine as the front sees it: Arrow Flight SQL over a unix socket, with Carrel's actions beside it.

mod client;
mod failure;
mod own;
mod tether;

pub use client::{Answer, Engine, Rows};
pub use failure::{Failure, problem_of};
pub use own::OwnEngine;

use std::path::PathBuf;

use serde::Deserialize;

/// Where the engine is.
pub enum Source {
    /// Somebody else keeps a socket there; under the gateway a connection starts the engine.
    Given(PathBuf),
    /// We start it ourselves.
    Own(OwnEngine),
}

/// Answer of `carrel.progress`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProgressReply {
    /// Rows so far.
    pub rows: u64,
    /// Bytes read so far.
    pub bytes_scanned: u64,
    /// Bytes to read, 0 if unknown.
    pub bytes_total: u64,
    /// Milliseconds so far.
    pub elapsed_ms: f64,
    /// What is being done.
    pub stage: String,
    /// The part that is done.
    pub fraction: Option<f64>,
}

/// Answer of `carrel.stats`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StatsReply {
    /// Milliseconds that it took.
    pub elapsed_ms: Option<f64>,
    /// Bytes read.
    pub bytes_scanned: u64,
    /// Bytes that the files have.
    pub bytes_total: u64,
}
