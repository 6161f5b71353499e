//! A complete read on its way through the guard: what it lacks of what is served, and whether that is too much at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::held::{Proof, Why};
use super::loss::{self, Loss};
use super::{Guard, View, shrinks};
use crate::model::catalog::Known;
use crate::model::change::{Change, Item, Trust};
use crate::model::service::{Scope, ServiceKey};

impl Guard {
    /// What of a complete read passes: what it lacks and what is suspicious of that is put back into it.
    pub(super) fn reset(&mut self, view: &View<'_>, scope: Scope, items: Vec<Item>, trust: Trust) -> Change {
        let losses = self.losses(view, &scope, &items);
        let (general, proof) = match &trust {
            Trust::Doubtful(why) => (Some(Why::Doubt(Arc::clone(why))), Proof::Doubtful),
            Trust::Complete => (self.suspicion(view, &scope, &items, &losses), Proof::Complete),
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
        // Both in the order of their keys, side by side: nearly all of a read is as it was, and is looked at just once.
        let mut here: Vec<&Item> = items.iter().collect();
        here.sort_by_key(|item| item.key());
        let mut here = here.into_iter().peekable();
        let mut losses = Vec::new();
        for served in view.catalog.items(view.registry).filter(|k| k.key().scope == *scope) {
            let mut now = None;
            // Of several with one key the last counts, as in the catalog.
            while let Some(item) = here.next_if(|item| item.key() <= served.key()) {
                now = Some(item).filter(|item| item.key() == served.key());
            }
            if let Some(Item::Service(now)) = now {
                if now.endpoints.len() > served.endpoints() {
                    self.growth.came(&now.key, now.endpoints.len() - served.endpoints(), view.now);
                }
                if !now.endpoints.is_empty() {
                    self.empty.forget(&now.key);
                }
            }
            let held = self.held.contains_key(served.key());
            if matches!(now, Some(Item::Refused(..))) || (!held && loss::is_whole(served, now)) {
                continue;
            }
            let loss = Loss::of(view, served, now, false);
            if held || now.is_none() || !loss.gone.is_empty() {
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
}
