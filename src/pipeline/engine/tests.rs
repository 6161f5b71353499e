//! The rules of the line from a batch to a snapshot, without a task and without a clock.

use std::time::Duration;

use super::*;
use crate::convert::mapping::Globs;
use crate::convert::mapping::Mapping;
use crate::convert::naming::Template;
use crate::convert::policy::Policy;
use crate::convert::select::Rule;
use crate::convert::validate::Release;
use crate::model::change::Item;
use crate::model::change::{Batch, Cause, Trust};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::labels::Labels;
use crate::model::object::Object;
use crate::model::service::{Addresses, ItemKind, Protocol, Scope, Service};
use crate::pipeline::intake::Generation;
use crate::pipeline::reading::{Identity, Startup};
use crate::pipeline::report::Wanted;
use crate::resource::collection::Collection;
use crate::resource::encoded::Version;

fn mapping(namespace: &str) -> Mapping {
    let hosts = vec![Template::parse("{service}.test", &["service"]).unwrap()];
    let namespace = Template::parse(namespace, &["service"]).unwrap();
    Mapping::new(hosts, namespace, Protocol::Http)
}

fn registry(name: &str, generation: u64) -> RegistrySettings {
    RegistrySettings {
        name: RegistryName::new(name),
        generation: Generation(generation),
        policy: Arc::new(mapping("mesh").into()),
        startup: Startup::default(),
        scopes: vec![Scope::new("all")],
        feeds: vec![Collection::ServiceEntry, Collection::WorkloadEntry],
        identity: Identity::default(),
    }
}

fn settings(registries: Vec<RegistrySettings>) -> Settings {
    Settings {
        registries,
        merging: crate::model::merging::Merging::default(),
        virtual_ranges: vec!["244.0.0.0/6".parse().unwrap()],
        pins: BTreeMap::new(),
        terms: Terms { oldest: Release::new(1, 9) },
        cadence: Cadence::default(),
    }
}

fn key(kind: ItemKind, name: &str) -> ServiceKey {
    ServiceKey { kind, name: name.into(), scope: Scope::new("all") }
}

fn service_at(name: &str, addresses: &[&str]) -> Item {
    let endpoint = |a: &&str| Endpoint::at(Address::parse(a).unwrap(), EndpointPorts::One(8080));
    let endpoints = addresses.iter().map(endpoint).collect();
    Item::Service(Arc::new(Service { endpoints, ..Service::new(key(ItemKind::Service, name), name) }))
}

fn service(name: &str) -> Item {
    service_at(name, &["10.0.0.1", "10.0.0.2"])
}

fn object(name: &str, hosts: &[&str]) -> Item {
    use prost::Message as _;
    let hosts: Vec<Host> = hosts.iter().map(|h| Host::parse(h).unwrap()).collect();
    let entry = crate::proto::networking::ServiceEntry {
        hosts: hosts.iter().map(ToString::to_string).collect(),
        ports: vec![crate::proto::networking::ServicePort {
            number: 80,
            protocol: "HTTP".into(),
            name: "http".into(),
            target_port: 0,
        }],
        resolution: 2,
        ..Default::default()
    };
    Item::Object(Arc::new(Object {
        key: key(ItemKind::Object, name),
        collection: Collection::ServiceEntry,
        namespace: "mesh".into(),
        name: name.into(),
        labels: Labels::EMPTY,
        annotations: Labels::EMPTY,
        hosts,
        body: entry.encode_to_vec().into(),
        origin: "objects.yaml:1".into(),
    }))
}

fn reset(items: Vec<Item>) -> Batch {
    Batch(vec![Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete }])
}

/// An engine with a clock that tests move by hand.
struct Bench {
    engine: Engine,
    now: Moment,
}

impl Bench {
    fn new(registries: Vec<RegistrySettings>) -> Self {
        let mut bench = Self { engine: Engine::new(settings(registries)), now: Moment::START };
        bench.settle(0);
        bench
    }

    fn say(&mut self, registry: &str, generation: u64, batch: Batch) {
        let (registry, generation) = (RegistryName::new(registry), Generation(generation));
        self.engine.deliver(Delivery { registry, generation, batch }, self.now);
    }

    /// Lets `ms` pass in steps as the task does: work, publish what is due.
    fn settle(&mut self, ms: u64) -> usize {
        let mut published = 0;
        for _ in 0..=ms / 10 {
            while self.engine.work(2, self.now) {}
            published += usize::from(self.engine.flush(self.now).is_some());
            self.now = self.now.plus(Duration::from_millis(10));
        }
        published
    }

    fn names(&self) -> Option<Vec<String>> {
        let content = self.engine.published().get(Collection::ServiceEntry)?;
        Some(content.iter().map(|r| r.id.name.to_string()).collect())
    }

    fn version(&self, name: &str) -> Option<Version> {
        Some(self.engine.published().get(Collection::ServiceEntry)?.get(name)?.version)
    }
}

#[test]
fn a_collection_that_nobody_feeds_is_complete_and_empty_at_once() {
    let bench = Bench::new(vec![registry("a", 1)]);
    let gateways = bench.engine.published().get(Collection::Gateway);
    assert!(gateways.is_some_and(|c| c.is_empty()));
    assert_eq!(bench.names(), None);
}

#[test]
fn nothing_is_published_before_every_registry_that_feeds_it_has_been_read() {
    let mut bench = Bench::new(vec![registry("a", 1), registry("b", 2)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.say("b", 2, Batch(vec![Change::Upsert(service("y"))]));
    bench.settle(10_000);
    assert_eq!(bench.names(), None);
    bench.say("b", 2, reset(vec![service("z")]));
    assert_eq!(bench.settle(0), 1);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test", "mesh/z.test"]);
}

#[test]
fn a_doubtful_read_is_no_read_and_takes_nothing_away() {
    let doubtful = || {
        let trust = Trust::Doubtful("restarted empty".into());
        Batch(vec![Change::Reset { scope: Scope::new("all"), items: Vec::new(), trust }])
    };
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, doubtful());
    bench.settle(10_000);
    assert_eq!(bench.names(), None);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(0);
    bench.say("a", 1, doubtful());
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    assert_eq!(answers_doubt(&bench), Some("restarted empty".to_string()));
}

fn answers_doubt(bench: &Bench) -> Option<String> {
    crate::pipeline::answers::registries(&bench.engine, bench.now)[0].doubt.clone()
}

#[test]
fn endpoints_take_the_fast_lane_and_a_batch_goes_out_whole() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset((0..50).map(|n| service(&format!("s{n}"))).collect()));
    bench.settle(10_000);
    // Within the calm of neither lane: a topology change just went out.
    bench.say("a", 1, Batch(vec![Change::Upsert(service("new"))]));
    bench.settle(200);
    let before = bench.version("mesh/s1.test");
    let more: Vec<_> = (0..50).map(|n| Change::Upsert(service_at(&format!("s{n}"), &["10.0.0.9"]))).collect();
    bench.say("a", 1, Batch(more));
    bench.say("a", 1, Batch(vec![Change::Upsert(service("newer"))]));
    assert_eq!(bench.settle(200), 1);
    assert_ne!(bench.version("mesh/s1.test"), before);
    assert_eq!(bench.version("mesh/newer.test"), None);
    bench.settle(1_500);
    assert!(bench.version("mesh/newer.test").is_some());
}

#[test]
fn what_makes_no_sense_is_refused_alone_and_its_last_good_version_stays() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    let bad = || Item::Refused(key(ItemKind::Service, "x"), "port 0".into());
    bench.say("a", 1, reset(vec![service("x"), service("y")]));
    bench.settle(0);
    let good = bench.version("mesh/x.test");
    bench.engine.take_verdicts();
    for batch in [Batch(vec![Change::Upsert(bad())]), reset(vec![bad(), service("y")])] {
        bench.say("a", 1, batch);
        bench.settle(10_000);
        assert_eq!(bench.version("mesh/x.test"), good);
        assert_eq!(crate::pipeline::answers::registries(&bench.engine, bench.now)[0].refused, 1);
    }
    // People hear of it once.
    assert_eq!(bench.engine.take_verdicts().len(), 1);
    bench.say("a", 1, Batch(vec![Change::Upsert(service("x"))]));
    assert_eq!(crate::pipeline::answers::registries(&bench.engine, bench.now)[0].refused, 0);
}

#[test]
fn what_the_owner_takes_out_goes() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(vec![service("x"), service("y")]));
    bench.settle(0);
    let gone = Change::Remove(key(ItemKind::Service, "x"), Cause::Deleted);
    bench.say("a", 1, Batch(vec![gone]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/y.test"]);
    assert!(bench.engine.desired().addresses().get(&Host::parse("x.test").unwrap()).is_empty());
}

#[test]
fn a_generated_service_yields_to_an_object_of_its_host_and_returns() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(vec![service("x"), object("mine", &["x.test"])]));
    bench.settle(0);
    assert_eq!(bench.names().unwrap(), ["mesh/mine"]);
    let report = crate::pipeline::answers::services(&bench.engine, &Wanted::default());
    let x = report.iter().find(|r| r.key == "x").unwrap();
    assert_eq!(x.hosts[0].lost_to.as_deref(), Some("a/mine"));
    let gone = Change::Remove(key(ItemKind::Object, "mine"), Cause::Deregistered);
    bench.say("a", 1, Batch(vec![gone]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
}

#[test]
fn an_object_with_a_generated_resource_s_name_takes_the_name_and_gives_it_back() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(0);
    let generated = bench.version("mesh/x.test");
    bench.say("a", 1, Batch(vec![Change::Upsert(object("x.test", &["other.test"]))]));
    bench.settle(10_000);
    assert_ne!(bench.version("mesh/x.test"), generated);
    let gone = Change::Remove(key(ItemKind::Object, "x.test"), Cause::Deregistered);
    bench.say("a", 1, Batch(vec![gone]));
    bench.settle(10_000);
    assert_eq!(bench.version("mesh/x.test"), generated);
}

#[test]
fn a_renamed_registry_loses_nothing_before_it_is_read_under_its_new_name() {
    let mut bench = Bench::new(vec![registry("old", 1)]);
    bench.say("old", 1, reset(vec![service("x"), service("y")]));
    bench.settle(0);
    let before = bench.version("mesh/x.test");
    bench.engine.configure(settings(vec![registry("new", 2)]), Moment::START);
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap().len(), 2);
    bench.say("new", 2, reset(vec![service("x")]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    // What moved has another owner, which its annotations say; its address is the same.
    assert_ne!(bench.version("mesh/x.test"), before);
}

#[test]
fn a_reconfigured_registry_serves_its_last_state_until_its_new_form_is_read() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(0);
    let mut moved = registry("a", 2);
    moved.policy = Arc::new(mapping("elsewhere").into());
    bench.engine.configure(settings(vec![moved]), Moment::START);
    // The old life may still have something to say; nobody listens to it, and nothing is lost.
    bench.say("a", 1, reset(Vec::new()));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    bench.say("a", 2, reset(vec![service("x")]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["elsewhere/x.test"]);
}

#[test]
fn the_same_content_is_the_same_bytes_whatever_the_order_in_which_it_came() {
    let all: Vec<_> = (0..100).map(|n| service(&format!("s{n}"))).collect();
    let mut one = Bench::new(vec![registry("a", 1)]);
    one.say("a", 1, reset(all.clone()));
    one.settle(0);
    let mut other = Bench::new(vec![registry("a", 7)]);
    other.say("a", 7, reset(all.iter().rev().cloned().collect()));
    other.settle(0);
    let of = |b: &Bench| b.engine.published().get(Collection::ServiceEntry).unwrap().version();
    assert_eq!(of(&one), of(&other));
    assert_eq!(one.settle(60_000), 0, "nothing is published that is not news");
}

/// The ServiceEntry that is published as `name`.
fn published(bench: &Bench, name: &str) -> crate::proto::networking::ServiceEntry {
    use prost::Message as _;
    let snapshot = bench.engine.published().get(Collection::ServiceEntry).unwrap();
    crate::proto::networking::ServiceEntry::decode(snapshot.get(name).unwrap().body.clone()).unwrap()
}

fn with_account(item: Item) -> Item {
    let Item::Service(service) = item else { panic!("{item:?}") };
    let mut service = Arc::unwrap_or_clone(service);
    for endpoint in &mut service.endpoints {
        endpoint.service_account = Some("spiffe://td/ns/n/sa/a".into());
    }
    Item::Service(Arc::new(service))
}

#[test]
fn another_owner_of_a_host_does_not_inherit_what_the_last_one_was() {
    let internal = |bench: &Bench| published(bench, "mesh/x.test").location == 1;
    let (a, b) = (registry("a", 1), registry("b", 2));
    let mut bench = Bench::new(vec![a.clone(), b.clone()]);
    bench.say("a", 1, reset(vec![with_account(service("x"))]));
    bench.say("b", 2, reset(vec![service("x")]));
    bench.settle(0);
    assert!(internal(&bench));
    // Once internal it stays so while it is the same service …
    bench.say("a", 1, Batch(vec![Change::Upsert(service("x"))]));
    bench.settle(10_000);
    assert!(internal(&bench));
    // … and as a replica that has just started sees it, when it is another one.
    bench.engine.configure(settings(vec![b, a]), Moment::START);
    bench.settle(10_000);
    assert!(!internal(&bench));
}

#[test]
fn a_virtual_address_that_is_not_published_is_not_held() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(0);
    let before = published(&bench, "mesh/x.test").addresses;
    assert_eq!(before.len(), 1);
    let mut next = registry("a", 2);
    let mut mapping = mapping("mesh");
    mapping.addresses = crate::model::service::Addresses::None;
    next.policy = Arc::new(mapping.into());
    bench.engine.configure(settings(vec![next]), Moment::START);
    bench.say("a", 2, reset(vec![service("x")]));
    bench.settle(10_000);
    assert!(published(&bench, "mesh/x.test").addresses.is_empty());
    assert!(bench.engine.desired().addresses().entries().is_empty());
    bench.engine.configure(settings(vec![registry("a", 3)]), Moment::START);
    bench.say("a", 3, reset(vec![service("x")]));
    bench.settle(10_000);
    assert_eq!(published(&bench, "mesh/x.test").addresses, before);
}

#[test]
fn an_object_that_another_one_s_name_keeps_out_says_so() {
    let mut bench = Bench::new(vec![registry("a", 1), registry("b", 2)]);
    bench.say("a", 1, reset(vec![object("o", &["h.test"])]));
    bench.say("b", 2, reset(vec![object("o", &["h.test"])]));
    bench.settle(0);
    let reports = crate::pipeline::answers::services(&bench.engine, &Wanted::default());
    let told: Vec<_> =
        reports.iter().map(|r| (r.lost_to.as_deref(), r.hosts[0].resource.as_deref())).collect();
    assert_eq!(told, [(None, Some("mesh/o")), (Some("a/o"), None)]);
}

#[test]
fn who_is_refused_takes_no_host_over_and_what_claims_it_no_more_goes() {
    let mut bench = Bench::new(vec![registry("b", 1), registry("a", 2)]);
    bench.say("b", 1, reset(Vec::new()));
    bench.say("a", 2, reset(vec![service("x")]));
    bench.settle(0);
    let good = bench.version("mesh/x.test");
    // Without a port: refused, although its claim comes first.
    bench.say("b", 1, Batch(vec![Change::Upsert(service_at("x", &[]))]));
    bench.settle(10_000);
    assert_eq!(bench.version("mesh/x.test"), good);
    let reports = crate::pipeline::answers::services(&bench.engine, &Wanted::default());
    assert!(reports[0].hosts[0].refused.as_ref().is_some_and(|why| why.contains("no ports")), "{reports:?}");
    assert_eq!(reports[1].hosts[0].resource.as_deref(), Some("mesh/x.test"));
    // Who stands in is heard, and goes when it goes.
    bench.say("a", 2, Batch(vec![Change::Upsert(service_at("x", &["10.0.0.9"]))]));
    bench.settle(10_000);
    assert_ne!(bench.version("mesh/x.test"), good);
    let gone = Change::Remove(key(ItemKind::Service, "x"), Cause::Deleted);
    bench.say("a", 2, Batch(vec![gone]));
    bench.settle(10_000);
    assert_eq!(bench.version("mesh/x.test"), None);
    bench.say("b", 1, Batch(vec![Change::Upsert(service("x"))]));
    bench.settle(10_000);
    assert!(bench.version("mesh/x.test").is_some());
    assert!(bench.engine.desired().refused().is_empty());
}

#[test]
fn a_removed_registry_waits_for_what_the_same_reload_brought_and_for_nobody_else() {
    let mut bench = Bench::new(vec![registry("a", 1), registry("b", 2)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.say("b", 2, reset(vec![service("y")]));
    bench.settle(0);
    // One is added and stays unread.
    bench
        .engine
        .configure(settings(vec![registry("a", 1), registry("b", 2), registry("down", 3)]), Moment::START);
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap().len(), 2);
    // Another goes in a reload of its own: at once.
    bench.engine.configure(settings(vec![registry("b", 2), registry("down", 3)]), Moment::START);
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/y.test"]);
    // A rename stays in sight until it is read.
    bench.engine.configure(settings(vec![registry("c", 4), registry("down", 3)]), Moment::START);
    bench.settle(10_000);
    let reports = crate::pipeline::answers::registries(&bench.engine, bench.now);
    assert_eq!(reports.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["c", "down", "b"]);
    assert!(reports[2].removed.as_ref().is_some_and(|why| why.contains("once c has been read")));
    bench.say("c", 4, reset(vec![service("y")]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/y.test"]);
    assert_eq!(crate::pipeline::answers::registries(&bench.engine, bench.now).len(), 2);
}

/// A registry whose policy is changed by `change`.
fn with_policy(name: &str, change: impl FnOnce(&mut Policy)) -> RegistrySettings {
    let mut policy = Policy::from(mapping("mesh"));
    change(&mut policy);
    RegistrySettings { policy: Arc::new(policy), ..registry(name, 1) }
}

fn tagged(name: &str, tags: &[(&str, &str)]) -> Item {
    let Item::Service(service) = service(name) else { panic!() };
    let mut service = (*service).clone();
    service.endpoints = tags
        .iter()
        .map(|(address, tag)| Endpoint {
            tags: [*tag].into_iter().collect(),
            ..Endpoint::at(Address::parse(address).unwrap(), EndpointPorts::One(8080))
        })
        .collect();
    Item::Service(Arc::new(service))
}

fn only_tagged(policy: &mut Policy) {
    let tag = Some(Globs::new(vec!["mesh".into()]).unwrap());
    policy.select.include = vec![Rule { tag, ..Rule::default() }];
}

fn addresses(bench: &Bench, name: &str) -> Vec<String> {
    published(bench, name).endpoints.into_iter().map(|e| e.address).collect()
}

#[test]
fn an_address_whose_instance_left_stays_until_another_service_is_seen_there() {
    let mut bench = Bench::new(vec![with_policy("a", |p| p.map.addresses = Addresses::Endpoints)]);
    bench.say(
        "a",
        1,
        reset(vec![service_at("x", &["10.0.0.1", "10.0.0.2"]), service_at("y", &["10.0.0.3"])]),
    );
    bench.settle(0);
    let listened = |bench: &Bench, name: &str| published(bench, name).addresses;
    bench.say("a", 1, Batch(vec![Change::Upsert(service_at("x", &["10.0.0.2"]))]));
    bench.settle(1_000);
    assert_eq!(addresses(&bench, "mesh/x.test"), ["10.0.0.2"]);
    assert_eq!(listened(&bench, "mesh/x.test"), ["10.0.0.1", "10.0.0.2"]);
    bench.say("a", 1, Batch(vec![Change::Upsert(service_at("y", &["10.0.0.1", "10.0.0.3"]))]));
    bench.settle(10_000);
    assert_eq!(listened(&bench, "mesh/x.test"), ["10.0.0.2"]);
    assert_eq!(listened(&bench, "mesh/y.test"), ["10.0.0.1", "10.0.0.3"]);
    bench.say("a", 1, Batch(vec![Change::Upsert(service_at("y", &["10.0.0.3"]))]));
    bench.settle(1_000);
    assert_eq!(listened(&bench, "mesh/y.test"), ["10.0.0.1", "10.0.0.3"]);
    bench.settle(130_000);
    assert_eq!(listened(&bench, "mesh/y.test"), ["10.0.0.3"]);
}

#[test]
fn a_service_whose_instances_are_not_known_yet_listens_on_a_virtual_address_and_never_on_all() {
    let mut bench = Bench::new(vec![with_policy("a", |p| {
        p.map.addresses = Addresses::Endpoints;
        p.map.protocol = Protocol::Tcp;
        p.map.service_ports = crate::convert::mapping::ServicePorts::List(vec![5432]);
    })]);
    let listened = |bench: &Bench| published(bench, "mesh/x.test").addresses;
    bench.say("a", 1, reset(vec![service_at("x", &[])]));
    bench.settle(10_000);
    let virtual_one = listened(&bench);
    assert!(matches!(&virtual_one[..], [one] if one.starts_with("24")), "{virtual_one:?}");
    bench.say("a", 1, Batch(vec![Change::Upsert(service_at("x", &["10.0.0.1"]))]));
    bench.settle(10_000);
    assert_eq!(listened(&bench), ["10.0.0.1"]);
    bench.say("a", 1, Batch(vec![Change::Upsert(service_at("x", &[]))]));
    bench.settle(10_000);
    assert_eq!(listened(&bench), ["10.0.0.1"]);
}

#[test]
fn a_word_of_an_instance_that_restarts_moves_nothing_and_one_that_stays_away_is_forgotten() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    let said = |instances: &[(&str, &str)]| {
        let Item::Service(service) = service_at("x", &[]) else { unreachable!() };
        let endpoint = |(address, word): &(&str, &str)| Endpoint {
            labels: [("chandler-service-port", *word)].into_iter().filter(|(_, w)| !w.is_empty()).collect(),
            ..Endpoint::at(Address::parse(address).unwrap(), EndpointPorts::One(8080))
        };
        let endpoints = instances.iter().map(endpoint).collect();
        Item::Service(Arc::new(Service { endpoints, ..(*service).clone() }))
    };
    let ports = |bench: &Bench| -> Vec<u32> {
        published(bench, "mesh/x.test").ports.iter().map(|p| p.number).collect()
    };
    bench.say("a", 1, reset(vec![said(&[("10.0.0.1", "80"), ("10.0.0.2", "")])]));
    bench.settle(10_000);
    assert_eq!(ports(&bench), [80]);
    for instances in [&[("10.0.0.2", "")][..], &[("10.0.0.1", "80"), ("10.0.0.2", "")], &[("10.0.0.2", "")]] {
        bench.say("a", 1, Batch(vec![Change::Upsert(said(instances))]));
        bench.settle(30_000);
        assert_eq!(ports(&bench), [80]);
    }
    // By time alone: nobody says anything any more.
    while let Some(deadline) = bench.engine.deadline() {
        assert!(deadline < Moment::after_start(Duration::from_secs(3600)), "it never settles");
        bench.now = deadline;
        bench.settle(10);
    }
    assert_eq!(ports(&bench), [8080]);
}

#[test]
fn another_selection_is_applied_to_what_was_read_without_another_read() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    let both = tagged("x", &[("10.0.0.1", "mesh"), ("10.0.0.2", "other")]);
    bench.say("a", 1, reset(vec![both, tagged("y", &[("10.0.0.3", "other")])]));
    bench.settle(0);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test", "mesh/y.test"]);
    bench.engine.configure(settings(vec![with_policy("a", only_tagged)]), bench.now);
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    assert_eq!(addresses(&bench, "mesh/x.test"), ["10.0.0.1"]);
    let report = &crate::pipeline::answers::registries(&bench.engine, bench.now)[0];
    assert_eq!((report.services, report.left_out, report.complete), (1, 1, true));
    bench.engine.configure(settings(vec![registry("a", 1)]), bench.now);
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test", "mesh/y.test"]);
    assert_eq!(addresses(&bench, "mesh/x.test"), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn an_instance_whose_tag_goes_away_leaves_at_once_and_moves_nothing_else() {
    let mut bench = Bench::new(vec![with_policy("a", only_tagged)]);
    bench.say("a", 1, reset(vec![tagged("x", &[("10.0.0.1", "mesh"), ("10.0.0.2", "mesh")])]));
    bench.settle(0);
    let topology = |bench: &Bench| {
        bench.engine.published().get(Collection::ServiceEntry).unwrap().get("mesh/x.test").unwrap().topology
    };
    let before = topology(&bench);
    let fewer = tagged("x", &[("10.0.0.1", "mesh"), ("10.0.0.2", "gone")]);
    bench.say("a", 1, Batch(vec![Change::Upsert(fewer)]));
    bench.settle(100);
    assert_eq!((addresses(&bench, "mesh/x.test"), topology(&bench)), (vec!["10.0.0.1".to_owned()], before));
    // The service itself goes with the last that is tagged, as its owner wants it, and comes back with the next.
    bench.say("a", 1, Batch(vec![Change::Upsert(tagged("x", &[("10.0.0.1", "gone")]))]));
    bench.settle(10_000);
    assert!(bench.names().unwrap().is_empty());
    bench.say("a", 1, Batch(vec![Change::Upsert(tagged("x", &[("10.0.0.1", "mesh")]))]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
}

#[test]
fn a_selected_service_without_instances_stays_empty() {
    let mut bench = Bench::new(vec![with_policy("a", only_tagged)]);
    bench.say("a", 1, reset(vec![tagged("x", &[("10.0.0.1", "mesh")])]));
    bench.settle(0);
    let gone = Change::Remove(key(ItemKind::Service, "x"), Cause::Deregistered);
    bench.say("a", 1, Batch(vec![gone, Change::Upsert(service_at("x", &[]))]));
    bench.settle(10_000);
    assert!(addresses(&bench, "mesh/x.test").is_empty());
}

#[test]
fn a_service_that_a_mapping_refused_comes_with_another_mapping() {
    let nameless = |policy: &mut Policy| policy.map.hosts.clear();
    let mut bench = Bench::new(vec![with_policy("a", nameless)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(0);
    assert!(bench.names().unwrap().is_empty());
    bench.engine.configure(settings(vec![registry("a", 1)]), bench.now);
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    assert_eq!(crate::pipeline::answers::registries(&bench.engine, bench.now)[0].refused, 0);
}

#[test]
fn an_alias_is_a_resource_of_its_own_with_an_address_of_its_own() {
    let alias = |policy: &mut Policy| {
        policy.map.aliases = vec![Template::parse("{service}.old", &["service"]).unwrap()];
    };
    let mut bench = Bench::new(vec![with_policy("a", alias)]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(0);
    assert_eq!(bench.names().unwrap(), ["mesh/x.old", "mesh/x.test"]);
    let of = |name: &str| published(&bench, name).addresses;
    assert!(of("mesh/x.old").len() == 1 && of("mesh/x.old") != of("mesh/x.test"));
}

#[test]
fn an_optional_registry_is_given_up_after_its_time_and_joins_when_it_is_read() {
    let startup = Startup { optional: true, wait: Duration::from_secs(5) };
    let optional = RegistrySettings { startup, ..registry("slow", 2) };
    let mut bench = Bench::new(vec![registry("a", 1), optional]);
    bench.say("a", 1, reset(vec![service("x")]));
    bench.settle(4_900);
    assert_eq!(bench.names(), None);
    assert_eq!(bench.engine.deadline(), Some(Moment::after_start(Duration::from_secs(5))));
    bench.settle(200);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    assert_eq!(bench.engine.take_overdue(), [RegistryName::new("slow")]);
    let given_up = |bench: &Bench| crate::pipeline::answers::registries(&bench.engine, bench.now)[1].given_up;
    assert!(given_up(&bench));
    bench.say("slow", 2, reset(vec![service("y")]));
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test", "mesh/y.test"]);
    assert!(!given_up(&bench) && bench.engine.take_overdue().is_empty());
}

#[test]
fn a_registry_that_is_not_optional_is_waited_for_and_complained_of_once() {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.settle(120_000);
    assert_eq!(bench.names(), None);
    assert_eq!(bench.engine.take_overdue(), [RegistryName::new("a")]);
    assert_eq!(bench.engine.deadline(), None);
    let startup = Startup { optional: true, ..Startup::default() };
    bench.engine.configure(settings(vec![RegistrySettings { startup, ..registry("a", 1) }]), bench.now);
    bench.settle(0);
    assert!(bench.names().unwrap().is_empty(), "the new word holds for what waits already");
}

#[test]
fn what_is_ignored_is_told_once_and_shown_always() {
    let says = |weight: &str, protocol: &str| {
        let Item::Service(service) = service("x") else { panic!() };
        let mut service = (*service).clone();
        let labels = [("chandler-weight", weight), ("chandler-protocol", protocol)];
        service.endpoints[0].labels = labels.into_iter().collect();
        Item::Service(Arc::new(service))
    };
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(vec![says("heavy", "grpc")]));
    bench.settle(0);
    assert_eq!(bench.engine.take_ignored().len(), 1);
    bench.say("a", 1, Batch(vec![Change::Upsert(says("heavy", "tcp"))]));
    assert!(bench.engine.take_ignored().is_empty());
    let wanted = Wanted { name: Some("x".into()), ..Wanted::default() };
    let report = crate::pipeline::answers::services(&bench.engine, &wanted);
    assert_eq!(report[0].owner_says, ["protocol: TCP"]);
    assert!(report[0].ignored[0].starts_with("chandler-weight: \"heavy\""));
    assert_eq!((report[0].instances.len(), report[0].instances[0].address.as_str()), (2, "10.0.0.1"));
    bench.say("a", 1, Batch(vec![Change::Upsert(says("2", "tcp"))]));
    let report = crate::pipeline::answers::services(&bench.engine, &wanted);
    assert!(report[0].ignored.is_empty());
}

mod bounded;
mod merging;
mod succeed;
