//! One resource, encoded once for every client and every wire.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use crate::model::labels::Labels;
use crate::model::service::RegistryName;
use crate::resource::collection::Collection;
use crate::resource::legacy::Fitness;

/// What a resource is called within its collection: `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceName(Arc<str>);

impl ResourceName {
    /// Joins namespace and name; neither may hold a slash, which DNS names never do.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// `namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace and the name.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ResourceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One resource among all collections. Orders by collection, then by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// Its kind.
    pub collection: Collection,
    /// Its name.
    pub name: ResourceName,
}

/// A content hash, printed as 32 hex digits: equal on every replica and after a restart, never a clock or a counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Version(pub u128);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A hash of everything in a resource whose change makes istiod push more than endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TopologyHash(pub u64);

/// A resource ready to be sent: immutable, shared by every snapshot and every client.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Which resource.
    pub id: ResourceId,
    /// Its labels, legal and sorted.
    pub labels: Labels,
    /// Its annotations, sorted.
    pub annotations: Labels,
    /// Its spec in protobuf, of the message [`Collection::body_message`].
    pub body: Bytes,
    /// Of labels, annotations and body.
    pub version: Version,
    /// Of what moves more than endpoints.
    pub topology: TopologyHash,
    /// Which Pilots of the legacy protocol take it; follows from its content, so it is no part of the version.
    pub fitness: Fitness,
    /// Who holds it, where its annotations do not say so: of an object that a user wrote. No part of the version.
    holder: Option<RegistryName>,
}

/// The annotation of what we make: which registry knows the service.
pub const REGISTRY: &str = "chandler/registry";

impl Encoded {
    /// Seals a resource: its version follows from its content. Every Pilot takes it, unless [`Encoded::fit`] says otherwise.
    #[must_use]
    pub fn new(
        id: ResourceId,
        labels: Labels,
        annotations: Labels,
        body: Bytes,
        topology: TopologyHash,
    ) -> Self {
        let mut hash = Xxh3Default::new();
        for pairs in [&labels, &annotations] {
            hash.update(&(pairs.len() as u64).to_le_bytes());
            for (k, v) in pairs.iter() {
                feed(&mut hash, k.as_bytes());
                feed(&mut hash, v.as_bytes());
            }
        }
        feed(&mut hash, &body);
        let version = Version(hash.digest128());
        Self { id, labels, annotations, body, version, topology, fitness: Fitness::default(), holder: None }
    }

    /// The same, for these Pilots alone.
    #[must_use]
    pub fn fit(mut self, fitness: Fitness) -> Self {
        self.fitness = fitness;
        self
    }

    /// The same, of an object that `registry` holds.
    #[must_use]
    pub fn held_by(mut self, registry: RegistryName) -> Self {
        self.holder = Some(registry);
        self
    }

    /// The name of the registry that it comes from; `None` only for what no pipeline made.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        self.holder.as_ref().map(RegistryName::as_str).or_else(|| self.annotations.get(REGISTRY))
    }

    /// This resource's share in its collection's version: of name and version, so that a sum of shares is
    /// independent of order and of blocks.
    #[must_use]
    pub fn share(&self) -> u128 {
        let mut hash = Xxh3Default::new();
        feed(&mut hash, self.id.name.as_str().as_bytes());
        hash.update(&self.version.0.to_le_bytes());
        hash.digest128()
    }
}

/// Length first, so that neighbouring fields cannot be mistaken for each other.
fn feed(hash: &mut Xxh3Default, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.id.collection, self.id.name, self.version)
    }
}
