//! Running jails: starting, watching, ending them, and leaving nothing behind.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway_spawnd::protocol::ErrorCode;
use gateway_spawnd::{
    Exited, JailId, JailInfo, LayerReport, Mode, Profile, Refusal, Settings, SpecId, Start, Started, Stats,
    UserName,
};
use rustix::io::Errno;
use rustix::net::SocketType;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde_json::json;

use super::Server;
use super::engine::{Door, Engine, Pace};
use super::lines::Lines;
use super::workshop::listening;
use crate::host::folders::{Folders, make_folder, me, remove_tree};
use crate::host::{home, internal};
use crate::jail::plan::{self, Places};
use crate::jail::start::{self, Order, Process};
use crate::log;

/// How long an ended jail's groups may still be busy before it is given up with a warning.
const BURIAL: Duration = Duration::from_secs(2);
const BURIAL_STEP: Duration = Duration::from_millis(2);

/// Which of a jail's two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Shim or desk.
    Main,
    /// Engine.
    Engine,
}

/// A process and what it says.
pub(crate) struct Running {
    pub(crate) process: Process,
    lines: Lines,
    /// False once its output is closed.
    pub(crate) talks: bool,
}

impl Running {
    pub(crate) fn new(process: Process, now: Instant) -> Self {
        Self { process, lines: Lines::new(now), talks: true }
    }

    /// The lines that it wrote since.
    pub(crate) fn said(&mut self, now: Instant) -> Vec<String> {
        let mut buffer = [0u8; 16 * 1024];
        match rustix::io::read(&self.process.log, &mut buffer) {
            Ok(0) => {
                self.talks = false;
                self.lines.finish()
            }
            Ok(length) => self.lines.take(buffer.get(..length).unwrap_or_default(), now),
            Err(_) => Vec::new(),
        }
    }
}

/// A jail that runs or is being ended.
pub(crate) struct Jail {
    pub(crate) user: UserName,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) profile: Profile,
    pub(crate) kernelspec: Option<SpecId>,
    pub(crate) started_ms: u64,
    pub(crate) layers: LayerReport,
    pub(crate) socket: PathBuf,
    pub(crate) pid: i32,
    pub(crate) main: Option<Running>,
    pub(crate) engine: Option<Engine>,
    /// Told to end, or ended.
    pub(crate) ending: bool,
    pub(crate) exited: Exited,
    /// Groups to remove.
    pub(crate) graves: Vec<crate::host::cgroup::Group>,
    pub(crate) dead_since: Option<Instant>,
    pub(crate) waiters: Vec<u64>,
}

impl Jail {
    /// What runs.
    pub(crate) fn processes(&self) -> impl Iterator<Item = (Which, &Running)> {
        let engine = self.engine.as_ref().and_then(|engine| engine.running.as_ref());
        self.main.iter().map(|main| (Which::Main, main)).chain(engine.map(|engine| (Which::Engine, engine)))
    }

    /// The socket of an engine that waits to be needed.
    pub(crate) fn sleeping_engine(&self, now: Instant) -> Option<&OwnedFd> {
        let engine = self.engine.as_ref().filter(|engine| !self.ending && engine.running.is_none())?;
        engine.pace.rest(now).is_none().then_some(&engine.listener)
    }

    /// When an engine that rests may be woken.
    pub(crate) fn engine_due(&self, now: Instant) -> Option<Duration> {
        let engine = self.engine.as_ref().filter(|engine| !self.ending && engine.running.is_none())?;
        engine.pace.rest(now)
    }

    /// When to look again whether the groups have become empty.
    pub(crate) fn burial_due(&self, _now: Instant) -> Option<Duration> {
        self.dead_since.map(|_| BURIAL_STEP)
    }

    /// Ends it, with all that runs in it.
    pub(crate) fn kill(&mut self) {
        self.ending = true;
        for (_, running) in self.processes() {
            end(&running.process);
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
        }
    }

    /// Of all that runs, added up.
    pub(crate) fn stats(&self) -> Stats {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        self.processes().map(|(_, running)| running.process.group.stats()).fold(
            Stats::default(),
            |all, one| Stats {
                memory_bytes: sum(all.memory_bytes, one.memory_bytes),
                memory_peak_bytes: sum(all.memory_peak_bytes, one.memory_peak_bytes),
                memory_limit_bytes: sum(all.memory_limit_bytes, one.memory_limit_bytes),
                cpu_usec: sum(all.cpu_usec, one.cpu_usec),
                pids: sum(all.pids, one.pids),
                oom_kills: sum(all.oom_kills, one.oom_kills),
            },
        )
    }
}

/// Pid 1's end is the end of its whole pid namespace; without one its keeper ends the rest.
fn end(process: &Process) {
    let degraded = process.keeper;
    let signal = if degraded { Signal::TERM } else { Signal::KILL };
    if let Err(error) = pidfd_send_signal(&process.pidfd, signal)
        && error != Errno::SRCH
    {
        log::warn("kill", json!({ "pid": process.pid.as_raw_nonzero().get(), "error": error.to_string() }));
    }
}

impl Server {
    /// Starts a jail; the descriptor is a pidfd.
    pub(crate) fn start(&mut self, start: Start) -> Result<(Started, OwnedFd), Refusal> {
        let begun = Instant::now();
        self.admit(&start)?;
        let id = start.id.clone();
        let made = self.build(start);
        let (started, pidfd) = match made {
            Ok(made) => made,
            Err(refusal) => {
                log::warn("jail.failed", json!({ "id": id, "code": refusal.code, "error": refusal.message }));
                if !self.jails.contains_key(&id) {
                    self.remove_folders(&id);
                }
                return Err(refusal);
            }
        };
        self.exits.forget(&id);
        let (user, took) = (self.jails.get(&id).map(|jail| jail.user.clone()), begun.elapsed().as_micros());
        log::info(
            "jail.start",
            json!({ "id": id, "user": user, "pid": started.pid, "uid": started.uid, "took_us": took, "layers": started.layers }),
        );
        Ok((started, pidfd))
    }

    fn admit(&self, start: &Start) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::new(ErrorCode::Refused, "spawnd is shutting down"));
        }
        if self.jails.contains_key(&start.id) {
            return Err(Refusal::new(ErrorCode::Exists, format!("jail {} runs already", start.id)));
        }
        if self.jails.len() >= self.settings.max_jails {
            let message = format!("{} jails run already; raise max_jails or stop some", self.jails.len());
            return Err(Refusal::new(ErrorCode::Limit, message));
        }
        if self.folders.jail_path(start.id.as_str()).join("main.sock").as_os_str().len() > 107 {
            let message =
                "the runtime folder's path is too long for a socket (107 bytes); choose a shorter one";
            return Err(Refusal::new(ErrorCode::Limit, message));
        }
        match (start.profile, &start.kernelspec) {
            (Profile::Kernel, None) => {
                Err(Refusal::new(ErrorCode::BadRequest, "a kernel needs a kernelspec"))
            }
            (Profile::Desk, Some(_)) => {
                Err(Refusal::new(ErrorCode::BadRequest, "a desk takes no kernelspec"))
            }
            _ => Ok(()),
        }
    }

    fn build(&mut self, request: Start) -> Result<(Started, OwnedFd), Refusal> {
        let Start { user, id, profile, kernelspec, cwd } = request;
        let Self { settings, shop, views, folders, uids, .. } = self;
        let spec = match &kernelspec {
            Some(name) => Some(settings.kernelspecs.get(name).ok_or_else(|| {
                Refusal::new(ErrorCode::NotFound, format!("no kernelspec {name} in the settings"))
            })?),
            None => None,
        };
        let view = match (shop.mode, &kernelspec) {
            (Mode::Degraded, _) => None,
            (_, None) => Some(&views.desk),
            (_, Some(name)) => views.kernels.get(name),
        };
        let view = view.map(Result::as_ref).transpose().map_err(|why| {
            Refusal::new(ErrorCode::Refused, format!("what this jail would see could not be built: {why}"))
        })?;
        let ids = match uids {
            Some(table) => {
                let uid = table.get(&folders.private, &user, home::owner(&folders.homes, &user))?;
                (uid, uid)
            }
            None => me(),
        };
        let home = home::ensure(&folders.homes, &user, ids, settings.skeleton.as_deref())?;
        let os = |doing: &'static str| move |error: Errno| internal(doing, &error);
        remove_tree(&folders.jails, id.as_str());
        let mode = if shop.mode == Mode::Degraded { 0o711 } else { 0o750 };
        let folder_owner = (me().1 != settings.gateway_gid).then_some((me().0, settings.gateway_gid));
        let folder = make_folder(&folders.jails, id.as_str(), mode, folder_owner)
            .map_err(os("making the jail's folder"))?;
        let gateway = (settings.gateway_uid, settings.gateway_gid);
        let listener = listening(&folder, "main.sock", gateway, SocketType::STREAM)
            .map_err(os("listening on main.sock"))?;
        let owner = (ids != me()).then_some(ids);
        if shop.mode == Mode::Degraded {
            make_folder(&folder, "k", 0o700, owner).map_err(os("making the kernel's folder"))?;
        }
        let engine = if profile == Profile::Kernel && settings.programs.engine.is_some() {
            let engine =
                make_folder(&folder, "engine", 0o755, None).map_err(os("making the engine's folder"))?;
            let socket = listening(&engine, "engine.sock", ids, SocketType::STREAM)
                .map_err(os("listening on engine.sock"))?;
            remove_tree(&folders.scratch, id.as_str());
            let scratch = make_folder(&folders.scratch, id.as_str(), 0o700, owner)
                .map_err(os("making the scratch folder"))?;
            let door = match &settings.broker {
                Some(_) => {
                    let folder = make_folder(&folder, "broker", 0o755, None)
                        .map_err(os("making the broker's folder"))?;
                    let listener = listening(&folder, "broker.sock", ids, SocketType::STREAM)
                        .map_err(os("listening on broker.sock"))?;
                    Some(Door { listener, folder, told: false })
                }
                None => None,
            };
            Some(Engine {
                listener: socket,
                folder: engine,
                scratch,
                door,
                running: None,
                pace: Pace::default(),
            })
        } else {
            None
        };
        let places = places(shop.mode, settings, folders, &user, &id);
        let plan = match spec {
            Some(spec) => plan::kernel(settings, spec, &places, &user, ids, &cwd)?,
            None => plan::desk(settings, &places, &user, ids),
        };
        let mut readable = settings.system.clone();
        readable.extend(["/etc".into(), places.shim.clone(), places.desk.clone()]);
        readable.extend(spec.iter().flat_map(|spec| spec.paths.iter().cloned()));
        let order = Order {
            plan: &plan,
            places: &places,
            view,
            leaf: &cgroup_leaf(&id, "main"),
            listener: listener.as_fd(),
            home: home.as_fd(),
            engine: engine.as_ref().map(|engine| engine.folder.as_fd()),
            scratch: None,
            broker: None,
            readable: &readable,
        };
        let (process, layers) = start::start(shop, &order)?;
        let for_client = rustix::io::dup(&process.pidfd).map_err(os("copying the pidfd"));
        let pid = process.pid.as_raw_nonzero().get();
        let socket = folders.jail_path(id.as_str()).join("main.sock");
        let started =
            Started { id: id.clone(), pid, uid: ids.0, layers: layers.clone(), socket: socket.clone() };
        let jail = Jail {
            user,
            uid: ids.0,
            gid: ids.1,
            profile,
            kernelspec,
            started_ms: log::now_ms(),
            layers,
            socket,
            pid,
            main: Some(Running::new(process, Instant::now())),
            engine,
            ending: false,
            exited: Exited::default(),
            graves: Vec::new(),
            dead_since: None,
            waiters: Vec::new(),
        };
        let jail = self.jails.entry(id).or_insert(jail);
        match for_client {
            Ok(pidfd) => Ok((started, pidfd)),
            Err(refusal) => {
                jail.kill();
                Err(refusal)
            }
        }
    }

    /// A process has ended: reap it.
    pub(crate) fn ended(&mut self, id: &JailId, which: Which) {
        self.said(id, which);
        let Some(jail) = self.jails.get_mut(id) else { return };
        let slot = match which {
            Which::Main => &mut jail.main,
            Which::Engine => match &mut jail.engine {
                Some(engine) => &mut engine.running,
                None => return,
            },
        };
        let Some(running) = slot.take() else { return };
        let status = match waitid(
            WaitId::PidFd(running.process.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(Some(status)) => status,
            // Not yet, whatever poll said.
            Ok(None) => {
                *slot = Some(running);
                return;
            }
            Err(error) => {
                log::warn("wait", json!({ "id": id, "error": error.to_string() }));
                return;
            }
        };
        let oom = running.process.group.stats().oom_kills.is_some_and(|kills| kills > 0);
        let exited = Exited { code: status.exit_status(), signal: status.terminating_signal(), oom };
        let wanted = jail.ending;
        running.process.group.kill();
        jail.graves.push(running.process.group);
        let name = match which {
            Which::Main => "jail.end",
            Which::Engine => "engine.end",
        };
        log::info(
            name,
            json!({ "id": id, "code": exited.code, "signal": exited.signal, "oom": exited.oom, "wanted": wanted }),
        );
        match which {
            Which::Main => {
                jail.exited = exited;
                // An engine without its kernel has nobody to serve.
                jail.kill();
            }
            Which::Engine => {
                jail.exited.oom |= exited.oom;
                if !wanted {
                    // Its leaf must be free before it is needed again.
                    for group in jail.graves.drain(..) {
                        start::remove_soon(&group);
                    }
                    self.engine_ended(id, Instant::now());
                }
            }
        }
    }

    /// Passes on what a process wrote.
    pub(crate) fn said(&mut self, id: &JailId, which: Which) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let running = match which {
            Which::Main => jail.main.as_mut(),
            Which::Engine => jail.engine.as_mut().and_then(|engine| engine.running.as_mut()),
        };
        let Some(running) = running else { return };
        let lines = running.said(Instant::now());
        let part = if which == Which::Main { "main" } else { "engine" };
        for line in lines {
            log::info("jail.says", json!({ "id": id, "part": part, "line": line }));
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
            self.forget_at_broker(&id, &jail);
            self.remove_folders(&id);
            let (waiters, exited) = (std::mem::take(&mut jail.waiters), jail.exited.clone());
            // Its descriptors too are closed before anybody is told.
            drop(jail);
            self.exits.add(id, exited);
            self.tell_waiters(waiters);
        }
    }

    fn remove_folders(&self, id: &JailId) {
        remove_tree(&self.folders.jails, id.as_str());
        remove_tree(&self.folders.scratch, id.as_str());
    }
}

/// Where things are in this mode.
pub(crate) fn places(
    mode: Mode,
    settings: &Settings,
    folders: &Folders,
    user: &UserName,
    id: &JailId,
) -> Places {
    match mode {
        Mode::Root | Mode::Userns => Places::inside(user),
        Mode::Degraded => Places::outside(settings, user, &folders.jail_path(id.as_str()), id.as_str()),
    }
}

/// Name of a process's cgroup leaf.
pub(crate) fn cgroup_leaf(id: &JailId, part: &str) -> String {
    format!("{id}.{part}")
}
