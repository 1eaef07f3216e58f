//! The one place that reads the wall clock, so that tests can hold it still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};

/// Tells the time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Kind);

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    System,
    Held(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that stands still until [`Self::advance`].
    pub fn held(at: OffsetDateTime) -> Self {
        Self(Kind::Held(Arc::new(AtomicI64::new(carrel_store::micros(at)))))
    }

    /// The time now, UTC.
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Kind::System => OffsetDateTime::now_utc(),
            Kind::Held(us) => carrel_store::from_micros(us.load(Ordering::Relaxed)),
        }
    }

    /// Moves a held clock on; the machine's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Kind::Held(us) = &self.0 {
            us.fetch_add(i64::try_from(by.whole_microseconds()).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

/// A time as JupyterHub writes it: ISO 8601 with microseconds and `Z`.
pub fn iso(t: OffsetDateTime) -> String {
    let t = t.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.microsecond()
    )
}
