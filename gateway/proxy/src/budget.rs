//! What one user may use of the proxy: connections at once, requests a minute, bytes an hour. Pure; the time is an argument.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What one user may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// At once.
    pub(crate) connections: u32,
    /// Allowed or not.
    pub(crate) requests_per_minute: u32,
    /// Bytes of both directions; 0 is no bound.
    pub(crate) traffic_per_hour: u64,
    /// How long a connection may be silent.
    pub(crate) idle: Duration,
    /// How long a connection may last.
    pub(crate) life: Duration,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// Too many at once.
    Connections,
    /// Too many of late; when there is room again, and whether this is the first that is told so.
    Requests { wait: Duration, first: bool },
    /// Too many bytes; when there is room again.
    Traffic { wait: Duration },
}

/// What one user uses.
#[derive(Debug)]
pub(crate) struct Usage {
    open: u32,
    requests: Window,
    traffic: Window,
}

/// A count that begins anew after a while.
#[derive(Debug)]
struct Window {
    since: Instant,
    count: u64,
}

impl Window {
    /// How much was counted, and how long that still counts.
    fn look(&mut self, length: Duration, now: Instant) -> (u64, Duration) {
        if now.saturating_duration_since(self.since) >= length {
            *self = Self { since: now, count: 0 };
        }
        (self.count, (self.since + length).saturating_duration_since(now))
    }
}

impl Usage {
    /// Of a user who has not asked yet.
    pub(crate) fn new(now: Instant) -> Self {
        let window = || Window { since: now, count: 0 };
        Self { open: 0, requests: window(), traffic: window() }
    }

    /// One more connection; [`Self::leave`] gives it back.
    pub(crate) fn enter(&mut self, bounds: &Bounds) -> Result<(), Spent> {
        if self.open >= bounds.connections {
            return Err(Spent::Connections);
        }
        self.open += 1;
        Ok(())
    }

    /// A connection has ended.
    pub(crate) fn leave(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// One more request.
    pub(crate) fn ask(&mut self, bounds: &Bounds, now: Instant) -> Result<(), Spent> {
        let (asked, wait) = self.requests.look(MINUTE, now);
        self.requests.count += 1;
        let most = u64::from(bounds.requests_per_minute);
        if asked >= most {
            return Err(Spent::Requests { wait, first: asked == most });
        }
        self.spend(bounds, 0, now)
    }

    /// So many more bytes. What was read is counted even if it is too much.
    pub(crate) fn spend(&mut self, bounds: &Bounds, bytes: u64, now: Instant) -> Result<(), Spent> {
        let (spent, wait) = self.traffic.look(HOUR, now);
        if bounds.traffic_per_hour > 0 && spent >= bounds.traffic_per_hour {
            return Err(Spent::Traffic { wait });
        }
        self.traffic.count = spent.saturating_add(bytes);
        Ok(())
    }

    /// Whether forgetting it would give the user anything.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        self.open == 0 && self.requests.look(MINUTE, now).0 == 0 && self.traffic.look(HOUR, now).0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            connections: 2,
            requests_per_minute: 3,
            traffic_per_hour: 100,
            idle: Duration::from_secs(1),
            life: Duration::from_secs(1),
        }
    }

    #[test]
    fn connections_are_given_back() {
        let mut usage = Usage::new(Instant::now());
        assert_eq!([usage.enter(&bounds()), usage.enter(&bounds())], [Ok(()), Ok(())]);
        assert_eq!(usage.enter(&bounds()), Err(Spent::Connections));
        usage.leave();
        assert_eq!(usage.enter(&bounds()), Ok(()));
    }

    #[test]
    fn requests_begin_anew_each_minute_and_only_the_first_refusal_is_news() {
        let start = Instant::now();
        let mut usage = Usage::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(usage.ask(&bounds(), at(10)), Ok(()));
        }
        let wait = Duration::from_secs(40);
        assert_eq!(usage.ask(&bounds(), at(20)), Err(Spent::Requests { wait, first: true }));
        assert_eq!(usage.ask(&bounds(), at(20)), Err(Spent::Requests { wait, first: false }));
        assert_eq!(usage.ask(&bounds(), at(61)), Ok(()));
    }

    #[test]
    fn bytes_begin_anew_each_hour_and_zero_is_no_bound() {
        let start = Instant::now();
        let mut usage = Usage::new(start);
        assert_eq!(usage.spend(&bounds(), 99, start), Ok(()));
        assert_eq!(usage.spend(&bounds(), 50, start), Ok(()));
        let spent = Err(Spent::Traffic { wait: HOUR });
        assert_eq!((usage.spend(&bounds(), 1, start), usage.ask(&bounds(), start)), (spent, spent));
        assert!(!usage.is_idle(start));
        assert_eq!(usage.spend(&Bounds { traffic_per_hour: 0, ..bounds() }, 1 << 40, start), Ok(()));
        assert!(usage.is_idle(start + HOUR));
        assert_eq!(usage.ask(&bounds(), start + HOUR), Ok(()));
    }
}
