//! Whether a service comes aboard, with which of its instances, under which hosts: pure.
//!
//! A service is taken if one of its instances is. Without instances the last decision stays: whoever is restarting says
//! nothing about itself, and hosts must not come and go with it. For the same reason it stays for `emptyServiceTTL` if the
//! instances that were taken have gone and only others are left; one that is still there and says something else is believed
//! at once. Before there was any instance, the service as such decides.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::mapping::Mapping;
use crate::convert::naming::{self, NamingError};
use crate::convert::policy::Policy;
use crate::convert::select::{Select, Selection};
use crate::convert::self_service;
use crate::model::admitted::{Admitted, Reason};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::service::Service;
use crate::model::time::Moment;

/// What was known and decided until now, by the same policy.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    /// The service as it was then.
    pub service: &'a Service,
    /// What was decided about it.
    pub admitted: &'a Admitted,
}

/// A service, its past, and the time: what decides how long something holds that nobody says any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<'a> {
    service: &'a Service,
    last: Option<Last<'a>>,
    now: Moment,
    ttl: Duration,
}

impl<'a> Past<'a> {
    pub(super) fn new(service: &'a Service, last: Option<Last<'a>>, now: Moment, ttl: Duration) -> Self {
        Self { service, last, now, ttl }
    }

    /// The service as it is now.
    pub(super) fn service(&self) -> &'a Service {
        self.service
    }

    /// What was decided until now.
    pub(super) fn admitted(&self) -> Option<&'a Admitted> {
        self.last.map(|last| last.admitted)
    }

    /// Until when that holds which only the instances said that `spoke`, and no instance says now; `None`: no longer. If
    /// one of them is still there, it has changed its mind.
    pub(super) fn holds(&self, spoke: impl Fn(&Endpoint) -> bool) -> Option<Moment> {
        let last = self.last?;
        let speakers: BTreeSet<_> =
            last.service.endpoints.iter().filter(|e| spoke(e)).map(identity).collect();
        if speakers.is_empty() {
            return last.admitted.until.filter(|until| *until > self.now);
        }
        let there = self.service.endpoints.iter().any(|e| speakers.contains(&identity(e)));
        (!there).then(|| self.now.plus(self.ttl))
    }
}

/// What tells an instance from the others: its name where it has one, else where it is.
fn identity(endpoint: &Endpoint) -> (&Arc<str>, Option<(&Address, &EndpointPorts)>) {
    let place = endpoint.id.is_empty().then_some((&endpoint.address, &endpoint.ports));
    (&endpoint.id, place)
}

/// Who is let through, of the instances of one service.
#[derive(Debug)]
pub struct Door<'a> {
    service: &'a Service,
    selection: Selection<'a>,
    mapping: &'a Mapping,
    select: &'a Select,
}

impl<'a> Door<'a> {
    /// For the instances of `service`, which appears by `mapping`.
    #[must_use]
    pub fn new(service: &'a Service, select: &'a Select, mapping: &'a Mapping) -> Self {
        Self { service, selection: select.of(service), mapping, select }
    }

    /// Why an instance (`None`: the service as such) is left out; `None`: it is not.
    #[must_use]
    pub fn refuses(&self, endpoint: Option<&Endpoint>) -> Option<Reason> {
        if let Some(reason) = self.selection.refuses(endpoint) {
            return Some(reason);
        }
        match self.mapping.self_service.skips(self.service, endpoint) {
            Some(true) => Some(Reason::Skipped),
            None if !self.select.exposed_by_default => Some(Reason::NotExposed),
            Some(false) | None => None,
        }
    }

    /// Why the service is left out, or until when it is taken although nothing says so any more.
    fn refuses_all(&self, past: &Past<'a>) -> Result<Option<Moment>, Reason> {
        let as_such = || self.refuses(None);
        let reason = match (self.service.endpoints.is_empty(), past.admitted()) {
            (true, Some(before)) => as_such().filter(|r| *r == Reason::Skipped).or(before.left_out),
            (true, None) => as_such(),
            (false, _) => {
                let mut reasons = self.service.endpoints.iter().map(|e| self.refuses(Some(e)));
                // Of several reasons the same is told whatever the order of the instances.
                reasons.try_fold(Reason::NotExposed, |first, r| r.map(|r| first.min(r)))
            }
        };
        let taken = past.last.filter(|last| last.admitted.left_out.is_none());
        let until = || {
            let then = Self::new(taken?.service, self.select, self.mapping);
            past.holds(|e| then.refuses(Some(e)).is_none())
        };
        match (reason, self.service.endpoints.is_empty()) {
            (None, false) => Ok(None),
            (None, true) => Ok(until()),
            (Some(reason), true) => Err(reason),
            (Some(reason), false) => until().map(Some).ok_or(reason),
        }
    }
}

/// What becomes of `service` at `now`. `last`: what was decided about it by the same policy; `None`: nothing, or by another.
///
/// # Errors
/// It is taken and has no name in the mesh.
pub fn admit(
    service: &Service,
    policy: &Policy,
    last: Option<Last<'_>>,
    now: Moment,
) -> Result<Admitted, NamingError> {
    let Some(mapping) = policy.mapping(&service.name) else { return Ok(Admitted::out(Reason::Dropped)) };
    let past = Past::new(service, last, now, policy.limits(&service.name).empty_service_ttl);
    let door = Door::new(service, &policy.select, mapping);
    let stays = match door.refuses_all(&past) {
        Ok(stays) => stays,
        Err(reason) => return Ok(Admitted::out(reason)),
    };
    let (owner, holds) = self_service::hear(&past, mapping, |e| door.refuses(Some(e)).is_none());
    let hosts = naming::hosts(service, owner.as_ref().map_or(&[], |o| &o.hosts), mapping)?;
    Ok(Admitted { hosts: hosts.into(), left_out: None, owner, until: stays.max(holds) })
}

/// Whether `endpoint` of `service` is served, as far as the configuration and owners decide: a selection, a rule that drops,
/// an owner who wants it left out.
#[must_use]
pub fn takes(service: &Service, endpoint: &Endpoint, policy: &Policy) -> bool {
    let Some(mapping) = policy.mapping(&service.name) else { return false };
    let rule = match endpoint.address {
        Address::Ip(ip) => mapping.endpoints.iter().find(|r| r.matches(ip)),
        Address::Name(_) | Address::Unix(_) => None,
    };
    !rule.is_some_and(|r| r.drop)
        && Door::new(service, &policy.select, mapping).refuses(Some(endpoint)).is_none()
}

#[cfg(test)]
mod tests;
