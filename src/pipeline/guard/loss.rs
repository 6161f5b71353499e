//! What a registry's present word about an item lacks of what is served of it: pure.
//!
//! An instance is the same while its address and ports are, or else its id: what moved is not gone. What the policy leaves
//! out is not served, so it cannot be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::convert::admission;
use crate::model::catalog::Known;
use crate::model::change::Item;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::service::{LeftOut, Service, ServiceKey};
use crate::pipeline::guard::View;

/// What is gone of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// One endpoint.
    Endpoint(Endpoint),
    /// The object that it is.
    Object,
}

/// Which of an item's parts; `None`: the object that it is.
pub(super) type Slot = Option<(Address, EndpointPorts, Arc<str>)>;

impl What {
    pub(super) fn slot(&self) -> Slot {
        match self {
            Self::Endpoint(e) => Some(slot(e)),
            Self::Object => None,
        }
    }
}

fn slot(e: &Endpoint) -> (Address, EndpointPorts, Arc<str>) {
    (e.address.clone(), e.ports.clone(), Arc::clone(&e.id))
}

/// Something that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) what: What,
    /// The registry itself said so.
    pub(super) said: bool,
}

/// What is gone of one item.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) served: Known,
    /// What the registry says now; `None`: it does not name the item any more.
    pub(super) now: Option<Arc<Service>>,
    pub(super) gone: Vec<Gone>,
    /// Endpoints that were not there before.
    pub(super) came: usize,
    /// Nothing that is taken is left.
    pub(super) last: bool,
}

impl Loss {
    /// Of `served`, of which the registry says `now`. `said`: that it does not name the item any more is its own word.
    pub(super) fn of(view: &View<'_>, served: &Known, now: Option<&Item>, said: bool) -> Self {
        let nothing = |now| Self { served: served.clone(), now, gone: Vec::new(), came: 0, last: false };
        match (served, now) {
            (Known::Object(_), None) => {
                Self { gone: vec![Gone { what: What::Object, said }], last: true, ..nothing(None) }
            }
            (Known::Service(service, admitted), None | Some(Item::Service(_))) => {
                let now = match now {
                    Some(Item::Service(now)) => Some(now),
                    _ => None,
                };
                if admitted.left_out.is_some() {
                    return nothing(now.cloned());
                }
                let (gone, came, last) = compare(view, service, now.map(Arc::as_ref), said);
                Self { gone, came, last, ..nothing(now.cloned()) }
            }
            // What makes no sense now stays as it was known.
            (Known::Object(_) | Known::Service(..), Some(_)) => nothing(None),
        }
    }

    pub(super) fn key(&self) -> &ServiceKey {
        self.served.key()
    }

    /// The registry's own name of the item.
    pub(super) fn name(&self) -> &Arc<str> {
        match &self.served {
            Known::Service(s, _) => &s.name,
            Known::Object(o) => &o.key.name,
        }
    }

    /// Whether anything went without a word.
    pub(super) fn is_silent(&self) -> bool {
        self.gone.iter().any(|g| !g.said)
    }

    /// Endpoints that went without a word.
    pub(super) fn silent_endpoints(&self) -> usize {
        self.gone.iter().filter(|g| !g.said && g.what != What::Object).count()
    }
}

/// Whether `now` has every endpoint of `served`: then there is no loss to speak of.
pub(super) fn is_whole(served: &Known, now: Option<&Item>) -> bool {
    match (served, now) {
        (Known::Service(service, _), Some(Item::Service(now))) => {
            missing(&service.endpoints, &now.endpoints).is_empty()
        }
        _ => false,
    }
}

fn compare(view: &View<'_>, served: &Service, now: Option<&Service>, said: bool) -> (Vec<Gone>, usize, bool) {
    let present = now.map_or(&[][..], |n| &n.endpoints);
    let missing = missing(&served.endpoints, present);
    let came = (present.len() + missing.len()).saturating_sub(served.endpoints.len());
    let word = now.unwrap_or(served);
    let mut unnamed = now.map_or(0, |n| unnamed(&n.left_out).saturating_sub(unnamed(&served.left_out)));
    let mut gone = Vec::with_capacity(missing.len());
    for endpoint in missing.into_iter().filter(|e| admission::takes(word, e, view.policy)) {
        let mut said = said || now.is_some_and(|n| is_named(&n.left_out, endpoint));
        if !said && unnamed > 0 {
            unnamed -= 1;
            said = true;
        }
        gone.push(Gone { what: What::Endpoint(endpoint.clone()), said });
    }
    let last = !gone.is_empty() && !present.iter().any(|e| admission::takes(word, e, view.policy));
    (gone, came, last)
}

/// The endpoints of `served` that `now` does not have.
fn missing<'a>(served: &'a [Endpoint], now: &[Endpoint]) -> Vec<&'a Endpoint> {
    if served.len() == now.len() && served.iter().zip(now).all(|(a, b)| place(a) == place(b)) {
        return Vec::new();
    }
    let mut there: BTreeMap<_, Vec<&Endpoint>> = BTreeMap::new();
    now.iter().for_each(|e| there.entry(place(e)).or_default().push(e));
    let mut missing: Vec<&Endpoint> =
        served.iter().filter(|e| there.get_mut(&place(e)).and_then(Vec::pop).is_none()).collect();
    if missing.is_empty() {
        return missing;
    }
    let mut moved: BTreeMap<&str, usize> = BTreeMap::new();
    for e in there.into_values().flatten().filter(|e| !e.id.is_empty()) {
        *moved.entry(&e.id).or_default() += 1;
    }
    missing.retain(|e| match moved.get_mut(&*e.id) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    });
    missing
}

fn place(e: &Endpoint) -> (&Address, &EndpointPorts) {
    (&e.address, &e.ports)
}

/// Whether the registry names it among those that serve nothing now (`critical`, `DOWN`).
fn is_named(left_out: &LeftOut, endpoint: &Endpoint) -> bool {
    !endpoint.id.is_empty() && left_out.by_reason().iter().any(|r| r.first.contains(&endpoint.id))
}

/// How many it leaves out without naming them: only the first of each reason have names.
fn unnamed(left_out: &LeftOut) -> usize {
    left_out.by_reason().iter().map(|r| r.count.saturating_sub(r.first.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: &str, address: &str) -> Endpoint {
        Endpoint { id: id.into(), ..Endpoint::at(Address::parse(address).unwrap(), EndpointPorts::One(80)) }
    }

    fn gone(served: &[Endpoint], now: &[Endpoint]) -> Vec<String> {
        missing(served, now).into_iter().map(|e| e.address.to_string()).collect()
    }

    #[test]
    fn an_instance_is_the_same_while_its_address_is_or_else_its_id() {
        let (a, b) = (at("a", "10.0.0.1"), at("b", "10.0.0.2"));
        assert!(gone(&[a.clone(), b.clone()], &[b.clone(), a.clone()]).is_empty());
        assert_eq!(gone(&[a.clone(), b.clone()], std::slice::from_ref(&a)), ["10.0.0.2"]);
        // Another id at the same place, the same id at another place.
        assert!(gone(std::slice::from_ref(&a), &[at("z", "10.0.0.1")]).is_empty());
        assert!(gone(&[a.clone(), b.clone()], &[a.clone(), at("b", "10.0.0.9")]).is_empty());
        // Consul gives instances of one service on many nodes the same id.
        let twins = [at("web", "10.0.0.1"), at("web", "10.0.0.2")];
        assert_eq!(gone(&twins, &twins[..1]), ["10.0.0.2"]);
        assert_eq!(gone(&[at("", "10.0.0.1")], &[at("", "10.0.0.2")]), ["10.0.0.1"]);
    }

    #[test]
    fn who_is_left_out_beyond_the_names_is_counted() {
        let mut out = LeftOut::default();
        (0..13).for_each(|n| out.add("critical", format!("{n:02}")));
        assert_eq!(unnamed(&out), 3);
        assert!(is_named(&out, &at("09", "10.0.0.1")) && !is_named(&out, &at("12", "10.0.0.1")));
    }
}
