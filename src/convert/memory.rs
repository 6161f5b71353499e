//! What the resource of one host remembers from conversion to conversion, so that an endpoint change does not move ports.
//!
//! A port that instances gave the service stays while any instance has it, even where a fresh look would choose another:
//! with instances on 8080, one more on 9090 is an endpoint of port 8080 that listens elsewhere, and no change of the
//! service. (80, which is chosen where HTTP instances differ, is nobody's own: any instance keeps it.) When the last
//! instance that had the port is gone, the next choice stands beside it for the time to live, then it goes. Without any
//! instance nothing goes: the service stays as it was until it goes itself.
//!
//! Where the instances' own addresses are what a sidecar listens on, the address of one that has left stays for as long as
//! clients may believe in it: they choose it, and are led to another. (Unless another service is seen there: see
//! `forget_address`.) Here too nothing goes without any instance.
//!
//! This is history, which replicas may have seen differently: they agree again when the instances agree on a port.
//! Nothing of it but the choice itself enters a resource.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::ports::{Choice, Derived, Found, HTTP};
use crate::model::service::RegistryName;
use crate::model::time::Moment;

/// How long a client that chooses instances itself may choose one that has left: Eureka's servers answer from a cache of
/// 30 s, its clients ask every 30 s, and Spring's load balancer remembers for 35 s.
const BELIEVED: Duration = Duration::from_secs(120);

/// What the resource of a host remembers. Lives as long as the host is claimed by the same service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    ports: BTreeMap<u16, Remembered>,
    /// Addresses of instances; those that nobody has any more, until when they stay.
    addresses: BTreeMap<IpAddr, Option<Moment>>,
    internal: bool,
    had_endpoints: bool,
    /// Of several registries that share the host, the one from whose instances the ports follow.
    source: Option<RegistryName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Remembered {
    group: Option<Arc<str>>,
    /// Nobody has it any more; from here on it may go. Absent: somebody has it.
    until: Option<Moment>,
}

/// All that a [`Memory`] holds, for the state on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recollection {
    /// Port, its name among the instances' ports, and from when on it may go.
    pub ports: Vec<(u16, Option<Arc<str>>, Option<Moment>)>,
    /// Addresses, and until when those stay that nobody has any more.
    pub addresses: Vec<(IpAddr, Option<Moment>)>,
    /// The service is inside of the mesh for good.
    pub internal: bool,
    /// It has, or had, endpoints of its own.
    pub had_endpoints: bool,
    /// From whose instances the ports follow, where several registries share the host.
    pub source: Option<RegistryName>,
}

impl Memory {
    /// What it holds, in order.
    #[must_use]
    pub fn recollection(&self) -> Recollection {
        Recollection {
            ports: self.ports.iter().map(|(n, p)| (*n, p.group.clone(), p.until)).collect(),
            addresses: self.addresses.iter().map(|(ip, until)| (*ip, *until)).collect(),
            internal: self.internal,
            had_endpoints: self.had_endpoints,
            source: self.source.clone(),
        }
    }

    /// A memory that holds that.
    #[must_use]
    pub fn recalled(all: Recollection) -> Self {
        let Recollection { ports, addresses, internal, had_endpoints, source } = all;
        let ports = ports.into_iter().map(|(n, group, until)| (n, Remembered { group, until })).collect();
        let addresses = addresses.into_iter().collect();
        Self { ports, addresses, internal, had_endpoints, source }
    }

    /// The ports of a service whose instances have `found`: remembers them, and keeps those for `ttl` that just went.
    pub fn ports(&mut self, found: &Found, choice: Choice, now: Moment, ttl: Duration) -> Vec<Derived> {
        for (number, port) in &mut self.ports {
            if is_held(found, choice, &port.group, *number) {
                port.until = None;
            } else if port.until.is_none() {
                port.until = Some(now.plus(ttl));
            }
        }
        for port in self.wanted(found, choice) {
            let fresh = Remembered { group: port.group, until: None };
            let slot = self.ports.entry(port.number).or_insert_with(|| fresh.clone());
            if slot.until.is_some() {
                *slot = fresh;
            }
        }
        if self.is_any_held() {
            self.ports.retain(|_, port| port.until.is_none_or(|until| until > now));
        }
        let port =
            |(number, port): (&u16, &Remembered)| Derived { group: port.group.clone(), number: *number };
        self.ports.iter().map(port).collect()
    }

    /// What a fresh look chooses and no remembered port stands for.
    fn wanted(&self, found: &Found, choice: Choice) -> Vec<Derived> {
        match choice {
            Choice::All => found.all(),
            Choice::Common(protocol) => {
                let stands = |group| self.ports.values().any(|p| p.until.is_none() && p.group == group);
                let fresh = found.common(protocol).into_iter();
                fresh.filter(|port| !stands(port.group.clone())).collect()
            }
        }
    }

    /// From whose instances the ports follow, where several registries share the host.
    #[must_use]
    pub fn source(&self) -> Option<&RegistryName> {
        self.source.as_ref()
    }

    /// The ports follow from the instances of `registry` from now on.
    pub fn follow(&mut self, registry: &RegistryName) {
        if self.source.as_ref() != Some(registry) {
            self.source = Some(registry.clone());
        }
    }

    /// The ports do not follow from instances any more.
    pub fn forget_ports(&mut self) {
        self.ports.clear();
    }

    /// The addresses that a sidecar listens on where those are the instances' own, which are `found`: remembers them,
    /// and keeps those that just went.
    pub fn addresses(&mut self, found: &[IpAddr], now: Moment) -> Vec<IpAddr> {
        let held: BTreeSet<IpAddr> = found.iter().copied().collect();
        for (ip, until) in &mut self.addresses {
            *until = if held.contains(ip) { None } else { until.or(Some(now.plus(BELIEVED))) };
        }
        self.addresses.extend(held.iter().map(|ip| (*ip, None)));
        if !held.is_empty() {
            self.addresses.retain(|_, until| until.is_none_or(|until| until > now));
        }
        self.addresses.keys().copied().collect()
    }

    /// The addresses that stay although nobody has them.
    pub fn left_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().filter(|(_, until)| until.is_some()).map(|(ip, _)| *ip)
    }

    /// Another service has an instance there: whoever calls it means that one. The last address stays all the same: a
    /// service without any would be listened for on all of them.
    pub fn forget_address(&mut self, ip: IpAddr) {
        let others = self.addresses.len() > 1;
        if others && self.addresses.get(&ip).is_some_and(Option::is_some) {
            self.addresses.remove(&ip);
        }
    }

    /// The addresses are not the instances' own.
    pub fn forget_addresses(&mut self) {
        self.addresses.clear();
    }

    /// When it will forget something, so that the host has to be converted again; `None`: not by time.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Moment> {
        let ports = self.ports.values().filter_map(|p| p.until).filter(|_| self.is_any_held());
        let instances = self.addresses.values().any(Option::is_none);
        let addresses = self.addresses.values().copied().flatten().filter(|_| instances);
        ports.chain(addresses).min()
    }

    /// Whether the service is inside of the mesh, now that it is known whether any endpoint is `mesh_capable`:
    /// it is from the first such endpoint on.
    pub fn internal(&mut self, mesh_capable: bool) -> bool {
        self.internal |= mesh_capable;
        self.internal
    }

    /// Whether the service has, or ever had, endpoints of its own, now that it is known whether it has `any`.
    pub fn has_had_endpoints(&mut self, any: bool) -> bool {
        self.had_endpoints |= any;
        self.had_endpoints
    }

    fn is_any_held(&self) -> bool {
        self.ports.values().any(|p| p.until.is_none())
    }
}

/// Whether an instance justifies the port.
fn is_held(found: &Found, choice: Choice, group: &Option<Arc<str>>, number: u16) -> bool {
    let own = found.has(&Derived { group: group.clone(), number });
    let nobodys = number == HTTP && matches!(choice, Choice::Common(p) if p.is_http());
    own || (nobodys && found.has_group(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::fixtures::named;
    use crate::model::endpoint::EndpointPorts;
    use crate::model::service::Protocol;

    const TTL: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    fn found(ports: &[u16]) -> Found {
        let ports: Vec<EndpointPorts> = ports.iter().map(|p| EndpointPorts::One(*p)).collect();
        Found::of(ports.iter())
    }

    fn numbers(m: &mut Memory, ports: &[u16], protocol: Protocol, seconds: u64) -> Vec<u16> {
        let derived = m.ports(&found(ports), Choice::Common(protocol), at(seconds), TTL);
        derived.into_iter().map(|d| d.number).collect()
    }

    #[test]
    fn a_chosen_port_stays_while_any_instance_has_it() {
        for protocol in [Protocol::Auto, Protocol::Http] {
            let mut m = Memory::default();
            assert_eq!(numbers(&mut m, &[8080], protocol, 0), [8080]);
            assert_eq!(numbers(&mut m, &[8080, 9090, 7070], protocol, 1), [8080]);
            assert_eq!(m.next_expiry(), None);
            assert_eq!(numbers(&mut m, &[8080], protocol, 9_999), [8080]);
        }
    }

    #[test]
    fn a_port_that_nobody_has_stands_beside_the_next_for_its_time() {
        let mut m = Memory::default();
        numbers(&mut m, &[8080], Protocol::Auto, 0);
        assert_eq!(numbers(&mut m, &[9090], Protocol::Auto, 10), [8080, 9090]);
        assert_eq!(m.next_expiry(), Some(at(610)));
        assert_eq!(numbers(&mut m, &[9090, 9191], Protocol::Auto, 609), [8080, 9090]);
        assert_eq!(m.next_expiry(), Some(at(610)));
        assert_eq!(numbers(&mut m, &[9090], Protocol::Auto, 610), [9090]);
        assert_eq!(m.next_expiry(), None);
    }

    #[test]
    fn a_port_that_comes_back_stays() {
        let mut m = Memory::default();
        numbers(&mut m, &[8080], Protocol::Auto, 0);
        numbers(&mut m, &[9090], Protocol::Auto, 10);
        assert_eq!(numbers(&mut m, &[8080, 9090], Protocol::Auto, 20), [8080, 9090]);
        assert_eq!(m.next_expiry(), None);
        assert_eq!(numbers(&mut m, &[8080, 9090], Protocol::Auto, 9_999), [8080, 9090]);
    }

    #[test]
    fn without_instances_nothing_goes() {
        let mut m = Memory::default();
        numbers(&mut m, &[8080], Protocol::Auto, 0);
        assert_eq!(numbers(&mut m, &[], Protocol::Auto, 10), [8080]);
        assert_eq!((m.next_expiry(), numbers(&mut m, &[], Protocol::Auto, 9_999)), (None, vec![8080]));
        assert_eq!(numbers(&mut m, &[9090], Protocol::Auto, 10_000), [9090]);
    }

    #[test]
    fn port_80_is_kept_by_any_http_instance() {
        let mut m = Memory::default();
        assert_eq!(numbers(&mut m, &[8080, 9090], Protocol::Http, 0), [80]);
        assert_eq!(numbers(&mut m, &[8080], Protocol::Http, 10), [80]);
        assert_eq!(numbers(&mut m, &[], Protocol::Http, 20), [80]);
        assert_eq!(numbers(&mut m, &[7070], Protocol::Http, 30), [80]);
        // Not HTTP any more: 80 is a port like others.
        assert_eq!(numbers(&mut m, &[7070], Protocol::Tcp, 40), [80, 7070]);
    }

    #[test]
    fn every_ports_lingers_where_all_are_published() {
        let mut m = Memory::default();
        let mut all = |ports: &[u16], s: u64| -> Vec<u16> {
            m.ports(&found(ports), Choice::All, at(s), TTL).into_iter().map(|d| d.number).collect()
        };
        assert_eq!(all(&[1, 2, 3], 0), [1, 2, 3]);
        assert_eq!(all(&[1, 4], 10), [1, 2, 3, 4]);
        assert_eq!(all(&[1, 3], 20), [1, 2, 3, 4]);
        assert_eq!(all(&[1, 3], 610), [1, 3, 4]);
        assert_eq!(all(&[1, 3], 620), [1, 3]);
    }

    #[test]
    fn names_choose_for_themselves() {
        let mut m = Memory::default();
        let look = |m: &mut Memory, a: u16, b: u16| {
            let ports = [named(&[("admin", a), ("http", b)])];
            let made = m.ports(&Found::of(ports.iter()), Choice::Common(Protocol::Auto), at(0), TTL);
            made.into_iter().map(|d| (d.group.unwrap().to_string(), d.number)).collect::<Vec<_>>()
        };
        let first = [("admin".to_owned(), 1), ("http".to_owned(), 8080)];
        assert_eq!(look(&mut m, 1, 8080), first);
        assert_eq!(look(&mut m, 1, 9090), [&first[..], &[("http".to_owned(), 9090)]].concat());
    }

    #[test]
    fn an_address_stays_for_as_long_as_clients_may_believe_in_it() {
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut m = Memory::default();
        assert_eq!(m.addresses(&[ip(2), ip(1)], at(0)), [ip(1), ip(2)]);
        assert_eq!(m.next_expiry(), None);
        assert_eq!(m.addresses(&[ip(2)], at(10)), [ip(1), ip(2)]);
        assert_eq!((m.next_expiry(), m.left_addresses().collect::<Vec<_>>()), (Some(at(130)), vec![ip(1)]));
        assert_eq!(m.addresses(&[ip(2), ip(3)], at(129)), [ip(1), ip(2), ip(3)]);
        assert_eq!(m.addresses(&[ip(2), ip(3)], at(130)), [ip(2), ip(3)]);
        assert_eq!(m.next_expiry(), None);
        // It comes back before its time.
        m.addresses(&[ip(3)], at(140));
        m.addresses(&[ip(2), ip(3)], at(150));
        assert_eq!(m.addresses(&[ip(2), ip(3)], at(9_999)), [ip(2), ip(3)]);
    }

    #[test]
    fn without_instances_no_address_goes() {
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut m = Memory::default();
        m.addresses(&[ip(1), ip(2)], at(0));
        assert_eq!(m.addresses(&[], at(10)), [ip(1), ip(2)]);
        assert_eq!((m.next_expiry(), m.addresses(&[], at(9_999)).len()), (None, 2));
        assert_eq!(m.addresses(&[ip(3)], at(10_000)), [ip(3)]);
    }

    #[test]
    fn an_address_at_which_another_service_is_seen_is_given_up_unless_it_is_the_last() {
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut m = Memory::default();
        m.addresses(&[ip(1), ip(2)], at(0));
        m.forget_address(ip(1));
        assert_eq!(m.addresses(&[ip(2)], at(1)), [ip(1), ip(2)], "one that somebody has is nobody else's");
        m.forget_address(ip(1));
        assert_eq!(m.addresses(&[], at(2)), [ip(2)]);
        m.forget_address(ip(2));
        assert_eq!(m.addresses(&[], at(3)), [ip(2)]);
    }

    #[test]
    fn once_internal_always_internal() {
        let mut m = Memory::default();
        assert!(!m.internal(false));
        assert!(m.internal(true));
        assert!(m.internal(false));
    }
}
