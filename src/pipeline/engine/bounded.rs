//! How much of a registry is taken: what is beyond its bounds waits outside, the newest first, and what is served stays.
//! What is refused takes room as what is served does: somebody has to be told of it, so it is kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::bounds::Bounds;
use crate::model::catalog::Known;
use crate::model::change::Item;
use crate::model::service::{RegistryName, Scope, ServiceKey};
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::refusals::Refusal;
use crate::pipeline::reading::Reading;

/// Keys that are remembered of what waits outside: enough to count by, and a bound itself.
const REMEMBERED: usize = 10_000;

/// A registry has begun or ceased to hold more than is taken of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowding {
    /// Which.
    pub registry: RegistryName,
    /// How many of its services and objects wait outside or as they were; 0: none any more.
    pub outside: usize,
    /// What is taken of it.
    pub bounds: Bounds,
}

/// Items and endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) items: usize,
    pub(super) endpoints: usize,
}

impl Load {
    /// With one more item, of so many endpoints.
    fn plus(self, endpoints: usize) -> Self {
        Self { items: self.items + 1, endpoints: self.endpoints + endpoints }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { items: self.items + other.items, endpoints: self.endpoints + other.endpoints }
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_sub(other.items),
            endpoints: self.endpoints.saturating_sub(other.endpoints),
        }
    }

    fn fits(self, bounds: Bounds) -> bool {
        self.items <= bounds.services && self.endpoints <= bounds.endpoints
    }
}

/// What is taken in of a complete read.
pub(super) struct Taken {
    pub(super) items: Vec<Item>,
    /// Known items whose new form is not taken: they stay as they are.
    pub(super) kept: BTreeSet<ServiceKey>,
}

impl Engine {
    /// What is taken of `items`, all that `scope` (`None`: the registry) holds. Known items come before new ones, each kind
    /// by its key, whatever the order in which they arrived.
    pub(super) fn within_bounds(
        &mut self,
        registry: &RegistryName,
        scope: Option<&Scope>,
        mut items: Vec<Item>,
    ) -> Taken {
        let (bounds, mut load) = (self.bounds(registry), self.load_beside(registry, scope));
        let all = items.iter().fold(load, |load, item| load.plus(endpoints(item)));
        let mut taken = Taken { items: Vec::new(), kept: BTreeSet::new() };
        let mut outside: Vec<ServiceKey> = Vec::new();
        if all.fits(bounds) {
            taken.items = items;
        } else {
            let known = |key: &ServiceKey| self.catalog.item(registry, key).map(Known::endpoints);
            items.sort_by_cached_key(|item| (known(item.key()).is_none(), item.key().clone()));
            for item in items {
                let (key, next) = (item.key(), load.plus(endpoints(&item)));
                if next.fits(bounds) {
                    load = next;
                    taken.items.push(item);
                    continue;
                }
                outside.push(key.clone());
                if let Some(served) = known(key) {
                    load = load.plus(served);
                    taken.kept.insert(key.clone());
                }
            }
        }
        self.note_outside(registry, |keys| {
            keys.retain(|key| scope.is_some_and(|s| key.scope != *s));
            let room = REMEMBERED.saturating_sub(keys.len());
            keys.extend(outside.into_iter().take(room));
        });
        taken
    }

    /// Whether `item`, which came or changed, is taken. What does not grow always is.
    pub(super) fn has_room(&mut self, registry: &RegistryName, item: &Item) -> bool {
        let (bounds, load) = (self.bounds(registry), self.load(registry));
        let fits = match self.load_of(registry, item.key()) {
            Some(before) => {
                let after = load.endpoints.saturating_sub(before) + endpoints(item);
                endpoints(item) <= before || after <= bounds.endpoints
            }
            None => load.plus(endpoints(item)).fits(bounds),
        };
        self.note_outside(registry, |keys| {
            if fits {
                keys.remove(item.key());
            } else if keys.len() < REMEMBERED {
                keys.insert(item.key().clone());
            }
        });
        fits
    }

    /// `key` is gone, whether it was taken or waited outside.
    pub(super) fn forget_outside(&mut self, registry: &RegistryName, key: &ServiceKey) {
        self.note_outside(registry, |keys| {
            keys.remove(key);
        });
    }

    /// How many services and objects of `registry` are not taken, or not as they are now, because there are too many; counted
    /// up to ten thousand.
    #[must_use]
    pub fn outside(&self, registry: &RegistryName) -> usize {
        self.outside.get(registry).map_or(0, BTreeSet::len)
    }

    /// Registries that have begun or ceased to hold too much, since the last call.
    pub fn take_crowding(&mut self) -> Vec<Crowding> {
        std::mem::take(&mut self.crowding)
    }

    /// Registries of which something waits outside for which there may be room now: to be read again.
    pub(super) fn to_be_let_in(&self) -> impl Iterator<Item = &RegistryName> {
        self.outside.keys().filter(|registry| {
            let (bounds, load) = (self.bounds(registry), self.load(registry));
            load.items < bounds.services && load.endpoints < bounds.endpoints
        })
    }

    fn note_outside(&mut self, registry: &RegistryName, change: impl FnOnce(&mut BTreeSet<ServiceKey>)) {
        let mut keys = self.outside.remove(registry).unwrap_or_default();
        let before = keys.len();
        change(&mut keys);
        let outside = keys.len();
        if (before == 0) != (outside == 0) {
            let bounds = self.bounds(registry);
            self.crowding.push(Crowding { registry: registry.clone(), outside, bounds });
        }
        if outside > 0 {
            self.outside.insert(registry.clone(), keys);
        }
    }

    fn bounds(&self, registry: &RegistryName) -> Bounds {
        let policy = self.readings.get(registry).and_then(Reading::policy);
        policy.map(|policy| policy.bounds).unwrap_or_default()
    }

    /// What `registry` holds: what is served of it, and what is refused.
    fn load(&self, registry: &RegistryName) -> Load {
        let counts = self.catalog.counts(registry);
        let items = counts.services + counts.left_out + counts.objects;
        Load { items, endpoints: counts.endpoints }.and(self.refused.load(registry))
    }

    /// How many endpoints of that are of `key`; `None`: nothing is known of it.
    fn load_of(&self, registry: &RegistryName, key: &ServiceKey) -> Option<usize> {
        let served = self.catalog.item(registry, key).map(Known::endpoints);
        let refused = self.refused.get(registry, key).map(Refusal::endpoints);
        served.into_iter().chain(refused).reduce(|a, b| a + b)
    }

    /// What `registry` holds beside `scope`.
    fn load_beside(&self, registry: &RegistryName, scope: Option<&Scope>) -> Load {
        let Some(scope) = scope else { return Load::default() };
        let served = self.catalog.items(registry).map(|known| (known.key(), known.endpoints()));
        let refused = self.refused.all().iter().filter(|((of, _), _)| of == registry);
        let refused = refused.map(|((_, key), refusal)| (key, refusal.endpoints()));
        let others = served.chain(refused).filter(|(key, _)| key.scope != *scope);
        others.fold(Load::default(), |load, (_, endpoints)| load.plus(endpoints))
    }
}

/// What waits outside, by registry.
pub(super) type Outside = BTreeMap<RegistryName, BTreeSet<ServiceKey>>;

fn endpoints(item: &Item) -> usize {
    match item {
        Item::Service(service) => service.endpoints.len(),
        Item::Object(_) | Item::Refused(..) => 0,
    }
}
