//! What came lately, service by service: a new generation of instances comes before the old one goes, and what goes then is
//! no loss. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::service::ServiceKey;
use crate::model::time::Moment;

/// A deployment that brings the new instances before it takes the old ones is through by then.
const LATELY: Duration = Duration::from_secs(600);

/// Endpoints that came, by service.
#[derive(Debug, Default)]
pub(super) struct Growth {
    grown: BTreeMap<ServiceKey, (usize, Moment)>,
    /// When what is old was last thrown away.
    swept: Moment,
}

impl Growth {
    /// So many endpoints of a service came.
    pub(super) fn came(&mut self, key: &ServiceKey, count: usize, now: Moment) {
        let came = count + self.lately(key, now);
        self.grown.insert(key.clone(), (came, now));
        if now.since(self.swept) >= LATELY {
            self.swept = now;
            self.grown.retain(|_, (_, at)| now.since(*at) < LATELY);
        }
    }

    /// So many of them went: what came is made up for.
    pub(super) fn went(&mut self, key: &ServiceKey, count: usize) {
        if let Some((came, _)) = self.grown.get_mut(key) {
            *came = came.saturating_sub(count);
        }
    }

    /// How many came lately.
    pub(super) fn lately(&self, key: &ServiceKey, now: Moment) -> usize {
        self.grown.get(key).filter(|(_, at)| now.since(*at) < LATELY).map_or(0, |(came, _)| *came)
    }

    /// What came, and when the last did, for the state on disk.
    pub(super) fn image(&self, key: &ServiceKey) -> Option<(usize, Moment)> {
        self.grown.get(key).copied()
    }

    /// As it was saved.
    pub(super) fn restore(&mut self, key: &ServiceKey, came: usize, at: Moment) {
        self.grown.insert(key.clone(), (came, at));
    }

    /// The service is gone.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.grown.remove(key);
    }
}
