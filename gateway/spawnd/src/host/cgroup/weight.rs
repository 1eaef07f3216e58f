//! Whether the disk of the homes heeds weights. A kernel takes `io.weight` on any disk, and lets it count only where the disk's scheduler is BFQ (or, on
//! version 2, where its cost model is switched on): a bound that is written and does nothing must not be called in force.

use std::fs;
use std::path::{Path, PathBuf};

/// A disk, by its numbers, and where to ask about it.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// `254:0`
    id: String,
    sys: PathBuf,
    /// `io.cost.qos` of the topmost group that we see; only that of the whole host has one.
    qos: Option<PathBuf>,
}

impl Disk {
    pub(super) fn new(device: u64, groups: Option<&Path>) -> Self {
        let id = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        Self { id, sys: "/sys".into(), qos: groups.map(|groups| groups.join("io.cost.qos")) }
    }

    /// Whether weights count there, or why not. Looked up anew each time: an administrator may change it at any moment.
    pub(super) fn heeds_weights(&self) -> Result<(), String> {
        let qos = self.qos.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        if costed(&qos, &self.id) {
            return Ok(());
        }
        let folder = self.sys.join("dev/block").join(&self.id);
        let folder = folder
            .canonicalize()
            .map_err(|_| "the homes are on no disk of this host, so no weight counts there".to_owned())?;
        below(&folder, &qos)
    }
}

/// Judges a block device; one that is made of others by all of them.
fn below(device: &Path, qos: &str) -> Result<(), String> {
    // A partition has the scheduler of its disk.
    let whole = if device.join("partition").exists() { device.parent().unwrap_or(device) } else { device };
    let id = fs::read_to_string(whole.join("dev")).unwrap_or_default();
    if costed(qos, id.trim()) {
        return Ok(());
    }
    let slaves = fs::read_dir(whole.join("slaves")).into_iter().flatten().flatten();
    let slaves: Vec<PathBuf> = slaves.filter_map(|slave| slave.path().canonicalize().ok()).collect();
    if !slaves.is_empty() {
        return slaves.iter().try_for_each(|slave| below(slave, qos));
    }
    let listed = fs::read_to_string(whole.join("queue/scheduler")).unwrap_or_default();
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    match chosen(&listed) {
        Some("bfq" | "cfq") => Ok(()),
        Some(scheduler) => {
            Err(format!("the scheduler of {name} is {scheduler}, under which no weight counts"))
        }
        None => Err(format!("the scheduler of {name} cannot be seen, so no weight surely counts")),
    }
}

/// `mq-deadline kyber [bfq] none`
fn chosen(listed: &str) -> Option<&str> {
    let (_, rest) = listed.split_once('[')?;
    rest.split_once(']').map(|(name, _)| name)
}

/// Whether the cost model works for this disk: `254:0 enable=1 ctrl=auto …`.
fn costed(qos: &str, id: &str) -> bool {
    qos.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(id) && words.any(|word| word == "enable=1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_scheduler_and_the_cost_model_are_read() {
        assert_eq!(chosen("none mq-deadline kyber [bfq]\n"), Some("bfq"));
        assert_eq!(chosen("[none] mq-deadline\n"), Some("none"));
        assert_eq!(chosen("none\n"), None);
        let qos = "8:0 enable=0 ctrl=auto\n254:16 enable=1 ctrl=user\n";
        assert!(costed(qos, "254:16"));
        assert!(!costed(qos, "8:0") && !costed(qos, "254:1") && !costed("", "8:0"));
    }

    /// A disk `vd` with a partition `vd1`, and `dm` made of it.
    fn host(scheduler: &str) -> (tempfile::TempDir, impl Fn(&str) -> Result<(), String>) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_owned();
        for folder in ["dev/block", "vd/queue", "vd/vd1", "dm/slaves", "dm/queue"] {
            fs::create_dir_all(at.join(folder)).unwrap();
        }
        fs::write(at.join("vd/queue/scheduler"), scheduler).unwrap();
        fs::write(at.join("vd/dev"), "8:0\n").unwrap();
        fs::write(at.join("vd/vd1/partition"), "1\n").unwrap();
        fs::write(at.join("dm/queue/scheduler"), "[none]\n").unwrap();
        let link = |name: &str, to: &str| std::os::unix::fs::symlink(at.join(to), at.join(name)).unwrap();
        link("dev/block/8:0", "vd");
        link("dev/block/8:1", "vd/vd1");
        link("dev/block/253:0", "dm");
        link("dm/slaves/vd1", "vd/vd1");
        let ask = move |id: &str| {
            Disk { id: id.into(), sys: at.clone(), qos: Some(at.join("io.cost.qos")) }.heeds_weights()
        };
        (dir, ask)
    }

    #[test]
    fn a_partition_and_a_volume_are_judged_by_the_disks_below() {
        let (_dir, ask) = host("none [bfq]");
        for id in ["8:0", "8:1", "253:0"] {
            assert_eq!(ask(id), Ok(()), "{id}");
        }
        let (dir, ask) = host("[mq-deadline] none");
        for id in ["8:0", "8:1", "253:0"] {
            assert!(ask(id).unwrap_err().contains("scheduler of vd is mq-deadline"), "{id}");
        }
        fs::write(dir.path().join("io.cost.qos"), "8:0 enable=1\n").unwrap();
        assert_eq!((ask("8:1"), ask("253:0")), (Ok(()), Ok(())));
        // An overlay, a network's file system.
        assert!(ask("0:40").unwrap_err().contains("no disk"));
    }
}
