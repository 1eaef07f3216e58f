//! The frame protocol between the gateway and `carrel-shim`, and the gateway's client of it.
//!
//! The shim is pid 1 of a kernel's jail; it bridges the kernel's ZeroMQ sockets to one unix socket, numbers every message and keeps
//! it until the gateway acknowledged it. The bytes are described in `docs/architecture.md`, "shim: frames".
//!
//! * [`protocol`]: frames as types, encoder and bounded incremental decoder
//! * [`client`]: [`client::ShimConn`], what the gateway uses: one control connection per kernel and one connection per websocket

pub mod client;
pub mod protocol;
