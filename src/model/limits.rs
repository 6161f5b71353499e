//! How much a registry may silently lose before it is held: the validated form of `guard` in the configuration.
//!
//! Data only: what follows from it is decided in `pipeline/guard`.

use std::time::Duration;

/// What holds for one registry, or for some of its services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A complete read that silently lacks more than this share of a registry's endpoints is held; in percent, 0 to 100.
    /// Means something for a registry only.
    pub registry_shrink_limit: u8,
    /// Whether a service that silently loses its last endpoint is held.
    pub empty_service_hold: bool,
    /// How many further reads have to agree before something that is held goes.
    pub confirm_reads: u32,
    /// It goes no sooner than this.
    pub removal_hold: Duration,
    /// How long a service stays, empty, after its last endpoint went; a port likewise.
    pub empty_service_ttl: Duration,
}

impl Default for Limits {
    /// A third of a registry does not go at once on purpose; a minute outlasts the restart of a server or of a client;
    /// ten minutes outlast a deployment that takes all instances down.
    fn default() -> Self {
        Self {
            registry_shrink_limit: 30,
            empty_service_hold: true,
            confirm_reads: 2,
            removal_hold: Duration::from_secs(60),
            empty_service_ttl: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// Whether `gone` of `all` endpoints are too many to go at once: fewer than 5 never are, unless they are all.
    #[must_use]
    pub fn is_too_much(&self, gone: usize, all: usize) -> bool {
        const FEW: usize = 5;
        let beyond = gone.saturating_mul(100) > all.saturating_mul(self.registry_shrink_limit.into());
        gone > 0 && (gone >= all || gone >= FEW && beyond)
    }

    /// How many reads have to agree with one that was not believed itself, or was.
    #[must_use]
    pub fn confirmations(&self, doubted: bool) -> u32 {
        self.confirm_reads.max(u32::from(doubted))
    }

    /// How long after one read the next should be while anything is held, so that all have been by `removal_hold`.
    #[must_use]
    pub fn read_again_after(&self) -> Duration {
        const SOONEST: Duration = Duration::from_secs(1);
        const LATEST: Duration = Duration::from_secs(30);
        (self.removal_hold / self.confirm_reads.saturating_add(1)).clamp(SOONEST, LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_may_go_but_not_all_and_many_only_below_the_limit() {
        let limits = Limits::default();
        for (gone, all, too_much) in [
            (0, 0, false),
            (1, 1, true),
            (1, 2, false),
            (4, 5, false),
            (4, 4, true),
            (5, 16, true),
            (5, 17, false),
            (30, 100, false),
            (31, 100, true),
        ] {
            assert_eq!(limits.is_too_much(gone, all), too_much, "{gone} of {all}");
        }
        let off = Limits { registry_shrink_limit: 100, ..limits };
        assert!(!off.is_too_much(99, 100) && off.is_too_much(100, 100));
    }

    #[test]
    fn the_reads_that_confirm_fit_into_the_time_of_the_hold() {
        assert_eq!(Limits::default().read_again_after(), Duration::from_secs(20));
        let never = Limits { confirm_reads: u32::MAX, removal_hold: Duration::ZERO, ..Limits::default() };
        assert_eq!(never.read_again_after(), Duration::from_secs(1));
        assert_eq!(
            (never.confirmations(true), Limits { confirm_reads: 0, ..never }.confirmations(true)),
            (u32::MAX, 1)
        );
    }
}
