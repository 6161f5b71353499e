//! Time as the pure parts see it: a distance from the start of the process, handed in by whoever owns a clock.

use std::time::Duration;

/// Time since the pipeline started, less the times in which it did not run: a process that goes on with what another one
/// saved goes on with its time, so that deadlines keep what remains of them. Never enters a resource, and no other clock
/// can be told from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The instant at which the pipeline started.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment `elapsed` after the start.
    #[must_use]
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the start this moment is.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The moment `d` later; saturates at the end of time.
    #[must_use]
    pub const fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
