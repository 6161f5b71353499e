//! What Istio would refuse, rule by rule: istiod itself only logs it, and does not say for which resource.
//!
//! The rules are those of Istio 1.31, which is at least as strict as every older release but for the few that
//! the oldest release served decides. What only warns in Istio is a warning here.

pub mod legacy;
mod metadata;
mod service_entry;
mod text;
mod visibility;
mod workload_entry;

use std::fmt;
use std::str::FromStr;

use prost::Message;

use crate::model::labels::Labels;
use crate::proto::networking::{ServiceEntry, WorkloadEntry};
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;

/// A release of Istio, without its patch. Ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// `1` of `1.9`.
    pub major: u16,
    /// `9` of `1.9`.
    pub minor: u16,
}

impl Release {
    /// `major.minor`.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Not a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no release of Istio: write it as \"1.9\"")]
pub struct ReleaseError(String);

impl FromStr for Release {
    type Err = ReleaseError;

    /// Reads `1.9`; a patch (`1.9.3`) is accepted and dropped.
    fn from_str(s: &str) -> Result<Self, ReleaseError> {
        let wrong = || ReleaseError(s.to_owned());
        let mut parts = s.splitn(3, '.').map(|p| p.parse::<u16>().map_err(|_| wrong()));
        let (Some(major), Some(minor)) = (parts.next(), parts.next()) else { return Err(wrong()) };
        parts.next().transpose()?;
        Ok(Self { major: major?, minor: minor? })
    }
}

/// A rule of Istio's that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The stable name of the rule.
    pub rule: &'static str,
    /// What Istio would say.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)
    }
}

/// What Istio would make of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Any of these, and the resource must not be sent.
    pub refusals: Vec<Violation>,
    /// Istio would take it and warn.
    pub warnings: Vec<Violation>,
}

impl Verdict {
    /// Whether Istio takes the resource.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.refusals.is_empty()
    }

    fn refuse(&mut self, rule: &'static str, message: impl Into<String>) {
        self.refusals.push(Violation { rule, message: message.into() });
    }

    fn warn(&mut self, rule: &'static str, message: impl Into<String>) {
        self.warnings.push(Violation { rule, message: message.into() });
    }
}

/// Istio's verdict on a ServiceEntry in `namespace` with these annotations.
///
/// Istio's rules about absent ports and endpoints (`nil` in its own language) have no case here: such a list cannot
/// be written in our types.
#[must_use]
pub fn service_entry(
    entry: &ServiceEntry,
    namespace: &str,
    annotations: &Labels,
    oldest: Release,
) -> Verdict {
    let mut verdict = Verdict::default();
    metadata::annotations(annotations, &mut verdict);
    service_entry::check(entry, namespace, oldest, &mut verdict);
    verdict
}

/// Istio's verdict on a WorkloadEntry with these annotations.
#[must_use]
pub fn workload_entry(entry: &WorkloadEntry, annotations: &Labels, oldest: Release) -> Verdict {
    let mut verdict = Verdict::default();
    metadata::annotations(annotations, &mut verdict);
    metadata::health_checks(annotations, &mut verdict);
    let parent = workload_entry::Parent::None;
    workload_entry::check(entry, parent, oldest, &mut verdict);
    verdict
}

/// Istio's verdict on an encoded resource: name, labels, annotations and body. The oldest release that any wire serves
/// decides. Of kinds other than ServiceEntry and WorkloadEntry only the metadata are looked at.
#[must_use]
pub fn check(resource: &Encoded, oldest: Release) -> Verdict {
    let (namespace, _) = resource.id.name.parts();
    let annotations = &resource.annotations;
    let mut verdict = match resource.id.collection {
        Collection::ServiceEntry => match ServiceEntry::decode(&*resource.body) {
            Ok(entry) => service_entry(&entry, namespace, annotations, oldest),
            Err(_) => not_a("service entry"),
        },
        Collection::WorkloadEntry => match WorkloadEntry::decode(&*resource.body) {
            Ok(entry) => workload_entry(&entry, annotations, oldest),
            Err(_) => not_a("workload entry"),
        },
        _ => {
            let mut verdict = Verdict::default();
            metadata::annotations(annotations, &mut verdict);
            verdict
        }
    };
    metadata::name(resource.id.name.as_str(), &mut verdict);
    metadata::labels(&resource.labels, &mut verdict);
    verdict
}

fn not_a(kind: &str) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.refuse("body-type", format!("cannot cast to {kind}"));
    verdict
}

#[cfg(test)]
mod tests;
