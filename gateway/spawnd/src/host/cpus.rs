//! The host's processors: what they have done, and a few of them, taken in turn, for jails whose time no group bounds.

use std::fs;
use std::time::Duration;

use gateway_spawnd::LayerState;
use rustix::param::clock_ticks_per_second;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Hands out processors.
#[derive(Debug, Default)]
pub(crate) struct Cpus {
    next: usize,
}

impl Cpus {
    /// For a jail whose report says that no group bounds its time; the report then says how it is held. None where all would be needed.
    pub(crate) fn pin(&mut self, layer: Option<&mut LayerState>, cpu: Option<f64>) -> Option<Vec<usize>> {
        let wanted = cpu.filter(|cpu| cpu.is_finite() && *cpu > 0.0)?.ceil() as usize;
        let layer = layer.filter(|layer| !layer.is_on())?;
        let available = available();
        if wanted >= available.len() {
            return None;
        }
        let chosen = choose(&available, wanted, self.next);
        self.next = self.next.wrapping_add(wanted);
        if let LayerState::Off(why) = layer {
            *layer = LayerState::Partly(format!(
                "affinity: held to {wanted} of {} processors ({why})",
                available.len()
            ));
        }
        Some(chosen)
    }
}

/// Those that this process may use.
pub(crate) fn available() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// How long these have not been idle since the host's start, whoever used them, all together. Without who has stepped back (`nice`): that is in
/// nobody's way.
pub(crate) fn busy(cpus: &[usize]) -> Option<Duration> {
    parse_busy(&fs::read_to_string("/proc/stat").ok()?, cpus, clock_ticks_per_second())
}

/// `cpu3 user nice system idle iowait irq softirq steal …`, in ticks; who runs guests counts as user already (proc_stat(5)).
fn parse_busy(stat: &str, cpus: &[usize], per_second: u64) -> Option<Duration> {
    let mut ticks = 0;
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let cpu =
            words.next().and_then(|name| name.strip_prefix("cpu")).and_then(|cpu| cpu.parse::<usize>().ok());
        if cpu.is_some_and(|cpu| cpus.contains(&cpu)) {
            let of = words.map(|word| word.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
            let [user, _nice, system, _idle, _iowait, irq, softirq, steal] = of.get(..8)?.try_into().ok()?;
            ticks += user + system + irq + softirq + steal;
        }
    }
    Some(Duration::from_millis(ticks * 1000 / per_second.max(1)))
}

fn choose(available: &[usize], wanted: usize, from: usize) -> Vec<usize> {
    available.iter().cycle().skip(from % available.len().max(1)).take(wanted).copied().collect()
}

/// Holds this process, and what comes of it, to these.
pub(crate) fn hold(cpus: &[usize]) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_taken_in_turn() {
        let four = [0, 2, 4, 6];
        assert_eq!(choose(&four, 1, 0), [0]);
        assert_eq!(choose(&four, 3, 3), [6, 0, 2]);
        assert_eq!(choose(&four, 1, 9), [2]);
        assert!(choose(&[], 1, 5).is_empty());
    }

    #[test]
    fn what_is_neither_idle_nor_waiting_for_a_disk_nor_nice_is_busy() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 1000 1000 4 5 6 1 0\ncpu1 7 7 7 7 7 7 7 7 7 7\ncpu2 100 0 0 9 9 0 0 0 0 0\nintr 5 5\n";
        assert_eq!(parse_busy(stat, &[0, 2], 100), Some(Duration::from_millis(1190)));
        assert_eq!(parse_busy(stat, &[], 100), Some(Duration::ZERO));
        assert_eq!(parse_busy("cpu0 1 2 3", &[0], 100), None);
        assert!(busy(&available()).unwrap() > Duration::ZERO);
    }

    #[test]
    fn only_what_no_group_bounds_is_pinned() {
        let mut cpus = Cpus::default();
        let off = || LayerState::Off("no group".into());
        assert_eq!(cpus.pin(Some(&mut LayerState::On), Some(1.0)), None);
        assert_eq!(cpus.pin(Some(&mut off()), None), None);
        assert_eq!(cpus.pin(Some(&mut off()), Some(1e6)), None);
        if available().len() > 1 {
            let mut layer = off();
            assert_eq!(cpus.pin(Some(&mut layer), Some(0.5)).map(|cpus| cpus.len()), Some(1));
            assert!(matches!(layer, LayerState::Partly(how) if how.contains("held to 1 of")));
        }
    }
}
