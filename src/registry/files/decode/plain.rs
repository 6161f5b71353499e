//! The plain list: `services:`, for people who have machines and no registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Reading, labels, namespace, word};
use crate::model::change::Item;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::host::{Host, is_dns1123_label};
use crate::model::labels::Labels;
use crate::model::service::{
    Addresses, ItemKind, Location, Protocol, Says, Service, ServiceKey, ServicePort,
};
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{Fault, Node, Scalar, words};

const TLS_MODES: [(&str, TlsMode); 2] = [("none", TlsMode::None), ("istio", TlsMode::Istio)];
const LOCATIONS: [(&str, Location); 3] = [
    ("auto", Location::Auto),
    ("MESH_INTERNAL", Location::MeshInternal),
    ("MESH_EXTERNAL", Location::MeshExternal),
];
const ADDRESSES: [(&str, Addresses); 3] =
    [("virtual", Addresses::Virtual), ("endpoints", Addresses::Endpoints), ("none", Addresses::None)];

impl Reading<'_> {
    pub(super) fn plain(&mut self, document: &Node) {
        let list = {
            let mut fields = Fields::of(document, &self.findings);
            let explicit = |n: &Node| Err(n.fault("write `services: []` to say that there are none"));
            match document.map().and_then(|m| m.get("services")) {
                // Nothing behind it is more often the beginning of a file than the end of all services.
                Some(node) if node.is_null() => {
                    fields.take("services");
                    self.findings.note(explicit(node))
                }
                _ => fields.need("services", Node::elements),
            }
        };
        for entry in list.unwrap_or_default() {
            if let Some(name) = self.name_of(entry) {
                self.add(ItemKind::Service, &name, entry, |key, findings| {
                    service(key, Arc::clone(&name), entry, findings).map(|s| Item::Service(Arc::new(s)))
                });
            }
        }
    }

    /// Without a name it cannot be told which service is meant.
    fn name_of(&self, entry: &Node) -> Option<Arc<str>> {
        let map = self
            .findings
            .note(entry.map().ok_or_else(|| entry.expected("a service (a map with a `name`)")))?;
        let missing = || entry.fault("`name` is missing");
        self.findings.note(map.get("name").ok_or_else(missing).and_then(word))
    }
}

fn service(key: ServiceKey, name: Arc<str>, entry: &Node, findings: &Findings) -> Option<Service> {
    let mut fields = Fields::of(entry, findings);
    fields.take("name");
    if let Some(node) = fields.take("resolution") {
        findings.push(node.fault("`resolution` follows from the addresses of the endpoints: leave it out"));
    }
    let hosts = fields.list("hosts", host).unwrap_or_default();
    distinct(&hosts, "host", entry, findings);
    let ports: Vec<ServicePort> =
        fields.sections("ports").into_iter().flatten().filter_map(|f| port(f, findings)).collect();
    distinct(&ports.iter().map(|p| p.number).collect::<Vec<_>>(), "port", entry, findings);
    distinct(
        &ports.iter().filter_map(|p| p.name.as_deref()).collect::<Vec<_>>(),
        "port name",
        entry,
        findings,
    );
    let says = says(&mut fields, findings);
    let known = port_names(&ports, &says);
    let endpoints = fields.sections("endpoints").into_iter().flatten();
    let endpoints = endpoints.filter_map(|f| endpoint(f, known.as_ref(), findings)).collect();
    let labels = pairs(&mut fields, "labels", findings);
    let annotations = pairs(&mut fields, "annotations", findings);
    Some(Service { hosts, ports, endpoints, labels, annotations, says, ..Service::new(key, name) })
}

fn says(fields: &mut Fields<'_, '_>, findings: &Findings) -> Says {
    Says {
        service_ports: None,
        namespace: fields.get("namespace", namespace),
        protocol: fields.get("protocol", protocol),
        export_to: fields.list("exportTo", export_to),
        location: fields.get("location", |n| n.choice(&LOCATIONS)),
        addresses: fields.get("addresses", |n| n.choice(&ADDRESSES)),
        tls_mode: fields.get("tlsMode", |n| n.choice(&TLS_MODES)),
        subject_alt_names: fields
            .take("subjectAltNames")
            .and_then(|n| findings.each(n, word))
            .unwrap_or_default(),
    }
}

fn pairs(fields: &mut Fields<'_, '_>, key: &'static str, findings: &Findings) -> Labels {
    fields.take(key).map(|node| labels(node, findings)).unwrap_or_default()
}

fn host(node: &Node) -> Result<Host, Fault> {
    Host::parse(node.text()?).map_err(|e| node.fault(e.to_string()))
}

fn protocol(node: &Node) -> Result<Protocol, Fault> {
    let text = node.text()?;
    Protocol::parse(text).filter(|_| !text.is_empty()).ok_or_else(|| {
        node.fault(format!(
            "unsupported protocol: {}; Istio knows HTTP, HTTP2, HTTP_PROXY, HTTPS, GRPC, GRPC-Web, TCP, TLS, UDP, Mongo, \
             Redis and MySQL; `auto` leaves it to the proxy",
            words::shown(text)
        ))
    })
}

fn export_to(node: &Node) -> Result<Arc<str>, Fault> {
    match node.text()? {
        to if [".", "*", "~"].contains(&to) || is_dns1123_label(to) => Ok(to.into()),
        _ => Err(node.fault("only `.`, `*`, `~` or the name of a namespace is allowed in exportTo")),
    }
}

fn number(node: &Node) -> Result<u16, Fault> {
    node.integer(1, u16::MAX)
}

fn port(mut fields: Fields<'_, '_>, findings: &Findings) -> Option<ServicePort> {
    let number_of = fields.need("number", number);
    let name = fields.get("name", |node| match node.text()? {
        name if is_dns1123_label(name) => Ok(name.into()),
        name => Err(node.fault(format!(
            "invalid port name: {}; at most 63 lower-case letters, digits and inner hyphens",
            words::shown(name)
        ))),
    });
    let protocol = fields.get("protocol", protocol);
    let target = fields.get("targetPort", number);
    let _ = findings; // the fields report to it
    Some(ServicePort { number: number_of?, name, protocol, target })
}

/// The names of a service's ports, where they do not depend on the mapping.
fn port_names(ports: &[ServicePort], says: &Says) -> Option<BTreeSet<String>> {
    let name = |p: &ServicePort| match (&p.name, p.protocol.or(says.protocol)) {
        (Some(name), _) => Some(name.to_string()),
        (None, Some(protocol)) => Some(format!("{}-{}", protocol.port_prefix(), p.number)),
        (None, None) => None,
    };
    let names: Option<BTreeSet<String>> = ports.iter().map(name).collect();
    names.filter(|names| !names.is_empty())
}

fn endpoint(
    mut fields: Fields<'_, '_>,
    known: Option<&BTreeSet<String>>,
    findings: &Findings,
) -> Option<Endpoint> {
    let address = fields.need("address", |node| {
        let text = node.text()?;
        Address::parse(text).map_err(|e| node.fault(e.to_string()))
    });
    let one = fields.take("port");
    let named = fields.take("ports");
    if let (Some(_), Some(named)) = (one, named) {
        findings.push(named.fault("`port` and `ports` exclude each other: keep one of them"));
    }
    let ports = match (one, named) {
        (Some(node), _) => findings.note(number(node)).map(EndpointPorts::One),
        (None, Some(node)) => Some(EndpointPorts::Named(named_ports(node, known, findings))),
        (None, None) => Some(EndpointPorts::AsService),
    };
    let labels = pairs(&mut fields, "labels", findings);
    let locality = fields.get("locality", locality);
    let network = fields.get("network", word);
    let service_account = fields.get("serviceAccount", word);
    let tls_mode = fields.get("tlsMode", |n| n.choice(&TLS_MODES));
    let weight = fields.or("weight", Weight::ONE, weight);
    let at = Endpoint::at(address?, ports?);
    Some(Endpoint { labels, locality, network, service_account, tls_mode, weight, ..at })
}

fn named_ports(node: &Node, known: Option<&BTreeSet<String>>, findings: &Findings) -> Arc<[(Arc<str>, u16)]> {
    let mut ports: Vec<(Arc<str>, u16)> = Vec::new();
    for entry in findings.note(node.pairs()).unwrap_or_default() {
        if let Some(known) = known.filter(|known| !known.contains(&*entry.key)) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let (name, known) = (words::shown(&entry.key), words::alternatives(&known));
            findings.push(Fault::new(
                entry.at,
                format!("the service has no port named `{name}`: it has {known}"),
            ));
        }
        ports.extend(findings.note(number(&entry.value)).map(|n| (Arc::from(&*entry.key), n)));
    }
    ports.sort();
    ports.into()
}

fn locality(node: &Node) -> Result<Arc<str>, Fault> {
    let text = node.text()?;
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts.contains(&"") {
        return Err(node.fault("a locality is `region`, `region/zone` or `region/zone/subzone`"));
    }
    Ok(text.into())
}

fn weight(node: &Node) -> Result<Weight, Fault> {
    #[allow(clippy::cast_precision_loss)] // capped at a million
    let read = |s: &Scalar| s.integer().map(|i| i as f64).or_else(|| s.float());
    node.scalar()
        .and_then(read)
        .and_then(Weight::new)
        .ok_or_else(|| node.expected("a weight (a number, 0 or more)"))
}

/// Each value once.
fn distinct<T: Ord + std::fmt::Display>(values: &[T], what: &str, entry: &Node, findings: &Findings) {
    let mut seen = BTreeSet::new();
    for value in values.iter().filter(|v| !seen.insert(*v)) {
        findings.push(entry.fault(format!("{what} {value} already defined")));
    }
}
