//! Engines come with the first connection to their socket and again after they ended.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gateway_spawnd::{JailId, LayerName, Refusal};
use rustix::net::SocketType;
use serde_json::json;

use super::aide::{Aide, Door};
use super::build::log_pipe;
use super::jails::{Running, cgroup_leaf};
use super::users::User;
use super::watch::MemoryWatch;
use super::workshop::listening;
use super::{KEPT_ENGINE, Server};
use crate::host::{home, internal};
use crate::jail::plan::{self, Kind, Whose};
use crate::jail::start::{self, Order};
use crate::jail::trees::Tree;
use crate::keeper::Keeper;
use crate::log;

/// So many ends within [`WINDOW`] are a fault of the engine's: then it rests for [`REST`].
const MAX_ENDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(10);

/// A kernel's engine: its socket is always there, its jail only while it is needed.
pub(crate) struct Engine {
    /// None while an engine runs that an earlier spawnd had started without a keeper: that engine alone holds it.
    pub(crate) listener: Option<OwnedFd>,
    /// Holds the socket; shown to the kernel.
    pub(crate) folder: OwnedFd,
    pub(crate) scratch: OwnedFd,
    /// The way to the broker, if there is one.
    pub(crate) door: Option<Door>,
    pub(crate) running: Option<Running>,
    pub(crate) pace: Pace,
}

impl Engine {
    /// Of a new jail, or of one that was there before.
    pub(crate) fn new(folder: OwnedFd, scratch: OwnedFd) -> Self {
        Self { listener: None, folder, scratch, door: None, running: None, pace: Pace::default() }
    }

    /// Listens, unless somebody does already.
    pub(crate) fn listen(&mut self, ids: (u32, u32)) -> Result<(), Refusal> {
        if self.listener.is_none() && self.running.is_none() {
            let socket = listening(&self.folder, "engine.sock", ids, SocketType::STREAM)
                .map_err(|error| internal("listening on engine.sock", &error))?;
            self.listener = Some(socket);
        }
        Ok(())
    }

    /// Leaves the socket with the keeper, so that whoever connects while there is no spawnd waits instead of failing.
    pub(crate) fn keep(&self, keeper: &Keeper, id: &JailId) {
        if let Some(listener) = &self.listener {
            keeper.hold(&format!("{KEPT_ENGINE}{id}"), "", listener);
        }
        if let Some(door) = &self.door {
            door.keep(keeper, id);
        }
    }
}

/// How often it ended of late.
#[derive(Default)]
pub(crate) struct Pace {
    ends: VecDeque<Instant>,
    rests_until: Option<Instant>,
}

impl Pace {
    /// Notes an end; true if it now rests.
    pub(crate) fn ended(&mut self, now: Instant) -> bool {
        self.ends.retain(|end| now.duration_since(*end) < WINDOW);
        self.ends.push_back(now);
        let tired = self.ends.len() >= MAX_ENDS;
        if tired {
            self.ends.clear();
            self.rests_until = Some(now + REST);
        }
        tired
    }

    /// How long it still rests.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        self.rests_until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }
}

impl Server {
    /// Somebody connected to an engine that does not run.
    pub(crate) fn wake_engine(&mut self, id: &JailId) {
        let now = Instant::now();
        match self.start_engine(id) {
            Ok(()) => {}
            Err(refusal) => {
                log::warn("engine.failed", json!({ "id": id, "error": refusal.message }));
                self.engine_ended(id, now);
            }
        }
    }

    /// Notes that an engine ended, for the pace of its restarts.
    pub(crate) fn engine_ended(&mut self, id: &JailId, now: Instant) {
        let Some(jail) = self.jails.get_mut(id) else { return };
        let ids = (jail.uid, jail.gid);
        let Some(engine) = jail.engine.as_mut() else { return };
        if let Err(refusal) = engine.listen(ids) {
            log::warn("engine.failed", json!({ "id": id, "error": refusal.message }));
        }
        engine.keep(&self.keeper, id);
        if engine.pace.ended(now) {
            log::warn("engine.rests", json!({ "id": id, "ends": MAX_ENDS, "rest_s": REST.as_secs() }));
        }
    }

    fn start_engine(&mut self, id: &JailId) -> Result<(), Refusal> {
        let begun = Instant::now();
        let Self { jails, settings, shop, views, folders, cgroups, cpus, users, quotas, .. } = self;
        let Some(jail) = jails.get_mut(id) else { return Ok(()) };
        let Some(engine) = jail.engine.as_ref().filter(|engine| engine.running.is_none()) else {
            return Ok(());
        };
        let Some(listener) = &engine.listener else { return Ok(()) };
        let view = match shop.mode {
            gateway_spawnd::Mode::Degraded => None,
            _ => Some(views.engine.as_ref().map_err(|why| crate::host::refused(why.clone()))?),
        };
        let ids = (jail.uid, jail.gid);
        let places = plan::places(shop.mode, settings, &folders.jail_path(id.as_str()), &jail.user, id);
        let limits = settings.limits.of_jail(Kind::Engine.of(), &jail.user, &jail.groups);
        let whose = Whose { user: jail.user.clone(), uid: ids.0, gid: ids.1, limits };
        let plan = plan::engine(settings, &places, whose);
        let home = home::ensure(&folders.homes, &jail.user, ids, None, quotas.is_ok().then_some(ids.0))?;
        let mut trees = Vec::new();
        if let Some(view) = view {
            trees.push(Tree::own(&home, &places.home)?);
            for path in &view.seen.late {
                trees.push(Tree::host(path)?);
            }
            trees.push(Tree::own(&engine.scratch, &places.scratch)?);
            if let Some(door) = &engine.door {
                trees.push(Tree::sealed(&door.folder, &places.broker)?);
            }
        }
        let mut readable = settings.system.clone();
        readable.extend(settings.datasets.iter().cloned());
        readable.extend(["/etc".into(), places.engine_program.clone()]);
        let (log, log_in) = log_pipe(&jail.folder, "log.engine")?;
        let bounds = User::part(users, &jail.user, &plan.limits);
        let (group, mut layers) = cgroups.leaf(&jail.user, &cgroup_leaf(id, "engine"), &bounds);
        let memory = layers.get_mut(&LayerName::Memory);
        let watch = MemoryWatch::needed(memory, plan.limits.memory_bytes, Instant::now());
        let cpus = cpus.pin(layers.get_mut(&LayerName::Cpu), plan.limits.cpu);
        let order = Order {
            plan: &plan,
            places: &places,
            view,
            group: &group,
            layers,
            cpus,
            listener: listener.as_fd(),
            log: log_in.as_fd(),
            trees,
            readable: &readable,
        };
        let mut ready = |process: &start::Process, _: &gateway_spawnd::LayerReport| {
            jail.record(None, Some((process, &group))).map_err(|error| internal("writing jail.json", &error))
        };
        let started = start::start(shop, &order, &mut ready);
        let (process, layers) = started.inspect_err(|_| {
            group.kill();
            start::remove_soon(&group);
        })?;
        let took = begun.elapsed().as_micros();
        log::info(
            "engine.start",
            json!({ "id": id, "pid": process.pid.as_raw_nonzero().get(), "took_us": took, "layers": layers }),
        );
        if let Some(engine) = &mut jail.engine {
            engine.running = Some(Running::new(process, group, log, watch, Instant::now()));
        }
        self.tell(Aide::Broker, id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_quick_ends_make_it_rest_and_slow_ones_do_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        for n in 0..20 {
            assert!(!pace.ended(at(n * 3000)), "end {n}");
        }
        let quick = at(100_000);
        let tired: Vec<bool> = (0..5).map(|n| pace.ended(quick + Duration::from_millis(n))).collect();
        assert_eq!(tired, [false, false, false, false, true]);
        assert!(pace.rest(quick).is_some());
        assert!(pace.rest(quick + REST + Duration::from_secs(1)).is_none());
    }
}
