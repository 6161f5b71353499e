//! The legacy protocol's world: releases of Pilot that speak it, what each asks for, and which of them takes what.
//!
//! Sources: the lists of collections of Pilot 1.1 to 1.8, seen on running ones up to 1.6. The order in which a Pilot asks
//! is random, and it says nowhere which release it is: the set of what it asks for is all there is to tell it by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::proto::networking::ServiceEntry;
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;

/// A release of Pilot that speaks the legacy protocol, by age. 1.0 had no client, 1.9 has none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[allow(missing_docs)] // the names are Istio's releases
pub enum Pilot {
    #[default]
    V1_1,
    V1_2,
    V1_3,
    V1_4,
    V1_5,
    V1_6,
    V1_7,
    V1_8,
}

impl Pilot {
    /// All of them, oldest first.
    pub const ALL: [Self; 8] =
        [Self::V1_1, Self::V1_2, Self::V1_3, Self::V1_4, Self::V1_5, Self::V1_6, Self::V1_7, Self::V1_8];
    /// The last one.
    pub const NEWEST: Self = Self::V1_8;

    /// Its place in tables of [`Pilot::ALL`]'s length.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The collections that it asks for.
    pub fn collections(self) -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(move |row| (row.first..=row.last).contains(&self)).map(|row| row.name)
    }
}

impl fmt::Display for Pilot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.index() + 1)
    }
}

/// Not a release that speaks the legacy protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Istio that speaks the legacy protocol: those are 1.1 to 1.8, written as \"1.6\"")]
pub struct PilotError(String);

impl FromStr for Pilot {
    type Err = PilotError;

    /// Reads `1.4`; a patch (`1.4.10`) is accepted and dropped.
    fn from_str(s: &str) -> Result<Self, PilotError> {
        let of = |p: Self| {
            let rest = s.strip_prefix(&p.to_string())?;
            let patch = rest.strip_prefix('.').map(str::parse::<u16>);
            (rest.is_empty() || matches!(patch, Some(Ok(_)))).then_some(p)
        };
        Self::ALL.into_iter().find_map(of).ok_or_else(|| PilotError(s.to_owned()))
    }
}

/// Which Pilots take a resource. Ordered: what fewer of them take is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Takers {
    /// This release and all newer ones.
    From(Pilot),
    /// None of them.
    Nobody,
}

impl Takers {
    /// All of them.
    pub const ALL: Self = Self::From(Pilot::V1_1);

    /// Whether `pilot` takes the resource.
    #[must_use]
    pub fn include(self, pilot: Pilot) -> bool {
        self <= Self::From(pilot)
    }

    /// Its bit in a [`Needs`].
    const fn bit(self) -> u16 {
        match self {
            Self::From(pilot) => 1 << pilot.index(),
            Self::Nobody => 1 << Pilot::ALL.len(),
        }
    }
}

impl Default for Takers {
    fn default() -> Self {
        Self::ALL
    }
}

/// Which Pilots take a resource, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fitness {
    /// As it is.
    pub as_is: Takers,
    /// With every unset protocol written as TCP; never greater than `as_is`.
    pub as_tcp: Takers,
    /// What makes a Pilot look at the whole of it.
    pub stir: Stir,
}

/// How long after all others it is said to have been created, in nanoseconds: nothing, or something that differs whenever
/// a Pilot must not take a change for one of endpoints alone. What it then tells proxies would be wrong, and the time of
/// creation is the one thing that all of them compare and that means nothing else. Follows from the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stir(u64);

impl Stir {
    /// Its seconds and nanoseconds stay within two weeks.
    const BITS: u32 = 50;

    /// One that differs where `hash` does.
    #[must_use]
    pub const fn of(hash: u64) -> Self {
        Self(hash >> (u64::BITS - Self::BITS))
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }
}

impl Fitness {
    /// The same in every form.
    #[must_use]
    pub const fn of(takers: Takers) -> Self {
        Self { as_is: takers, as_tcp: takers, stir: Stir(0) }
    }

    /// The same, stirred.
    #[must_use]
    pub const fn stirred(self, stir: Stir) -> Self {
        Self { stir, ..self }
    }
}

/// What `pilot` gets for `resource`, if anything.
#[must_use]
pub fn fit_for(resource: &Arc<Encoded>, pilot: Pilot) -> Option<Arc<Encoded>> {
    let Fitness { as_is, as_tcp, .. } = resource.fitness;
    if as_is.include(pilot) {
        Some(Arc::clone(resource))
    } else if as_tcp.include(pilot) {
        opaque(resource).map(Arc::new)
    } else {
        None
    }
}

/// `resource` with every unset protocol written as TCP, sealed anew.
fn opaque(resource: &Encoded) -> Option<Encoded> {
    let mut entry = ServiceEntry::decode(&*resource.body).ok()?;
    for port in entry.ports.iter_mut().filter(|p| p.protocol.is_empty()) {
        port.protocol = "TCP".into();
    }
    let (labels, annotations) = (resource.labels.clone(), resource.annotations.clone());
    let (body, topology) = (Bytes::from(entry.encode_to_vec()), resource.topology);
    let sealed = Encoded::new(resource.id.clone(), labels, annotations, body, topology);
    Some(sealed.fit(Fitness::of(resource.fitness.as_tcp).stirred(resource.fitness.stir)))
}

/// The [`Takers`] that occur among many resources: tells without a look at them whether two Pilots get the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs(u16);

impl Needs {
    /// Everything that occurs in either.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `pilot` takes all of them.
    #[must_use]
    pub const fn all_fit(self, pilot: Pilot) -> bool {
        self.0 < 1 << (pilot.index() + 1)
    }

    /// The oldest Pilot that gets what `pilot` gets.
    #[must_use]
    pub fn oldest_like(self, pilot: Pilot) -> Pilot {
        let newer = Pilot::ALL.into_iter().filter(|p| *p <= pilot);
        newer.rev().find(|p| self.0 & Takers::From(*p).bit() != 0).unwrap_or_default()
    }
}

impl From<Fitness> for Needs {
    fn from(fitness: Fitness) -> Self {
        Self(fitness.as_is.bit() | fitness.as_tcp.bit())
    }
}

impl FromIterator<Fitness> for Needs {
    fn from_iter<I: IntoIterator<Item = Fitness>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| sum.with(one.into()))
    }
}

/// A collection that some Pilot asks for.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// What we may have for it; `None`: a kind that nobody feeds and nobody misses.
    collection: Option<Collection>,
    /// The releases that ask for it.
    first: Pilot,
    last: Pilot,
}

const fn row(name: &'static str, collection: Option<Collection>, first: Pilot, last: Pilot) -> Row {
    Row { name, collection, first, last }
}

/// What `subscribedResources: [SERVICE_REGISTRY]` makes Pilot 1.4 and 1.5 ask for, on a stream of its own.
///
/// Answered empty on purpose. It is for what a registry of Kubernetes would know: whoever feeds it has to say in
/// annotations what changed, 1.4 ignores removals (services that are gone would be called for ever), and everything
/// would be there twice, since the same Pilot asks for ServiceEntries as well. Empty, nothing is ever lost in it: 1.5
/// becomes ready, and 1.4 does not, which whoever sets it up sees at once; see [`is_synthetic`].
const SYNTHETIC: &str = "istio/networking/v1alpha3/synthetic/serviceentries";

/// Every collection that any Pilot asks for.
#[rustfmt::skip]
const TABLE: [Row; 22] = [
    row("istio/networking/v1alpha3/virtualservices", Some(Collection::VirtualService), Pilot::V1_1, Pilot::V1_8),
    row("istio/networking/v1alpha3/gateways", Some(Collection::Gateway), Pilot::V1_1, Pilot::V1_8),
    row("istio/networking/v1alpha3/serviceentries", Some(Collection::ServiceEntry), Pilot::V1_1, Pilot::V1_8),
    row("istio/networking/v1alpha3/destinationrules", Some(Collection::DestinationRule), Pilot::V1_1, Pilot::V1_8),
    row("istio/networking/v1alpha3/envoyfilters", Some(Collection::EnvoyFilter), Pilot::V1_1, Pilot::V1_8),
    row("istio/networking/v1alpha3/sidecars", Some(Collection::Sidecar), Pilot::V1_1, Pilot::V1_8),
    row("istio/networking/v1alpha3/workloadentries", Some(Collection::WorkloadEntry), Pilot::V1_6, Pilot::V1_8),
    row("istio/networking/v1alpha3/workloadgroups", Some(Collection::WorkloadGroup), Pilot::V1_8, Pilot::V1_8),
    row("istio/config/v1alpha2/httpapispecs", None, Pilot::V1_1, Pilot::V1_7),
    row("istio/config/v1alpha2/httpapispecbindings", None, Pilot::V1_1, Pilot::V1_7),
    row("istio/mixer/v1/config/client/quotaspecs", None, Pilot::V1_1, Pilot::V1_7),
    row("istio/mixer/v1/config/client/quotaspecbindings", None, Pilot::V1_1, Pilot::V1_7),
    row("istio/authentication/v1alpha1/policies", None, Pilot::V1_1, Pilot::V1_5),
    row("istio/authentication/v1alpha1/meshpolicies", None, Pilot::V1_1, Pilot::V1_5),
    row("istio/rbac/v1alpha1/serviceroles", None, Pilot::V1_1, Pilot::V1_6),
    row("istio/rbac/v1alpha1/servicerolebindings", None, Pilot::V1_1, Pilot::V1_6),
    row("istio/rbac/v1alpha1/rbacconfigs", None, Pilot::V1_1, Pilot::V1_6),
    row("istio/rbac/v1alpha1/clusterrbacconfigs", None, Pilot::V1_1, Pilot::V1_6),
    row("istio/rbac/v1alpha1/authorizationpolicies", None, Pilot::V1_2, Pilot::V1_2),
    row("istio/security/v1beta1/authorizationpolicies", Some(Collection::AuthorizationPolicy), Pilot::V1_4, Pilot::V1_8),
    row("istio/security/v1beta1/peerauthentications", Some(Collection::PeerAuthentication), Pilot::V1_5, Pilot::V1_8),
    row("istio/security/v1beta1/requestauthentications", Some(Collection::RequestAuthentication), Pilot::V1_5, Pilot::V1_8),
];

/// What a legacy name stands for; `None`: nothing that any Pilot asks for. `Some(None)`: known, and always empty.
#[must_use]
pub fn of_name(name: &str) -> Option<Option<Collection>> {
    let known = TABLE.iter().find(|row| row.name == name).map(|row| row.collection);
    known.or_else(|| is_synthetic(name).then_some(None))
}

/// The name under which Pilots ask for `collection`; `None`: none does.
#[must_use]
pub fn name_of(collection: Collection) -> Option<&'static str> {
    TABLE.iter().find(|row| row.collection == Some(collection)).map(|row| row.name)
}

/// The oldest release that asks for `name`; `None`: none does.
#[must_use]
pub fn oldest_that_asks(name: &str) -> Option<Pilot> {
    TABLE.iter().find(|row| row.name == name).map(|row| row.first)
}

/// Whether `name` is what Pilot 1.4 and 1.5 ask for with `SERVICE_REGISTRY`: with it, 1.4 does not become ready here.
#[must_use]
pub fn is_synthetic(name: &str) -> bool {
    name == SYNTHETIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_asks_for_as_many_collections_as_were_seen() {
        let seen = [16, 17, 16, 17, 19, 18, 14, 11];
        for (pilot, count) in Pilot::ALL.into_iter().zip(seen) {
            assert_eq!(pilot.collections().count(), count, "{pilot}");
        }
    }

    #[test]
    fn a_release_is_told_by_the_newest_collection_that_it_asks_for() {
        let told = |p: Pilot| p.collections().filter_map(oldest_that_asks).max().unwrap();
        use Pilot::{V1_1, V1_2, V1_4, V1_5, V1_6, V1_8};
        // 1.3 asks for what 1.1 asks for, and 1.7 for less than 1.6: they are taken for the older ones.
        let want = [V1_1, V1_2, V1_1, V1_4, V1_5, V1_6, V1_6, V1_8];
        assert_eq!(Pilot::ALL.map(told), want);
    }

    #[test]
    fn releases_are_read_with_and_without_their_patch() {
        for (text, want) in [("1.1", Some(Pilot::V1_1)), ("1.8.6", Some(Pilot::V1_8))] {
            assert_eq!(text.parse().ok(), want, "{text}");
        }
        for wrong in ["1.0", "1.9", "1.10", "1.", "1.4.", "1.4.x", "v1.4", "1.4.1.1", ""] {
            assert!(wrong.parse::<Pilot>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn equal_views_are_told_from_what_occurs() {
        let needs: Needs = [Takers::ALL, Takers::From(Pilot::V1_5)].map(Fitness::of).into_iter().collect();
        assert!(needs.all_fit(Pilot::V1_5) && !needs.all_fit(Pilot::V1_4));
        assert_eq!(needs.oldest_like(Pilot::V1_8), Pilot::V1_5);
        assert_eq!(needs.oldest_like(Pilot::V1_4), Pilot::V1_1);
        let needs = needs.with(Fitness::of(Takers::Nobody).into());
        assert!(!needs.all_fit(Pilot::NEWEST) && !Takers::Nobody.include(Pilot::NEWEST));
        assert!(Needs::default().all_fit(Pilot::V1_1));
    }

    #[test]
    fn every_collection_has_one_legacy_name_at_most() {
        for collection in Collection::all() {
            let names = TABLE.iter().filter(|row| row.collection == Some(collection)).count();
            assert!(names <= 1, "{collection}");
        }
        assert_eq!(name_of(Collection::ServiceEntry), Some("istio/networking/v1alpha3/serviceentries"));
    }
}
