//! Our objects as the text that is sent: JSON with its keys in order and without what says nothing.
//!
//! It is what [`to_json`](crate::convert::spec::to_json) gives, which knows every kind by its descriptor and is many
//! times slower; an object is written out each time that it may have changed and each time that it is written.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::object::Key;
use crate::model::labels::Labels;
use crate::proto::networking::service_entry::{Location, Resolution};
use crate::proto::networking::{ServiceEntry, ServicePort, WorkloadEntry, WorkloadSelector};

/// A spec of one of the two kinds.
#[derive(Debug)]
pub(super) enum Spec {
    /// A service.
    Entry(ServiceEntry),
    /// An endpoint.
    Workload(WorkloadEntry),
}

impl Serialize for Spec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Entry(entry) => Entry::of(entry).serialize(s),
            Self::Workload(workload) => Workload::of(workload).serialize(s),
        }
    }
}

/// A whole object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object<'a> {
    /// The version of the API that it is written under.
    pub(super) api_version: &'a str,
    /// Its kind.
    pub(super) kind: &'a str,
    /// Who it is.
    pub(super) metadata: Metadata<'a>,
    /// What it says.
    pub(super) spec: &'a Spec,
}

/// Who an object is.
#[derive(Debug, Serialize)]
pub(super) struct Metadata<'a> {
    #[serde(skip_serializing_if = "Labels::is_empty", serialize_with = "pairs")]
    annotations: &'a Labels,
    #[serde(skip_serializing_if = "Labels::is_empty", serialize_with = "pairs")]
    labels: &'a Labels,
    name: &'a str,
    namespace: &'a str,
    /// Of the one object that is meant, and no other of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

impl<'a> Metadata<'a> {
    /// Of the object called `key`; with `uid`: of that one alone.
    #[must_use]
    pub(super) fn of(
        key: &'a Key,
        labels: &'a Labels,
        annotations: &'a Labels,
        uid: Option<&'a str>,
    ) -> Self {
        Self { annotations, labels, name: &key.name, namespace: &key.namespace, uid }
    }
}

fn pairs<S: Serializer>(labels: &Labels, s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(labels.iter())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    addresses: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<Workload<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    export_to: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Name>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Port<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<Name>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subject_alt_names: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    workload_selector: Option<Selector<'a>>,
}

impl<'a> Entry<'a> {
    fn of(entry: &'a ServiceEntry) -> Self {
        // Every field is named, so that a new one cannot be forgotten here.
        let ServiceEntry {
            hosts,
            addresses,
            ports,
            location,
            resolution,
            endpoints,
            export_to,
            subject_alt_names,
            workload_selector,
        } = entry;
        Self {
            addresses,
            endpoints: endpoints.iter().map(Workload::of).collect(),
            export_to,
            hosts,
            location: Name::of(*location, |n| Location::try_from(n).ok().map(|l| l.as_str_name())),
            ports: ports.iter().map(Port::of).collect(),
            resolution: Name::of(*resolution, |n| Resolution::try_from(n).ok().map(|r| r.as_str_name())),
            subject_alt_names,
            workload_selector: workload_selector.as_ref().map(Selector::of),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    number: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    protocol: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    target_port: u32,
}

impl<'a> Port<'a> {
    fn of(port: &'a ServicePort) -> Self {
        let ServicePort { number, protocol, name, target_port } = port;
        Self { name, number: *number, protocol, target_port: *target_port }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Workload<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    locality: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    network: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ports: &'a BTreeMap<String, u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    service_account: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    weight: u32,
}

impl<'a> Workload<'a> {
    fn of(workload: &'a WorkloadEntry) -> Self {
        let WorkloadEntry { address, ports, labels, network, locality, weight, service_account } = workload;
        Self { address, labels, locality, network, ports, service_account, weight: *weight }
    }
}

#[derive(Serialize)]
struct Selector<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

impl<'a> Selector<'a> {
    fn of(selector: &'a WorkloadSelector) -> Self {
        let WorkloadSelector { labels } = selector;
        Self { labels }
    }
}

/// A value of an enum that is not the default: its name, or the number of one that nobody has named yet.
#[derive(Serialize)]
#[serde(untagged)]
enum Name {
    Known(&'static str),
    Unknown(i32),
}

impl Name {
    fn of(number: i32, name: impl Fn(i32) -> Option<&'static str>) -> Option<Self> {
        (number != 0).then(|| name(number).map_or(Self::Unknown(number), Self::Known))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::convert::spec::to_json;
    use crate::resource::collection::Collection;

    /// With something in every field, and with the `n`th of them left out.
    fn workload(n: usize) -> WorkloadEntry {
        let text = |at: usize, text: &str| if at == n { String::new() } else { text.to_owned() };
        let number = |at: usize, number: u32| if at == n { 0 } else { number };
        let pair = |at: usize| at != n;
        WorkloadEntry {
            address: text(0, "10.0.0.1"),
            ports: pair(1)
                .then(|| ("http".to_owned(), 81))
                .into_iter()
                .chain([("b".to_owned(), 0)])
                .collect(),
            labels: pair(2).then(|| ("version".to_owned(), "v\"1\u{1}ü".to_owned())).into_iter().collect(),
            network: text(3, "vpc"),
            locality: text(4, "a/b/c"),
            weight: number(5, u32::MAX),
            service_account: text(6, "sa"),
        }
    }

    fn entry(n: usize) -> ServiceEntry {
        let list =
            |at: usize, text: &str| if at == n { Vec::new() } else { vec![text.to_owned(), String::new()] };
        let number = |at: usize, number: i32| if at == n { 0 } else { number };
        let port = |number, target_port, name: &str, protocol: &str| ServicePort {
            number,
            protocol: protocol.into(),
            name: name.into(),
            target_port,
        };
        let labels: BTreeMap<String, String> = [("a".to_owned(), "b".to_owned())].into();
        ServiceEntry {
            hosts: list(0, "a.example"),
            addresses: list(1, "244.0.0.1"),
            ports: if n == 2 { Vec::new() } else { vec![port(80, 8080, "http", "HTTP"), port(0, 0, "", "")] },
            location: number(3, 1),
            resolution: number(4, 1),
            endpoints: if n == 5 { Vec::new() } else { (0..8).map(workload).collect() },
            export_to: list(6, "*"),
            subject_alt_names: list(7, "spiffe://x"),
            workload_selector: (n != 8).then(|| WorkloadSelector { labels: labels.clone() }),
        }
    }

    fn agrees(collection: Collection, spec: &Spec, body: Vec<u8>) {
        let text = serde_json::to_string(spec).unwrap();
        assert_eq!(text, to_json(collection, &body.into()).unwrap().to_string());
    }

    #[test]
    fn the_text_is_what_the_descriptors_give() {
        for n in 0..8 {
            let workload = workload(n);
            let body = workload.encode_to_vec();
            agrees(Collection::WorkloadEntry, &Spec::Workload(workload), body);
        }
        for n in 0..10 {
            let entry = entry(n);
            let body = entry.encode_to_vec();
            agrees(Collection::ServiceEntry, &Spec::Entry(entry), body);
        }
        for resolution in 0..6 {
            let selector = Some(WorkloadSelector::default());
            let entry = ServiceEntry { resolution, workload_selector: selector, ..ServiceEntry::default() };
            let body = entry.encode_to_vec();
            agrees(Collection::ServiceEntry, &Spec::Entry(entry), body);
        }
    }
}
