//! Limits by control groups: version 1 or 2, whichever the host gives, or the reason why not.
//!
//! Version 1: one folder `carrel-<hash>` per controller, below spawnd's own group; processors are shared by folders `carrel-<hash>-u-<user>` beside
//! whatever else runs there, so that what one user takes is not taken from what another one is owed; where version 2 is mounted too, a group without
//! controllers there tells how long a user's processes waited. Version 2: one such folder below a
//! group that was delegated to us (or below the root, for root); spawnd itself steps into a leaf first, because a group
//! that hands out controllers may hold no processes. In it a group per user, and in that a leaf per jail.

mod find;
mod group;
mod weight;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode, UserName};
use serde_json::json;

use crate::log;
use find::{Place, enable, find_pressure, find_v1, find_v2, make, parse_mounts, parse_own};
pub(crate) use group::Group;
use weight::Disk;
pub(crate) use writes::Bounds;
use writes::{CONTROLLERS, Version};

/// What the host gives.
pub(crate) struct Cgroups {
    /// Version 1: by controller, `cpuacct` included.
    v1: BTreeMap<&'static str, Base>,
    /// Version 2, and the controllers that work in it.
    v2: Option<(Base, Vec<&'static str>)>,
    /// Why a controller is missing.
    missing: BTreeMap<LayerName, String>,
    /// The disk of the homes, which may heed no weights.
    disk: Disk,
}

impl Cgroups {
    /// Looks at the host and makes our folders. `disk`: the device number of the homes' file system.
    pub(crate) fn detect(mode: Mode, hash: &str, disk: u64) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let (mounts, own) = (parse_mounts(&mounts), parse_own(&own));
        let name = format!("carrel-{hash}");
        let disk = Disk::new(disk, find::top(&mounts));
        let mut found = Self { v1: BTreeMap::new(), v2: None, missing: BTreeMap::new(), disk };
        let wanted = CONTROLLERS.map(|(_, controller, _)| controller);
        let v2 = find_v2(&mounts, &own, mode, &name, &wanted);
        let v2 = v2.map(|(folder, controllers)| (Base::below(folder), controllers));
        for (layer, modern, old) in CONTROLLERS {
            let base = match old {
                "cpu" => find_v1(&mounts, &own, old, &name, Place::Beside),
                _ => find_v1(&mounts, &own, old, &name, Place::Below),
            };
            match base {
                Some(Ok(base)) => {
                    found.v1.insert(old, base);
                }
                Some(Err(why)) => {
                    found.missing.insert(layer, why);
                }
                None => match &v2 {
                    Ok((_, controllers)) if controllers.contains(&modern) => {}
                    Ok(_) => {
                        found
                            .missing
                            .insert(layer, format!("this host's cgroups have no {modern} controller for us"));
                    }
                    Err(why) => {
                        found.missing.insert(layer, why.clone());
                    }
                },
            }
        }
        // Mostly the two are one, in which a process has one place.
        let shared =
            find::together(&mounts, "cpu", "cpuacct").then(|| found.v1.get("cpu").cloned()).flatten();
        let counted = || find_v1(&mounts, &own, "cpuacct", &name, Place::Below)?.ok();
        if let Some(base) = shared.or_else(counted) {
            found.v1.insert("cpuacct", base);
        }
        found.v2 = v2.ok().or_else(|| {
            // Version 1 has the controllers, and version 2 beside it can say who waits for processors.
            let folder = found.v1.contains_key("cpu").then(|| find_pressure(&mounts, &own, &name))??;
            Some((Base::below(folder), Vec::new()))
        });
        found
    }

    /// What could be limited here.
    pub(crate) fn layers(&self) -> LayerReport {
        let state =
            |layer| self.missing.get(layer).map_or(LayerState::On, |why| LayerState::Off(why.clone()));
        let mut report = CONTROLLERS.iter().map(|(layer, ..)| (*layer, state(layer))).collect();
        self.doubt_weight(&mut report);
        report
    }

    /// A weight that was written counts only where the disk heeds it.
    fn doubt_weight(&self, report: &mut LayerReport) {
        if let Some(state) = report.get_mut(&LayerName::Io)
            && state.is_on()
            && let Err(why) = self.disk.heeds_weights()
        {
            *state = LayerState::Off(why);
        }
    }

    /// The group that all jails of a user are in, with its bounds.
    pub(crate) fn user(&self, user: &UserName, bounds: &Bounds) -> Group {
        let (group, _) = self.make(user, None, bounds);
        group.bound(bounds, true);
        // It may be another spawnd's, and how it stood is not known.
        group.stand(false);
        group
    }

    /// Removes it after the last jail, also where only a leaf needed it.
    pub(crate) fn forget(&self, user: &UserName) {
        for base in self.bases() {
            group::remove(&base.of(user));
        }
    }

    /// Makes a jail's leaf below its user's group, and says which bounds are in force in it.
    pub(crate) fn leaf(&self, user: &UserName, leaf: &str, bounds: &Bounds) -> (Group, LayerReport) {
        let (group, failed) = self.make(user, Some(leaf), bounds);
        let mut report = group.bound(bounds, true);
        for (layer, modern, old) in CONTROLLERS {
            let why = self.missing.get(&layer).or_else(|| failed.get(modern)).or_else(|| failed.get(old));
            if let Some(why) = why {
                report.insert(layer, LayerState::Off(why.clone()));
            }
        }
        self.doubt_weight(&mut report);
        (group, report)
    }

    /// A folder for each controller that is needed: a user's group, which is divided, or a jail's in it, which has processes.
    fn make(
        &self,
        user: &UserName,
        leaf: Option<&str>,
        bounds: &Bounds,
    ) -> (Group, BTreeMap<&'static str, String>) {
        let place = |base: &Base| leaf.map_or_else(|| base.of(user), |leaf| base.of(user).join(leaf));
        let (mut group, mut failed) = (Group::default(), BTreeMap::new());
        for (controller, base) in &self.v1 {
            let layer = CONTROLLERS.iter().find(|(_, _, old)| old == controller).map(|(layer, ..)| *layer);
            // Processor time is counted for all.
            if layer.is_some_and(|layer| !bounds.needs(layer)) {
                continue;
            }
            let folder = place(base);
            // With its parents: somebody may have tidied them away while no jail ran.
            match fs::create_dir(&folder).or_else(|_| fs::create_dir_all(&folder)) {
                Ok(()) => {
                    group.controllers.insert((*controller).to_owned(), (folder.clone(), Version::V1));
                    if !group.v1.contains(&folder) {
                        group.v1.push(folder);
                    }
                }
                Err(error) => {
                    failed.insert(*controller, error.to_string());
                }
            }
        }
        if let Some((base, controllers)) = &self.v2 {
            let folder = place(base);
            let made = make(&base.folder).and_then(|()| make(&folder)).and_then(|()| {
                let mut divided = controllers.iter().filter(|_| leaf.is_none());
                divided.try_for_each(|controller| enable(&folder, controller, false))
            });
            match made {
                Ok(()) => {
                    for controller in controllers.iter().filter(|name| !self.v1.contains_key(*name)) {
                        group.controllers.insert((*controller).to_owned(), (folder.clone(), Version::V2));
                    }
                    group.v2 = Some(folder);
                }
                Err(error) => failed.extend(controllers.iter().map(|name| (*name, error.to_string()))),
            }
        }
        (group, failed)
    }

    /// Sets other bounds while processes run in the group. A controller that was not needed so far is taken up with all of them.
    pub(crate) fn rebound(
        &self,
        user: &UserName,
        leaf: Option<&str>,
        group: &mut Group,
        bounds: &Bounds,
    ) -> LayerReport {
        let (wanted, _) = self.make(user, leaf, bounds);
        let new: Vec<PathBuf> =
            wanted.v1.iter().filter(|folder| !group.v1.contains(folder)).cloned().collect();
        if leaf.is_some() && !new.is_empty() {
            group.move_into(&new);
        }
        group.controllers.extend(wanted.controllers);
        group.v1.extend(new);
        let mut report = group.bound(bounds, false);
        report.extend(self.missing.iter().map(|(layer, why)| (*layer, LayerState::Off(why.clone()))));
        self.doubt_weight(&mut report);
        report
    }

    /// Ends and removes what a killed spawnd left behind, except what living jails are in.
    pub(crate) fn sweep(&self, living: &BTreeSet<PathBuf>) {
        let old = self.v1.values().flat_map(Base::users).map(|user| (false, user));
        let modern = self.v2.iter().flat_map(|(base, _)| base.users()).map(|user| (true, user));
        for (modern, user) in old.chain(modern) {
            for leaf in folders(&user).filter(|leaf| !living.contains(leaf)) {
                let left = if modern {
                    Group { v2: Some(leaf.clone()), ..Group::default() }
                } else {
                    Group { v1: vec![leaf.clone()], ..Group::default() }
                };
                left.kill();
                if !crate::jail::start::remove_soon(&left) {
                    log::warn("cgroup.stuck", json!({ "folder": leaf }));
                }
            }
            group::remove(&user);
        }
    }

    fn bases(&self) -> impl Iterator<Item = &Base> {
        self.v1.values().chain(self.v2.iter().map(|(base, _)| base))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for base in self.bases().filter(|base| base.prefix.is_empty()) {
            // Other jails of ours may still be in it.
            let _ = fs::remove_dir(&base.folder);
        }
    }
}

/// Where users' groups are.
#[derive(Clone, Debug)]
struct Base {
    folder: PathBuf,
    /// Before their names, where others' groups are there too.
    prefix: String,
}

impl Base {
    /// A folder of ours.
    fn below(folder: PathBuf) -> Self {
        Self { folder, prefix: String::new() }
    }

    fn of(&self, user: &UserName) -> PathBuf {
        self.folder.join(format!("{}u-{user}", self.prefix))
    }

    fn users(&self) -> impl Iterator<Item = PathBuf> {
        let ours = |folder: &PathBuf| {
            let name = folder.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(format!("{}u-", self.prefix).as_bytes())
        };
        folders(&self.folder).filter(ours)
    }
}

fn folders(base: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}
