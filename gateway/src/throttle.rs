//! Counts wrong passwords per name and per address, and says how long to wait. Bounded: the table cannot be made to grow.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use time::{Duration, OffsetDateTime};

/// The table holds at most this many names and addresses; beyond it the least recent go first.
const MAX_ENTRIES: usize = 20_000;

/// How many failures are allowed, and how long to wait after them.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Failures of one name.
    pub per_name: u32,
    /// Failures from one address.
    pub per_address: u32,
    /// The wait, and the time over which failures are counted.
    pub wait: Duration,
}

/// The counters.
#[derive(Debug)]
pub struct Throttle {
    rules: Rules,
    seen: Mutex<HashMap<Key, Count>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Address(String),
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: OffsetDateTime,
}

impl Throttle {
    /// No failures yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, seen: Mutex::default() }
    }

    /// How long this name from this address must wait; `None` if it may try.
    pub fn wait(&self, name: &str, address: &str, now: OffsetDateTime) -> Option<Duration> {
        let seen = self.lock();
        let of = |key: &Key, limit: u32| {
            let count = seen.get(key)?;
            let left = count.last + self.rules.wait - now;
            (count.failures >= limit && left.is_positive()).then_some(left)
        };
        of(&name_key(name), self.rules.per_name)
            .max(of(&Key::Address(address.to_owned()), self.rules.per_address))
    }

    /// Counts a failure. It counts before the password is looked at, so that many tries at once do not slip through.
    pub fn count(&self, name: &str, address: &str, now: OffsetDateTime) {
        let mut seen = self.lock();
        if seen.len() >= MAX_ENTRIES {
            self.make_room(&mut seen, now);
        }
        for key in [name_key(name), Key::Address(address.to_owned())] {
            let count = seen.entry(key).or_insert(Count { failures: 0, last: now });
            if now - count.last >= self.rules.wait {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
    }

    /// A right password: the name's failures are forgotten and the address gets this try back.
    pub fn forgive(&self, name: &str, address: &str) {
        let mut seen = self.lock();
        seen.remove(&name_key(name));
        if let Some(count) = seen.get_mut(&Key::Address(address.to_owned())) {
            count.failures = count.failures.saturating_sub(1);
        }
    }

    fn make_room(&self, seen: &mut HashMap<Key, Count>, now: OffsetDateTime) {
        seen.retain(|_, c| now - c.last < self.rules.wait);
        if seen.len() < MAX_ENTRIES {
            return;
        }
        let mut times: Vec<OffsetDateTime> = seen.values().map(|c| c.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        seen.retain(|_, c| c.last > median);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Count>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names are cut, so that long ones cost no memory.
fn name_key(name: &str) -> Key {
    Key::Name(name.to_lowercase().chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const T0: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn throttle() -> Throttle {
        Throttle::new(Rules { per_name: 3, per_address: 5, wait: Duration::seconds(60) })
    }

    #[test]
    fn a_name_waits_after_its_tries_and_may_try_again_later() {
        let t = throttle();
        for n in 0..3 {
            assert_eq!(t.wait("ada", "::1", T0), None, "try {n}");
            t.count("Ada", "::1", T0);
        }
        assert_eq!(t.wait("ada", "10.0.0.9", T0 + Duration::seconds(20)), Some(Duration::seconds(40)));
        assert_eq!(t.wait("bob", "::1", T0), None);
        assert_eq!(t.wait("ada", "::1", T0 + Duration::seconds(60)), None);
        t.count("ada", "::1", T0 + Duration::seconds(60));
        assert_eq!(t.wait("ada", "::1", T0 + Duration::seconds(61)), None, "an old series is forgotten");
    }

    #[test]
    fn an_address_waits_whatever_names_it_tries() {
        let t = throttle();
        for n in 0..5 {
            t.count(&format!("u{n}"), "::1", T0);
        }
        assert!(t.wait("new", "::1", T0).is_some());
        assert!(t.wait("new", "::2", T0).is_none());
    }

    #[test]
    fn a_right_password_clears_the_name() {
        let t = throttle();
        (0..2).for_each(|_| t.count("ada", "::1", T0));
        t.forgive("ada", "::1");
        t.count("ada", "::1", T0);
        assert_eq!(t.wait("ada", "::1", T0), None);
    }

    #[test]
    fn the_table_is_bounded() {
        let t = throttle();
        for n in 0..MAX_ENTRIES * 2 {
            t.count(
                &format!("u{n}"),
                &format!("a{n}"),
                T0 + Duration::milliseconds(i64::try_from(n).unwrap()),
            );
        }
        assert!(t.lock().len() <= MAX_ENTRIES + 2);
    }
}
