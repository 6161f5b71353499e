//! What all registries know together, and whose every host is. Pure; owned by the pipeline.
//!
//! Objects that a user wrote own their hosts first. Then the order of the configuration decides between registries, and
//! within a registry the key, first in order; a rule of [`Merging`] may order the registries of a host in another way.
//! Every claim is kept, so that a loser steps in when the owner goes.

mod claims;
mod holdings;
mod known;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::claims::{Claim, release, rerank};
pub use self::holdings::Counts;
use self::holdings::Holdings;
pub use self::known::{Known, Step, Touched};
use crate::model::host::Host;
use crate::model::merging::{Merging, Rule};
use crate::model::object::Object;
use crate::model::service::{RegistryName, ServiceKey};
use crate::resource::encoded::ResourceId;

/// Everything that is known, and who owns what.
#[derive(Debug, Default)]
pub struct Catalog {
    order: Vec<RegistryName>,
    merging: Merging,
    holdings: BTreeMap<RegistryName, Holdings>,
    hosts: BTreeMap<Host, BTreeSet<Claim>>,
    objects: BTreeMap<ResourceId, BTreeSet<Claim>>,
    /// Items that came, changed or went since the last [`Catalog::take_noted`]; absent: nobody wants to know.
    noted: Option<BTreeSet<(RegistryName, ServiceKey)>>,
}

impl Catalog {
    /// From now on items that come, change or go are noted for [`Catalog::take_noted`].
    pub fn note_changes(&mut self) {
        self.noted.get_or_insert_default();
    }

    /// Items that came, changed or went since the last call.
    pub fn take_noted(&mut self) -> BTreeSet<(RegistryName, ServiceKey)> {
        self.noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether [`Catalog::take_noted`] has anything.
    #[must_use]
    pub fn has_noted(&self) -> bool {
        self.noted.as_ref().is_some_and(|noted| !noted.is_empty())
    }

    fn note(&mut self, rank: usize, key: &ServiceKey) {
        if let (Some(noted), Some(registry)) = (&mut self.noted, self.order.get(rank)) {
            noted.insert((registry.clone(), key.clone()));
        }
    }

    /// Sets the order of precedence. Registries that are missing from `order` keep what they hold, behind the others.
    pub fn set_order(&mut self, order: &[RegistryName]) -> Touched {
        let mut next = order.to_vec();
        next.extend(self.holdings.keys().filter(|r| !order.contains(r)).cloned());
        if next == self.order {
            return Touched::default();
        }
        let rank_of = |rank: usize| self.order.get(rank).and_then(|name| next.iter().position(|n| n == name));
        let mut touched = Touched::default();
        for (host, claims) in &mut self.hosts {
            if rerank(claims, rank_of) {
                touched.hosts.insert(host.clone());
            }
        }
        for (id, claims) in &mut self.objects {
            if rerank(claims, rank_of) {
                touched.objects.insert(id.clone());
            }
        }
        self.order = next;
        self.touch_namesakes(&mut touched);
        touched
    }

    /// Sets how registries share hosts. Every host that several services claim is to be looked at again.
    pub fn set_merging(&mut self, merging: Merging) -> Touched {
        if merging == self.merging {
            return Touched::default();
        }
        self.merging = merging;
        let contested = self.hosts.iter().filter(|(_, claims)| claims.len() > 1);
        Touched { hosts: contested.map(|(host, _)| host.clone()).collect(), objects: BTreeSet::new() }
    }

    /// The rule by which registries share `host`; `None`: the order of the configuration decides.
    #[must_use]
    pub fn rule(&self, host: &Host) -> Option<&Rule> {
        self.merging.rule(host)
    }

    /// Forgets all that `registry` holds.
    pub fn remove(&mut self, registry: &RegistryName) -> Touched {
        let gone = Step::Reset { scope: None, items: Vec::new(), kept: BTreeSet::new() };
        let touched = self.apply(registry, vec![gone]);
        self.holdings.remove(registry);
        touched
    }

    /// Merges what `registry` says; cost in proportion to what is said.
    pub fn apply(&mut self, registry: &RegistryName, steps: Vec<Step>) -> Touched {
        let rank = self.rank(registry);
        let mut holdings = self.holdings.remove(registry).unwrap_or_default();
        let mut touched = Touched::default();
        for step in steps {
            match step {
                Step::Put(known) => self.put(&mut holdings, rank, known, &mut touched),
                Step::Drop(key) => self.drop_item(&mut holdings, rank, &key, &mut touched),
                Step::Reset { scope, items, kept } => {
                    for key in holdings.missing(scope.as_ref(), &items, &kept) {
                        self.drop_item(&mut holdings, rank, &key, &mut touched);
                    }
                    for known in items {
                        self.put(&mut holdings, rank, known, &mut touched);
                    }
                }
            }
        }
        self.holdings.insert(registry.clone(), holdings);
        self.touch_namesakes(&mut touched);
        touched
    }

    /// The item that a host belongs to, and its registry.
    #[must_use]
    pub fn owner(&self, host: &Host) -> Option<(&RegistryName, &Known)> {
        self.claims(host).next()
    }

    /// All that claim a host, in the order in which it is granted. An object that is not served, because another one has
    /// its name, claims nothing.
    pub fn claims(&self, host: &Host) -> impl Iterator<Item = (&RegistryName, &Known)> {
        self.in_order(host).into_iter().filter_map(|claim| {
            let (registry, known) = self.resolve(claim)?;
            let served = known.object_id().is_none_or(|id| self.first(&id) == Some(claim));
            served.then_some((registry, known))
        })
    }

    /// The claims to `host` in the order that its rule gives them. Objects stay before services.
    fn in_order(&self, host: &Host) -> Vec<&Claim> {
        let mut claims: Vec<&Claim> = self.hosts.get(host).into_iter().flatten().collect();
        if claims.len() > 1
            && let Some(rule) = self.rule(host)
        {
            let place = |claim: &Claim| self.order.get(claim.rank).and_then(|registry| rule.place(registry));
            claims.sort_by_key(|claim| (claim.kind, place(claim).unwrap_or(usize::MAX)));
        }
        claims
    }

    /// The hosts that more than one item claims, in order.
    pub fn contested(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|(_, claims)| claims.len() > 1).map(|(host, _)| host)
    }

    /// The object that is served as `id`, and its registry.
    #[must_use]
    pub fn object(&self, id: &ResourceId) -> Option<(&RegistryName, &Arc<Object>)> {
        match self.resolve(self.first(id)?)? {
            (registry, Known::Object(o)) => Some((registry, o)),
            _ => None,
        }
    }

    /// What `registry` holds under `key`.
    #[must_use]
    pub fn item(&self, registry: &RegistryName, key: &ServiceKey) -> Option<&Known> {
        self.holdings.get(registry)?.items.get(key)
    }

    /// All that `registry` holds, in order.
    pub fn items(&self, registry: &RegistryName) -> impl Iterator<Item = &Known> {
        self.holdings.get(registry).into_iter().flat_map(|h| h.items.values())
    }

    /// How much `registry` holds.
    #[must_use]
    pub fn counts(&self, registry: &RegistryName) -> Counts {
        self.holdings.get(registry).map(|h| h.counts).unwrap_or_default()
    }

    /// Everything there is, for when a setting changes that touches all.
    #[must_use]
    pub fn everything(&self) -> Touched {
        Touched {
            hosts: self.hosts.keys().cloned().collect(),
            objects: self.objects.keys().cloned().collect(),
        }
    }

    fn rank(&mut self, registry: &RegistryName) -> usize {
        self.order.iter().position(|n| n == registry).unwrap_or_else(|| {
            self.order.push(registry.clone());
            self.order.len() - 1
        })
    }

    fn first(&self, id: &ResourceId) -> Option<&Claim> {
        self.objects.get(id)?.first()
    }

    /// Whoever claims the name of a touched object may have won or lost its hosts with it.
    fn touch_namesakes(&self, touched: &mut Touched) {
        let claims = touched.objects.iter().filter_map(|id| self.objects.get(id)).flatten();
        let known = claims.filter_map(|claim| self.resolve(claim));
        touched.hosts.extend(known.flat_map(|(_, known)| known.hosts()).cloned());
    }

    fn resolve(&self, claim: &Claim) -> Option<(&RegistryName, &Known)> {
        let registry = self.order.get(claim.rank)?;
        Some((registry, self.item(registry, &claim.key)?))
    }

    fn put(&mut self, holdings: &mut Holdings, rank: usize, known: Known, touched: &mut Touched) {
        let key = known.key().clone();
        if holdings.items.get(&key) == Some(&known) {
            return;
        }
        self.note(rank, &key);
        if let Some(old) = holdings.remove(&key) {
            self.unclaim(rank, &old, touched);
        }
        let claim = Claim { kind: key.kind, rank, key };
        for host in known.hosts() {
            self.hosts.entry(host.clone()).or_default().insert(claim.clone());
            touched.hosts.insert(host.clone());
        }
        if let Some(id) = known.object_id() {
            self.objects.entry(id.clone()).or_default().insert(claim);
            touched.objects.insert(id);
        }
        holdings.insert(known);
    }

    fn drop_item(&mut self, holdings: &mut Holdings, rank: usize, key: &ServiceKey, touched: &mut Touched) {
        if let Some(old) = holdings.remove(key) {
            self.note(rank, key);
            self.unclaim(rank, &old, touched);
        }
    }

    fn unclaim(&mut self, rank: usize, old: &Known, touched: &mut Touched) {
        let claim = Claim { kind: old.key().kind, rank, key: old.key().clone() };
        for host in old.hosts() {
            release(&mut self.hosts, host, &claim);
            touched.hosts.insert(host.clone());
        }
        if let Some(id) = old.object_id() {
            release(&mut self.objects, &id, &claim);
            touched.objects.insert(id);
        }
    }
}
