//! Engines come with the first connection to their socket and again after they ended.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gateway_spawnd::JailId;
use serde_json::json;

use super::Server;
use super::jails::{Running, cgroup_leaf, places};
use crate::host::home;
use crate::jail::plan;
use crate::jail::start::{self, Order};
use crate::log;

/// So many ends within [`WINDOW`] are a fault of the engine's: then it rests for [`REST`].
const MAX_ENDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(10);

/// A kernel's engine: its socket is always there, its jail only while it is needed.
pub(crate) struct Engine {
    pub(crate) listener: OwnedFd,
    /// Holds the socket; shown to the kernel.
    pub(crate) folder: OwnedFd,
    pub(crate) scratch: OwnedFd,
    /// The way to the broker, if there is one.
    pub(crate) door: Option<Door>,
    pub(crate) running: Option<Running>,
    pub(crate) pace: Pace,
}

/// An engine's own socket at the broker: whoever comes through it is this engine.
pub(crate) struct Door {
    pub(crate) listener: OwnedFd,
    /// Holds the socket; shown to the engine.
    pub(crate) folder: OwnedFd,
    /// The broker was told whose it is.
    pub(crate) told: bool,
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
            Err(why) => {
                log::warn("engine.failed", json!({ "id": id, "error": why }));
                self.engine_ended(id, now);
            }
        }
    }

    /// Notes that an engine ended, for the pace of its restarts.
    pub(crate) fn engine_ended(&mut self, id: &JailId, now: Instant) {
        if let Some(engine) = self.jails.get_mut(id).and_then(|jail| jail.engine.as_mut())
            && engine.pace.ended(now)
        {
            log::warn("engine.rests", json!({ "id": id, "ends": MAX_ENDS, "rest_s": REST.as_secs() }));
        }
    }

    fn start_engine(&mut self, id: &JailId) -> Result<(), String> {
        let begun = Instant::now();
        let Self { jails, settings, shop, views, folders, .. } = self;
        let Some(jail) = jails.get_mut(id) else { return Ok(()) };
        let Some(engine) = jail.engine.as_mut().filter(|engine| engine.running.is_none()) else {
            return Ok(());
        };
        let view = match shop.mode {
            gateway_spawnd::Mode::Degraded => None,
            _ => Some(views.engine.as_ref().map_err(Clone::clone)?),
        };
        let ids = (jail.uid, jail.gid);
        let places = places(shop.mode, settings, folders, &jail.user, id);
        let plan = plan::engine(settings, &places, &jail.user, ids);
        let home = home::ensure(&folders.homes, &jail.user, ids, None).map_err(|refusal| refusal.message)?;
        let mut readable = settings.system.clone();
        readable.extend(settings.datasets.iter().cloned());
        readable.extend(["/etc".into(), places.engine_program.clone()]);
        let order = Order {
            plan: &plan,
            places: &places,
            view,
            leaf: &cgroup_leaf(id, "engine"),
            listener: engine.listener.as_fd(),
            home: home.as_fd(),
            engine: None,
            scratch: Some(engine.scratch.as_fd()),
            broker: engine.door.as_ref().map(|door| door.folder.as_fd()),
            readable: &readable,
        };
        let (process, layers) = start::start(shop, &order).map_err(|refusal| refusal.message)?;
        let took = begun.elapsed().as_micros();
        log::info(
            "engine.start",
            json!({ "id": id, "pid": process.pid.as_raw_nonzero().get(), "took_us": took, "layers": layers }),
        );
        engine.running = Some(Running::new(process, Instant::now()));
        self.tell_broker(id);
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
