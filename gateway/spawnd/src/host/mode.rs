//! Which mode this host gives, and how to get into it. Done once, before anything else is built.

use std::fs;
use std::io;

use gateway_spawnd::settings::ModePreference;
use gateway_spawnd::{Mode, Refusal};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::refused;

/// The mode that the settings and the caller's uid lead to.
pub(crate) fn choose(wish: ModePreference, root: bool) -> Result<Mode, Refusal> {
    match (wish, root) {
        (ModePreference::Degraded, _) => Ok(Mode::Degraded),
        (ModePreference::Auto | ModePreference::Root, true) => Ok(Mode::Root),
        (ModePreference::Root, false) => {
            Err(refused("mode \"root\" is set but spawnd was not started by root"))
        }
        (ModePreference::Auto | ModePreference::Userns, false) => Ok(Mode::Userns),
        (ModePreference::Userns, true) => Err(refused(
            "mode \"userns\" is set but spawnd was started by root; start it as an ordinary user or leave the mode out",
        )),
    }
}

/// Moves this process into its own mount namespace, and in `userns` mode into its own user namespace first.
pub(crate) fn enter(mode: Mode) -> Result<(), Refusal> {
    let hint = "; run spawnd as root of the host, allow user namespaces, or (one user per container only) set mode = \"degraded\"";
    let fail = |doing: &str, error: io::Error| refused(format!("{doing}: {error}{hint}"));
    match mode {
        Mode::Degraded => return Ok(()),
        Mode::Root => {
            unshare(UnshareFlags::NEWNS).map_err(|error| fail("making a mount namespace", error))?
        }
        Mode::Userns => {
            let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
                .map_err(|error| fail("making a user namespace", error))?;
            // An ordinary user may map its own ids only, and its group only after giving up setgroups.
            fs::write("/proc/self/setgroups", "deny").map_err(|error| fail("denying setgroups", error))?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))
                .map_err(|error| fail("mapping the uid", error))?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
                .map_err(|error| fail("mapping the gid", error))?;
        }
    }
    // What the host mounts later (a home on NFS) still arrives; what is mounted here stays here.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|error| fail("detaching from the host's mounts", error.into()))
}

#[expect(unsafe_code, reason = "rustix marks unshare unsafe for FILES only")]
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: CLONE_FILES is the flag that could break I/O safety; callers pass namespaces only.
    unsafe { unshare_unsafe(flags) }.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degraded_is_never_chosen_by_itself() {
        for root in [false, true] {
            for wish in [ModePreference::Auto, ModePreference::Root, ModePreference::Userns] {
                assert_ne!(choose(wish, root).ok(), Some(Mode::Degraded));
            }
            assert_eq!(choose(ModePreference::Degraded, root).unwrap(), Mode::Degraded);
        }
        assert_eq!(choose(ModePreference::Auto, true).unwrap(), Mode::Root);
        assert_eq!(choose(ModePreference::Auto, false).unwrap(), Mode::Userns);
        assert!(choose(ModePreference::Root, false).unwrap_err().message.contains("not started by root"));
    }
}
