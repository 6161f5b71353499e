//! The first complete read of a registry: of a new one all there is, of a reconfigured one what takes the place of its last
//! state.
//!
//! Whoever changes a registry's settings means to change what is read, so that a service may go without being held. But
//! settings that lose nearly everything (an address that leads to an empty server) are as suspicious as a registry that
//! forgets: then the guard looks at each scope that is read before and after. A scope that is read no more goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::convert::admission;
use crate::model::catalog::{Known, Step, Touched};
use crate::model::change::{Change, Item, Trust};
use crate::model::endpoint::Address;
use crate::model::service::{RegistryName, Scope, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::admit::Before;
use crate::pipeline::reading::Reading;

impl Engine {
    /// `items` are all that `registry` holds, and what is known of it from before is out of date.
    pub(super) fn succeed(&mut self, registry: &RegistryName, items: Vec<Item>, now: Moment) {
        if self.is_suspicious(registry, &items) {
            self.succeed_guarded(registry, items, now);
        } else {
            self.forget_guard(registry);
            let taken = self.within_bounds(registry, None, items);
            let (items, mut kept) = self.sort_out(registry, taken.items, Before::Other);
            kept.extend(taken.kept);
            self.retain_refused(registry, |key| kept.contains(key));
            let mut touched = self.catalog.apply(registry, vec![Step::Reset { scope: None, items, kept }]);
            touched.hosts.extend(self.hosts_of(registry));
            self.touch(touched);
        }
        self.read.push(registry.clone());
        self.drop_removed();
    }

    fn succeed_guarded(&mut self, registry: &RegistryName, items: Vec<Item>, now: Moment) {
        let settings = self.settings.registries.iter().find(|r| r.name == *registry);
        let scopes = settings.map(|r| r.scopes.clone()).unwrap_or_default();
        let mut read: BTreeMap<Scope, Vec<Item>> =
            scopes.into_iter().map(|scope| (scope, Vec::new())).collect();
        for item in items {
            read.entry(item.key().scope.clone()).or_default().push(item);
        }
        let elsewhere =
            self.catalog.items(registry).map(Known::key).filter(|key| !read.contains_key(&key.scope));
        let elsewhere: Vec<ServiceKey> = elsewhere.cloned().collect();
        self.retain_refused(registry, |key| read.contains_key(&key.scope));
        self.with_guard(registry, |engine, guard, _| {
            guard.forget(&elsewhere);
            engine.catalog.apply(registry, elsewhere.into_iter().map(Step::Drop).collect())
        });
        let reset = |(scope, items)| Change::Reset { scope, items, trust: Trust::Complete };
        self.change(registry, read.into_iter().map(reset).collect(), now);
        // By whatever mapping they appeared until now.
        let mut touched = Touched::default();
        touched.hosts.extend(self.hosts_of(registry));
        self.touch(touched);
    }

    /// Whether too much of what is served would be gone if `items` were all, less what came in its place. An instance is the
    /// same by the name of its service and its address: other settings may change everything else about it.
    fn is_suspicious(&self, registry: &RegistryName, items: &[Item]) -> bool {
        let Some(policy) = self.readings.get(registry).and_then(Reading::policy) else { return false };
        if self.frozen.touches(registry) {
            return true;
        }
        let mut here: BTreeSet<(&Arc<str>, &Address)> = BTreeSet::new();
        for item in items {
            match item {
                Item::Service(service) => {
                    here.extend(service.endpoints.iter().map(|e| (&service.name, &e.address)));
                }
                Item::Object(_) | Item::Refused(..) => {}
            }
        }
        let (came, mut gone, mut all) = (here.len(), 0_usize, 0_usize);
        let mut stayed = 0;
        for known in self.catalog.items(registry) {
            let Known::Service(service, admitted) = known else { continue };
            if admitted.left_out.is_some() {
                continue;
            }
            for endpoint in service.endpoints.iter().filter(|e| admission::takes(service, e, policy)) {
                all += 1;
                let stays = here.contains(&(&service.name, &endpoint.address));
                (stayed, gone) = (stayed + usize::from(stays), gone + usize::from(!stays));
            }
        }
        let in_their_place = came.saturating_sub(stayed);
        policy.guard.is_too_much(gone.saturating_sub(in_their_place), all)
    }
}
