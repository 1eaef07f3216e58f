//! Other bounds for jails that run: what groups hold changes at once, what a process got at its birth does with its next start.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use gateway_spawnd::protocol::Bounded;
use gateway_spawnd::{JailId, LayerName, LayerReport, LayerState, LimitTables, Limits, Settings};
use serde_json::json;

use super::jails::{Jail, Running, Which, cgroup_leaf};
use super::users::User;
use super::watch::MemoryWatch;
use super::{KEPT_LIMITS, Server};
use crate::host::cgroup::{Bounds, Cgroups};
use crate::jail::plan::Kind;
use crate::keeper::Held;
use crate::log;

/// As many failures as surely fit into a packet.
const MAX_FAILED: usize = 32;

/// The bounds that the spawnd before this one was told last, if other than those of the settings.
pub(crate) fn take_back(settings: &mut Settings, held: &mut BTreeMap<String, Held>) {
    if let Some(kept) = held.remove(KEPT_LIMITS)
        && let Ok(tables) = serde_json::from_str(&kept.note)
    {
        settings.limits = tables;
    }
}

impl Server {
    /// Takes other bounds, in jails that run too.
    pub(crate) fn rebound(&mut self, tables: LimitTables) -> Bounded {
        if tables == self.settings.limits {
            return Bounded::default();
        }
        // The next spawnd is started with the settings of the first one.
        if let (Ok(note), Ok(nothing)) = (serde_json::to_string(&tables), fs::File::open("/dev/null")) {
            self.keeper.hold(KEPT_LIMITS, &note, nothing);
        }
        self.settings.limits = tables;
        self.forget_counts();
        let Self { users, cgroups, settings, .. } = self;
        for (name, user) in &mut *users {
            user.together = settings.limits.together(name, &user.groups);
            user.bounds = Bounds::whole(&user.together);
            // Wider ones of the whole go before wider ones of its parts, narrower ones after narrower ones.
            cgroups.rebound(name, None, &mut user.cgroup, &user.bounds);
        }
        let names: Vec<_> = self.users.keys().cloned().collect();
        for name in &names {
            let project = self.jails.values().find(|jail| jail.user == *name).map(|jail| jail.uid);
            if let Some(project) = project {
                self.hold_home(name, project);
            }
            self.tell_desks(name);
        }
        let Self { jails, users, cgroups, settings, .. } = self;
        let mut bounded = Bounded::default();
        for (id, jail) in &mut *jails {
            let before = (jail.wall, jail.layers.clone(), figures(jail));
            for (layer, why) in rebound(id, jail, settings, users, cgroups) {
                if bounded.failed.len() < MAX_FAILED {
                    bounded.failed.push(format!("{id}: {layer}: {why}"));
                }
            }
            bounded.changed += usize::from(before != (jail.wall, jail.layers.clone(), figures(jail)));
            if let Err(error) = jail.record(None, None) {
                log::warn("record", json!({ "id": id, "error": error.to_string() }));
            }
        }
        for (name, user) in users {
            cgroups.rebound(name, None, &mut user.cgroup, &user.bounds);
        }
        log::info("limits", json!({ "changed": bounded.changed, "failed": bounded.failed }));
        bounded
    }
}

/// Gives what could not be set.
fn rebound(
    id: &JailId,
    jail: &mut Jail,
    settings: &Settings,
    users: &BTreeMap<gateway_spawnd::UserName, User>,
    cgroups: &Cgroups,
) -> Vec<(LayerName, String)> {
    let mut failed = Vec::new();
    for (which, kind, part) in
        [(Which::Main, Kind::from(jail.profile), "main"), (Which::Engine, Kind::Engine, "engine")]
    {
        let limits = settings.limits.of_jail(kind.of(), &jail.user, &jail.groups);
        let bounds = User::part(users, &jail.user, &limits);
        if which == Which::Main {
            jail.wall = limits.wall_seconds.map(Duration::from_secs);
        }
        let user = jail.user.clone();
        let Some(running) = jail.running(which) else { continue };
        let leaf = cgroup_leaf(id, part);
        let disk = users.get(&user).map(|user| (LayerName::Disk, user.disk()));
        let mut report = cgroups.rebound(&user, Some(&leaf), &mut running.group, &bounds);
        report.extend(disk);
        watched(running, &limits, &mut report);
        for (layer, state) in &report {
            if let LayerState::Off(why) = state
                && bounds.limits(*layer)
            {
                failed.push((*layer, why.clone()));
            }
        }
        if which == Which::Main {
            jail.layers.extend(report);
        }
    }
    failed
}

/// Where memory is watched and no group holds it, the watch has the new bound.
fn watched(running: &mut Running, limits: &Limits, report: &mut LayerReport) {
    if report.get(&LayerName::Memory).is_some_and(LayerState::is_on) {
        running.watch = None;
        return;
    }
    match (&mut running.watch, limits.memory_bytes) {
        (Some(watch), Some(limit)) => {
            watch.limit = limit;
            // As the report of the start says.
            report.remove(&LayerName::Memory);
        }
        (watch, None) => *watch = None,
        // It was not bounded so far: from now on somebody looks.
        (watch @ None, limit) => {
            let layer = report.get_mut(&LayerName::Memory);
            *watch = MemoryWatch::needed(layer, limit, Instant::now());
        }
    }
}

/// Memory and processor time that it may have.
fn figures(jail: &Jail) -> Vec<(Option<u64>, Vec<String>)> {
    let each = |running: &Running| {
        let limit = running.stats().memory_limit_bytes;
        (limit, running.group.written())
    };
    jail.processes().map(|(_, running)| each(running)).collect()
}
