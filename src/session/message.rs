//! Requests and responses in the conversation's own words, free of any wire's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, Version};
use crate::resource::snapshot::CollectionSnapshot;

/// What a name that was asked under stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A kind that we know.
    Known(Collection),
    /// Something that we know, and of which nobody will ever have anything: answered empty.
    Empty,
    /// Nothing that we know: answered empty, so that a control plane newer than us can start.
    Unknown,
    /// Never answered at all: `MeshConfig`, which no Istio needs and whose empty answer stops istiod 1.9 to 1.11; or
    /// what a legacy sink says about our trigger.
    Silent,
}

/// How a watch is answered; legacy clients choose per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Every response is the whole state: what is missing is gone.
    #[default]
    Full,
    /// A response says what changed.
    Delta,
}

/// Names one response on one stream. A counter: it identifies, it says nothing about content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub(super) u64);

#[cfg(test)]
impl Nonce {
    /// For tests of who is told of responses.
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a client did not apply a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// A gRPC code.
    pub code: i32,
    /// In the client's words.
    pub message: String,
}

/// What a request says about the resources that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All names that are wanted from now on. Empty: everything, unless names were ever given; `*` is everything.
    Replace(Vec<String>),
    /// Names that come to what is wanted and names that go; `*` is everything. A first request that adds none: everything.
    Change {
        /// These come. Each is told about even if the client should know it.
        subscribe: Vec<String>,
        /// These go.
        unsubscribe: Vec<String>,
    },
}

/// Who asks, as far as it says so itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// What it calls itself; not unique, not proven.
    pub id: String,
    /// `metadata.GENERATOR`: `api` for an istiod.
    pub generator: String,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name that it asks under: a type URL, or a collection's legacy name.
    pub asked: Arc<str>,
    /// What that stands for.
    pub target: Target,
    /// How it wants to be answered.
    pub mode: Mode,
    /// Which response it is about; empty: none. In a first request it means nothing.
    pub nonce: String,
    /// Present: the response was not applied.
    pub refusal: Option<Refusal>,
    /// What it wants.
    pub selection: Selection,
    /// Resources that the client holds already and their versions, in the first request of a delta client.
    pub held: BTreeMap<String, String>,
    /// Who asks; usually in the first request only.
    pub node: Option<Node>,
}

/// Whether resources carry their version on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// They do.
    Sent,
    /// They do not: istiod 1.9 to 1.11 refuses every update of a resource that has one.
    Withheld,
}

/// The resources of a response.
#[derive(Debug, Clone)]
pub enum Content {
    /// The whole collection: its blocks' bytes are shared by all clients.
    Whole(Arc<CollectionSnapshot>),
    /// Some of it, sorted by name; for this client alone.
    Picked(Vec<Arc<Encoded>>),
}

/// One response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The name that was asked under, to be echoed.
    pub asked: Arc<str>,
    /// What that stands for.
    pub target: Target,
    /// Whether it is the whole state or what changed.
    pub mode: Mode,
    /// Names it.
    pub nonce: Nonce,
    /// Of the whole collection, or of what the client selected of it.
    pub version: Version,
    /// Whether each resource carries its own.
    pub versions: Versions,
    /// What is there, or what came and changed.
    pub content: Content,
    /// In delta mode: what went, sorted.
    pub removed: Vec<String>,
    /// How many resources of the collection are kept from this client because its release would refuse them.
    pub left_out: usize,
}
