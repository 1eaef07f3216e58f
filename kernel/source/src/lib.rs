//! What an engine asks the broker for, and the bytes of questions and answers. No sockets, no waiting.
//!
//! A connection carries one question at a time: a [`Request`], then frames of [`Answer`] up to its end. Whoever closes the connection
//! takes the question back. Who asks is known by the socket; nothing in a question says it. `docs/broker.md` has the whole story.

pub mod frame;
pub mod location;
pub mod names;
pub mod reply;
pub mod request;

pub use frame::{Answer, FrameError, Head};
pub use location::{Location, LocationError};
pub use reply::{Access, Code, Entry, Failure};
pub use request::{Request, RequestError};
