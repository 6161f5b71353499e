//! What the guard promises, sentence by sentence, through the engine that it works in: only time and batches come in.

mod promise;

use std::collections::BTreeSet;

use super::freeze::Area;
use super::*;
use crate::convert::mapping::Mapping;
use crate::convert::naming::Template;
use crate::convert::validate::Release;
use crate::model::change::{Batch, Trust};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::limits::Limits;
use crate::model::service::{ItemKind, LeftOut, Protocol, Scope, Service};
use crate::pipeline::debounce::Cadence;
use crate::pipeline::desired::Terms;
use crate::pipeline::engine::{Engine, Settings};
use crate::pipeline::intake::{Delivery, Generation};
use crate::pipeline::reading::{Identity, RegistrySettings, Startup};
use crate::resource::collection::Collection;

/// An engine with one registry, and a clock that tests move by hand.
struct Rig {
    engine: Engine,
    now: Moment,
}

fn policy(limits: Limits) -> Policy {
    let hosts = vec![Template::parse("{service}.test", &["service"]).unwrap()];
    let map = Mapping::new(hosts, Template::parse("mesh", &[]).unwrap(), Protocol::Http);
    Policy { guard: limits, ..map.into() }
}

fn settings(policy: Policy, scopes: &[&str]) -> Settings {
    let registry = RegistrySettings {
        name: name(),
        generation: Generation(1),
        policy: Arc::new(policy),
        startup: Startup::default(),
        scopes: scopes.iter().map(|s| Scope::new(s)).collect(),
        feeds: vec![Collection::ServiceEntry],
        identity: Identity::default(),
    };
    Settings {
        registries: vec![registry],
        merging: crate::model::merging::Merging::default(),
        virtual_ranges: Vec::new(),
        pins: BTreeMap::new(),
        terms: Terms { oldest: Release::new(1, 9) },
        cadence: Cadence::default(),
    }
}

fn name() -> RegistryName {
    RegistryName::new("r")
}

fn key_in(scope: &str, service: &str) -> ServiceKey {
    ServiceKey { kind: ItemKind::Service, name: service.into(), scope: Scope::new(scope) }
}

fn key(service: &str) -> ServiceKey {
    key_in("all", service)
}

fn at(n: u8) -> Endpoint {
    let address = Address::parse(&format!("10.0.0.{n}")).unwrap();
    Endpoint { id: format!("i{n}").into(), ..Endpoint::at(address, EndpointPorts::One(8080)) }
}

fn made(key: ServiceKey, endpoints: impl IntoIterator<Item = u8>) -> Service {
    let service = Arc::clone(&key.name);
    Service { endpoints: endpoints.into_iter().map(at).collect(), ..Service::new(key, service) }
}

fn service(service: &str, endpoints: impl IntoIterator<Item = u8>) -> Item {
    Item::Service(Arc::new(made(key(service), endpoints)))
}

/// A service of which the registry says that these instances are critical.
fn critical(name: &str, endpoints: impl IntoIterator<Item = u8>, critical: &[u8]) -> Item {
    let mut service = made(key(name), endpoints);
    let mut left_out = LeftOut::default();
    critical.iter().for_each(|n| left_out.add("critical", format!("i{n}")));
    service.left_out = left_out;
    Item::Service(Arc::new(service))
}

impl Rig {
    /// A registry that has been read.
    fn with(limits: Limits, items: Vec<Item>) -> Self {
        let mut rig = Self { engine: Engine::new(settings(policy(limits), &["all"])), now: Moment::START };
        rig.read(items);
        rig
    }

    fn new(items: Vec<Item>) -> Self {
        Self::with(Limits::default(), items)
    }

    fn say(&mut self, changes: Vec<Change>) {
        let batch = Batch(changes);
        let delivery = Delivery { registry: name(), generation: Generation(1), batch };
        self.engine.deliver(delivery, self.now);
        while self.engine.work(64, self.now) {}
    }

    fn reset(&mut self, items: Vec<Item>, trust: Trust) {
        self.say(vec![Change::Reset { scope: Scope::new("all"), items, trust }]);
    }

    fn read(&mut self, items: Vec<Item>) {
        self.reset(items, Trust::Complete);
    }

    fn doubt(&mut self, items: Vec<Item>) {
        self.reset(items, Trust::Doubtful("restarted empty".into()));
    }

    fn upsert(&mut self, item: Item) {
        self.say(vec![Change::Upsert(item)]);
    }

    fn remove(&mut self, service: &str, cause: Cause) {
        self.say(vec![Change::Remove(key(service), cause)]);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        while self.engine.work(64, self.now) {}
    }

    /// The last byte of every endpoint that is served, by service.
    fn served(&self) -> BTreeMap<String, Vec<u8>> {
        let last = |e: &Endpoint| e.address.to_string().rsplit('.').next().unwrap().parse().unwrap();
        let of = |known: &Known| match known {
            Known::Service(s, _) => {
                let mut all: Vec<u8> = s.endpoints.iter().map(last).collect();
                all.sort_unstable();
                (s.name.to_string(), all)
            }
            Known::Object(o) => (o.key.name.to_string(), Vec::new()),
        };
        self.engine.catalog().items(&name()).map(of).collect()
    }

    fn of(&self, service: &str) -> Option<Vec<u8>> {
        self.served().remove(service)
    }

    fn held(&self) -> usize {
        self.engine.guard(&name()).map_or(0, Guard::held_endpoints)
    }

    fn why(&self) -> String {
        let guard = self.engine.guard(&name()).unwrap();
        let reasons: BTreeSet<String> = guard
            .held()
            .flat_map(|(_, item)| item.parts().map(|(_, mark)| mark.why.to_string()).collect::<Vec<_>>())
            .collect();
        reasons.into_iter().collect::<Vec<_>>().join("; ")
    }
}

#[test]
fn what_the_registry_itself_says_passes_at_once() {
    for cause in [Cause::Deregistered, Cause::Unhealthy, Cause::Expired] {
        let mut rig = Rig::new(vec![service("a", 1..=3), service("b", [4])]);
        rig.remove("a", cause);
        assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0), "{cause:?}");
    }
    let mut rig = Rig::new(vec![service("a", 1..=3)]);
    rig.upsert(critical("a", [], &[1, 2, 3]));
    assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0));
    let mut rig = Rig::new(vec![service("a", 1..=20)]);
    rig.read(vec![critical("a", [], &(1..=20).collect::<Vec<_>>())]);
    assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0), "more than have names");
}

#[test]
fn what_a_batch_says_before_an_upsert_is_no_silence() {
    let mut rig = Rig::new(vec![service("a", [1])]);
    rig.say(vec![Change::Remove(key("a"), Cause::Deregistered), Change::Upsert(service("a", []))]);
    assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0));
}

#[test]
fn a_registry_that_answers_empty_once_takes_nothing_away() {
    let all = || vec![service("a", 1..=3), service("b", [4, 5])];
    let mut rig = Rig::new(all());
    let before = rig.served();
    rig.read(Vec::new());
    assert_eq!((rig.served(), rig.held()), (before.clone(), 5));
    assert!(rig.why().starts_with("nothing at all is left in all"), "{}", rig.why());
    rig.pass(3600);
    assert_eq!(rig.served(), before, "time alone takes nothing");
    rig.read(all());
    assert_eq!((rig.served(), rig.held()), (before, 0), "it came back");
}

#[test]
fn more_than_the_limit_is_held_and_the_rest_of_the_batch_passes() {
    let all = |to: u8| (0..10).map(|n| service(&format!("s{n}"), n * 10..n * 10 + to)).collect::<Vec<_>>();
    let mut rig = Rig::new(all(10));
    let mut less = all(6);
    less.push(service("new", [200]));
    rig.read(less.clone());
    assert_eq!((rig.held(), rig.of("s3").unwrap().len(), rig.of("new")), (40, 10, Some(vec![200])));
    assert!(rig.why().starts_with("40 of 100 endpoints of the registry vanished at once"), "{}", rig.why());
    // Within it nothing is.
    let mut rig = Rig::new(all(10));
    rig.read(all(7));
    assert_eq!((rig.held(), rig.of("s3").unwrap().len()), (0, 7));
}

#[test]
fn what_is_held_goes_after_enough_reads_and_its_time_and_not_before() {
    let less = || vec![service("b", 4..=30)];
    let mut rig = Rig::new(vec![service("a", 1..=3), service("b", 4..=30)]);
    rig.read(less());
    assert_eq!(rig.held(), 3);
    rig.pass(61);
    rig.read(less());
    assert_eq!(rig.of("a"), Some(vec![1, 2, 3]), "one read agrees");
    rig.doubt(less());
    assert_eq!(rig.of("a"), Some(vec![1, 2, 3]), "one that is not believed does not count");
    rig.read(less());
    assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0));
    // Both reads within the time: the clock lets it go.
    let mut rig = Rig::new(vec![service("a", 1..=3), service("b", 4..=30)]);
    (0..3).for_each(|_| rig.read(less()));
    rig.pass(59);
    assert_eq!(rig.held(), 3);
    assert_eq!(
        rig.engine.guard(&name()).unwrap().deadline(),
        Some(Moment::START.plus(Duration::from_secs(60)))
    );
    rig.pass(1);
    assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0));
}

#[test]
fn a_doubtful_read_takes_nothing_away_and_never_does_by_time_alone() {
    let limits = Limits { confirm_reads: 0, ..Limits::default() };
    let mut rig = Rig::with(limits, vec![service("a", 1..=8)]);
    rig.doubt(vec![service("a", 3..=9)]);
    assert_eq!((rig.of("a").unwrap().len(), rig.held()), (9, 2), "what it shows is new");
    rig.pass(3600);
    assert_eq!(rig.held(), 2);
    assert_eq!(rig.why(), "the read that lacks it is not believed: restarted empty");
    rig.read(vec![service("a", 3..=9)]);
    assert_eq!((rig.of("a").unwrap().len(), rig.held()), (7, 0));
    // Not doubtful: time alone is enough where no read is wanted.
    let mut rig = Rig::with(limits, vec![service("a", [1]), service("b", [2])]);
    rig.read(vec![service("b", [2])]);
    rig.pass(60);
    assert_eq!(rig.of("a"), Some(Vec::new()));
}

#[test]
fn a_services_last_endpoint_is_held_unless_that_is_turned_off() {
    let mut rig = Rig::new(vec![service("a", [1]), service("b", 2..=30)]);
    rig.upsert(service("a", []));
    assert_eq!((rig.of("a"), rig.held()), (Some(vec![1]), 1));
    assert!(rig.why().contains("emptyServiceHold"), "{}", rig.why());
    rig.upsert(service("a", [1]));
    assert_eq!((rig.of("a"), rig.held()), (Some(vec![1]), 0), "back");
    let limits = Limits { empty_service_hold: false, ..Limits::default() };
    let mut rig = Rig::with(limits, vec![service("a", [1]), service("b", 2..=30)]);
    rig.upsert(service("a", []));
    assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0));
    rig.remove("b", Cause::Vanished);
    assert_eq!(rig.held(), 29, "all that the registry had");
}

#[test]
fn a_scope_that_vanishes_is_held_however_small_it_is() {
    let limits = Limits { empty_service_hold: false, ..Limits::default() };
    let mut rig =
        Rig { engine: Engine::new(settings(policy(limits), &["big", "small"])), now: Moment::START };
    let reset =
        |scope: &str, items| Change::Reset { scope: Scope::new(scope), items, trust: Trust::Complete };
    let in_scope = |scope: &str, n, to| Item::Service(Arc::new(made(key_in(scope, n), 1..=to)));
    rig.say(vec![
        reset("big", vec![in_scope("big", "a", 100)]),
        reset("small", vec![in_scope("small", "b", 2)]),
    ]);
    rig.say(vec![reset("small", Vec::new())]);
    assert_eq!((rig.of("b"), rig.held()), (Some(vec![1, 2]), 2));
    assert!(rig.why().starts_with("nothing at all is left in small"), "{}", rig.why());
}

#[test]
fn a_rolling_deployment_is_never_held_up() {
    // One comes, one goes; one goes, one comes; by words and by reads.
    let mut rig = Rig::new(vec![service("a", 1..=3)]);
    for n in 1..=3 {
        rig.upsert(service("a", n..=n + 3));
        rig.upsert(service("a", n + 1..=n + 3));
        assert_eq!((rig.of("a").unwrap().len(), rig.held()), (3, 0));
    }
    for n in 4..=9 {
        rig.read(vec![service("a", n + 1..=n + 2)]);
        rig.read(vec![service("a", n + 1..=n + 3)]);
        assert_eq!((rig.of("a").unwrap(), rig.held()), (vec![n + 1, n + 2, n + 3], 0));
    }
}

#[test]
fn a_blue_green_switch_is_never_held_up() {
    // In one read, and in two.
    let mut rig = Rig::new(vec![service("a", 1..=20)]);
    rig.read(vec![service("a", 21..=40)]);
    assert_eq!((rig.of("a").unwrap().len(), rig.held()), (20, 0));
    rig.read(vec![service("a", 21..=60)]);
    rig.pass(300);
    rig.read(vec![service("a", 41..=60)]);
    assert_eq!((rig.of("a").unwrap().len(), rig.held()), (20, 0));
    rig.read(vec![service("a", 41..=50)]);
    assert_eq!(rig.held(), 10, "what came made up for what went once");
}

#[test]
fn a_scale_down_one_by_one_to_the_last_but_one_is_never_held_up() {
    let mut rig = Rig::new(vec![service("a", 1..=30)]);
    for n in 2..=30 {
        if n % 2 == 0 {
            rig.upsert(service("a", n..=30))
        } else {
            rig.read(vec![service("a", n..=30)])
        }
        assert_eq!((rig.of("a").unwrap().len(), rig.held()), (31 - usize::from(n), 0));
    }
    rig.read(vec![service("a", [])]);
    assert_eq!((rig.of("a"), rig.held()), (Some(vec![30]), 1));
}

#[test]
fn an_empty_service_stays_for_its_time_and_longer_while_it_is_named() {
    let mut rig = Rig::new(vec![service("a", [1]), service("b", [2])]);
    rig.remove("a", Cause::Deregistered);
    rig.pass(599);
    rig.read(vec![service("b", [2])]);
    assert_eq!(rig.of("a"), Some(Vec::new()));
    rig.pass(1);
    assert_eq!(rig.of("a"), None);
    // Named: it stays. Then its time counts from when it became empty.
    rig.upsert(critical("b", [], &[2]));
    rig.pass(3600);
    assert_eq!(rig.of("b"), Some(Vec::new()));
    rig.remove("b", Cause::Deregistered);
    assert_eq!(rig.of("b"), None);
    // Who takes the service itself out wants it gone; one that comes back is served as before.
    let mut rig = Rig::new(vec![service("a", [1]), service("b", [2])]);
    rig.remove("a", Cause::Deleted);
    rig.remove("b", Cause::Expired);
    assert_eq!((rig.of("a"), rig.of("b")), (None, Some(Vec::new())));
    rig.upsert(service("b", [2]));
    rig.pass(3600);
    assert_eq!(rig.of("b"), Some(vec![2]));
}

#[test]
fn what_a_policy_takes_out_is_never_held() {
    let mut policy = policy(Limits::default());
    policy.map.endpoints = vec![crate::convert::mapping::EndpointRule {
        cidr: "10.0.0.1/32".parse().unwrap(),
        drop: true,
        tls_mode: None,
        network: None,
        service_account: None,
    }];
    let mut rig = Rig { engine: Engine::new(settings(policy, &["all"])), now: Moment::START };
    rig.read(vec![service("a", [1]), service("b", [2, 3])]);
    rig.read(vec![service("b", [2, 3])]);
    assert_eq!(rig.held(), 0);
    rig.upsert(service("b", [1]));
    assert_eq!(
        (rig.of("b"), rig.held()),
        (Some(vec![1, 2, 3]), 2),
        "what is dropped is nothing that is left"
    );
}

#[test]
fn a_person_lets_go_what_is_held() {
    let mut rig = Rig::new(vec![service("a", 1..=3), service("b", [4])]);
    rig.read(Vec::new());
    let now = rig.now;
    assert_eq!(rig.engine.release(&Area::Service(name(), "a".into()), now), 3);
    assert_eq!((rig.of("a"), rig.of("b"), rig.held()), (Some(Vec::new()), Some(vec![4]), 1));
    rig.read(Vec::new());
    assert_eq!(rig.of("a"), Some(Vec::new()), "it is gone, and held no more");
    assert_eq!(rig.engine.release(&Area::All, now), 1);
    assert_eq!((rig.held(), rig.engine.release(&Area::All, now)), (0, 0));
}

#[test]
fn nothing_frozen_goes_whatever_the_registry_says_and_what_comes_is_served() {
    for area in [Area::All, Area::Registry(name()), Area::Service(name(), "a".into())] {
        let mut rig = Rig::new(vec![service("a", 1..=3), service("b", [9])]);
        let now = rig.now;
        rig.engine.freeze(area.clone(), true, now);
        rig.upsert(critical("a", [2, 3, 4], &[1]));
        rig.remove("a", Cause::Deleted);
        rig.pass(3600);
        assert_eq!(rig.of("a"), Some(vec![1, 2, 3, 4]), "{area:?}");
        assert_eq!(rig.why(), "frozen by hand");
        let now = rig.now;
        rig.engine.freeze(area, false, now);
        assert_eq!((rig.of("a"), rig.held()), (Some(Vec::new()), 0));
        assert_eq!(rig.of("b"), Some(vec![9]));
    }
}

#[test]
fn what_is_silent_while_frozen_is_weighed_as_always_after_it() {
    let mut rig = Rig::new(vec![service("a", [1]), service("b", 2..=30)]);
    let now = rig.now;
    rig.engine.freeze(Area::All, true, now);
    rig.read(vec![service("b", 2..=30)]);
    rig.engine.freeze(Area::All, false, now);
    assert_eq!((rig.of("a"), rig.held()), (Some(vec![1]), 1));
}

#[test]
fn limits_of_a_service_go_before_those_of_its_registry() {
    let limits = Limits { empty_service_hold: false, ..Limits::default() };
    let mut policy = policy(Limits::default());
    let names = crate::convert::mapping::Globs::new(vec!["batch-*".into()]).unwrap();
    let fate = crate::convert::policy::Fate::Mapped(Box::new(policy.map.clone()));
    policy.exceptions = vec![crate::convert::policy::Exception { names, fate, guard: Some(limits) }];
    let mut rig = Rig { engine: Engine::new(settings(policy, &["all"])), now: Moment::START };
    rig.read(vec![service("batch-1", [1]), service("web", [2]), service("x", 3..=30)]);
    rig.read(vec![service("x", 3..=30)]);
    assert_eq!((rig.of("batch-1"), rig.of("web")), (Some(Vec::new()), Some(vec![2])));
}

#[test]
fn who_is_held_asks_for_more_reads_and_who_is_not_does_not() {
    let mut rig = Rig::new(vec![service("a", [1])]);
    assert!(rig.engine.read_again().is_empty());
    rig.read(Vec::new());
    assert_eq!(rig.engine.read_again().get(&name()), Some(&Duration::from_secs(20)));
    rig.read(vec![service("a", [1])]);
    assert!(rig.engine.read_again().is_empty());
}

#[test]
fn news_are_told_once_each() {
    let mut rig = Rig::new(vec![service("a", 1..=2), service("b", 3..=30)]);
    let news = |rig: &mut Rig| -> Vec<(News, usize)> {
        let told = rig.engine.take_guarded();
        told.into_iter().flat_map(|g| g.news).map(|((news, _), count)| (news, count)).collect()
    };
    rig.read(vec![service("b", 3..=30)]);
    assert_eq!(news(&mut rig), [(News::Held(Why::Last), 2)]);
    rig.read(vec![service("b", 3..=30)]);
    assert!(news(&mut rig).is_empty());
    rig.read(vec![service("a", [1]), service("b", 3..=30)]);
    assert_eq!(news(&mut rig), [(News::Gone, 1), (News::Back, 1)]);
}
