//! When something is asked, and by which strategy. Pure.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::consul::settings::Strategy;

/// Two questions about the same thing begin at least this far apart: what changes all the time is read twenty times a second.
pub(super) const GAP: Duration = Duration::from_millis(50);
/// The list of a large catalogue is not transferred more often than this.
const LONGEST_LIST_GAP: Duration = Duration::from_secs(1);
/// How long the list may stay silent. Its answer proves that there is a leader; and lost rights, which wake nobody, show in
/// the second one at the latest.
pub(super) const LIST_WAIT: Duration = Duration::from_secs(30);
/// How long one of few services may. An answer that is swallowed on its way is missed for as long.
const SHORTEST_WAIT: Duration = Duration::from_secs(60);
/// How long one of very many may: Consul's own default.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// For each service: two thousand questions a minute of up to ten thousand services.
const WAIT_EACH: Duration = Duration::from_millis(30);
/// How long `service-defaults` may: they hardly ever change.
pub(super) const DEFAULTS_WAIT: Duration = LONGEST_WAIT;
/// Peers' lists have no index to wait for.
pub(super) const PEER_LIST: Duration = Duration::from_secs(10);
/// Until `service-defaults` are asked for again after they could not be read.
pub(super) const DEFAULTS_RETRY: Duration = Duration::from_secs(60);
/// Everything is swept this often even if nothing is heard: a node's new address wakes nobody.
pub(super) const NET: Duration = Duration::from_secs(120);
/// A doubtful read is repeated this much later, or ten times as long as it took …
const DOUBT: Duration = Duration::from_secs(30);
/// … and once something changed, this much later, or three times as long.
const HOPE: Duration = Duration::from_secs(1);
/// The shortest rest between two sweeps.
const REST: Duration = Duration::from_secs(1);
/// A sweep rests this much longer than it took: a quarter of the time is spent reading at most.
const REST_FACTOR: u32 = 3;

/// How changes of services are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A blocking query for each.
    Each,
    /// By turns.
    Sweep,
}

/// The mode for so many services, of which `limit` can have a query of their own. There is some play, so that a catalogue
/// of about that size does not go to and fro.
pub(super) fn mode(strategy: Strategy, services: usize, limit: usize, now: Mode) -> Mode {
    let fits = match now {
        Mode::Each => services <= limit,
        Mode::Sweep => services <= limit - limit / 5,
    };
    match strategy {
        Strategy::Each => Mode::Each,
        Strategy::Auto if fits => Mode::Each,
        Strategy::Auto | Strategy::Sweep => Mode::Sweep,
    }
}

/// How long each of so many services may stay silent: as short as so many questions a minute allow.
pub(super) fn service_wait(services: usize) -> Duration {
    let services = u32::try_from(services).unwrap_or(u32::MAX);
    WAIT_EACH.saturating_mul(services).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

/// How long after a list of so many bytes the next one is asked for: a megabyte at a time would be most of what we do.
pub(super) fn list_gap(bytes: usize) -> Duration {
    let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(3);
    GAP.saturating_add(Duration::from_micros(micros)).min(LONGEST_LIST_GAP)
}

/// How long after a doubtful read that took so long the next one begins.
pub(super) fn doubt_rest(took: Duration) -> Duration {
    DOUBT.max(took * 10)
}

/// The same once something changed.
pub(super) fn hope_rest(took: Duration) -> Duration {
    HOPE.max(took * 3)
}

/// Reading everything again in turn.
#[derive(Debug)]
pub(super) struct Sweep {
    wanted: bool,
    began: Option<Instant>,
    not_before: Instant,
    net: Instant,
    /// Still to be read; the last one first.
    queue: Vec<Arc<str>>,
}

impl Sweep {
    pub(super) fn new(now: Instant) -> Self {
        Self { wanted: false, began: None, not_before: now, net: now + NET, queue: Vec::new() }
    }

    /// Something changed, nobody knows where.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// When there will be something to begin; `None` while a sweep is under way.
    pub(super) fn wake(&self) -> Option<Instant> {
        let at = if self.wanted { self.not_before } else { self.net };
        self.began.is_none().then_some(at)
    }

    /// Begins with what changed last, if it is time.
    pub(super) fn begin_if_due(&mut self, now: Instant, all: impl FnOnce() -> Vec<(u64, Arc<str>)>) {
        if self.wake().is_none_or(|at| at > now) {
            return;
        }
        let mut all = all();
        all.sort_unstable();
        self.queue = all.into_iter().map(|(_, name)| name).collect();
        (self.wanted, self.began, self.net) = (false, Some(now), now + NET);
    }

    pub(super) fn next(&mut self) -> Option<Arc<str>> {
        self.queue.pop()
    }

    /// Everything that was to be read has been.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(began) = self.began.take_if(|_| self.queue.is_empty()) {
            self.not_before = now + REST.max((now - began) * REST_FACTOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_follows_the_size_with_some_play() {
        for (services, now, want) in [
            (100, Mode::Each, Mode::Each),
            (101, Mode::Each, Mode::Sweep),
            (90, Mode::Sweep, Mode::Sweep),
            (80, Mode::Sweep, Mode::Each),
        ] {
            assert_eq!(mode(Strategy::Auto, services, 100, now), want, "{services}");
        }
        assert_eq!(mode(Strategy::Each, 1000, 1, Mode::Sweep), Mode::Each);
        assert_eq!(mode(Strategy::Sweep, 1, 1000, Mode::Each), Mode::Sweep);
    }

    #[test]
    fn a_large_list_is_asked_for_less_often() {
        assert_eq!(list_gap(0), GAP);
        assert_eq!(list_gap(100_000), Duration::from_millis(350));
        assert_eq!(list_gap(usize::MAX), LONGEST_LIST_GAP);
    }

    #[test]
    fn many_services_wait_longer_so_that_no_more_is_asked_in_a_minute() {
        let asked =
            |services: u32| f64::from(services) * 60.0 / service_wait(services as usize).as_secs_f64();
        assert_eq!((service_wait(0), service_wait(usize::MAX)), (SHORTEST_WAIT, LONGEST_WAIT));
        for services in [1, 100, 2000, 5000, 10_000] {
            assert!(asked(services) < 2000.5, "{services}: {}", asked(services));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_begins_with_what_changed_last_and_rests_three_times_as_long() {
        let now = Instant::now();
        let mut sweep = Sweep::new(now);
        let all = || vec![(0, "a".into()), (7, "hot".into()), (0, "b".into())];
        sweep.begin_if_due(now, all);
        assert_eq!((sweep.next(), sweep.wake()), (None, Some(now + NET)), "nobody wanted it");
        sweep.want();
        sweep.begin_if_due(now, all);
        assert_eq!((sweep.next().as_deref(), sweep.wake()), (Some("hot"), None));
        sweep.end(now);
        assert_eq!(sweep.wake(), None, "there is more to read");
        while sweep.next().is_some() {}
        let took = Duration::from_secs(2);
        sweep.end(now + took);
        sweep.want();
        assert_eq!(sweep.wake(), Some(now + took + took * 3));
    }
}
