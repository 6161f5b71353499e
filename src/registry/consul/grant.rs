//! How many connections the server is believed to grant us. Pure.
//!
//! A refusal halves it. Since the reason may pass (another program behind the same address, a limit that is raised), it
//! rises again, slowly, and after every further refusal later: whoever cannot have more is asked ever less often.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::consul::client::READS;

/// Refusals within this are one: they come in flocks.
const FLOCK: Duration = Duration::from_secs(30);
/// After the first refusal nothing rises for this long …
const FIRST_REST: Duration = Duration::from_secs(600);
/// … after each further one for twice as long, up to this.
const LONGEST_REST: Duration = Duration::from_secs(6 * 3600);
/// Then an eighth of what is wanted comes back …
const STEPS: usize = 8;
/// … this often.
const STEP: Duration = Duration::from_secs(60);

/// What one server grants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    wanted: usize,
    refused: Option<Refused>,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    at: Instant,
    /// What was left then.
    left: usize,
    rest: Duration,
}

impl Grant {
    /// So many connections are wanted, and none was refused so far.
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, refused: None }
    }

    /// How many it is now.
    pub(super) fn now(&self, now: Instant) -> usize {
        let Some(refused) = self.refused else { return self.wanted };
        let risen = (now - refused.at).saturating_sub(refused.rest);
        let steps = usize::try_from(risen.as_secs() / STEP.as_secs()).unwrap_or(STEPS).min(STEPS);
        let back = (self.wanted / STEPS).max(1) * steps;
        (refused.left + back).min(self.wanted)
    }

    /// The server has refused one.
    pub(super) fn refuse(&mut self, now: Instant) {
        if self.refused.is_some_and(|refused| now - refused.at < FLOCK) {
            return;
        }
        let rest = self.refused.map_or(FIRST_REST, |refused| (refused.rest * 2).min(LONGEST_REST));
        // Fewer than are needed to read at all make no sense, and more than were wanted were never had.
        let left = (self.now(now) / 2).max(READS).min(self.wanted);
        self.refused = Some(Refused { at: now, left, rest });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_comes_back_slowly_and_each_time_later() {
        let (mut grant, start) = (Grant::new(160), Instant::now());
        assert_eq!(grant.now(start), 160);
        grant.refuse(start);
        // They come in flocks.
        grant.refuse(start + Duration::from_secs(5));
        let minutes = |n: u64| start + Duration::from_secs(60 * n);
        for (at, want) in [(0, 80), (10, 80), (11, 100), (12, 120), (14, 160), (1_000, 160)] {
            assert_eq!(grant.now(minutes(at)), want, "after {at} minutes");
        }
        // In the middle of its rise.
        grant.refuse(minutes(12));
        for (at, want) in [(12, 60), (32, 60), (33, 80), (38, 160)] {
            assert_eq!(grant.now(minutes(at)), want, "after {at} minutes");
        }
        let mut at = start;
        for turn in 0..20 {
            at += LONGEST_REST * 2;
            grant.refuse(at);
            assert!(grant.now(at) >= READS && grant.now(at + LONGEST_REST * 2) == 160, "{grant:?}");
            // By then it rests as long as it ever does.
            assert!(turn < 5 || grant.now(at + LONGEST_REST) < 160, "{turn}: {grant:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_that_are_wanted_stay_few() {
        let (mut grant, now) = (Grant::new(4), Instant::now());
        grant.refuse(now);
        assert_eq!((grant.now(now), grant.now(now + LONGEST_REST)), (4, 4));
    }
}
