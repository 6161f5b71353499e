//! Resources as commands show them: rows of a table, whole objects, names.

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::ValueEnum;
use prost::Message;
use serde_json::{Value, json};

use crate::cli::table::{Cell, Table};
use crate::cli::yaml;
use crate::convert::manifest;
use crate::convert::spec::{SpecError, to_json};
use crate::model::labels::Labels;
use crate::proto::networking::{ServiceEntry, ServicePort, WorkloadEntry, service_entry};
use crate::proto::{Any, mcp};
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId, ResourceName};
use crate::resource::wire::RESOURCE_TYPE_URL;

/// In what form resources are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Form {
    /// Aligned columns
    #[default]
    Table,
    /// Columns without abbreviations, and more of them
    Wide,
    /// Whole objects, fit for `kubectl apply -f -`
    Yaml,
    /// Whole objects in a List
    Json,
    /// kind.group/name
    Name,
}

/// One resource, from the wire or from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: ResourceId,
    pub(crate) version: String,
    labels: Labels,
    annotations: Labels,
    body: Bytes,
}

impl From<&Encoded> for Item {
    fn from(r: &Encoded) -> Self {
        Self {
            id: r.id.clone(),
            version: r.version.to_string(),
            labels: r.labels.clone(),
            annotations: r.annotations.clone(),
            body: r.body.clone(),
        }
    }
}

impl Item {
    /// Reads the envelope in which resources of `collection` travel; says what is wrong with it.
    pub(crate) fn from_wire(collection: Collection, any: &Any) -> Result<Self, String> {
        if any.type_url != RESOURCE_TYPE_URL {
            return Err(format!(
                "a resource is a {:?} and not the {RESOURCE_TYPE_URL:?} of MCP",
                any.type_url
            ));
        }
        let envelope = mcp::Resource::decode(any.value.clone()).map_err(|e| e.to_string())?;
        Self::from_envelope(collection, envelope)
    }

    /// Reads the envelope itself.
    pub(crate) fn from_envelope(collection: Collection, envelope: mcp::Resource) -> Result<Self, String> {
        let metadata = envelope.metadata.unwrap_or_default();
        let Some((namespace, name)) = metadata.name.split_once('/') else {
            return Err(format!("a resource is called {:?}, which is no NAMESPACE/NAME", metadata.name));
        };
        let body = envelope.body.unwrap_or_default();
        if body.type_url.rsplit('/').next() != Some(collection.body_message()) {
            return Err(format!("{} is a {:?} among the {collection}", metadata.name, body.type_url));
        }
        let id = ResourceId { collection, name: ResourceName::new(namespace, name) };
        let pairs = |map: BTreeMap<String, String>| map.into_iter().collect();
        let (labels, annotations) = (pairs(metadata.labels), pairs(metadata.annotations));
        Ok(Self { id, version: metadata.version, labels, annotations, body: body.value })
    }

    /// Whether it is called `wanted`: a name, or namespace and name.
    pub(crate) fn is_called(&self, wanted: &str) -> bool {
        if wanted.contains('/') { self.id.name.as_str() == wanted } else { self.id.name.parts().1 == wanted }
    }

    /// The whole object that kubectl takes.
    pub(crate) fn object(&self) -> Result<Value, SpecError> {
        let spec = to_json(self.id.collection, &self.body)?;
        Ok(manifest::whole(self.id.collection, self.id.name.parts(), [&self.labels, &self.annotations], spec))
    }

    /// `serviceentry.networking.istio.io/name`.
    pub(crate) fn kubectl_name(&self) -> String {
        let api = self.id.collection.api_version();
        let group = api.split('/').next().unwrap_or_default();
        format!("{}.{group}/{}", self.id.collection.kind().to_ascii_lowercase(), self.id.name.parts().1)
    }

    /// Its row under [`heads`].
    pub(crate) fn row(&self, wide: bool) -> Vec<Cell> {
        let (namespace, name) = self.id.name.parts();
        let mut row: Vec<Cell> = vec![namespace.into(), name.into()];
        row.extend(match self.id.collection {
            Collection::ServiceEntry => service_entry_cells(&self.body, wide),
            Collection::WorkloadEntry => workload_entry_cells(&self.body),
            _ => Vec::new(),
        });
        if wide {
            row.push(self.version.as_str().into());
        }
        row
    }
}

/// The heads of a collection's columns.
pub(crate) fn heads(collection: Collection, wide: bool) -> Vec<&'static str> {
    let mut heads = vec!["NAMESPACE", "NAME"];
    heads.extend(match collection {
        Collection::ServiceEntry => {
            &["HOSTS", "ADDRESSES", "PORTS", "RESOLUTION", "LOCATION", "ENDPOINTS"][..]
        }
        Collection::WorkloadEntry => &["ADDRESS", "PORTS", "NETWORK", "LOCALITY", "WEIGHT"],
        _ => &[],
    });
    if wide {
        heads.extend((collection == Collection::ServiceEntry).then_some("EXPORT-TO"));
        heads.push("VERSION");
    }
    heads
}

/// What stands in a cell whose content cannot be read.
const UNREADABLE: &str = "<unreadable>";

fn service_entry_cells(body: &Bytes, wide: bool) -> Vec<Cell> {
    let Ok(entry) = ServiceEntry::decode(body.clone()) else { return vec![UNREADABLE.into()] };
    let resolution = service_entry::Resolution::try_from(entry.resolution).map(|r| r.as_str_name());
    let location = service_entry::Location::try_from(entry.location).map(|l| l.as_str_name());
    let mut cells: Vec<Cell> = vec![
        some(entry.hosts, wide).into(),
        some(entry.addresses, wide).into(),
        some(entry.ports.iter().map(port).collect(), wide).into(),
        resolution.unwrap_or("?").into(),
        location.unwrap_or("?").into(),
        entry.endpoints.len().to_string().into(),
    ];
    if wide {
        cells.push(some(entry.export_to, true).into());
    }
    cells
}

fn workload_entry_cells(body: &Bytes) -> Vec<Cell> {
    let Ok(entry) = WorkloadEntry::decode(body.clone()) else { return vec![UNREADABLE.into()] };
    let ports = entry.ports.iter().map(|(name, number)| format!("{name}:{number}")).collect();
    let weight = if entry.weight == 0 { String::new() } else { entry.weight.to_string() };
    vec![
        entry.address.into(),
        some(ports, true).into(),
        entry.network.into(),
        entry.locality.into(),
        weight.into(),
    ]
}

/// `80/HTTP`, and `80:8080/HTTP` where instances listen elsewhere; without a protocol the proxy sniffs.
fn port(port: &ServicePort) -> String {
    let target = if port.target_port == 0 { String::new() } else { format!(":{}", port.target_port) };
    let protocol = if port.protocol.is_empty() { "auto" } else { &port.protocol };
    format!("{}{target}/{protocol}", port.number)
}

/// A list in a cell; the first few of it, unless there is room.
fn some(list: Vec<String>, all: bool) -> String {
    const FEW: usize = 3;
    if list.is_empty() {
        return "<none>".into();
    }
    let more = if all { 0 } else { list.len().saturating_sub(FEW) };
    let shown = list.into_iter().take(if all { usize::MAX } else { FEW }).collect::<Vec<_>>().join(",");
    if more == 0 { shown } else { format!("{shown} + {more} more...") }
}

/// A table of `items`, which are all of `collection`.
pub(crate) fn table(collection: Collection, items: &[Item], wide: bool) -> String {
    let mut table = Table::new(&heads(collection, wide), false);
    for item in items {
        table.push(item.row(wide));
    }
    table.flush()
}

/// Objects as YAML documents that `kubectl apply -f -` takes.
pub(crate) fn yaml_documents(objects: &[Value]) -> String {
    objects.iter().map(yaml::document).collect::<Vec<_>>().join("---\n")
}

/// Objects as one JSON List, as kubectl prints several.
pub(crate) fn json_list(objects: Vec<Value>) -> String {
    pretty(&json!({"apiVersion": "v1", "kind": "List", "items": objects}))
}

/// A value over several lines, ending in a line feed.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::resource::encoded::TopologyHash;

    pub(crate) fn entry(name: &str, endpoints: usize) -> Encoded {
        let spec = ServiceEntry {
            hosts: vec![format!("{name}.example")],
            addresses: vec!["244.0.0.1".into()],
            ports: vec![
                ServicePort {
                    number: 80,
                    name: "http-80".into(),
                    protocol: "HTTP".into(),
                    target_port: 8080,
                },
                ServicePort { number: 9000, name: "auto-9000".into(), ..ServicePort::default() },
            ],
            location: service_entry::Location::MeshInternal.into(),
            resolution: service_entry::Resolution::Static.into(),
            endpoints: vec![WorkloadEntry { address: "10.0.0.1".into(), ..Default::default() }; endpoints],
            ..ServiceEntry::default()
        };
        let id =
            ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("chandler", name) };
        let annotations: Labels = [("chandler/registry", "onboard")].into_iter().collect();
        Encoded::new(id, Labels::EMPTY, annotations, spec.encode_to_vec().into(), TopologyHash::default())
    }

    #[test]
    fn a_table_shows_how_a_service_is_called_and_served() {
        let text = table(Collection::ServiceEntry, &[Item::from(&entry("web", 2))], false);
        let want = "\
NAMESPACE   NAME   HOSTS         ADDRESSES   PORTS                    RESOLUTION   LOCATION        ENDPOINTS
chandler    web    web.example   244.0.0.1   80:8080/HTTP,9000/auto   STATIC       MESH_INTERNAL   2
";
        assert_eq!(text, want);
    }

    #[test]
    fn wide_adds_export_and_version() {
        let item = Item::from(&entry("web", 0));
        let text = table(Collection::ServiceEntry, std::slice::from_ref(&item), true);
        let heads = text.lines().next().unwrap();
        assert!(heads.ends_with("EXPORT-TO   VERSION"), "{heads}");
        assert!(text.contains(&item.version));
        assert_eq!(item.row(true).len(), super::heads(Collection::ServiceEntry, true).len());
    }

    #[test]
    fn long_lists_are_cut_in_a_table() {
        let list: Vec<String> = (1..=5).map(|n| n.to_string()).collect();
        assert_eq!(some(list.clone(), false), "1,2,3 + 2 more...");
        assert_eq!(some(list, true), "1,2,3,4,5");
        assert_eq!(some(Vec::new(), false), "<none>");
    }

    #[test]
    fn names_match_with_and_without_their_namespace() {
        let item = Item::from(&entry("web", 0));
        assert!(item.is_called("web") && item.is_called("chandler/web"));
        assert!(!item.is_called("other/web") && !item.is_called("we"));
        assert_eq!(item.kubectl_name(), "serviceentry.networking.istio.io/web");
    }

    #[test]
    fn documents_are_whole_objects_and_read_back() {
        let objects: Vec<Value> = ["a", "b"].map(|n| Item::from(&entry(n, 1)).object().unwrap()).into();
        let text = yaml_documents(&objects);
        let back: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(back, objects);
        let list: Value = serde_json::from_str(&json_list(objects.clone())).unwrap();
        assert_eq!(list["items"], Value::from(objects));
    }

    #[test]
    fn a_foreign_resource_is_named() {
        let any = Any { type_url: "type.googleapis.com/envoy.x".into(), value: Bytes::new() };
        assert!(Item::from_wire(Collection::ServiceEntry, &any).unwrap_err().contains("envoy.x"));
        let any = Any { type_url: RESOURCE_TYPE_URL.into(), value: Bytes::from_static(b"\xff") };
        assert!(Item::from_wire(Collection::ServiceEntry, &any).is_err());
        let any = Any { type_url: RESOURCE_TYPE_URL.into(), value: Bytes::new() };
        assert!(Item::from_wire(Collection::ServiceEntry, &any).unwrap_err().contains("NAMESPACE/NAME"));
    }
}
