//! The broker: started under a uid of its own, told whose each engine's socket is, started again when it ends. It is no jail: it reaches the
//! network and its keytab, but it has no capability, no way back to root and nothing open but its log and the socket to us.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use gateway_spawnd::settings::BrokerSettings;
use gateway_spawnd::{JailId, Mode, packet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode as Bits, OFlags, openat};
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
use super::jails::{Jail, Running};
use crate::host::cgroup::Group;
use crate::jail::inside::said;
use crate::jail::start::Process;
use crate::log;
use crate::sys::{self, Forked};

/// Where the broker finds us.
const CONTROL: RawFd = 3;

/// How long it may take to end in order.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The broker and how to speak to it.
#[derive(Default)]
pub(crate) struct Broker {
    pub(crate) running: Option<Running>,
    control: Option<OwnedFd>,
    pace: Pace,
}

impl Server {
    /// Starts the broker if it is wanted and does not run.
    pub(crate) fn keep_broker(&mut self, now: Instant) {
        let Some(settings) = &self.settings.broker else { return };
        if self.broker.running.is_some() || self.stopping || self.broker.pace.rest(now).is_some() {
            return;
        }
        match start(settings, self.shop.mode) {
            Ok((process, control)) => {
                log::info("broker.start", json!({ "pid": process.pid.as_raw_nonzero().get() }));
                self.broker.running = Some(Running::new(process, now));
                self.broker.control = Some(control);
                let engines: Vec<JailId> = self.jails.keys().cloned().collect();
                for id in engines {
                    if let Some(door) = self.door(&id).filter(|door| door.told) {
                        door.told = false;
                        self.tell_broker(&id);
                    }
                }
            }
            Err(why) => {
                log::warn("broker.failed", json!({ "error": why }));
                self.broker.pace.ended(now);
            }
        }
    }

    /// When to try again.
    pub(crate) fn broker_due(&self, now: Instant) -> Option<Duration> {
        self.settings.broker.as_ref()?;
        if self.broker.running.is_some() { None } else { self.broker.pace.rest(now) }
    }

    /// Tells the broker whose this engine's socket is, once.
    pub(crate) fn tell_broker(&mut self, id: &JailId) {
        let Self { jails, broker, .. } = self;
        let Some(jail) = jails.get_mut(id) else { return };
        let user = jail.user.clone();
        let Some(door) = jail.engine.as_mut().and_then(|engine| engine.door.as_mut()) else { return };
        if door.told {
            return;
        }
        door.told = true;
        let text = json!({ "op": "engine", "id": id, "user": user }).to_string();
        // A broker that does not run is told when it does.
        if let Some(control) = &broker.control {
            let sent = packet::send(control, text.as_bytes(), &[door.listener.as_fd()], true);
            self.heard(sent);
        }
    }

    /// An engine will not come back.
    pub(crate) fn forget_at_broker(&mut self, id: &JailId, jail: &Jail) {
        let door = jail.engine.as_ref().and_then(|engine| engine.door.as_ref());
        if let (Some(control), true) = (&self.broker.control, door.is_some_and(|door| door.told)) {
            let text = json!({ "op": "gone", "id": id }).to_string();
            let sent = packet::send(control, text.as_bytes(), &[], true);
            self.heard(sent);
        }
    }

    /// A broker that does not listen is ended: the next one is told everything.
    fn heard(&self, sent: Result<(), rustix::io::Errno>) {
        if let (Err(error), Some(running)) = (sent, &self.broker.running) {
            log::warn("broker.deaf", json!({ "error": error.to_string() }));
            let _ = pidfd_send_signal(&running.process.pidfd, Signal::KILL);
        }
    }

    /// It has ended: reap it.
    pub(crate) fn broker_ended(&mut self, now: Instant) {
        self.broker_said();
        let Some(running) = self.broker.running.take() else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = match waitid(WaitId::PidFd(running.process.pidfd.as_fd()), options) {
            Ok(Some(status)) => status,
            // Not yet, whatever poll said.
            Ok(None) => {
                self.broker.running = Some(running);
                return;
            }
            Err(error) => {
                log::warn("wait", json!({ "part": "broker", "error": error.to_string() }));
                return;
            }
        };
        self.broker.control = None;
        let rests = self.broker.pace.ended(now);
        log::warn(
            "broker.end",
            json!({ "code": status.exit_status(), "signal": status.terminating_signal(), "rests": rests }),
        );
    }

    /// Passes on what it wrote.
    pub(crate) fn broker_said(&mut self) {
        let Some(running) = &mut self.broker.running else { return };
        for line in running.said(Instant::now()) {
            log::info("broker.says", json!({ "line": line }));
        }
    }

    /// Ends it with us.
    pub(crate) fn end_broker(&mut self) {
        // It ends when its socket to us does: statements that it still reads for are written down as ended.
        self.broker.control = None;
        let Some(running) = self.broker.running.take() else { return };
        let pidfd = running.process.pidfd.as_fd();
        if !matches!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)), Ok(1)) {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
        let _ = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    }

    fn door(&mut self, id: &JailId) -> Option<&mut super::engine::Door> {
        self.jails.get_mut(id)?.engine.as_mut()?.door.as_mut()
    }
}

fn start(settings: &BrokerSettings, mode: Mode) -> Result<(Process, OwnedFd), String> {
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Bits::empty());
    let null = said("opening /dev/null", null)?;
    let (log, log_in) = said("making the log pipe", pipe_with(PipeFlags::CLOEXEC))?;
    said("making the log pipe", rustix::io::ioctl_fionbio(&log, true))?;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (control, control_in) = said("making the control socket", pair)?;
    match said("forking", sys::fork_into(0, None))? {
        Forked::Child => {
            let fds = [null.as_fd(), log_in.as_fd(), log_in.as_fd(), control_in.as_fd()];
            let Err(why) = become_broker(settings, mode, &fds);
            // Where the log goes by now, if anywhere.
            eprintln!("{why}");
            sys::exit_now(125)
        }
        Forked::Parent(pid, pidfd) => {
            Ok((Process { pid, pidfd, group: Group::default(), log, keeper: false }, control))
        }
    }
}

/// Runs in the child only.
fn become_broker(
    settings: &BrokerSettings,
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
