//! The life of a user's server: four states and one function that moves between them.

use time::OffsetDateTime;

/// What a server is doing. The moment it began is part of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Not running.
    Stopped,
    /// Asked for, not usable yet.
    Starting {
        /// When the start was asked for.
        since: OffsetDateTime,
    },
    /// Usable.
    Ready {
        /// When the start was asked for.
        started: OffsetDateTime,
    },
    /// Its kernels and files are being closed.
    Stopping {
        /// When the stop was asked for.
        since: OffsetDateTime,
    },
}

/// What happens to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for it.
    Start,
    /// The start is complete.
    Started,
    /// The start failed.
    StartFailed(String),
    /// Somebody asks for its end.
    Stop,
    /// The end is complete.
    Stopped,
}

/// What the owner of the state must now do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Prepare the server, then report [`Event::Started`] or [`Event::StartFailed`].
    Launch,
    /// Note in the store that it runs.
    RecordRunning,
    /// End its kernels and jails, then report [`Event::Stopped`].
    EndJails,
    /// Note in the store that it is stopped.
    RecordStopped,
    /// Say why it could not start.
    ReportFailure(String),
}

/// Why an event has no meaning in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Start of a running server.
    #[error("is already running")]
    AlreadyRunning,
    /// Start of a starting server.
    #[error("is pending start")]
    PendingStart,
    /// Anything during a stop.
    #[error("is pending stop")]
    PendingStop,
    /// Stop of a stopped server.
    #[error("is not running")]
    NotRunning,
    /// A result that nobody asked for.
    #[error("was not waiting for this")]
    Unexpected,
}

impl ServerState {
    /// Whether requests to it can be answered.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether it counts as active: starting, ready or stopping.
    pub fn is_active(self) -> bool {
        self != Self::Stopped
    }

    /// JupyterHub's `pending` word.
    pub fn pending(self) -> Option<&'static str> {
        match self {
            Self::Starting { .. } => Some("spawn"),
            Self::Stopping { .. } => Some("stop"),
            Self::Stopped | Self::Ready { .. } => None,
        }
    }

    /// When the current run was asked for.
    pub fn started(self) -> Option<OffsetDateTime> {
        match self {
            Self::Starting { since } => Some(since),
            Self::Ready { started } => Some(started),
            Self::Stopped | Self::Stopping { .. } => None,
        }
    }
}

/// Moves a server on: the state after `event`, and what to do about it.
pub fn step(
    state: ServerState,
    event: Event,
    now: OffsetDateTime,
) -> Result<(ServerState, Vec<Action>), Refused> {
    use ServerState as S;
    match (state, event) {
        (S::Stopped, Event::Start) => Ok((S::Starting { since: now }, vec![Action::Launch])),
        (S::Starting { .. }, Event::Start) => Err(Refused::PendingStart),
        (S::Ready { .. }, Event::Start) => Err(Refused::AlreadyRunning),
        (S::Stopping { .. }, Event::Start | Event::Stop) => Err(Refused::PendingStop),
        (S::Starting { since }, Event::Started) => {
            Ok((S::Ready { started: since }, vec![Action::RecordRunning]))
        }
        (S::Starting { .. }, Event::StartFailed(why)) => {
            Ok((S::Stopped, vec![Action::RecordStopped, Action::ReportFailure(why)]))
        }
        (S::Starting { .. }, Event::Stop) => Err(Refused::PendingStart),
        (S::Ready { .. }, Event::Stop) => Ok((S::Stopping { since: now }, vec![Action::EndJails])),
        (S::Stopped, Event::Stop) => Err(Refused::NotRunning),
        (S::Stopping { .. }, Event::Stopped) => Ok((S::Stopped, vec![Action::RecordStopped])),
        (S::Stopped | S::Ready { .. } | S::Stopping { .. }, Event::Started | Event::StartFailed(_))
        | (S::Stopped | S::Starting { .. } | S::Ready { .. }, Event::Stopped) => Err(Refused::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const T0: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
    const T1: OffsetDateTime = datetime!(2026-01-01 00:01 UTC);

    #[test]
    fn every_state_and_event_has_a_row() {
        use ServerState as S;
        let (starting, ready, stopping) =
            (S::Starting { since: T0 }, S::Ready { started: T0 }, S::Stopping { since: T0 });
        let failed = || Event::StartFailed("no desk".into());
        #[rustfmt::skip]
        let table = [
            (S::Stopped, Event::Start, Ok((S::Starting { since: T1 }, vec![Action::Launch]))),
            (S::Stopped, Event::Started, Err(Refused::Unexpected)),
            (S::Stopped, failed(), Err(Refused::Unexpected)),
            (S::Stopped, Event::Stop, Err(Refused::NotRunning)),
            (S::Stopped, Event::Stopped, Err(Refused::Unexpected)),
            (starting, Event::Start, Err(Refused::PendingStart)),
            (starting, Event::Started, Ok((ready, vec![Action::RecordRunning]))),
            (starting, failed(), Ok((S::Stopped, vec![Action::RecordStopped, Action::ReportFailure("no desk".into())]))),
            (starting, Event::Stop, Err(Refused::PendingStart)),
            (starting, Event::Stopped, Err(Refused::Unexpected)),
            (ready, Event::Start, Err(Refused::AlreadyRunning)),
            (ready, Event::Started, Err(Refused::Unexpected)),
            (ready, failed(), Err(Refused::Unexpected)),
            (ready, Event::Stop, Ok((S::Stopping { since: T1 }, vec![Action::EndJails]))),
            (ready, Event::Stopped, Err(Refused::Unexpected)),
            (stopping, Event::Start, Err(Refused::PendingStop)),
            (stopping, Event::Started, Err(Refused::Unexpected)),
            (stopping, failed(), Err(Refused::Unexpected)),
            (stopping, Event::Stop, Err(Refused::PendingStop)),
            (stopping, Event::Stopped, Ok((S::Stopped, vec![Action::RecordStopped]))),
        ];
        for (state, event, want) in table {
            assert_eq!(step(state, event.clone(), T1), want, "{state:?} on {event:?}");
        }
    }

    #[test]
    fn words_of_the_models() {
        assert_eq!(ServerState::Starting { since: T0 }.pending(), Some("spawn"));
        assert_eq!(ServerState::Stopping { since: T0 }.pending(), Some("stop"));
        assert!(ServerState::Ready { started: T0 }.is_ready());
        assert!(!ServerState::Stopped.is_active());
        assert_eq!(ServerState::Ready { started: T0 }.started(), Some(T0));
    }
}
