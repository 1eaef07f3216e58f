//! Jupyter messages in websocket frames: two framings, chosen by the websocket's subprotocol.

pub mod json;
pub mod v1;

use crate::{Channel, Message, WireError};

/// The subprotocol that a client asks for to get [`v1`] frames; without it, [`json`] is spoken.
pub const V1_SUBPROTOCOL: &str = "v1.kernel.websocket.jupyter.org";

/// Channels that a websocket may carry: all but the heartbeat.
fn channel(name: &str) -> Result<Channel, WireError> {
    match Channel::from_name(name) {
        Some(channel) if channel != Channel::Heartbeat => Ok(channel),
        _ => Err(WireError::channel(name)),
    }
}

/// The bounds that hold for both framings.
fn bounded(message: Message) -> Result<Message, WireError> {
    crate::message::within("buffers", message.buffers.len(), crate::limits::BUFFERS)?;
    message.check_headers()?;
    Ok(message)
}
