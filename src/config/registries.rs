//! `registries`: what is read. One kind per entry, and a file for each kind; kinds that come later are refused as such.
//!
//! A new kind is a file with its settings and its [`Kind`], and a line in each of the four lists below.

#[cfg(feature = "consul")]
pub mod consul;
#[cfg(feature = "eureka")]
pub mod eureka;
#[cfg(feature = "files")]
pub mod files;
pub mod http;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

#[cfg(feature = "consul")]
use self::consul::ConsulConfig;
#[cfg(feature = "eureka")]
use self::eureka::EurekaConfig;
#[cfg(feature = "files")]
use self::files::FilesConfig;
#[cfg(feature = "zookeeper")]
use self::zookeeper::ZooKeeperConfig;
use super::map::{self, KindDefaults};
use super::{bounds, guard, select, services, startup};
use crate::convert::mapping::Mapping;
use crate::convert::policy::Policy;
use crate::convert::self_service::Say;
use crate::model::limits::Limits;
use crate::model::service::{RegistryName, Scope};
use crate::pipeline::reading::{Identity, Startup};
use crate::yaml::fields::Fields;
use crate::yaml::words::{alternatives, nearest, shown as shown_text};
use crate::yaml::{Fault, Node};

/// One registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Unique; appears in metrics, logs and annotations.
    pub name: RegistryName,
    /// What it is and where.
    pub kind: RegistryKind,
    /// What is taken of it, and how that appears in the mesh.
    pub policy: Policy,
    /// How long it is waited for.
    pub startup: Startup,
}

/// What a registry is, with the settings of its adapter: a variant per feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryKind {
    /// Files on this machine.
    #[cfg(feature = "files")]
    Files(FilesConfig),
    /// Consul's catalogue.
    #[cfg(feature = "consul")]
    Consul(ConsulConfig),
    /// An Eureka cluster.
    #[cfg(feature = "eureka")]
    Eureka(EurekaConfig),
    /// A ZooKeeper.
    #[cfg(feature = "zookeeper")]
    ZooKeeper(ZooKeeperConfig),
}

impl RegistryKind {
    /// The key that it stands under, and its settings in the form in which they are written.
    fn shown(&self) -> (&'static str, Value) {
        // Not by reference: a build without registries has nothing to match.
        match *self {
            #[cfg(feature = "files")]
            Self::Files(ref c) => (files::KIND.key, c.shown()),
            #[cfg(feature = "consul")]
            Self::Consul(ref c) => (consul::KIND.key, c.shown()),
            #[cfg(feature = "eureka")]
            Self::Eureka(ref c) => (eureka::KIND.key, c.shown()),
            #[cfg(feature = "zookeeper")]
            Self::ZooKeeper(ref c) => (zookeeper::KIND.key, c.shown()),
        }
    }
}

impl RegistryKind {
    /// How long a registry of which nothing is known yet may answer before its answers are believed.
    #[must_use]
    pub fn doubts_for(&self) -> Duration {
        match self {
            // Its clients come back one by one after a restart; the next look after that believes it.
            #[cfg(feature = "eureka")]
            Self::Eureka(c) => c.settle + c.interval,
            #[allow(unreachable_patterns, reason = "a build without other registries")]
            _ => Duration::ZERO,
        }
    }
}

/// One kind of registry: all that this page knows of it.
struct Kind {
    /// The key of its section, and the feature that it is behind.
    key: &'static str,
    /// What holds where `map` says nothing.
    defaults: KindDefaults,
    /// Reads its section; `None` after a fault.
    decode: fn(Fields<'_, '_>, &Path) -> Option<RegistryKind>,
}

/// The kinds of this build.
const BUILT: &[Kind] = &[
    #[cfg(feature = "files")]
    files::KIND,
    #[cfg(feature = "consul")]
    consul::KIND,
    #[cfg(feature = "eureka")]
    eureka::KIND,
    #[cfg(feature = "zookeeper")]
    zookeeper::KIND,
];

/// Every kind there is, whether it was built in or not.
const KINDS: [&str; 4] = ["files", "consul", "eureka", "zookeeper"];

/// Kinds that have their place and do not work yet.
const LATER: [&str; 2] = ["nacos", "cloudmap"];

/// Reads `registries`. `None` after a fault that leaves nothing to serve.
pub(super) fn decode(f: &mut Fields<'_, '_>, base: &Path, guard: &Limits) -> Option<Vec<RegistryConfig>> {
    let node = f.take("registries");
    let elements = node.and_then(Node::list).unwrap_or_default();
    let sections = node.and_then(|_| f.sections("registries"));
    if node.is_none() || sections.as_ref().is_some_and(Vec::is_empty) {
        let at = node.map_or(f.at(), |n| n.at);
        let words = "no registry: there is nothing to serve; write for instance `registries: [{name: onboard, files: {path: services}}]`";
        f.findings().push(Fault::new(at, words));
        return None;
    }
    let mut names: Vec<(RegistryName, u32)> = Vec::new();
    let mut out = Vec::new();
    for (node, mut section) in elements.iter().zip(sections?) {
        let name = name(&mut section, &mut names);
        let (kind, policy) = body(&mut section, node, base, guard);
        let startup = startup::decode(section.section("startup"));
        if let (Some(name), Some(kind), Some(policy)) = (name, kind, policy) {
            out.push(RegistryConfig { name, kind, policy, startup });
        }
    }
    Some(out)
}

fn name(f: &mut Fields<'_, '_>, taken: &mut Vec<(RegistryName, u32)>) -> Option<RegistryName> {
    let node = f.need("name", Ok)?;
    let name = f.findings().note(read_name(node))?;
    if let Some((_, line)) = taken.iter().find(|(n, _)| *n == name) {
        let words = format!(
            "two registries are called `{name}`, the first in line {line}: each needs a name of its own"
        );
        f.findings().push(node.fault(words));
    }
    taken.push((name.clone(), node.at.line));
    Some(name)
}

/// It becomes a metric's label and an annotation, and people type it.
fn read_name(node: &Node) -> Result<RegistryName, Fault> {
    let text = node.text()?;
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if inner && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= 63 {
        return Ok(RegistryName::new(text));
    }
    Err(node.fault(format!(
        "`{}` is no legal name: at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit",
        shown_text(text)
    )))
}

fn body(
    f: &mut Fields<'_, '_>,
    node: &Node,
    base: &Path,
    guard: &Limits,
) -> (Option<RegistryKind>, Option<Policy>) {
    f.later(&LATER);
    // Read together with `sinks`, which it names.
    f.take("outputs");
    let kind = kind(f, node);
    let read = kind.and_then(|k| (k.decode)(f.section(k.key), base));
    // Decoded whatever the kind is: what stands there can be wrong by itself.
    (read, policy(f, kind.map_or(&KindDefaults::PLAIN, |k| &k.defaults), guard))
}

fn policy(f: &mut Fields<'_, '_>, defaults: &KindDefaults, guard: &Limits) -> Option<Policy> {
    let exposed =
        f.take("select").and_then(Node::map).and_then(|m| m.entry("exposedByDefault")).map(|e| e.at);
    let select = select::decode(f.section("select"), defaults);
    let services = f.take("services");
    let guard = guard::decode(f.section("guard"), guard);
    let bounds = bounds::decode(f.section("limits"));
    let map = map::decode(f.section("map"), defaults)?;
    let exceptions = services::decode(services, f.findings(), defaults, &map, &guard);
    let policy = Policy { select, map, exceptions, guard, bounds };
    let may_expose = |m: &Mapping| m.self_service.may.contains(&Say::Skip);
    if !policy.select.exposed_by_default && !policy.mappings().any(may_expose) {
        let words = "nothing could be taken: owners expose a service by `chandler-skip: false`, and `selfService` has no `skip`";
        f.findings().push(Fault::new(exposed.unwrap_or(f.at()), words));
    }
    Some(policy)
}

/// The one kind that stands there; `None` after a fault.
fn kind(f: &mut Fields<'_, '_>, node: &Node) -> Option<&'static Kind> {
    let entries: Vec<_> = KINDS.iter().filter_map(|key| f.entry(key)).collect();
    let [entry] = entries.as_slice() else {
        if let [first, rest @ ..] = entries.as_slice() {
            for other in rest {
                let words = format!(
                    "a registry has one kind, and this one is `{}` already: make it an entry of its own",
                    first.key
                );
                f.findings().push(Fault::new(other.at, words));
            }
        } else if !f.is_void() && !means_a_kind(node) {
            let words =
                format!("which kind of registry is this? Write {} and its settings", alternatives(&KINDS));
            f.findings().push(Fault::new(f.at(), words));
        }
        return None;
    };
    let built = BUILT.iter().find(|k| k.key == &*entry.key);
    if built.is_none() {
        let words = format!("`{0}` was left out of this build: build with the feature `{0}`", entry.key);
        f.findings().push(Fault::new(entry.at, words));
    }
    built
}

/// Whether a kind stands there that has a fault of its own: one that comes later, or one that is mistyped.
fn means_a_kind(node: &Node) -> bool {
    let means = |key: &str| LATER.contains(&key) || !KINDS.contains(&key) && nearest(key, &KINDS).is_some();
    node.map().is_some_and(|m| m.entries().iter().any(|e| means(&e.key)))
}

impl RegistryConfig {
    /// What to know it by after a restart, given the scopes that it has: hashes of what is shown of it, so without secrets.
    #[must_use]
    pub fn identity(&self, scopes: &[Scope]) -> Identity {
        let scopes: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
        let (key, settings) = self.kind.shown();
        let hash = |value: Value| xxh3_64(value.to_string().as_bytes());
        let policy = &self.policy;
        Identity {
            reads: hash(json!([key, settings, scopes])),
            policy: hash(json!([
                select::shown(&policy.select),
                map::shown(&policy.map),
                services::shown(&policy.exceptions)
            ])),
        }
    }

    pub(super) fn shown(&self) -> Value {
        let (key, settings) = self.kind.shown();
        json!({
            "name": self.name.as_str(),
            key: settings,
            "select": select::shown(&self.policy.select),
            "map": map::shown(&self.policy.map),
            "services": services::shown(&self.policy.exceptions),
            "startup": startup::shown(&self.startup),
            "guard": guard::shown(&self.policy.guard),
            "limits": bounds::shown(&self.policy.bounds),
        })
    }
}

#[cfg(test)]
mod tests;
