//! The jail from outside: clone, id map, report. Blocks for the milliseconds that it takes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_spawnd::advice::refusal;
use gateway_spawnd::packet::{self, Received};
use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode, Refusal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::time::Timespec;
use seccompiler::BpfProgram;

use super::inside::{self, Inside};
use super::plan::{Kind, Places, Plan};
use super::trees::Tree;
use super::view::View;
use super::walls::Use;
use crate::host::cgroup::Group;
use crate::host::process::birth;
use crate::host::{internal, refused};
use crate::sys::{self, Forked};

/// From inside: "write my id map".
pub(crate) const MAP: u8 = b'm';
/// From inside: the layers, as JSON.
pub(crate) const REPORT: u8 = b'r';
/// From inside: which step failed.
pub(crate) const FAILED: u8 = b'f';
const GO: &[u8] = b"g";

/// A start that takes longer has hung.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// What all starts share.
pub(crate) struct Workshop {
    pub(crate) mode: Mode,
    pub(crate) required: Vec<LayerName>,
    /// Namespaces that this host gives, and whether users have uids of their own.
    pub(crate) given: LayerReport,
    pub(crate) filter: BpfProgram,
    /// In front of it for jails that are held to some processors.
    pub(crate) pinned: BpfProgram,
}

/// What one start needs.
pub(crate) struct Order<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) places: &'a Places,
    pub(crate) view: Option<&'a View>,
    pub(crate) group: &'a Group,
    /// What is known of the layers before the start: bounds, disk.
    pub(crate) layers: LayerReport,
    /// Processors that it is held to, where no group bounds its time.
    pub(crate) cpus: Option<Vec<usize>>,
    pub(crate) listener: BorrowedFd<'a>,
    /// Where it may write what it says.
    pub(crate) log: BorrowedFd<'a>,
    /// What is mounted in this jail alone.
    pub(crate) trees: Vec<Tree>,
    /// Host paths that may be read, where there is no view (degraded).
    pub(crate) readable: &'a [PathBuf],
}

/// A running jail's first process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// When it began, in ticks since the host's start: with the pid, who it is.
    pub(crate) birth: u64,
    pub(crate) pidfd: OwnedFd,
    /// Without a pid namespace: to be asked to end, so that it can end the rest.
    pub(crate) keeper: bool,
}

/// Starts a jail; on failure nothing of it runs. `ready` is asked before the program gets the last go.
pub(crate) fn start(
    shop: &Workshop,
    order: &Order<'_>,
    ready: &mut dyn FnMut(&Process, &LayerReport) -> Result<(), Refusal>,
) -> Result<(Process, LayerReport), Refusal> {
    let os = |doing: &'static str| move |error: Errno| internal(doing, &error);
    let mut layers = shop.given.clone();
    layers.extend(order.layers.clone());
    check(shop, &layers, Stage::Before)?;
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty())
        .map_err(os("opening /dev/null"))?;
    let (sync, sync_in) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(os("making the start socket"))?;
    let doors = order.group.doors().map_err(|error| internal("opening the jail's cgroup", &error))?;
    let mut fds = vec![null.as_fd(), order.log, order.log, order.listener, sync_in.as_fd()];
    fds.extend(order.view.map(|view| view.namespace.as_fd()));
    fds.extend(order.trees.iter().map(|tree| tree.mount.as_fd()));
    let job = Inside {
        mode: shop.mode,
        plan: order.plan,
        places: order.places,
        view: order.view.map(|view| &view.seen),
        fds,
        doors,
        cpus: order.cpus.as_deref(),
        trees: order.trees.iter().map(|tree| tree.target.as_path()).collect(),
        given: &shop.given,
        rules: rules(order),
        filter: &shop.filter,
        pinned: &shop.pinned,
    };
    let cgroup = order.group.open();
    let forked = sys::fork_into(flags(shop), cgroup.as_ref().map(AsFd::as_fd));
    let (pid, pidfd) = match forked.map_err(|error| internal("making the jail's namespaces", &error))? {
        Forked::Child => inside::run(&job),
        Forked::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(job);
    drop((sync_in, null));
    let process = Process { pid, birth: birth(pid), pidfd, keeper: shop.mode == Mode::Degraded };
    let mut ready = |layers: &LayerReport| ready(&process, layers);
    match accompany(shop, order.plan, pid, sync.as_fd(), &layers, &mut ready) {
        Ok(layers) => Ok((process, layers)),
        Err(refusal) => {
            let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED);
            Err(refusal)
        }
    }
}

/// Answers the new process until it has become its program.
fn accompany(
    shop: &Workshop,
    plan: &Plan,
    pid: Pid,
    sync: BorrowedFd<'_>,
    outer: &LayerReport,
    ready: &mut dyn FnMut(&LayerReport) -> Result<(), Refusal>,
) -> Result<LayerReport, Refusal> {
    let mut layers = None;
    loop {
        let message = match hear(sync) {
            Ok(message) => message,
            Err(error) => return Err(internal("starting the jail", &error)),
        };
        match (message.split_first(), layers.take()) {
            (Some((&MAP, _)), None) => {
                write_maps(pid, plan).map_err(|error| internal("writing the jail's id map", &error))?;
                go(sync)?;
            }
            (Some((&REPORT, text)), None) => {
                let inner: LayerReport = serde_json::from_slice(text)
                    .map_err(|error| internal("reading the jail's report", &error))?;
                let mut all = outer.clone();
                all.extend(inner);
                check(shop, &all, Stage::After)?;
                ready(&all)?;
                layers = Some(all);
                go(sync)?;
            }
            (Some((&FAILED, text)), _) => {
                return Err(internal("starting the jail", &String::from_utf8_lossy(text)));
            }
            // Closed at exec: it runs.
            (None, Some(layers)) => return Ok(layers),
            (None, None) => return Err(internal("starting the jail", &"it ended before its program ran")),
            (Some(_), _) => return Err(internal("starting the jail", &"an unexpected message")),
        }
    }
}

/// Sends a message from inside.
pub(crate) fn tell(sync: BorrowedFd<'_>, kind: u8, text: &[u8]) -> io::Result<()> {
    let mut message = vec![kind];
    message.extend_from_slice(text.get(..text.len().min(32 * 1024)).unwrap_or_default());
    packet::send(sync, &message, &[], false).map_err(io::Error::from)
}

/// Waits inside for spawnd's word; spawnd's death is an error.
pub(crate) fn wait_for_go(sync: BorrowedFd<'_>) -> io::Result<()> {
    match packet::receive_up_to(sync, GO.len())? {
        Received::Packet(bytes, _) if bytes == GO => Ok(()),
        _ => Err(io::Error::other("spawnd gave up")),
    }
}

fn go(sync: BorrowedFd<'_>) -> Result<(), Refusal> {
    match packet::send(sync, GO, &[], true) {
        // It is gone; what it said before is still to be read.
        Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(error) => Err(internal("speaking to the new jail", &error)),
    }
}

fn hear(sync: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut fds = [PollFd::new(&sync, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&PATIENCE)) {
            Ok(0) => return Err(io::Error::other(format!("no answer for {} s", PATIENCE.tv_sec))),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match packet::receive(sync) {
        Ok(Received::Packet(bytes, _)) => Ok(bytes),
        Ok(Received::Closed) | Err(Errno::CONNRESET) => Ok(Vec::new()),
        Ok(Received::TooLarge) => Err(io::Error::other("a message that is too large")),
        Err(error) => Err(error.into()),
    }
}

fn write_maps(pid: Pid, plan: &Plan) -> io::Result<()> {
    let write = |file: &str, text: String| fs::write(format!("/proc/{pid}/{file}"), text);
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{0} {0} 1", plan.uid))?;
    write("gid_map", format!("{0} {0} 1", plan.gid))
}

fn flags(shop: &Workshop) -> libc::c_int {
    let on = |layer: LayerName, flag| {
        if shop.given.get(&layer).is_some_and(LayerState::is_on) { flag } else { 0 }
    };
    // The mount namespace is a copy of the view's, made from inside.
    let cloned = NAMESPACES.iter().filter(|(layer, _)| *layer != LayerName::Mount);
    cloned.map(|(layer, flag)| on(*layer, *flag)).fold(0, |all, flag| all | flag)
}

/// The namespaces that a jail begins in; user and cgroup come later, from inside.
pub(crate) const NAMESPACES: [(LayerName, libc::c_int); 5] = [
    (LayerName::Mount, libc::CLONE_NEWNS),
    (LayerName::Pid, libc::CLONE_NEWPID),
    (LayerName::Net, libc::CLONE_NEWNET),
    (LayerName::Ipc, libc::CLONE_NEWIPC),
    (LayerName::Uts, libc::CLONE_NEWUTS),
];

/// Layers that only the inside can report.
const FROM_INSIDE: [LayerName; 7] = [
    LayerName::User,
    LayerName::Cgroup,
    LayerName::Landlock,
    LayerName::Seccomp,
    LayerName::NoNewPrivs,
    LayerName::Capabilities,
    LayerName::Rlimits,
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    After,
}

fn check(shop: &Workshop, layers: &LayerReport, stage: Stage) -> Result<(), Refusal> {
    let wanted = shop.required.iter().filter(|layer| stage == Stage::After || !FROM_INSIDE.contains(layer));
    let states = wanted.map(|layer| {
        let state = layers.get(layer).cloned();
        (*layer, state.unwrap_or_else(|| LayerState::Off("not applied".into())))
    });
    let missing: LayerReport = states.filter(|(_, state)| !state.is_on()).collect();
    if missing.is_empty() { Ok(()) } else { Err(refused(refusal(&missing, &shop.required, shop.mode))) }
}

/// The Landlock rules of a jail.
fn rules(order: &Order<'_>) -> Vec<(PathBuf, Use)> {
    let (places, plan) = (order.places, order.plan);
    let mut rules = vec![(places.home.clone(), Use::Write)];
    let readable = order.view.map_or(order.readable, |view| view.seen.readable.as_slice());
    rules.extend(readable.iter().map(|path| (path.clone(), Use::Read)));
    if plan.kind.has_runtime() {
        rules.push((places.kernel.clone(), Use::Write));
    }
    if plan.engine {
        rules.push((places.engine.clone(), Use::Read));
    }
    if plan.kind == Kind::Engine {
        rules.push((places.scratch.clone(), Use::Write));
        rules.push((places.engine_config.clone(), Use::Read));
    }
    if plan.broker {
        rules.push((places.broker.clone(), Use::Read));
    }
    if plan.kind == Kind::Desk {
        rules.push((places.told.clone(), Use::Read));
    }
    if plan.proxy {
        rules.push((places.proxy.clone(), Use::Read));
    }
    if plan.hub {
        rules.push((places.hub.clone(), Use::Read));
    }
    rules.push(("/proc".into(), Use::Read));
    if order.view.is_some() {
        let own = [("/", Use::List), ("/dev", Use::Device), ("/dev/shm", Use::Write), ("/tmp", Use::Write)];
        rules.extend(own.map(|(path, usage)| (PathBuf::from(path), usage)));
    } else {
        // The host's /tmp is shared: it stays shut. Of /dev only what is harmless.
        let nodes = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"];
        rules.extend(nodes.map(|name| (Path::new("/dev").join(name), Use::Device)));
    }
    rules
}

/// Retries for a moment: the kernel lets go of a group a little after its last process. False if it stays busy.
pub(crate) fn remove_soon(group: &Group) -> bool {
    for _ in 0..50 {
        if group.remove() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}
