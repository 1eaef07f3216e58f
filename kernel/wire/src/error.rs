//! Everything that can be wrong with bytes from outside.

/// Why bytes are not a Jupyter message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No `<IDS|MSG>` among the first parts.
    #[error("message has no <IDS|MSG> delimiter in its first {looked_at} parts")]
    NoDelimiter {
        /// How many parts were looked at.
        looked_at: usize,
    },
    /// A part that every message has is not there.
    #[error("message ends before its {missing}")]
    Truncated {
        /// The first missing part.
        missing: &'static str,
    },
    /// A bound of [`crate::limits`] is passed.
    #[error("message has {got} {what}, more than {limit}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How much there was.
        got: usize,
        /// How much is accepted.
        limit: usize,
    },
    /// The signature does not belong to key and parts.
    #[error("message signature does not match")]
    BadSignature,
    /// A connection file names a scheme that is not spoken.
    #[error("signature scheme {scheme:?} is not supported, only hmac-sha256")]
    UnknownScheme {
        /// The scheme as written.
        scheme: String,
    },
    /// A part is not the JSON it should be.
    #[error("message {part} is not valid JSON")]
    Json {
        /// Which part.
        part: &'static str,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// A channel name that does not exist, or may not be used here.
    #[error("unknown channel {name:?}")]
    UnknownChannel {
        /// The name as sent, shortened.
        name: String,
    },
    /// The offsets of a binary websocket frame do not fit the frame.
    #[error("websocket frame: {why}")]
    BadFrame {
        /// What does not fit.
        why: &'static str,
    },
}

impl WireError {
    pub(crate) fn channel(name: &str) -> WireError {
        WireError::UnknownChannel { name: name.chars().take(32).collect() }
    }
}
