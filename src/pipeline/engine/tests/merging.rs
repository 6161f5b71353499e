//! Hosts that several registries share.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::model::merging::{Merging, Mode, Rule};
use crate::model::service::ServicePort;
use crate::proto::networking::ServiceEntry;

const WEB: &str = "mesh/web.test";

fn rule(hosts: &str, registries: &[&str], mode: Mode) -> Rule {
    let registries = registries.iter().map(|r| RegistryName::new(r)).collect();
    Rule { hosts: Globs::new(vec![hosts.into()]).unwrap(), registries, mode }
}

fn sharing(registries: &[&str], rules: Vec<Rule>) -> Bench {
    let registries = registries.iter().map(|name| registry(name, 1)).collect();
    let settings = Settings { merging: Merging(rules), ..settings(registries) };
    let mut bench = Bench { engine: Engine::new(settings), now: Moment::START };
    bench.settle(0);
    bench
}

/// Two registries that share every host.
fn two(mode: Mode) -> Bench {
    sharing(&["a", "b"], vec![rule("*", &[], mode)])
}

fn read(bench: &mut Bench, registry: &str, items: Vec<Item>) {
    bench.say(registry, 1, reset(items));
}

fn upsert(bench: &mut Bench, registry: &str, item: Item) {
    bench.say(registry, 1, Batch(vec![Change::Upsert(item)]));
    bench.settle(10_000);
}

fn both(bench: &mut Bench, a: &[&str], b: &[&str]) {
    read(bench, "a", vec![service_at("web", a)]);
    read(bench, "b", vec![service_at("web", b)]);
    bench.settle(10_000);
}

fn resource(bench: &Bench, name: &str) -> Arc<crate::resource::encoded::Encoded> {
    let content = bench.engine.published().get(Collection::ServiceEntry).unwrap();
    Arc::clone(content.get(name).unwrap_or_else(|| panic!("{name} is not served")))
}

fn entry(bench: &Bench) -> ServiceEntry {
    ServiceEntry::decode(resource(bench, WEB).body.clone()).unwrap()
}

/// Addresses, each with the ports that are not the service's own.
fn endpoints(bench: &Bench) -> Vec<String> {
    let told = |e: &crate::proto::networking::WorkloadEntry| {
        let ports: Vec<String> = e.ports.values().map(|p| format!(":{p}")).collect();
        format!("{}{}", e.address, ports.concat())
    };
    entry(bench).endpoints.iter().map(told).collect()
}

fn topology(bench: &Bench) -> crate::resource::encoded::TopologyHash {
    resource(bench, WEB).topology
}

fn held(bench: &mut Bench) -> usize {
    bench.engine.guard(&RegistryName::new("a")).map_or(0, crate::pipeline::guard::Guard::held_endpoints)
}

/// What the API says of each claim: `registry contributes left_out`.
fn told(bench: &mut Bench) -> Vec<String> {
    let (to, answer) = tokio::sync::oneshot::channel();
    let query = crate::pipeline::report::Query::Hosts(Some("web.test".into()), to);
    crate::pipeline::answers::answer(&mut bench.engine, query, bench.now);
    let mut reports = answer.blocking_recv().unwrap();
    let claims = reports.pop().unwrap().claims;
    let told = |c: &crate::pipeline::report::ClaimReport| {
        let why = c.refused.as_deref().or(c.left_out.as_deref()).unwrap_or_default();
        format!("{} {} {why}", c.registry, c.contributes).trim_end().to_owned()
    };
    claims.iter().map(told).collect()
}

fn ports(bench: &Bench) -> Vec<u32> {
    entry(bench).ports.iter().map(|p| p.number).collect()
}

fn on(port: u16, address: &str) -> Item {
    let endpoint = Endpoint::at(Address::parse(address).unwrap(), EndpointPorts::One(port));
    let service = Service { endpoints: vec![endpoint], ..Service::new(key(ItemKind::Service, "web"), "web") };
    Item::Service(Arc::new(service))
}

/// A service with a port that it declares, at addresses that listen as it says.
fn declaring(ports: &[(u16, &str, Protocol)], addresses: &[&str]) -> Item {
    let port = |(number, name, protocol): &(u16, &str, Protocol)| ServicePort {
        number: *number,
        name: Some((*name).into()),
        protocol: Some(*protocol),
        target: None,
    };
    let ports = ports.iter().map(port).collect();
    let at = |a: &&str| Endpoint::at(Address::parse(a).unwrap(), EndpointPorts::AsService);
    let endpoints = addresses.iter().map(at).collect();
    let service = Service { ports, endpoints, ..Service::new(key(ItemKind::Service, "web"), "web") };
    Item::Service(Arc::new(service))
}

fn asking_for(namespace: &str, addresses: &[&str]) -> Item {
    let Item::Service(service) = service_at("web", addresses) else { unreachable!() };
    let mut service = Service::clone(&service);
    service.says.namespace = Some(namespace.into());
    Item::Service(Arc::new(service))
}

#[test]
fn without_a_rule_the_first_is_served_alone() {
    let mut bench = sharing(&["a", "b"], vec![rule("*.other", &[], Mode::Union)]);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    assert_eq!(endpoints(&bench), ["10.0.0.1"]);
    assert_eq!(told(&mut bench), ["a 1", "b 0 a/web comes first"]);
}

#[test]
fn a_union_has_the_endpoints_of_all_and_the_first_ones_ports() {
    let mut bench = two(Mode::Union);
    read(&mut bench, "a", vec![declaring(&[(80, "http", Protocol::Http)], &["10.0.0.9"])]);
    read(&mut bench, "b", vec![service_at("web", &["10.0.0.2", "10.0.0.1"])]);
    bench.settle(10_000);
    assert_eq!(endpoints(&bench), ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.9"]);
    let ports: Vec<_> = entry(&bench).ports.iter().map(|p| (p.number, p.name.clone())).collect();
    assert_eq!(ports, [(80, "http".to_owned())]);
    assert_eq!(told(&mut bench), ["a 1", "b 2"]);
}

#[test]
fn the_same_endpoint_twice_is_one_and_the_first_registrys() {
    let labelled = |registry: &str| {
        let Item::Service(service) = service_at("web", &["10.0.0.1", "10.0.0.2"]) else { unreachable!() };
        let mut service = Service::clone(&service);
        for endpoint in &mut service.endpoints {
            // Sorted before the other's by itself: precedence decides, not the alphabet.
            endpoint.id = if registry == "a" { "z".into() } else { "a".into() };
            endpoint.labels = [("from", registry)].into_iter().collect();
        }
        Item::Service(Arc::new(service))
    };
    let mut bench = two(Mode::Union);
    read(&mut bench, "a", vec![labelled("a")]);
    read(&mut bench, "b", vec![labelled("b")]);
    bench.settle(10_000);
    let from: Vec<_> = entry(&bench).endpoints.iter().map(|e| e.labels["from"].clone()).collect();
    assert_eq!(from, ["a", "a"]);
    assert_eq!(told(&mut bench), ["a 2", "b 0"]);
}

#[test]
fn an_endpoint_of_anyone_changes_endpoints_only() {
    let mut bench = two(Mode::Union);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    let before = topology(&bench);
    for (registry, addresses) in [("b", &["10.0.0.2", "10.0.0.3"][..]), ("a", &["10.0.0.1", "10.0.0.4"])] {
        upsert(&mut bench, registry, service_at("web", addresses));
        assert_eq!(topology(&bench), before);
    }
    assert_eq!(endpoints(&bench), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    bench.say("b", 1, Batch(vec![Change::Remove(key(ItemKind::Service, "web"), Cause::Deleted)]));
    bench.settle(10_000);
    assert_eq!((endpoints(&bench), topology(&bench)), (vec!["10.0.0.1".into(), "10.0.0.4".into()], before));
}

#[test]
fn who_lives_in_another_namespace_is_left_out_and_named() {
    let mut bench = two(Mode::Union);
    read(&mut bench, "a", vec![service_at("web", &["10.0.0.1"])]);
    read(&mut bench, "b", vec![asking_for("elsewhere", &["10.0.0.2"])]);
    bench.settle(10_000);
    assert_eq!(endpoints(&bench), ["10.0.0.1"]);
    let why = "b 0 its namespace is elsewhere, and that of a, which comes first, is mesh";
    assert_eq!(told(&mut bench), ["a 1", why]);
}

#[test]
fn who_cannot_serve_a_port_is_left_out_and_named() {
    let (http, grpc) = ((80, "http", Protocol::Http), (9000, "grpc", Protocol::Grpc));
    let mut bench = two(Mode::Union);
    read(&mut bench, "a", vec![declaring(&[http, grpc], &["10.0.0.1"])]);
    read(&mut bench, "b", vec![declaring(&[http], &["10.0.0.2"])]);
    bench.settle(10_000);
    assert_eq!(endpoints(&bench), ["10.0.0.1"]);
    let why = "b 0 none of its ports (http 80) serves port grpc 9000";
    assert_eq!(told(&mut bench), ["a 1", why]);
    // By name, whatever its number; by number, whatever its name.
    let own = [(8080, "http", Protocol::Http), (9000, "rpc", Protocol::Http2)];
    upsert(&mut bench, "b", declaring(&own, &["10.0.0.2"]));
    assert_eq!(endpoints(&bench), ["10.0.0.1", "10.0.0.2:8080"]);
    // The same number and the same name, and another protocol.
    upsert(&mut bench, "b", declaring(&[http, (9000, "grpc", Protocol::Http)], &["10.0.0.2"]));
    assert_eq!(endpoints(&bench), ["10.0.0.1"]);
}

#[test]
fn fail_over_and_back_moves_endpoints_only() {
    let mut bench = two(Mode::Failover);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    let before = topology(&bench);
    assert_eq!(endpoints(&bench), ["10.0.0.1"]);
    assert_eq!(told(&mut bench), ["a 1", "b 0 stands by while a has endpoints"]);
    // The registry itself says that they are gone.
    for cause in [Cause::Unhealthy, Cause::Deregistered] {
        bench.say("a", 1, Batch(vec![Change::Remove(key(ItemKind::Service, "web"), cause)]));
        bench.settle(10_000);
        assert_eq!((endpoints(&bench), topology(&bench)), (vec!["10.0.0.2".into()], before), "{cause:?}");
        upsert(&mut bench, "a", service_at("web", &["10.0.0.1"]));
        assert_eq!((endpoints(&bench), topology(&bench)), (vec!["10.0.0.1".into()], before), "{cause:?}");
    }
}

#[test]
fn what_is_held_is_there_and_nothing_fails_over() {
    let mut bench = two(Mode::Failover);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    let before = bench.version(WEB);
    read(&mut bench, "a", Vec::new());
    bench.settle(10_000);
    assert_eq!((held(&mut bench), bench.version(WEB)), (1, before));
    // Once reads agree and its time is over, it is gone.
    for _ in 0..3 {
        bench.settle(40_000);
        read(&mut bench, "a", Vec::new());
    }
    bench.settle(10_000);
    assert_eq!((held(&mut bench), endpoints(&bench)), (0, vec!["10.0.0.2".into()]));
}

#[test]
fn what_takes_no_calls_does_not_stand_in_the_way() {
    let Item::Service(service) = service_at("web", &["10.0.0.1"]) else { unreachable!() };
    let mut drained = Service::clone(&service);
    drained.endpoints[0].weight = crate::model::endpoint::Weight::ZERO;
    let mut bench = two(Mode::Failover);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    upsert(&mut bench, "a", Item::Service(Arc::new(drained)));
    assert_eq!(endpoints(&bench), ["10.0.0.2"]);
}

#[test]
fn who_is_refused_keeps_what_it_had_and_leaves_the_others_untouched() {
    let broken = |address: &str| {
        let Item::Service(service) = service_at("web", &[address]) else { unreachable!() };
        let mut service = Service::clone(&service);
        service.endpoints[0].ports = EndpointPorts::One(0);
        Item::Service(Arc::new(service))
    };
    for (first, other) in [("a", "b"), ("b", "a")] {
        let mut bench = two(Mode::Union);
        both(&mut bench, &["10.0.0.1"], &["10.0.0.1"]);
        upsert(&mut bench, first, service_at("web", &["10.0.0.3"]));
        upsert(&mut bench, first, broken("10.0.0.5"));
        assert_eq!(endpoints(&bench), ["10.0.0.1", "10.0.0.3"], "{first} is refused");
        let refused: Vec<_> = bench.engine.desired().refused().iter().map(|(r, _)| r.to_string()).collect();
        assert_eq!(refused, [first]);
        let verdicts = bench.engine.take_verdicts();
        assert!(verdicts.iter().any(|v| v.registry.as_str() == first && v.refused.is_some()), "{verdicts:?}");
        assert!(told(&mut bench).iter().any(|t| t.starts_with(&format!("{first} 1 Istio would"))));
        // The other goes on.
        upsert(&mut bench, other, service_at("web", &["10.0.0.7"]));
        assert_eq!(endpoints(&bench), ["10.0.0.3", "10.0.0.7"], "{first} is refused");
        upsert(&mut bench, first, service_at("web", &["10.0.0.5"]));
        assert_eq!(endpoints(&bench), ["10.0.0.5", "10.0.0.7"]);
        assert!(bench.engine.desired().refused().is_empty());
        assert!(bench.engine.take_verdicts().iter().any(|v| v.refused.is_none()));
    }
}

#[test]
fn who_was_refused_from_the_start_is_left_out_and_named() {
    let mut bench = two(Mode::Union);
    let Item::Service(bad) = service_at("web", &["10.0.0.2"]) else { unreachable!() };
    let mut bad = Service::clone(&bad);
    bad.endpoints[0].ports = EndpointPorts::One(0);
    read(&mut bench, "a", vec![service_at("web", &["10.0.0.1"])]);
    read(&mut bench, "b", vec![Item::Service(Arc::new(bad))]);
    bench.settle(10_000);
    assert_eq!(endpoints(&bench), ["10.0.0.1"]);
    assert!(told(&mut bench)[1].starts_with("b 0 Istio would refuse"), "{:?}", told(&mut bench));
}

#[test]
fn a_registry_that_goes_leaves_the_host_to_the_others_and_its_port_for_its_time() {
    let mut bench = two(Mode::Union);
    read(&mut bench, "a", vec![on(8080, "10.0.0.1")]);
    read(&mut bench, "b", vec![on(9090, "10.0.0.2")]);
    bench.settle(10_000);
    assert_eq!((ports(&bench), endpoints(&bench).len()), (vec![8080], 2));
    let rules = Merging(vec![rule("*", &[], Mode::Union)]);
    let next = Settings { merging: rules, ..settings(vec![registry("b", 1)]) };
    bench.engine.configure(next, bench.now);
    bench.settle(10_000);
    assert_eq!((ports(&bench), endpoints(&bench)), (vec![8080, 9090], vec!["10.0.0.2:9090".into()]));
    assert_eq!(resource(&bench, WEB).annotations.get("chandler/registry"), Some("b"));
    bench.settle(700_000);
    assert_eq!((ports(&bench), endpoints(&bench)), (vec![9090], vec!["10.0.0.2".into()]));
}

#[test]
fn what_a_user_wrote_has_its_host_alone() {
    let mut bench = two(Mode::Union);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    upsert(&mut bench, "b", object("own", &["web.test"]));
    assert_eq!(bench.names().unwrap(), ["mesh/own"]);
    assert_eq!(told(&mut bench).len(), 3);
}

#[test]
fn a_rule_orders_its_registries_and_the_others_come_after_them() {
    for (mode, want) in [(Mode::Precedence, &["10.0.0.3"][..]), (Mode::Union, &["10.0.0.2", "10.0.0.3"])] {
        let mut bench = sharing(&["a", "b", "c"], vec![rule("web.*", &["c", "b"], mode)]);
        for (n, registry) in ["a", "b", "c"].iter().enumerate() {
            read(&mut bench, registry, vec![service_at("web", &[&format!("10.0.0.{}", n + 1)])]);
        }
        bench.settle(10_000);
        assert_eq!(endpoints(&bench), want);
        assert_eq!(resource(&bench, WEB).annotations.get("chandler/registry"), Some("c"));
        // Without those that are named the host falls to who is not.
        for registry in ["b", "c"] {
            bench.say(
                registry,
                1,
                Batch(vec![Change::Remove(key(ItemKind::Service, "web"), Cause::Deleted)]),
            );
        }
        bench.settle(10_000);
        assert_eq!(endpoints(&bench), ["10.0.0.1"]);
    }
}

#[test]
fn a_rule_takes_effect_and_goes_while_the_process_runs() {
    let mut bench = two(Mode::Precedence);
    both(&mut bench, &["10.0.0.1"], &["10.0.0.2"]);
    for (mode, want) in [(Mode::Union, 2), (Mode::Failover, 1), (Mode::Union, 2), (Mode::Precedence, 1)] {
        let merging = Merging(vec![rule("*", &[], mode)]);
        let next = Settings { merging, ..settings(vec![registry("a", 1), registry("b", 1)]) };
        bench.engine.configure(next, bench.now);
        bench.settle(10_000);
        assert_eq!(endpoints(&bench).len(), want, "{mode:?}");
    }
}

#[test]
fn ports_follow_whoever_has_instances_first_and_do_not_move_when_it_loses_them() {
    let mut bench = two(Mode::Failover);
    read(&mut bench, "a", vec![on(8080, "10.0.0.1")]);
    read(&mut bench, "b", vec![on(9090, "10.0.0.2")]);
    bench.settle(10_000);
    let before = topology(&bench);
    bench.say("a", 1, Batch(vec![Change::Remove(key(ItemKind::Service, "web"), Cause::Deregistered)]));
    bench.settle(60_000);
    assert_eq!((endpoints(&bench), topology(&bench)), (vec!["10.0.0.2:9090".into()], before));
    // After its time the other one decides: its own port, and the old one no longer than ports stay.
    // Its port has been nobody's for as long as ports stay when the service goes and the other one decides.
    bench.settle(600_000);
    assert_eq!(resource(&bench, WEB).annotations.get("chandler/registry"), Some("b"));
    assert_eq!((ports(&bench), endpoints(&bench)), (vec![9090], vec!["10.0.0.2".into()]));
}

/// What registries may say of three hosts: whose, which, and where.
fn sayings() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>, u16)>> {
    let addresses = prop::collection::vec(1u8..6, 0..4);
    prop::collection::vec((0usize..3, 0usize..3, addresses, prop::sample::select(vec![8080, 9090])), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_served_does_not_depend_on_the_order_of_arrival(
        said in sayings(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 12),
        mode in prop::sample::select(vec![Mode::Precedence, Mode::Union, Mode::Failover]),
        pauses in prop::collection::vec(0u64..2_000, 12),
    ) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let item = |(_, host, addresses, port): &(usize, usize, Vec<u8>, u16)| {
            let at = |n: &u8| {
                let address = Address::parse(&format!("10.0.0.{n}")).unwrap();
                Endpoint::at(address, EndpointPorts::One(*port))
            };
            let name = format!("web{host}");
            let service = Service {
                endpoints: addresses.iter().map(at).collect(),
                ..Service::new(key(ItemKind::Service, &name), &*name)
            };
            Item::Service(Arc::new(service))
        };
        let rules = || vec![rule("web1*", &["c", "a"], mode), rule("*", &[], mode)];
        // Of each service its last word counts, whenever that comes.
        let mut last: BTreeMap<(usize, usize), _> = BTreeMap::new();
        said.iter().for_each(|s| drop(last.insert((s.0, s.1), s.clone())));
        let mut straight = sharing(&NAMES, rules());
        for (n, name) in NAMES.iter().enumerate() {
            read(&mut straight, name, last.values().filter(|s| s.0 == n).map(item).collect());
        }
        let mut shuffled: Vec<_> = last.values().cloned().collect();
        for (n, at) in order.iter().enumerate().take(shuffled.len()) {
            let with = at.index(shuffled.len());
            shuffled.swap(n, with);
        }
        let mut other = sharing(&NAMES, rules());
        NAMES.iter().for_each(|name| read(&mut other, name, Vec::new()));
        for (s, pause) in shuffled.iter().zip(&pauses) {
            other.say(NAMES[s.0], 1, Batch(vec![Change::Upsert(item(s))]));
            other.settle(*pause);
        }
        // Longer than anything lingers.
        for bench in [&mut straight, &mut other] {
            bench.settle(10_000);
            bench.now = bench.now.plus(Duration::from_secs(1_200));
            bench.settle(10_000);
        }
        let bytes = |bench: &Bench| {
            let content = bench.engine.published().get(Collection::ServiceEntry).cloned().unwrap_or_default();
            content.iter().map(|r| (r.id.name.to_string(), r.body.clone(), r.version)).collect::<Vec<_>>()
        };
        prop_assert_eq!(bytes(&straight), bytes(&other));
    }
}
