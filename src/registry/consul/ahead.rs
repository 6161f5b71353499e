//! Watching what has been read while the rest is still being read.
//!
//! A large catalogue takes the server seconds to read out, and as long again to take in a blocking query for each service.
//! If these were asked after the last answer, a change just then would be noticed late. So every service is watched from its
//! own answer on; what moves before all is read is only noted, and read again afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::registry::consul::Shared;
use crate::registry::consul::client::Index;
use crate::registry::consul::scope::ScopeWatch;
use crate::registry::consul::session::queries::{Asking, Done, Lanes, watch};

/// The blocking queries of a scope that is being read.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Absent: services are not watched one by one.
    lanes: Option<Lanes>,
    pub(super) open: FuturesUnordered<Asking>,
    /// Whose query is open.
    pub(super) queries: BTreeMap<Arc<str>, AbortHandle>,
    /// Who has moved, or whose query has failed: to be read again.
    pub(super) stirred: BTreeSet<Arc<str>>,
    /// Whose query has failed.
    pub(super) failed: BTreeSet<Arc<str>>,
}

impl Ahead {
    /// Every service is watched as soon as it is read, on connections of these `lanes`.
    pub(super) fn each(lanes: Lanes) -> Self {
        Self { lanes: Some(lanes), ..Self::default() }
    }

    /// A service was read, in this state.
    pub(super) fn read(&mut self, scope: &ScopeWatch, name: &Arc<str>, index: Option<Index>) {
        let Some(lanes) = self.lanes else { return };
        let (asking, handle) = watch(scope, name, index, lanes.of(name), Duration::ZERO);
        self.open.push(asking);
        self.queries.insert(Arc::clone(name), handle);
    }

    /// Waits until something moves; `None`: nothing is watched so far.
    pub(super) async fn stirs(&mut self, shared: &Shared) -> Option<()> {
        let Done::Service(name, _, page) = self.open.next().await? else { return Some(()) };
        self.queries.remove(&name);
        if let Err(e) = page {
            tracing::debug!("{e}; once more");
            if e.is_too_much() {
                shared.too_many();
            } else {
                self.failed.insert(Arc::clone(&name));
            }
        }
        self.stirred.insert(name);
        Some(())
    }
}
