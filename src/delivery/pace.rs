//! When a stream may go on: a pause between large responses, so that one client's whole states do not crowd out
//! everything else, and one in which a client asks for all that it asks for at once.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// From here on a response is large, in bytes.
pub(super) const LARGE: usize = 1 << 20;

/// A Pilot sends its first requests back to back: even far away they arrive within this of each other.
const SETTLE: Duration = Duration::from_millis(100);

/// When the next large response may go.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    until: Option<Instant>,
    /// Until when nothing beyond so many bytes may go: the client was cut off by that before.
    held: Option<(Instant, usize)>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, until: None, held: None }
    }

    /// Holds back what is larger than `bytes`, for `pause`.
    pub(super) fn hold(&mut self, bytes: usize, pause: Duration) {
        self.held = Some((Instant::now() + pause, bytes));
    }

    /// The largest response that may go now, in bytes.
    pub(super) fn largest(&self) -> usize {
        let held = self.held.map_or(usize::MAX, |(_, bytes)| bytes);
        if self.until.is_some() { LARGE.min(held) } else { held }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        if bytes > LARGE {
            self.until = Some(Instant::now() + self.interval);
        }
    }

    /// Begins a pause in which more requests may come, unless there is one.
    pub(super) fn settle(&mut self) {
        self.until.get_or_insert_with(|| Instant::now() + SETTLE);
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.until.is_some() || self.held.is_some()
    }

    /// Returns when one of the pauses ends; never, while there is none.
    pub(super) async fn over(&mut self) {
        let held = self.held.map(|(until, _)| until);
        match self.until.into_iter().chain(held).min() {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
        let now = Instant::now();
        self.until.take_if(|until| *until <= now);
        self.held.take_if(|(until, _)| *until <= now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_large_response_makes_the_next_large_one_wait() {
        let mut pace = Pace::new(Duration::from_millis(500));
        pace.sent(LARGE);
        assert_eq!(pace.largest(), usize::MAX);
        pace.sent(LARGE + 1);
        assert_eq!(pace.largest(), LARGE);
        let before = Instant::now();
        pace.over().await;
        assert_eq!((before.elapsed().as_millis() / 10, pace.largest()), (50, usize::MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_back_goes_after_its_pause_and_the_rest_at_once() {
        let mut pace = Pace::new(Duration::from_millis(500));
        pace.hold(4 << 20, Duration::from_secs(2));
        assert_eq!(pace.largest(), 4 << 20);
        pace.sent(LARGE + 1);
        assert_eq!(pace.largest(), LARGE);
        pace.over().await;
        assert_eq!(pace.largest(), 4 << 20);
        let before = Instant::now();
        pace.over().await;
        assert_eq!((before.elapsed().as_millis() / 10, pace.largest()), (150, usize::MAX));
        assert!(!pace.is_waiting());
    }
}
