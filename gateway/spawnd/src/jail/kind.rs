//! The kinds of jail and what differs between them.

use gateway_spawnd::Profile;
use gateway_spawnd::limits::JailKind;

/// The kinds of jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Shim and kernel.
    Kernel,
    /// Desk.
    Desk,
    /// Engine.
    Engine,
    /// Shim and a user's whole server.
    Classic,
    /// Shim and a service.
    Service,
}

impl Kind {
    /// Terminals at once. All jails of a host share one pool of some thousands.
    pub(crate) fn ptys(self) -> u32 {
        match self {
            Self::Kernel => 16,
            Self::Engine | Self::Service => 1,
            Self::Desk | Self::Classic => 96,
        }
    }

    /// Whether it has a place of its own for sockets and connection files.
    pub(crate) fn has_runtime(self) -> bool {
        matches!(self, Self::Kernel | Self::Classic)
    }

    /// Whether its pid 1 is `carrel-shim`.
    pub(crate) fn has_shim(self) -> bool {
        matches!(self, Self::Kernel | Self::Classic | Self::Service)
    }

    /// Under which name its bounds stand in the settings.
    pub(crate) fn of(self) -> JailKind {
        match self {
            Self::Kernel => JailKind::Kernel,
            Self::Desk => JailKind::Desk,
            Self::Engine => JailKind::Engine,
            Self::Classic => JailKind::Classic,
            Self::Service => JailKind::Service,
        }
    }
}

impl From<Profile> for Kind {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Kernel => Self::Kernel,
            Profile::Desk => Self::Desk,
            Profile::Classic => Self::Classic,
            Profile::Service => Self::Service,
        }
    }
}
