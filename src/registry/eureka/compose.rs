//! From the instances behind one name to a service. Pure.
//!
//! Instances that are not up are left out and say why, and so do those that make no sense; the service is there, without
//! endpoints if need be, as long as anything is registered under its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::instance::{Facts, Instance, Status};
use super::ledger::{Kind, Slot};
use crate::model::change::Item;
use crate::model::endpoint::{Endpoint, EndpointPorts};
use crate::model::service::{ItemKind, LeftOut, Protocol, Says, Scope, Service, ServiceKey};

/// What instances of plain and of secure ports call them; also the protocols that are spoken there.
const PLAIN: &str = "http";
const SECURE: &str = "https";

/// By what an instance is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefer {
    /// `ipAddr`; the host name of instances whose address makes no sense.
    #[default]
    Ip,
    /// `hostName`, which the proxy then resolves; the address of instances whose name makes no sense.
    Hostname,
}

/// What becomes of instances whose lease has run out and that the server keeps (self-preservation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiredLeases {
    /// They serve: when many heartbeats stop at once, the network is more often at fault than the instances.
    #[default]
    Keep,
    /// They are left out.
    Drop,
}

/// How instances become services.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// By what an instance is called.
    pub prefer: Prefer,
    /// The region of zones that name none.
    pub region: Option<Arc<str>>,
    /// Whether a lease that has run out counts.
    pub expired: ExpiredLeases,
}

/// Makes the item of one slot. `has_served`: it had endpoints once, so that the mesh knows its ports.
pub(super) fn compose(
    slot: &Slot,
    (kind, members): (Kind, Vec<&Instance>),
    shape: &Shape,
    has_served: bool,
) -> Item {
    let name = spelling(slot, kind, &members);
    let key = ServiceKey { kind: ItemKind::Service, name: Arc::clone(&name), scope: scope() };
    let (mut called, mut left_out, mut fault) = (Vec::new(), LeftOut::default(), None);
    for instance in &members {
        match standing(instance, kind, shape) {
            Ok(facts) => called.push((*instance, facts)),
            Err(Absence::Said(word)) => left_out.add(word, Arc::clone(&instance.key.id)),
            Err(Absence::Nonsense(why)) => {
                left_out.add(why, Arc::clone(&instance.key.id));
                fault = fault.or(Some((&instance.key.id, why)));
            }
        }
    }
    if let (true, Some((id, why))) = (called.is_empty(), fault) {
        return Item::Refused(key, format!("no instance of it makes sense: {id}: {why}").into());
    }
    let choice = PortChoice::of(kind, &called);
    let says = match kind {
        _ if called.is_empty() && !has_served => expected(kind, &members),
        Kind::SecureVip => Says { protocol: Some(Protocol::Https), ..Says::default() },
        Kind::App | Kind::Vip => Says::default(),
    };
    let endpoints = called.into_iter().filter_map(|(i, facts)| endpoint(i, facts, choice, shape)).collect();
    Item::Service(Arc::new(Service { endpoints, left_out, says, ..Service::new(key, name) }))
}

/// Why an instance is not among the endpoints.
enum Absence<'a> {
    /// It, an operator or its server says so.
    Said(&'static str),
    /// It is up, and what it says makes no sense.
    Nonsense(&'a str),
}

fn standing<'a>(instance: &'a Instance, kind: Kind, shape: &Shape) -> Result<&'a Facts, Absence<'a>> {
    match instance.effective_status() {
        Status::Up if instance.stale && shape.expired == ExpiredLeases::Drop => {
            return Err(Absence::Said("its lease has run out"));
        }
        Status::Up => {}
        other => return Err(Absence::Said(other.name())),
    }
    match &instance.facts {
        Ok(facts) if kind == Kind::SecureVip && facts.secure.is_none() => {
            Err(Absence::Said("its secure port is not enabled"))
        }
        Ok(facts) => Ok(facts),
        Err(why) => Err(Absence::Nonsense(why)),
    }
}

/// The port on which a name will be called none of whose instances has ever served: that of the instances that are there.
fn expected(kind: Kind, members: &[&Instance]) -> Says {
    let numbers = |port: fn(&Facts) -> Option<u16>| {
        members.iter().filter_map(|i| port(i.facts.as_ref().ok()?)).min().map(|n| Arc::from([n]))
    };
    let plain = if kind == Kind::SecureVip { None } else { numbers(|f| f.plain) };
    let secure = if plain.is_none() { numbers(|f| f.secure) } else { None };
    let protocol = secure.is_some().then_some(Protocol::Https);
    Says { service_ports: plain.or(secure), protocol, ..Says::default() }
}

/// Whether `item` is a service that has ever had endpoints, as [`compose`] made it.
pub(super) fn has_served(item: &Item) -> bool {
    matches!(item, Item::Service(s) if !s.endpoints.is_empty() || s.says.service_ports.is_none())
}

/// The scope of everything: a server lists all or nothing.
pub(super) fn scope() -> Scope {
    Scope::new("apps")
}

/// The name as it is spelt; where spellings differ the first in order, whoever came first.
fn spelling(slot: &Slot, kind: Kind, members: &[&Instance]) -> Arc<str> {
    let names: BTreeSet<&Arc<str>> = match kind {
        Kind::App => members.iter().map(|i| &i.app).collect(),
        Kind::Vip => members.iter().flat_map(|i| &i.vips).collect(),
        Kind::SecureVip => members.iter().flat_map(|i| &i.secure_vips).collect(),
    };
    let name = names.into_iter().find(|n| n.to_lowercase() == **slot);
    Arc::clone(name.unwrap_or(slot))
}

/// Which of the instances' ports a service has. The mesh calls any endpoint on any port of its service, so a port that
/// only some instances have is left out as long as all of them have the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortChoice {
    Plain,
    Secure,
    Both,
    /// The secure port, under no name of its own.
    OnlySecure,
}

impl PortChoice {
    fn of(kind: Kind, called: &[(&Instance, &Facts)]) -> Self {
        if kind == Kind::SecureVip {
            return Self::OnlySecure;
        }
        let all = |port: fn(&Facts) -> Option<u16>| called.iter().all(|(_, facts)| port(facts).is_some());
        match (all(|f| f.plain), all(|f| f.secure)) {
            (true, false) => Self::Plain,
            (false, true) => Self::Secure,
            (true, true) if called.is_empty() => Self::Plain,
            (true, true) | (false, false) => Self::Both,
        }
    }

    fn ports(self, facts: &Facts) -> EndpointPorts {
        let named = |name: &'static str, port: Option<u16>| port.map(|p| (Arc::<str>::from(name), p));
        let list = match self {
            Self::Plain => return facts.plain.map(EndpointPorts::One).unwrap_or_default(),
            Self::OnlySecure => return facts.secure.map(EndpointPorts::One).unwrap_or_default(),
            Self::Secure => [None, named(SECURE, facts.secure)],
            Self::Both => [named(PLAIN, facts.plain), named(SECURE, facts.secure)],
        };
        EndpointPorts::Named(list.into_iter().flatten().collect())
    }
}

/// `None`: it has no address, which its facts rule out.
fn endpoint(instance: &Instance, facts: &Facts, choice: PortChoice, shape: &Shape) -> Option<Endpoint> {
    let [first, second] = match shape.prefer {
        Prefer::Ip => [&facts.ip, &facts.host],
        Prefer::Hostname => [&facts.host, &facts.ip],
    };
    let address = first.clone().or_else(|| second.clone())?;
    Some(Endpoint {
        id: Arc::clone(&instance.key.id),
        labels: facts.metadata.clone(),
        locality: locality(facts, shape.region.as_deref()),
        ..Endpoint::at(address, choice.ports(facts))
    })
}

/// What the instance's owner says in its metadata goes before what its cloud says.
fn locality(facts: &Facts, default_region: Option<&str>) -> Option<Arc<str>> {
    let said = |key: &str| facts.metadata.get(key).map(part).filter(|p| !p.is_empty());
    let cloud = facts.cloud_zone.as_deref().map(part).filter(|p| !p.is_empty());
    let zone = said("zone").or(cloud);
    let region = said("region")
        .or_else(|| zone.as_deref().and_then(region_of).map(str::to_owned))
        .or_else(|| default_region.map(part));
    match (region, zone) {
        (Some(region), Some(zone)) => Some(format!("{region}/{zone}").into()),
        (Some(only), None) | (None, Some(only)) => Some(only.into()),
        (None, None) => None,
    }
}

/// One part of a locality: Istio takes neither the separator nor a wildcard in it.
fn part(text: &str) -> String {
    let legal = |c: char| !c.is_control() && !c.is_whitespace() && c != '/' && c != '*';
    text.trim().chars().map(|c| if legal(c) { c } else { '-' }).collect()
}

/// The region of an availability zone in Amazon's cloud: `us-east-1` of `us-east-1c`, `us-west-2` of `us-west-2-lax-1a`.
/// `None`: it is no such zone.
fn region_of(zone: &str) -> Option<&str> {
    let (at, _) = zone.match_indices('-').find(|(at, _)| {
        zone.get(at + 1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    let digits = zone.get(at + 1..)?;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    let letters = zone.get(..at)?;
    let place =
        zone.find('-') == Some(2) && at > 2 && letters.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    place.then(|| zone.get(..at + 1 + end)).flatten()
}

#[cfg(test)]
mod tests;
