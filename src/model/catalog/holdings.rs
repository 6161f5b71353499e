//! What each registry holds, and sums over it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::catalog::known::Known;
use crate::model::service::{Scope, ServiceKey};

/// Sums that are kept up to date, so that nobody has to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Services that are taken.
    pub services: usize,
    /// Services that are left out.
    pub left_out: usize,
    /// Endpoints of those that are taken.
    pub endpoints: usize,
    /// Objects.
    pub objects: usize,
}

/// What one registry holds.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub(super) items: BTreeMap<ServiceKey, Known>,
    pub(super) counts: Counts,
}

impl Holdings {
    pub(super) fn insert(&mut self, known: Known) -> Option<Known> {
        self.count(&known, |n, by| *n += by);
        let old = self.items.insert(known.key().clone(), known);
        if let Some(old) = &old {
            self.count(old, |n, by| *n -= by);
        }
        old
    }

    pub(super) fn remove(&mut self, key: &ServiceKey) -> Option<Known> {
        let old = self.items.remove(key)?;
        self.count(&old, |n, by| *n -= by);
        Some(old)
    }

    fn count(&mut self, known: &Known, change: impl Fn(&mut usize, usize)) {
        match known {
            Known::Service(_, admitted) if admitted.left_out.is_some() => {
                change(&mut self.counts.left_out, 1)
            }
            Known::Service(service, _) => {
                change(&mut self.counts.services, 1);
                change(&mut self.counts.endpoints, service.endpoints.len());
            }
            Known::Object(_) => change(&mut self.counts.objects, 1),
        }
    }

    /// What a complete read of `scope` does not show any more.
    pub(super) fn missing(
        &self,
        scope: Option<&Scope>,
        items: &[Known],
        kept: &BTreeSet<ServiceKey>,
    ) -> Vec<ServiceKey> {
        let here: BTreeSet<&ServiceKey> = items.iter().map(Known::key).collect();
        let read = |key: &&ServiceKey| scope.is_none_or(|s| key.scope == *s);
        let gone = |key: &&ServiceKey| !here.contains(key) && !kept.contains(key);
        self.items.keys().filter(read).filter(gone).cloned().collect()
    }
}
