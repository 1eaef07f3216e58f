//! The rules of the OAuth 2.0 provider: what a request may look like, what a client gets, what an error is called.
//!
//! Sources: RFC 6749 (authorization code grant, §4.1), RFC 7636 (PKCE), RFC 9700 (best current practice), and JupyterHub 6.1 where it
//! differs: a redirect address may be a path on the hub's own host, and the scopes of a grant are JupyterHub's.

mod grant;
mod pkce;
mod redirect;
mod request;

pub use grant::{Granted, grant};
pub use pkce::{Challenge, PkceError};
pub use redirect::{RedirectError, RedirectUri};
pub use request::{Authorize, Refusal};

use time::Duration;

/// How long a code may be exchanged. RFC 6749 §4.1.2: short, ten minutes at most.
pub const CODE_LIFE: Duration = Duration::seconds(120);

/// What a parameter may not exceed, in bytes.
pub const MAX_PARAMETER: usize = 4096;

/// Errors as the standard names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A parameter is missing, twice there or malformed (§4.1.2.1, §5.2).
    InvalidRequest,
    /// The person said no (§4.1.2.1).
    AccessDenied,
    /// Anything but `code` was asked for (§4.1.2.1).
    UnsupportedResponseType,
    /// A scope that does not exist or that this client may not ask for (§4.1.2.1).
    InvalidScope,
    /// The client is unknown, or its secret is wrong (§5.2).
    InvalidClient,
    /// The code is wrong, used, ended, another client's, or its verifier or address does not fit (§5.2).
    InvalidGrant,
    /// Anything but `authorization_code` was asked for (§5.2).
    UnsupportedGrantType,
}

impl Code {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
        }
    }
}

/// One parameter of a request; twice there is refused (RFC 6749 §3.1, §3.2), empty counts as missing.
pub fn parameter<'p>(pairs: &'p [(String, String)], name: &str) -> Result<Option<&'p str>, String> {
    let mut found = pairs.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let first = found.next();
    if found.next().is_some() {
        return Err(format!("{name} is given twice"));
    }
    match first {
        Some(value) if value.len() > MAX_PARAMETER => Err(format!("{name} is too long")),
        value => Ok(value.filter(|v| !v.is_empty())),
    }
}
