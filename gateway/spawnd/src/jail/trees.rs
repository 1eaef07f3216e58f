//! What is mounted in one jail alone: detached mounts made by spawnd, attached from inside.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use gateway_spawnd::Refusal;

use super::mounts::{self, NODEV, NOEXEC, NOSUID, RDONLY};
use crate::host::internal;
use crate::sys::Propagation;

/// A detached mount and where it goes.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) mount: OwnedFd,
    pub(crate) target: PathBuf,
}

impl Tree {
    /// A folder that the jail may write to.
    pub(crate) fn own(folder: impl AsFd, target: &Path) -> Result<Self, Refusal> {
        Self::of(folder, target, NOSUID | NODEV)
    }

    /// A folder that the jail may look at, for the sockets in it.
    pub(crate) fn sealed(folder: impl AsFd, target: &Path) -> Result<Self, Refusal> {
        Self::of(folder, target, RDONLY | NOSUID | NODEV | NOEXEC)
    }

    /// A path of the host at the same path, read-only.
    pub(crate) fn host(path: &Path) -> Result<Self, Refusal> {
        let mount = mounts::copy_of(path, RDONLY | NOSUID | NODEV, Propagation::Private);
        let mount = mount.map_err(|error| internal(&format!("taking up {}", path.display()), &error))?;
        Ok(Self { mount, target: path.to_owned() })
    }

    fn of(folder: impl AsFd, target: &Path, attributes: u64) -> Result<Self, Refusal> {
        let mount = mounts::copy_of_open(folder, attributes)
            .map_err(|error| internal(&format!("taking up what is shown at {}", target.display()), &error))?;
        Ok(Self { mount, target: target.to_owned() })
    }
}
