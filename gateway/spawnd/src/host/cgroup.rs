//! Limits by control groups: version 1 or 2, whichever the host gives, or the reason why not.
//!
//! Version 1: one folder `carrel-<hash>` per controller, below spawnd's own group; a leaf per jail. Version 2: one such
//! folder below a group that was delegated to us (or below the root, for root); spawnd itself steps into a leaf first,
//! because a group that hands out controllers may hold no processes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use gateway_spawnd::settings::Limits;
use gateway_spawnd::{LayerName, LayerReport, LayerState, Mode, Stats};
use rustix::process::Pid;
use serde_json::json;

use crate::log;

/// The three limits, the name of each in a group's files, and in `/proc`.
const CONTROLLERS: [(LayerName, &str); 3] =
    [(LayerName::Memory, "memory"), (LayerName::Pids, "pids"), (LayerName::Cpu, "cpu")];

/// What the host gives.
pub(crate) struct Cgroups {
    /// Version 1: our folder per controller, `cpuacct` included.
    v1: BTreeMap<&'static str, PathBuf>,
    /// Version 2: our folder, and the controllers that work in it.
    v2: Option<(PathBuf, Vec<&'static str>)>,
    /// Why a controller is missing.
    missing: BTreeMap<LayerName, String>,
}

impl Cgroups {
    /// Looks at the host and makes our folders.
    pub(crate) fn detect(mode: Mode, hash: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let (mounts, own) = (parse_mounts(&mounts), parse_own(&own));
        let name = format!("carrel-{hash}");
        let mut found = Self { v1: BTreeMap::new(), v2: None, missing: BTreeMap::new() };
        let mut v2 = find_v2(&mounts, &own, mode, &name);
        for (layer, controller) in CONTROLLERS {
            match find_v1(&mounts, &own, controller, &name) {
                Some(Ok(folder)) => {
                    found.v1.insert(controller, folder);
                }
                Some(Err(why)) => {
                    found.missing.insert(layer, why);
                }
                None => match &v2 {
                    Ok((_, controllers)) if controllers.contains(&controller) => {}
                    Ok(_) => {
                        found.missing.insert(
                            layer,
                            format!("this host's cgroups have no {controller} controller for us"),
                        );
                    }
                    Err(why) => {
                        found.missing.insert(layer, why.clone());
                    }
                },
            }
        }
        if let Some(Ok(folder)) = find_v1(&mounts, &own, "cpuacct", &name) {
            found.v1.insert("cpuacct", folder);
        }
        found.v2 = v2.as_mut().ok().map(std::mem::take).filter(|(_, controllers)| !controllers.is_empty());
        found.sweep();
        found
    }

    /// What could be limited here.
    pub(crate) fn layers(&self) -> LayerReport {
        let state =
            |layer| self.missing.get(layer).map_or(LayerState::On, |why| LayerState::Off(why.clone()));
        CONTROLLERS.iter().map(|(layer, _)| (*layer, state(layer))).collect()
    }

    /// Makes a jail's leaf and says which limits are in force in it.
    pub(crate) fn create(&self, leaf: &str, limits: &Limits) -> (Group, LayerReport) {
        let mut group = Group { folders: BTreeMap::new(), v2: None, v1: Vec::new() };
        let mut failed = BTreeMap::new();
        for (controller, base) in &self.v1 {
            let folder = base.join(leaf);
            // With its parent: somebody may have tidied that away while no jail ran.
            match fs::create_dir_all(&folder) {
                Ok(()) => {
                    group.v1.push(folder.clone());
                    group.folders.insert(controller, (folder, Version::V1));
                }
                Err(error) => {
                    failed.insert(*controller, error.to_string());
                }
            }
        }
        if let Some((base, controllers)) = &self.v2 {
            let folder = base.join(leaf);
            match make(&folder) {
                Ok(()) => {
                    for controller in controllers.iter().filter(|name| !self.v1.contains_key(*name)) {
                        group.folders.insert(controller, (folder.clone(), Version::V2));
                    }
                    group.v2 = Some(folder);
                }
                Err(error) => failed.extend(controllers.iter().map(|name| (*name, error.to_string()))),
            }
        }
        let mut report = LayerReport::new();
        for (layer, controller) in CONTROLLERS {
            let state =
                match (self.missing.get(&layer), failed.get(controller), group.folders.get(controller)) {
                    (Some(why), _, _) | (None, Some(why), _) => LayerState::Off(why.clone()),
                    (None, None, None) => LayerState::Off("the host gives no such controller".into()),
                    (None, None, Some((folder, version))) => match apply(folder, *version, layer, limits) {
                        Ok(true) => LayerState::On,
                        Ok(false) => LayerState::Off("no limit is set".into()),
                        Err(error) => LayerState::Off(error.to_string()),
                    },
                };
            report.insert(layer, state);
        }
        (group, report)
    }

    /// Removes leaves that a killed spawnd left behind (their jails died with it).
    fn sweep(&self) {
        let v2 = self.v2.iter().map(|(folder, _)| folder);
        for base in self.v1.values().chain(v2) {
            for leaf in fs::read_dir(base).into_iter().flatten().flatten() {
                if leaf.file_type().is_ok_and(|kind| kind.is_dir()) && fs::remove_dir(leaf.path()).is_err() {
                    log::warn("cgroup.stuck", json!({ "folder": leaf.path() }));
                }
            }
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for base in self.v1.values().chain(self.v2.iter().map(|(folder, _)| folder)) {
            let _ = fs::remove_dir(base);
        }
    }
}

#[derive(Clone, Copy)]
enum Version {
    V1,
    V2,
}

/// One jail's leaf.
#[derive(Default)]
pub(crate) struct Group {
    folders: BTreeMap<&'static str, (PathBuf, Version)>,
    v1: Vec<PathBuf>,
    v2: Option<PathBuf>,
}

impl Group {
    /// For `CLONE_INTO_CGROUP`.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        self.v2.as_ref().and_then(|folder| fs::File::open(folder).ok()).map(OwnedFd::from)
    }

    /// Version 1: moves a process that waits for its release into the leaves.
    pub(crate) fn add(&self, pid: Pid) -> io::Result<()> {
        for folder in &self.v1 {
            fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// What is used now.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        match self.folders.get("memory") {
            Some((folder, Version::V1)) => {
                stats.memory_bytes = number(folder, "memory.usage_in_bytes");
                stats.memory_peak_bytes = number(folder, "memory.max_usage_in_bytes");
                stats.memory_limit_bytes =
                    number(folder, "memory.limit_in_bytes").filter(|limit| *limit < 1 << 60);
                stats.oom_kills = field(folder, "memory.oom_control", "oom_kill");
            }
            Some((folder, Version::V2)) => {
                stats.memory_bytes = number(folder, "memory.current");
                stats.memory_peak_bytes = number(folder, "memory.peak");
                stats.memory_limit_bytes = number(folder, "memory.max");
                stats.oom_kills = field(folder, "memory.events", "oom_kill");
            }
            None => {}
        }
        stats.pids = self.folders.get("pids").and_then(|(folder, _)| number(folder, "pids.current"));
        stats.cpu_usec = match (self.folders.get("cpuacct"), self.folders.get("cpu")) {
            (Some((folder, _)), _) => number(folder, "cpuacct.usage").map(|nanos| nanos / 1000),
            (None, Some((folder, Version::V2))) => field(folder, "cpu.stat", "usage_usec"),
            _ => None,
        };
        stats
    }

    /// Kills whatever is left, where the host can do that by group.
    pub(crate) fn kill(&self) {
        if let Some(folder) = &self.v2 {
            let _ = fs::write(folder.join("cgroup.kill"), "1");
        }
    }

    /// Removes the leaves; false while something is still in one.
    pub(crate) fn remove(&self) -> bool {
        self.v1.iter().chain(&self.v2).all(|folder| match fs::remove_dir(folder) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
    }
}

fn apply(folder: &Path, version: Version, layer: LayerName, limits: &Limits) -> io::Result<bool> {
    let write = |file: &str, value: String| fs::write(folder.join(file), value);
    match (layer, version) {
        (LayerName::Memory, version) => {
            let Some(bytes) = limits.memory_bytes else { return Ok(false) };
            match version {
                Version::V1 => {
                    write("memory.limit_in_bytes", bytes.to_string())?;
                    // Absent where swap accounting is off.
                    let _ = write("memory.memsw.limit_in_bytes", bytes.to_string());
                }
                Version::V2 => {
                    write("memory.max", bytes.to_string())?;
                    let _ = write("memory.swap.max", "0".into());
                }
            }
        }
        (LayerName::Pids, _) => {
            let Some(pids) = limits.pids else { return Ok(false) };
            write("pids.max", pids.to_string())?;
        }
        (_, version) => {
            let Some(cpu) = limits.cpu.filter(|cpu| cpu.is_finite() && *cpu > 0.0) else { return Ok(false) };
            let quota = ((cpu * 100_000.0) as u64).max(1000);
            match version {
                Version::V1 => {
                    write("cpu.cfs_period_us", "100000".into())?;
                    write("cpu.cfs_quota_us", quota.to_string())?;
                }
                Version::V2 => write("cpu.max", format!("{quota} 100000"))?,
            }
        }
    }
    Ok(true)
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

fn field(folder: &Path, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// One line of `/proc/self/mountinfo` that is a cgroup.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    point: PathBuf,
    version: u8,
    options: Vec<String>,
}

fn parse_mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let version = match *right.first()? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        Some(Mount {
            root: (*left.get(3)?).to_owned(),
            point: PathBuf::from(left.get(4)?),
            version,
            options: right.get(2)?.split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// Controller (empty for version 2) to spawnd's own path.
fn parse_own(text: &str) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(path)) = (parts.next(), parts.next()) {
            own.extend(controllers.split(',').map(|controller| (controller.to_owned(), path.to_owned())));
        }
    }
    own
}

/// Where spawnd's own group is in the file system, if it is visible there.
fn own_folder(mount: &Mount, own: &str) -> PathBuf {
    let below = if mount.root == "/" { Some(own) } else { own.strip_prefix(mount.root.as_str()) };
    let folder = below.map(|below| mount.point.join(below.trim_start_matches('/')));
    folder.filter(|folder| folder.is_dir()).unwrap_or_else(|| mount.point.clone())
}

fn find_v1(
    mounts: &[Mount],
    own: &BTreeMap<String, String>,
    controller: &str,
    name: &str,
) -> Option<Result<PathBuf, String>> {
    let mount =
        mounts.iter().find(|mount| mount.version == 1 && mount.options.iter().any(|o| o == controller))?;
    let folder = own_folder(mount, own.get(controller).map_or("/", String::as_str)).join(name);
    Some(
        make(&folder)
            .map(|()| folder.clone())
            .map_err(|error| format!("cannot make {}: {error}", folder.display())),
    )
}

fn find_v2(
    mounts: &[Mount],
    own: &BTreeMap<String, String>,
    mode: Mode,
    name: &str,
) -> Result<(PathBuf, Vec<&'static str>), String> {
    let mount = mounts.iter().find(|mount| mount.version == 2).ok_or("no cgroup file system is mounted")?;
    let path = own.get("").map_or("/", String::as_str);
    let mine = own_folder(mount, path);
    let delegated = ["user.delegate", "trusted.delegate"].iter().any(|attribute| {
        let mut value = [0u8; 8];
        rustix::fs::getxattr(&mine, *attribute, &mut value[..])
            .is_ok_and(|length| value.get(..length) == Some(b"1"))
    });
    let may_step_aside = delegated || path == "/";
    let base = match (may_step_aside, mode) {
        (true, _) => mine,
        (false, Mode::Root) => mount.point.clone(),
        (false, _) => {
            return Err(format!(
                "cgroup {path} is not delegated to this user; start under systemd-run --user --scope -p Delegate=yes"
            ));
        }
    };
    let available = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<&'static str> = CONTROLLERS.iter().map(|(_, controller)| *controller).collect();
    let wanted = wanted.into_iter().filter(|wanted| available.split_whitespace().any(|name| name == *wanted));
    let mut enabled = Vec::new();
    let mut why = String::from("the cgroup has no such controller");
    for controller in wanted {
        match enable(&base, controller, may_step_aside) {
            Ok(()) => enabled.push(controller),
            Err(error) => why = format!("cannot enable {controller} in {}: {error}", base.display()),
        }
    }
    if enabled.is_empty() {
        return Err(why);
    }
    let folder = base.join(name);
    make(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    enabled.retain(|controller| enable(&folder, controller, false).is_ok());
    Ok((folder, enabled))
}

fn enable(folder: &Path, controller: &str, step_aside: bool) -> io::Result<()> {
    let file = folder.join("cgroup.subtree_control");
    match fs::write(&file, format!("+{controller}")) {
        Err(error) if step_aside && error.raw_os_error() == Some(libc::EBUSY) => {
            let leaf = folder.join("carrel-main");
            make(&leaf)?;
            for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
                // A process that has just ended is no matter.
                let _ = fs::write(leaf.join("cgroup.procs"), pid);
            }
            fs::write(&file, format!("+{controller}"))
        }
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_own_groups_are_read() {
        let mounts = parse_mounts(
            "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             33 30 0:29 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             34 30 0:30 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[1].root.as_str(), mounts[2].version), ("/docker/abc", 2));
        assert!(mounts[1].options.contains(&"cpuacct".to_owned()));
        let own = parse_own("4:memory:/a/b\n3:cpu,cpuacct:/docker/abc\n0::/x:y\n");
        assert_eq!(own["memory"], "/a/b");
        assert_eq!(own["cpuacct"], "/docker/abc");
        assert_eq!(own[""], "/x:y");
    }

    #[test]
    fn the_own_group_is_found_below_the_mount_or_is_the_mount() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let mount =
            |root: &str| Mount { root: root.into(), point: dir.path().into(), version: 1, options: vec![] };
        assert_eq!(own_folder(&mount("/"), "/a/b"), dir.path().join("a/b"));
        assert_eq!(own_folder(&mount("/docker/x"), "/docker/x/a"), dir.path().join("a"));
        assert_eq!(own_folder(&mount("/docker/x"), "/elsewhere"), dir.path());
        assert_eq!(own_folder(&mount("/"), "/gone"), dir.path());
    }

    #[test]
    fn limits_are_written_and_figures_read() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { cpu: Some(1.5), pids: None, ..Limits::kernel() };
        assert!(apply(dir.path(), Version::V2, LayerName::Cpu, &limits).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("cpu.max")).unwrap(), "150000 100000");
        assert!(!apply(dir.path(), Version::V2, LayerName::Pids, &limits).unwrap());
        fs::write(dir.path().join("memory.events"), "oom 3\noom_kill 2\n").unwrap();
        fs::write(dir.path().join("memory.max"), "max\n").unwrap();
        let folders = [("memory", (dir.path().to_owned(), Version::V2))].into();
        let stats = Group { folders, ..Group::default() }.stats();
        assert_eq!((stats.oom_kills, stats.memory_limit_bytes), (Some(2), None));
    }
}
