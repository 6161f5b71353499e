//! What the API server has: of each object as much as is needed to tell whether it is as we want it.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::Deserialize;

use super::digest::{Digest, Spec};
use super::object::{Key, Kind, Owner, Wanted};
use crate::model::labels::Labels;

/// An object as the API server shows it. Fields that are not ours are not read.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    /// Who it is.
    pub(super) metadata: Metadata,
    /// What it says; absent where it says nothing.
    #[serde(default)]
    pub(super) spec: Spec,
}

/// The part of an object's metadata that we read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    /// Its name.
    pub(super) name: String,
    /// Its namespace.
    pub(super) namespace: String,
    uid: String,
    /// Of this state of it.
    pub(super) resource_version: String,
    deletion_timestamp: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
}

/// An object as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observed {
    /// Of this one object, and of no other that may have its name later.
    pub(super) uid: Arc<str>,
    revision: Revision,
    /// Of its spec.
    digest: Digest,
    labels: Labels,
    annotations: Labels,
    /// From which registry, if it is ours.
    registry: Option<Arc<str>>,
    /// It is going and waits for somebody.
    pub(super) leaving: bool,
    /// Whether it selects its endpoints.
    pub(super) selecting: bool,
    /// It is as the API server made it when exactly this was applied: fields of others in it are not ours to remove.
    settled: Option<Box<Applied>>,
}

/// What was applied, where it does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    digest: Digest,
    labels: Labels,
    annotations: Labels,
}

/// Which of two states of an object is the newer one. What is no number cannot be compared, and what came last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Revision(Option<u64>);

impl Revision {
    fn of(version: &str) -> Self {
        Self(version.parse().ok())
    }

    fn is_older_than(self, other: Self) -> bool {
        matches!((self.0, other.0), (Some(a), Some(b)) if a.cmp(&b) == Ordering::Less)
    }
}

impl Observed {
    /// What there is to know of `shown`, and whose it is.
    #[must_use]
    pub(super) fn of(shown: Shown, owner: &Owner) -> Self {
        let Shown { metadata, spec } = shown;
        let labels: Labels = metadata.labels.into_iter().collect();
        Self {
            uid: metadata.uid.into(),
            revision: Revision::of(&metadata.resource_version),
            digest: spec.digest,
            registry: owner.registry(&labels),
            labels,
            annotations: metadata.annotations.into_iter().filter(|(k, _)| is_read(k)).collect(),
            leaving: metadata.deletion_timestamp.is_some(),
            selecting: spec.selecting,
            settled: None,
        }
    }

    /// From which registry it comes; `None`: it is not ours, and never touched.
    #[must_use]
    pub(super) fn registry(&self) -> Option<&Arc<str>> {
        self.registry.as_ref()
    }

    /// Who wrote it, if not we.
    #[must_use]
    pub(super) fn stranger(&self) -> Option<String> {
        self.registry.is_none().then(|| Owner::of_others(&self.labels))
    }

    /// Whether writing `wanted` would change nothing.
    #[must_use]
    pub(super) fn is(&self, wanted: &Wanted) -> bool {
        self.shows(wanted)
            || self.settled.as_ref().is_some_and(|applied| {
                applied.digest == wanted.digest
                    && applied.labels == wanted.labels
                    && applied.annotations == wanted.annotations
            })
    }

    fn shows(&self, wanted: &Wanted) -> bool {
        let has =
            |mine: &Labels, all: &Labels| mine == all || mine.iter().all(|(k, v)| all.get(k) == Some(v));
        self.digest == wanted.digest
            && has(&wanted.labels, &self.labels)
            && has(&wanted.annotations, &self.annotations)
    }

    /// It came out of an apply of `wanted`.
    #[must_use]
    pub(super) fn settled_by(mut self, wanted: &Wanted) -> Self {
        let Wanted { digest, labels, annotations, .. } = wanted;
        let applied =
            || Applied { digest: *digest, labels: labels.clone(), annotations: annotations.clone() };
        self.settled = (!self.shows(wanted)).then(|| Box::new(applied()));
        self
    }

    /// The same, with the texts that `wanted` has as well kept once.
    pub(super) fn share_with(&mut self, wanted: &Wanted, owner: &Owner) {
        if self.labels == wanted.labels {
            self.labels.clone_from(&wanted.labels);
            self.registry = owner.registry(&self.labels);
        }
        if self.annotations == wanted.annotations {
            self.annotations.clone_from(&wanted.annotations);
        }
    }

    /// Whether this is the state of the object `uid` that has this resource version.
    #[must_use]
    pub(super) fn is_at(&self, uid: &str, version: &str) -> bool {
        *self.uid == *uid && self.revision.0.is_some() && self.revision == Revision::of(version)
    }

    /// Whether `newer` is really that: answers and watches overtake each other.
    #[must_use]
    pub(super) fn is_overtaken_by(&self, newer: &Self) -> bool {
        self.uid != newer.uid || !newer.revision.is_older_than(self.revision)
    }

    /// `newer`, with what is known of this one as far as that holds.
    #[must_use]
    pub(super) fn replaced_by(&self, mut newer: Self) -> Self {
        let same = self.digest == newer.digest
            && self.labels == newer.labels
            && self.annotations == newer.annotations;
        if same && newer.settled.is_none() {
            newer.settled.clone_from(&self.settled);
        }
        newer
    }
}

/// Ours and what objects of users bring; kubectl's copy of the whole object is neither compared nor kept.
fn is_read(annotation: &str) -> bool {
    annotation != "kubectl.kubernetes.io/last-applied-configuration"
}

/// The key of what the API server shows of `kind`.
#[must_use]
pub(super) fn key(kind: Kind, metadata: &Metadata) -> Key {
    Key { kind, namespace: metadata.namespace.as_str().into(), name: metadata.name.as_str().into() }
}
