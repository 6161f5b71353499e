//! The ports of a service: those that it declares, those that its registry's mapping lists, or those that follow from
//! its instances; and on which port each instance serves each of them.
//!
//! Istio sends a call on any port of a service to any of its endpoints, so that every endpoint answers every port:
//! an instance that knows one port serves all of them there.
//! Names are unique DNS-1123 labels: what the registry calls the port, or `<protocol>-<number>`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::convert::mapping::{Mapping, ServicePorts};
use crate::convert::memory::Memory;
use crate::convert::naming::legal_label;
use crate::model::endpoint::EndpointPorts;
use crate::model::host::MAX_LABEL;
use crate::model::service::{Addresses, Protocol, Says, Service};
use crate::model::time::Moment;

/// The port of HTTP and gRPC services whose instances differ: what a client takes that is told no port.
pub(crate) const HTTP: u16 = 80;

/// A port as it stands in a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The number on which the mesh calls the service.
    pub number: u16,
    /// Unique within the service.
    pub name: Arc<str>,
    /// The protocol to publish.
    pub protocol: Protocol,
    /// Where instances listen that do not say otherwise; absent: on `number`.
    pub target: Option<u16>,
    /// Under which name endpoints speak of it; absent: under none, it is a port of all of them.
    key: Option<Arc<str>>,
}

/// A port that follows from instances: its number, and how they call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Derived {
    /// What instances call it; absent: they know one port only.
    pub group: Option<Arc<str>>,
    /// Its number.
    pub number: u16,
}

/// What instances listen on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found(BTreeMap<Option<Arc<str>>, BTreeSet<u16>>);

impl Found {
    /// Looks at every endpoint's ports.
    pub fn of<'a>(endpoints: impl Iterator<Item = &'a EndpointPorts>) -> Self {
        let mut found = Self::default();
        for ports in endpoints {
            match ports {
                EndpointPorts::AsService => {}
                EndpointPorts::One(number) => found.add(None, *number),
                EndpointPorts::Named(named) => {
                    for (name, number) in named.iter() {
                        found.add(Some(Arc::clone(name)), *number);
                    }
                }
            }
        }
        found
    }

    /// Whether no instance has a port of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, group: Option<Arc<str>>, number: u16) {
        self.0.entry(group).or_default().insert(number);
    }

    /// Whether any instance has this very port.
    #[must_use]
    pub fn has(&self, port: &Derived) -> bool {
        self.0.get(&port.group).is_some_and(|numbers| numbers.contains(&port.number))
    }

    /// Whether any instance has a port of this name.
    #[must_use]
    pub fn has_group(&self, group: &Option<Arc<str>>) -> bool {
        self.0.contains_key(group)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Derived> {
        self.numbered(|numbers| numbers.iter().copied().collect())
    }

    /// One for each name: the common number; where they differ 80 for a service that is HTTP and nothing else, else
    /// the lowest.
    #[must_use]
    pub fn common(&self, protocol: Protocol) -> Vec<Derived> {
        let http = protocol.is_http() && self.0.len() == 1;
        self.numbered(|numbers| {
            let first = numbers.first().copied();
            if numbers.len() > 1 && http { vec![HTTP] } else { first.into_iter().collect() }
        })
    }

    /// `choose` for each name; a number is taken by the first name that has it.
    fn numbered(&self, choose: impl Fn(&BTreeSet<u16>) -> Vec<u16>) -> Vec<Derived> {
        let mut taken = BTreeSet::new();
        let mut ports = Vec::new();
        for (group, numbers) in &self.0 {
            let free: BTreeSet<u16> = numbers.difference(&taken).copied().collect();
            for number in choose(&free) {
                if taken.insert(number) {
                    ports.push(Derived { group: group.clone(), number });
                }
            }
        }
        ports
    }
}

/// What an endpoint says of ports that the service does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// A mistake in what declares both: shown to Istio's validation, which names it.
    Refuse,
    /// Nothing of interest: the mapping chose the ports.
    Ignore,
}

/// The ports of a service, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    list: Vec<Port>,
    unknown: Unknown,
}

impl Ports {
    /// The ports of `service`, of which `says` holds: its own, else those that are said or that the mapping lists, else
    /// what `found` and `memory` say. Where its sidecars listen on the instances' own addresses, HTTP-like protocols are
    /// left unset (Envoy would take only one of the addresses, see the call models) and every instance's port is a port.
    #[must_use]
    pub fn of(
        service: &Service,
        says: &Says,
        mapping: &Mapping,
        found: &Found,
        memory: &mut Memory,
        when: When,
    ) -> Self {
        let addresses = says.addresses.unwrap_or(mapping.addresses);
        let default = says.protocol.unwrap_or(mapping.protocol);
        let published = |p: Protocol| match addresses {
            Addresses::Endpoints if p.is_http() => Protocol::Auto,
            _ => p,
        };
        if !service.ports.is_empty() {
            memory.forget_ports();
            let port = |p: &crate::model::service::ServicePort| Port {
                number: p.number,
                name: p.name.as_deref().map(legal_label).unwrap_or_default().into(),
                protocol: published(p.protocol.unwrap_or(default)),
                target: p.target.filter(|t| *t != p.number && *t != 0),
                key: p.name.clone(),
            };
            return Self::named(service.ports.iter().map(port).collect(), Unknown::Refuse);
        }
        let listed = match (&says.service_ports, &mapping.service_ports) {
            (Some(numbers), _) => Some(&**numbers),
            (None, ServicePorts::List(numbers)) => Some(numbers.as_slice()),
            (None, _) => None,
        };
        let derived = match (listed, &mapping.service_ports, addresses) {
            (Some(numbers), ..) => {
                memory.forget_ports();
                let numbers: BTreeSet<u16> = numbers.iter().copied().collect();
                numbers.into_iter().map(|number| Derived { group: None, number }).collect()
            }
            (None, ServicePorts::Instance, _) | (None, ServicePorts::Auto, Addresses::Endpoints) => {
                memory.ports(found, Choice::All, when.now, when.ttl)
            }
            (None, ..) => memory.ports(found, Choice::Common(default), when.now, when.ttl),
        };
        let port = |d: Derived| Port {
            number: d.number,
            name: d.group.as_deref().map(|g| numbered(g, d.number)).unwrap_or_default().into(),
            protocol: published(d.group.as_deref().and_then(said_by_name).unwrap_or(default)),
            target: None,
            key: d.group,
        };
        Self::named(derived.into_iter().map(port).collect(), Unknown::Ignore)
    }

    /// Sorted by number; names that were not given are made, and every made one is unique.
    fn named(mut list: Vec<Port>, unknown: Unknown) -> Self {
        list.sort_by(|a, b| (a.number, &a.name, &a.key).cmp(&(b.number, &b.name, &b.key)));
        let mut taken: BTreeMap<Arc<str>, Option<Arc<str>>> = BTreeMap::new();
        for port in &mut list {
            let given = !port.name.is_empty();
            if !given {
                port.name = format!("{}-{}", port.protocol.port_prefix(), port.number).into();
            }
            // Twice the same given name is a mistake for Istio's validation to name, not for us to hide.
            let same = |key: &Option<Arc<str>>| given && unknown == Unknown::Refuse && *key == port.key;
            if taken.get(&port.name).is_some_and(|key| !same(key)) {
                port.name = free_name(&port.name, &taken);
            }
            taken.insert(Arc::clone(&port.name), port.key.clone());
        }
        Self { list, unknown }
    }

    /// All ports, by number.
    #[must_use]
    pub fn list(&self) -> &[Port] {
        &self.list
    }

    /// On which port an endpoint serves each port of the service, by the port's name; only where that is not what the
    /// service says anyway.
    #[must_use]
    pub fn served_by(&self, endpoint: &EndpointPorts) -> BTreeMap<String, u32> {
        let mut map = self.served(|port| self.listens(port, endpoint));
        if let (EndpointPorts::Named(named), Unknown::Refuse) = (endpoint, self.unknown) {
            let known = |name: &str| self.list.iter().any(|p| p.is_called(name));
            for (name, number) in named.iter().filter(|(name, _)| !known(name)) {
                map.insert(name.to_string(), u32::from(*number));
            }
        }
        map
    }

    /// [`Ports::served_by`] for an endpoint of another service, of which `fit` tells which of its ports serves which.
    #[must_use]
    pub fn served_by_other(&self, endpoint: &EndpointPorts, fit: &Fit) -> BTreeMap<String, u32> {
        self.served(|port| match fit.by.get(&port.number) {
            Some(own) => fit.own.listens(own, endpoint),
            // It declares no port and none of its endpoints has one: they follow whoever declares them.
            None => self.listens(port, endpoint),
        })
    }

    /// Which port of another service, whose ports are `own`, serves each of these: the one of the same name, else of the
    /// same number, else the only one where there is but one (or where nobody's name is on the port). Their protocols have
    /// to go together. A service without ports of its own serves them all.
    ///
    /// # Errors
    /// The first port that it cannot serve: a call on it could reach any of its endpoints.
    pub fn fit(&self, own: Self) -> Result<Fit, Unfit> {
        let mut by = BTreeMap::new();
        for port in &self.list {
            if own.list.is_empty() {
                break;
            }
            let Some(serves) = self.serving(port, &own) else {
                let words = |p: &Port| format!("{} {}", p.name, p.number);
                return Err(Unfit { port: words(port), own: own.list.iter().map(words).collect() });
            };
            by.insert(port.number, serves.clone());
        }
        Ok(Fit { own, by })
    }

    fn serving<'a>(&self, port: &Port, own: &'a Self) -> Option<&'a Port> {
        let only = self.list.len() == 1 && own.list.len() == 1;
        let nobodys = self.unknown == Unknown::Ignore && port.key.is_none();
        let named = |p: &&Port| p.name == port.name || (p.key.is_some() && p.key == port.key);
        let able = || own.list.iter().filter(|p| goes_as(p.protocol, port.protocol));
        let same = able().find(named).or_else(|| able().find(|p| p.number == port.number));
        same.or_else(|| able().next().filter(|_| only || nobodys))
    }

    /// Where an endpoint of this very service listens for `port`.
    fn listens(&self, port: &Port, endpoint: &EndpointPorts) -> u16 {
        let usual = port.target.unwrap_or(port.number);
        match endpoint {
            EndpointPorts::AsService => usual,
            EndpointPorts::One(number) => *number,
            EndpointPorts::Named(named) => self.of_named(port, named).unwrap_or(usual),
        }
    }

    fn served(&self, listens: impl Fn(&Port) -> u16) -> BTreeMap<String, u32> {
        let unusual = |port: &Port| {
            let served = listens(port);
            let usual = port.target.unwrap_or(port.number);
            (served != usual).then(|| (port.name.to_string(), u32::from(served)))
        };
        self.list.iter().filter_map(unusual).collect()
    }

    /// What an endpoint that names its ports says of `port`.
    fn of_named(&self, port: &Port, named: &[(Arc<str>, u16)]) -> Option<u16> {
        if let Some((_, number)) = named.iter().find(|(name, _)| port.is_called(name)) {
            return Some(*number);
        }
        // A port that only the mapping knows: the instance's of the same number, else its lowest.
        let of_mapping = self.unknown == Unknown::Ignore && port.key.is_none();
        let numbers = || named.iter().map(|(_, number)| *number);
        if !of_mapping || numbers().any(|n| n == port.number) { None } else { numbers().min() }
    }
}

/// How the endpoints of one service serve the ports of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    own: Ports,
    /// By the number of the other's port.
    by: BTreeMap<u16, Port>,
}

/// A service cannot serve a port of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("none of its ports ({}) serves port {port}", .own.join(", "))]
pub struct Unfit {
    /// The port: name and number.
    pub port: String,
    /// Its own ports.
    pub own: Vec<String>,
}

/// Whether what speaks `own` can be called as `wanted`: where neither is known, where both are the same on the wire, and
/// where nobody looks into the bytes.
fn goes_as(own: Protocol, wanted: Protocol) -> bool {
    use Protocol::{Auto, Grpc, GrpcWeb, Http, Http2, Https, Tcp, Tls, Udp};
    match (own, wanted) {
        (Udp, _) | (_, Udp) => own == wanted,
        (Auto, _) | (_, Auto | Tcp) => true,
        (Http | GrpcWeb, Http | GrpcWeb) | (Http2 | Grpc, Http2 | Grpc) | (Tls | Https, Tls | Https) => true,
        (Tcp, _) => !wanted.is_http(),
        _ => own == wanted,
    }
}

impl Port {
    /// Whether endpoints mean this port by `name`: the registry's own name for it, or the one that we made.
    fn is_called(&self, name: &str) -> bool {
        self.key.as_deref().unwrap_or(&self.name) == name
    }
}

/// When a conversion takes place, for ports that linger.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// Now.
    pub now: Moment,
    /// How long a port stays after the last instance that had it.
    pub ttl: std::time::Duration,
}

/// Which of the instances' ports a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// One for each name, as [`Found::common`] chooses for a service of this protocol.
    Common(Protocol),
    /// All.
    All,
}

/// The protocol that instances' name for a port tells: `grpc`, `https-admin`. `http` tells nothing, being what people call
/// every main port.
fn said_by_name(group: &str) -> Option<Protocol> {
    let word = |p: &Protocol| {
        let rest = group.strip_prefix(p.port_prefix());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let telling =
        [Protocol::GrpcWeb, Protocol::Grpc, Protocol::Https, Protocol::Http2, Protocol::Tls, Protocol::Tcp];
    telling.into_iter().find(word)
}

/// `group` and the number, so that the name says the same whatever other ports there are.
fn numbered(group: &str, number: u16) -> String {
    let (group, tail) = (legal_label(group), format!("-{number}"));
    if group.is_empty() || group.ends_with(&tail) { group } else { join(&group, &tail) }
}

/// The first of `name-2`, `name-3` … that is free.
fn free_name(name: &str, taken: &BTreeMap<Arc<str>, Option<Arc<str>>>) -> Arc<str> {
    let names = (2..).map(|n: u32| Arc::from(join(name, &format!("-{n}"))));
    names.into_iter().find(|n| !taken.contains_key(n)).unwrap_or_else(|| name.into())
}

/// `head` and `tail` within a label's length.
fn join(head: &str, tail: &str) -> String {
    let room = head.len().min(MAX_LABEL.saturating_sub(tail.len()));
    format!("{}{tail}", head.get(..room).unwrap_or_default().trim_end_matches('-'))
}

#[cfg(test)]
mod tests;
