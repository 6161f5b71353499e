//! What a registry may say: the only input language of the pipeline.

use std::sync::Arc;

use crate::model::object::Object;
use crate::model::service::{Scope, Service, ServiceKey};

/// One thing that a registry holds. Shared: the catalog keeps what the adapter sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// To be converted.
    Service(Arc<Service>),
    /// To be served as it is.
    Object(Arc<Object>),
    /// It is there, but what it says makes no sense: whatever was known of it stays, and the reason is shown.
    Refused(ServiceKey, Arc<str>),
}

impl Item {
    /// Which item of its registry.
    #[must_use]
    pub fn key(&self) -> &ServiceKey {
        match self {
            Self::Service(s) => &s.key,
            Self::Object(o) => &o.key,
            Self::Refused(key, _) => key,
        }
    }
}

/// Whether a complete read is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Everything that the scope holds, proven.
    Complete,
    /// It looks complete and should not be believed: restarted empty, thinned by lost rights. Says why, for a person.
    Doubtful(Arc<str>),
}

/// Why an item went, as the registry itself said it. Only [`Cause::Vanished`] is suspicious.
///
/// What is missing in a `Reset`, or in the `Upsert` of a service, is silent too, unless the service's `left_out` names it
/// or a `Remove` with another cause stands before the `Upsert` in the same batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Whoever writes the service took the service itself out, not one of its instances: nothing of it stays.
    Deleted,
    /// Its owner took its last instance out: the service stays, empty, for its time.
    Deregistered,
    /// Its checks fail, or it is in maintenance.
    Unhealthy,
    /// Its lease ran out.
    Expired,
    /// It is not there any more, and nobody said why.
    Vanished,
}

/// One step of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Everything that `scope` holds: what is missing is gone. Never sent for a partial read.
    Reset {
        /// What was read.
        scope: Scope,
        /// All of it.
        items: Vec<Item>,
        /// Whether it is to be believed.
        trust: Trust,
    },
    /// An item came or changed.
    Upsert(Item),
    /// An item went.
    Remove(ServiceKey, Cause),
}

/// Changes that are applied together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch(pub Vec<Change>);
