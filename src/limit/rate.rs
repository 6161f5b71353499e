//! So many a second, and so many at once.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use tokio::time::Instant;

/// How fast something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// So often in the long run, and so often at once after a pause. `None` if either is 0.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Option<Self> {
        match (NonZeroU32::new(per_second), NonZeroU32::new(burst)) {
            (Some(per_second), Some(burst)) => Some(Self { per_second, burst }),
            _ => None,
        }
    }

    /// In the long run.
    #[must_use]
    pub fn per_second(self) -> u32 {
        self.per_second.get()
    }

    /// At once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    pub(super) fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// Tokio's time, which tests can pause.
#[derive(Debug, Clone)]
pub(super) struct TokioClock(Instant);

impl TokioClock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What keeps one rate.
pub(super) struct Bucket {
    clock: TokioClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        let clock = TokioClock::start();
        let limiter = RateLimiter::direct_with_clock(rate.quota(), clock.clone());
        Self { clock, limiter }
    }

    /// Takes one, or says how long until there is one.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|not_yet| wait(&not_yet, &self.clock))
    }
}

/// Never nothing: time must pass before it is worth asking again.
pub(super) fn wait(not_yet: &NotUntil<Duration>, clock: &TokioClock) -> Duration {
    not_yet.wait_time_from(clock.now()).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_then_each_waits_its_share_of_a_second() {
        let bucket = Bucket::new(Rate::new(50, 3).unwrap());
        for _ in 0..3 {
            assert_eq!(bucket.take(), Ok(()));
        }
        assert_eq!(bucket.take(), Err(Duration::from_millis(20)));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(bucket.take(), Ok(()));
        assert!(bucket.take().is_err());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(
            (0..5).filter(|_| bucket.take().is_ok()).count(),
            3,
            "a pause saves up no more than a burst"
        );
    }

    #[test]
    fn a_rate_of_nothing_is_none() {
        assert_eq!((Rate::new(0, 1), Rate::new(1, 0)), (None, None));
    }
}
