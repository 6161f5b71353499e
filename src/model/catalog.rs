//! What all registries know together, and whose every host is. Pure; owned by the pipeline.
//!
//! Objects that a user wrote own their hosts first. Then the order of the configuration decides between registries, and
//! within a registry the key, first in order; a rule of [`Merging`] may order the registries of a host in another way.
//! Every claim is kept, so that a loser steps in when the owner goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::admitted::Admitted;
use crate::model::host::Host;
use crate::model::merging::{Merging, Rule};
use crate::model::object::Object;
use crate::model::service::{ItemKind, RegistryName, Scope, Service, ServiceKey};
use crate::resource::encoded::{ResourceId, ResourceName};

/// What the catalog holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A service, and whether it is taken and which hosts it claims.
    Service(Arc<Service>, Arc<Admitted>),
    /// An object; it claims its own hosts and its own name.
    Object(Arc<Object>),
}

impl Known {
    /// Which item of its registry.
    #[must_use]
    pub fn key(&self) -> &ServiceKey {
        match self {
            Self::Service(s, _) => &s.key,
            Self::Object(o) => &o.key,
        }
    }

    /// The hosts that it claims.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        match self {
            Self::Service(_, admitted) => &admitted.hosts,
            Self::Object(o) => &o.hosts,
        }
    }

    /// How many endpoints it has; objects keep theirs to themselves.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        match self {
            Self::Service(s, _) => s.endpoints.len(),
            Self::Object(_) => 0,
        }
    }

    /// The resource that an object is.
    #[must_use]
    pub fn object_id(&self) -> Option<ResourceId> {
        match self {
            Self::Service(..) => None,
            Self::Object(o) => {
                Some(ResourceId { collection: o.collection, name: ResourceName::new(&o.namespace, &o.name) })
            }
        }
    }
}

/// One step of what a registry says, after naming.
#[derive(Debug)]
pub enum Step {
    /// An item came or changed.
    Put(Known),
    /// An item went.
    Drop(ServiceKey),
    /// All that a scope holds (`None`: all that the registry holds). What is neither here nor in `kept` is gone.
    Reset {
        /// Which part was read.
        scope: Option<Scope>,
        /// What it holds.
        items: Vec<Known>,
        /// Items that are there but could not be read: what is known of them stays.
        kept: BTreeSet<ServiceKey>,
    },
}

/// What has to be looked at again after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Hosts with another owner, or whose owner changed.
    pub hosts: BTreeSet<Host>,
    /// Objects that came, changed or went.
    pub objects: BTreeSet<ResourceId>,
}

impl Touched {
    /// Adds what `other` touched.
    pub fn merge(&mut self, other: Self) {
        self.hosts.extend(other.hosts);
        self.objects.extend(other.objects);
    }

    /// Whether nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.objects.is_empty()
    }
}

/// Who claims something: in the order in which it is granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    kind: ItemKind,
    /// The registry's place in the configuration.
    rank: usize,
    key: ServiceKey,
}

/// Sums that are kept up to date, so that nobody has to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Services that are taken.
    pub services: usize,
    /// Services that are left out.
    pub left_out: usize,
    /// Endpoints of those that are taken.
    pub endpoints: usize,
    /// Objects.
    pub objects: usize,
}

#[derive(Debug, Default)]
struct Holdings {
    items: BTreeMap<ServiceKey, Known>,
    counts: Counts,
}

impl Holdings {
    fn insert(&mut self, known: Known) -> Option<Known> {
        self.count(&known, |n, by| *n += by);
        let old = self.items.insert(known.key().clone(), known);
        if let Some(old) = &old {
            self.count(old, |n, by| *n -= by);
        }
        old
    }

    fn remove(&mut self, key: &ServiceKey) -> Option<Known> {
        let old = self.items.remove(key)?;
        self.count(&old, |n, by| *n -= by);
        Some(old)
    }

    fn count(&mut self, known: &Known, change: impl Fn(&mut usize, usize)) {
        match known {
            Known::Service(_, admitted) if admitted.left_out.is_some() => {
                change(&mut self.counts.left_out, 1)
            }
            Known::Service(service, _) => {
                change(&mut self.counts.services, 1);
                change(&mut self.counts.endpoints, service.endpoints.len());
            }
            Known::Object(_) => change(&mut self.counts.objects, 1),
        }
    }
}

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
                    for key in missing(&holdings, scope.as_ref(), &items, &kept) {
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

/// Gives claims their new ranks; whether another claim is first now. Two registries may call an item the same, so that
/// only rank and key together tell whose it is.
fn rerank(claims: &mut BTreeSet<Claim>, rank_of: impl Fn(usize) -> Option<usize>) -> bool {
    let ranked = |c: Claim| Claim { rank: rank_of(c.rank).unwrap_or(c.rank), ..c };
    let first = claims.first().cloned().map(ranked);
    *claims = std::mem::take(claims).into_iter().map(ranked).collect();
    first.as_ref() != claims.first()
}

fn release<K: Ord>(claims: &mut BTreeMap<K, BTreeSet<Claim>>, of: &K, claim: &Claim) {
    if let Some(set) = claims.get_mut(of) {
        set.remove(claim);
        if set.is_empty() {
            claims.remove(of);
        }
    }
}

/// What a complete read of `scope` does not show any more.
fn missing(
    holdings: &Holdings,
    scope: Option<&Scope>,
    items: &[Known],
    kept: &BTreeSet<ServiceKey>,
) -> Vec<ServiceKey> {
    let here: BTreeSet<&ServiceKey> = items.iter().map(Known::key).collect();
    let read = |key: &&ServiceKey| scope.is_none_or(|s| key.scope == *s);
    let gone = |key: &&ServiceKey| !here.contains(key) && !kept.contains(key);
    holdings.items.keys().filter(read).filter(gone).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
    use crate::model::labels::Labels;
    use crate::resource::collection::Collection;

    fn key(kind: ItemKind, name: &str) -> ServiceKey {
        ServiceKey { kind, name: name.into(), scope: Scope::new("s") }
    }

    fn service(name: &str, endpoints: u8, hosts: &[&str]) -> Known {
        let endpoint =
            |n| Endpoint::at(Address::parse(&format!("10.0.0.{n}")).unwrap(), EndpointPorts::One(80));
        let endpoints = (1..=endpoints).map(endpoint).collect();
        let service = Service { endpoints, ..Service::new(key(ItemKind::Service, name), name) };
        let hosts = hosts.iter().map(|h| Host::parse(h).unwrap()).collect();
        Known::Service(Arc::new(service), Arc::new(Admitted::claiming(hosts)))
    }

    fn object(name: &str, hosts: &[&str]) -> Known {
        Known::Object(Arc::new(Object {
            key: key(ItemKind::Object, name),
            collection: Collection::ServiceEntry,
            namespace: "ns".into(),
            name: name.into(),
            labels: Labels::EMPTY,
            annotations: Labels::EMPTY,
            hosts: hosts.iter().map(|h| Host::parse(h).unwrap()).collect(),
            body: bytes::Bytes::new(),
            origin: "x.yaml:1".into(),
        }))
    }

    fn names(touched: &Touched) -> Vec<&str> {
        touched.hosts.iter().map(Host::as_str).collect()
    }

    fn owner(catalog: &Catalog, host: &str) -> Option<String> {
        let (registry, known) = catalog.owner(&Host::parse(host).unwrap())?;
        Some(format!("{registry}/{}", known.key().name))
    }

    fn reset(items: Vec<Known>) -> Vec<Step> {
        vec![Step::Reset { scope: Some(Scope::new("s")), items, kept: BTreeSet::new() }]
    }

    #[test]
    fn only_what_changed_is_touched() {
        let (mut catalog, r) = (Catalog::default(), RegistryName::new("a"));
        catalog.apply(&r, reset(vec![service("x", 1, &["x.io"]), service("y", 1, &["y.io"])]));
        assert!(catalog.apply(&r, vec![Step::Put(service("x", 1, &["x.io"]))]).is_empty());
        assert_eq!(names(&catalog.apply(&r, vec![Step::Put(service("x", 2, &["x.io"]))])), ["x.io"]);
        let touched = catalog.apply(&r, reset(vec![service("x", 2, &["z.io"])]));
        assert_eq!(names(&touched), ["x.io", "y.io", "z.io"]);
        assert_eq!(catalog.counts(&r), Counts { services: 1, left_out: 0, endpoints: 2, objects: 0 });
        assert_eq!(owner(&catalog, "y.io"), None);
    }

    #[test]
    fn objects_own_first_then_the_order_of_registries_then_of_keys() {
        let (mut catalog, a, b) = (Catalog::default(), RegistryName::new("a"), RegistryName::new("b"));
        catalog.set_order(&[b.clone(), a.clone()]);
        catalog.apply(&a, vec![Step::Put(service("one", 0, &["h.io"]))]);
        catalog.apply(
            &b,
            vec![Step::Put(service("two", 0, &["h.io"])), Step::Put(service("three", 0, &["h.io"]))],
        );
        assert_eq!(owner(&catalog, "h.io").unwrap(), "b/three");
        catalog.apply(&a, vec![Step::Put(object("o", &["h.io"]))]);
        assert_eq!(owner(&catalog, "h.io").unwrap(), "a/o");
        catalog.apply(&a, vec![Step::Drop(key(ItemKind::Object, "o"))]);
        assert_eq!(names(&catalog.set_order(&[a.clone(), b.clone()])), ["h.io"]);
        assert_eq!(owner(&catalog, "h.io").unwrap(), "a/one");
        assert_eq!(names(&catalog.remove(&a)), ["h.io"]);
        assert_eq!(owner(&catalog, "h.io").unwrap(), "b/three");
    }

    #[test]
    fn registries_that_call_an_item_the_same_change_places() {
        let (mut catalog, a, b) = (Catalog::default(), RegistryName::new("a"), RegistryName::new("b"));
        catalog.set_order(&[a.clone(), b.clone()]);
        for (registry, endpoints) in [(&a, 1), (&b, 2)] {
            catalog.apply(registry, vec![Step::Put(service("one", endpoints, &["h.io"]))]);
            catalog.apply(registry, vec![Step::Put(object("o", &["o.io"]))]);
        }
        assert_eq!(owner(&catalog, "h.io").unwrap(), "a/one");
        let touched = catalog.set_order(&[b, a]);
        assert_eq!((names(&touched), touched.objects.len()), (vec!["h.io", "o.io"], 1));
        assert_eq!(owner(&catalog, "h.io").unwrap(), "b/one");
    }

    #[test]
    fn an_object_whose_name_another_one_has_keeps_nobody_from_its_hosts() {
        let (mut catalog, a, b) = (Catalog::default(), RegistryName::new("a"), RegistryName::new("b"));
        catalog.set_order(&[a.clone(), b.clone()]);
        catalog.apply(&a, vec![Step::Put(object("o", &["o.io"])), Step::Put(service("x", 1, &["x.io"]))]);
        catalog.apply(&b, vec![Step::Put(object("o", &["x.io"]))]);
        assert_eq!(owner(&catalog, "x.io").unwrap(), "a/x");
        // When its turn comes it has the host as well.
        let touched = catalog.apply(&a, vec![Step::Drop(key(ItemKind::Object, "o"))]);
        assert_eq!(names(&touched), ["o.io", "x.io"]);
        assert_eq!(owner(&catalog, "x.io").unwrap(), "b/o");
        let touched = catalog.apply(&a, vec![Step::Put(object("o", &["o.io"]))]);
        assert_eq!(names(&touched), ["o.io", "x.io"]);
        assert_eq!(names(&catalog.set_order(&[b, a])), ["o.io", "x.io"]);
    }

    #[test]
    fn an_item_that_cannot_be_read_stays_through_a_reset() {
        let (mut catalog, r) = (Catalog::default(), RegistryName::new("a"));
        catalog.apply(&r, reset(vec![service("x", 1, &["x.io"]), service("y", 1, &["y.io"])]));
        let kept = BTreeSet::from([key(ItemKind::Service, "y")]);
        let step = Step::Reset { scope: Some(Scope::new("s")), items: Vec::new(), kept };
        assert_eq!(names(&catalog.apply(&r, vec![step])), ["x.io"]);
        assert_eq!(owner(&catalog, "y.io").unwrap(), "a/y");
    }

    #[test]
    fn a_scope_is_reset_alone() {
        let (mut catalog, r) = (Catalog::default(), RegistryName::new("a"));
        catalog.apply(&r, reset(vec![service("x", 1, &["x.io"])]));
        let other =
            Step::Reset { scope: Some(Scope::new("other")), items: Vec::new(), kept: BTreeSet::new() };
        assert!(catalog.apply(&r, vec![other]).is_empty());
    }
}
