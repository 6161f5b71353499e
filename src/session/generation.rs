//! Who asks, as far as the answer depends on it: the generations of Istio do not take the same, and none says which it
//! is. Both wires tell it from what is asked for.

use std::sync::Arc;

use crate::resource::legacy::{self, Pilot};
use crate::resource::snapshot::CollectionSnapshot;
use crate::session::istiod::Istiod;
use crate::session::message::{Request, Versions};

/// What has been found out so far.
#[derive(Debug)]
pub(super) enum Generation {
    /// Over xDS.
    Xds(Istiod),
    /// Over the legacy protocol.
    Legacy(Release),
}

/// The oldest Pilot that asks for all that was asked for, or the one that the configuration names if that is newer.
///
/// A Pilot sends all its first requests, in random order, before it reads a response. So its first acknowledgement says
/// that they have been read here; until then only what is the same for all releases goes out, lest a service be taken
/// away from a newer Pilot that comes back and given again a moment later. A client that has nothing to acknowledge is
/// taken at its word after a while ([`Release::waited`]), with the strictest reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    oldest: Pilot,
    settled: bool,
}

impl Default for Generation {
    fn default() -> Self {
        Self::Xds(Istiod::default())
    }
}

impl Generation {
    pub(super) fn legacy(oldest: Pilot) -> Self {
        Self::Legacy(Release { oldest, settled: false })
    }

    pub(super) fn is_legacy(&self) -> bool {
        matches!(self, Self::Legacy(_))
    }

    pub(super) fn on_request(&mut self, request: &Request) {
        match self {
            Self::Xds(istiod) => istiod.on_request(request),
            Self::Legacy(release) => {
                let told = legacy::oldest_that_asks(&request.asked);
                release.oldest = told.map_or(release.oldest, |told| told.max(release.oldest));
            }
        }
    }

    pub(super) fn on_acknowledgement(&mut self) {
        match self {
            Self::Xds(istiod) => istiod.on_acknowledgement(),
            Self::Legacy(release) => release.settled = true,
        }
    }

    /// Nothing more is waited for.
    pub(super) fn waited(&mut self) {
        if let Self::Legacy(release) = self {
            release.settled = true;
        }
    }

    /// What the client may be given of `content`; `None`: that depends on what it will ask for yet.
    pub(super) fn view(&self, content: &Arc<CollectionSnapshot>) -> Option<Arc<CollectionSnapshot>> {
        match self {
            Self::Xds(istiod) => istiod.may_send(content).then(|| Arc::clone(content)),
            Self::Legacy(release) => {
                let view = content.fit_for(release.oldest);
                let same = release.settled || Arc::ptr_eq(&view, &content.fit_for(Pilot::NEWEST));
                same.then_some(view)
            }
        }
    }

    pub(super) fn versions(&self) -> Versions {
        match self {
            Self::Xds(istiod) => istiod.versions(),
            Self::Legacy(_) => Versions::Sent,
        }
    }
}
