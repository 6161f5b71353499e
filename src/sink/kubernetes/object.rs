//! Which objects stand for one resource, and what is in them. Pure: the same resource gives the same objects.
//!
//! Labels say whose an object is ([`Owner`]); nothing else of ours is in it but what the resource says. No version, no
//! time, no counter: an object changes when the service does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prost::Message;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::Xxh3Default;

use super::name;
use crate::convert::spec::{SpecError, to_json};
use crate::model::labels::Labels;
use crate::proto::networking::service_entry::Resolution;
use crate::proto::networking::{ServiceEntry, WorkloadSelector};
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;
use crate::sink::Form;

/// Who made an object, as tools know it.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What stands there.
const CHANDLER: &str = "chandler";
/// Which installation made it.
const INSTANCE: &str = "chandler/instance";
/// From which registry it comes.
const REGISTRY: &str = "chandler/registry";
/// Of which ServiceEntry a WorkloadEntry is an endpoint.
const ENTRY: &str = "chandler/entry";

/// Above this many bytes of JSON an object is taken apart: an API server takes 1.5 MiB for all of it.
const INLINE_BYTES: usize = 512 << 10;

/// The kinds that are written. In the order in which they have to exist: an entry that selects its endpoints finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An endpoint.
    WorkloadEntry,
    /// A service.
    ServiceEntry,
}

impl Kind {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::WorkloadEntry, Self::ServiceEntry];

    /// The collection of such objects.
    #[must_use]
    pub(super) fn collection(self) -> Collection {
        match self {
            Self::WorkloadEntry => Collection::WorkloadEntry,
            Self::ServiceEntry => Collection::ServiceEntry,
        }
    }

    fn of(collection: Collection) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.collection() == collection)
    }
}

/// One object in the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its namespace.
    pub(super) namespace: Arc<str>,
    /// Its name.
    pub(super) name: Arc<str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.collection().kind(), self.namespace, self.name)
    }
}

/// Whose objects are ours: the label that tells this installation's from another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner(Arc<str>);

impl Owner {
    /// The owner whose label is `instance`, made a legal value.
    #[must_use]
    pub(super) fn new(instance: &str) -> Self {
        Self(name::label(instance).into())
    }

    /// The label's value.
    #[must_use]
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// From which registry an object with these labels comes; `None`: it is not ours.
    #[must_use]
    pub(super) fn registry<'l>(&self, labels: &'l Labels) -> Option<&'l str> {
        let ours = labels.get(MANAGED_BY) == Some(CHANDLER) && labels.get(INSTANCE) == Some(&self.0);
        ours.then(|| labels.get(REGISTRY)).flatten()
    }

    /// Who wrote an object that is not ours, in words.
    #[must_use]
    pub(super) fn of_others(labels: &Labels) -> String {
        match (labels.get(MANAGED_BY), labels.get(INSTANCE)) {
            (Some(CHANDLER), Some(instance)) => format!("the chandler {instance:?}"),
            (Some(manager), _) => manager.to_owned(),
            (None, _) => "somebody else".to_owned(),
        }
    }
}

/// A hash of a spec, independent of the order of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest(u128);

impl Digest {
    /// Of `spec`.
    #[must_use]
    pub(super) fn of(spec: &Value) -> Self {
        let mut hash = Xxh3Default::new();
        feed(&mut hash, spec);
        Self(hash.digest128())
    }
}

fn feed(hash: &mut Xxh3Default, value: &Value) {
    let mut text = |tag: u8, text: &str| {
        hash.update(&[tag]);
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    match value {
        Value::Null => text(0, ""),
        Value::Bool(b) => text(1, if *b { "t" } else { "f" }),
        Value::Number(n) => text(2, &n.to_string()),
        Value::String(s) => text(3, s),
        Value::Array(list) => {
            text(4, &list.len().to_string());
            list.iter().for_each(|v| feed(hash, v));
        }
        Value::Object(map) => {
            text(5, &map.len().to_string());
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            for (key, value) in sorted {
                hash.update(&(key.len() as u64).to_le_bytes());
                hash.update(key.as_bytes());
                feed(hash, value);
            }
        }
    }
}

/// What is wanted of one object. Its content is made when it is written, so that what waits costs little.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    source: Arc<Encoded>,
    part: Part,
    /// Of its spec.
    pub(super) digest: Digest,
    /// All of its labels.
    pub(super) labels: Labels,
    /// All of its annotations.
    pub(super) annotations: Labels,
}

/// Which part of the resource an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The entry without its endpoints.
    Selecting,
    /// The endpoint of that place.
    Endpoint(usize),
}

impl Wanted {
    /// The resource that it stands for, or for a part of.
    #[must_use]
    pub(super) fn source(&self) -> &Arc<Encoded> {
        &self.source
    }

    /// The whole object, as it is applied under `api_version`.
    ///
    /// # Errors
    /// The resource cannot be shown as JSON, which its digest has shown to be possible.
    pub(super) fn object(&self, key: &Key, api_version: &str) -> Result<Value, SpecError> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), json!(&*key.name));
        metadata.insert("namespace".into(), json!(&*key.namespace));
        for (field, pairs) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !pairs.is_empty() {
                let pairs: Map<String, Value> = pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
                metadata.insert(field.into(), pairs.into());
            }
        }
        let (kind, spec) = (key.kind.collection().kind(), self.spec()?);
        Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}))
    }

    fn spec(&self) -> Result<Value, SpecError> {
        spec(&self.source, self.part)
    }

    /// Whether its endpoints are objects of their own.
    #[must_use]
    pub(super) fn is_selecting(&self) -> bool {
        self.part == Part::Selecting
    }
}

fn spec(source: &Encoded, part: Part) -> Result<Value, SpecError> {
    let collection = source.id.collection;
    if part == Part::Whole {
        return to_json(collection, &source.body);
    }
    let wrong = |e: prost::DecodeError| SpecError::Body { collection, reason: e.to_string() };
    let entry = ServiceEntry::decode(&*source.body).map_err(wrong)?;
    let selected = name::label(source.id.name.parts().1);
    match part {
        Part::Endpoint(at) => endpoint_spec(&entry, at, &selected),
        Part::Whole | Part::Selecting => selecting_spec(entry, selected),
    }
}

fn selecting_spec(entry: ServiceEntry, selected: String) -> Result<Value, SpecError> {
    let labels = [(ENTRY.to_owned(), selected)].into();
    let entry =
        ServiceEntry { endpoints: Vec::new(), workload_selector: Some(WorkloadSelector { labels }), ..entry };
    to_json(Collection::ServiceEntry, &entry.encode_to_vec().into())
}

fn endpoint_spec(entry: &ServiceEntry, at: usize, selected: &str) -> Result<Value, SpecError> {
    let mut endpoint = entry.endpoints.get(at).cloned().unwrap_or_default();
    // In the spec for what reads only that, and in the metadata for what selects there.
    endpoint.labels.insert(ENTRY.to_owned(), selected.to_owned());
    to_json(Collection::WorkloadEntry, &endpoint.encode_to_vec().into())
}

/// Why a resource has no objects. It stops nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ObjectError {
    /// Its namespace cannot exist.
    #[error(
        "{0:?} is no name that a namespace may have: change `map.namespace` of its registry, or the object's own"
    )]
    Namespace(String),
    /// Kubernetes takes no such object from us.
    #[error("{} is no kind that this sink writes", .0.kind())]
    Kind(Collection),
    /// It cannot be shown.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// When an entry is taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// What the configuration says for its registry.
    pub(super) form: Form,
    /// How many endpoints one holds in [`Form::Auto`]. One that has been taken apart is put together at half of it.
    pub(super) inline_endpoints: usize,
}

/// The objects of `source`, sorted by key. `apart`: whether its endpoints are objects of their own now.
///
/// # Errors
/// The resource cannot be an object; says what to change.
pub(super) fn objects(
    source: &Arc<Encoded>,
    owner: &Owner,
    rule: Rule,
    apart: bool,
) -> Result<Vec<(Key, Wanted)>, ObjectError> {
    let (namespace, entry_name) = source.id.name.parts();
    if !name::is_namespace(namespace) {
        return Err(ObjectError::Namespace(namespace.to_owned()));
    }
    let kind = Kind::of(source.id.collection).ok_or(ObjectError::Kind(source.id.collection))?;
    let (namespace, labels) = (Arc::<str>::from(namespace), labels(source, owner));
    let whole = spec(source, Part::Whole)?;
    let key = |kind, name: String| Key { kind, namespace: Arc::clone(&namespace), name: name.into() };
    let wanted = |part, spec: &Value, labels: &Labels| Wanted {
        source: Arc::clone(source),
        part,
        digest: Digest::of(spec),
        labels: labels.clone(),
        annotations: source.annotations.clone(),
    };
    let own = key(kind, name::object(entry_name));
    let Some(entry) = taken_apart(source, kind, &whole, rule, apart) else {
        return Ok(vec![(own, wanted(Part::Whole, &whole, &labels))]);
    };
    let selected = name::label(entry_name);
    let of_workload: Labels = labels.iter().chain([(ENTRY, selected.as_str())]).collect();
    let mut out = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &BTreeMap<String, u32>), usize> = BTreeMap::new();
    for (at, endpoint) in entry.endpoints.iter().enumerate() {
        let nth = seen.entry((&endpoint.address, &endpoint.ports)).or_default();
        let name = name::workload(entry_name, endpoint, *nth);
        *nth += 1;
        let spec = endpoint_spec(&entry, at, &selected)?;
        out.insert(key(Kind::WorkloadEntry, name), wanted(Part::Endpoint(at), &spec, &of_workload));
    }
    let selecting = selecting_spec(entry.clone(), selected)?;
    out.insert(own, wanted(Part::Selecting, &selecting, &labels));
    Ok(out.into_iter().collect())
}

fn labels(source: &Encoded, owner: &Owner) -> Labels {
    let registry = name::label(source.registry().unwrap_or_default());
    let ours = [(MANAGED_BY, CHANDLER), (INSTANCE, owner.as_str()), (REGISTRY, &registry)];
    source.labels.iter().chain(ours).collect()
}

/// The entry, if its endpoints are to be objects of their own. Names that have to be resolved stay where they are.
fn taken_apart(source: &Encoded, kind: Kind, whole: &Value, rule: Rule, apart: bool) -> Option<ServiceEntry> {
    if kind != Kind::ServiceEntry || rule.form == Form::Inline {
        return None;
    }
    let entry = ServiceEntry::decode(&*source.body).ok()?;
    // One that selects already was written by a person.
    if entry.resolution != Resolution::Static as i32 || entry.workload_selector.is_some() {
        return None;
    }
    let share = if apart { 2 } else { 1 };
    let many = entry.endpoints.len() > rule.inline_endpoints / share;
    // Endpoints are nearly all of it, and each is at least a few dozen bytes: small ones need not be written out.
    let large =
        || source.body.len() * 8 > INLINE_BYTES / share && whole.to_string().len() > INLINE_BYTES / share;
    (rule.form == Form::Workloads || many || large()).then_some(entry)
}

#[cfg(test)]
pub(super) mod tests;
