//! The framework as a front end sees it, over real sockets, with the echo kernel.

#[path = "../../examples/echo/echo.rs"]
mod echo;
mod frontend;

mod messages;
mod publisher;
