//! Which mode this host gives, and how to get into it. Done once, before anything else is built.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use gateway_spawnd::advice::{UsernsSettings, user_namespaces};
use gateway_spawnd::settings::ModePreference;
use gateway_spawnd::{LayerState, Mode, Refusal};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, geteuid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::refused;
use super::subid::{self, Mapper};
use crate::sys;

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

/// The uids that jails run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// One for each user, from this range.
    Each(Range<u32>),
    /// All have that of whoever runs spawnd, and why.
    Shared(String),
}

impl Ids {
    /// As a layer.
    pub(crate) fn layer(&self) -> LayerState {
        match self {
            Self::Each(_) => LayerState::On,
            Self::Shared(why) => {
                let uid = rustix::process::getuid().as_raw();
                LayerState::Off(format!("shared: all jails run as uid {uid}; {why}"))
            }
        }
    }
}

/// Jails that outlived the spawnd before, for `userns` mode.
#[derive(Debug, Default)]
pub(crate) struct Living {
    /// The user namespace that they were made in, if the keeper has it.
    pub(crate) namespace: Option<OwnedFd>,
    /// Their first processes.
    pub(crate) pids: Vec<Pid>,
}

/// Moves this process into its own mount namespace, and in `userns` mode into a user namespace first: that of the jails which outlived the
/// spawnd before, so that they are still ours to rule, or a new one. `range` is what root would give out.
pub(crate) fn enter(mode: Mode, range: Range<u32>, living: Living) -> Result<Ids, Refusal> {
    let ids = match mode {
        Mode::Degraded if geteuid().is_root() => return Ok(Ids::Each(range)),
        Mode::Degraded => return Ok(Ids::Shared("mode is degraded".into())),
        Mode::Root => Ids::Each(range),
        Mode::Userns if living.pids.is_empty() => user_namespace()?,
        Mode::Userns => join(&living).map_err(|error| {
            refused(format!(
                "joining the user namespace of the jails that still run (processes {:?}): {error}; end them by hand, then start again",
                living.pids
            ))
        })?,
    };
    unshare(UnshareFlags::NEWNS).map_err(|error| fail("making a mount namespace", error))?;
    // What the host mounts later (a home on NFS) still arrives; what is mounted here stays here.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|error| fail("detaching from the host's mounts", error.into()))?;
    Ok(ids)
}

fn fail(doing: &str, error: io::Error) -> Refusal {
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok();
    let settings = UsernsSettings {
        max: setting("user/max_user_namespaces"),
        clone: setting("kernel/unprivileged_userns_clone"),
        apparmor: setting("kernel/apparmor_restrict_unprivileged_userns"),
    };
    refused(format!("{doing}: {error}; {}", user_namespaces(&settings)))
}

/// A user namespace in which every id is the number that it is outside.
fn user_namespace() -> Result<Ids, Refusal> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let granted = subid::granted(uid);
    let mapper = match &granted {
        Ok(range) => {
            Some(Mapper::fork(range).map_err(|error| fail("starting the helper that maps ids", error))?)
        }
        Err(_) => None,
    };
    unshare(UnshareFlags::NEWUSER).map_err(|error| fail("making a user namespace", error))?;
    let why = match (mapper.map(Mapper::map), granted) {
        (Some(Ok(())), Ok(range)) => return Ok(Ids::Each(range)),
        (Some(Err(why)), _) | (_, Err(why)) => why,
        (None, Ok(_)) => "the helper that maps ids did not start".into(),
    };
    // Without help an ordinary user may map the own ids only, and the group only after giving up setgroups.
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| fail(&format!("writing {file} of the user namespace"), error))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    write("gid_map", format!("{gid} {gid} 1"))?;
    Ok(Ids::Shared(why))
}

/// Into the user namespace that the jails' own ones lie in.
fn join(living: &Living) -> io::Result<Ids> {
    let found;
    let outer = match &living.namespace {
        Some(namespace) => namespace,
        None => {
            found = living.pids.iter().find_map(|pid| outer_namespace(*pid).ok());
            found.as_ref().ok_or_else(|| io::Error::other("none of them can be looked at"))?
        }
    };
    move_into_link_name_space(outer.as_fd(), Some(LinkNameSpaceType::User))?;
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let missing = subid::granted(rustix::process::getuid().as_raw()).err();
    Ok(match subid::mapped(&map) {
        Some(range) => Ids::Each(range),
        None => Ids::Shared(missing.unwrap_or_else(|| "so do the jails that still run from before".into())),
    })
}

/// Of the namespace of a jail, or of a child in it: an init of ours is closed to everybody, what it has started is not.
fn outer_namespace(jail: Pid) -> io::Result<OwnedFd> {
    let children = fs::read_to_string(format!("/proc/{jail}/task/{jail}/children")).unwrap_or_default();
    let pids = std::iter::once(jail.to_string()).chain(children.split_whitespace().map(str::to_owned));
    let mut opened = pids.map(|pid| fs::File::open(format!("/proc/{pid}/ns/user")));
    let inner = opened.find_map(Result::ok).ok_or(io::ErrorKind::PermissionDenied)?;
    sys::parent_namespace(&inner)
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
