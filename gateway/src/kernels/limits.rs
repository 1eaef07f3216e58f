//! What a user reads when a limit ended something: what it was, how much it had, how much it may have.

use carrel_spawnd::{Exited, Reason, Stats};

use super::kernel::Notice;

/// For a kernel that ended and is started again in its jail; none if memory was not the reason since `kills` were seen.
pub(super) fn of_kernel(stats: &Stats, kills: &mut u64) -> Option<Notice> {
    let now = stats.main.oom_kills.unwrap_or(0);
    if now <= *kills {
        return None;
    }
    *kills = now;
    Some(notice(stats.main.memory_peak_bytes, stats.main.memory_limit_bytes))
}

/// For a kernel whose whole jail ended.
pub(super) fn of_exit(exit: &Exited) -> Option<Notice> {
    let said = |text: &str| Some(Notice { text: format!("{text} Variables are lost.\n") });
    match exit.reason {
        Some(Reason::Wall) => said("The kernel was ended: it ran for as long as it may."),
        Some(Reason::Disk) => said(
            "The kernel was ended: your home has grown far beyond the space that you may use. Delete files first, then start a kernel again.",
        ),
        _ => exit.oom.then(|| notice(exit.memory_peak_bytes, exit.memory_limit_bytes)),
    }
}

fn notice(peak: Option<u64>, limit: Option<u64>) -> Notice {
    let limit = limit.map_or_else(String::new, |bytes| format!(" of {}", size(bytes)));
    let peak = peak.map_or_else(String::new, |bytes| format!("; it had {} at most", size(bytes)));
    Notice {
        text: format!(
            "The kernel ran out of memory: it reached its limit{limit} and was ended{peak}. Variables are lost; session tables in scratch space are not.\n"
        ),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn size(bytes: u64) -> String {
    if bytes >= 10 << 30 {
        format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_spawnd::protocol::Memory;

    #[test]
    fn each_kill_is_told_once_with_peak_and_limit_of_the_kernel_alone() {
        let main = Memory {
            memory_peak_bytes: Some(1020 << 20),
            memory_limit_bytes: Some(1 << 30),
            oom_kills: Some(1),
        };
        // With the engine's.
        let stats = Stats { main, memory_limit_bytes: Some(5 << 30), oom_kills: Some(3), ..Stats::default() };
        let mut kills = 0;
        let text = of_kernel(&stats, &mut kills).unwrap().text;
        assert!(text.contains("its limit of 1024 MiB and was ended; it had 1020 MiB at most"), "{text}");
        assert_eq!(of_kernel(&stats, &mut kills), None);
        let by_its_engine = Stats { oom_kills: Some(9), ..Stats::default() };
        assert_eq!(of_kernel(&by_its_engine, &mut 0), None);
    }

    #[test]
    fn figures_that_a_host_does_not_give_are_left_out() {
        assert_eq!(of_exit(&Exited::default()), None);
        let text = of_exit(&Exited { oom: true, ..Exited::default() }).unwrap().text;
        assert!(text.contains("reached its limit and was ended. Variables"), "{text}");
        assert_eq!(size(16 << 30), "16.0 GiB");
        let full = Exited { reason: Some(Reason::Disk), ..Exited::default() };
        assert!(of_exit(&full).unwrap().text.contains("Delete files first"));
    }
}
