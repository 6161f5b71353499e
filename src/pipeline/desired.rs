//! What should be served for every host and every object, against what is: touched ones are converted, and what comes
//! out different waits for its lane. What is refused keeps its last good resource.

mod image;
mod shared;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::mapping::Mapping;
use crate::convert::memory::Memory;
use crate::convert::object;
use crate::convert::policy::Policy;
use crate::convert::select::Select;
use crate::convert::service_entry::Converted;
use crate::convert::validate::Release;
use crate::convert::vip::{Exhausted, VirtualAddresses};
use crate::model::admitted::Admitted;
use crate::model::catalog::{Catalog, Known, Touched};
use crate::model::host::Host;
use crate::model::merging::Mode;
use crate::model::object::Object;
use crate::model::service::{Addresses, RegistryName, Service};
use crate::model::time::Moment;
use crate::pipeline::debounce::Lane;
use crate::pipeline::desired::shared::Made;
pub use crate::pipeline::desired::shared::Sharer;
pub use crate::pipeline::desired::state::HostState;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId};
use crate::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};

/// What holds for every conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The oldest release that is served: decides what is refused.
    pub oldest: Release,
}

/// A service that claims a host, and how it would appear.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its registry.
    pub registry: &'a RegistryName,
    /// How it appears.
    pub mapping: &'a Mapping,
    /// Which of its instances are taken.
    pub select: &'a Select,
    /// The service.
    pub service: &'a Arc<Service>,
    /// What was decided about it.
    pub admitted: &'a Arc<Admitted>,
    /// How long a port stays after the last instance that had it.
    pub empty_service_ttl: Duration,
}

/// All that claim a host, in the order in which it is granted, and how they share it.
#[derive(Debug)]
pub struct Claimants<'a> {
    /// Never empty.
    pub candidates: Vec<Candidate<'a>>,
    /// How many of them, from the first on, share the host; at least one.
    pub sharing: usize,
    /// How.
    pub mode: Mode,
}

/// A registry and its own name of a service. (The service's key may change with a file's name.)
type Owner = (RegistryName, Arc<str>);

impl Candidate<'_> {
    fn is(&self, (registry, name): &Owner) -> bool {
        registry == self.registry && *name == self.service.name
    }

    fn owner(&self) -> Owner {
        (self.registry.clone(), Arc::clone(&self.service.name))
    }
}

/// A verdict that a person should hear of once.
#[derive(Debug)]
pub struct Verdict {
    /// The registry that knows the item.
    pub registry: RegistryName,
    /// The registry's own name of the item.
    pub item: Arc<str>,
    /// The host that is concerned; absent: the whole item.
    pub host: Option<Host>,
    /// Why it is refused; `None`: it no longer is.
    pub refused: Option<Arc<str>>,
}

/// The state of every host, and the changes that wait.
#[derive(Debug)]
pub struct Desired {
    terms: Terms,
    addresses: VirtualAddresses,
    hosts: BTreeMap<Host, HostState>,
    expiries: BTreeSet<(Moment, Host)>,
    refused: BTreeSet<(RegistryName, Host)>,
    /// Addresses that stay although their instance has left, and for which hosts.
    left: BTreeMap<IpAddr, BTreeSet<Host>>,
    pending: BTreeMap<ResourceId, (Lane, Option<Arc<Encoded>>)>,
}

impl Desired {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(terms: Terms, addresses: VirtualAddresses) -> Self {
        let (hosts, expiries, refused, left, pending) = Default::default();
        Self { terms, addresses, hosts, expiries, refused, left, pending }
    }

    /// Other terms or other addresses; the caller touches everything afterwards.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// The virtual addresses that are given out.
    #[must_use]
    pub fn addresses(&self) -> &VirtualAddresses {
        &self.addresses
    }

    /// The virtual addresses, to reconfigure.
    pub fn addresses_mut(&mut self) -> &mut VirtualAddresses {
        &mut self.addresses
    }

    /// What became of `host`.
    #[must_use]
    pub fn host_state(&self, host: &Host) -> Option<&HostState> {
        self.hosts.get(host)
    }

    /// The hosts that are refused, with the registry that owns them.
    #[must_use]
    pub fn refused(&self) -> &BTreeSet<(RegistryName, Host)> {
        &self.refused
    }

    /// Gives addresses to those of `hosts` that need one, as one batch, so that replicas agree. The others give theirs
    /// back first.
    pub fn allocate(
        &mut self,
        hosts: &BTreeSet<Host>,
        catalog: &Catalog,
        policy_of: impl Fn(&RegistryName) -> Option<Arc<Policy>>,
    ) -> Vec<Exhausted> {
        let needs = |host: &&Host| match catalog.owner(host) {
            Some((registry, Known::Service(service, admitted))) if !host.is_wildcard() => {
                let policy = policy_of(registry);
                let mapping = policy.as_ref().and_then(|p| p.mapping(&service.name));
                let said = admitted.says(service).addresses;
                // Where instances' own addresses are wanted, it stands in while none is known.
                mapping.is_some_and(|m| said.unwrap_or(m.addresses) != Addresses::None)
            }
            _ => false,
        };
        let needy: BTreeSet<Host> = hosts.iter().filter(needs).cloned().collect();
        hosts.difference(&needy).for_each(|host| self.addresses.release(host));
        self.addresses.assign(&needy)
    }

    /// Hosts whose resource changes with time alone.
    pub fn expired(&mut self, now: Moment) -> Touched {
        let mut touched = Touched::default();
        while let Some((at, host)) = self.expiries.pop_first() {
            if at > now {
                self.expiries.insert((at, host));
                break;
            }
            touched.hosts.insert(host);
        }
        touched
    }

    /// When the next host changes with time alone.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Moment> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Serves the first of those who claim `host` that can be served, with those that share it. Returns verdicts if there
    /// is news.
    ///
    /// A candidate that is refused keeps its own last good resource; it takes no host over with it, and nothing of a
    /// service that claims the host no more stays. One that shares the host keeps what it last added to it.
    pub fn services(
        &mut self,
        host: &Host,
        claimants: &Claimants<'_>,
        now: Moment,
        catalog: &Catalog,
        published: &Snapshot,
    ) -> (Option<Lane>, Vec<Verdict>) {
        let candidates = &claimants.candidates;
        let mut state = self.hosts.remove(host).unwrap_or_default();
        let (mut lane, mut refused, mut settled) = (None, None, false);
        let mut others_refused = Vec::new();
        for (place, candidate) in candidates.iter().enumerate() {
            let mine = state.owner.as_ref().is_some_and(|owner| candidate.is(owner));
            let mut memory = remembered(&mut state, claimants, mine);
            let made = self.make(host, claimants, place, now, (&mut memory, &mut state.good), catalog);
            settled = mine || made.is_ok();
            if settled {
                state.memory = memory;
                state.owner = Some(candidate.owner());
                state.mode = claimants.mode;
            }
            match made {
                Ok(Made { converted: Converted { resource, notes, instances }, shares, first, others }) => {
                    (state.notes, state.shares, others_refused) = (notes, shares, others);
                    refused = refused.or_else(|| Some((candidate, first?)));
                    self.clear_out(&instances, now);
                    lane = self.serve(&mut state, resource, catalog, published);
                }
                Err(why) => refused = refused.or(Some((candidate, why))),
            }
            if settled {
                break;
            }
        }
        if !settled {
            let id = state.id.take();
            state = HostState {
                expiry: state.expiry,
                left: state.left,
                refused: state.refused,
                ..HostState::default()
            };
            let gone = id.filter(|id| catalog.object(id).is_none());
            lane = gone.and_then(|id| self.want(id, None, published));
        }
        self.note_expiry(host, &mut state);
        let left = state.memory.left_addresses().collect();
        self.note_left(host, &mut state, left);
        let first = self.note_refusal(host, &mut state, candidates.first(), refused);
        let mut news = self.note_others(host, &mut state, others_refused);
        news.extend(first);
        self.hosts.insert(host.clone(), state);
        (lane, news)
    }

    /// `host` has no service any more, or an object owns it.
    pub fn release(&mut self, host: &Host, catalog: &Catalog, published: &Snapshot) -> Option<Lane> {
        self.addresses.release(host);
        let mut state = self.hosts.remove(host)?;
        if state.refused.is_some() || !state.others_refused.is_empty() {
            self.refused.retain(|(_, h)| h != host);
        }
        if let Some(at) = state.expiry {
            self.expiries.remove(&(at, host.clone()));
        }
        self.note_left(host, &mut state, Vec::new());
        let id = state.id.filter(|id| catalog.object(id).is_none())?;
        self.want(id, None, published)
    }

    /// The object that is served as `id` came, changed or (`None`) went.
    pub fn object(
        &mut self,
        id: &ResourceId,
        object: Option<(&RegistryName, &Object)>,
        published: &Snapshot,
    ) -> Option<Lane> {
        let resource = object.map(|(registry, o)| Arc::new(object::encode(o).held_by(registry.clone())));
        self.want(id.clone(), resource, published)
    }

    /// Whether changes of `lane` or below wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes the changes of `lane` and below in collections that are complete.
    pub fn take(
        &mut self,
        lane: Lane,
        complete: impl Fn(Collection) -> bool,
    ) -> BTreeMap<Collection, Changes> {
        let mut taken: BTreeMap<Collection, Changes> = BTreeMap::new();
        self.pending.retain(|id, (of, resource)| {
            let stays = *of > lane || !complete(id.collection);
            if !stays {
                taken.entry(id.collection).or_default().insert(id.name.clone(), resource.take());
            }
            stays
        });
        taken
    }

    fn serve(
        &mut self,
        state: &mut HostState,
        resource: Encoded,
        catalog: &Catalog,
        published: &Snapshot,
    ) -> Option<Lane> {
        let id = resource.id.clone();
        let old = state.id.replace(id.clone()).filter(|old| *old != id && catalog.object(old).is_none());
        let moved = old.and_then(|old| self.want(old, None, published));
        moved.max(self.want(id, Some(Arc::new(resource)), published))
    }

    /// Notes that `id` should be `resource`; returns the lane in which that waits, if it is news.
    fn want(&mut self, id: ResourceId, resource: Option<Arc<Encoded>>, published: &Snapshot) -> Option<Lane> {
        let served = published.get(id.collection).and_then(|c| c.get(id.name.as_str()));
        if served.map(|r| r.version) == resource.as_ref().map(|r| r.version) {
            self.pending.remove(&id);
            return None;
        }
        let lane = lane(served, resource.as_ref());
        self.pending.insert(id, (lane, resource));
        Some(lane)
    }
}

/// What a conversion of the candidate goes on from: what its own last one left; of those that share a host, what whoever
/// was first and is gone by now left.
fn remembered(state: &mut HostState, claimants: &Claimants<'_>, mine: bool) -> Memory {
    if mine {
        return std::mem::take(&mut state.memory);
    }
    let shared = state.mode != Mode::Precedence && state.mode == claimants.mode;
    let gone = |owner: &Owner| !claimants.candidates.iter().any(|candidate| candidate.is(owner));
    let inherits = shared && state.owner.as_ref().is_some_and(gone);
    if inherits { state.memory.clone() } else { Memory::default() }
}

/// What it costs istiod when `old` becomes `new`.
fn lane(old: Option<&Arc<Encoded>>, new: Option<&Arc<Encoded>>) -> Lane {
    let workload = |r: &&Arc<Encoded>| r.id.collection == Collection::WorkloadEntry;
    if old.iter().chain(new.iter()).any(workload) {
        return Lane::Endpoints;
    }
    match (old, new) {
        (Some(old), Some(new)) if old.topology == new.topology => Lane::Endpoints,
        _ => Lane::Topology,
    }
}

/// `published` with `changes` made.
#[must_use]
pub fn rebuild(published: &Snapshot, changes: BTreeMap<Collection, Changes>) -> Snapshot {
    changes.into_iter().fold(published.clone(), |snapshot, (collection, changes)| {
        let empty = CollectionSnapshot::default();
        let next = snapshot.get(collection).map_or(&empty, |c| c).apply(&changes);
        snapshot.with(collection, Arc::new(next))
    })
}
