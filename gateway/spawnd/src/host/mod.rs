//! What spawnd has on this host: its mode, folders, uids, cgroups.

pub(crate) mod beat;
pub(crate) mod cgroup;
pub(crate) mod cpus;
pub(crate) mod folders;
pub(crate) mod home;
pub(crate) mod memory;
pub(crate) mod mode;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod quota;
pub(crate) mod subid;
pub(crate) mod uids;
pub(crate) mod usage;

use gateway_spawnd::Refusal;
use gateway_spawnd::protocol::ErrorCode;

/// A fault of the host, said so that an operator can act.
pub(crate) fn internal(doing: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::Internal, format!("{doing}: {error}"))
}

/// Something that the settings or the host forbid.
pub(crate) fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::Refused, message)
}
