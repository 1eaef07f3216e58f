//! Why a scope is none.

/// Why a scope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Nobody defined it.
    #[error("scope {0:?} does not exist")]
    Unknown(String),
    /// The part after `!` is no filter.
    #[error("filter {0:?} does not exist; use !user=, !group=, !server=user/name or !service=")]
    BadFilter(String),
    /// A metascope with a filter.
    #[error("scope {0:?} takes no filter")]
    MetaFilter(String),
    /// A scope for one server that has another filter.
    #[error("scope {0:?} is not of this server: leave the filter out, or write !server={1}")]
    NotOfServer(String, String),
}
