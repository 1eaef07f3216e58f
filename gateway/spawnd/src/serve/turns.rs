//! Whose turn on the processors comes first. Users have equal parts; beyond that, who wants more than a part stands behind who wants less than one, so
//! that a short cell does not wait for the end of a long one.
//!
//! What a user wants is what the same work would take if it never waited. Whether that is much is told by the level up to which
//! everybody can be served (max-min fairness, as when water is poured over steps of different height): who wants less gets it, and all who
//! want more share the rest in equal parts, which is what stands behind does. What is poured is what the host's other work leaves: the gateway's
//! own for who prints without end is considerable.

use std::time::{Duration, Instant};

use super::Server;
use crate::host::beat::Beat;
use crate::host::cpus;

/// Between two looks, while somebody computes and while nobody does.
const LOOK: Duration = Duration::from_millis(250);
const CALM: Duration = Duration::from_secs(1);
/// So far back a look reaches, in seconds: what is older counts for less than a third.
const MEMORY: f64 = 1.0;
/// In processors. Who wants less is in nobody's way.
const ACTIVE: f64 = 0.02;
/// In levels: who wants more becomes heavy, and stays so until it wants less than the second. Equals must not take turns at being heavy.
const HEAVY: f64 = 1.25;
const LIGHT: f64 = 1.15;
/// Who always waits wants so many times what it gets, at most.
const MOST: f64 = 20.0;
/// The part of all processors that counts as left for users, however busy the host is.
const LEAST: f64 = 0.75;
/// The part of all processors below which the host's other work does not count.
const CALM_HOST: f64 = 0.25;

/// When to look again, and what is done while it matters.
#[derive(Default)]
pub(crate) struct Turns {
    last: Option<Instant>,
    active: bool,
    host: Host,
    beat: Option<Beat>,
}

/// What the host does beside users' work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Host {
    /// What all processors together, and users on them, had done, as read last.
    read: Option<(Duration, Duration)>,
    /// Processors, on average over [`MEMORY`].
    others: f64,
}

impl Host {
    /// Takes in what was read. `since`: the last time.
    fn measure(&mut self, read: Option<(Duration, Duration)>, since: Duration) {
        let before = std::mem::replace(&mut self.read, read);
        let (Some((busy, users)), Some((busy_before, users_before))) = (read, before) else { return };
        let seconds = since.as_secs_f64();
        // A user who has come or gone meanwhile brings or takes along what it ever computed.
        if seconds > 0.0 && users >= users_before {
            let (all, of_users) = (busy.saturating_sub(busy_before), users - users_before);
            let others = all.saturating_sub(of_users).as_secs_f64() / seconds;
            self.others += (others - self.others) * (1.0 - (-seconds / MEMORY).exp());
        }
    }

    /// What is left for users of so many.
    fn leaves(&self, processors: f64) -> f64 {
        (processors - self.others).max(processors * LEAST)
    }

    /// Whether it does next to nothing.
    fn is_calm(&self, processors: f64) -> bool {
        self.others < processors * CALM_HOST
    }
}

/// How a user stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Turn {
    /// What the processes of all the user's jails had computed, and how long some of them had waited, as read last.
    read: Option<(Duration, Duration)>,
    /// Processors, and the part of the time in which something waited for one, on average over [`MEMORY`].
    used: f64,
    waited: f64,
    /// Wants more than the level.
    heavy: bool,
    /// Stands behind the others.
    behind: bool,
}

impl Turn {
    /// Takes in what was read. `since`: the last time.
    fn measure(&mut self, read: Option<(Duration, Duration)>, since: Duration) {
        let before = std::mem::replace(&mut self.read, read);
        let (Some((used, waited)), Some((used_before, waited_before))) = (read, before) else { return };
        let seconds = since.as_secs_f64();
        if seconds > 0.0 {
            let part = |now: Duration, before| now.saturating_sub(before).as_secs_f64() / seconds;
            let new = 1.0 - (-seconds / MEMORY).exp();
            self.used += (part(used, used_before) - self.used) * new;
            self.waited += (part(waited, waited_before).min(1.0) - self.waited) * new;
        }
    }

    /// Processors that would be used if there was no waiting: the same for who computes, pauses and computes again, however long it has to wait.
    fn wants(&self) -> f64 {
        self.used / (1.0 - self.waited).max(1.0 / MOST)
    }

    fn is_light(&self) -> bool {
        !self.heavy && self.wants() > ACTIVE
    }
}

/// Decides who is heavy on so many processors.
fn judge(turns: &mut [&mut Turn], processors: f64) {
    let wants: Vec<f64> = turns.iter().map(|turn| turn.wants()).filter(|wants| *wants > ACTIVE).collect();
    // Who is alone stands behind nobody.
    let level = if wants.len() < 2 { f64::INFINITY } else { level(wants, processors) };
    for turn in turns {
        turn.heavy = turn.wants() > level * if turn.heavy { LIGHT } else { HEAVY };
    }
}

/// Whether anybody has something of it if who is heavy stands behind: who is light, or who comes next. Nobody but the host's other programs has it
/// where all are heavy and the host is busy with those.
fn somebody_profits(turns: &[&mut Turn], calm: bool) -> bool {
    calm || turns.iter().any(|turn| turn.is_light())
}

/// The most that each of those who want so much would get of it; infinite where there is enough.
fn level(mut wants: Vec<f64>, processors: f64) -> f64 {
    wants.sort_by(f64::total_cmp);
    let mut left = processors;
    for (served, wants_one) in wants.iter().enumerate() {
        let level = left / (wants.len() - served) as f64;
        if *wants_one > level {
            return level;
        }
        left -= wants_one;
    }
    f64::INFINITY
}

impl Server {
    /// How long until [`Server::take_turns`] has something to do.
    pub(crate) fn turns_due(&self, now: Instant) -> Option<Duration> {
        let pause = if self.turns.active { LOOK } else { CALM };
        let next = self.turns.last.map(|last| (last + pause).saturating_duration_since(now));
        (!self.users.is_empty()).then(|| next.unwrap_or_default())
    }

    /// Looks at what users want, and puts those behind who want much.
    pub(crate) fn take_turns(&mut self, now: Instant) {
        if self.users.is_empty() {
            self.turns = Turns::default();
        }
        if self.turns_due(now).is_none_or(|due| !due.is_zero()) {
            return;
        }
        let since = self.turns.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        for user in self.users.values_mut() {
            let read = user.cgroup.processor_time().zip(user.cgroup.processor_wait());
            user.turn.measure(read, since);
        }
        let available = cpus::available();
        let users = self.users.values().filter_map(|user| user.turn.read).map(|(used, _)| used).sum();
        self.turns.host.measure(cpus::busy(&available).map(|busy| (busy, users)), since);
        let processors = available.len() as f64;
        let mut turns: Vec<_> = self.users.values_mut().map(|user| &mut user.turn).collect();
        judge(&mut turns, self.turns.host.leaves(processors));
        let for_somebody = somebody_profits(&turns, self.turns.host.is_calm(processors));
        for user in self.users.values_mut() {
            let behind = user.turn.heavy && for_somebody;
            if std::mem::replace(&mut user.turn.behind, behind) != behind {
                user.cgroup.stand(behind);
            }
        }
        self.turns.last = Some(now);
        self.turns.active = self.users.values().any(|user| user.turn.wants() > ACTIVE);
        if !self.users.values().any(|user| user.turn.behind) {
            self.turns.beat = None;
        } else if self.turns.beat.is_none() {
            self.turns.beat = Beat::start();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heavy(wants: &[f64], before: &[bool], processors: f64) -> Vec<bool> {
        let turn = |(wants, heavy): (&f64, &bool)| Turn { used: *wants, heavy: *heavy, ..Turn::default() };
        let mut turns: Vec<Turn> = wants.iter().zip(before).map(turn).collect();
        judge(&mut turns.iter_mut().collect::<Vec<_>>(), processors);
        turns.iter().map(|turn| turn.heavy).collect()
    }

    #[test]
    fn who_wants_more_than_can_be_had_stands_behind_who_wants_less() {
        assert_eq!(heavy(&[0.7, 1.4, 1.2], &[false; 3], 2.0), [false, true, true]);
        // Many who want next to nothing do not make somebody heavy who wants little.
        let mut wants = vec![0.05; 9];
        wants.extend([0.4, 1.5, 1.5]);
        assert_eq!(heavy(&wants, &[false; 12], 2.0)[9..], [false, true, true]);
        // Where there is enough for all nobody is.
        assert_eq!(heavy(&[0.7, 1.4, 1.2], &[false; 3], 4.0), [false; 3]);
    }

    #[test]
    fn who_is_alone_stands_behind_nobody() {
        assert_eq!(heavy(&[4.0, 0.0, 0.01], &[false; 3], 2.0), [false; 3]);
        assert_eq!(heavy(&[4.0, 0.0], &[true, false], 2.0), [false; 2]);
    }

    #[test]
    fn nobody_stands_behind_the_hosts_other_work_alone() {
        let (mut heavy, mut light) =
            (Turn { used: 1.2, heavy: true, ..Turn::default() }, Turn { used: 0.3, ..Turn::default() });
        let mut away = Turn::default();
        assert!(!somebody_profits(&[&mut heavy, &mut away], false));
        assert!(somebody_profits(&[&mut heavy, &mut light], false));
        // Somebody may come at any time.
        assert!(somebody_profits(&[&mut heavy, &mut away], true));
        let host = Host { others: 0.6, ..Host::default() };
        assert!(host.is_calm(4.0) && !host.is_calm(2.0));
    }

    #[test]
    fn equals_are_heavy_together_and_stay_so() {
        assert_eq!(heavy(&[1.6, 1.6], &[false; 2], 2.0), [true, true]);
        assert_eq!(heavy(&[1.6, 1.2], &[true, true], 2.0), [true, true]);
        assert_eq!(heavy(&[1.6, 0.9], &[true, true], 2.0), [true, false]);
    }

    #[test]
    fn waiting_is_wanting() {
        let measured = |used: u64, waited: u64| {
            let mut turn = Turn::default();
            for look in 0..40 {
                let read = (Duration::from_millis(used) * look, Duration::from_millis(waited) * look);
                turn.measure(Some(read), LOOK);
            }
            turn.wants()
        };
        let near = |one: f64, other: f64| (one - other).abs() < 0.01;
        assert!(near(measured(125, 0), 0.5));
        assert!(near(measured(125, 125), 1.0));
        assert!(near(measured(125, 250), 10.0));
    }

    #[test]
    fn what_the_host_does_itself_is_not_left_for_users() {
        let mut host = Host::default();
        let read = |look: u32, busy: u64, users: u64| {
            Some((Duration::from_millis(busy) * look, Duration::from_millis(users) * look))
        };
        for look in 0..40 {
            host.measure(read(look, 400, 300), LOOK);
        }
        assert!((host.leaves(2.0) - 1.6).abs() < 0.01, "{host:?}");
        // A user goes, and takes along what it had computed.
        let before = host;
        host.measure(read(40, 400, 100), LOOK);
        assert_eq!((host.others, host.read), (before.others, read(40, 400, 100)));
        for look in 0..40 {
            host.measure(read(look, 500, 0), LOOK);
        }
        assert_eq!(host.leaves(2.0), 1.5);
        host.measure(None, LOOK);
        assert_eq!(host.read, None);
    }

    /// Two who want all of two processors, and a third who wants a fifth of one: what they get follows from who is heavy, and who is heavy from what
    /// they get.
    #[test]
    fn nobody_takes_turns_at_being_heavy() {
        let wants: [f64; 3] = [2.0, 2.0, 0.2];
        let mut turns = [Turn { read: Some(Default::default()), ..Turn::default() }; 3];
        let (mut read, mut changes) = ([(Duration::ZERO, Duration::ZERO); 3], Vec::new());
        for look in 0..200 {
            let weight = |turn: &Turn| if turn.heavy { 1.0 / 16.0 } else { 1.0 };
            let hungry = turns.iter().zip(wants).filter(|(_, want)| *want > 1.0);
            let all: f64 = hungry.map(|(turn, _)| weight(turn)).sum();
            for ((turn, (used, waited)), want) in turns.iter_mut().zip(&mut read).zip(wants) {
                let gets = want.min(1.8 * weight(turn) / all);
                *used += LOOK.mul_f64(gets);
                *waited += LOOK.mul_f64((1.0 - gets / want).min(1.0));
                turn.measure(Some((*used, *waited)), LOOK);
            }
            let before = turns.map(|turn| turn.heavy);
            judge(&mut turns.iter_mut().collect::<Vec<_>>(), 2.0);
            if before != turns.map(|turn| turn.heavy) {
                changes.push(look);
            }
        }
        assert!(changes.iter().all(|look| *look < 8), "{changes:?}");
        assert_eq!(turns.map(|turn| turn.heavy), [true, true, false]);
    }

    #[test]
    fn what_was_wanted_is_forgotten_within_seconds() {
        let mut turn = Turn { used: 2.0, waited: 0.5, read: Some(Default::default()), ..Turn::default() };
        for _ in 0..20 {
            turn.measure(turn.read, LOOK);
        }
        assert!(turn.wants() < ACTIVE, "{turn:?}");
        turn.measure(None, LOOK);
        assert_eq!(turn.read, None);
    }
}
