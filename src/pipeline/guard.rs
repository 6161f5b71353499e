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
//! | `read` | what a complete read lacks, and whether that is too much |
//! | `loss` | what is gone of an item |
//! | `keep` | what is served while something is held |
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
mod keep;
mod loss;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::empty::Empty;
use self::freeze::Frozen;
use self::growth::Growth;
use self::held::Proof;
use self::loss::Loss;
use crate::convert::admission;
use crate::convert::policy::Policy;
use crate::model::catalog::{Catalog, Known};
use crate::model::change::{Cause, Change, Item};
use crate::model::service::{RegistryName, ServiceKey};
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
}

/// Whether a registry loses too much if `gone` of its endpoints go.
fn shrinks(view: &View<'_>, gone: usize) -> Option<Why> {
    let all = view.catalog.counts(view.registry).endpoints;
    let (limits, limit) = (&view.policy.guard, view.policy.guard.registry_shrink_limit);
    limits.is_too_much(gone, all).then_some(Why::Shrink { gone, all, limit })
}

#[cfg(test)]
mod tests;
