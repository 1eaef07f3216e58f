//! Broker and proxy: each started under a uid of its own, told whose each engine's or kernel's socket is, started again when it ends. They
//! are no jails: they reach the network (and the broker its keytab), but have no capability, no way back to root and nothing open but a log
//! and the socket to us. They end with the spawnd that started them: the next one starts others, and tells those of the jails that run.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use gateway_spawnd::settings::{AideSettings, Settings};
use gateway_spawnd::{JailId, Mode, Refusal, packet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Gid, Resource, Rlimit, Signal, Uid, WaitId, WaitIdOptions, pidfd_send_signal, setrlimit, umask, waitid,
};
use rustix::thread::{
    clear_ambient_capability_set, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use rustix::time::Timespec;
use serde_json::json;

use super::Server;
use super::engine::Pace;
use super::jails::{Jail, LAST_WORDS, Running};
use super::workshop::listening;
use crate::host::cgroup::Group;
use crate::host::folders::make_folder;
use crate::host::internal;
use crate::host::process::{self, End};
use crate::jail::inside::said;
use crate::jail::start::Process;
use crate::keeper::Keeper;
use crate::log;
use crate::sys::{self, Forked};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aide {
    /// Reads the cluster for engines.
    Broker,
    /// Takes kernels to the network.
    Proxy,
}

const AIDES: [Aide; 2] = [Aide::Broker, Aide::Proxy];

impl Aide {
    /// In logs, and as the name of folders that hold its sockets.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Proxy => "proxy",
        }
    }

    /// In the keeper: before the ids of jails whose socket it is.
    pub(crate) fn kept(self) -> &'static str {
        match self {
            Self::Broker => "broker/",
            Self::Proxy => "proxy/",
        }
    }

    fn settings(self, all: &Settings) -> Option<&AideSettings> {
        match self {
            Self::Broker => all.broker.as_ref(),
            Self::Proxy => all.proxy.as_ref(),
        }
    }

    fn door(self, jail: &Jail) -> Option<&Door> {
        match self {
            Self::Broker => jail.engine.as_ref()?.door.as_ref(),
            Self::Proxy => jail.door.as_ref(),
        }
    }

    fn door_mut(self, jail: &mut Jail) -> Option<&mut Door> {
        match self {
            Self::Broker => jail.engine.as_mut()?.door.as_mut(),
            Self::Proxy => jail.door.as_mut(),
        }
    }

    /// What it is told with a jail's socket.
    fn news(self, id: &JailId, jail: &Jail) -> String {
        let (user, groups) = (&jail.user, &jail.groups);
        match self {
            Self::Broker => json!({ "op": "engine", "id": id, "user": user }),
            Self::Proxy => json!({ "op": "kernel", "id": id, "user": user, "groups": groups }),
        }
        .to_string()
    }
}

/// Where it finds us.
const CONTROL: RawFd = 3;

/// How long it may take to end in order.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Both.
#[derive(Default)]
pub(crate) struct Aides {
    broker: Daemon,
    proxy: Daemon,
}

impl Aides {
    fn get(&self, aide: Aide) -> &Daemon {
        match aide {
            Aide::Broker => &self.broker,
            Aide::Proxy => &self.proxy,
        }
    }

    fn get_mut(&mut self, aide: Aide) -> &mut Daemon {
        match aide {
            Aide::Broker => &mut self.broker,
            Aide::Proxy => &mut self.proxy,
        }
    }

    /// Those that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = (Aide, &Running)> {
        AIDES.into_iter().filter_map(|aide| Some((aide, self.get(aide).running.as_ref()?)))
    }
}

/// One of them, and how to speak to it.
#[derive(Default)]
struct Daemon {
    running: Option<Running>,
    control: Option<OwnedFd>,
    /// The writing end of its log, so that the reading one never says that it is at its end.
    log_in: Option<OwnedFd>,
    pace: Pace,
}

/// In the keeper: before the ids of jails whose way to the gateway it is.
pub(crate) const KEPT_HUB: &str = "hub/";

/// An engine's own socket at the broker, a kernel's at the proxy, a server's at the gateway: whoever comes through it is this one.
pub(crate) struct Door {
    pub(crate) kept: &'static str,
    pub(crate) listener: OwnedFd,
    /// Holds the socket; shown in the jail.
    pub(crate) folder: OwnedFd,
    /// The other side was told whose it is, or will be as soon as it runs.
    pub(crate) told: bool,
}

impl Door {
    /// Of a jail that was there before, too: the socket is looked for by its name, each time it is needed.
    pub(crate) fn open(
        aide: Aide,
        jail: &OwnedFd,
        ids: (u32, u32),
        kept: Option<OwnedFd>,
    ) -> Result<Self, Refusal> {
        Self::at((aide.as_str(), aide.kept()), jail, ids, kept)
    }

    /// To the gateway, which asks for the socket.
    pub(crate) fn to_gateway(
        jail: &OwnedFd,
        ids: (u32, u32),
        kept: Option<OwnedFd>,
    ) -> Result<Self, Refusal> {
        Self::at(("hub", KEPT_HUB), jail, ids, kept)
    }

    fn at(
        (name, prefix): (&'static str, &'static str),
        jail: &OwnedFd,
        ids: (u32, u32),
        kept: Option<OwnedFd>,
    ) -> Result<Self, Refusal> {
        let os = |error: Errno| internal(&format!("making a jail's way to the {name}"), &error);
        let folder = match make_folder(jail, name, 0o755, None) {
            Err(Errno::EXIST) => openat(jail, name, FOLDER, Bits::empty()),
            made => made,
        };
        let folder = folder.map_err(os)?;
        let listener = match kept {
            Some(listener) => listener,
            None => listening(&folder, &format!("{name}.sock"), ids, SocketType::STREAM).map_err(os)?,
        };
        Ok(Self { kept: prefix, listener, folder, told: false })
    }

    /// Leaves the socket with the keeper, so that who asks while there is no spawnd waits instead of failing.
    pub(crate) fn keep(&self, keeper: &Keeper, id: &JailId) {
        keeper.hold(&format!("{}{id}", self.kept), "", &self.listener);
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Server {
    /// Starts those that are wanted and do not run.
    pub(crate) fn keep_aides(&mut self, now: Instant) {
        for aide in AIDES {
            self.keep_aide(aide, now);
        }
    }

    fn keep_aide(&mut self, aide: Aide, now: Instant) {
        let Some(settings) = aide.settings(&self.settings) else { return };
        let daemon = self.aides.get_mut(aide);
        if daemon.running.is_some() || self.stopping || daemon.pace.rest(now).is_some() {
            return;
        }
        match start(settings, self.shop.mode) {
            Ok(Begun { process, control, log, log_in }) => {
                let pid = process.pid.as_raw_nonzero().get();
                log::info(&format!("{}.start", aide.as_str()), json!({ "pid": pid }));
                daemon.running = Some(Running::new(process, Group::default(), log, None, now));
                daemon.control = Some(control);
                daemon.log_in = Some(log_in);
                let told = self.jails.iter_mut().filter_map(|(id, jail)| {
                    let door = aide.door_mut(jail).filter(|door| door.told)?;
                    door.told = false;
                    Some(id.clone())
                });
                for id in told.collect::<Vec<_>>() {
                    self.tell(aide, &id);
                }
            }
            Err(why) => {
                log::warn(&format!("{}.failed", aide.as_str()), json!({ "error": why }));
                daemon.pace.ended(now);
            }
        }
    }

    /// When to try again.
    pub(crate) fn aides_due(&self, now: Instant) -> Option<Duration> {
        let wanted = AIDES.into_iter().filter(|aide| aide.settings(&self.settings).is_some());
        let absent = wanted.map(|aide| self.aides.get(aide)).filter(|daemon| daemon.running.is_none());
        absent.filter_map(|daemon| daemon.pace.rest(now)).min()
    }

    /// Tells it whose this jail's socket is, once.
    pub(crate) fn tell(&mut self, aide: Aide, id: &JailId) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let text = aide.news(id, jail);
        let Some(door) = aide.door_mut(jail).filter(|door| !door.told) else { return };
        door.told = true;
        let daemon = self.aides.get(aide);
        // One that does not run is told when it does.
        if let Some(control) = &daemon.control {
            heard(aide, daemon, packet::send(control, text.as_bytes(), &[door.listener.as_fd()], true));
        }
    }

    /// A jail will not come back.
    pub(crate) fn forget_at(&mut self, aide: Aide, id: &JailId, jail: &Jail) {
        let daemon = self.aides.get(aide);
        if let (Some(control), true) = (&daemon.control, aide.door(jail).is_some_and(|door| door.told)) {
            let text = json!({ "op": "gone", "id": id }).to_string();
            heard(aide, daemon, packet::send(control, text.as_bytes(), &[], true));
        }
    }

    /// It has ended: reap it.
    pub(crate) fn aide_ended(&mut self, aide: Aide, now: Instant) {
        let daemon = self.aides.get_mut(aide);
        let Some(running) = &mut daemon.running else { return };
        // Whatever poll said. It is our child, so there is nobody else to reap it.
        let End::Known(exited) = process::end(&running.process.pidfd) else { return };
        said_by(aide, running, LAST_WORDS);
        let pace = std::mem::take(&mut daemon.pace);
        *daemon = Daemon { pace, ..Daemon::default() };
        let rests = daemon.pace.ended(now);
        log::warn(
            &format!("{}.end", aide.as_str()),
            json!({ "code": exited.code, "signal": exited.signal, "rests": rests }),
        );
    }

    /// Passes on what it wrote.
    pub(crate) fn aide_said(&mut self, aide: Aide) {
        if let Some(running) = &mut self.aides.get_mut(aide).running {
            said_by(aide, running, 1);
        }
    }

    /// Ends them with us.
    pub(crate) fn end_aides(&mut self) {
        // Each ends when its socket to us does: what it still does is written down as ended.
        for aide in AIDES {
            self.aides.get_mut(aide).control = None;
        }
        for aide in AIDES {
            let Some(mut running) = self.aides.get_mut(aide).running.take() else { continue };
            let pidfd = running.process.pidfd.as_fd();
            if !matches!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)), Ok(1)) {
                let _ = pidfd_send_signal(pidfd, Signal::KILL);
            }
            let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
            said_by(aide, &mut running, LAST_WORDS);
        }
    }
}

/// One that does not listen is ended: the next one is told everything.
fn heard(aide: Aide, daemon: &Daemon, sent: Result<(), Errno>) {
    if let (Err(error), Some(running)) = (sent, &daemon.running) {
        log::warn(&format!("{}.deaf", aide.as_str()), json!({ "error": error.to_string() }));
        let _ = pidfd_send_signal(&running.process.pidfd, Signal::KILL);
    }
}

fn said_by(aide: Aide, running: &mut Running, reads: u32) {
    for line in running.said(reads) {
        log::info(&format!("{}.says", aide.as_str()), json!({ "line": line }));
    }
}

/// One that has just been started.
struct Begun {
    process: Process,
    control: OwnedFd,
    log: OwnedFd,
    log_in: OwnedFd,
}

fn start(settings: &AideSettings, mode: Mode) -> Result<Begun, String> {
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty());
    let null = said("opening /dev/null", null)?;
    let (log, log_in) = said("making the log pipe", pipe_with(PipeFlags::CLOEXEC))?;
    said("making the log pipe", rustix::io::ioctl_fionbio(&log, true))?;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (control, control_in) = said("making the control socket", pair)?;
    match said("forking", sys::fork_into(0, None))? {
        Forked::Child => {
            let fds = [null.as_fd(), log_in.as_fd(), log_in.as_fd(), control_in.as_fd()];
            let Err(why) = become_it(settings, mode, &fds);
            // Where the log goes by now, if anywhere.
            eprintln!("{why}");
            sys::exit_now(125)
        }
        Forked::Parent(pid, pidfd) => {
            let process = Process { pid, birth: process::birth(pid), pidfd, keeper: false };
            Ok(Begun { process, control, log, log_in })
        }
    }
}

/// Runs in the child only.
fn become_it(
    settings: &AideSettings,
    mode: Mode,
    fds: &[std::os::fd::BorrowedFd<'_>],
) -> Result<Infallible, String> {
    said("keeping descriptors", sys::keep_only(fds, usize::try_from(CONTROL).unwrap_or_default() + 1))?;
    umask(Bits::from_raw_mode(0o077));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    said("forbidding core dumps", setrlimit(Resource::Core, none))?;
    if mode != Mode::Userns && rustix::process::geteuid().is_root() {
        said("dropping groups", set_thread_groups(&[]))?;
        said("emptying the bounding set", sys::drop_bounding_set())?;
        let (uid, gid) = (Uid::from_raw(settings.uid), Gid::from_raw(settings.gid));
        said("changing the group", set_thread_res_gid(gid, gid, gid))?;
        said("changing the user", set_thread_res_uid(uid, uid, uid))?;
    }
    said("emptying the ambient set", clear_ambient_capability_set())?;
    said("setting no_new_privs", set_no_new_privs(true))?;
    said("unblocking signals", sys::unblock_signals())?;
    let error = Command::new(&settings.program)
        .args(["serve".as_ref(), "--config".as_ref(), settings.config.as_os_str()])
        .env_clear()
        .env("LANG", "C.UTF-8")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .exec();
    Err(format!("running {}: {error}", settings.program.display()))
}
