//! What became of a host, and what is noted beside it: when time alone changes it, which addresses stay, who is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::convert::memory::Memory;
use crate::model::host::Host;
use crate::model::merging::Mode;
use crate::model::service::{RegistryName, Service};
use crate::model::time::Moment;
use crate::pipeline::desired::shared::{Blame, Good, Sharer};
use crate::pipeline::desired::{Candidate, Desired, Owner, Verdict};
use crate::resource::encoded::ResourceId;

/// What became of a host.
#[derive(Debug, Default)]
pub struct HostState {
    /// The resource that is served for it, or will be with its lane.
    pub id: Option<ResourceId>,
    /// Why that is not what its owner says now.
    pub refused: Option<Arc<str>>,
    /// What people may want to know about it: endpoints left out, and what Istio would warn of.
    pub notes: Vec<String>,
    /// Those that share the host in their order, if several do, and what each contributes.
    pub shares: Vec<Sharer>,
    /// How they share it.
    pub mode: Mode,
    /// The last forms of those that share the host with which it could be served.
    pub(super) good: BTreeMap<Owner, Good>,
    /// Those that share the host and are not served as they say now, but for the first.
    pub(super) others_refused: BTreeMap<Owner, Blame>,
    /// Whose service is served: not always the first that claims the host, which may have been refused.
    pub(super) owner: Option<Owner>,
    /// What follows from what that service was.
    pub(super) memory: Memory,
    pub(super) expiry: Option<Moment>,
    /// Its share of [`Desired::left`].
    pub(super) left: Vec<IpAddr>,
}

impl HostState {
    /// Whether what is served is `service` of `registry`: it decides how the host appears.
    #[must_use]
    pub fn serves(&self, registry: &RegistryName, service: &Service) -> bool {
        self.id.is_some()
            && self.owner.as_ref().is_some_and(|(r, name)| r == registry && *name == service.name)
    }

    /// What `service` of `registry` contributes where several share the host; `None`: it is not one of them.
    #[must_use]
    pub fn share(&self, registry: &RegistryName, service: &Service) -> Option<&Sharer> {
        self.shares.iter().find(|s| s.registry == *registry && s.service == service.name)
    }

    /// Why `service` of `registry`, which shares the host and is not the first, is not served as it says now.
    #[must_use]
    pub fn refused_other(&self, registry: &RegistryName, service: &Service) -> Option<&str> {
        let blame = self.others_refused.get(&(registry.clone(), Arc::clone(&service.name)))?;
        Some(&blame.why)
    }
}

impl Desired {
    /// The host that is being looked at has `instances`: no other stays at these addresses.
    pub(super) fn clear_out(&mut self, instances: &[IpAddr], now: Moment) {
        let seen = instances.iter().filter_map(|ip| Some((*ip, self.left.get(ip)?)));
        let theirs: Vec<(IpAddr, Host)> =
            seen.flat_map(|(ip, others)| others.iter().map(move |other| (ip, other.clone()))).collect();
        for (ip, other) in theirs {
            // The host itself is not there while it is being looked at.
            if let Some(state) = self.hosts.get_mut(&other) {
                state.memory.forget_address(ip);
                self.expiries.insert((now, other));
            }
        }
    }

    /// Notes which addresses stay for `host`.
    pub(super) fn note_left(&mut self, host: &Host, state: &mut HostState, now: Vec<IpAddr>) {
        for ip in std::mem::replace(&mut state.left, now) {
            if let Some(hosts) = self.left.get_mut(&ip) {
                hosts.remove(host);
                if hosts.is_empty() {
                    self.left.remove(&ip);
                }
            }
        }
        for ip in &state.left {
            self.left.entry(*ip).or_default().insert(host.clone());
        }
    }

    pub(super) fn note_expiry(&mut self, host: &Host, state: &mut HostState) {
        if let Some(at) = state.expiry.take() {
            self.expiries.remove(&(at, host.clone()));
        }
        state.expiry = state.memory.next_expiry();
        self.expiries.extend(state.expiry.map(|at| (at, host.clone())));
    }

    pub(super) fn note_refusal(
        &mut self,
        host: &Host,
        state: &mut HostState,
        first: Option<&Candidate<'_>>,
        refused: Option<(&Candidate<'_>, Arc<str>)>,
    ) -> Option<Verdict> {
        if state.refused.is_some() || !state.others_refused.is_empty() {
            // Under whichever registry owned the host then; refusals are few.
            self.refused.retain(|(_, h)| h != host);
        }
        let (candidate, why) = match refused {
            Some((candidate, why)) => (candidate, Some(why)),
            None => (first?, None),
        };
        if why.is_some() {
            self.refused.insert((candidate.registry.clone(), host.clone()));
        }
        let news = (state.refused != why).then(|| Verdict {
            registry: candidate.registry.clone(),
            item: Arc::clone(&candidate.service.key.name),
            host: Some(host.clone()),
            refused: why.clone(),
        });
        state.refused = why;
        news
    }
}
