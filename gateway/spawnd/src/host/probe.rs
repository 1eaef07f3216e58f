//! Which layers this host gives, found out by trying each in a child that ends at once.

use std::io;
use std::os::fd::AsFd;

use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::{UnshareFlags, set_no_new_privs};
use seccompiler::BpfProgram;

use super::cgroup::Cgroups;
use super::mode::unshare;
use crate::jail::start::NAMESPACES;
use crate::jail::walls;
use crate::sys::{self, Forked};

/// The namespaces that `clone` gives here.
pub(crate) fn namespaces(mode: Mode) -> LayerReport {
    let state = |flag| match mode {
        Mode::Degraded => LayerState::Off("mode is degraded".into()),
        Mode::Root | Mode::Userns => attempt(flag, || Ok(())),
    };
    NAMESPACES.iter().map(|(layer, flag)| (*layer, state(*flag))).collect()
}

/// All layers, for `hello` and for the report of a host. `quotas`: whether homes can be held by quotas, or why not.
pub(crate) fn all(
    mode: Mode,
    given: &LayerReport,
    cgroups: &Cgroups,
    filter: &BpfProgram,
    quotas: &Result<(), String>,
) -> LayerReport {
    let mut layers = given.clone();
    layers.extend(cgroups.layers());
    let namespace = |flag| match mode {
        Mode::Degraded => LayerState::Off("mode is degraded".into()),
        Mode::Root | Mode::Userns => attempt(0, || unshare(flag)),
    };
    layers.insert(LayerName::User, namespace(UnshareFlags::NEWUSER));
    layers.insert(LayerName::Cgroup, namespace(UnshareFlags::NEWCGROUP));
    layers.insert(LayerName::NoNewPrivs, attempt(0, || set_no_new_privs(true).map_err(io::Error::from)));
    layers.insert(
        LayerName::Landlock,
        attempt(0, || {
            set_no_new_privs(true)?;
            match walls::confine(&[]).map_err(io::Error::other)? {
                LayerState::On | LayerState::By(_) => Ok(()),
                LayerState::Off(_) | LayerState::Partly(_) => {
                    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
                }
            }
        }),
    );
    layers.insert(
        LayerName::Seccomp,
        attempt(0, || {
            set_no_new_privs(true)?;
            seccompiler::apply_filter(filter).map_err(io::Error::other)
        }),
    );
    let disk = match quotas {
        Ok(()) => LayerState::By("project quota".into()),
        Err(why) => LayerState::Partly(format!(
            "homes with a limit are counted, and the desk stops before it ({why})"
        )),
    };
    layers.insert(LayerName::Disk, disk);
    // These need no right and cannot be missing.
    layers.insert(LayerName::Capabilities, LayerState::On);
    layers.insert(LayerName::Rlimits, LayerState::On);
    layers
}

/// Runs something in a child in new namespaces; its errno, or none, is the answer.
fn attempt(namespaces: libc::c_int, what: impl FnOnce() -> io::Result<()>) -> LayerState {
    let pidfd = match sys::fork_into(namespaces, None) {
        Err(error) => return LayerState::Off(error.to_string()),
        Ok(Forked::Child) => {
            let code = what().map_or_else(|error| error.raw_os_error().unwrap_or(libc::ENOSYS), |()| 0);
            sys::exit_now(code);
        }
        Ok(Forked::Parent(_, pidfd)) => pidfd,
    };
    match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
        Ok(Some(status)) => match status.exit_status() {
            Some(0) => LayerState::On,
            Some(errno) => LayerState::Off(io::Error::from_raw_os_error(errno).to_string()),
            None => LayerState::Off("the attempt was killed".into()),
        },
        Ok(None) => LayerState::Off("the attempt did not end".into()),
        Err(error) => LayerState::Off(error.to_string()),
    }
}
