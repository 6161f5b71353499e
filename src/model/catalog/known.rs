//! What goes into a catalog, and what comes out: items, steps, and what they touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::admitted::Admitted;
use crate::model::host::Host;
use crate::model::object::Object;
use crate::model::service::{Scope, Service, ServiceKey};
use crate::resource::encoded::{ResourceId, ResourceName};

/// What the catalog holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A service, and whether it is taken and which hosts it claims.
    Service(Arc<Service>, Arc<Admitted>),
    /// An object; it claims its own hosts and its own name.
    Object(Arc<Object>),
}

impl Known {
    /// Which item of its registry.
    #[must_use]
    pub fn key(&self) -> &ServiceKey {
        match self {
            Self::Service(s, _) => &s.key,
            Self::Object(o) => &o.key,
        }
    }

    /// The hosts that it claims.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        match self {
            Self::Service(_, admitted) => &admitted.hosts,
            Self::Object(o) => &o.hosts,
        }
    }

    /// How many endpoints it has; objects keep theirs to themselves.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        match self {
            Self::Service(s, _) => s.endpoints.len(),
            Self::Object(_) => 0,
        }
    }

    /// The resource that an object is.
    #[must_use]
    pub fn object_id(&self) -> Option<ResourceId> {
        match self {
            Self::Service(..) => None,
            Self::Object(o) => {
                Some(ResourceId { collection: o.collection, name: ResourceName::new(&o.namespace, &o.name) })
            }
        }
    }
}

/// One step of what a registry says, after naming.
#[derive(Debug)]
pub enum Step {
    /// An item came or changed.
    Put(Known),
    /// An item went.
    Drop(ServiceKey),
    /// All that a scope holds (`None`: all that the registry holds). What is neither here nor in `kept` is gone.
    Reset {
        /// Which part was read.
        scope: Option<Scope>,
        /// What it holds.
        items: Vec<Known>,
        /// Items that are there but could not be read: what is known of them stays.
        kept: BTreeSet<ServiceKey>,
    },
}

/// What has to be looked at again after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Hosts with another owner, or whose owner changed.
    pub hosts: BTreeSet<Host>,
    /// Objects that came, changed or went.
    pub objects: BTreeSet<ResourceId>,
}

impl Touched {
    /// Adds what `other` touched.
    pub fn merge(&mut self, other: Self) {
        self.hosts.extend(other.hosts);
        self.objects.extend(other.objects);
    }

    /// Whether nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.objects.is_empty()
    }
}
