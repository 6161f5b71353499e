//! `consul`: which servers are asked, for what, and how.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http::{self, Connection, ServerAddress};
use super::{Kind, RegistryKind};
use crate::config::map::KindDefaults;
use crate::config::units;
use crate::convert::self_service::Conventions;
use crate::model::service::Protocol;
use crate::yaml::fields::Fields;
use crate::yaml::words::shown as shown_text;
use crate::yaml::{Fault, Node};

/// `consul`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulConfig {
    /// Agents or servers of one cluster, in order of preference. Never empty.
    pub addresses: Vec<ServerAddress>,
    /// How they are spoken to.
    pub connection: Connection,
    /// Whose services are read. Empty: the datacenter of the agent that answers.
    pub datacenters: Vec<String>,
    /// The one whose name does not appear in hosts. Absent: the first of `datacenters`.
    pub local_datacenter: Option<String>,
    /// What Consul's DNS names end in.
    pub domain: String,
    /// Enterprise only. Empty: none is named.
    pub namespaces: Vec<String>,
    /// Enterprise only. Empty: none is named.
    pub partitions: Vec<String>,
    /// Cluster peers whose exported services are read as well.
    pub peers: Vec<String>,
    /// An expression that Consul applies to instances.
    pub filter: Option<String>,
    /// How current answers must be.
    pub consistency: ConsulConsistency,
    /// How old a stale answer may be. Absent: any age.
    pub max_stale: Option<Duration>,
    /// How changes are noticed.
    pub watch: ConsulWatch,
    /// Connections to one server that are open at a time.
    pub connections: u16,
    /// Connect sidecars are taken.
    pub sidecars: bool,
    /// Gateways are taken.
    pub gateways: bool,
    /// Which tagged address is preferred.
    pub tagged_address: Option<String>,
    /// Instances with a warning are left out.
    pub only_passing: bool,
    /// The protocols in `service-defaults` are read.
    pub service_defaults: bool,
}

/// How current answers must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsulConsistency {
    /// The leader answers.
    Default,
    /// Any server does.
    Stale,
    /// The leader does, once it has made sure that it leads.
    Consistent,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsulWatch {
    /// `Each` as long as connections suffice.
    Auto,
    /// A blocking query for each service.
    Each,
    /// Few blocking queries, and reading in turn.
    Sweep,
}

const CONSISTENCIES: [(&str, ConsulConsistency); 3] = [
    ("default", ConsulConsistency::Default),
    ("stale", ConsulConsistency::Stale),
    ("consistent", ConsulConsistency::Consistent),
];
const WATCHES: [(&str, ConsulWatch); 3] =
    [("auto", ConsulWatch::Auto), ("each", ConsulWatch::Each), ("sweep", ConsulWatch::Sweep)];

/// Half of what Consul grants to one client address: there may be others behind it.
const CONNECTIONS: u16 = 100;
/// Fewer would not do to read and to watch at the same time.
const FEWEST_CONNECTIONS: u16 = 32;
/// What transparent proxies call; nobody else can.
const VIRTUAL: [&str; 2] = ["virtual", "consul-virtual"];

/// A host is what Consul's own DNS calls the service.
pub(super) const KIND: Kind = Kind {
    key: "consul",
    defaults: KindDefaults {
        placeholders: &["service", "at", "datacenter", "domain", "namespace", "partition", "peer"],
        hosts: &["{service}.service.{at?}.{domain}"],
        protocol: Protocol::Auto,
        noise: &["consul-*", "external-source", "external-k8s-*"],
        // What consul-k8s synced into Consul came from the mesh: it would go round in circles.
        excluded: &[("external-source", "kubernetes")],
        // Consul's servers, known by the port on which they speak to each other. A virtual address for
        // `consul.service.consul` would take their API, which applications call by that name, away from them.
        excluded_names: &["consul"],
        conventions: Conventions { protocol: &["protocol"], grpc_port: &[], region: &[], zone: &[] },
    },
    decode,
};

fn decode(mut f: Fields<'_, '_>, base: &Path) -> Option<RegistryKind> {
    let addresses = addresses(&mut f);
    let connection = Connection::decode(&mut f, base);
    let (sidecars, gateways) = {
        let mut connect = f.section("connect");
        (connect.or("sidecars", false, Node::boolean), connect.or("gateways", false, Node::boolean))
    };
    let config = ConsulConfig {
        addresses: Vec::new(),
        connection,
        datacenters: f.list("datacenters", name).unwrap_or_default(),
        local_datacenter: f.get("localDatacenter", name),
        domain: f.or("domain", "consul".into(), domain),
        namespaces: f.list("namespaces", name).unwrap_or_default(),
        partitions: f.list("partitions", name).unwrap_or_default(),
        peers: f.list("peers", name).unwrap_or_default(),
        filter: f.get("filter", |n| Ok(n.text()?.to_owned())).filter(|t| !t.trim().is_empty()),
        consistency: f.or("consistency", ConsulConsistency::Default, |n| n.choice(&CONSISTENCIES)),
        max_stale: f.get("maxStale", units::positive_duration),
        watch: f.or("watch", ConsulWatch::Auto, |n| n.choice(&WATCHES)),
        connections: f.or("connections", CONNECTIONS, |n| n.integer(FEWEST_CONNECTIONS, 10_000)),
        sidecars,
        gateways,
        tagged_address: f.get("taggedAddress", tagged_address),
        only_passing: f.or("onlyPassing", false, Node::boolean),
        service_defaults: f.or("serviceDefaults", true, Node::boolean),
    };
    if config.max_stale.is_some() && config.consistency != ConsulConsistency::Stale {
        let words = "`maxStale` says how old a stale answer may be: write `consistency: stale` beside it";
        f.findings().push(Fault::new(f.at(), words));
    }
    Some(RegistryKind::Consul(ConsulConfig { addresses: addresses?, ..config }))
}

/// `address` or `addresses`.
fn addresses(f: &mut Fields<'_, '_>) -> Option<Vec<ServerAddress>> {
    let one = f.get("address", http::address);
    let (written, many) = (f.entry("addresses").is_some(), f.list("addresses", http::address));
    match (one, many) {
        (Some(_), Some(_)) => {
            let words = "`address` and `addresses` say the same: write one of them";
            f.findings().push(Fault::new(f.at(), words));
            None
        }
        (Some(one), None) => Some(vec![one]),
        (None, Some(many)) if !many.is_empty() => Some(many),
        (None, _) => {
            // A fault of its own was named already.
            if !written && f.entry("address").is_none() && !f.is_void() {
                let words = "`address` is missing: write for instance `address: http://127.0.0.1:8500`";
                f.findings().push(Fault::new(f.at(), words));
            } else if written {
                f.findings().push(Fault::new(f.at(), "`addresses` names no server"));
            }
            None
        }
    }
}

/// A name of a datacenter, a namespace, a partition or a peer.
fn name(node: &Node) -> Result<String, Fault> {
    let text = node.text()?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.is_empty() || !text.bytes().all(legal) {
        let words = format!("`{}` is no name of Consul's: letters, digits, `-` and `_`", shown_text(text));
        return Err(node.fault(words));
    }
    Ok(text.to_owned())
}

/// Consul has it with or without dots around it.
fn domain(node: &Node) -> Result<String, Fault> {
    let text = node.text()?.trim_matches('.');
    crate::model::host::Host::parse(text).map_err(|e| node.fault(format!("no domain: {e}")))?;
    Ok(text.to_ascii_lowercase())
}

fn tagged_address(node: &Node) -> Result<String, Fault> {
    match node.text()? {
        "" => Err(node.fault("must not be empty: leave the key out instead")),
        text if VIRTUAL.contains(&text) => Err(node.fault(format!(
            "`{text}` is an address for Consul's own sidecars, which nobody else can call: name `lan`, `wan` or one of yours"
        ))),
        text => Ok(text.to_owned()),
    }
}

impl ConsulConfig {
    pub(super) fn shown(&self) -> Value {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.into(), value);
        put("addresses", json!(self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()));
        put("datacenters", json!(self.datacenters));
        put("localDatacenter", json!(self.local_datacenter));
        put("domain", json!(self.domain));
        put("namespaces", json!(self.namespaces));
        put("partitions", json!(self.partitions));
        put("peers", json!(self.peers));
        put("filter", json!(self.filter));
        put("consistency", json!(word(&CONSISTENCIES, &self.consistency)));
        put("maxStale", json!(self.max_stale.map(units::show_duration)));
        put("watch", json!(word(&WATCHES, &self.watch)));
        put("connections", json!(self.connections));
        put("connect", json!({ "sidecars": self.sidecars, "gateways": self.gateways }));
        put("taggedAddress", json!(self.tagged_address));
        put("onlyPassing", json!(self.only_passing));
        put("serviceDefaults", json!(self.service_defaults));
        out.retain(|_, value| !value.is_null());
        self.connection.show_into(&mut out);
        out.into()
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, v)| v == value).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, RegistryKind};

    fn read(consul: &str) -> Result<super::ConsulConfig, String> {
        let text = format!("registries: [{{name: prod, consul: {consul}}}]");
        let config = Config::parse(&text, "x.yaml", std::path::Path::new("/")).map_err(|e| e.to_string())?;
        match config.registries.into_iter().next().unwrap().kind {
            RegistryKind::Consul(consul) => Ok(consul),
            #[allow(unreachable_patterns)] // in a build for Consul alone
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_is_enough() {
        let config = read("{address: 10.0.0.1:8500}").unwrap();
        assert_eq!(
            (config.domain.as_str(), config.connections, config.service_defaults),
            ("consul", 100, true)
        );
        assert_eq!(config.addresses[0].to_string(), "http://10.0.0.1:8500");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_words() {
        for (text, words) in [
            ("{}", "`address` is missing"),
            ("{addresses: []}", "names no server"),
            ("{address: a, addresses: [b]}", "write one of them"),
            ("{address: a, maxStale: 5s}", "`consistency: stale`"),
            ("{address: a, taggedAddress: virtual}", "sidecars"),
            ("{address: a, datacenters: ['*']}", "no name of Consul"),
            ("{address: a, domain: 'x y'}", "no domain"),
            ("{address: a, connections: 3}", "32"),
            ("{address: 'http://u:secret@h:99999'}", "no address"),
        ] {
            let faults = read(text).unwrap_err();
            assert!(faults.contains(words) && !faults.contains("secret"), "{text}: {faults}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let config = read("{address: 'http://u:hidden@h', token: hidden}").unwrap();
        let shown = format!("{} {config:?}", config.shown());
        assert!(!shown.contains("hidden") && shown.contains("http://h"), "{shown}");
    }
}
