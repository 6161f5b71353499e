//! Which generation of istiod asks over xDS, as far as the answer depends on it: whether resources carry their version.
//!
//! istiod 1.9 to 1.11 refuses every update of a resource that has one; later ones skip resources whose version they
//! know, so they must have it. No istiod says which it is (its node calls every release `65536.65536.65536`), but the
//! set of kinds that it asks for does: `WasmPlugin` came with 1.12, `v1` type URLs with 1.24. An istiod sends all its
//! first requests before it reads a response, so by its first acknowledgement the set is complete.

use crate::resource::collection::Collection;
use crate::resource::snapshot::CollectionSnapshot;
use crate::session::message::{Mode, Request, Target, Versions};

/// What has been found out so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Istiod {
    /// Nothing was asked yet.
    #[default]
    Unmet,
    /// An istiod up to 1.23; which, its further requests will tell.
    Undecided,
    /// Takes versions.
    Versioned,
    /// Cannot live with them.
    Unversioned,
}

impl Istiod {
    pub(super) fn on_request(&mut self, request: &Request) {
        match self {
            Self::Unmet => *self = if is_istiod(request) { Self::Undecided } else { Self::Versioned },
            Self::Undecided if is_newer(request) => *self = Self::Versioned,
            _ => {}
        }
    }

    pub(super) fn on_acknowledgement(&mut self) {
        if *self == Self::Undecided {
            *self = Self::Unversioned;
        }
    }

    /// Whether `content` may go out before more is known: what holds nothing carries no versions either.
    pub(super) fn may_send(self, content: &CollectionSnapshot) -> bool {
        self != Self::Undecided || content.is_empty()
    }

    pub(super) fn versions(self) -> Versions {
        if self == Self::Unversioned { Versions::Withheld } else { Versions::Sent }
    }
}

/// Every stock istiod begins with `MeshConfig`. Whoever begins with something else may never ask for anything empty, so
/// nothing would ever be acknowledged: such a client is not waited for.
fn is_istiod(first: &Request) -> bool {
    let api = first.node.as_ref().is_some_and(|n| n.generator == "api");
    api && first.mode == Mode::Full && first.target == Target::Silent
}

/// 1.12 and newer.
fn is_newer(request: &Request) -> bool {
    match request.target {
        Target::Known(Collection::WasmPlugin) => true,
        Target::Known(Collection::ServiceEntry) => !request.asked.contains("/v1alpha3/"),
        _ => false,
    }
}
