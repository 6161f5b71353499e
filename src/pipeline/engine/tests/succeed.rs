//! What takes the place of a registry's last state when its settings change.

use super::*;
use crate::pipeline::guard::News;
use crate::pipeline::guard::freeze::Area;

/// A registry that has been read, whose settings then change.
fn reconfigured(items: Vec<Item>) -> Bench {
    let mut bench = Bench::new(vec![registry("a", 1)]);
    bench.say("a", 1, reset(items));
    bench.settle(10_000);
    bench.engine.configure(settings(vec![registry("a", 2)]), bench.now);
    bench.settle(10_000);
    bench
}

fn read(bench: &mut Bench, items: Vec<Item>) {
    bench.say("a", 2, reset(items));
    bench.settle(10_000);
}

fn held(bench: &Bench) -> usize {
    bench.engine.guard(&RegistryName::new("a")).map_or(0, crate::pipeline::guard::Guard::held_endpoints)
}

#[test]
fn settings_that_lead_to_an_empty_server_lose_nothing_until_reads_agree() {
    let mut bench = reconfigured(vec![service("x"), service("y")]);
    let before = bench.names();
    read(&mut bench, Vec::new());
    assert_eq!((bench.names(), held(&bench)), (before, 4));
    assert!(bench.engine.read_again().contains_key(&RegistryName::new("a")));
    // It was meant so.
    for _ in 0..3 {
        bench.settle(30_000);
        read(&mut bench, Vec::new());
    }
    assert_eq!(held(&bench), 0);
    bench.now = bench.now.plus(Duration::from_secs(700));
    bench.settle(10_000);
    assert_eq!(bench.names(), Some(Vec::new()));
}

#[test]
fn what_comes_back_under_the_new_settings_is_held_no_longer() {
    let mut bench = reconfigured(vec![service("x"), service("y")]);
    read(&mut bench, Vec::new());
    assert_eq!(held(&bench), 4);
    read(&mut bench, vec![service("x"), service("y")]);
    assert_eq!((bench.names().unwrap().len(), held(&bench)), (2, 0));
}

#[test]
fn other_services_in_place_of_the_old_are_what_was_meant() {
    let mut bench = reconfigured(vec![service("x"), service("y")]);
    read(&mut bench, vec![service_at("z", &["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"])]);
    assert_eq!((bench.names().unwrap(), held(&bench)), (vec!["mesh/z.test".to_owned()], 0));
}

#[test]
fn a_scope_that_is_read_no_more_goes_at_once() {
    let mut bench = reconfigured(vec![service("x"), service("y")]);
    let elsewhere = RegistrySettings { scopes: vec![Scope::new("other")], ..registry("a", 3) };
    bench.engine.configure(settings(vec![elsewhere]), bench.now);
    let empty = Change::Reset { scope: Scope::new("other"), items: Vec::new(), trust: Trust::Complete };
    bench.say("a", 3, Batch(vec![empty]));
    bench.settle(10_000);
    assert_eq!((bench.names(), held(&bench)), (Some(Vec::new()), 0));
}

#[test]
fn what_is_held_of_a_scope_that_is_read_no_more_is_held_no_longer() {
    let mut bench = reconfigured(vec![service("x"), service("y")]);
    read(&mut bench, Vec::new());
    assert_eq!(held(&bench), 4);
    bench.engine.take_guarded();
    let elsewhere = RegistrySettings { scopes: vec![Scope::new("other")], ..registry("a", 3) };
    bench.engine.configure(settings(vec![elsewhere]), bench.now);
    let empty = Change::Reset { scope: Scope::new("other"), items: Vec::new(), trust: Trust::Complete };
    bench.say("a", 3, Batch(vec![empty]));
    bench.settle(10_000);
    assert_eq!((bench.names(), held(&bench)), (Some(Vec::new()), 0));
    assert!(crate::pipeline::answers::held::held(&bench.engine, bench.now).is_empty(), "nor listed");
    assert!(bench.engine.read_again().is_empty(), "nobody is asked for it");
    let told: Vec<_> = bench.engine.take_guarded().into_iter().flat_map(|g| g.news).collect();
    let gone = |name: &str| ((News::Gone, Arc::from(name)), 2);
    assert_eq!(told, [gone("x"), gone("y")]);
}

#[test]
fn what_a_person_froze_stays_through_other_settings() {
    let mut bench = reconfigured(vec![service("x"), service("y")]);
    let area = Area::Service(RegistryName::new("a"), "x".into());
    bench.engine.freeze(area, true, bench.now);
    read(&mut bench, vec![service("y"), service_at("z", &["10.0.1.1", "10.0.1.2"])]);
    assert_eq!(bench.names().unwrap(), ["mesh/x.test", "mesh/y.test", "mesh/z.test"]);
}
