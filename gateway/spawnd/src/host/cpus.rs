//! Processors for jails whose time no group bounds: a few of the host's, taken in turn.

use gateway_spawnd::LayerState;
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
