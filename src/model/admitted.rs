//! What was decided about a service when it was read: whether it is taken, which hosts it claims, what its owner says.
//!
//! The decision is made by the conversion; it lies here because the catalog holds it beside the service, and because the
//! next decision follows from the last one (see `convert::admission`).

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::host::Host;
use crate::model::service::{Says, Service};
use crate::model::time::Moment;

/// A decision about one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The hosts that it claims: sorted, each once. Empty for one that is left out, and only for such.
    pub hosts: Box<[Host]>,
    /// Why it is left out; `None`: it is taken.
    pub left_out: Option<Reason>,
    /// What its owner says in the registry's metadata; absent: nothing that counts.
    pub owner: Option<Box<Owner>>,
    /// Some of this holds although nobody says it any more, because who said it may only be restarting: until then.
    pub until: Option<Moment>,
}

/// What the owner of a service says about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// What goes before the registry's own word.
    pub says: Says,
    /// Hosts that take the place of all others; empty: nothing is said about them.
    pub hosts: Vec<Host>,
    /// What was said and does not count, and why: for people. Sorted and bounded.
    pub ignored: Vec<Arc<str>>,
}

/// Why a service or an instance is left out of the mesh on purpose. The first explains more than the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// `services` drops it.
    Dropped,
    /// `select.exclude` matches.
    Excluded,
    /// `select.include` does not match.
    NotIncluded,
    /// Its owner says so.
    Skipped,
    /// Its owner does not say that it is exposed, and that must be said.
    NotExposed,
}

impl Reason {
    /// In words, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "`services` drops it",
            Self::Excluded => "`select.exclude` matches it",
            Self::NotIncluded => "`select.include` does not match it",
            Self::Skipped => "its owner says `chandler-skip: true`",
            Self::NotExposed => {
                "`select.exposedByDefault` is false and its owner does not say `chandler-skip: false`"
            }
        }
    }
}

impl Admitted {
    /// A service that claims `hosts` and whose owner says nothing.
    #[must_use]
    pub fn claiming(hosts: Vec<Host>) -> Self {
        Self { hosts: hosts.into(), left_out: None, owner: None, until: None }
    }

    /// A service that claims nothing.
    #[must_use]
    pub fn out(reason: Reason) -> Self {
        Self { hosts: Box::default(), left_out: Some(reason), owner: None, until: None }
    }

    /// What holds of `service`: its owner's word where there is one, the registry's else.
    #[must_use]
    pub fn says<'a>(&self, service: &'a Service) -> Cow<'a, Says> {
        let Some(owner) = &self.owner else { return Cow::Borrowed(&service.says) };
        let (first, then) = (&owner.says, &service.says);
        Cow::Owned(Says {
            namespace: then.namespace.clone(),
            protocol: first.protocol.or(then.protocol),
            export_to: first.export_to.clone().or_else(|| then.export_to.clone()),
            location: then.location,
            addresses: first.addresses.or(then.addresses),
            tls_mode: first.tls_mode.or(then.tls_mode),
            service_ports: first.service_ports.clone().or_else(|| then.service_ports.clone()),
            subject_alt_names: then.subject_alt_names.clone(),
        })
    }
}
