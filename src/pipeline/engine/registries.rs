//! Which registries there are, and what another configuration or the clock changes about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::catalog::{Known, Step};
use crate::model::change::Item;
use crate::model::host::Host;
use crate::model::service::RegistryName;
use crate::model::time::Moment;
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::admit::Before;
use crate::pipeline::reading::{Novelty, Reading};

impl Engine {
    pub(super) fn look_at_the_clock(&mut self, now: Moment) {
        let late =
            self.readings.iter_mut().filter_map(|(name, r)| r.is_newly_overdue(now).then(|| name.clone()));
        let late: Vec<RegistryName> = late.collect();
        if !late.is_empty() {
            self.overdue.extend(late);
            self.drop_removed();
        }
    }

    pub(super) fn set_registries(&mut self, now: Moment) {
        let (mut fresh, mut other) = (BTreeSet::new(), Vec::new());
        for settings in &self.settings.registries {
            let name = &settings.name;
            let novelty = match self.readings.get_mut(name) {
                Some(reading) => reading.configure(settings, now),
                None => {
                    self.readings.insert(name.clone(), Reading::new(settings, now));
                    Novelty::Reading
                }
            };
            match novelty {
                Novelty::Nothing => {}
                Novelty::Policy => other.push(name.clone()),
                Novelty::Reading => drop(fresh.insert(name.clone())),
            }
        }
        other.iter().for_each(|name| self.readmit(name));
        let order: Vec<_> = self.settings.registries.iter().map(|r| r.name.clone()).collect();
        self.leaving.retain(|name, _| !order.contains(name));
        for name in self.readings.keys().filter(|name| !order.contains(name)) {
            // A rename is a removal and an addition, so what goes waits for what the same reload brought.
            self.leaving.entry(name.clone()).or_insert_with(|| fresh.clone());
        }
        let mut touched = self.catalog.set_order(&order);
        touched.merge(self.catalog.set_merging(self.settings.merging.clone()));
        self.touch(touched);
        self.drop_removed();
    }

    /// Looks at all that `registry` holds, or would hold were it not refused, by its new policy.
    pub(super) fn readmit(&mut self, registry: &RegistryName) {
        let waits = self.refused.all().iter().filter(|((of, _), _)| of == registry);
        let waits: BTreeMap<_, _> =
            waits.filter_map(|((_, k), r)| Some((k.clone(), r.service.clone()?))).collect();
        let known = self.catalog.items(registry).filter_map(|known| match known {
            Known::Service(service, _) if !waits.contains_key(&service.key) => Some(Arc::clone(service)),
            Known::Service(..) | Known::Object(_) => None,
        });
        let services: Vec<_> = known.chain(waits.values().cloned()).collect();
        let steps = services.into_iter().filter_map(|service| {
            self.admit(registry, Item::Service(service), Before::Other).ok().map(Step::Put)
        });
        let steps = steps.collect();
        let mut touched = self.catalog.apply(registry, steps);
        touched.hosts.extend(self.hosts_of(registry));
        self.touch(touched);
    }

    /// All hosts that `registry` claims: another mapping shows in services that are as they were.
    pub(super) fn hosts_of(&self, registry: &RegistryName) -> impl Iterator<Item = Host> {
        self.catalog.items(registry).flat_map(Known::hosts).cloned()
    }

    /// Removed registries go once those that came with their removal have been read, or are gone themselves.
    pub(super) fn drop_removed(&mut self) {
        let due = |r: &Reading| !r.is_current() && !r.is_given_up();
        let unread = |name: &&RegistryName| self.readings.get(name).is_some_and(due);
        let waits = |for_whom: &BTreeSet<RegistryName>| for_whom.iter().any(|name| unread(&name));
        let gone: Vec<_> =
            self.leaving.iter().filter(|(_, w)| !waits(w)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.leaving.remove(&name);
            self.readings.remove(&name);
            self.guards.remove(&name);
            self.outside.remove(&name);
            self.refused.retain(&name, |_| false);
            let touched = self.catalog.remove(&name);
            self.touch(touched);
        }
    }
}
