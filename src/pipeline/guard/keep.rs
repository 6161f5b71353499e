//! What is held: how it is noted, and what is served of an item while parts of it are held, let go or gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::held::{Case, HeldItem, Mark, Proof, Why};
use super::loss::{self, Loss, What};
use super::{Guard, News, View};
use crate::model::catalog::Known;
use crate::model::change::{Cause, Change, Item};
use crate::model::service::{Service, ServiceKey};

impl Guard {
    /// Holds what of `loss` is suspicious. What is to be served of a service as long as anything of it is held.
    pub(super) fn settle(
        &mut self,
        view: &View<'_>,
        loss: &Loss,
        proof: Proof,
        why: impl Fn(Option<&Mark>) -> Option<Why>,
    ) -> Option<Arc<Service>> {
        let (key, name) = (loss.key(), loss.name());
        let (frozen, limits) = (view.frozen.holds(view.registry, name), view.policy.limits(name));
        let mut item = HeldItem { name: Arc::clone(name), whole: loss.now.is_none(), ..HeldItem::default() };
        let (before, mut went) = (self.held.get(key), 0);
        let mut fresh: BTreeMap<Why, usize> = BTreeMap::new();
        for gone in &loss.gone {
            let slot = gone.what.slot();
            let before = before.and_then(|b| b.parts.get(&slot)).map(|(_, mark)| mark);
            let (why, now) = (why(before), view.now);
            match (Case { before, said: gone.said, frozen, why, proof, limits, now }).judge() {
                Some(mark) => {
                    if before.is_none() {
                        *fresh.entry(mark.why.clone()).or_default() += 1;
                    }
                    item.parts.insert(slot, (gone.what.clone(), mark));
                }
                None => went += usize::from(before.is_some()),
            }
        }
        for (why, count) in fresh {
            *self.news.entry((News::Held(why), Arc::clone(name))).or_default() += count;
        }
        let kept: Vec<_> = item.parts.values().map(|(what, _)| what.clone()).collect();
        self.hold(view, key, item, went);
        let empties = kept.is_empty() && loss.last;
        match (&loss.now, &loss.served) {
            (Some(now), _) if empties && now.endpoints.is_empty() => self.empty.emptied(key, view.now),
            _ => {}
        }
        let Known::Service(served, _) = &loss.served else { return None };
        (!kept.is_empty()).then(|| with(loss.now.as_ref().unwrap_or(served), loss.now.is_some(), kept))
    }

    /// Notes that of the item `key` just `item` is held; of what was, `went` parts are gone by now and the rest is back.
    pub(super) fn hold(&mut self, view: &View<'_>, key: &ServiceKey, item: HeldItem, went: usize) {
        if !item.parts.is_empty() || self.held.contains_key(key) {
            self.noted.insert(key.clone());
        }
        if let Some(before) = self.held.remove(key) {
            self.held_endpoints -= before.endpoints();
            let stay = before.parts.keys().filter(|slot| item.parts.contains_key(*slot)).count();
            let back = before.parts.len().saturating_sub(stay + went);
            for (news, count) in [(News::Gone, went), (News::Back, back)] {
                if count > 0 {
                    *self.news.entry((news, Arc::clone(&before.name))).or_default() += count;
                }
            }
        }
        if !item.parts.is_empty() {
            self.held_endpoints += item.endpoints();
            self.wake_for(view, &item);
            self.held.insert(key.clone(), item);
        }
    }

    /// Forgets items that are served no more because nobody reads them any more.
    pub fn forget(&mut self, keys: &[ServiceKey]) {
        for key in keys {
            if let Some(item) = self.held.remove(key) {
                self.held_endpoints -= item.endpoints();
                *self.news.entry((News::Gone, Arc::clone(&item.name))).or_default() += item.parts.len();
            }
            self.empty.forget(key);
            self.growth.forget(key);
        }
    }

    pub(super) fn wake_for(&mut self, view: &View<'_>, item: &HeldItem) {
        if view.frozen.holds(view.registry, &item.name) {
            return; // thawing looks at everything
        }
        let limits = view.policy.limits(&item.name);
        let due = item.parts.values().filter_map(|(_, mark)| mark.due(limits)).min();
        self.wake = self.wake.into_iter().chain(due).min();
    }

    /// What becomes of a service that its registry does not name any more and of which nothing is held; `None`: it goes.
    pub(super) fn bury(&mut self, view: &View<'_>, served: &Known) -> Option<Arc<Service>> {
        self.growth.forget(served.key());
        self.noted.insert(served.key().clone());
        let Known::Service(service, admitted) = served else { return None };
        let ttl = view.policy.limits(&service.name).empty_service_ttl;
        let had = !service.endpoints.is_empty();
        let stays = admitted.left_out.is_none() && self.empty.linger(&service.key, had, ttl, view.now);
        stays.then(|| with(service, false, Vec::new()))
    }

    /// What is served of an item from which the parts in `going` are taken, `left` being held still.
    pub(super) fn without(
        &mut self,
        view: &View<'_>,
        key: &ServiceKey,
        left: &HeldItem,
        going: &BTreeMap<loss::Slot, (What, Mark)>,
    ) -> Option<Change> {
        match view.served(key)? {
            Known::Object(_) => Some(Change::Remove(key.clone(), Cause::Vanished)),
            served @ Known::Service(service, _) => {
                if left.whole && left.parts.is_empty() {
                    let empty = self.bury(view, served).map(|e| Change::Upsert(Item::Service(e)));
                    return Some(empty.unwrap_or_else(|| Change::Remove(key.clone(), Cause::Vanished)));
                }
                let mut rest = Service::clone(service);
                rest.endpoints.retain(|e| !going.contains_key(&What::Endpoint(e.clone()).slot()));
                if rest.endpoints.is_empty() {
                    self.empty.emptied(key, view.now);
                }
                Some(Change::Upsert(Item::Service(Arc::new(rest))))
            }
        }
    }
}

/// `service` with `kept` in place of its endpoints, or beside them.
fn with(service: &Arc<Service>, beside: bool, kept: Vec<What>) -> Arc<Service> {
    let mut service = Service::clone(service);
    if !beside {
        service.endpoints.clear();
    }
    service.endpoints.extend(kept.into_iter().filter_map(|what| match what {
        What::Endpoint(e) => Some(e),
        What::Object => None,
    }));
    Arc::new(service)
}
