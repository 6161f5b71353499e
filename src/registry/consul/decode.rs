//! What Consul's answers say, of any age from 1.8 on. Pure.
//!
//! Lenient: what is absent, null or unknown is taken as if it were not there. An instance that makes no sense is left out
//! alone and named; its neighbours are not touched. Refuses to guess: a body that is no list is an error as a whole.
//! An instance is known by its node and its id: ids are unique on a node only.

mod gist;
mod instance;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::instance::{Entry, LeftOut};
use crate::model::endpoint::Endpoint;
use crate::model::service::{Protocol, Service};
use crate::registry::consul::place::Place;
use crate::registry::consul::settings::Instances;

/// The names of services with their tags.
pub(super) type List = BTreeMap<Arc<str>, Vec<String>>;

/// What one answer about a service says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Read {
    /// Every instance that is registered, whatever its state or kind; sorted.
    pub(super) instances: Arc<[Arc<str>]>,
    /// The nodes of these; sorted.
    pub(super) nodes: Vec<Arc<str>>,
    /// The service with its healthy instances. Absent: no instance is of a kind that we take.
    pub(super) service: Option<Arc<Service>>,
    /// What is left out, and why.
    pub(super) faults: Vec<String>,
    /// Every instance that we would take makes no sense.
    pub(super) senseless: bool,
}

impl Read {
    /// Whether an instance is registered.
    pub(super) fn has(&self, id: &Arc<str>) -> bool {
        self.instances.binary_search(id).is_ok()
    }

    /// Whether an instance is registered here that is not there.
    pub(super) fn has_more_than(&self, other: &Self) -> bool {
        self.instances.iter().any(|id| !other.has(id))
    }

    /// How many healthy instances there are.
    pub(super) fn healthy(&self) -> usize {
        self.service.as_ref().map_or(0, |s| s.endpoints.len())
    }
}

/// A check that is not well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failing {
    pub(super) node: String,
    pub(super) check: String,
    /// Empty: of the node itself, hence of all that runs on it.
    pub(super) service: String,
}

/// Reads `/v1/catalog/services`.
pub(super) fn services(body: &[u8]) -> Result<List, String> {
    type Typed = BTreeMap<Arc<str>, Option<Vec<String>>>;
    let typed = match serde_json::from_slice::<Typed>(body) {
        Ok(typed) => typed,
        // One of them is odd: its tags are not worth losing the others.
        Err(_) => {
            let loose: BTreeMap<Arc<str>, Value> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
            loose
                .into_iter()
                .map(|(name, tags)| (name, serde_json::from_value(tags).unwrap_or_default()))
                .collect()
        }
    };
    Ok(typed
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(n, t)| (n, t.unwrap_or_default()))
        .collect())
}

/// What [`services`] would say, as a number, for far less: the same for the same services with the same tags in any order
/// (Consul's own is another one in each answer). `None`: it makes no sense, or not in this way.
pub(super) fn gist(body: &[u8]) -> Option<u128> {
    serde_json::from_slice::<gist::Services>(body).ok().map(|gist| gist.0)
}

/// Reads `/v1/health/service/{name}`. `defaults` is the protocol of the service where its owner says none.
pub(super) fn instances(
    name: &Arc<str>,
    body: &[u8],
    place: &Place,
    options: &Instances,
    defaults: Option<Protocol>,
) -> Result<Read, String> {
    let mut read = Read::default();
    let entries: Vec<Entry> =
        list(body, |n, why| read.faults.push(format!("instance {n} of {name}: {why}")))?;
    let odd = read.faults.len();
    let (mut seen, mut nodes) = (BTreeSet::new(), BTreeSet::new());
    let mut service = Service::new(place.key(name), Arc::clone(name));
    let mut datacenter = None;
    let (mut taken, mut senseless) = (0, 0);
    for entry in &entries {
        if !seen.insert(entry.id()) {
            read.faults.push(format!("instance {} of {name} is listed twice", entry.id()));
            continue;
        }
        nodes.insert(Arc::from(entry.node()));
        if !entry.is_taken(options) {
            continue;
        }
        taken += 1;
        datacenter = datacenter.or(entry.datacenter());
        match entry.endpoint(options) {
            Ok(endpoint) => service.endpoints.push(endpoint),
            Err(LeftOut::Unwell(why)) => service.left_out.add(why, entry.id()),
            Err(LeftOut::Senseless(short, why)) => {
                senseless += 1;
                service.left_out.add(short, entry.id());
                read.faults.push(format!("instance {} of {name}: {why}", entry.id()));
            }
        }
    }
    let order = |e: &Endpoint| (e.address.clone(), e.ports.clone(), Arc::clone(&e.id));
    service.endpoints.sort_by_cached_key(order);
    read.instances = seen.into_iter().map(Arc::from).collect();
    read.nodes = nodes.into_iter().collect();
    read.senseless = taken + odd > 0 && senseless == taken;
    service.variables = place.variables(datacenter);
    service.says.protocol = defaults;
    read.service = (taken > 0).then(|| Arc::new(service));
    Ok(read)
}

/// A protocol as people write it in `service-defaults`.
fn protocol(text: &str) -> Option<Protocol> {
    Protocol::parse(text.trim()).filter(|_| !text.trim().is_empty())
}

/// Reads `/v1/health/state/{state}`.
pub(super) fn failing(body: &[u8]) -> Result<BTreeSet<Failing>, String> {
    let checks: Vec<instance::Check> = list(body, |_, _| ())?;
    Ok(checks.into_iter().map(instance::Check::failing).collect())
}

/// Reads `/v1/config/service-defaults`: the protocol of each service that has one there.
pub(super) fn service_defaults(body: &[u8]) -> Result<BTreeMap<Arc<str>, Protocol>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Defaults {
        name: Option<Arc<str>>,
        protocol: Option<String>,
    }
    let entries: Vec<Defaults> = list(body, |_, _| ())?;
    let pairs = entries.into_iter().filter_map(|e| Some((e.name?, protocol(&e.protocol?)?)));
    Ok(pairs.collect())
}

/// Reads `/v1/peering/{name}`: the services that the peer exports to us.
pub(super) fn imported(body: &[u8]) -> Result<List, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Peering {
        stream_status: Option<Status>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Status {
        imported_services: Option<Vec<Arc<str>>>,
    }
    let peering: Peering = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let names = peering.stream_status.and_then(|s| s.imported_services).unwrap_or_default();
    Ok(names.into_iter().filter(|n| !n.is_empty()).map(|n| (n, Vec::new())).collect())
}

/// The elements of a JSON list (`null` is an empty one) that can be read; `odd` hears of each that cannot.
fn list<T: DeserializeOwned>(body: &[u8], mut odd: impl FnMut(usize, String)) -> Result<Vec<T>, String> {
    if let Ok(all) = serde_json::from_slice::<Option<Vec<T>>>(body) {
        return Ok(all.unwrap_or_default());
    }
    let loose: Vec<Value> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let mut out = Vec::with_capacity(loose.len());
    for (at, value) in loose.into_iter().enumerate() {
        match serde_json::from_value(value) {
            Ok(element) => out.push(element),
            Err(e) => odd(at + 1, shown(&e.to_string())),
        }
    }
    Ok(out)
}

/// Something from outside as it may be shown: short, one line.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect()
}

#[cfg(test)]
mod tests;
