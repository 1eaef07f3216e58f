//! What can go wrong while a kernel is set up. Once it serves, bad messages are logged and dropped.

use std::io;

/// The kernel cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ChannelsError {
    /// An address of the connection file cannot be used.
    #[error("cannot understand the address {0}")]
    BadEndpoint(String),
    /// The address of iopub is taken or not ours.
    #[error("cannot listen on {endpoint}")]
    Listen {
        /// The address.
        endpoint: String,
        /// Why.
        source: io::Error,
    },
    /// The address of another channel is taken or not ours.
    #[error("cannot bind {endpoint}")]
    Bind {
        /// The address.
        endpoint: String,
        /// Why.
        source: zeromq::ZmqError,
    },
}
