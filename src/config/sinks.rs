//! `sinks`: what is pushed to, and `outputs` of every registry: where its services go.
//!
//! A registry goes to the wires and nowhere else, unless it says so. A sink that no registry goes to is a fault: nothing
//! would ever come there, and what had been written would go.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::registries::RegistryConfig;
use super::units;
use crate::model::service::RegistryName;
use crate::sink::{Form, KubernetesSettings, Takes};
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::words::{alternatives, nearest, shown as shown_text};
use crate::yaml::{Fault, Node};

/// The word for the wires among the names of sinks.
const WIRES: &str = "wires";

const FORMS: [(&str, Form); 3] =
    [("auto", Form::Auto), ("inline", Form::Inline), ("workloadEntries", Form::Workloads)];

/// A request is over, by its own time-out, within the third of a lease in which none is begun.
const SHORTEST_LEASE: Duration = Duration::from_secs(15);
const LONGEST_LEASE: Duration = Duration::from_secs(600);
const PARALLELISM: usize = 8;
const MOST_PARALLEL: usize = 128;
/// Far below what Istio's definitions allow, where one more endpoint still is a small write.
const INLINE_ENDPOINTS: usize = 500;
/// What Istio's definitions allow in one ServiceEntry.
const MOST_ENDPOINTS: usize = 4096;

/// What is pushed to, and who goes where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sinks {
    /// In the order of the configuration; names are unique.
    pub kubernetes: Vec<KubernetesSettings>,
    /// Where registries go that say so; all others go to the wires.
    outputs: BTreeMap<RegistryName, Outputs>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Outputs {
    wires: bool,
    sinks: Vec<(String, Form)>,
}

impl Sinks {
    /// Whether the services of `registry` are served over the wires.
    #[must_use]
    pub fn is_on_the_wires(&self, registry: &RegistryName) -> bool {
        self.outputs.get(registry).is_none_or(|o| o.wires)
    }

    /// The registries that are not served over the wires.
    pub fn off_the_wires(&self) -> impl Iterator<Item = &RegistryName> {
        self.outputs.iter().filter(|(_, o)| !o.wires).map(|(name, _)| name)
    }

    /// The registries that go to the sink called `name`, and how.
    #[must_use]
    pub fn takes(&self, name: &str) -> Takes {
        let form = |o: &Outputs| o.sinks.iter().find(|(n, _)| n == name).map(|(_, form)| *form);
        self.outputs.iter().filter_map(|(registry, o)| Some((registry.clone(), form(o)?))).collect()
    }

    /// What is right and hardly meant, in words.
    pub(super) fn doubts(&self) -> Vec<String> {
        let both = self.outputs.iter().filter(|(_, o)| o.wires && !o.sinks.is_empty());
        both.map(|(registry, o)| {
            let sinks: Vec<&str> = o.sinks.iter().map(|(name, _)| name.as_str()).collect();
            format!(
                "registry `{registry}` goes to the wires and to {}: an istiod that reads both chandler and that cluster \
                 (`k8s://`) sees each of its hosts twice; serve each control plane one of them",
                sinks.join(", ")
            )
        })
        .collect()
    }

    /// `sinks` in the form in which it is written.
    pub(super) fn shown(&self) -> Value {
        self.kubernetes.iter().map(|k| json!({"name": k.name, "kubernetes": shown_kubernetes(k)})).collect()
    }

    /// `outputs` of `registry` in the form in which it is written.
    pub(super) fn shown_outputs(&self, registry: &RegistryName) -> Value {
        let Some(outputs) = self.outputs.get(registry) else { return json!([WIRES]) };
        let wires = outputs.wires.then(|| json!(WIRES));
        let sinks = outputs.sinks.iter().map(|(name, form)| match form {
            Form::Auto => json!(name),
            form => json!({"sink": name, "form": form.name()}),
        });
        wires.into_iter().chain(sinks).collect()
    }
}

/// Reads `sinks`, and `outputs` of every registry.
pub(super) fn decode(f: &mut Fields<'_, '_>, base: &Path) -> Sinks {
    let findings = f.findings();
    let mut kubernetes: Vec<KubernetesSettings> = Vec::new();
    let mut names: Vec<(String, &Node)> = Vec::new();
    for mut section in f.sections("sinks").unwrap_or_default() {
        let node = section.need("name", Ok);
        let name = node.and_then(|n| findings.note(name(n, &names)));
        names.extend(name.clone().zip(node));
        let at = section.at();
        let written = section.take("kubernetes").is_some();
        let settings = read_kubernetes(section.section("kubernetes"), base);
        if !written {
            let words = "which kind of sink is this? Write `kubernetes` and its settings, or `kubernetes: {}` for the cluster that chandler runs in";
            findings.push(Fault::new(at, words));
        } else if !cfg!(feature = "kubernetes") {
            let words = "`kubernetes` was left out of this build: build with the feature `kubernetes`";
            findings.push(Fault::new(at, words));
        }
        let Some(name) = name else { continue };
        let settings = KubernetesSettings { name, ..settings };
        let same = |k: &&KubernetesSettings| k.instance.is_some() && k.instance == settings.instance;
        if let Some(other) = kubernetes.iter().find(same) {
            let words = format!(
                "the same `instance` as the sink `{}`: each would remove what the other writes",
                other.name
            );
            findings.push(Fault::new(at, words));
        }
        kubernetes.push(settings);
    }
    let outputs = read_outputs(f.take("registries"), &names, findings);
    for (name, node) in &names {
        if !outputs.values().any(|o| o.sinks.iter().any(|(n, _)| n == name)) {
            let words = format!(
                "nothing goes to this sink: write `outputs: [{}]` (or `[wires, {}]`) in a registry",
                shown_text(name),
                shown_text(name)
            );
            findings.push(node.fault(words));
        }
    }
    Sinks { kubernetes, outputs }
}

/// It becomes a metric's label, and a part of a label in Kubernetes.
fn name(node: &Node, taken: &[(String, &Node)]) -> Result<String, Fault> {
    let text = node.text()?;
    if text == WIRES {
        return Err(node.fault("`wires` is what `outputs` calls our own listeners: choose another name"));
    }
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !inner || !edge(bytes.first()) || !edge(bytes.last()) || bytes.len() > 63 {
        let words = "no legal name: at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit";
        return Err(node.fault(words));
    }
    if let Some((_, first)) = taken.iter().find(|(n, _)| n == text) {
        return Err(node.fault(format!(
            "two sinks are called `{text}`, the first in line {}: each needs a name of its own",
            first.at.line
        )));
    }
    Ok(text.to_owned())
}

/// `name` is not in there.
fn read_kubernetes(mut f: Fields<'_, '_>, base: &Path) -> KubernetesSettings {
    let kubeconfig = f.get("kubeconfig", |n| super::secret::path(n, base));
    let context = f.entry("context");
    if let (Some(entry), None) = (context, &kubeconfig) {
        let words = "a context is one of a kubeconfig: name that file as `kubeconfig`";
        f.findings().push(entry.value.fault(words));
    }
    let context = context.and_then(|e| f.findings().note(e.value.text()).map(str::to_owned));
    KubernetesSettings {
        name: String::new(),
        kubeconfig,
        context,
        field_manager: f.or("fieldManager", "chandler".to_owned(), |n| word(n, 128)),
        instance: f.get("instance", |n| word(n, 63)),
        namespaces: f.list("namespaces", namespace).unwrap_or_default(),
        create_namespaces: f.or("createNamespaces", true, Node::boolean),
        lease_namespace: f.get("leaseNamespace", namespace),
        lease_duration: f.or("leaseDuration", SHORTEST_LEASE, lease_duration),
        parallelism: f.or("parallelism", PARALLELISM, |n| n.integer(1, MOST_PARALLEL)),
        inline_endpoints: f.or("inlineEndpoints", INLINE_ENDPOINTS, |n| n.integer(0, MOST_ENDPOINTS)),
    }
}

fn shown_kubernetes(k: &KubernetesSettings) -> Value {
    let mut out = Map::new();
    out.extend(k.kubeconfig.as_ref().map(|p| ("kubeconfig".to_owned(), json!(p.display().to_string()))));
    out.extend(k.context.as_ref().map(|c| ("context".to_owned(), json!(c))));
    out.extend(k.instance.as_ref().map(|i| ("instance".to_owned(), json!(i))));
    out.extend(k.lease_namespace.as_ref().map(|n| ("leaseNamespace".to_owned(), json!(n))));
    out.insert("fieldManager".into(), json!(k.field_manager));
    out.insert("namespaces".into(), json!(k.namespaces));
    out.insert("createNamespaces".into(), json!(k.create_namespaces));
    out.insert("leaseDuration".into(), json!(units::show_duration(k.lease_duration)));
    out.insert("parallelism".into(), json!(k.parallelism));
    out.insert("inlineEndpoints".into(), json!(k.inline_endpoints));
    out.into()
}

/// Goes into addresses and labels as it is.
fn word(node: &Node, longest: usize) -> Result<String, Fault> {
    let text = node.text()?;
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if inner && edge(bytes.first()) && edge(bytes.last()) && bytes.len() <= longest {
        return Ok(text.to_owned());
    }
    let words = format!(
        "must be at most {longest} letters, digits, `-`, `_` and `.`, beginning and ending with a letter or a digit"
    );
    Err(node.fault(words))
}

fn namespace(node: &Node) -> Result<String, Fault> {
    let text = word(node, 63)?;
    if text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Ok(text);
    }
    Err(node.fault("no name of a namespace: lower-case letters, digits and `-`"))
}

fn lease_duration(node: &Node) -> Result<Duration, Fault> {
    let got = units::duration(node)?;
    if (SHORTEST_LEASE..=LONGEST_LEASE).contains(&got) && got.subsec_millis() == 0 {
        return Ok(got);
    }
    Err(node.fault("must be whole seconds, from 15s to 10m"))
}

/// Where each registry goes that says so.
fn read_outputs(
    registries: Option<&Node>,
    sinks: &[(String, &Node)],
    findings: &Findings,
) -> BTreeMap<RegistryName, Outputs> {
    let registries = registries.and_then(Node::list).unwrap_or_default();
    let one = |registry: &Node| {
        let map = registry.map()?;
        let written = map.entry("outputs").filter(|e| !e.value.is_null());
        let outputs = read_destinations(&written?.value, sinks, findings)?;
        let name = map.entry("name")?.value.text().ok()?;
        Some((RegistryName::new(name), outputs))
    };
    // What only repeats the default is no difference.
    let default = Outputs { wires: true, sinks: Vec::new() };
    registries.iter().filter_map(one).filter(|(_, o)| *o != default).collect()
}

fn read_destinations(node: &Node, sinks: &[(String, &Node)], findings: &Findings) -> Option<Outputs> {
    let elements = findings.note(node.elements())?;
    if elements.is_empty() {
        let words = "nowhere: a registry that is not to go anywhere is better left out; write `[wires]` for our own listeners";
        findings.push(node.fault(words));
    }
    let mut out = Outputs::default();
    for element in elements {
        let (at, form) = match element.map() {
            None => (Some(element), Form::Auto),
            Some(_) => {
                let mut f = Fields::of(element, findings);
                let form = f.or("form", Form::Auto, |n| n.choice(&FORMS));
                (f.need("sink", Ok), form)
            }
        };
        let Some(at) = at else { continue };
        let Some(name) = findings.note(at.text()) else { continue };
        let again = if name == WIRES { out.wires } else { out.sinks.iter().any(|(n, _)| n == name) };
        if again {
            findings.push(at.fault(format!("`{}` stands here twice", shown_text(name))));
        } else if name == WIRES {
            out.wires = true;
        } else if sinks.iter().any(|(n, _)| n == name) {
            out.sinks.push((name.to_owned(), form));
        } else {
            findings.push(at.fault(no_such(name, sinks)));
        }
    }
    out.sinks.sort();
    Some(out)
}

fn no_such(name: &str, sinks: &[(String, &Node)]) -> String {
    let known: Vec<&str> = [WIRES].into_iter().chain(sinks.iter().map(|(n, _)| n.as_str())).collect();
    match nearest(name, &known) {
        Some(near) => format!("there is no sink `{}`: did you mean `{near}`?", shown_text(name)),
        None => format!(
            "there is no sink `{}`: write {}, or describe it in `sinks`",
            shown_text(name),
            alternatives(&known)
        ),
    }
}

/// `registries` as shown, with `outputs` in each.
pub(super) fn shown_registries(registries: &[RegistryConfig], sinks: &Sinks) -> Vec<Value> {
    let one = |r: &RegistryConfig| {
        let mut shown = r.shown();
        if let Some(map) = shown.as_object_mut() {
            map.insert("outputs".into(), sinks.shown_outputs(&r.name));
        }
        shown
    };
    registries.iter().map(one).collect()
}
