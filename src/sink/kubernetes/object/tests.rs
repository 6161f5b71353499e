use std::sync::Arc;

use prost::Message;
use serde_json::Value;

use super::*;
use crate::model::service::RegistryName;
use crate::proto::networking::{ServicePort, WorkloadEntry};
use crate::resource::encoded::{ResourceId, ResourceName, TopologyHash};

/// An entry `ns/web.example` of `prod` with these many endpoints.
pub(in super::super) fn entry(endpoints: usize, resolution: Resolution) -> Arc<Encoded> {
    named("web.example", endpoints, resolution)
}

pub(in super::super) fn named(name: &str, endpoints: usize, resolution: Resolution) -> Arc<Encoded> {
    let endpoint = |n: usize| WorkloadEntry {
        address: format!("10.0.{}.{}", n / 250, n % 250),
        ports: [("http-80".to_owned(), 8080)].into(),
        labels: [("version".to_owned(), "v1".to_owned())].into(),
        ..WorkloadEntry::default()
    };
    let entry = ServiceEntry {
        hosts: vec!["web.example".into()],
        ports: vec![ServicePort { number: 80, name: "http-80".into(), ..ServicePort::default() }],
        resolution: resolution.into(),
        endpoints: (0..endpoints).map(endpoint).collect(),
        ..ServiceEntry::default()
    };
    let id = ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("ns", name) };
    let labels: Labels = [("team", "pay")].into_iter().collect();
    let made = Encoded::new(id, labels, Labels::EMPTY, entry.encode_to_vec().into(), TopologyHash::default());
    Arc::new(made.held_by(RegistryName::new("prod")))
}

fn made(source: &Arc<Encoded>, form: Form, inline_endpoints: usize, apart: bool) -> Vec<(Key, Wanted)> {
    objects(source, &Owner::new("home.cluster"), Rule { form, inline_endpoints }, apart).unwrap()
}

/// As it is sent, and the hash of its spec as it comes back.
fn shown(key: &Key, wanted: &Wanted) -> (Value, Digest) {
    let text = wanted.text(key, "networking.istio.io/v1", None).unwrap();
    let object: Value = serde_json::from_slice(&text).unwrap();
    let digest = Digest::of(object["spec"].to_string().as_bytes()).unwrap();
    (object, digest)
}

fn kinds(objects: &[(Key, Wanted)]) -> (usize, usize) {
    let workloads = objects.iter().filter(|(key, _)| key.kind == Kind::WorkloadEntry).count();
    (objects.len() - workloads, workloads)
}

#[test]
fn an_inline_entry_is_what_the_wires_have_and_says_whose_it_is() {
    let objects = made(&entry(2, Resolution::Static), Form::Inline, 0, false);
    let [(key, wanted)] = objects.as_slice() else { panic!("{objects:?}") };
    let (object, digest) = shown(key, wanted);
    assert_eq!(object["metadata"]["name"], "web.example");
    assert_eq!(
        object["metadata"]["labels"],
        serde_json::json!({
            "app.kubernetes.io/managed-by": "chandler", "chandler/instance": "home.cluster",
            "chandler/registry": "prod", "team": "pay",
        })
    );
    assert_eq!(object["spec"]["endpoints"][1]["address"], "10.0.0.1");
    assert_eq!(digest, wanted.digest);
}

#[test]
fn an_entry_that_selects_finds_every_endpoint_by_one_label() {
    let objects = made(&entry(3, Resolution::Static), Form::Workloads, 500, false);
    assert_eq!(kinds(&objects), (1, 3));
    for (key, wanted) in &objects {
        let (object, digest) = shown(key, wanted);
        assert_eq!(digest, wanted.digest);
        if key.kind == Kind::ServiceEntry {
            assert!(object["spec"]["endpoints"].is_null());
            assert_eq!(object["spec"]["workloadSelector"]["labels"]["chandler/entry"], "web.example");
        } else {
            assert_eq!(object["spec"]["labels"]["chandler/entry"], "web.example");
            assert_eq!(object["spec"]["labels"]["version"], "v1");
            assert_eq!(object["metadata"]["labels"]["chandler/entry"], "web.example");
        }
    }
}

#[test]
fn many_endpoints_are_taken_apart_and_few_are_put_together_again_at_half() {
    let form = |endpoints, apart| kinds(&made(&entry(endpoints, Resolution::Static), Form::Auto, 100, apart));
    assert_eq!(form(100, false), (1, 0));
    assert_eq!(form(101, false), (1, 101));
    assert_eq!(form(51, true), (1, 51));
    assert_eq!(form(50, true), (1, 0));
}

#[test]
fn an_object_that_would_be_too_large_is_taken_apart() {
    let mut source = Encoded::clone(&entry(1000, Resolution::Static));
    let (one, none) = (kinds(&made(&Arc::new(source.clone()), Form::Auto, 4096, false)), (1, 0));
    assert_eq!(one, none);
    let mut large = ServiceEntry::decode(&*source.body).unwrap();
    for endpoint in &mut large.endpoints {
        endpoint.labels.extend((0..10).map(|n| (format!("label-{n}"), "x".repeat(50))));
    }
    source.body = large.encode_to_vec().into();
    assert_eq!(kinds(&made(&Arc::new(source), Form::Auto, 4096, false)), (1, 1000));
}

#[test]
fn names_that_have_to_be_resolved_stay_in_their_entry() {
    assert_eq!(kinds(&made(&entry(9, Resolution::Dns), Form::Workloads, 0, false)), (1, 0));
}

#[test]
fn one_endpoint_more_is_one_object_more_and_no_other() {
    let [before, after] = [3, 4].map(|n| made(&entry(n, Resolution::Static), Form::Workloads, 0, false));
    let digests = |of: &[(Key, Wanted)]| -> BTreeMap<Key, Digest> {
        of.iter().map(|(key, wanted)| (key.clone(), wanted.digest)).collect()
    };
    let (before, mut after) = (digests(&before), digests(&after));
    after.retain(|key, digest| before.get(key) != Some(digest));
    assert_eq!(after.len(), 1);
}

#[test]
fn a_namespace_that_cannot_be_is_an_error_that_says_what_to_change() {
    let mut odd = Encoded::clone(&entry(1, Resolution::Static));
    odd.id.name = ResourceName::new("Not.Legal", "web");
    let odd = Arc::new(odd);
    let rule = Rule { form: Form::Auto, inline_endpoints: 1 };
    let e = objects(&odd, &Owner::new("o"), rule, false).unwrap_err().to_string();
    assert!(e.contains("Not.Legal") && e.contains("map.namespace"), "{e}");
}

#[test]
fn each_endpoint_is_the_one_that_its_name_says() {
    let source = entry(300, Resolution::Static);
    let objects = made(&source, Form::Workloads, 0, false);
    let whole = ServiceEntry::decode(&*source.body).unwrap();
    for endpoint in &whole.endpoints {
        let name = name::workload("web.example", endpoint, 0);
        let (key, wanted) = objects.iter().find(|(key, _)| *key.name == *name).unwrap();
        assert_eq!(shown(key, wanted).0["spec"]["address"], *endpoint.address);
    }
}

#[test]
fn an_endpoint_costs_none_of_its_neighbours_bytes() {
    let source = entry(3, Resolution::Static);
    let whole = ServiceEntry::decode(&*source.body).unwrap();
    let found = endpoints(&source.body).unwrap();
    let written: Vec<Vec<u8>> = whole.endpoints.iter().map(Message::encode_to_vec).collect();
    assert_eq!(found, written);
    let all = source.body.as_ptr_range();
    assert!(found.iter().all(|f| all.contains(&f.as_ptr())), "no copies");
}
