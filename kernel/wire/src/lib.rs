//! Jupyter messages as bytes: ZeroMQ frames with their signature, the connection file, and the two websocket framings.
//!
//! A [`Message`] keeps its four JSON parts as the bytes that arrived: nothing here decodes and re-encodes content, so a
//! signature stays valid and a gateway passes a message on at the cost of a copy. What must be looked at (who asked, what
//! kind of message) is parsed on demand by [`Header`]. The package knows neither sockets nor an async runtime, nor the clock.
//!
//! * [`Message`], [`Header`], [`Channel`]: one message and where it travels
//! * [`Signer`]: HMAC-SHA256 over the four parts
//! * [`ConnectionInfo`]: the connection file that a kernel is started with
//! * [`websocket`]: the binary `v1.kernel.websocket.jupyter.org` subprotocol and the older JSON one
//! * [`protocol`]: typed contents, from the `jupyter-protocol` crate
//!
//! ```
//! use kernel_wire::{Header, Message, Signer};
//! let signer = Signer::new("secret");
//! let header = Header::new("id-1", "kernel_info_request", "session", "ada", std::time::UNIX_EPOCH);
//! let request = Message::new(&header, None, &serde_json::json!({}))?;
//! let parts = request.to_zmq(&signer);
//! assert_eq!(Message::from_zmq(parts, &signer)?, request);
//! # Ok::<(), kernel_wire::WireError>(())
//! ```

mod channel;
mod connection;
mod error;
mod header;
mod message;
mod signer;
pub mod websocket;

pub use channel::Channel;
pub use connection::{ConnectionInfo, Transport};
pub use error::WireError;
pub use header::{Header, PROTOCOL_VERSION};
pub use message::{Message, limits};
pub use signer::Signer;

/// Typed contents of Jupyter messages (`ExecuteRequest`, `KernelInfoReply`, `StreamContent`, `Media` …).
pub use jupyter_protocol as protocol;
