//! An object that a user wrote, sealed as it is.

use bytes::Bytes;
use prost::Message;

use crate::convert::service_entry::topology;
use crate::convert::validate::legacy;
use crate::model::labels::Labels;
use crate::model::object::Object;
use crate::proto::networking::{ServiceEntry, WorkloadEntry};
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};

/// Seals `object`: its body is already canonical. Checks nothing; [`crate::convert::validate::check`] does.
#[must_use]
pub fn encode(object: &Object) -> Encoded {
    let id = ResourceId {
        collection: object.collection,
        name: ResourceName::new(&object.namespace, &object.name),
    };
    seal(id, object.labels.clone(), object.annotations.clone(), object.body.clone())
}

/// Seals a resource whose body is canonical already: what follows from its content is read off it.
#[must_use]
pub fn seal(id: ResourceId, labels: Labels, annotations: Labels, body: Bytes) -> Encoded {
    let (hash, fitness) = match id.collection {
        Collection::ServiceEntry => match ServiceEntry::decode(&*body) {
            Ok(entry) => (topology(&entry, &labels, &annotations), legacy::service_entry(&entry)),
            Err(_) => Default::default(),
        },
        Collection::WorkloadEntry => {
            let entry = WorkloadEntry::decode(&*body).unwrap_or_default();
            (TopologyHash::default(), legacy::workload_entry(&entry))
        }
        _ => Default::default(),
    };
    Encoded::new(id, labels, annotations, body, hash).fit(fitness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::spec::encode_spec;
    use crate::model::service::{ItemKind, Scope, ServiceKey};

    fn object(collection: Collection, spec: serde_json::Value) -> Object {
        Object {
            key: ServiceKey { kind: ItemKind::Object, name: "f#x".into(), scope: Scope::new("f") },
            collection,
            namespace: "ns".into(),
            name: "x".into(),
            labels: [("a", "b")].into_iter().collect(),
            annotations: Labels::EMPTY,
            hosts: Vec::new(),
            body: encode_spec(collection, spec).unwrap(),
            origin: "f:1".into(),
        }
    }

    fn entry(address: &str, resolution: &str) -> Object {
        let spec = serde_json::json!({
            "hosts": ["a.example"], "resolution": resolution, "endpoints": [{"address": address}]
        });
        object(Collection::ServiceEntry, spec)
    }

    #[test]
    fn an_object_is_served_as_it_was_written() {
        let o = entry("10.0.0.1", "STATIC");
        let made = encode(&o);
        assert_eq!((made.id.name.as_str(), &made.body, &made.labels), ("ns/x", &o.body, &o.labels));
    }

    #[test]
    fn endpoints_of_a_static_object_are_no_topology() {
        let (a, b) = (encode(&entry("10.0.0.1", "STATIC")), encode(&entry("10.0.0.2", "STATIC")));
        assert_eq!(a.topology, b.topology);
        assert_ne!(a.version, b.version);
        assert_ne!(encode(&entry("a.x", "DNS")).topology, encode(&entry("b.x", "DNS")).topology);
    }

    #[test]
    fn workloads_are_endpoints_only() {
        let of = |a: &str| encode(&object(Collection::WorkloadEntry, serde_json::json!({"address": a})));
        assert_eq!(of("10.0.0.1").topology, of("10.0.0.2").topology);
    }

    #[test]
    fn a_body_that_is_none_is_sealed_for_validation_to_refuse() {
        let o = Object { body: Bytes::from_static(&[0xff]), ..entry("10.0.0.1", "STATIC") };
        assert_eq!(encode(&o).topology, TopologyHash::default());
    }
}
