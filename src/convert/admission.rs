//! Whether a service comes aboard, with which of its instances, under which hosts: pure.
//!
//! A service is taken if one of its instances is. Without instances the last decision stays: whoever is restarting says
//! nothing about itself, and hosts must not come and go with it. Before there was any, the service as such decides.

use crate::convert::mapping::Mapping;
use crate::convert::naming::{self, NamingError};
use crate::convert::policy::Policy;
use crate::convert::select::{Select, Selection};
use crate::convert::self_service;
use crate::model::admitted::{Admitted, Reason};
use crate::model::endpoint::{Address, Endpoint};
use crate::model::service::Service;

/// Who is let through, of the instances of one service.
#[derive(Debug)]
pub struct Door<'a> {
    service: &'a Service,
    selection: Selection<'a>,
    mapping: &'a Mapping,
    exposed_by_default: bool,
}

impl<'a> Door<'a> {
    /// For the instances of `service`, which appears by `mapping`.
    #[must_use]
    pub fn new(service: &'a Service, select: &'a Select, mapping: &'a Mapping) -> Self {
        let exposed_by_default = select.exposed_by_default;
        Self { service, selection: select.of(service), mapping, exposed_by_default }
    }

    /// Why an instance (`None`: the service as such) is left out; `None`: it is not.
    #[must_use]
    pub fn refuses(&self, endpoint: Option<&Endpoint>) -> Option<Reason> {
        if let Some(reason) = self.selection.refuses(endpoint) {
            return Some(reason);
        }
        match self.mapping.self_service.skips(self.service, endpoint) {
            Some(true) => Some(Reason::Skipped),
            None if !self.exposed_by_default => Some(Reason::NotExposed),
            Some(false) | None => None,
        }
    }

    /// Why the service is left out. `before`: what was decided until now.
    fn refuses_all(&self, before: Option<&Admitted>) -> Option<Reason> {
        let as_such = || self.refuses(None);
        match (self.service.endpoints.is_empty(), before) {
            (true, Some(before)) => as_such().filter(|r| *r == Reason::Skipped).or(before.left_out),
            (true, None) => as_such(),
            (false, _) => {
                let mut reasons = self.service.endpoints.iter().map(|e| self.refuses(Some(e)));
                // Of several reasons the same is told whatever the order of the instances.
                reasons.try_fold(Reason::NotExposed, |first, r| r.map(|r| first.min(r)))
            }
        }
    }
}

/// What becomes of `service`. `before`: what was decided about it by the same policy; `None`: nothing, or by another.
///
/// # Errors
/// It is taken and has no name in the mesh.
pub fn admit(service: &Service, policy: &Policy, before: Option<&Admitted>) -> Result<Admitted, NamingError> {
    let Some(mapping) = policy.mapping(&service.name) else { return Ok(Admitted::out(Reason::Dropped)) };
    let door = Door::new(service, &policy.select, mapping);
    if let Some(reason) = door.refuses_all(before) {
        return Ok(Admitted::out(reason));
    }
    let heard = before.and_then(|b| b.owner.as_deref());
    let owner = self_service::hear(service, mapping, |e| door.refuses(Some(e)).is_none(), heard);
    let hosts = naming::hosts(service, owner.as_ref().map_or(&[], |o| &o.hosts), mapping)?;
    Ok(Admitted { hosts: hosts.into(), left_out: None, owner })
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
