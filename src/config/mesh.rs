//! `mesh`: what we must know of the mesh that we feed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Map, Value, json};

use crate::convert::validate::Release;
use crate::model::host::Host;
use crate::resource::legacy::Pilot;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::words::shown;
use crate::yaml::{Entry, Fault, Node};

/// What we must know of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Where virtual addresses come from, disjoint; empty: there are none.
    pub virtual_addresses: Vec<IpNet>,
    /// Hosts whose virtual address is said here, inside of the ranges or not. Each address once.
    pub pins: BTreeMap<Host, IpAddr>,
    /// The oldest release that the xDS wires serve: decides validation where it cannot be told from the stream.
    pub oldest_xds: Release,
    /// The oldest Pilot that the legacy wires serve: decides where the stream tells of none newer.
    pub oldest_pilot: Pilot,
}

/// 67 million addresses of the reserved class E: no real host has one, and Istio's own range lies elsewhere.
const DEFAULT_RANGE: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(244, 0, 0, 0), 6));

/// The first release whose MCP over xDS we speak.
const OLDEST_XDS: Release = Release::new(1, 9);

/// Ranges that are somebody else's, and whose.
const TAKEN: [(&str, &str); 8] = [
    ("240.240.0.0/16", "Istio gives addresses of 240.240.0.0/16 to services without one"),
    ("2001:2::/48", "Istio gives addresses of 2001:2::/48 to services without one"),
    ("127.0.0.0/8", "127.0.0.0/8 is the machine itself"),
    ("::1/128", "::1 is the machine itself"),
    ("0.0.0.0/8", "0.0.0.0/8 is no destination"),
    ("255.255.255.255/32", "255.255.255.255 is everybody"),
    ("224.0.0.0/4", "224.0.0.0/4 is for multicast"),
    ("ff00::/8", "ff00::/8 is for multicast"),
];

impl Default for Mesh {
    fn default() -> Self {
        Self {
            virtual_addresses: vec![DEFAULT_RANGE],
            pins: BTreeMap::new(),
            oldest_xds: OLDEST_XDS,
            oldest_pilot: Pilot::default(),
        }
    }
}

impl Mesh {
    pub(super) fn decode(mut f: Fields<'_, '_>) -> Self {
        let default = Self::default();
        let ranges = f.take("virtualAddresses").and_then(|node| ranges(node, f.findings()));
        let pins_node = f.take("pins");
        let pins = pins_node.map(|node| pins(node, f.findings())).unwrap_or_default();
        let virtual_addresses = ranges.unwrap_or(default.virtual_addresses);
        if let Some(node) = pins_node.filter(|_| virtual_addresses.is_empty() && !pins.is_empty()) {
            let words = "`virtualAddresses: []` turns virtual addresses off, so pins have no effect: take out one of them";
            f.findings().push(node.fault(words));
        }
        let mut istio = f.section("istio");
        let oldest_xds = istio.or("xds", default.oldest_xds, release);
        let oldest_pilot = istio.or("legacy", default.oldest_pilot, pilot);
        Self { virtual_addresses, pins, oldest_xds, oldest_pilot }
    }

    pub(super) fn shown(&self) -> Value {
        let pins: Map<String, Value> =
            self.pins.iter().map(|(host, ip)| (host.to_string(), json!(ip.to_string()))).collect();
        json!({
            "virtualAddresses": self.virtual_addresses.iter().map(IpNet::to_string).collect::<Vec<_>>(),
            "pins": pins,
            "istio": { "xds": self.oldest_xds.to_string(), "legacy": self.oldest_pilot.to_string() },
        })
    }
}

/// Reads `10.8.0.0/16`.
pub(super) fn network(node: &Node) -> Result<IpNet, Fault> {
    let wanted = || node.expected("a range of addresses such as `10.8.0.0/16`");
    let text = node.text().map_err(|_| wanted())?;
    let net: IpNet =
        text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| wanted())?;
    if net.trunc() != net {
        return Err(node.fault(format!("{net} does not begin its range: did you mean `{}`?", net.trunc())));
    }
    Ok(net)
}

fn ranges(node: &Node, findings: &Findings) -> Option<Vec<IpNet>> {
    let elements = findings.note(node.elements())?;
    let mut good: Vec<IpNet> = Vec::new();
    for node in elements {
        let checked = network(node).and_then(|net| {
            let words = whose(net).map(String::from).or_else(|| {
                let other = good.iter().find(|o| overlap(**o, net))?;
                Some(format!("{net} and {other} overlap: each address may belong to one range only"))
            });
            words.map_or(Ok(net), |w| Err(node.fault(w)))
        });
        good.extend(findings.note(checked));
    }
    Some(good)
}

/// Why we may not give addresses of `net`.
fn whose(net: IpNet) -> Option<&'static str> {
    TAKEN.iter().find(|(taken, _)| taken.parse().is_ok_and(|t| overlap(t, net))).map(|(_, words)| *words)
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn pins(node: &Node, findings: &Findings) -> BTreeMap<Host, IpAddr> {
    let mut good = BTreeMap::new();
    for entry in findings.note(node.pairs()).unwrap_or_default() {
        if let Some((host, ip)) = findings.note(pin(entry, &good)) {
            good.insert(host, ip);
        }
    }
    good
}

fn pin(entry: &Entry, others: &BTreeMap<Host, IpAddr>) -> Result<(Host, IpAddr), Fault> {
    let host = Host::parse(&entry.key).map_err(|e| Fault::new(entry.at, format!("no host: {e}")))?;
    if host.is_wildcard() {
        return Err(Fault::new(
            entry.at,
            format!("`{}` names many hosts: one host, one address", shown(&entry.key)),
        ));
    }
    if others.contains_key(&host) {
        return Err(Fault::new(entry.at, format!("{host} is pinned twice: case does not tell hosts apart")));
    }
    let wanted = || entry.value.expected("an IP address such as `244.0.0.10`");
    let ip: IpAddr = entry.value.text().map_err(|_| wanted())?.parse().map_err(|_| wanted())?;
    if let Some(words) = whose(ip.into()) {
        return Err(entry.value.fault(words));
    }
    if let Some((other, _)) = others.iter().find(|(_, o)| **o == ip) {
        return Err(entry.value.fault(format!("{ip} is pinned to {other} already: each host needs its own")));
    }
    Ok((host, ip))
}

fn release(node: &Node) -> Result<Release, Fault> {
    let wanted = || node.expected("a release of Istio such as `\"1.9\"`");
    let release: Release = node.text().map_err(|_| wanted())?.parse().map_err(|_| wanted())?;
    if release < OLDEST_XDS {
        return Err(
            node.fault(format!("{release} is older than {OLDEST_XDS}, the oldest release served over xDS"))
        );
    }
    Ok(release)
}

fn pilot(node: &Node) -> Result<Pilot, Fault> {
    let wanted = || {
        node.expected("a release from `\"1.1\"` to `\"1.8\"`, which are those that speak the legacy protocol")
    };
    node.text().map_err(|_| wanted())?.parse().map_err(|_| wanted())
}
