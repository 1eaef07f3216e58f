//! From the browser to the kernel: frames are taken apart, content stays bytes, and what the shim does not take is not read.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use carrel_shim::client::ShimSender;
use carrel_wire::websocket::json;
use carrel_wire::{Channel, WireError, limits};
use futures::StreamExt;
use tokio::io::AsyncRead;
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::end::End;
use super::frames::Framing;
use super::tap::Tap;
use crate::error::chain;

/// Runs until the browser or the kernel is gone. `heard` is set by whatever arrives.
pub(super) async fn run<R: AsyncRead + Unpin>(
    tap: Tap<R>,
    read: Bytes,
    framing: Framing,
    sender: &Mutex<ShimSender>,
    heard: &AtomicBool,
) -> End {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::MESSAGE))
        .max_frame_size(Some(limits::MESSAGE))
        .read_buffer_size(16 * 1024);
    let mut socket =
        WebSocketStream::from_partially_read(tap, read.to_vec(), Role::Server, Some(config)).await;
    loop {
        let frame = match socket.next().await {
            Some(Ok(WsMessage::Binary(bytes))) => json::Frame::Binary(bytes),
            Some(Ok(WsMessage::Text(text))) => json::Frame::Text(text.into()),
            Some(Ok(_)) => {
                heard.store(true, Ordering::Relaxed);
                continue;
            }
            Some(Err(error)) => return End::of(&error),
            None => return End::Client,
        };
        heard.store(true, Ordering::Relaxed);
        let (channel, message) = match framing.decode(frame) {
            Ok(message) => message,
            Err(error @ WireError::UnknownChannel { .. }) => {
                tracing::debug!(%error, "a message for no channel is dropped");
                continue;
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "a client sent something that is no message");
                return End::Protocol(CloseCode::Unsupported, "not a Jupyter message");
            }
        };
        if matches!(channel, Channel::Iopub | Channel::Heartbeat) {
            continue;
        }
        if let Err(error) = sender.lock().await.message(channel, message).await {
            tracing::warn!(error = chain(&error), "a message did not reach the shim");
            return End::Kernel;
        }
    }
}
