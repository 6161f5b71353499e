//! Which objects stand for one resource, and what is in them. Pure: the same resource gives the same objects.
//!
//! Labels say whose an object is ([`Owner`]); nothing else of ours is in it but what the resource says. No version, no
//! time, no counter: an object changes when the service does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};

use super::digest::Digest;
use super::name;
use super::text::{Metadata, Object, Spec};
use crate::convert::spec::SpecError;
use crate::model::labels::{Labels, Pair};
use crate::proto::networking::service_entry::Resolution;
use crate::proto::networking::{ServiceEntry, WorkloadEntry, WorkloadSelector};
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

/// The number of the field of a ServiceEntry that holds its endpoints.
const ENDPOINTS: u32 = 6;

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
pub(super) struct Owner(Arc<Words>);

/// What is written on every object, so that all of them share it.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    managed_by: Pair,
    instance: Pair,
    registry: Arc<str>,
    entry: Arc<str>,
}

impl Owner {
    /// The owner whose label is `instance`, made a legal value.
    #[must_use]
    pub(super) fn new(instance: &str) -> Self {
        Self(Arc::new(Words {
            managed_by: (MANAGED_BY.into(), CHANDLER.into()),
            instance: (INSTANCE.into(), name::label(instance).into()),
            registry: REGISTRY.into(),
            entry: ENTRY.into(),
        }))
    }

    /// The label's value.
    #[must_use]
    pub(super) fn as_str(&self) -> &str {
        &self.0.instance.1
    }

    /// From which registry an object with these labels comes; `None`: it is not ours.
    #[must_use]
    pub(super) fn registry(&self, labels: &Labels) -> Option<Arc<str>> {
        let ours = labels.get(MANAGED_BY) == Some(CHANDLER) && labels.get(INSTANCE) == Some(self.as_str());
        let pair = labels.as_slice().iter().find(|(key, _)| ours && **key == *REGISTRY)?;
        Some(Arc::clone(&pair.1))
    }

    /// The labels of the objects of `source`.
    fn labels(&self, source: &Encoded) -> Labels {
        let registry = name::label(source.registry().unwrap_or_default());
        let of_registry = (Arc::clone(&self.0.registry), registry.into());
        let ours = [self.0.managed_by.clone(), self.0.instance.clone(), of_registry];
        source.labels.as_slice().iter().cloned().chain(ours).collect()
    }

    /// These labels, for the endpoints of the entry that is called `selected`.
    fn of_endpoints(&self, labels: &Labels, selected: &str) -> Labels {
        let entry = (Arc::clone(&self.0.entry), selected.into());
        labels.as_slice().iter().cloned().chain([entry]).collect()
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

/// What is wanted of one object. Its text is made when it is written, so that what waits costs little.
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
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Whole,
    /// The entry without its endpoints.
    Selecting,
    /// One endpoint: its bytes within the entry's.
    Endpoint(Bytes),
}

impl Wanted {
    /// The resource that it stands for, or for a part of.
    #[must_use]
    pub(super) fn source(&self) -> &Arc<Encoded> {
        &self.source
    }

    /// The whole object in JSON, as it is applied under `api_version`; with `uid`: to that one object alone.
    ///
    /// # Errors
    /// The resource cannot be shown as JSON, which its digest has shown to be possible.
    pub(super) fn text(&self, key: &Key, api_version: &str, uid: Option<&str>) -> Result<Vec<u8>, SpecError> {
        let spec = spec(&self.source, &self.part)?;
        let metadata = Metadata::of(key, &self.labels, &self.annotations, uid);
        let object = Object { api_version, kind: key.kind.collection().kind(), metadata, spec: &spec };
        serde_json::to_vec(&object).map_err(|e| wrong(&self.source, &e))
    }

    /// Whether its endpoints are objects of their own.
    #[must_use]
    pub(super) fn is_selecting(&self) -> bool {
        self.part == Part::Selecting
    }

    /// Whether both say the same.
    #[must_use]
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest && self.labels == other.labels && self.annotations == other.annotations
    }
}

fn wrong(source: &Encoded, why: &dyn fmt::Display) -> SpecError {
    SpecError::Body { collection: source.id.collection, reason: why.to_string() }
}

fn spec(source: &Encoded, part: &Part) -> Result<Spec, SpecError> {
    let no = |e: DecodeError| wrong(source, &e);
    let selected = || (ENTRY.to_owned(), name::label(source.id.name.parts().1));
    match (part, source.id.collection) {
        (Part::Whole, Collection::WorkloadEntry) => {
            WorkloadEntry::decode(&*source.body).map(Spec::Workload).map_err(no)
        }
        (Part::Whole, Collection::ServiceEntry) => {
            ServiceEntry::decode(&*source.body).map(Spec::Entry).map_err(no)
        }
        (Part::Whole, other) => Err(SpecError::Unsupported(other)),
        (Part::Selecting, _) => {
            let entry = ServiceEntry::decode(&*source.body).map_err(no)?;
            let workload_selector = Some(WorkloadSelector { labels: [selected()].into() });
            Ok(Spec::Entry(ServiceEntry { endpoints: Vec::new(), workload_selector, ..entry }))
        }
        (Part::Endpoint(body), _) => {
            let mut endpoint = WorkloadEntry::decode(&**body).map_err(no)?;
            // In the spec for what reads only that, and in the metadata for what selects there.
            endpoint.labels.extend([selected()]);
            Ok(Spec::Workload(endpoint))
        }
    }
}

/// The endpoints of the ServiceEntry `body`, each as the bytes that it is in it: to write one of ten thousand, nobody
/// needs to read the others. The body is one that can be decoded.
fn endpoints(body: &Bytes) -> Result<Vec<Bytes>, DecodeError> {
    let (mut rest, mut out) = (body.clone(), Vec::new());
    while rest.has_remaining() {
        let (field, wire) = decode_key(&mut rest)?;
        if field != ENDPOINTS || wire != WireType::LengthDelimited {
            skip_field(wire, field, &mut rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
        out.push(rest.split_to(length.min(rest.len())));
    }
    Ok(out)
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
    let (namespace, labels) = (Arc::<str>::from(namespace), owner.labels(source));
    let key = |kind, name: String| Key { kind, namespace: Arc::clone(&namespace), name: name.into() };
    let own = key(kind, name::object(entry_name));
    let Some(entry) = taken_apart(source, kind, rule, apart)? else {
        return Ok(vec![(own, wanted(source, Part::Whole, &labels)?)]);
    };
    let of_endpoints = owner.of_endpoints(&labels, &name::label(entry_name));
    let bodies = endpoints(&source.body).map_err(|e| wrong(source, &e))?;
    let mut out = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &BTreeMap<String, u32>), usize> = BTreeMap::new();
    for (endpoint, body) in entry.endpoints.iter().zip(bodies) {
        let nth = seen.entry((&endpoint.address, &endpoint.ports)).or_default();
        let name = name::workload(entry_name, endpoint, *nth);
        *nth += 1;
        out.insert(key(Kind::WorkloadEntry, name), wanted(source, Part::Endpoint(body), &of_endpoints)?);
    }
    out.insert(own, wanted(source, Part::Selecting, &labels)?);
    Ok(out.into_iter().collect())
}

fn wanted(source: &Arc<Encoded>, part: Part, labels: &Labels) -> Result<Wanted, SpecError> {
    let no = |e: serde_json::Error| wrong(source, &e);
    let text = serde_json::to_vec(&spec(source, &part)?).map_err(no)?;
    Ok(Wanted {
        source: Arc::clone(source),
        part,
        digest: Digest::of(&text).map_err(no)?,
        labels: labels.clone(),
        annotations: source.annotations.clone(),
    })
}

/// The entry, if its endpoints are to be objects of their own. Names that have to be resolved stay where they are.
fn taken_apart(
    source: &Encoded,
    kind: Kind,
    rule: Rule,
    apart: bool,
) -> Result<Option<ServiceEntry>, SpecError> {
    if kind != Kind::ServiceEntry || rule.form == Form::Inline {
        return Ok(None);
    }
    let whole = spec(source, &Part::Whole)?;
    let Spec::Entry(entry) = &whole else { return Ok(None) };
    // One that selects already was written by a person.
    if entry.resolution != Resolution::Static as i32 || entry.workload_selector.is_some() {
        return Ok(None);
    }
    let share = if apart { 2 } else { 1 };
    let many = entry.endpoints.len() > rule.inline_endpoints / share;
    // Endpoints are nearly all of it, and each is at least a few dozen bytes: small ones need not be written out.
    let large = || {
        source.body.len() * 8 > INLINE_BYTES / share
            && serde_json::to_vec(&whole).is_ok_and(|text| text.len() > INLINE_BYTES / share)
    };
    let is_apart = rule.form == Form::Workloads || many || large();
    Ok(match whole {
        Spec::Entry(entry) if is_apart => Some(entry),
        _ => None,
    })
}

#[cfg(test)]
pub(super) mod tests;
