//! Who may write: a Lease that one of us holds. Pure: what was read and when in, what to write out.
//!
//! As the clients of Kubernetes do it: nobody compares clocks. Whoever is not the holder watches the Lease and takes it
//! when it has not changed for as long as it says, by the watcher's own clock. Every write carries the version that was
//! read, so of two that try one fails. The holder stops writing well before anybody could take the Lease from it
//! ([`writable_for`]).

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The `spec` of a Lease; what somebody else may have left out is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    /// Who has it; empty: nobody.
    pub(super) holder_identity: Option<String>,
    /// For how long after it last changed.
    pub(super) lease_duration_seconds: Option<u64>,
    /// Since when the holder has it, for people.
    pub(super) acquire_time: Option<Value>,
    /// When the holder last said so, for people and to be a change.
    pub(super) renew_time: Option<Value>,
    /// How often it has changed hands.
    pub(super) lease_transitions: Option<u64>,
}

/// A Lease as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Lease {
    /// Of which its version is what counts.
    pub(super) metadata: Metadata,
    /// Who has it.
    #[serde(default)]
    pub(super) spec: Spec,
}

/// The part of the metadata that we read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    /// Of the state that was read: a write carries it.
    pub(super) resource_version: String,
}

/// For how long after its last renewal a holder of a lease of `duration` may write: two thirds of it. A request that is
/// begun then is over, by its own time-out, when the lease is.
#[must_use]
pub(super) fn writable_for(duration: Duration) -> Duration {
    duration * 2 / 3
}

/// How often the Lease is looked at or renewed: several times while it may still be written under.
#[must_use]
pub(super) fn retry_every(duration: Duration) -> Duration {
    duration * 2 / 15
}

/// What is to be done about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// There is none: make it ours.
    Create(Spec),
    /// It is ours, or free: write this over the version that was read.
    Update(Spec, String),
    /// Somebody has it.
    Wait,
}

/// One of those who want to write.
#[derive(Debug)]
pub(super) struct Candidate {
    me: String,
    duration: Duration,
    /// What was read last, and when that was first seen.
    seen: Option<(Spec, Instant)>,
}

impl Candidate {
    /// Somebody who has not looked yet. `me` is unique in the world.
    #[must_use]
    pub(super) fn new(me: String, duration: Duration) -> Self {
        Self { me, duration, seen: None }
    }

    /// What to do, now that this was read.
    pub(super) fn step(&mut self, lease: Option<Lease>, now: Instant) -> Step {
        let Some(Lease { metadata, spec }) = lease else {
            self.seen = None;
            return Step::Create(self.spec(0, None));
        };
        if self.seen.as_ref().is_none_or(|(old, _)| *old != spec) {
            self.seen = Some((spec.clone(), now));
        }
        let transitions = spec.lease_transitions.unwrap_or(0);
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder == self.me {
            return Step::Update(self.spec(transitions, spec.acquire_time), metadata.resource_version);
        }
        if holder.is_empty() || self.has_run_out(now) {
            return Step::Update(self.spec(transitions + 1, None), metadata.resource_version);
        }
        Step::Wait
    }

    /// Who has it, as far as is known.
    #[must_use]
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.0.holder_identity.as_deref().filter(|h| !h.is_empty())
    }

    /// The Lease given back, over `version`.
    #[must_use]
    pub(super) fn released(&self, spec: &Spec) -> Spec {
        // A second: whoever finds it need not wait, and zero is not allowed.
        Spec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..spec.clone() }
    }

    /// Whether what was seen has not changed for as long as its holder said.
    fn has_run_out(&self, now: Instant) -> bool {
        self.seen.as_ref().is_some_and(|(spec, since)| {
            let said = spec.lease_duration_seconds.map_or(self.duration, Duration::from_secs);
            now.duration_since(*since) >= said
        })
    }

    fn spec(&self, transitions: u64, since: Option<Value>) -> Spec {
        let now = json!(MicroTime(Timestamp::now()));
        Spec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(self.duration.as_secs().max(1)),
            acquire_time: Some(since.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn read(spec: &Spec, version: &str) -> Option<Lease> {
        Some(Lease { metadata: Metadata { resource_version: version.into() }, spec: spec.clone() })
    }

    fn created(step: Step) -> Spec {
        match step {
            Step::Create(spec) | Step::Update(spec, _) => spec,
            Step::Wait => panic!("it waits"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_a_lease_that_is_renewed_whatever_its_clock_says() {
        let (mut a, mut b) = (Candidate::new("a".into(), DURATION), Candidate::new("b".into(), DURATION));
        let mut held = created(a.step(None, Instant::now()));
        for i in 0..20 {
            // The times of the holder's clock are a century off.
            held.renew_time = Some(json!(format!("1926-01-01T00:00:{i:02}.000000Z")));
            assert_eq!(b.step(read(&held, "1"), Instant::now()), Step::Wait);
            tokio::time::advance(DURATION - Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_does_not_change_is_taken_after_its_time_and_not_before() {
        let (mut a, mut b) = (Candidate::new("a".into(), DURATION), Candidate::new("b".into(), DURATION));
        let held = created(a.step(None, Instant::now()));
        assert_eq!(b.step(read(&held, "1"), Instant::now()), Step::Wait);
        tokio::time::advance(DURATION - Duration::from_millis(1)).await;
        assert_eq!(b.step(read(&held, "1"), Instant::now()), Step::Wait);
        tokio::time::advance(Duration::from_millis(1)).await;
        let Step::Update(taken, version) = b.step(read(&held, "1"), Instant::now()) else { panic!("waits") };
        assert_eq!((taken.holder_identity.as_deref(), version.as_str()), (Some("b"), "1"));
        assert_eq!(taken.lease_transitions, Some(1));
        assert_eq!(a.step(read(&taken, "2"), Instant::now()), Step::Wait);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_given_back_is_taken_at_once() {
        let (mut a, mut b) = (Candidate::new("a".into(), DURATION), Candidate::new("b".into(), DURATION));
        let held = created(a.step(None, Instant::now()));
        let free = a.released(&held);
        assert!(matches!(b.step(read(&free, "2"), Instant::now()), Step::Update(..)));
        assert_eq!(b.holder(), None);
    }

    #[test]
    fn a_holder_stops_before_anybody_could_take_over() {
        let request = super::super::client::PATIENCE;
        assert!(writable_for(DURATION) + request <= DURATION);
        assert!(retry_every(DURATION) * 4 < writable_for(DURATION));
    }

    #[tokio::test]
    async fn times_are_written_as_kubernetes_reads_them() {
        let spec = created(Candidate::new("a".into(), DURATION).step(None, Instant::now()));
        let text = spec.renew_time.unwrap();
        let text = text.as_str().unwrap();
        assert!(text.len() == "2026-01-01T00:00:00.000000Z".len() && text.ends_with('Z'), "{text}");
    }
}
