//! `map`: how the services of one registry appear in the mesh. Decodes into [`Mapping`], which the conversion reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{mesh, template};
use crate::convert::mapping::{EndpointRule, Globs, LabelRules, Mapping, ServicePorts};
use crate::convert::naming::Template;
use crate::convert::self_service::{Conventions, Say, SelfService};
use crate::model::endpoint::TlsMode;
use crate::model::host::{Host, is_dns1123_label};
use crate::model::labels::Labels;
use crate::model::service::{Addresses, Location, Protocol};
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::words::{nearest, shown as shown_text};
use crate::yaml::{Fault, Node};

const ADDRESSES: [(&str, Addresses); 3] =
    [("virtual", Addresses::Virtual), ("endpoints", Addresses::Endpoints), ("none", Addresses::None)];
const LOCATIONS: [(&str, Location); 3] = [
    ("auto", Location::Auto),
    ("MESH_INTERNAL", Location::MeshInternal),
    ("MESH_EXTERNAL", Location::MeshExternal),
];
const TLS_MODES: [(&str, TlsMode); 2] = [("none", TlsMode::None), ("istio", TlsMode::Istio)];

/// What holds for a kind of registry where `map` says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct KindDefaults {
    /// What templates may name: `service`, and the keys of `Service::variables` that the adapter sets.
    pub(super) placeholders: &'static [&'static str],
    /// Hosts where the registry gives none. What is not always there vanishes with its dot: `{service}.{remote?}.{domain}`.
    pub(super) hosts: &'static [&'static str],
    /// Where nothing else says otherwise.
    pub(super) protocol: Protocol,
    /// Labels that are noise (patterns): what the registry's own clients write for themselves.
    pub(super) noise: &'static [&'static str],
    /// Metadata, key and value (patterns), of what is not taken.
    pub(super) excluded: &'static [(&'static str, &'static str)],
    /// Names (patterns) of what is not taken.
    pub(super) excluded_names: &'static [&'static str],
    /// Metadata that mean something already.
    pub(super) conventions: Conventions,
}

/// Our resources need a namespace in Istio, not in Kubernetes.
const NAMESPACE: &str = "chandler";

impl KindDefaults {
    /// Of a registry that has no conventions; the others say what differs.
    pub(super) const PLAIN: Self = Self {
        placeholders: &["service"],
        hosts: &[],
        protocol: Protocol::Auto,
        noise: &[],
        excluded: &[],
        excluded_names: &[],
        conventions: Conventions { protocol: &[], grpc_port: &[], region: &[], zone: &[] },
    };

    /// The mapping of a registry without `map`. `None`: a default is no template, which a test would show.
    fn mapping(&self) -> Option<Mapping> {
        let template = |t: &&str| Template::parse(t, self.placeholders).ok();
        let hosts = self.hosts.iter().map(template).collect::<Option<_>>()?;
        let mut mapping = Mapping::new(hosts, template(&NAMESPACE)?, self.protocol);
        mapping.self_service.conventions = self.conventions;
        mapping.labels.exclude = Globs::new(self.noise.iter().map(ToString::to_string).collect()).ok()?;
        Some(mapping)
    }
}

/// Reads `map`; absent keys are the kind's defaults.
pub(super) fn decode(f: Fields<'_, '_>, kind: &KindDefaults) -> Option<Mapping> {
    decode_over(f, kind, kind.mapping()?)
}

/// Reads the keys of `map`; what is absent is as in `d`.
pub(super) fn decode_over(mut f: Fields<'_, '_>, kind: &KindDefaults, d: Mapping) -> Option<Mapping> {
    let may = f.take("selfService").and_then(|n| self_service(n, f.findings()));
    Some(Mapping {
        aliases: d.aliases,
        self_service: SelfService { may: may.unwrap_or(d.self_service.may), ..d.self_service },
        hosts: f.list("hosts", |n| host_template(n, kind)).unwrap_or(d.hosts),
        namespace: f.or("namespace", d.namespace, |n| namespace_template(n, kind)),
        protocol: f.or("protocol", d.protocol, protocol),
        service_ports: f
            .take("servicePorts")
            .and_then(|n| service_ports(n, f.findings()))
            .unwrap_or(d.service_ports),
        addresses: f.or("addresses", d.addresses, |n| n.choice(&ADDRESSES)),
        export_to: f.take("exportTo").and_then(|n| export_to(n, f.findings())).unwrap_or(d.export_to),
        location: f.or("location", d.location, |n| n.choice(&LOCATIONS)),
        tls_mode: f.or("tlsMode", d.tls_mode, |n| n.choice(&TLS_MODES)),
        labels: labels(f.section("labels"), d.labels),
        endpoints: match f.sections("endpoints") {
            Some(rules) => rules.into_iter().filter_map(endpoint_rule).collect(),
            None => d.endpoints,
        },
    })
}

/// A mapping in the form in which it is written.
pub(super) fn shown(m: &Mapping) -> Value {
    let strings = |list: &[Arc<str>]| list.iter().map(|s| json!(&**s)).collect::<Vec<_>>();
    let templates = |list: &[Template]| list.iter().map(|t| json!(t.as_str())).collect::<Vec<_>>();
    let mut out = json!({
        "hosts": templates(&m.hosts),
        "namespace": m.namespace.as_str(),
        "protocol": if m.protocol == Protocol::Auto { "auto" } else { m.protocol.istio_name() },
        "servicePorts": match &m.service_ports {
            ServicePorts::Auto => json!("auto"),
            ServicePorts::Instance => json!("instance"),
            ServicePorts::List(ports) => json!(ports),
        },
        "addresses": name_of(&ADDRESSES, &m.addresses),
        "exportTo": strings(&m.export_to),
        "location": name_of(&LOCATIONS, &m.location),
        "tlsMode": name_of(&TLS_MODES, &m.tls_mode),
        "labels": {
            "include": m.labels.include.patterns(),
            "exclude": m.labels.exclude.patterns(),
            "rename": m.labels.rename,
            "set": m.labels.set.iter().map(|(k, v)| (k.into(), json!(v))).collect::<Map<_, _>>(),
        },
        "endpoints": m.endpoints.iter().map(shown_rule).collect::<Vec<_>>(),
        "selfService": m.self_service.may.iter().map(|say| name_of(&says(), say)).collect::<Vec<_>>(),
    });
    if let Some(map) = out.as_object_mut().filter(|_| !m.aliases.is_empty()) {
        map.insert("aliases".into(), templates(&m.aliases).into());
    }
    out
}

/// What owners may be allowed to say, by its word.
fn says() -> [(&'static str, Say); Say::ALL.len()] {
    Say::ALL.map(|(say, word, _)| (word, say))
}

fn self_service(node: &Node, findings: &Findings) -> Option<BTreeSet<Say>> {
    let says = findings.each(node, |n| n.choice(&says()))?;
    once(node, &says, findings);
    Some(says.into_iter().collect())
}

fn shown_rule(rule: &EndpointRule) -> Value {
    let mut out = json!({ "cidr": rule.cidr.to_string() });
    let mut put = |key: &str, value: Value| {
        if let Some(map) = out.as_object_mut().filter(|_| !value.is_null()) {
            map.insert(key.into(), value);
        }
    };
    put("drop", if rule.drop { json!(true) } else { Value::Null });
    put("tlsMode", rule.tls_mode.map_or(Value::Null, |m| json!(name_of(&TLS_MODES, &m))));
    put("network", rule.network.as_deref().map_or(Value::Null, |n| json!(n)));
    put("serviceAccount", rule.service_account.as_deref().map_or(Value::Null, |s| json!(s)));
    out
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, v)| v == value).map_or("", |(name, _)| name)
}

pub(super) fn host_template(node: &Node, kind: &KindDefaults) -> Result<Template, Fault> {
    let read = template::read(node, kind.placeholders)?;
    Host::parse(&template::sample(&read)).map_err(|e| node.fault(format!("gives no legal host: {e}")))?;
    Ok(read)
}

fn namespace_template(node: &Node, kind: &KindDefaults) -> Result<Template, Fault> {
    let read = template::read(node, kind.placeholders)?;
    if !is_dns1123_label(&template::sample(&read)) {
        return Err(
            node.fault("gives no legal namespace: lower-case letters, digits and hyphens inside, 63 at most")
        );
    }
    Ok(read)
}

fn protocol(node: &Node) -> Result<Protocol, Fault> {
    const NAMES: [&str; 13] = [
        "auto",
        "HTTP",
        "HTTP2",
        "GRPC",
        "TCP",
        "TLS",
        "HTTPS",
        "GRPC-WEB",
        "HTTP_PROXY",
        "UDP",
        "MONGO",
        "REDIS",
        "MYSQL",
    ];
    let text = node.text().unwrap_or_default();
    Protocol::parse(text).filter(|_| !text.is_empty()).ok_or_else(|| {
        let hint = nearest(text, &NAMES).map_or(String::new(), |n| format!(": did you mean `{n}`?"));
        let fault = node.expected("a protocol that Istio knows (auto, HTTP, HTTP2, GRPC, TCP, TLS …)");
        Fault { message: fault.message + &hint, ..fault }
    })
}

fn service_ports(node: &Node, findings: &Findings) -> Option<ServicePorts> {
    if node.list().is_none() {
        let words = [("auto", false), ("instance", true)];
        let instance =
            node.choice(&words).map_err(|f| node.fault(format!("{}; or write a list of ports", f.message)));
        return findings.note(instance).map(|i| if i { ServicePorts::Instance } else { ServicePorts::Auto });
    }
    let ports = findings.each(node, |n| n.integer(1, u16::MAX))?;
    if ports.is_empty() {
        findings.push(node.fault("no port: write `auto`, `instance`, or at least one port"));
    }
    once(node, &ports, findings);
    Some(ServicePorts::List(ports))
}

/// Istio's rules for `exportTo` of a ServiceEntry.
fn export_to(node: &Node, findings: &Findings) -> Option<Vec<Arc<str>>> {
    let names: Vec<Arc<str>> = findings.each(node, |n| {
        let text = n.text()?;
        let good = matches!(text, "." | "*" | "~") || is_dns1123_label(text);
        if good {
            Ok(text.into())
        } else {
            Err(n.expected("a namespace, `.` (its own), `*` (all) or `~` (none)"))
        }
    })?;
    if names.len() > 1 && names.iter().any(|n| matches!(&**n, "*" | "~")) {
        findings.push(node.fault("`*` (all) and `~` (none) leave nothing to add: write them alone"));
    }
    once(node, &names, findings);
    Some(names)
}

/// Faults for what a list says a second time. Positions are right only where every element was.
fn once<T: PartialEq>(node: &Node, read: &[T], findings: &Findings) {
    let elements = node.list().unwrap_or_default();
    if elements.len() != read.len() {
        return;
    }
    for (i, (element, value)) in elements.iter().zip(read).enumerate() {
        if read.iter().take(i).any(|earlier| earlier == value) {
            findings.push(element.fault("stands in this list already"));
        }
    }
}

fn labels(mut f: Fields<'_, '_>, d: LabelRules) -> LabelRules {
    LabelRules {
        include: f.take("include").and_then(|n| globs(n, f.findings())).unwrap_or(d.include),
        exclude: f.take("exclude").and_then(|n| globs(n, f.findings())).unwrap_or(d.exclude),
        rename: f.take("rename").map(|n| rename(n, f.findings())).unwrap_or(d.rename),
        set: f.take("set").map(|n| set(n, f.findings())).unwrap_or(d.set),
    }
}

/// One pattern.
pub(super) fn glob(node: &Node) -> Result<Globs, Fault> {
    let text = node.text()?;
    Globs::new(vec![text.into()]).map_err(|e| node.fault(format!("no pattern: {}", e.kind())))
}

fn globs(node: &Node, findings: &Findings) -> Option<Globs> {
    let patterns = findings.each(node, |n| glob(n).map(|_| n.text().unwrap_or_default().to_owned()))?;
    findings
        .note(Globs::new(patterns).map_err(|e| node.fault(format!("too much for one list: {}", e.kind()))))
}

fn rename(node: &Node, findings: &Findings) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for entry in findings.note(node.pairs()).unwrap_or_default() {
        let key = findings.note(entry.value.text().and_then(|t| label_key(t, &entry.value)));
        let Some(key) = key else { continue };
        if out.values().any(|other| *other == key) {
            let words = format!("two labels cannot both become `{}`", shown_text(&key));
            findings.push(entry.value.fault(words));
        }
        out.insert(entry.key.to_string(), key);
    }
    out
}

fn set(node: &Node, findings: &Findings) -> Labels {
    let pairs = findings.note(node.pairs()).unwrap_or_default().iter().filter_map(|entry| {
        let key = label_key(&entry.key, &entry.value).map_err(|f| Fault { at: entry.at, ..f });
        let value = entry.value.text().and_then(|t| label_value(t, &entry.value));
        let (key, value) = (findings.note(key), findings.note(value));
        Some((key?, value?))
    });
    pairs.collect()
}

/// Kubernetes' rule, which Istio applies: an optional DNS prefix, a slash, and a name like a value that is not empty.
fn label_key(text: &str, node: &Node) -> Result<String, Fault> {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(p, n)| (Some(p), n));
    let prefix_ok = prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(is_dns1123_label));
    if prefix_ok && !name.is_empty() && is_label_text(name) {
        return Ok(text.into());
    }
    Err(node.fault(format!("`{}` is no legal key of a label: {LABEL_TEXT}", shown_text(text))))
}

fn label_value(text: &str, node: &Node) -> Result<String, Fault> {
    if is_label_text(text) {
        return Ok(text.into());
    }
    Err(node.fault(format!("`{}` is no legal value of a label: {LABEL_TEXT}", shown_text(text))))
}

const LABEL_TEXT: &str =
    "at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit";

fn is_label_text(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(|b| inner(*b)) && edge(bytes.first()) && edge(bytes.last())
}

fn endpoint_rule(mut f: Fields<'_, '_>) -> Option<EndpointRule> {
    let cidr = f.need("cidr", mesh::network);
    let drop = f.or("drop", false, Node::boolean);
    let tls_mode = f.get("tlsMode", |n| n.choice(&TLS_MODES));
    let network = f.get("network", name);
    let service_account = f.get("serviceAccount", name);
    if drop && (tls_mode.is_some() || network.is_some() || service_account.is_some()) {
        f.findings().push(Fault::new(
            f.at(),
            "`drop: true` leaves these endpoints out, so nothing else can hold for them",
        ));
    }
    Some(EndpointRule { cidr: cidr?, drop, tls_mode, network, service_account })
}

fn name(node: &Node) -> Result<Arc<str>, Fault> {
    match node.text()? {
        "" => Err(node.fault("must not be empty: leave the key out instead")),
        text => Ok(text.into()),
    }
}
