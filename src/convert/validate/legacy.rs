//! Which Pilots of the legacy protocol take a resource that newer releases take: the rules in which 1.1 to 1.8 are
//! stricter, and fields that they would skip over and then call something else than was meant.
//!
//! A Pilot acknowledges what it drops, so nobody would ever hear of it. Sources: `validation.go` of 1.1, 1.5.10, 1.6.14
//! and 1.7.8, and what running ones did with it; unset protocols: the pull request that brought them to 1.3.

use std::net::IpAddr;

use prost::Message;
use xxhash_rust::xxh3::Xxh3Default;

use crate::proto::networking::service_entry::Resolution;
use crate::proto::networking::{ServiceEntry, WorkloadEntry};
use crate::resource::legacy::{Fitness, Pilot, Stir, Takers};

/// Sniffs what a port with an unset protocol speaks.
const SNIFFS: Takers = Takers::From(Pilot::V1_3);
/// Takes services that have lost their endpoints, and IPv6. (1.4 says so only of IPv4.)
const LIBERAL: Takers = Takers::From(Pilot::V1_5);
/// Knows WorkloadEntries.
const WORKLOADS: Takers = Takers::From(Pilot::V1_6);
/// Exports to namespaces.
const EXPORTS: Takers = Takers::From(Pilot::V1_7);

/// Which Pilots take a ServiceEntry that passes [`super::service_entry`].
#[must_use]
pub fn service_entry(entry: &ServiceEntry) -> Fitness {
    let rest = [resolution(entry), addresses(entry), exports(entry), ports(entry)];
    let rest = rest.into_iter().max().unwrap_or_default();
    let unset = entry.ports.iter().any(|p| p.protocol.is_empty());
    if !unset {
        return Fitness::of(rest).stirred(stir(entry));
    }
    // On an address of its own a port may as well be opaque. Without one it would swallow what others have on that port.
    let opaque = if entry.addresses.is_empty() || entry.hosts.len() > 1 { rest.max(SNIFFS) } else { rest };
    Fitness { as_is: rest.max(SNIFFS), as_tcp: opaque, stir: stir(entry) }
}

/// What no Pilot may take for a change of endpoints alone, seen on running ones: up to 1.7 they overlook that the last
/// endpoint has gone, 1.5 and 1.6 then tell proxies to call every endpoint on the service's port instead of its own, and
/// 1.5 forgets that endpoints with names are part of the cluster.
fn stir(entry: &ServiceEntry) -> Stir {
    let number = |name: &str| entry.ports.iter().find(|p| p.name == name).map(|p| p.number);
    let moved =
        |e: &WorkloadEntry| e.ports.iter().any(|(name, port)| number(name).is_some_and(|n| n != *port));
    let plain = match Resolution::try_from(entry.resolution) {
        Ok(Resolution::Static) => !entry.endpoints.is_empty() && !entry.endpoints.iter().any(moved),
        Ok(Resolution::Dns) => false,
        _ => true,
    };
    if plain {
        return Stir::default();
    }
    let mut hash = Xxh3Default::new();
    for endpoint in &entry.endpoints {
        let bytes = endpoint.encode_to_vec();
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Stir::of(hash.digest())
}

/// Which Pilots take a WorkloadEntry that passes [`super::workload_entry`].
#[must_use]
pub fn workload_entry(entry: &WorkloadEntry) -> Fitness {
    Fitness::of(if entry.address.is_empty() { Takers::Nobody } else { WORKLOADS })
}

fn resolution(entry: &ServiceEntry) -> Takers {
    if entry.endpoints.iter().any(|e| e.address.is_empty()) {
        return Takers::Nobody;
    }
    match Resolution::try_from(entry.resolution) {
        Ok(_) if entry.workload_selector.is_some() => WORKLOADS,
        Ok(Resolution::Static) if entry.endpoints.is_empty() => LIBERAL,
        Ok(Resolution::Dns) if entry.endpoints.is_empty() && entry.hosts.iter().any(|h| h.contains('*')) => {
            Takers::Nobody
        }
        Ok(Resolution::None | Resolution::Static | Resolution::Dns) => Takers::ALL,
        Ok(Resolution::DnsRoundRobin | Resolution::DynamicDns) | Err(_) => Takers::Nobody,
    }
}

fn addresses(entry: &ServiceEntry) -> Takers {
    let of_endpoints = entry.endpoints.iter().map(|e| e.address.as_str());
    let fixed = entry.resolution == Resolution::Static as i32;
    let mut all = entry.addresses.iter().map(String::as_str).chain(of_endpoints.filter(|_| fixed));
    if all.any(is_ipv6) { LIBERAL } else { Takers::ALL }
}

/// As Go sees it: an IPv4 address that is written as an IPv6 one is none.
fn is_ipv6(address: &str) -> bool {
    let ip = address.split('/').next().unwrap_or_default().parse::<IpAddr>();
    ip.is_ok_and(|ip| ip.to_canonical().is_ipv6())
}

fn exports(entry: &ServiceEntry) -> Takers {
    match entry.export_to.as_slice() {
        [] => Takers::ALL,
        [one] if matches!(one.as_str(), "." | "*") => Takers::ALL,
        _ => EXPORTS,
    }
}

fn ports(entry: &ServiceEntry) -> Takers {
    let proxies = entry.ports.iter().any(|p| p.protocol.eq_ignore_ascii_case("HTTP_PROXY"));
    let known = if proxies { LIBERAL } else { Takers::ALL };
    // They know no target ports, and would call the endpoint on the service's port.
    let mut moved = entry.ports.iter().filter(|p| p.target_port != 0 && p.target_port != p.number);
    let by_host = entry.resolution == Resolution::Dns as i32 && entry.endpoints.is_empty();
    let misled = moved.any(|p| {
        let own = |e: &WorkloadEntry| e.ports.contains_key(&p.name) || e.address.starts_with("unix://");
        by_host || entry.workload_selector.is_some() || !entry.endpoints.iter().all(own)
    });
    if misled { Takers::Nobody } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::networking::ServicePort;

    fn port(protocol: &str) -> ServicePort {
        ServicePort { number: 80, name: "main".into(), protocol: protocol.into(), target_port: 0 }
    }

    fn at(address: &str) -> WorkloadEntry {
        WorkloadEntry { address: address.into(), ..Default::default() }
    }

    fn entry() -> ServiceEntry {
        ServiceEntry {
            hosts: vec!["a.example".into()],
            addresses: vec!["244.0.0.1".into()],
            ports: vec![port("HTTP")],
            resolution: Resolution::Static.into(),
            endpoints: vec![at("10.0.0.1")],
            ..Default::default()
        }
    }

    fn takers(change: impl FnOnce(&mut ServiceEntry)) -> Takers {
        let mut entry = entry();
        change(&mut entry);
        service_entry(&entry).as_is
    }

    #[test]
    fn what_all_releases_know_all_take() {
        assert_eq!(takers(|_| {}), Takers::ALL);
        assert_eq!(takers(|e| e.export_to = vec![".".into()]), Takers::ALL);
        assert_eq!(takers(|e| e.endpoints = vec![at("unix:///run/a")]), Takers::ALL);
        assert_eq!(takers(|e| e.endpoints = vec![at("::ffff:10.0.0.1")]), Takers::ALL);
    }

    #[test]
    fn a_service_without_endpoints_is_for_1_5_and_newer() {
        assert_eq!(takers(|e| e.endpoints.clear()), LIBERAL);
        let dns = |e: &mut ServiceEntry| {
            e.endpoints.clear();
            e.resolution = Resolution::Dns.into();
        };
        assert_eq!(takers(dns), Takers::ALL);
    }

    #[test]
    fn ipv6_is_for_1_5_and_newer_but_for_endpoints_that_are_resolved() {
        assert_eq!(takers(|e| e.endpoints.push(at("2001:db8::1"))), LIBERAL);
        assert_eq!(takers(|e| e.addresses = vec!["fd00::/64".into()]), LIBERAL);
        let resolved = |e: &mut ServiceEntry| {
            e.resolution = Resolution::Dns.into();
            e.endpoints = vec![at("2001:db8::1"), at("b.example")];
        };
        assert_eq!(takers(resolved), Takers::ALL);
    }

    #[test]
    fn selectors_and_namespaces_are_for_those_that_know_them() {
        let selector = |e: &mut ServiceEntry| {
            e.endpoints.clear();
            e.workload_selector = Some(Default::default());
        };
        assert_eq!(takers(selector), WORKLOADS);
        for to in [vec!["a".to_owned()], vec!["~".into()], vec!["a".into(), "b".into()]] {
            assert_eq!(takers(|e| e.export_to = to), EXPORTS);
        }
        assert_eq!(workload_entry(&at("10.0.0.1")).as_is, WORKLOADS);
        assert_eq!(workload_entry(&at("")).as_is, Takers::Nobody);
    }

    #[test]
    fn what_they_would_refuse_or_call_wrongly_nobody_gets() {
        for r in [Resolution::DnsRoundRobin, Resolution::DynamicDns] {
            assert_eq!(takers(|e| e.resolution = r.into()), Takers::Nobody);
        }
        assert_eq!(takers(|e| e.resolution = 9), Takers::Nobody);
        assert_eq!(takers(|e| e.endpoints = vec![at("")]), Takers::Nobody);
        assert_eq!(takers(|e| e.ports[0].target_port = 8080), Takers::Nobody);
        let mapped = |e: &mut ServiceEntry| {
            e.ports[0].target_port = 8080;
            e.endpoints[0].ports.insert("main".into(), 8080);
        };
        assert_eq!(takers(mapped), Takers::ALL);
    }

    #[test]
    fn an_unset_protocol_is_opaque_to_those_that_cannot_sniff() {
        let unset = |change: fn(&mut ServiceEntry)| {
            let mut entry = entry();
            entry.ports.push(port(""));
            change(&mut entry);
            service_entry(&entry)
        };
        assert_eq!(unset(|_| {}), Fitness { as_is: SNIFFS, as_tcp: Takers::ALL, ..Fitness::default() });
        let emptied = unset(|e| e.endpoints.clear());
        assert_eq!(emptied, Fitness::of(LIBERAL).stirred(emptied.stir));
        assert_eq!(
            unset(|e| e.addresses.clear()),
            Fitness::of(SNIFFS),
            "it would catch all calls to that port"
        );
    }

    fn stir_of(change: impl FnOnce(&mut ServiceEntry)) -> Stir {
        let mut entry = entry();
        change(&mut entry);
        service_entry(&entry).stir
    }

    #[test]
    fn endpoints_on_the_services_port_move_nothing_else() {
        assert_eq!(stir_of(|_| {}), Stir::default());
        assert_eq!(stir_of(|e| e.endpoints.push(at("10.0.0.2"))), Stir::default());
        let same = WorkloadEntry { ports: [("main".into(), 80)].into(), ..at("10.0.0.2") };
        assert_eq!(stir_of(|e| e.endpoints.push(same)), Stir::default());
    }

    #[test]
    fn emptied_and_moved_endpoints_are_no_change_of_endpoints_alone() {
        let on = |port: u32| WorkloadEntry { ports: [("main".into(), port)].into(), ..at("10.0.0.2") };
        let stirs = [
            Stir::default(),
            stir_of(|e| e.endpoints.clear()),
            stir_of(|e| e.endpoints.push(on(8080))),
            stir_of(|e| e.endpoints.push(on(8081))),
            stir_of(|e| e.endpoints = vec![on(8080)]),
        ];
        for (n, one) in stirs.iter().enumerate() {
            assert!(stirs[..n].iter().all(|other| other != one), "{n}");
        }
        assert_eq!(stirs[2], stir_of(|e| e.endpoints.push(on(8080))), "it follows from the content");
    }

    #[test]
    fn names_are_no_change_of_endpoints_alone() {
        let named = |name: &str| {
            stir_of(|e| {
                e.resolution = Resolution::Dns.into();
                e.endpoints = vec![at(name)];
            })
        };
        assert_eq!(named("a.example"), named("a.example"));
        assert_ne!(named("a.example"), named("b.example"));
        assert_eq!(stir_of(|e| e.resolution = Resolution::None.into()), Stir::default());
    }
}
