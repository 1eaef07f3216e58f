//! Why a websocket ended, and what is said of it in the close frame.

use std::fmt;

use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why a websocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client closed it or went away.
    Client,
    /// The client does not take or answer anything any more.
    Silent,
    /// The client sent something that is no message, or too much.
    Protocol(CloseCode, &'static str),
    /// Another websocket of the same session took its place.
    Replaced,
    /// The kernel is gone.
    Kernel,
    /// A guest who may not use the server any more.
    Guest,
    /// The gateway stops.
    Shutdown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Silent => f.write_str("silent client"),
            Self::Protocol(_, why) => f.write_str(why),
            Self::Replaced => f.write_str("replaced"),
            Self::Kernel => f.write_str("kernel"),
            Self::Guest => f.write_str("a guest's right is over"),
            Self::Shutdown => f.write_str("shutdown"),
        }
    }
}

impl End {
    /// What is said in the close frame; nothing to somebody who is gone.
    pub(super) fn goodbye(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Client | Self::Silent => None,
            Self::Protocol(code, why) => Some((code, why)),
            Self::Replaced => Some((CloseCode::Normal, "replaced by another websocket of this session")),
            Self::Kernel => Some((CloseCode::Normal, "the kernel is gone")),
            Self::Guest => Some((CloseCode::Policy, "you may not use this server any more")),
            Self::Shutdown => Some((CloseCode::Restart, "the gateway is restarting")),
        }
    }

    /// What a frame that cannot be read means.
    pub(super) fn of(error: &WsError) -> Self {
        match error {
            WsError::Capacity(_) => {
                tracing::warn!(%error, "a client sent a message that is too large");
                Self::Protocol(CloseCode::Size, "message too large")
            }
            WsError::Utf8(_) => Self::Protocol(CloseCode::Invalid, "text that is not UTF-8"),
            WsError::Protocol(violation) => {
                tracing::debug!(%violation, "websocket protocol violated");
                match violation {
                    ProtocolError::ResetWithoutClosingHandshake => Self::Client,
                    _ => Self::Protocol(CloseCode::Protocol, "websocket protocol violated"),
                }
            }
            _ => Self::Client,
        }
    }
}
