//! Which bound is written into which file of a group: pure.

use gateway_spawnd::{LayerName, Limits, Together};
use serde::{Deserialize, Serialize};

/// The two kinds of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Version {
    V1,
    V2,
}

/// What can be bounded by groups, and the controller that does it: version 2's name, version 1's.
pub(crate) const CONTROLLERS: [(LayerName, &str, &str); 4] = [
    (LayerName::Memory, "memory", "memory"),
    (LayerName::Pids, "pids", "pids"),
    (LayerName::Cpu, "cpu", "cpu"),
    (LayerName::Io, "io", "blkio"),
];

/// The bounds of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) memory: Option<u64>,
    pub(crate) swap: u64,
    pub(crate) pids: Option<u64>,
    pub(crate) cpu: Option<f64>,
    pub(crate) io_weight: Option<u32>,
}

impl Bounds {
    /// Of a jail whose user has these bounds in all: a part is never wider than the whole (version 1 refuses that for processors).
    pub(crate) fn of(limits: &Limits, whole: &Self) -> Self {
        let cpu = match (limits.cpu, whole.cpu) {
            (Some(part), Some(whole)) => Some(part.min(whole)),
            (part, _) => part,
        };
        Self {
            memory: limits.memory_bytes,
            swap: limits.swap_bytes,
            pids: limits.pids,
            cpu,
            io_weight: limits.io_weight,
        }
    }

    /// Of all jails of a user. Swap is bounded jail by jail.
    pub(crate) fn whole(together: &Together) -> Self {
        Self {
            memory: together.memory_bytes,
            swap: u64::MAX,
            pids: together.pids,
            cpu: together.cpu,
            io_weight: together.io_weight,
        }
    }

    /// Whether a group needs this controller: what is taken up by a group cannot be counted in it later. Processors are shared user by
    /// user, and then jail by jail, bounded or not: a thousand processes of one weigh no more than the one of another.
    pub(crate) fn needs(&self, layer: LayerName) -> bool {
        matches!(layer, LayerName::Memory | LayerName::Pids | LayerName::Cpu) || self.limits(layer)
    }

    /// Whether this one is bounded at all.
    pub(crate) fn limits(&self, layer: LayerName) -> bool {
        match layer {
            LayerName::Memory => self.memory.is_some(),
            LayerName::Pids => self.pids.is_some(),
            LayerName::Cpu => self.quota().is_some(),
            LayerName::Io => self.io_weight.is_some(),
            _ => false,
        }
    }

    /// Microseconds of processor time per [`PERIOD`].
    fn quota(&self) -> Option<u64> {
        let cpu = self.cpu.filter(|cpu| cpu.is_finite() && *cpu > 0.0)?;
        Some(((cpu * PERIOD as f64) as u64).max(1000))
    }
}

const PERIOD: u64 = 100_000;

/// One write. The bound holds if the last write of each file that is not optional succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) file: &'static str,
    pub(crate) value: String,
    /// The file is absent on some hosts, without harm.
    pub(crate) optional: bool,
}

/// What brings these bounds about, whatever held before. In this order.
pub(crate) fn writes(layer: LayerName, version: Version, bounds: &Bounds) -> Vec<Write> {
    let mut writes = first_writes(layer, version, bounds);
    if (layer, version) == (LayerName::Memory, Version::V1)
        && let Some(limit) = writes.first().cloned()
    {
        // Neither may pass the one with swap on the way: down, it goes first; up, it goes last.
        writes.insert(2.min(writes.len()), limit);
        if let Some(first) = writes.first_mut() {
            first.optional = true;
        }
    }
    writes
}

/// The same for a new group, in which nothing is bounded yet.
pub(crate) fn first_writes(layer: LayerName, version: Version, bounds: &Bounds) -> Vec<Write> {
    let must = |file, value: String| Write { file, value, optional: false };
    let may = |file, value: String| Write { file, value, optional: true };
    match (layer, version) {
        (LayerName::Memory, Version::V1) => {
            let or_none = |bytes: Option<u64>| bytes.map_or_else(|| "-1".to_owned(), |b| b.to_string());
            let limit = or_none(bounds.memory);
            let with_swap = bounds.memory.and_then(|memory| memory.checked_add(bounds.swap));
            vec![
                must("memory.limit_in_bytes", limit),
                // Absent where swap accounting is off.
                may("memory.memsw.limit_in_bytes", or_none(with_swap)),
                // Version 2 counts buffers of TCP as memory; here they have a bound of their own. All hosts' connections share one pool.
                may(
                    "memory.kmem.tcp.limit_in_bytes",
                    or_none(bounds.memory.map(|memory| memory / TCP_SHARE)),
                ),
            ]
        }
        (LayerName::Memory, Version::V2) => {
            let swap = if bounds.swap == u64::MAX { "max".to_owned() } else { bounds.swap.to_string() };
            vec![
                must("memory.max", or_max(bounds.memory)),
                // Absent on hosts without swap.
                may("memory.swap.max", swap),
            ]
        }
        (LayerName::Pids, _) => vec![must("pids.max", or_max(bounds.pids))],
        (LayerName::Cpu, Version::V1) => {
            let quota = bounds.quota().map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
            vec![must("cpu.cfs_period_us", PERIOD.to_string()), must("cpu.cfs_quota_us", quota)]
        }
        (LayerName::Cpu, Version::V2) => {
            vec![must("cpu.max", format!("{} {PERIOD}", or_max(bounds.quota())))]
        }
        // Which of them exists depends on the disk's scheduler.
        (LayerName::Io, Version::V1) => {
            let weight = bounds.io_weight.unwrap_or(100).clamp(1, 1000);
            vec![may("blkio.bfq.weight", weight.to_string()), may("blkio.weight", weight.max(10).to_string())]
        }
        (LayerName::Io, Version::V2) => {
            let weight = bounds.io_weight.unwrap_or(100).clamp(1, 10_000);
            vec![
                may("io.weight", format!("default {weight}")),
                may("io.bfq.weight", weight.min(1000).to_string()),
            ]
        }
        _ => Vec::new(),
    }
}

/// How much a group's wish for processors weighs beside others': as much as one ordinary program's, or a sixteenth of that.
pub(crate) fn weight(version: Version, behind: bool) -> Write {
    let (file, value) = match (version, behind) {
        (Version::V1, false) => ("cpu.shares", "1024"),
        (Version::V1, true) => ("cpu.shares", "64"),
        (Version::V2, false) => ("cpu.weight", "100"),
        (Version::V2, true) => ("cpu.weight", "6"),
    };
    Write { file, value: value.to_owned(), optional: false }
}

/// Of a jail's memory, what TCP buffers may take on version 1.
const TCP_SHARE: u64 = 8;

fn or_max(value: Option<u64>) -> String {
    value.map_or_else(|| "max".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(layer: LayerName, version: Version, bounds: &Bounds) -> Vec<String> {
        writes(layer, version, bounds).iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    #[test]
    fn bounds_become_the_files_of_either_version() {
        use LayerName::{Cpu, Io, Memory, Pids};
        let limits = Limits { cpu: Some(1.5), swap_bytes: 10, io_weight: Some(300), ..Limits::kernel() };
        let bounds = Bounds::of(&limits, &Bounds::default());
        let two_gib = 2u64 << 30;
        assert_eq!(
            text(Memory, Version::V1, &bounds),
            [
                format!("memory.limit_in_bytes={two_gib}"),
                format!("memory.memsw.limit_in_bytes={}", two_gib + 10),
                format!("memory.limit_in_bytes={two_gib}"),
                format!("memory.kmem.tcp.limit_in_bytes={}", two_gib / 8),
            ]
        );
        assert_eq!(
            text(Memory, Version::V2, &bounds),
            [format!("memory.max={two_gib}"), "memory.swap.max=10".to_owned()]
        );
        assert_eq!(text(Pids, Version::V2, &bounds), ["pids.max=256"]);
        assert_eq!(text(Cpu, Version::V1, &bounds), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"]);
        assert_eq!(text(Cpu, Version::V2, &bounds), ["cpu.max=150000 100000"]);
        assert_eq!(text(Io, Version::V2, &bounds)[0], "io.weight=default 300");
        assert_eq!(text(Io, Version::V1, &bounds)[0], "blkio.bfq.weight=300");
    }

    #[test]
    fn no_bound_is_written_as_such_so_that_one_can_be_lifted() {
        use LayerName::{Cpu, Memory, Pids};
        let none = Bounds::whole(&Together::default());
        for layer in [Memory, Pids, Cpu, LayerName::Io] {
            assert!(!none.limits(layer), "{layer}");
        }
        assert_eq!(
            text(Memory, Version::V1, &none)[..2],
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]
        );
        assert_eq!(text(Memory, Version::V2, &none), ["memory.max=max", "memory.swap.max=max"]);
        assert_eq!(text(Pids, Version::V1, &none), ["pids.max=max"]);
        assert_eq!(text(Cpu, Version::V2, &none), ["cpu.max=max 100000"]);
        assert_eq!(text(Cpu, Version::V1, &none)[1], "cpu.cfs_quota_us=-1");
    }

    #[test]
    fn a_part_is_not_wider_than_the_whole() {
        let whole = Bounds { cpu: Some(1.0), ..Bounds::default() };
        let part = |cpu| Bounds::of(&Limits { cpu, ..Limits::kernel() }, &whole).cpu;
        assert_eq!((part(Some(4.0)), part(Some(0.5)), part(None)), (Some(1.0), Some(0.5), None));
        assert!(!Bounds { cpu: Some(0.0), ..Bounds::default() }.limits(LayerName::Cpu));
        assert!(!Bounds { cpu: Some(f64::NAN), ..Bounds::default() }.limits(LayerName::Cpu));
    }
}
