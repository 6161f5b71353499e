//! A resource as people write it: the Kubernetes object that `kubectl apply` takes.

use serde_json::{Map, Value, json};

use crate::convert::spec::{SpecError, to_json};
use crate::model::labels::Labels;
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;

/// The whole object: `apiVersion`, `kind`, `metadata`, `spec`.
///
/// # Errors
/// The body cannot be read, or we know no fields of its kind.
pub fn object(resource: &Encoded) -> Result<Value, SpecError> {
    let collection = resource.id.collection;
    let spec = to_json(collection, &resource.body)?;
    Ok(whole(collection, resource.id.name.parts(), [&resource.labels, &resource.annotations], spec))
}

/// Puts an object together; `name` is namespace and name, `pairs` are labels and annotations.
#[must_use]
pub fn whole(collection: Collection, name: (&str, &str), pairs: [&Labels; 2], spec: Value) -> Value {
    let (namespace, name) = name;
    let mut metadata = Map::new();
    metadata.insert("name".into(), name.into());
    metadata.insert("namespace".into(), namespace.into());
    for (key, pairs) in ["labels", "annotations"].into_iter().zip(pairs) {
        if !pairs.is_empty() {
            let pairs: Map<String, Value> = pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
            metadata.insert(key.into(), pairs.into());
        }
    }
    json!({
        "apiVersion": collection.api_version(),
        "kind": collection.kind(),
        "metadata": metadata,
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::networking::{ServiceEntry, ServicePort, service_entry};
    use crate::resource::encoded::{ResourceId, ResourceName, TopologyHash};

    #[test]
    fn an_object_is_what_kubectl_takes() {
        let entry = ServiceEntry {
            hosts: vec!["web.example".into()],
            ports: vec![ServicePort {
                number: 80,
                name: "http-80".into(),
                target_port: 8080,
                ..Default::default()
            }],
            resolution: service_entry::Resolution::Static.into(),
            ..ServiceEntry::default()
        };
        let id = ResourceId {
            collection: Collection::ServiceEntry,
            name: ResourceName::new("chandler", "web.example"),
        };
        let labels: Labels = [("app", "web")].into_iter().collect();
        let body = entry.encode_to_vec().into();
        let encoded = Encoded::new(id, labels, Labels::EMPTY, body, TopologyHash::default());
        let want = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": "web.example", "namespace": "chandler", "labels": {"app": "web"}},
            "spec": {
                "hosts": ["web.example"],
                "ports": [{"number": 80, "name": "http-80", "targetPort": 8080}],
                "resolution": "STATIC",
            },
        });
        assert_eq!(object(&encoded), Ok(want));
    }
}
