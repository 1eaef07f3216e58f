//! Running jails: watching, ending them, and leaving nothing behind. How one is started is in `build.rs`, how one is found again in `adopt.rs`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway_spawnd::protocol::Memory;
use gateway_spawnd::{
    Exited, GroupName, JailId, JailInfo, LayerReport, Profile, Reason, SpecId, Stats, UserName,
};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::json;

use super::Server;
use super::aide::{Aide, Door};
use super::engine::Engine;
use super::lines::Lines;
use super::record::{Record, Recorded};
use super::tail::Tail;
use super::watch::MemoryWatch;
use crate::host::cgroup::Group;
use crate::host::process::{self, End};
use crate::jail::start::{self, Process};
use crate::log;

/// How long an ended jail's groups may still be busy before it is given up with a warning.
const BURIAL: Duration = Duration::from_secs(2);
const BURIAL_STEP: Duration = Duration::from_millis(2);
/// How long somebody else may take to reap a child.
const REAPING: Duration = Duration::from_millis(1500);
/// Reads of an ended process's last words.
pub(crate) const LAST_WORDS: u32 = 8;

/// Which of a jail's two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Shim or desk.
    Main,
    /// Engine.
    Engine,
}

/// A process, its group and what it says.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) group: Group,
    pub(crate) log: OwnedFd,
    lines: Lines,
    /// Where no group bounds its memory.
    pub(crate) watch: Option<MemoryWatch>,
    /// It has ended, but not yet been reaped by its parent: a spawnd before this one, or who took over that one's children.
    pub(crate) unreaped: Option<Instant>,
}

impl Running {
    pub(crate) fn new(
        process: Process,
        group: Group,
        log: OwnedFd,
        watch: Option<MemoryWatch>,
        now: Instant,
    ) -> Self {
        Self { process, group, log, lines: Lines::new(now), watch, unreaped: None }
    }

    pub(crate) fn recorded(&self) -> Recorded {
        Recorded::new(&self.process, &self.group)
    }

    /// Pid 1's end is the end of its whole pid namespace; without one its keeper ends the rest.
    fn end(&self) {
        let signal = if self.process.keeper { Signal::TERM } else { Signal::KILL };
        if let Err(error) = pidfd_send_signal(&self.process.pidfd, signal)
            && error != Errno::SRCH
        {
            let pid = self.process.pid.as_raw_nonzero().get();
            log::warn("kill", json!({ "pid": pid, "error": error.to_string() }));
        }
    }

    /// What it uses, as its group says, or who watches in its place.
    pub(crate) fn stats(&self) -> Stats {
        let counted = self.group.stats();
        match self.watch.as_ref().map(MemoryWatch::stats) {
            Some(seen) => Stats { cpu_usec: counted.cpu_usec, pids: counted.pids, ..seen },
            None => counted,
        }
    }

    /// Whole lines that it has written since the last time.
    pub(crate) fn said(&mut self, reads: u32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buffer = [0u8; 16 * 1024];
        for _ in 0..reads {
            match rustix::io::read(&self.log, &mut buffer) {
                Ok(length) if length > 0 => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    lines.extend(self.lines.take(bytes, Instant::now()));
                }
                _ => break,
            }
        }
        lines
    }
}

/// A jail that runs or is being ended.
pub(crate) struct Jail {
    pub(crate) user: UserName,
    /// The user's groups when it was started.
    pub(crate) groups: Vec<GroupName>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) profile: Profile,
    pub(crate) kernelspec: Option<SpecId>,
    pub(crate) started_ms: u64,
    pub(crate) layers: LayerReport,
    pub(crate) socket: PathBuf,
    pub(crate) pid: i32,
    /// `<runtime>/jails/<id>`.
    pub(crate) folder: OwnedFd,
    pub(crate) main: Option<Running>,
    pub(crate) engine: Option<Engine>,
    /// The way to the proxy, if it has one.
    pub(crate) door: Option<Door>,
    /// A server's way to the gateway.
    pub(crate) hub: Option<Door>,
    /// What a server wrote last.
    pub(crate) tail: Tail,
    /// How long it may live, from its birth.
    pub(crate) wall: Option<Duration>,
    /// Told to end, or ended; and why, if spawnd did.
    pub(crate) ending: bool,
    pub(crate) reason: Option<Reason>,
    pub(crate) exited: Exited,
    /// Groups to remove.
    pub(crate) graves: Vec<Group>,
    pub(crate) dead_since: Option<Instant>,
    pub(crate) waiters: Vec<u64>,
}

impl Jail {
    /// What runs.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Which, &Running)> {
        let engine = self.engine.as_ref().and_then(|engine| engine.running.as_ref());
        self.main.iter().map(|main| (Which::Main, main)).chain(engine.map(|engine| (Which::Engine, engine)))
    }

    pub(crate) fn running(&mut self, which: Which) -> Option<&mut Running> {
        match which {
            Which::Main => self.main.as_mut(),
            Which::Engine => self.engine.as_mut().and_then(|engine| engine.running.as_mut()),
        }
    }

    /// The socket of an engine that waits to be needed.
    pub(crate) fn sleeping_engine(&self, now: Instant) -> Option<&OwnedFd> {
        let engine = self.engine.as_ref().filter(|engine| !self.ending && engine.running.is_none())?;
        engine.listener.as_ref().filter(|_| engine.pace.rest(now).is_none())
    }

    /// When to look at it again though nothing happens: an engine that rests may be woken, groups may have become empty, its time may be over.
    pub(crate) fn due(&self, now: Instant) -> Option<Duration> {
        let engine = self.engine.as_ref().filter(|engine| !self.ending && engine.running.is_none());
        let rested = engine.and_then(|engine| engine.pace.rest(now));
        let unreaped = self.processes().any(|(_, running)| running.unreaped.is_some());
        let buried = (self.dead_since.is_some() || unreaped).then_some(BURIAL_STEP);
        let watches = self.processes().filter_map(|(_, running)| Some(running.watch.as_ref()?.due(now)));
        [rested, buried, self.time_left(), watches.min()].into_iter().flatten().min()
    }

    /// How long it may still live, if that is bounded.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let (wall, main) = (self.wall.filter(|_| !self.ending)?, self.main.as_ref()?);
        Some(wall.saturating_sub(process::age(main.process.birth)))
    }

    /// Ends it, with all that runs in it. The first reason is the one that counts.
    pub(crate) fn kill(&mut self, reason: Option<Reason>) {
        self.ending = true;
        self.reason = self.reason.or(reason);
        for (_, running) in self.processes() {
            running.end();
        }
    }

    fn remember(&mut self, which: Which, lines: &[String]) {
        if self.profile.is_server() && which == Which::Main {
            self.tail.add(lines);
        }
    }

    /// As told to clients.
    pub(crate) fn info(&self, id: &JailId) -> JailInfo {
        JailInfo {
            id: id.clone(),
            user: self.user.clone(),
            profile: self.profile,
            kernelspec: self.kernelspec.clone(),
            pid: self.pid,
            uid: self.uid,
            started_ms: self.started_ms,
            layers: self.layers.clone(),
            socket: self.socket.clone(),
            engine: self.engine.as_ref().is_some_and(|engine| engine.running.is_some()),
            proxy: self.door.is_some(),
        }
    }

    /// Of all that runs, added up.
    pub(crate) fn stats(&self) -> Stats {
        let main = self.main.as_ref().map(Running::stats).unwrap_or_default();
        let alone = Memory {
            memory_peak_bytes: main.memory_peak_bytes,
            memory_limit_bytes: main.memory_limit_bytes,
            oom_kills: main.oom_kills,
        };
        let all = self.processes().map(|(_, running)| running.stats());
        all.fold(Stats { main: alone, ..Stats::default() }, Stats::plus)
    }

    /// Writes down who runs, for the next spawnd; processes that are about to run are given.
    pub(crate) fn record(
        &self,
        main: Option<(&Process, &Group)>,
        engine: Option<(&Process, &Group)>,
    ) -> io::Result<()> {
        let given = |(process, group): (&Process, &Group)| Recorded::new(process, group);
        let running = self.engine.as_ref().and_then(|engine| engine.running.as_ref());
        let Some(main) = main.map(given).or_else(|| self.main.as_ref().map(Running::recorded)) else {
            return Ok(());
        };
        let record = Record {
            boot: process::boot(),
            user: self.user.clone(),
            groups: self.groups.clone(),
            uid: self.uid,
            gid: self.gid,
            profile: self.profile,
            kernelspec: self.kernelspec.clone(),
            started_ms: self.started_ms,
            layers: self.layers.clone(),
            socket: self.socket.clone(),
            main,
            engine: engine.map(given).or_else(|| running.map(Running::recorded)),
        };
        record.write(&self.folder)
    }
}

impl Server {
    /// A process has ended: reap it.
    pub(crate) fn ended(&mut self, id: &JailId, which: Which) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let wanted = jail.ending;
        let Some(running) = jail.running(which) else { return };
        let mut exited = match process::end(&running.process.pidfd) {
            End::Known(exited) => exited,
            // Whatever poll said.
            End::NotYet => return,
            End::Soon => {
                let since = *running.unreaped.get_or_insert_with(Instant::now);
                if !wanted && since.elapsed() < REAPING {
                    return;
                }
                Exited::default()
            }
        };
        let mut lines = running.said(LAST_WORDS);
        lines.extend(running.lines.finish());
        passed_on(id, which, &lines);
        let stats = running.stats();
        exited.oom = stats.oom_kills.is_some_and(|kills| kills > 0);
        (exited.memory_peak_bytes, exited.memory_limit_bytes) =
            (stats.memory_peak_bytes, stats.memory_limit_bytes);
        running.group.kill();
        let gone = match which {
            Which::Main => jail.main.take(),
            Which::Engine => jail.engine.as_mut().and_then(|engine| engine.running.take()),
        };
        jail.graves.extend(gone.map(|gone| gone.group));
        jail.remember(which, &lines);
        let name = match which {
            Which::Main => "jail.end",
            Which::Engine => "engine.end",
        };
        log::info(
            name,
            json!({ "id": id, "code": exited.code, "signal": exited.signal, "oom": exited.oom, "wanted": wanted, "reason": jail.reason }),
        );
        match which {
            Which::Main => {
                exited.oom |= jail.exited.oom;
                jail.exited = Exited { reason: jail.reason, ..exited };
                // An engine without its kernel has nobody to serve.
                jail.kill(None);
            }
            Which::Engine => {
                jail.exited.oom |= exited.oom;
                if !wanted {
                    // Its leaf must be free before it is needed again.
                    for group in jail.graves.drain(..) {
                        start::remove_soon(&group);
                    }
                    if let Err(error) = jail.record(None, None) {
                        log::warn("record", json!({ "id": id, "error": error.to_string() }));
                    }
                    self.engine_ended(id, Instant::now());
                }
            }
        }
    }

    /// Passes on what a process wrote.
    pub(crate) fn said(&mut self, id: &JailId, which: Which) {
        let running = self.jails.get_mut(id).and_then(|jail| jail.running(which));
        let lines = running.map(|running| running.said(1)).unwrap_or_default();
        passed_on(id, which, &lines);
        if let Some(jail) = self.jails.get_mut(id) {
            jail.remember(which, &lines);
        }
    }

    /// Looks again at processes that had ended but not been reaped, and ends jails whose time is over.
    pub(crate) fn look_again(&mut self) {
        let unreaped = self.jails.iter().flat_map(|(id, jail)| {
            let late = jail.processes().filter(|(_, running)| running.unreaped.is_some());
            late.map(|(which, _)| (id.clone(), which)).collect::<Vec<_>>()
        });
        for (id, which) in unreaped.collect::<Vec<_>>() {
            self.ended(&id, which);
        }
        for (id, jail) in &mut self.jails {
            if jail.time_left().is_some_and(|left| left.is_zero()) {
                log::info("jail.wall", json!({ "id": id, "seconds": jail.wall.map(|wall| wall.as_secs()) }));
                jail.kill(Some(Reason::Wall));
            }
        }
    }

    /// Removes what is left of jails that have ended, and tells who waits for that.
    pub(crate) fn bury(&mut self, now: Instant) {
        let dead: Vec<JailId> = self
            .jails
            .iter()
            .filter(|(_, jail)| jail.processes().next().is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in dead {
            let Some(jail) = self.jails.get_mut(&id) else { continue };
            jail.graves.retain(|group| !group.remove());
            let since = *jail.dead_since.get_or_insert(now);
            if !jail.graves.is_empty() && now.duration_since(since) < BURIAL {
                continue;
            }
            let Some(mut jail) = self.jails.remove(&id) else { continue };
            if !jail.graves.is_empty() {
                log::warn("cgroup.busy", json!({ "id": id }));
            }
            self.forget_at(Aide::Broker, &id, &jail);
            self.forget_at(Aide::Proxy, &id, &jail);
            self.remove_folders(&id);
            let waiters = std::mem::take(&mut jail.waiters);
            let lines = std::mem::take(&mut jail.tail).lines();
            let exited = Exited { home: self.home_use(&jail), lines, ..jail.exited.clone() };
            let user = jail.user.clone();
            // Its descriptors too are closed before anybody is told.
            if jail.engine.is_some() || jail.door.is_some() || jail.hub.is_some() {
                self.forget_kept(&id);
            }
            drop(jail);
            self.forget_user(&user);
            self.exits.add(id, exited);
            self.tell_waiters(waiters);
        }
    }
}

fn passed_on(id: &JailId, which: Which, lines: &[String]) {
    let part = if which == Which::Main { "main" } else { "engine" };
    for line in lines {
        log::info("jail.says", json!({ "id": id, "part": part, "line": line }));
    }
}

/// Name of a process's cgroup leaf.
pub(crate) fn cgroup_leaf(id: &JailId, part: &str) -> String {
    format!("{id}.{part}")
}
