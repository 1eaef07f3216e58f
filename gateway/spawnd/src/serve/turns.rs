//! Whose turn on the processors comes first. Users have equal parts; beyond that, who wants more than a part stands behind who wants less than one, so
//! that a short cell does not wait for the end of a long one.
//!
//! What a user wants is what the same work would take if it never waited. Whether that is much is told by the level up to which
//! everybody can be served (max-min fairness, as when water is poured over steps of different height): who wants less gets it, and all who
//! want more share the rest in equal parts, which is what stands behind does. Who has just paused counts with those who want little, so that
//! whoever has all processors meanwhile is behind already when the next cell comes.

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
/// Who wanted something so recently is there: reads, thinks, and will run a cell that must not wait for a first look.
const THERE: Duration = Duration::from_secs(300);
/// In equal parts: who wants less is not heavy, even if there is not enough for all. Equals must not take turns at being heavy.
const HEAVY: f64 = 1.25;
/// The same for who is heavy already, and the part of all processors that counts as all of them then: nobody must be heavy every other second.
const STILL: f64 = 1.0;
const SLACK: f64 = 0.9;
/// Who always waits wants so many times what it gets, at most.
const MOST: f64 = 20.0;

/// When to look again, and what is done while it matters.
#[derive(Default)]
pub(crate) struct Turns {
    last: Option<Instant>,
    active: bool,
    beat: Option<Beat>,
}

/// How a user stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Turn {
    /// What the processes of all the user's jails had computed, and how long some of them had waited, as read last.
    read: Option<(Duration, Duration)>,
    /// Processors, and the part of the time in which something waited for one, on average over [`MEMORY`].
    used: f64,
    waited: f64,
    /// How long ago it wanted something; none if that was before [`THERE`].
    quiet: Option<Duration>,
    /// Stands behind the others.
    heavy: bool,
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
        let quiet = self.quiet.map(|quiet| quiet + since).filter(|quiet| *quiet < THERE);
        self.quiet = if self.wants() > ACTIVE { Some(Duration::ZERO) } else { quiet };
    }

    /// Processors that would be used if there was no waiting: the same for who computes, pauses and computes again, however long it has to wait.
    fn wants(&self) -> f64 {
        self.used / (1.0 - self.waited).max(1.0 / MOST)
    }
}

/// Decides who is heavy on so many processors: who wants more than the level, and more than an equal part.
fn judge(turns: &mut [&mut Turn], processors: f64) {
    let wants: Vec<f64> = turns.iter().filter(|turn| turn.quiet.is_some()).map(|turn| turn.wants()).collect();
    let equal = processors / wants.len().max(1) as f64;
    // Who is alone stands behind nobody.
    let level = |processors| if wants.len() < 2 { f64::INFINITY } else { level(wants.clone(), processors) };
    let (becomes, stays) =
        (level(processors).max(HEAVY * equal), level(SLACK * processors).max(STILL * equal));
    for turn in turns {
        turn.heavy = turn.wants() > if turn.heavy { stays } else { becomes };
    }
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
        let before: Vec<bool> = self.users.values().map(|user| user.turn.heavy).collect();
        let processors = cpus::available().len() as f64;
        judge(&mut self.users.values_mut().map(|user| &mut user.turn).collect::<Vec<_>>(), processors);
        for (user, before) in self.users.values().zip(before) {
            if user.turn.heavy != before {
                user.cgroup.stand(user.turn.heavy);
            }
        }
        self.turns.last = Some(now);
        self.turns.active = self.users.values().any(|user| user.turn.wants() > ACTIVE);
        if !self.users.values().any(|user| user.turn.heavy) {
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
        let turn = |(wants, heavy): (&f64, &bool)| Turn {
            used: *wants,
            quiet: (*wants > ACTIVE).then_some(Duration::ZERO),
            heavy: *heavy,
            ..Turn::default()
        };
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
    fn equals_are_heavy_together_and_stay_so() {
        assert_eq!(heavy(&[1.6, 1.6], &[false; 2], 2.0), [true, true]);
        assert_eq!(heavy(&[1.6, 1.2], &[true, true], 2.0), [true, true]);
        assert_eq!(heavy(&[1.6, 0.9], &[true, true], 2.0), [true, false]);
        // Not every other second.
        assert_eq!(heavy(&[0.6, 0.8, 0.8], &[false, true, true], 2.0), [false, true, true]);
        assert_eq!(heavy(&[0.6, 0.8, 0.8], &[false; 3], 2.0), [false; 3]);
    }

    #[test]
    fn who_has_all_processors_stands_behind_who_comes_for_a_moment() {
        assert_eq!(heavy(&[0.1, 1.0, 1.0], &[false; 3], 2.0), [false, true, true]);
        assert_eq!(heavy(&[0.1, 1.95], &[false; 2], 2.0), [false, true]);
        // While that one thinks too.
        assert_eq!(heavy(&[0.03, 0.95, 0.9], &[false, true, true], 2.0), [false, true, true]);
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
        // And that it was here, within minutes: who is heavy stands behind it until then.
        let mut other = Turn { used: 3.0, quiet: Some(Duration::ZERO), ..Turn::default() };
        judge(&mut [&mut turn, &mut other], 2.0);
        assert!(other.heavy && !turn.heavy);
        let mut looks = 0;
        while turn.quiet.is_some() {
            turn.measure(turn.read, CALM);
            looks += 1;
        }
        assert!((290..=300).contains(&looks), "{looks}");
        judge(&mut [&mut turn, &mut other], 2.0);
        assert!(!other.heavy);
        turn.measure(None, LOOK);
        assert_eq!(turn.read, None);
    }
}
