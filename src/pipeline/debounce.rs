//! When gathered changes go out: a pure function of moments.
//!
//! Istiod pushes endpoints alone when nothing else changed and merges what arrives within its own window, so changes that
//! only move endpoints take a fast lane and never meet the others in one response by accident.

use std::time::Duration;

use crate::model::time::Moment;

/// What a change of a resource costs istiod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Endpoints only: an EDS push.
    Endpoints,
    /// Anything else: a full push.
    Topology,
}

/// How long changes are gathered (`push` in the configuration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Endpoints: wait for this much quiet. Also all that the first change of either lane waits after calm.
    pub endpoint_quiet: Duration,
    /// Endpoints: but no longer than this.
    pub endpoint_max: Duration,
    /// Anything else: wait for this much quiet.
    pub topology_quiet: Duration,
    /// Anything else: but no longer than this.
    pub topology_max: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Self {
            endpoint_quiet: Duration::from_millis(100),
            endpoint_max: Duration::from_secs(1),
            topology_quiet: Duration::from_secs(1),
            topology_max: Duration::from_secs(5),
        }
    }
}

/// Changes of one lane that wait.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    first: Moment,
    last: Moment,
    after_calm: bool,
}

/// Both lanes.
#[derive(Debug)]
pub struct Debounce {
    cadence: Cadence,
    waiting: [Option<Waiting>; 2],
    flushed: [Option<Moment>; 2],
}

impl Debounce {
    /// Nothing waits.
    #[must_use]
    pub fn new(cadence: Cadence) -> Self {
        Self { cadence, waiting: [None; 2], flushed: [None; 2] }
    }

    /// Other times from now on.
    pub fn set_cadence(&mut self, cadence: Cadence) {
        self.cadence = cadence;
    }

    /// A change came into `lane`.
    pub fn note(&mut self, lane: Lane, now: Moment) {
        let (quiet, _) = self.times(lane);
        let calm = |flushed: &Option<Moment>| flushed.is_none_or(|at| now.since(at) >= quiet);
        let after_calm = self.flushed.get(lane as usize).is_none_or(calm);
        if let Some(slot) = self.waiting.get_mut(lane as usize) {
            let waiting = slot.get_or_insert(Waiting { first: now, last: now, after_calm });
            waiting.last = now;
        }
    }

    /// When the next lane is due; `None`: nothing waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        [Lane::Endpoints, Lane::Topology].into_iter().filter_map(|l| self.due_at(l)).min()
    }

    /// The highest lane that is due; a full push carries the endpoints along.
    #[must_use]
    pub fn due(&self, now: Moment) -> Option<Lane> {
        [Lane::Topology, Lane::Endpoints].into_iter().find(|l| self.due_at(*l).is_some_and(|at| at <= now))
    }

    /// `lane` and those below it went out.
    pub fn flushed(&mut self, lane: Lane, now: Moment) {
        for (slot, at) in self.waiting.iter_mut().zip(&mut self.flushed).take(lane as usize + 1) {
            *slot = None;
            *at = Some(now);
        }
    }

    fn due_at(&self, lane: Lane) -> Option<Moment> {
        let waiting = self.waiting.get(lane as usize)?.as_ref()?;
        let (quiet, max) = self.times(lane);
        Some(if waiting.after_calm {
            waiting.first.plus(self.cadence.endpoint_quiet)
        } else {
            waiting.last.plus(quiet).min(waiting.first.plus(max))
        })
    }

    fn times(&self, lane: Lane) -> (Duration, Duration) {
        match lane {
            Lane::Endpoints => (self.cadence.endpoint_quiet, self.cadence.endpoint_max),
            Lane::Topology => (self.cadence.topology_quiet, self.cadence.topology_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::after_start(Duration::from_millis(ms))
    }

    #[test]
    fn after_calm_either_lane_waits_only_the_endpoint_quiet() {
        for lane in [Lane::Endpoints, Lane::Topology] {
            let mut d = Debounce::new(Cadence::default());
            d.note(lane, at(10));
            assert_eq!(d.deadline(), Some(at(110)));
            assert_eq!((d.due(at(109)), d.due(at(110))), (None, Some(lane)));
        }
    }

    #[test]
    fn within_a_burst_changes_wait_for_quiet_but_not_for_ever() {
        let mut d = Debounce::new(Cadence::default());
        d.flushed(Lane::Topology, at(0));
        d.note(Lane::Topology, at(100));
        assert_eq!(d.deadline(), Some(at(1100)));
        for ms in (900..6000).step_by(900) {
            d.note(Lane::Topology, at(ms));
        }
        assert_eq!(d.deadline(), Some(at(5100)));
    }

    #[test]
    fn endpoints_do_not_wait_for_topology_but_topology_takes_them_along() {
        let mut d = Debounce::new(Cadence::default());
        d.flushed(Lane::Topology, at(0));
        d.note(Lane::Topology, at(10));
        d.note(Lane::Endpoints, at(20));
        assert_eq!(d.due(at(120)), Some(Lane::Endpoints));
        d.flushed(Lane::Endpoints, at(120));
        assert_eq!(d.deadline(), Some(at(1010)));
        d.note(Lane::Endpoints, at(1005));
        d.flushed(Lane::Topology, at(1010));
        assert_eq!(d.deadline(), None);
    }
}
