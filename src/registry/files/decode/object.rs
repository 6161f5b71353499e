//! Istio objects, as `kubectl` reads and prints them.

use std::sync::Arc;

use super::{Reading, labels, namespace, word};
use crate::convert::spec::{SUPPORTED, encode_spec, hosts_of};
use crate::model::change::Item;
use crate::model::host::{Host, is_dns1123_label};
use crate::model::labels::Labels;
use crate::model::object::Object;
use crate::model::service::{ItemKind, ServiceKey};
use crate::resource::collection::Collection;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{Fault, Node, words};

/// What Kubernetes keeps in an object's metadata for itself. Read over, so that what `kubectl get -o yaml` prints can be used.
const KUBERNETES_OWN: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];
/// Where `kubectl apply` keeps a copy of the whole object; changes with every apply and says nothing.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Kubernetes' limit for the name of an object.
const LONGEST_NAME: usize = 253;

impl Reading<'_> {
    pub(super) fn object(&mut self, node: &Node) {
        let kind = node.map().and_then(|m| m.get("kind")).and_then(|n| n.text().ok()).unwrap_or_default();
        if let Some(items) = node.map().and_then(|m| m.get("items")).filter(|_| kind.ends_with("List")) {
            for item in self.findings.note(items.elements()).unwrap_or_default() {
                self.object(item);
            }
            return;
        }
        let Some(head) = self.head(node) else { return };
        let own = format!("{}/{}/{}", head.kind, head.namespace, head.name);
        let origin = format!("{}:{}", self.shown, node.at.line);
        self.add(ItemKind::Object, &own, node, |key, findings| {
            let object = read(key, head, node, origin.into(), findings)?;
            Some(Item::Object(Arc::new(object)))
        });
    }

    /// What tells which object is meant; without it the file makes no sense.
    fn head(&self, node: &Node) -> Option<Head> {
        let map = self.findings.note(node.map().ok_or_else(|| node.expected("an object")))?;
        let need = |map: &Node, key: &str| {
            let value = map.map().and_then(|m| m.get(key)).filter(|v| !v.is_null());
            let missing = || map.fault(format!("`{key}` is missing"));
            self.findings.note(value.ok_or_else(missing).and_then(word))
        };
        let (api_version, kind) = (need(node, "apiVersion"), need(node, "kind"));
        let missing = || node.fault("`metadata` is missing");
        let metadata = self.findings.note(map.get("metadata").ok_or_else(missing))?;
        let name = need(metadata, "name");
        let namespace = match metadata.map().and_then(|m| m.get("namespace")).filter(|n| !n.is_null()) {
            Some(given) => self.findings.note(word(given)),
            None => Some(Arc::clone(&self.decoder.namespace)),
        };
        Some(Head { api_version: api_version?, kind: kind?, namespace: namespace?, name: name? })
    }
}

/// Which object.
struct Head {
    api_version: Arc<str>,
    kind: Arc<str>,
    namespace: Arc<str>,
    name: Arc<str>,
}

fn read(key: ServiceKey, head: Head, node: &Node, origin: Arc<str>, findings: &Findings) -> Option<Object> {
    let collection = findings.note(collection(&head, node))?;
    let mut fields = Fields::of(node, findings);
    for key in ["apiVersion", "kind", "status"] {
        fields.take(key);
    }
    let (labels, annotations) = metadata(fields.section("metadata"), findings);
    let body = fields.need("spec", |spec| encode_spec(collection, spec));
    drop(fields);
    let body = body?;
    let parse = |host: String| findings.note(Host::parse(&host).map_err(|e| node.fault(e.to_string())));
    let hosts = hosts_of(collection, &body).into_iter().filter_map(parse).collect();
    let Head { namespace, name, .. } = head;
    Some(Object { key, collection, namespace, name, labels, annotations, hosts, body, origin })
}

fn collection(head: &Head, node: &Node) -> Result<Collection, Fault> {
    let what = words::shown(&format!("{} {}", head.api_version, head.kind));
    let served = Collection::of_api(&head.api_version, &head.kind).filter(|c| SUPPORTED.contains(c));
    let all = SUPPORTED.map(|c| c.kind()).join(" and ");
    served.ok_or_else(|| {
        let group = SUPPORTED.map(|c| c.api_version()).first().cloned().unwrap_or_default();
        node.fault(format!(
            "{what} is not available in this version: {all} ({group} and its older versions) are"
        ))
    })
}

/// Labels and annotations; checks the rest.
fn metadata(mut fields: Fields<'_, '_>, findings: &Findings) -> (Labels, Labels) {
    for key in KUBERNETES_OWN {
        fields.take(key);
    }
    fields.get("name", object_name);
    fields.get("namespace", namespace);
    let own = fields.take("labels").map(|n| labels(n, findings)).unwrap_or_default();
    let annotations = fields.take("annotations").map(|n| labels(n, findings)).unwrap_or_default();
    let kept = annotations.as_slice().iter().filter(|(key, _)| &**key != LAST_APPLIED).cloned();
    (own, kept.collect())
}

/// A DNS-1123 subdomain, as Kubernetes has it: also what keeps `namespace/name` in two parts.
fn object_name(node: &Node) -> Result<(), Fault> {
    let name = node.text()?;
    if name.len() <= LONGEST_NAME && name.split('.').all(is_dns1123_label) {
        return Ok(());
    }
    Err(node.fault(format!("an object's name consists of at most {LONGEST_NAME} lower-case letters, digits, inner hyphens and dots")))
}
