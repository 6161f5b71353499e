//! Who owns what, when items and registries come, change places and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::model::admitted::Admitted;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::labels::Labels;
use crate::model::service::{ItemKind, Scope, Service};
use crate::resource::collection::Collection;

fn key(kind: ItemKind, name: &str) -> ServiceKey {
    ServiceKey { kind, name: name.into(), scope: Scope::new("s") }
}

fn service(name: &str, endpoints: u8, hosts: &[&str]) -> Known {
    let endpoint = |n| Endpoint::at(Address::parse(&format!("10.0.0.{n}")).unwrap(), EndpointPorts::One(80));
    let endpoints = (1..=endpoints).map(endpoint).collect();
    let service = Service { endpoints, ..Service::new(key(ItemKind::Service, name), name) };
    let hosts = hosts.iter().map(|h| Host::parse(h).unwrap()).collect();
    Known::Service(Arc::new(service), Arc::new(Admitted::claiming(hosts)))
}

fn object(name: &str, hosts: &[&str]) -> Known {
    Known::Object(Arc::new(Object {
        key: key(ItemKind::Object, name),
        collection: Collection::ServiceEntry,
        namespace: "ns".into(),
        name: name.into(),
        labels: Labels::EMPTY,
        annotations: Labels::EMPTY,
        hosts: hosts.iter().map(|h| Host::parse(h).unwrap()).collect(),
        body: bytes::Bytes::new(),
        origin: "x.yaml:1".into(),
    }))
}

fn names(touched: &Touched) -> Vec<&str> {
    touched.hosts.iter().map(Host::as_str).collect()
}

fn owner(catalog: &Catalog, host: &str) -> Option<String> {
    let (registry, known) = catalog.owner(&Host::parse(host).unwrap())?;
    Some(format!("{registry}/{}", known.key().name))
}

fn reset(items: Vec<Known>) -> Vec<Step> {
    vec![Step::Reset { scope: Some(Scope::new("s")), items, kept: BTreeSet::new() }]
}

#[test]
fn only_what_changed_is_touched() {
    let (mut catalog, r) = (Catalog::default(), RegistryName::new("a"));
    catalog.apply(&r, reset(vec![service("x", 1, &["x.io"]), service("y", 1, &["y.io"])]));
    assert!(catalog.apply(&r, vec![Step::Put(service("x", 1, &["x.io"]))]).is_empty());
    assert_eq!(names(&catalog.apply(&r, vec![Step::Put(service("x", 2, &["x.io"]))])), ["x.io"]);
    let touched = catalog.apply(&r, reset(vec![service("x", 2, &["z.io"])]));
    assert_eq!(names(&touched), ["x.io", "y.io", "z.io"]);
    assert_eq!(catalog.counts(&r), Counts { services: 1, left_out: 0, endpoints: 2, objects: 0 });
    assert_eq!(owner(&catalog, "y.io"), None);
}

#[test]
fn objects_own_first_then_the_order_of_registries_then_of_keys() {
    let (mut catalog, a, b) = (Catalog::default(), RegistryName::new("a"), RegistryName::new("b"));
    catalog.set_order(&[b.clone(), a.clone()]);
    catalog.apply(&a, vec![Step::Put(service("one", 0, &["h.io"]))]);
    catalog
        .apply(&b, vec![Step::Put(service("two", 0, &["h.io"])), Step::Put(service("three", 0, &["h.io"]))]);
    assert_eq!(owner(&catalog, "h.io").unwrap(), "b/three");
    catalog.apply(&a, vec![Step::Put(object("o", &["h.io"]))]);
    assert_eq!(owner(&catalog, "h.io").unwrap(), "a/o");
    catalog.apply(&a, vec![Step::Drop(key(ItemKind::Object, "o"))]);
    assert_eq!(names(&catalog.set_order(&[a.clone(), b.clone()])), ["h.io"]);
    assert_eq!(owner(&catalog, "h.io").unwrap(), "a/one");
    assert_eq!(names(&catalog.remove(&a)), ["h.io"]);
    assert_eq!(owner(&catalog, "h.io").unwrap(), "b/three");
}

#[test]
fn registries_that_call_an_item_the_same_change_places() {
    let (mut catalog, a, b) = (Catalog::default(), RegistryName::new("a"), RegistryName::new("b"));
    catalog.set_order(&[a.clone(), b.clone()]);
    for (registry, endpoints) in [(&a, 1), (&b, 2)] {
        catalog.apply(registry, vec![Step::Put(service("one", endpoints, &["h.io"]))]);
        catalog.apply(registry, vec![Step::Put(object("o", &["o.io"]))]);
    }
    assert_eq!(owner(&catalog, "h.io").unwrap(), "a/one");
    let touched = catalog.set_order(&[b, a]);
    assert_eq!((names(&touched), touched.objects.len()), (vec!["h.io", "o.io"], 1));
    assert_eq!(owner(&catalog, "h.io").unwrap(), "b/one");
}

#[test]
fn an_object_whose_name_another_one_has_keeps_nobody_from_its_hosts() {
    let (mut catalog, a, b) = (Catalog::default(), RegistryName::new("a"), RegistryName::new("b"));
    catalog.set_order(&[a.clone(), b.clone()]);
    catalog.apply(&a, vec![Step::Put(object("o", &["o.io"])), Step::Put(service("x", 1, &["x.io"]))]);
    catalog.apply(&b, vec![Step::Put(object("o", &["x.io"]))]);
    assert_eq!(owner(&catalog, "x.io").unwrap(), "a/x");
    // When its turn comes it has the host as well.
    let touched = catalog.apply(&a, vec![Step::Drop(key(ItemKind::Object, "o"))]);
    assert_eq!(names(&touched), ["o.io", "x.io"]);
    assert_eq!(owner(&catalog, "x.io").unwrap(), "b/o");
    let touched = catalog.apply(&a, vec![Step::Put(object("o", &["o.io"]))]);
    assert_eq!(names(&touched), ["o.io", "x.io"]);
    assert_eq!(names(&catalog.set_order(&[b, a])), ["o.io", "x.io"]);
}

#[test]
fn an_item_that_cannot_be_read_stays_through_a_reset() {
    let (mut catalog, r) = (Catalog::default(), RegistryName::new("a"));
    catalog.apply(&r, reset(vec![service("x", 1, &["x.io"]), service("y", 1, &["y.io"])]));
    let kept = BTreeSet::from([key(ItemKind::Service, "y")]);
    let step = Step::Reset { scope: Some(Scope::new("s")), items: Vec::new(), kept };
    assert_eq!(names(&catalog.apply(&r, vec![step])), ["x.io"]);
    assert_eq!(owner(&catalog, "y.io").unwrap(), "a/y");
}

#[test]
fn a_scope_is_reset_alone() {
    let (mut catalog, r) = (Catalog::default(), RegistryName::new("a"));
    catalog.apply(&r, reset(vec![service("x", 1, &["x.io"])]));
    let other = Step::Reset { scope: Some(Scope::new("other")), items: Vec::new(), kept: BTreeSet::new() };
    assert!(catalog.apply(&r, vec![other]).is_empty());
}
