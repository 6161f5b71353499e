//! Registries that hold more than is taken of them.

use super::*;
use crate::model::bounds::Bounds;

fn bounded(services: usize, endpoints: usize) -> RegistrySettings {
    let policy = Policy { bounds: Bounds { services, endpoints }, ..mapping("mesh").into() };
    RegistrySettings { policy: Arc::new(policy), ..registry("a", 1) }
}

fn read(bench: &mut Bench, items: Vec<Item>) {
    bench.say("a", 1, reset(items));
    bench.settle(10_000);
}

fn upsert(bench: &mut Bench, item: Item) {
    bench.say("a", 1, Batch(vec![Change::Upsert(item)]));
    bench.settle(10_000);
}

fn outside(bench: &Bench) -> usize {
    bench.engine.outside(&RegistryName::new("a"))
}

fn addresses(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1)).collect()
}

fn with(name: &str, endpoints: usize) -> Item {
    let addresses = addresses(endpoints);
    service_at(name, &addresses.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Only what names its own host is taken.
fn bounded_and_nameless(services: usize, endpoints: usize) -> RegistrySettings {
    let mut policy: Policy = mapping("mesh").into();
    policy.map.hosts = Vec::new();
    policy.bounds = Bounds { services, endpoints };
    RegistrySettings { policy: Arc::new(policy), ..registry("a", 1) }
}

fn named(name: &str, endpoints: usize) -> Item {
    let Item::Service(service) = with(name, endpoints) else { unreachable!("it is one") };
    let hosts = vec![Host::parse(&format!("{name}.test")).unwrap()];
    Item::Service(Arc::new(Service { hosts, ..Service::clone(&service) }))
}

#[test]
fn services_without_end_leave_what_is_served_and_take_no_room() {
    let mut bench = Bench::new(vec![bounded(3, 100)]);
    read(&mut bench, vec![with("m", 1), with("n", 1)]);
    for n in 0..20_000 {
        bench.say("a", 1, Batch(vec![Change::Upsert(with(&format!("flood{n}"), 1))]));
    }
    bench.settle(10_000);
    assert_eq!(bench.names().unwrap(), ["mesh/flood0.test", "mesh/m.test", "mesh/n.test"]);
    assert_eq!(outside(&bench), 10_000, "counted, and no further");
    assert!(bench.engine.refused().is_empty());
    let news = bench.engine.take_crowding();
    assert_eq!(news.len(), 1, "said once: {news:?}");
    // What is served goes on changing, down and up.
    upsert(&mut bench, with("m", 0));
    upsert(&mut bench, with("m", 5));
    assert_eq!(bench.engine.catalog().counts(&RegistryName::new("a")).endpoints, 7);
}

#[test]
fn what_is_refused_takes_room_and_is_bounded_as_well() {
    let mut bench = Bench::new(vec![bounded_and_nameless(10, 100)]);
    read(&mut bench, vec![named("m", 1), named("n", 1)]);
    let refused = |n: usize| Item::Refused(key(ItemKind::Service, &format!("bad{n}")), "port 0".into());
    for n in 0..20_000 {
        bench.say("a", 1, Batch(vec![Change::Upsert(refused(n))]));
    }
    // Another policy may take it, so the service itself is kept.
    for n in 0..20_000 {
        bench.say("a", 1, Batch(vec![Change::Upsert(with(&format!("nameless{n}"), 10))]));
    }
    bench.settle(10_000);
    assert_eq!((bench.engine.refused().len(), bench.names().unwrap().len()), (8, 2));
    assert_eq!(outside(&bench), 10_000);
    // What is refused and served in an older form takes one place, not two.
    upsert(&mut bench, Item::Refused(key(ItemKind::Service, "m"), "port 0".into()));
    bench.say("a", 1, Batch(vec![Change::Remove(key(ItemKind::Service, "bad0"), Cause::Deleted)]));
    upsert(&mut bench, named("good", 1));
    assert_eq!(bench.names().unwrap(), ["mesh/good.test", "mesh/m.test", "mesh/n.test"]);
    // A complete read makes room for what it shows.
    let all = ["good", "m", "n", "s0", "s1", "s2", "s3", "s4", "s5", "s6"];
    read(&mut bench, all.iter().map(|name| named(name, 1)).collect());
    assert_eq!((bench.engine.refused().len(), outside(&bench)), (0, 0));
    upsert(&mut bench, refused(0));
    assert_eq!(bench.engine.refused().len(), 0, "and there is none left");
}

#[test]
fn refused_services_with_endpoints_without_end_are_bounded_by_these() {
    let mut bench = Bench::new(vec![bounded_and_nameless(1_000, 100)]);
    read(&mut bench, vec![named("m", 40)]);
    for n in 0..20 {
        upsert(&mut bench, with(&format!("nameless{n}"), 25));
    }
    assert_eq!((bench.engine.refused().len(), outside(&bench)), (2, 18));
}

#[test]
fn a_service_that_changes_without_end_leaves_nothing_behind() {
    // Its owner says which protocol it speaks; whoever said so is gone each time, so that holds for a while.
    let mut bench = Bench::new(vec![registry("a", 1)]);
    let told = |n: usize, says: bool| {
        let Item::Service(service) = service_at("x", &[&format!("10.0.{}.{}", n / 250, n % 250 + 1)]) else {
            unreachable!("it is one")
        };
        let mut service = Service::clone(&service);
        service.endpoints[0].labels = says.then_some(("chandler-protocol", "TCP")).into_iter().collect();
        Item::Service(Arc::new(service))
    };
    read(&mut bench, vec![told(0, true)]);
    for n in 1..1_000 {
        bench.say("a", 1, Batch(vec![Change::Upsert(told(n, n % 2 == 0))]));
        bench.settle(10);
    }
    assert!(bench.engine.fading.len() <= 1, "{}", bench.engine.fading.len());
}

#[test]
fn a_complete_read_with_too_much_keeps_the_known_and_then_the_first() {
    let mut bench = Bench::new(vec![bounded(3, 100)]);
    read(&mut bench, vec![with("y", 1), with("z", 1)]);
    // In whatever order they come.
    for items in [["c", "z", "b", "y", "a"], ["y", "a", "b", "z", "c"]] {
        read(&mut bench, items.iter().map(|name| with(name, 1)).collect());
        assert_eq!(bench.names().unwrap(), ["mesh/a.test", "mesh/y.test", "mesh/z.test"]);
        assert_eq!(outside(&bench), 2);
    }
    assert_eq!(bench.engine.read_again().len(), 0, "there is no room");
    // Room is made: who waited outside comes in with the next read, which is asked for.
    bench.say("a", 1, Batch(vec![Change::Remove(key(ItemKind::Service, "y"), Cause::Deleted)]));
    bench.settle(10_000);
    assert_eq!(bench.engine.read_again().len(), 1);
    read(&mut bench, ["a", "b", "z"].iter().map(|name| with(name, 1)).collect());
    assert_eq!(bench.names().unwrap(), ["mesh/a.test", "mesh/b.test", "mesh/z.test"]);
    assert_eq!((outside(&bench), bench.engine.read_again().len()), (0, 0));
    assert_eq!(bench.engine.take_crowding().iter().map(|c| c.outside).collect::<Vec<_>>(), [2, 0]);
}

#[test]
fn a_service_that_grows_beyond_the_bound_stays_as_it_was() {
    let mut bench = Bench::new(vec![bounded(10, 100)]);
    read(&mut bench, vec![with("x", 40), with("y", 40)]);
    upsert(&mut bench, with("x", 61));
    let endpoints = |bench: &Bench| bench.engine.catalog().counts(&RegistryName::new("a")).endpoints;
    assert_eq!((endpoints(&bench), outside(&bench)), (80, 1));
    upsert(&mut bench, with("x", 60));
    assert_eq!((endpoints(&bench), outside(&bench)), (100, 0));
    read(&mut bench, vec![with("x", 60), with("y", 41)]);
    assert_eq!((endpoints(&bench), outside(&bench)), (100, 1), "y stays as it was");
}

#[test]
fn a_first_read_without_end_is_cut_off_while_it_is_gathered() {
    let mut bench = Bench::new(vec![bounded(3, 100)]);
    for n in 0..20_000 {
        bench.say("a", 1, Batch(vec![Change::Upsert(with(&format!("flood{n:05}"), 1))]));
    }
    read(&mut bench, (0..100).map(|n| with(&format!("s{n:03}"), 1)).collect());
    assert_eq!(bench.names().unwrap().len(), 3);
    assert!(outside(&bench) > 0);
}

#[test]
fn other_bounds_take_effect_without_a_restart() {
    let mut bench = Bench::new(vec![bounded(1, 100)]);
    read(&mut bench, vec![with("x", 1), with("y", 1)]);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test"]);
    bench.engine.configure(settings(vec![bounded(2, 100)]), bench.now);
    assert_eq!(bench.engine.read_again().len(), 1, "who waits is asked for");
    read(&mut bench, vec![with("x", 1), with("y", 1)]);
    assert_eq!(bench.names().unwrap().len(), 2);
}
