//! Whether what a registry says is to be believed: a pure function of what is served, what it says, and time.
//!
//! What comes or changes passes at once, and so does what the registry itself says is gone. Silent absence is held where it
//! is too much at once: what a read lacks that is not believed, a scope of which nothing is left, more of a registry than
//! its limit, the last endpoint of a service. What is held stays served as it was, until further reads have agreed and some
//! time has passed ([`held`]), a person lets it go, or it comes back. A service whose last endpoint went stays, empty, for
//! its time ([`empty`]).
//!
//! A word about one service (`Upsert`) that lacks some of its endpoints is a scale-down or a rolling deployment: only the
//! last is held. How much a complete read lacks is counted less what came in its place, at once or in the last minutes:
//! a new generation of instances takes over from the old one without being held up.
//!
//! | module | what |
//! | --- | --- |
//! | `loss` | what is gone of an item |
//! | `held` | why it is held, and what lets it go |
//! | `growth` | what came lately, against which what goes is counted |
//! | `empty` | services that are empty |
//! | `freeze` | what a person has frozen |
//! | `image` | what of all that is saved |

mod empty;
pub mod freeze;
mod growth;
mod held;
mod image;
mod loss;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::empty::Empty;
use self::freeze::Frozen;
use self::growth::Growth;
use self::held::{Case, Proof};
use self::loss::Loss;
use crate::convert::admission;
use crate::convert::policy::Policy;
use crate::model::catalog::{Catalog, Known};
use crate::model::change::{Cause, Change, Item, Trust};
use crate::model::service::{RegistryName, Scope, Service, ServiceKey};
use crate::model::time::Moment;

pub use self::held::{HeldItem, Mark, Why};
pub use self::loss::What;

/// What the guard of one registry looks at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The registry.
    pub registry: &'a RegistryName,
    /// What is served, what is held included.
    pub catalog: &'a Catalog,
    /// What is taken of the registry, and how much it may lose.
    pub policy: &'a Policy,
    /// What a person has frozen.
    pub frozen: &'a Frozen,
    /// The time.
    pub now: Moment,
}

impl<'a> View<'a> {
    fn served(&self, key: &ServiceKey) -> Option<&'a Known> {
        self.catalog.item(self.registry, key)
    }
}

/// What people should hear of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// It is held from now on, for this reason.
    Held(Why),
    /// It was held and is gone now.
    Gone,
    /// It was held and is back.
    Back,
}

/// The guard of one registry.
#[derive(Debug, Default)]
pub struct Guard {
    held: BTreeMap<ServiceKey, HeldItem>,
    held_endpoints: usize,
    /// Before this, nothing that is held goes by time alone.
    wake: Option<Moment>,
    empty: Empty,
    growth: Growth,
    /// News by item, the number of endpoints (or objects) with each.
    news: BTreeMap<(News, Arc<str>), usize>,
    /// Items of which something else is known than at the last [`Guard::take_noted`].
    noted: BTreeSet<ServiceKey>,
}

impl Guard {
    /// Whether the items that `changes` say vanished are too many to go at once.
    #[must_use]
    pub fn weigh(view: &View<'_>, changes: &[Change]) -> Option<Why> {
        let vanished = changes.iter().filter_map(|change| match change {
            Change::Remove(key, Cause::Vanished) => view.served(key),
            _ => None,
        });
        let gone = vanished.map(|served| Loss::of(view, served, None, false).silent_endpoints()).sum();
        shrinks(view, gone)
    }

    /// What of `change` passes; `None`: nothing. `vanishing`: what [`Guard::weigh`] says of its batch.
    pub fn pass(&mut self, view: &View<'_>, change: Change, vanishing: Option<&Why>) -> Option<Change> {
        match change {
            Change::Upsert(item) => Some(Change::Upsert(self.upsert(view, item))),
            Change::Remove(key, cause) => self.remove(view, key, cause, vanishing),
            Change::Reset { scope, items, trust } => Some(self.reset(view, scope, items, trust)),
        }
    }

    /// What is to change because time has passed.
    pub fn due(&mut self, view: &View<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(key) = self.empty.pop(view.now) {
            changes.push(Change::Remove(key, Cause::Deleted));
        }
        if self.wake.is_some_and(|at| at <= view.now) {
            changes.extend(self.let_go(view, |item, mark| {
                let limits = view.policy.limits(&item.name);
                let frozen = view.frozen.holds(view.registry, &item.name);
                !frozen && mark.due(limits).is_some_and(|at| at <= view.now)
            }));
        }
        changes
    }

    /// When time alone changes something next.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.wake.into_iter().chain(self.empty.next()).min()
    }

    /// Lets go what a person wants gone.
    pub fn let_go(&mut self, view: &View<'_>, wanted: impl Fn(&HeldItem, &Mark) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let keys: Vec<ServiceKey> = self.held.keys().cloned().collect();
        self.wake = None;
        for key in keys {
            let Some(mut item) = self.held.remove(&key) else { continue };
            let mut going = std::mem::take(&mut item.parts);
            item.parts = going.extract_if(.., |_, (_, mark)| !wanted(&item, mark)).collect();
            for (what, _) in going.values() {
                self.held_endpoints -= usize::from(*what != What::Object);
                *self.news.entry((News::Gone, Arc::clone(&item.name))).or_default() += 1;
            }
            self.wake_for(view, &item);
            if !going.is_empty() {
                self.noted.insert(key.clone());
                changes.extend(self.without(view, &key, &item, &going));
            }
            if !item.parts.is_empty() {
                self.held.insert(key, item);
            }
        }
        changes
    }

    /// Lets go what only a person's word kept, where that does not hold any more.
    pub fn thaw(&mut self, view: &View<'_>) -> Vec<Change> {
        self.let_go(view, |item, mark| {
            mark.why == Why::Frozen && !view.frozen.holds(view.registry, &item.name)
        })
    }

    /// All that is held, in order.
    pub fn held(&self) -> impl Iterator<Item = (&ServiceKey, &HeldItem)> {
        self.held.iter()
    }

    /// How many endpoints are held.
    #[must_use]
    pub fn held_endpoints(&self) -> usize {
        self.held_endpoints
    }

    /// Whether the service is empty and its registry does not name it: any other that claims its host goes before it.
    #[must_use]
    pub fn is_lingering(&self, key: &ServiceKey) -> bool {
        self.empty.is_lingering(key)
    }

    /// How often the registry should be read while anything is held; `None`: nothing is.
    #[must_use]
    pub fn read_again(&self, policy: &Policy) -> Option<Duration> {
        (!self.held.is_empty()).then(|| policy.guard.read_again_after())
    }

    /// What people should hear of since the last call: by item, with the number of endpoints.
    pub fn take_news(&mut self) -> BTreeMap<(News, Arc<str>), usize> {
        std::mem::take(&mut self.news)
    }

    fn upsert(&mut self, view: &View<'_>, item: Item) -> Item {
        let Item::Service(now) = &item else {
            if let Item::Object(object) = &item {
                self.hold(view, &object.key, HeldItem::default(), 0);
            }
            return item;
        };
        let Some(served) = view.served(&now.key) else { return item };
        let (had, has) = (served.endpoints(), now.endpoints.len());
        if has > had {
            self.growth.came(&now.key, has - had, view.now);
        }
        let serves = now.endpoints.iter().any(|e| admission::takes(now, e, view.policy));
        if serves && view.frozen.is_empty() && !self.held.contains_key(&now.key) {
            self.growth.went(&now.key, had.saturating_sub(has));
            self.empty.forget(&now.key);
            return item;
        }
        let loss = Loss::of(view, served, Some(&item), false);
        let holds = loss.last && view.policy.limits(loss.name()).empty_service_hold;
        let serves = self.settle(view, &loss, Proof::Word, |before| match before.map(|m| &m.why) {
            _ if holds => Some(Why::Last),
            Some(why @ (Why::Doubt(_) | Why::Scope(_) | Why::Shrink { .. })) => Some(why.clone()),
            Some(Why::Last | Why::Frozen) | None => None,
        });
        serves.map_or(item, Item::Service)
    }

    fn remove(
        &mut self,
        view: &View<'_>,
        key: ServiceKey,
        cause: Cause,
        vanishing: Option<&Why>,
    ) -> Option<Change> {
        let Some(served) = view.served(&key) else { return Some(Change::Remove(key, cause)) };
        let loss = Loss::of(view, served, None, cause != Cause::Vanished);
        let holds = loss.last && view.policy.limits(loss.name()).empty_service_hold;
        let why = vanishing.cloned().or_else(|| holds.then_some(Why::Last));
        let kept = self.settle(view, &loss, Proof::Word, |_| why.clone());
        if let Some(service) = kept {
            return Some(Change::Upsert(Item::Service(service)));
        }
        if self.held.contains_key(&key) {
            return None; // the object stays
        }
        let stays = cause != Cause::Deleted;
        match self.bury(view, served).filter(|_| stays) {
            Some(empty) => Some(Change::Upsert(Item::Service(empty))),
            None => {
                self.empty.forget(&key);
                Some(Change::Remove(key, cause))
            }
        }
    }

    fn reset(&mut self, view: &View<'_>, scope: Scope, items: Vec<Item>, trust: Trust) -> Change {
        let losses = self.losses(view, &scope, &items);
        let (general, proof) = match &trust {
            Trust::Doubtful(why) => (Some(Why::Doubt(Arc::clone(why))), Proof::Doubtful),
            Trust::Complete | Trust::Restored => {
                (self.suspicion(view, &scope, &items, &losses), Proof::Complete)
            }
        };
        let mut other: BTreeMap<ServiceKey, Item> = BTreeMap::new();
        for loss in &losses {
            let holds = loss.last && view.policy.limits(loss.name()).empty_service_hold;
            let why = general.clone().or_else(|| holds.then_some(Why::Last));
            let kept = self.settle(view, loss, proof, |_| why.clone());
            if kept.is_none() {
                self.growth.went(loss.key(), loss.silent_endpoints());
            }
            let item = match (kept, &loss.served) {
                (Some(service), _) => Some(Item::Service(service)),
                (None, Known::Object(object)) if self.held.contains_key(loss.key()) => {
                    Some(Item::Object(Arc::clone(object)))
                }
                (None, served) if loss.now.is_none() => self.bury(view, served).map(Item::Service),
                (None, _) => None,
            };
            other.extend(item.map(|item| (loss.key().clone(), item)));
        }
        let mut items: Vec<Item> =
            items.into_iter().map(|item| other.remove(item.key()).unwrap_or(item)).collect();
        items.extend(other.into_values());
        // What is not believed about what it lacks is believed about what it shows.
        Change::Reset { scope, items, trust }
    }

    /// What a read of `scope` lacks, or shows again. Notes what grew.
    fn losses(&mut self, view: &View<'_>, scope: &Scope, items: &[Item]) -> Vec<Loss> {
        let here: BTreeMap<&ServiceKey, &Item> = items.iter().map(|i| (i.key(), i)).collect();
        let mut losses = Vec::new();
        for served in view.catalog.items(view.registry).filter(|k| k.key().scope == *scope) {
            let now = here.get(served.key()).copied();
            if let Some(Item::Service(now)) = now {
                if now.endpoints.len() > served.endpoints() {
                    self.growth.came(&now.key, now.endpoints.len() - served.endpoints(), view.now);
                }
                if !now.endpoints.is_empty() {
                    self.empty.forget(&now.key);
                }
            }
            let refused = matches!(now, Some(Item::Refused(..)));
            let loss = Loss::of(view, served, now, false);
            let matters = !loss.gone.is_empty() || now.is_none() || self.held.contains_key(loss.key());
            if matters && !refused {
                losses.push(loss);
            }
        }
        losses
    }

    /// Why a complete read that lacks `losses` is not to be followed at once.
    fn suspicion(&mut self, view: &View<'_>, scope: &Scope, items: &[Item], losses: &[Loss]) -> Option<Why> {
        let is_left = |item: &Item| match item {
            Item::Service(s) => !s.endpoints.is_empty(),
            Item::Object(_) => true,
            Item::Refused(..) => true,
        };
        if losses.iter().any(Loss::is_silent) && !items.iter().any(is_left) {
            return Some(Why::Scope(scope.as_str().into()));
        }
        let net = |loss: &Loss| {
            let lately = self.growth.lately(loss.key(), view.now);
            loss.silent_endpoints().saturating_sub(loss.came.max(lately))
        };
        shrinks(view, losses.iter().map(net).sum())
    }

    /// Holds what of `loss` is suspicious. What is to be served of a service as long as anything of it is held.
    fn settle(
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
    fn hold(&mut self, view: &View<'_>, key: &ServiceKey, item: HeldItem, went: usize) {
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

    fn wake_for(&mut self, view: &View<'_>, item: &HeldItem) {
        if view.frozen.holds(view.registry, &item.name) {
            return; // thawing looks at everything
        }
        let limits = view.policy.limits(&item.name);
        let due = item.parts.values().filter_map(|(_, mark)| mark.due(limits)).min();
        self.wake = self.wake.into_iter().chain(due).min();
    }

    /// What becomes of a service that its registry does not name any more and of which nothing is held; `None`: it goes.
    fn bury(&mut self, view: &View<'_>, served: &Known) -> Option<Arc<Service>> {
        self.growth.forget(served.key());
        self.noted.insert(served.key().clone());
        let Known::Service(service, admitted) = served else { return None };
        let ttl = view.policy.limits(&service.name).empty_service_ttl;
        let had = !service.endpoints.is_empty();
        let stays = admitted.left_out.is_none() && self.empty.linger(&service.key, had, ttl, view.now);
        stays.then(|| with(service, false, Vec::new()))
    }

    /// What is served of an item from which the parts in `going` are taken, `left` being held still.
    fn without(
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

/// Whether a registry loses too much if `gone` of its endpoints go.
fn shrinks(view: &View<'_>, gone: usize) -> Option<Why> {
    let all = view.catalog.counts(view.registry).endpoints;
    let (limits, limit) = (&view.policy.guard, view.policy.guard.registry_shrink_limit);
    limits.is_too_much(gone, all).then_some(Why::Shrink { gone, all, limit })
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

#[cfg(test)]
mod tests;
