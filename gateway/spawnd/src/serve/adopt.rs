//! Jails that outlived the spawnd that started them are taken over; what is left of others, and of those that have ended, is removed.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway_spawnd::{Exited, JailId, LayerName, Limits, Refusal};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde_json::json;

use super::aide::{Aide, Door, KEPT_HUB};
use super::build::log_pipe;
use super::engine::Engine;
use super::jails::{Jail, Running};
use super::record::{Former, Record, Recorded};
use super::tail::Tail;
use super::watch::MemoryWatch;
use super::{KEPT_ENGINE, Server};
use crate::host::cgroup::Group;
use crate::host::folders::remove_tree;
use crate::host::internal;
use crate::jail::plan::Kind;
use crate::jail::start::Process;
use crate::keeper::Held;
use crate::log;

/// What the keeper had of a jail.
struct Sockets {
    engine: Option<OwnedFd>,
    broker: Option<OwnedFd>,
    proxy: Option<OwnedFd>,
    hub: Option<OwnedFd>,
}

impl Server {
    /// Once, before the first request.
    pub(crate) fn adopt(&mut self, former: Vec<Former>, held: &mut BTreeMap<String, Held>) {
        for Former { id, record, main, engine } in former {
            let alive = main.is_some();
            self.meet_user(&record.user, &record.groups);
            self.hold_home(&record.user, record.uid);
            let mut kept = |what: &str| held.remove(&format!("{what}{id}")).map(|held| held.fd);
            let sockets = Sockets {
                engine: kept(KEPT_ENGINE),
                broker: kept(Aide::Broker.kept()),
                proxy: kept(Aide::Proxy.kept()),
                hub: kept(KEPT_HUB),
            };
            match self.take_over(&id, record, main, engine, sockets) {
                Ok(jail) => {
                    log::info(
                        "jail.adopted",
                        json!({ "id": id, "user": jail.user, "pid": jail.pid, "alive": alive }),
                    );
                    self.jails.insert(id, jail);
                }
                // Its folder is damaged; the sweep ends what is in its group.
                Err(refusal) => log::warn("jail.lost", json!({ "id": id, "error": refusal.message })),
            }
        }
        let groups = self.jails.values().flat_map(|jail| {
            let running = jail.processes().map(|(_, running)| &running.group);
            running.chain(&jail.graves).flat_map(Group::folders).cloned().collect::<Vec<PathBuf>>()
        });
        self.cgroups.sweep(&groups.collect());
        let Self { folders, jails, .. } = self;
        folders.sweep(&|name| name.parse().is_ok_and(|id: JailId| jails.contains_key(&id)));
    }

    fn take_over(
        &self,
        id: &JailId,
        record: Record,
        main: Option<Process>,
        engine: Option<Process>,
        sockets: Sockets,
    ) -> Result<Jail, Refusal> {
        let now = Instant::now();
        let open = |parent: &OwnedFd, name: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::empty())
        };
        let os = |error: Errno| internal("opening the folders of a jail", &error);
        let folder = open(&self.folders.jails, id.as_str()).map_err(os)?;
        let limits = |kind: Kind| self.settings.limits.of_jail(kind.of(), &record.user, &record.groups);
        let own = limits(Kind::from(record.profile));
        let running = |process: Process, recorded: &Recorded, log: &str, limits: &Limits| {
            let (log, _) = log_pipe(&folder, log)?;
            // What was found at the start: a group that bounds memory still does.
            let mut memory = record.layers.get(&LayerName::Memory).cloned();
            let watch = MemoryWatch::needed(memory.as_mut(), limits.memory_bytes, now);
            Ok::<_, Refusal>(Running::new(process, recorded.group.clone(), log, watch, now))
        };
        let mut graves = Vec::new();
        let main = main.map(|process| running(process, &record.main, "log", &own)).transpose()?;
        let mut exited = Exited::default();
        if main.is_none() {
            exited.oom = record.main.group.stats().oom_kills.is_some_and(|kills| kills > 0);
            graves.push(record.main.group.clone());
        }
        let engine = match open(&folder, "engine") {
            Err(Errno::NOENT) => None,
            opened => {
                let scratch = open(&self.folders.scratch, id.as_str()).map_err(os)?;
                let kept = opened.map_err(os)?;
                let process = match (engine, &record.engine) {
                    (Some(process), Some(recorded)) => {
                        Some(running(process, recorded, "log.engine", &limits(Kind::Engine))?)
                    }
                    (_, recorded) => {
                        graves.extend(recorded.iter().map(|recorded| recorded.group.clone()));
                        None
                    }
                };
                let ids = (record.uid, record.gid);
                let listener = sockets.engine;
                let mut engine = Engine { listener, running: process, ..Engine::new(kept, scratch) };
                engine.listen(ids)?;
                if self.settings.broker.is_some() {
                    let door = Door::open(Aide::Broker, &folder, ids, sockets.broker)?;
                    // The broker that starts with us is told of engines that run.
                    engine.door = Some(Door { told: engine.running.is_some(), ..door });
                }
                engine.keep(&self.keeper, id);
                Some(engine)
            }
        };
        let door = match open(&folder, Aide::Proxy.as_str()) {
            Err(Errno::NOENT) => None,
            _ => {
                let ids = (record.uid, record.gid);
                // The proxy that starts with us is told of kernels that run.
                let door = Door { told: true, ..Door::open(Aide::Proxy, &folder, ids, sockets.proxy)? };
                door.keep(&self.keeper, id);
                Some(door)
            }
        };
        let hub = if record.profile.is_server() {
            let door = Door::to_gateway(&folder, (record.uid, record.gid), sockets.hub)?;
            door.keep(&self.keeper, id);
            Some(door)
        } else {
            None
        };
        let mut jail = Jail {
            user: record.user,
            groups: record.groups,
            uid: record.uid,
            gid: record.gid,
            profile: record.profile,
            kernelspec: record.kernelspec,
            started_ms: record.started_ms,
            layers: record.layers,
            socket: record.socket,
            pid: record.main.pid,
            folder,
            main,
            engine,
            door,
            hub,
            tail: Tail::default(),
            wall: own.wall_seconds.map(Duration::from_secs),
            ending: false,
            reason: None,
            exited,
            graves,
            dead_since: None,
            waiters: Vec::new(),
        };
        if jail.main.is_none() {
            jail.kill(None);
        }
        Ok(jail)
    }

    /// Takes its sockets back.
    pub(crate) fn forget_kept(&self, id: &JailId) {
        for kept in [KEPT_ENGINE, Aide::Broker.kept(), Aide::Proxy.kept(), KEPT_HUB] {
            self.keeper.forget(&format!("{kept}{id}"));
        }
    }

    pub(crate) fn remove_folders(&self, id: &JailId) {
        remove_tree(&self.folders.jails, id.as_str());
        remove_tree(&self.folders.scratch, id.as_str());
    }
}
