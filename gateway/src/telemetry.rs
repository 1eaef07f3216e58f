//! Logs and request ids.

use crate::config::{LogFormat, LogSettings};
use http::Extensions;
use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// Names one request, in the log, in the `X-Request-Id` header and on error pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A fresh id.
    pub fn fresh() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()).into())
    }

    /// The id noted on a request; a fresh one if there is none.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(Self::fresh)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Starts logging to standard error: JSON lines, or readable lines for a person at a terminal.
pub fn start(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let person = match settings.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let base =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // a second start in one process (tests) keeps the first
    let _ = if person {
        base.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        base.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}
