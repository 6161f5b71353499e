//! Endpoints: which of them are published, and as what.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use crate::convert::admission::Door;
use crate::convert::labels::{SIBLINGS, TLS_MODE};
use crate::convert::mapping::{EndpointRule, Mapping};
use crate::convert::ports::{Fit, Ports};
use crate::convert::self_service::{SelfService, with_grpc};
use crate::convert::service_entry::{Context, weights};
use crate::model::admitted::Reason;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::service::{Protocol, Service};
use crate::proto::networking::WorkloadEntry;

/// How many left-out endpoints a note names.
const NAMED: usize = 3;

/// An endpoint that is not left out, and what decides about it.
#[derive(Debug, Clone)]
pub(super) struct Chosen<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Of which of the services that share the host: its place in their order.
    pub(super) part: usize,
    /// How its service appears.
    mapping: &'a Mapping,
    rule: Option<&'a EndpointRule>,
    /// Its own, or what its owner says.
    weight: Weight,
    /// What its owner says.
    said_mode: Option<TlsMode>,
    /// Where they are others than the endpoint's own.
    ports: Option<EndpointPorts>,
    /// The mode where neither the endpoint nor a rule says anything.
    default_mode: TlsMode,
}

impl Chosen<'_> {
    /// Whether it may be called with mutual TLS. What the endpoint itself says comes first (an account is a saying:
    /// only endpoints with a proxy have one), then the rule of its network, then the service, then the mapping.
    fn mode(&self) -> TlsMode {
        let own = self.endpoint.service_account.as_ref().map(|_| TlsMode::Istio);
        let rule = self.rule.and_then(|r| r.tls_mode.or(r.service_account.as_ref().map(|_| TlsMode::Istio)));
        self.said_mode.or(self.endpoint.tls_mode).or(own).or(rule).unwrap_or(self.default_mode)
    }

    pub(super) fn ports(&self) -> &EndpointPorts {
        self.ports.as_ref().unwrap_or(&self.endpoint.ports)
    }

    /// Whether it takes calls at all.
    pub(super) fn takes_calls(&self) -> bool {
        self.weight != Weight::ZERO
    }

    pub(super) fn is_mesh_capable(&self) -> bool {
        self.mode() == TlsMode::Istio
    }

    fn account(&self) -> Option<&Arc<str>> {
        self.endpoint.service_account.as_ref().or(self.rule.and_then(|r| r.service_account.as_ref()))
    }

    fn network(&self) -> Option<&Arc<str>> {
        self.endpoint.network.as_ref().or(self.rule.and_then(|r| r.network.as_ref()))
    }
}

/// The endpoints of a ServiceEntry.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    /// Sorted by address, port and id.
    pub(super) endpoints: Vec<WorkloadEntry>,
    /// The addresses among them that are IPs.
    pub(super) ips: Vec<IpAddr>,
    /// Whether any of them is a name, so that the proxy has to resolve.
    pub(super) by_name: bool,
    /// Where those of each of the services are that share the host, if several do.
    pub(super) shares: Vec<Vec<Address>>,
}

/// The ports that endpoints are to serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    /// Those of the first of the services that share the host.
    pub(super) ports: &'a Ports,
    /// How the endpoints of the others serve them, by their place; those of the first do as they say.
    pub(super) fits: &'a [Option<Fit>],
}

impl Served<'_> {
    fn by(&self, c: &Chosen<'_>) -> BTreeMap<String, u32> {
        match self.fits.get(c.part) {
            Some(Some(fit)) => self.ports.served_by_other(c.ports(), fit),
            Some(None) | None => self.ports.served_by(c.ports()),
        }
    }
}

/// The endpoints of `service` but for those that are not selected and those that the mapping drops. `part`: which of the
/// services that share the host it is.
pub(super) fn choose<'a>(
    service: &'a Service,
    cx: &Context<'a>,
    part: usize,
    notes: &mut Vec<String>,
) -> Vec<Chosen<'a>> {
    let mapping = cx.mapping;
    let default_mode = cx.says.tls_mode.unwrap_or(mapping.tls_mode);
    let mut chosen = Vec::with_capacity(service.endpoints.len());
    let (mut dropped, mut refused) = (LeftOut::default(), BTreeMap::<Reason, LeftOut>::new());
    let (door, ears) = (Door::new(service, cx.select, mapping), &mapping.self_service);
    for endpoint in &service.endpoints {
        if let Some(reason) = door.refuses(Some(endpoint)) {
            refused.entry(reason).or_default().add(endpoint);
            continue;
        }
        let rule = match endpoint.address {
            Address::Ip(ip) => mapping.endpoints.iter().find(|r| r.matches(ip)),
            Address::Name(_) | Address::Unix(_) => None,
        };
        if rule.is_some_and(|r| r.drop) {
            dropped.add(endpoint);
        } else {
            let (weight, said_mode) = (ears.weight(endpoint), ears.tls_mode(endpoint));
            let ports = None;
            chosen.push(Chosen { endpoint, part, mapping, rule, weight, said_mode, ports, default_mode });
        }
    }
    refused.iter().for_each(|(reason, left_out)| left_out.note(reason.as_str(), notes));
    dropped.note("a rule in `map.endpoints` drops them", notes);
    add_grpc(&mut chosen, ears, cx.says.protocol.unwrap_or(mapping.protocol));
    chosen
}

/// Where any instance has a port for gRPC beside its own, all of them name their ports: so each is known for what it is.
fn add_grpc(chosen: &mut [Chosen<'_>], ears: &SelfService, protocol: Protocol) {
    if chosen.iter().all(|c| ears.grpc_port(c.endpoint).is_none()) {
        return;
    }
    for c in chosen {
        c.ports = Some(with_grpc(&c.endpoint.ports, protocol.port_prefix(), ears.grpc_port(c.endpoint)));
    }
}

/// Publishes `chosen`: sorted, each socket once.
pub(super) fn emit(chosen: &[Chosen<'_>], served: Served<'_>, notes: &mut Vec<String>) -> Emitted {
    let (mut idle, mut sockets, mut doubles) = Default::default();
    let mut live = kept(chosen, Chosen::takes_calls, &mut idle);
    let by_name = live.iter().any(|c| matches!(c.endpoint.address, Address::Name(_)));
    if by_name {
        live = kept(&live, |c| !matches!(c.endpoint.address, Address::Unix(_)), &mut sockets);
    }
    live.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut endpoints: Vec<WorkloadEntry> = Vec::with_capacity(live.len());
    let (mut weighed, mut ips) = (Vec::with_capacity(live.len()), Vec::new());
    let shared = served.fits.len() > 1;
    let mut shares = vec![Vec::new(); if shared { served.fits.len() } else { 0 }];
    for (c, entry) in once_each(&live, served, &mut doubles) {
        if let Some(share) = shares.get_mut(c.part) {
            share.push(c.endpoint.address.clone());
        }
        if let Address::Ip(ip) = c.endpoint.address {
            ips.push(ip);
        }
        weighed.push(c.weight);
        endpoints.push(entry);
    }
    for (entry, weight) in endpoints.iter_mut().zip(weights::scale(&weighed)) {
        entry.weight = weight;
    }
    tell_siblings_apart(&mut endpoints);
    idle.note("their weight is 0", notes);
    sockets.note("a socket cannot stand beside names that are resolved", notes);
    doubles.note("another endpoint has the same address and port", notes);
    Emitted { endpoints, ips, by_name, shares }
}

fn kept<'a>(
    chosen: &[Chosen<'a>],
    keep: impl Fn(&Chosen<'a>) -> bool,
    left_out: &mut LeftOut,
) -> Vec<Chosen<'a>> {
    let keep = |c: &&Chosen<'a>| {
        let stays = keep(c);
        if !stays {
            left_out.add(c.endpoint);
        }
        stays
    };
    chosen.iter().filter(keep).cloned().collect()
}

/// Address, port, id; the rest only so that equal ids cannot make the order depend on the registry's.
fn order<'a>(c: &'a Chosen<'_>) -> impl Ord + use<'a> {
    let e = c.endpoint;
    let first = (&e.address, c.ports(), &e.id, &e.network);
    (first, (&e.labels, &e.locality, &e.service_account, e.tls_mode, c.weight), c.part)
}

/// The sorted endpoints as Istio reads them. Of several on one socket the first stands (of several services' the first
/// service's): Envoy knows a socket once.
fn once_each<'a, 'b>(
    live: &'b [Chosen<'a>],
    served: Served<'_>,
    doubles: &mut LeftOut,
) -> Vec<(&'b Chosen<'a>, WorkloadEntry)> {
    let mut made: Vec<(&Chosen<'a>, WorkloadEntry)> = Vec::with_capacity(live.len());
    for siblings in live.chunk_by(|a, b| a.endpoint.address == b.endpoint.address) {
        // Nearly every endpoint is alone on its address and needs no table.
        if let [alone] = siblings {
            made.push((alone, wire(alone, served)));
            continue;
        }
        let mut all: Vec<(usize, (&Chosen<'a>, WorkloadEntry))> =
            siblings.iter().map(|c| (c, wire(c, served))).enumerate().collect();
        all.sort_by_key(|(place, (c, _))| (c.part, *place));
        let mut sockets: BTreeMap<_, usize> = BTreeMap::new();
        let mut firsts: Vec<(usize, (&Chosen<'a>, WorkloadEntry))> = Vec::with_capacity(all.len());
        for (place, (c, entry)) in all {
            let first = *sockets.entry((entry.ports.clone(), entry.network.clone())).or_insert(firsts.len());
            match firsts.get(first) {
                None => firsts.push((place, (c, entry))),
                Some((_, (f, same))) if *same == entry && f.weight == c.weight => {}
                Some(_) => doubles.add(c.endpoint),
            }
        }
        firsts.sort_by_key(|(place, _)| *place);
        made.extend(firsts.into_iter().map(|(_, one)| one));
    }
    made
}

fn wire(c: &Chosen<'_>, served: Served<'_>) -> WorkloadEntry {
    let (e, mapping) = (c.endpoint, c.mapping);
    let taken = mapping.labels.apply(&e.labels);
    let mut labels: BTreeMap<String, String> = taken.iter().map(|(k, v)| (k.into(), v.into())).collect();
    match (c.mode(), c.account()) {
        (TlsMode::Istio, _) => {
            labels.insert(TLS_MODE.into(), "istio".into());
        }
        // An account alone would make istiod call it with mutual TLS.
        (TlsMode::None, Some(_)) => {
            labels.insert(TLS_MODE.into(), "disabled".into());
        }
        (TlsMode::None, None) => {}
    }
    let ports = match e.address {
        Address::Unix(_) => BTreeMap::new(),
        Address::Ip(_) | Address::Name(_) => served.by(c),
    };
    let place = e.locality.as_deref().map(Cow::Borrowed);
    let place = place.or_else(|| mapping.self_service.locality(e).map(Cow::Owned));
    WorkloadEntry {
        address: e.address.to_string(),
        ports,
        labels,
        network: c.network().map(ToString::to_string).unwrap_or_default(),
        locality: place.as_deref().map(locality).unwrap_or_default(),
        weight: 0,
        service_account: c.account().map(ToString::to_string).unwrap_or_default(),
    }
}

/// `region/zone/subzone`: at most three parts without spaces around them; without a region it is none.
fn locality(text: &str) -> String {
    let parts: Vec<&str> = text.split('/').map(str::trim).take(3).collect();
    if parts.first().is_none_or(|region| region.is_empty()) {
        return String::new();
    }
    parts.join("/").trim_end_matches('/').to_owned()
}

/// Gives endpoints that share an address a label that changes with the set of them.
///
/// istiod up to 1.29 keys the endpoints of a ServiceEntry by address and port name and overlooks it when such a set
/// shrinks to the one that was last in it; labels take part in its comparison. An endpoint that is alone has no label.
fn tell_siblings_apart(sorted: &mut [WorkloadEntry]) {
    for siblings in sorted.chunk_by_mut(|a, b| a.address == b.address) {
        if siblings.len() < 2 {
            continue;
        }
        let mut hash = Xxh3Default::new();
        for entry in siblings.iter() {
            hash.update(entry.network.as_bytes());
            hash.update(&[0]);
            for (name, number) in &entry.ports {
                hash.update(name.as_bytes());
                hash.update(&number.to_le_bytes());
            }
            hash.update(&[1]);
        }
        let digits = format!("{:08x}", hash.digest() >> 32);
        for entry in siblings {
            entry.labels.insert(SIBLINGS.into(), digits.clone());
        }
    }
}

/// Endpoints that are not published, for a note to a person.
#[derive(Debug, Default)]
struct LeftOut {
    count: usize,
    first: Vec<String>,
}

impl LeftOut {
    fn add(&mut self, endpoint: &Endpoint) {
        self.count += 1;
        self.first.push(endpoint.address.to_string());
        // The registry's order must not show.
        self.first.sort();
        self.first.truncate(NAMED);
    }

    fn note(&self, why: &str, notes: &mut Vec<String>) {
        if self.count > 0 {
            let more = if self.count > self.first.len() { ", …" } else { "" };
            notes.push(format!("{} left out ({}{more}): {why}", plural(self.count), self.first.join(", ")));
        }
    }
}

fn plural(count: usize) -> String {
    if count == 1 { "1 endpoint".into() } else { format!("{count} endpoints") }
}
