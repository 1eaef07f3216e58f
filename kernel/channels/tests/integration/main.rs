//! The framework as a front end sees it, over real sockets, with the echo kernel.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "../../examples/echo/echo.rs"]
mod echo;
mod frontend;

mod messages;
mod publisher;
