//! `layouts`: what lies in a ZooKeeper. One kind per entry; what several of them look at is told apart by content.

use serde_json::{Map, Value, json};

use crate::model::service::Protocol;
use crate::yaml::fields::Fields;
use crate::yaml::words::{alternatives, shown as shown_text};
use crate::yaml::{Fault, Node};

/// One layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutConfig {
    /// Dubbo's registry.
    Dubbo {
        /// Its root.
        root: String,
        /// Where applications register themselves.
        services_root: String,
        /// Where the configuration centre is.
        config_root: String,
        /// What becomes a service.
        by: DubboBy,
        /// Whether instances are asked what they provide.
        ask: bool,
    },
    /// Curator's x-discovery, Spring Cloud ZooKeeper.
    Curator {
        /// Its root.
        root: String,
        /// Of services that Spring Cloud did not write.
        protocol: Protocol,
    },
    /// A home-made one.
    Template {
        /// `/apps/{service}/{instance}`, checked.
        path: String,
        /// A pointer to the address.
        address: Option<String>,
        /// A pointer to the port.
        port: Option<String>,
        /// A pointer to the weight.
        weight: Option<String>,
        /// A pointer to whether it is to be called.
        enabled: Option<String>,
        /// A pointer to its metadata.
        metadata: Option<String>,
        /// Of its services.
        protocol: Protocol,
    },
}

/// What of Dubbo becomes a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DubboBy {
    /// An application with all that it provides.
    Application,
    /// An interface in a group and a version.
    Interface,
    /// Both.
    Both,
}

const BY: [(&str, DubboBy); 3] =
    [("application", DubboBy::Application), ("interface", DubboBy::Interface), ("both", DubboBy::Both)];

const KINDS: [&str; 3] = ["dubbo", "curator", "template"];
/// Where Dubbo is unless a registry's `group` says otherwise.
const DUBBO: &str = "/dubbo";
/// Where its configuration centre is, whatever the group.
const CONFIG: &str = "/dubbo/config";
/// Where Spring Cloud is, and Dubbo's applications unless a registry's `group` says otherwise.
const SERVICES: &str = "/services";

/// Reads `layouts`; absent: Dubbo's and Spring Cloud's where they usually are.
pub(super) fn decode(f: &mut Fields<'_, '_>) -> Option<Vec<LayoutConfig>> {
    let node = f.take("layouts");
    let Some(node) = node else { return Some(usual()) };
    let mut layouts: Vec<LayoutConfig> = Vec::new();
    for (mut section, node) in f.sections("layouts")?.into_iter().zip(node.list()?) {
        let Some(layout) = one(&mut section, node) else { continue };
        if layouts.iter().any(|other| other.place() == layout.place()) {
            section.findings().push(node.fault("stands in this list already: one of a kind for each root"));
        }
        layouts.push(layout);
    }
    if node.list().is_some_and(<[Node]>::is_empty) {
        f.findings().push(node.fault("no layout: leave the key out for the usual ones"));
    }
    Some(layouts)
}

fn usual() -> Vec<LayoutConfig> {
    vec![
        LayoutConfig::Dubbo {
            root: DUBBO.into(),
            services_root: SERVICES.into(),
            config_root: CONFIG.into(),
            by: DubboBy::Application,
            ask: true,
        },
        LayoutConfig::Curator { root: SERVICES.into(), protocol: Protocol::Auto },
    ]
}

fn one(f: &mut Fields<'_, '_>, node: &Node) -> Option<LayoutConfig> {
    // Asked for one by one, so that an unknown key is told what there is.
    let written: Vec<&str> = KINDS.into_iter().filter(|kind| f.entry(kind).is_some()).collect();
    match written.as_slice() {
        [kind] if *kind == "dubbo" => Some(dubbo(f.section("dubbo"))),
        [kind] if *kind == "curator" => Some(curator(f.section("curator"))),
        [_] => template(f.section("template")),
        [] => {
            let words = format!(
                "which layout is this? Write {} and its settings (`{{}}` for the usual ones)",
                alternatives(&KINDS)
            );
            let mistyped = node.map().is_some_and(|m| m.entries().iter().any(|e| !KINDS.contains(&&*e.key)));
            if !mistyped {
                f.findings().push(Fault::new(f.at(), words));
            }
            None
        }
        _ => {
            f.findings()
                .push(Fault::new(f.at(), "a layout has one kind: make the other an entry of its own"));
            None
        }
    }
}

fn dubbo(mut f: Fields<'_, '_>) -> LayoutConfig {
    let root = f.or("root", DUBBO.into(), path);
    // With a `group`, applications register below the same root as interfaces.
    let services = if root == DUBBO { SERVICES.into() } else { root.clone() };
    LayoutConfig::Dubbo {
        services_root: f.or("servicesRoot", services, path),
        config_root: f.or("configRoot", CONFIG.into(), path),
        by: f.or("by", DubboBy::Application, |n| n.choice(&BY)),
        ask: f.or("askProviders", true, Node::boolean),
        root,
    }
}

fn curator(mut f: Fields<'_, '_>) -> LayoutConfig {
    LayoutConfig::Curator {
        root: f.or("root", SERVICES.into(), path),
        protocol: f.or("protocol", Protocol::Auto, protocol),
    }
}

fn template(mut f: Fields<'_, '_>) -> Option<LayoutConfig> {
    let path = f.need("path", pattern);
    let mut pointer = |key| f.get(key, pointer);
    let (address, port, weight, enabled, metadata) =
        (pointer("address"), pointer("port"), pointer("weight"), pointer("enabled"), pointer("metadata"));
    let protocol = f.or("protocol", Protocol::Auto, protocol);
    if port.is_some() && address.is_none() {
        f.findings()
            .push(Fault::new(f.at(), "`port` without `address`: without one, a node's name says both"));
    }
    Some(LayoutConfig::Template { path: path?, address, port, weight, enabled, metadata, protocol })
}

/// An absolute path as ZooKeeper takes it.
pub(super) fn path(node: &Node) -> Result<String, Fault> {
    let text = node.text()?;
    let names: Vec<&str> = text.split('/').skip(1).collect();
    let whole =
        text == "/" || (text.starts_with('/') && names.iter().all(|n| !matches!(*n, "" | "." | "..")));
    if whole && !text.chars().any(char::is_control) {
        return Ok(text.into());
    }
    Err(node.fault(format!("`{}` is no path: write for instance `/services`", shown_text(text))))
}

/// The parts of a pattern; what they become is the layout's.
fn pattern(node: &Node) -> Result<String, Fault> {
    const VARIABLES: [&str; 5] = ["service", "instance", "group", "version", "namespace"];
    let text = node.text()?;
    let wrong = |why: &str| {
        node.fault(format!("no pattern ({why}): write for instance `/apps/{{service}}/{{instance}}`"))
    };
    let parts: Vec<&str> =
        text.strip_prefix('/').ok_or_else(|| wrong("it begins with `/`"))?.split('/').collect();
    let mut names: Vec<&str> = Vec::new();
    for part in &parts {
        match part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) if !VARIABLES.contains(&name) => {
                return Err(wrong(&format!("placeholders are {}", alternatives(&VARIABLES))));
            }
            Some(name) if names.contains(&name) => return Err(wrong("a placeholder stands there twice")),
            Some(name) => names.push(name),
            None if part.is_empty() => return Err(wrong("a part between two slashes is empty")),
            None if *part != "*" && part.contains(['{', '}', '*']) => {
                return Err(wrong("a placeholder or `*` is a whole part"));
            }
            None => {}
        }
    }
    if parts.last() != Some(&"{instance}") || !names.contains(&"service") {
        return Err(wrong("it names {service}, and {instance} last"));
    }
    if parts.first().is_none_or(|first| first.starts_with(['{', '*'])) {
        return Err(wrong("without a name at the beginning all of ZooKeeper would be read"));
    }
    Ok(text.into())
}

/// A JSON pointer.
fn pointer(node: &Node) -> Result<String, Fault> {
    match node.text()? {
        text if text.starts_with('/') => Ok(text.into()),
        text => {
            Err(node.fault(format!("`{}` is no JSON pointer: write for instance `/port`", shown_text(text))))
        }
    }
}

fn protocol(node: &Node) -> Result<Protocol, Fault> {
    let text = node.text()?;
    let read = Protocol::parse(text).filter(|_| !text.is_empty());
    read.ok_or_else(|| node.expected("a protocol that Istio knows (auto, HTTP, HTTP2, GRPC, TCP, TLS …)"))
}

fn protocol_shown(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Auto { "auto" } else { protocol.istio_name() }
}

impl LayoutConfig {
    /// What two layouts must not share.
    fn place(&self) -> (&'static str, &str) {
        match self {
            Self::Dubbo { root, .. } => ("dubbo", root),
            Self::Curator { root, .. } => ("curator", root),
            Self::Template { path, .. } => ("template", path),
        }
    }

    /// As it is written.
    pub(super) fn shown(&self) -> Value {
        match self {
            Self::Dubbo { root, services_root, config_root, by, ask } => {
                let by = BY.iter().find(|(_, b)| b == by).map_or("", |(name, _)| name);
                json!({ "dubbo": {
                    "root": root, "servicesRoot": services_root, "configRoot": config_root, "by": by, "askProviders": ask,
                } })
            }
            Self::Curator { root, protocol } => {
                json!({ "curator": { "root": root, "protocol": protocol_shown(*protocol) } })
            }
            Self::Template { path, address, port, weight, enabled, metadata, protocol } => {
                let mut out = Map::new();
                out.insert("path".into(), json!(path));
                let pointers = [
                    ("address", address),
                    ("port", port),
                    ("weight", weight),
                    ("enabled", enabled),
                    ("metadata", metadata),
                ];
                out.extend(pointers.into_iter().filter_map(|(k, v)| Some((k.into(), json!(v.as_ref()?)))));
                out.insert("protocol".into(), json!(protocol_shown(*protocol)));
                json!({ "template": out })
            }
        }
    }
}
