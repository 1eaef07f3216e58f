//! The jail from outside: limits, clone, id map, report. Blocks for the milliseconds that it takes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_spawnd::packet::{self, Received};
use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode, Refusal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use rustix::time::Timespec;
use seccompiler::BpfProgram;

use super::inside::{self, Inside, TREES};
use super::mounts::{self, NODEV, NOSUID, RDONLY};
use super::plan::{Kind, Places, Plan};
use super::view::View;
use super::walls::Use;
use crate::host::cgroup::{Cgroups, Group};
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
    /// Namespaces that this host gives.
    pub(crate) namespaces: LayerReport,
    pub(crate) cgroups: Cgroups,
    pub(crate) filter: BpfProgram,
}

/// What one start needs.
pub(crate) struct Order<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) places: &'a Places,
    pub(crate) view: Option<&'a View>,
    /// Name of the cgroup leaf.
    pub(crate) leaf: &'a str,
    pub(crate) listener: BorrowedFd<'a>,
    pub(crate) home: BorrowedFd<'a>,
    pub(crate) engine: Option<BorrowedFd<'a>>,
    pub(crate) scratch: Option<BorrowedFd<'a>>,
    pub(crate) broker: Option<BorrowedFd<'a>>,
    /// Host paths that may be read, where there is no view (degraded).
    pub(crate) readable: &'a [PathBuf],
}

/// A running jail's first process.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) group: Group,
    /// What it says on standard output and error.
    pub(crate) log: OwnedFd,
    /// Without a pid namespace: to be asked to end, so that it can end the rest.
    pub(crate) keeper: bool,
}

/// Starts a jail; on failure nothing of it is left.
pub(crate) fn start(shop: &Workshop, order: &Order<'_>) -> Result<(Process, LayerReport), Refusal> {
    let os = |doing: &'static str| move |error: Errno| internal(doing, &error);
    let (group, limits) = shop.cgroups.create(order.leaf, &order.plan.limits);
    let mut layers = shop.namespaces.clone();
    layers.extend(limits);
    layers.insert(LayerName::Uid, uid_layer(shop.mode));
    let run = || -> Result<(Process, LayerReport), Refusal> {
        check(&shop.required, &layers, Stage::Before)?;
        let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty())
            .map_err(os("opening /dev/null"))?;
        let (log, log_in) = pipe_with(PipeFlags::CLOEXEC).map_err(os("making the log pipe"))?;
        rustix::io::ioctl_fionbio(&log, true).map_err(os("making the log pipe"))?;
        let (sync, sync_in) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(os("making the start socket"))?;
        let trees = Trees::make(order)?;
        let mut fds = vec![null.as_fd(), log_in.as_fd(), log_in.as_fd(), order.listener, sync_in.as_fd()];
        fds.extend(trees.all().map(AsFd::as_fd));
        let engine_tree = trees.engine.as_ref().map(|_| TREES + 1);
        let scratch_tree = trees.scratch.as_ref().map(|_| TREES + 1 + i32::from(engine_tree.is_some()));
        let before = [engine_tree, scratch_tree].into_iter().flatten().count();
        let broker_tree =
            trees.broker.as_ref().map(|_| TREES + 1 + i32::try_from(before).unwrap_or_default());
        let job = Inside {
            mode: shop.mode,
            plan: order.plan,
            places: order.places,
            view: order.view,
            fds,
            engine_tree,
            scratch_tree,
            broker_tree,
            namespaces: &shop.namespaces,
            rules: rules(order),
            filter: &shop.filter,
        };
        let cgroup = group.open();
        let forked = sys::fork_into(flags(shop), cgroup.as_ref().map(AsFd::as_fd));
        let (pid, pidfd) = match forked.map_err(|error| internal("making the jail's namespaces", &error))? {
            Forked::Child => inside::run(&job),
            Forked::Parent(pid, pidfd) => (pid, pidfd),
        };
        drop(job);
        drop((trees, log_in, sync_in, null));
        let told = accompany(shop, order.plan, &group, pid, sync.as_fd(), &layers);
        match told {
            Ok(layers) => Ok((
                Process { pid, pidfd, group: Group::default(), log, keeper: shop.mode == Mode::Degraded },
                layers,
            )),
            Err(refusal) => {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
                Err(refusal)
            }
        }
    };
    match run() {
        Ok((process, layers)) => Ok((Process { group, ..process }, layers)),
        Err(refusal) => {
            group.kill();
            remove_soon(&group);
            Err(refusal)
        }
    }
}

/// Answers the new process until it has become its program.
fn accompany(
    shop: &Workshop,
    plan: &Plan,
    group: &Group,
    pid: Pid,
    sync: BorrowedFd<'_>,
    outer: &LayerReport,
) -> Result<LayerReport, Refusal> {
    group.add(pid).map_err(|error| internal("putting the jail into its cgroup", &error))?;
    // A host short of memory ends a jail first. Not being allowed to is no danger.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "300");
    let mut layers = None;
    go(sync)?;
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
                check(&shop.required, &all, Stage::After)?;
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
    match packet::receive(sync)? {
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
        if shop.namespaces.get(&layer).is_some_and(LayerState::is_on) { flag } else { 0 }
    };
    NAMESPACES.iter().map(|(layer, flag)| on(*layer, *flag)).fold(0, |all, flag| all | flag)
}

/// The namespaces that clone makes; user and cgroup come later, from inside.
pub(crate) const NAMESPACES: [(LayerName, libc::c_int); 5] = [
    (LayerName::Mount, libc::CLONE_NEWNS),
    (LayerName::Pid, libc::CLONE_NEWPID),
    (LayerName::Net, libc::CLONE_NEWNET),
    (LayerName::Ipc, libc::CLONE_NEWIPC),
    (LayerName::Uts, libc::CLONE_NEWUTS),
];

/// Whether users have uids of their own.
pub(crate) fn uid_layer(mode: Mode) -> LayerState {
    match mode {
        Mode::Root => LayerState::On,
        Mode::Degraded if rustix::process::geteuid().is_root() => LayerState::On,
        Mode::Userns | Mode::Degraded => {
            let uid = rustix::process::getuid().as_raw();
            LayerState::Off(format!(
                "shared: all jails run as uid {uid}; start Carrel as root for one uid per user"
            ))
        }
    }
}

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

fn check(required: &[LayerName], layers: &LayerReport, stage: Stage) -> Result<(), Refusal> {
    let missing: Vec<String> = required
        .iter()
        .filter(|layer| stage == Stage::After || !FROM_INSIDE.contains(layer))
        .filter_map(|layer| match layers.get(layer) {
            Some(LayerState::On) => None,
            Some(LayerState::Off(why)) => Some(format!("{layer} ({why})")),
            None => Some(format!("{layer} (not applied)")),
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(refused(format!(
        "refused: this host does not give the required layers {}; fix the host, or take them out of the required layers in the settings",
        missing.join(", ")
    )))
}

/// The detached mounts that go along, in the order of their numbers.
struct Trees {
    home: Option<OwnedFd>,
    engine: Option<OwnedFd>,
    scratch: Option<OwnedFd>,
    broker: Option<OwnedFd>,
}

impl Trees {
    fn make(order: &Order<'_>) -> Result<Self, Refusal> {
        if order.view.is_none() {
            return Ok(Self { home: None, engine: None, scratch: None, broker: None });
        }
        let copy = |what: &'static str, fd: BorrowedFd<'_>, attributes| {
            mounts::copy_of_open(fd, attributes).map_err(|error| internal(what, &error))
        };
        let sealed = RDONLY | NOSUID | NODEV | mounts::NOEXEC;
        Ok(Self {
            home: Some(copy("taking up the home", order.home, NOSUID | NODEV)?),
            engine: order.engine.map(|fd| copy("taking up the engine's folder", fd, sealed)).transpose()?,
            scratch: order
                .scratch
                .map(|fd| copy("taking up the scratch folder", fd, NOSUID | NODEV))
                .transpose()?,
            broker: order.broker.map(|fd| copy("taking up the broker's folder", fd, sealed)).transpose()?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        self.home.iter().chain(&self.engine).chain(&self.scratch).chain(&self.broker)
    }
}

/// The Landlock rules of a jail.
fn rules(order: &Order<'_>) -> Vec<(PathBuf, Use)> {
    let (places, plan) = (order.places, order.plan);
    let mut rules = vec![(places.home.clone(), Use::Write)];
    let readable = order.view.map_or(order.readable, |view| view.readable.as_slice());
    rules.extend(readable.iter().map(|path| (path.clone(), Use::Read)));
    match plan.kind {
        Kind::Kernel => {
            rules.push((places.kernel.clone(), Use::Write));
            if plan.engine {
                rules.push((places.engine.clone(), Use::Read));
            }
        }
        Kind::Desk => {}
        Kind::Engine => {
            rules.push((places.scratch.clone(), Use::Write));
            rules.push((places.engine_config.clone(), Use::Read));
            if order.broker.is_some() {
                rules.push((places.broker.clone(), Use::Read));
            }
        }
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

/// Retries for a moment: the kernel lets go of a group a little after its last process.
pub(crate) fn remove_soon(group: &Group) {
    for _ in 0..50 {
        if group.remove() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
