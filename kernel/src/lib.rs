//! The Carrel SQL kernel: a front that speaks Jupyter on one side and Arrow Flight SQL on the other.
//!
//! A cell is cut into statements; each goes to the engine as it was written and comes back as Arrow batches, of which the first
//! rows are drawn. The front holds no data and runs no query: it may be ended and started at no cost.
//!
//! * [`run`]: the program: connection file in, sockets out, signals
//! * [`front`]: the language behind [`carrel_channels::Kernel`]
//! * [`engine`]: the Flight SQL client, and an engine of our own under plain Jupyter
//! * [`install`]: the kernelspec

pub mod engine;
pub mod front;
mod help;
mod info;
pub mod install;
mod panel;
mod plot;
pub mod run;
mod settings;
mod show;
pub mod values;

/// Why the program cannot do what it was started for.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A file that was named cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The connection file cannot be understood.
    #[error("cannot understand the connection file")]
    Connection(#[from] carrel_wire::WireError),
    /// The sockets cannot be opened.
    #[error("cannot serve")]
    Channels(#[from] carrel_channels::ChannelsError),
    /// `CARREL_ENGINE` is set to something that is not an address.
    #[error("CARREL_ENGINE must be grpc+unix:///path, not {0}")]
    EngineAddress(String),
    /// Something of the operating system failed.
    #[error("{what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// No place for the kernelspec is known.
    #[error("{0}")]
    NoPlace(&'static str),
}

impl KernelError {
    /// The exit code by house rule: 64 usage or configuration, 69 cannot reach what is needed, 70 internal.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Connection(_) | Self::EngineAddress(_) | Self::NoPlace(_) => 64,
            Self::Channels(_) | Self::Write { .. } => 69,
            Self::System { .. } => 70,
        }
    }
}
