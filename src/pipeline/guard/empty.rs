//! Services whose last endpoint went: they stay, empty, for their time. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::service::ServiceKey;
use crate::model::time::Moment;
use crate::pipeline::image::EmptyImage;

#[derive(Debug, Clone, Copy)]
struct Since {
    at: Moment,
    /// When it goes, if its registry does not name it any more.
    until: Option<Moment>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Empty {
    services: BTreeMap<ServiceKey, Since>,
    due: BTreeSet<(Moment, ServiceKey)>,
}

impl Empty {
    /// Its last endpoint went just now, and its registry still names it.
    pub(super) fn emptied(&mut self, key: &ServiceKey, now: Moment) {
        let at = self.services.get(key).map_or(now, |s| s.at);
        self.forget(key);
        self.services.insert(key.clone(), Since { at, until: None });
    }

    /// It is served again, or gone.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        if let Some(until) = self.services.remove(key).and_then(|s| s.until) {
            self.due.remove(&(until, key.clone()));
        }
    }

    /// Its registry does not name it any more. Whether it stays; `had`: it had endpoints until now.
    pub(super) fn linger(&mut self, key: &ServiceKey, had: bool, ttl: Duration, now: Moment) -> bool {
        let known = self.services.get(key).map(|s| s.at).filter(|_| !had);
        let Some(at) = known.or_else(|| had.then_some(now)) else { return false };
        self.forget(key);
        let until = at.plus(ttl);
        if until <= now {
            return false;
        }
        self.services.insert(key.clone(), Since { at, until: Some(until) });
        self.due.insert((until, key.clone()));
        true
    }

    /// Since when it is empty, for the state on disk.
    pub(super) fn image(&self, key: &ServiceKey) -> Option<EmptyImage> {
        self.services.get(key).map(|since| EmptyImage { at: since.at, until: since.until })
    }

    /// As it was saved.
    pub(super) fn restore(&mut self, key: &ServiceKey, at: Moment, until: Option<Moment>) {
        self.forget(key);
        self.services.insert(key.clone(), Since { at, until });
        self.due.extend(until.map(|until| (until, key.clone())));
    }

    /// Whether it stays although its registry does not name it.
    pub(super) fn is_lingering(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|s| s.until.is_some())
    }

    /// When the next one goes.
    pub(super) fn next(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// One whose time is over.
    pub(super) fn pop(&mut self, now: Moment) -> Option<ServiceKey> {
        let (at, key) = self.due.pop_first()?;
        if at > now {
            self.due.insert((at, key));
            return None;
        }
        self.services.remove(&key);
        Some(key)
    }
}
