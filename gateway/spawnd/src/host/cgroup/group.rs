//! One group: its folders, its bounds, what is used in it, its end.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_spawnd::advice::NO_LIMIT;
use gateway_spawnd::{LayerReport, LayerState, Stats};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::writes::{Bounds, CONTROLLERS, Version, Write, first_writes, weight, writes};
use crate::log;

/// One jail's or one user's group; on version 1 a folder for each controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Where each controller's files are.
    pub(super) controllers: BTreeMap<String, (PathBuf, Version)>,
    /// Version 1: all folders.
    pub(super) v1: Vec<PathBuf>,
    pub(super) v2: Option<PathBuf>,
}

impl Group {
    /// For `CLONE_INTO_CGROUP`.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        self.v2.as_ref().and_then(|folder| fs::File::open(folder).ok()).map(OwnedFd::from)
    }

    /// Version 1: what a new process writes `0` into to join. (A process that is moved by another one waits for all processors.)
    pub(crate) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |folder: &PathBuf| fs::OpenOptions::new().write(true).open(folder.join("tasks"));
        self.v1.iter().map(|folder| open(folder).map(OwnedFd::from)).collect()
    }

    /// Sets what is bounded, and says which bounds are in force. In a new group nothing needs to be lifted.
    pub(crate) fn bound(&self, bounds: &Bounds, new: bool) -> LayerReport {
        let mut report = LayerReport::new();
        for (layer, v2, v1) in CONTROLLERS {
            let place = self.controllers.get(v2).or_else(|| self.controllers.get(v1));
            let state = match place {
                None if !bounds.limits(layer) => LayerState::Off(NO_LIMIT.into()),
                None => LayerState::Off("the host gives no such controller".into()),
                Some((folder, version)) if !new || bounds.limits(layer) => {
                    let plan = if new { first_writes } else { writes };
                    let done = apply(folder, &plan(layer, *version, bounds));
                    match (done, bounds.limits(layer)) {
                        (Err(error), _) => LayerState::Off(error.to_string()),
                        (Ok(()), true) => LayerState::On,
                        (Ok(()), false) => LayerState::Off(NO_LIMIT.into()),
                    }
                }
                Some(_) => LayerState::Off(NO_LIMIT.into()),
            };
            report.insert(layer, state);
        }
        report
    }

    /// What is used now.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        match self.controllers.get("memory") {
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
        stats.pids = self.controllers.get("pids").and_then(|(folder, _)| number(folder, "pids.current"));
        stats.cpu_usec = self.processor_time().and_then(|time| u64::try_from(time.as_micros()).ok());
        stats
    }

    /// What its processes, and those that were in it, have computed.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        match (self.controllers.get("cpuacct"), self.controllers.get("cpu")) {
            (Some((folder, _)), _) => number(folder, "cpuacct.usage").map(Duration::from_nanos),
            (None, Some((folder, Version::V2))) => {
                field(folder, "cpu.stat", "usage_usec").map(Duration::from_micros)
            }
            _ => None,
        }
    }

    /// How long some process of it could have computed and had to wait.
    pub(crate) fn processor_wait(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.v2.as_ref()?.join("cpu.pressure")).ok()?;
        let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
        let total = some.split(' ').find_map(|word| word.strip_prefix("total="))?;
        total.parse().ok().map(Duration::from_micros)
    }

    /// Lets others go first, or stand beside them again.
    pub(crate) fn stand(&self, behind: bool) {
        let Some((folder, version)) = self.controllers.get("cpu") else { return };
        let Write { file, value, .. } = weight(*version, behind);
        if let Err(error) = fs::write(folder.join(file), value) {
            log::warn("cgroup.weight", json!({ "folder": folder, "error": error.to_string() }));
        }
    }

    /// What its bounds are, as the kernel has them.
    pub(crate) fn written(&self) -> Vec<String> {
        let files =
            ["memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cpu.cfs_quota_us", "io.weight"];
        let all = self.folders().flat_map(|folder| files.map(|file| folder.join(file)));
        all.filter_map(|file| fs::read_to_string(file).ok()).collect()
    }

    /// Moves all that runs here into further version 1 folders too. Children of a process that is moved are born where it is.
    pub(super) fn move_into(&self, folders: &[PathBuf]) {
        for folder in folders {
            loop {
                let there = pids(folder);
                let missing: Vec<Pid> =
                    self.processes().into_iter().filter(|pid| !there.contains(pid)).collect();
                let moved = missing.iter().filter(|pid| {
                    // One that has just ended is no matter.
                    fs::write(folder.join("cgroup.procs"), pid.to_string()).is_ok()
                });
                if moved.count() == 0 {
                    break;
                }
            }
        }
    }

    /// The processes in it, as spawnd counts.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        self.v2.as_ref().or_else(|| self.v1.first()).map(|folder| pids(folder)).unwrap_or_default()
    }

    /// Kills whatever is in it.
    pub(crate) fn kill(&self) {
        if let Some(folder) = &self.v2
            && fs::write(folder.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for pid in self.processes() {
            // One that has just ended is no matter.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// All its folders.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.v1.iter().chain(&self.v2)
    }

    /// Removes it; false while something is still in it.
    pub(crate) fn remove(&self) -> bool {
        // All of them, even if one is busy.
        self.folders().filter(|folder| !remove(folder)).count() == 0
    }
}

fn pids(folder: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

pub(super) fn remove(folder: &Path) -> bool {
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Writes in order. A file that is written twice counts by the last time; of optional ones alone, one must succeed.
fn apply(folder: &Path, writes: &[Write]) -> io::Result<()> {
    let (mut done, mut failed) = (0, None);
    for write in writes {
        match fs::write(folder.join(write.file), &write.value) {
            Ok(()) => done += 1,
            Err(error) if write.optional => failed = failed.or(Some((write.file, error))),
            Err(error) => return Err(named(write.file, &error)),
        }
    }
    match failed {
        Some((file, error)) if done == 0 => Err(named(file, &error)),
        _ => Ok(()),
    }
}

fn named(file: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("writing {file}: {error}"))
}

pub(super) fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

pub(super) fn field(folder: &Path, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use gateway_spawnd::LayerName;

    use super::*;

    #[test]
    fn limits_are_written_and_figures_read() {
        let dir = tempfile::tempdir().unwrap();
        let place = || (dir.path().to_owned(), Version::V2);
        let controllers = [("memory".to_owned(), place()), ("cpu".to_owned(), place())].into();
        let group = Group { controllers, ..Group::default() };
        let bounds = Bounds { cpu: Some(1.5), ..Bounds::default() };
        let report = group.bound(&bounds, true);
        assert_eq!(report[&LayerName::Cpu], LayerState::On);
        assert_eq!(report[&LayerName::Memory], LayerState::Off("no limit is set".into()));
        assert_eq!(report[&LayerName::Pids], LayerState::Off("no limit is set".into()));
        let wanted = group.bound(&Bounds { pids: Some(1), ..Bounds::default() }, true);
        assert!(
            matches!(&wanted[&LayerName::Pids], LayerState::Off(why) if why.contains("no such controller"))
        );
        assert_eq!(fs::read_to_string(dir.path().join("cpu.max")).unwrap(), "150000 100000");
        assert!(!dir.path().join("memory.max").exists(), "what is not bounded is not touched in a new group");
        fs::write(dir.path().join("memory.events"), "oom 3\noom_kill 2\n").unwrap();
        fs::write(dir.path().join("memory.max"), "max\n").unwrap();
        let stats = group.stats();
        assert_eq!((stats.oom_kills, stats.memory_limit_bytes), (Some(2), None));
    }

    #[test]
    fn a_bound_that_cannot_be_set_is_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("pids.max")).unwrap();
        let controllers = [("pids".to_owned(), (dir.path().to_owned(), Version::V1))].into();
        let group = Group { controllers, ..Group::default() };
        let report = group.bound(&Bounds { pids: Some(3), ..Bounds::default() }, true);
        assert!(
            matches!(&report[&LayerName::Pids], LayerState::Off(why) if why.contains("writing pids.max"))
        );
    }
}
