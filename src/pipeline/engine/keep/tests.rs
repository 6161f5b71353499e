//! A process that goes on with what another one saved goes on as that one would have.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::convert::mapping::Mapping;
use crate::convert::naming::Template;
use crate::convert::policy::Policy;
use crate::convert::validate::Release;
use crate::model::change::{Batch, Cause, Change, Item, Trust};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::globs::Globs;
use crate::model::labels::Labels;
use crate::model::merging::{Merging, Mode, Rule};
use crate::model::object::Object;
use crate::model::service::{ItemKind, LeftOut, Protocol, Scope, Service, ServicePort};
use crate::pipeline::answers;
use crate::pipeline::debounce::Cadence;
use crate::pipeline::desired::Terms;
use crate::pipeline::engine::Settings;
use crate::pipeline::guard::freeze::Area;
use crate::pipeline::image::codec;
use crate::pipeline::intake::{Delivery, Generation};
use crate::pipeline::reading::Startup;
use crate::resource::collection::Collection;

const DAY: Duration = Duration::from_secs(86_400);

/// An engine that is saved, and a clock that tests move by hand.
struct Rig {
    engine: Engine,
    now: Moment,
    image: Image,
}

fn registry(name: &str, reads: u64) -> RegistrySettings {
    let hosts = vec![Template::parse("{service}.test", &["service"]).unwrap()];
    let map = Mapping::new(hosts, Template::parse("mesh", &[]).unwrap(), Protocol::Http);
    RegistrySettings {
        name: RegistryName::new(name),
        generation: Generation(1),
        policy: Arc::new(Policy::from(map)),
        startup: Startup::default(),
        scopes: vec![Scope::new("all")],
        feeds: vec![Collection::ServiceEntry, Collection::WorkloadEntry],
        identity: Identity { reads, policy: 0 },
    }
}

/// Registries share `shared.test`.
fn settings(registries: Vec<RegistrySettings>) -> Settings {
    let hosts = Globs::new(vec!["shared.test".into()]).unwrap();
    let rule = Rule { hosts, registries: Vec::new(), mode: Mode::Union };
    Settings {
        registries,
        merging: Merging(vec![rule]),
        virtual_ranges: vec!["244.0.0.0/28".parse().unwrap()],
        pins: BTreeMap::new(),
        terms: Terms { oldest: Release::new(1, 9) },
        cadence: Cadence::default(),
    }
}

fn key(kind: ItemKind, name: &str) -> ServiceKey {
    ServiceKey { kind, name: name.into(), scope: Scope::new("all") }
}

fn at(n: u8) -> Endpoint {
    let address = Address::parse(&format!("10.0.0.{n}")).unwrap();
    // Instances move between two ports, so that hosts have something to remember.
    let port = if n.is_multiple_of(3) { 9090 } else { 8080 };
    let service_account = (n == 5).then(|| "spiffe://td/ns/n/sa/a".into());
    let labels = [("version", format!("v{n}"))].into_iter().collect();
    let end = Endpoint::at(address, EndpointPorts::One(port));
    Endpoint { id: format!("i{n}").into(), service_account, labels, ..end }
}

fn service(name: &str, endpoints: &[u8]) -> Item {
    let made = Service::new(key(ItemKind::Service, name), name);
    Item::Service(Arc::new(Service { endpoints: endpoints.iter().copied().map(at).collect(), ..made }))
}

/// Istio refuses two ports of one number.
fn unfit(name: &str, endpoints: &[u8]) -> Item {
    let Item::Service(service) = service(name, endpoints) else { unreachable!() };
    let port = || ServicePort { number: 80, name: None, protocol: None, target: None };
    Item::Service(Arc::new(Service { ports: vec![port(), port()], ..Service::clone(&service) }))
}

/// Istio refuses this port, whoever decides how the service appears.
fn at_port_0(name: &str, endpoints: &[u8]) -> Item {
    let Item::Service(service) = service(name, endpoints) else { unreachable!() };
    let mut service = Service::clone(&service);
    service.endpoints.iter_mut().for_each(|e| e.ports = EndpointPorts::One(0));
    Item::Service(Arc::new(service))
}

fn object(name: &str) -> Item {
    use prost::Message as _;
    let port = crate::proto::networking::ServicePort {
        number: 80,
        protocol: "HTTP".into(),
        name: "http".into(),
        target_port: 0,
    };
    let host = Host::parse(&format!("{name}.test")).unwrap();
    let entry = crate::proto::networking::ServiceEntry {
        hosts: vec![host.to_string()],
        ports: vec![port],
        resolution: 2,
        ..Default::default()
    };
    Item::Object(Arc::new(Object {
        key: key(ItemKind::Object, name),
        collection: Collection::ServiceEntry,
        namespace: "mesh".into(),
        name: format!("object-{name}").into(),
        labels: Labels::EMPTY,
        annotations: Labels::EMPTY,
        hosts: vec![host],
        body: entry.encode_to_vec().into(),
        origin: "objects.yaml:1".into(),
    }))
}

fn read(items: Vec<Item>) -> Change {
    Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete }
}

fn doubtful(items: Vec<Item>) -> Change {
    Change::Reset { scope: Scope::new("all"), items, trust: Trust::Doubtful("thinned".into()) }
}

impl Rig {
    fn new(registries: Vec<RegistrySettings>) -> Self {
        let mut engine = Engine::new(settings(registries));
        engine.keep_news();
        Self { engine, now: Moment::START, image: Image::default() }
    }

    fn say(&mut self, registry: &str, changes: Vec<Change>) {
        let (registry, generation) = (RegistryName::new(registry), Generation(1));
        self.engine.deliver(Delivery { registry, generation, batch: Batch(changes) }, self.now);
        while self.engine.work(64, self.now) {}
    }

    /// Lets time pass, and what is due go out.
    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        while self.engine.work(64, self.now) {}
        self.engine.flush(self.now);
    }

    fn save(&mut self) {
        self.image.absorb(self.engine.take_news(self.now));
        assert!(!self.engine.has_news());
    }

    /// Saves, ends without a word, and is started again.
    fn restarted(mut self, registries: Vec<RegistrySettings>) -> Self {
        self.save();
        let image = through_bytes(&self.image);
        assert_eq!(image, self.image);
        let mut engine = Engine::new(settings(registries));
        engine.keep_news();
        engine.restore(image, Duration::from_secs(42), DAY);
        let mut next = Self { engine, now: self.image.now, image: Image::default() };
        next.pass(0);
        next
    }

    /// Everything that is served, to the byte.
    fn served(&self) -> Option<Vec<(String, Vec<u8>)>> {
        let content = self.engine.published().get(Collection::ServiceEntry)?;
        Some(content.iter().map(|r| (format!("{r:?}"), r.body.to_vec())).collect())
    }

    fn names(&self) -> Option<Vec<String>> {
        let content = self.engine.published().get(Collection::ServiceEntry)?;
        Some(content.iter().map(|r| r.id.name.parts().1.to_string()).collect())
    }

    /// The image, made anew of all that there is.
    fn whole(&self) -> Image {
        let mut whole = Image { now: self.image.now, ..Image::default() };
        let names: Vec<_> = self.engine.settings.registries.iter().map(|r| r.name.clone()).collect();
        for name in &names {
            let Some(identity) = self.engine.readings[name].identity() else { continue };
            let age = self.engine.restored_age(name, self.now).unwrap_or_default();
            let known = self.engine.catalog.items(name).map(|k| k.key().clone());
            let refused =
                self.engine.refused.all().keys().filter(|(of, _)| of == name).map(|(_, key)| key.clone());
            let keys: BTreeSet<_> = known.chain(refused).collect();
            let image = |key: ServiceKey| Some((key.clone(), self.engine.item_image(&(name.clone(), key))?));
            let items = keys.into_iter().filter_map(image).collect();
            whole.registries.insert(name.clone(), RegistryImage { identity, items, age });
        }
        whole.frozen = self.engine.frozen.areas().cloned().collect();
        for n in 0..6 {
            let host = Host::parse(&format!("s{n}.test")).unwrap();
            let image = self.engine.desired.image(&host, &self.engine.published);
            whole.hosts.extend(image.map(|image| (host, image)));
        }
        whole
    }
}

fn through_bytes(image: &Image) -> Image {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let put = |frame: &[u8]| {
        frames.push(frame.to_vec());
        Ok::<_, ()>(())
    };
    codec::encode(image, put).unwrap();
    let (read, faults) = codec::decode(frames.iter().map(Vec::as_slice));
    assert_eq!(faults, []);
    read
}

#[test]
fn what_was_served_is_served_at_once_and_to_the_byte() {
    let registries = || vec![registry("a", 1), registry("b", 2)];
    let mut rig = Rig::new(registries());
    rig.say("a", vec![read(vec![service("s0", &[1, 2]), object("s1"), service("s2", &[3, 5])])]);
    rig.say("b", vec![read(Vec::new())]);
    rig.pass(10);
    // Ports and mutual TLS that only memory still justifies.
    rig.say("a", vec![Change::Upsert(service("s0", &[3])), Change::Upsert(service("s2", &[3, 1]))]);
    rig.pass(10);
    let before = rig.served().unwrap();
    let next = rig.restarted(registries());
    assert_eq!(next.served().unwrap(), before);
    let reports = answers::registries(&next.engine, next.now);
    assert!(reports.iter().all(|r| !r.complete && r.restored_seconds == Some(42)), "{reports:?}");
}

#[test]
fn a_host_whose_present_service_is_refused_keeps_its_last_good_resource() {
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read(vec![service("s0", &[1]), service("s1", &[2])])]);
    rig.pass(10);
    rig.say("a", vec![Change::Upsert(unfit("s0", &[7]))]);
    let refused = Item::Refused(key(ItemKind::Service, "s1"), "port 0".into());
    rig.say("a", vec![Change::Upsert(refused.clone())]);
    rig.pass(10);
    let before = rig.served().unwrap();
    let mut next = rig.restarted(vec![registry("a", 1)]);
    assert_eq!(next.served().unwrap(), before);
    assert_eq!(answers::registries(&next.engine, next.now)[0].refused, 2);
    // The same is no news; that it is well again is.
    assert!(next.engine.take_verdicts().is_empty());
    next.say("a", vec![read(vec![unfit("s0", &[7]), refused])]);
    next.pass(10);
    assert_eq!(next.served().unwrap(), before);
    assert!(next.engine.take_verdicts().is_empty());
    next.say("a", vec![read(vec![service("s0", &[7]), service("s1", &[2])])]);
    assert_eq!(next.engine.take_verdicts().len(), 2);
}

#[test]
fn who_shares_a_host_and_is_refused_keeps_what_it_had() {
    let registries = || vec![registry("a", 1), registry("b", 2)];
    for refused in ["a", "b"] {
        let mut rig = Rig::new(registries());
        rig.say("a", vec![read(vec![service("shared", &[1])])]);
        rig.say("b", vec![read(vec![service("shared", &[2])])]);
        rig.pass(10);
        rig.say(refused, vec![Change::Upsert(at_port_0("shared", &[7]))]);
        rig.pass(10);
        let before = rig.served().unwrap();
        let mut next = rig.restarted(registries());
        assert_eq!(next.served().unwrap(), before, "{refused} is refused");
        // The other goes on beside what the refused one had.
        let (other, mine) = if refused == "a" { ("b", "10.0.0.1") } else { ("a", "10.0.0.2") };
        next.say(other, vec![Change::Upsert(service("shared", &[4]))]);
        next.pass(10);
        let shown = format!("{:?}", next.served().unwrap());
        let body = next.engine.published().get(Collection::ServiceEntry).unwrap().iter().next().unwrap();
        let body = String::from_utf8_lossy(&body.body).into_owned();
        assert!(body.contains("10.0.0.4") && body.contains(mine), "{refused}: {shown}");
        assert!(!body.contains("10.0.0.7"), "{refused}: {shown}");
    }
}

#[test]
fn a_registry_that_restarted_empty_at_the_same_time_takes_nothing_away() {
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read((0..4).map(|n| service(&format!("s{n}"), &[1, 2])).collect())]);
    rig.pass(10);
    for emptied in [read(Vec::new()), doubtful(Vec::new())] {
        let mut next = rig.restarted(vec![registry("a", 1)]);
        next.say("a", vec![emptied]);
        next.pass(600);
        assert_eq!(next.names().unwrap().len(), 4);
        assert_eq!(answers::registries(&next.engine, next.now)[0].held_endpoints, 8);
        rig = next;
    }
}

#[test]
fn what_remains_of_a_hold_and_of_a_lingering_service_goes_on() {
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read((0..4).map(|n| service(&format!("s{n}"), &[1])).collect())]);
    rig.pass(10);
    let gone = |name: &str, cause| Change::Remove(key(ItemKind::Service, name), cause);
    // s0 stays, empty, for ten minutes; s1 is held, and a read has confirmed that it is gone.
    rig.say("a", vec![gone("s0", Cause::Deregistered), gone("s1", Cause::Vanished)]);
    let left = || vec![service("s2", &[1]), service("s3", &[1])];
    rig.say("a", vec![read(left())]);
    rig.pass(50);
    let mut next = rig.restarted(vec![registry("a", 1)]);
    assert_eq!(next.names().unwrap().len(), 4);
    next.say("a", vec![read(left())]);
    next.pass(9);
    assert_eq!(answers::registries(&next.engine, next.now)[0].held_endpoints, 1);
    next.pass(1);
    assert_eq!(answers::registries(&next.engine, next.now)[0].held_endpoints, 0);
    next.pass(539);
    assert_eq!(next.names().unwrap().len(), 4, "s1 is empty from now on, s0 has a second left");
    next.pass(1);
    next.pass(10);
    assert_eq!(next.names().unwrap(), ["s1.test", "s2.test", "s3.test"]);
}

#[test]
fn a_freeze_outlasts_a_restart_and_a_thaw_too() {
    let area = || Area::Service(RegistryName::new("a"), "s0".into());
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read(vec![service("s0", &[1, 2]), service("s1", &[1])])]);
    rig.save();
    rig.engine.freeze(area(), true, rig.now);
    assert!(rig.engine.has_news());
    let mut next = rig.restarted(vec![registry("a", 1)]);
    next.say("a", vec![Change::Upsert(service("s0", &[1]))]);
    assert_eq!(answers::registries(&next.engine, next.now)[0].held_endpoints, 1);
    next.save();
    next.engine.freeze(area(), false, next.now);
    let next = next.restarted(vec![registry("a", 1)]);
    assert_eq!(next.engine.frozen().areas().count(), 0);
}

#[test]
fn under_other_settings_it_is_served_until_it_has_been_read_under_them() {
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read((0..4).map(|n| service(&format!("s{n}"), &[1])).collect())]);
    rig.pass(10);
    let mut next = rig.restarted(vec![registry("a", 99)]);
    assert_eq!(next.names().unwrap().len(), 4);
    next.say("a", vec![doubtful(Vec::new())]);
    next.pass(10);
    assert_eq!(next.names().unwrap().len(), 4);
    // Still so if it ends before that; it has grown older by then.
    let mut next = next.restarted(vec![registry("a", 99)]);
    assert_eq!(answers::registries(&next.engine, next.now)[0].restored_seconds, Some(42 + 10 + 42));
    next.say("a", vec![read(vec![service("s9", &[1])])]);
    next.pass(10);
    assert_eq!(next.names().unwrap(), ["s9.test"]);
    assert_eq!(answers::registries(&next.engine, next.now)[0].restored_seconds, None);
}

#[test]
fn what_is_too_old_is_not_restored_but_its_addresses_and_freezes_are() {
    let mut rig = Rig::new(vec![registry("a", 1), registry("b", 2)]);
    let host = Host::parse("s0.test").unwrap();
    rig.say("a", vec![read(vec![service("s0", &[1])])]);
    rig.say("b", vec![read(Vec::new())]);
    rig.engine.freeze(Area::All, true, rig.now);
    rig.pass(10);
    let address = rig.engine.desired().addresses().get(&host).to_vec();
    rig.save();
    // What was old already when it was saved is older.
    rig.image.registries.get_mut(&RegistryName::new("a")).unwrap().age = DAY;
    let mut engine = Engine::new(settings(vec![registry("a", 1), registry("b", 2)]));
    let restored = engine.restore(rig.image.clone(), Duration::from_secs(1), DAY);
    let too_old = vec![(RegistryName::new("a"), DAY + Duration::from_secs(1))];
    assert_eq!((restored.registries, restored.too_old), (1, too_old));
    let mut next = Rig { engine, now: rig.image.now, image: Image::default() };
    next.pass(60);
    assert_eq!(next.names(), None);
    assert_eq!((next.engine.desired().addresses().get(&host), address.len()), (&address[..], 1));
    assert_eq!(next.engine.frozen().areas().count(), 1);
    next.say("a", vec![read(vec![service("s0", &[1])])]);
    next.pass(0);
    assert_eq!(next.served(), rig.served());
}

#[test]
fn another_policy_is_applied_to_what_was_saved() {
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read(vec![service("s0", &[1])])]);
    rig.pass(10);
    let mut other = registry("a", 1);
    let hosts = vec![Template::parse("{service}.other", &["service"]).unwrap()];
    let map = Mapping::new(hosts, Template::parse("mesh", &[]).unwrap(), Protocol::Http);
    (other.policy, other.identity.policy) = (Arc::new(map.into()), 1);
    let next = rig.restarted(vec![other]);
    assert_eq!(next.names().unwrap(), ["s0.other"]);
}

#[test]
fn nothing_is_served_before_every_registry_is_read_restored_or_given_up_on() {
    let mut rig = Rig::new(vec![registry("a", 1)]);
    rig.say("a", vec![read(vec![service("s0", &[1])])]);
    rig.pass(10);
    let mut optional = registry("b", 2);
    optional.startup = Startup { optional: true, wait: Duration::from_secs(60) };
    let mut next = rig.restarted(vec![registry("a", 1), optional]);
    assert_eq!(next.names(), None);
    next.pass(59);
    assert_eq!(next.names(), None);
    next.pass(1);
    assert_eq!(next.names().unwrap(), ["s0.test"]);
    assert_eq!(next.engine.take_overdue().len(), 2, "the restored one has not been read in time either");
    // Not optional: silence, however long.
    let mut next = next.restarted(vec![registry("a", 1), registry("c", 3)]);
    next.pass(1_000_000);
    assert_eq!(next.names(), None);
    next.say("c", vec![read(Vec::new())]);
    next.pass(0);
    assert_eq!(next.names().unwrap(), ["s0.test"]);
}

#[test]
fn a_registry_that_is_no_longer_configured_is_not_restored_and_its_addresses_go_last() {
    let address =
        |rig: &Rig, host| rig.engine.desired().addresses().get(&Host::parse(host).unwrap()).to_vec();
    let mut rig = Rig::new(vec![registry("old", 1), registry("b", 2)]);
    rig.say("old", vec![read(vec![service("s0", &[1]), service("s1", &[1])])]);
    rig.say("b", vec![read(vec![service("s2", &[1])])]);
    rig.pass(10);
    let before = (address(&rig, "s0.test"), address(&rig, "s1.test"));
    // Renamed, and nothing of it is known under its new name.
    let mut next = rig.restarted(vec![registry("new", 1), registry("b", 2)]);
    assert_eq!(next.names(), None);
    assert_eq!((address(&next, "s0.test"), address(&next, "s1.test")), before);
    next.say("new", vec![read(vec![service("s0", &[1])])]);
    assert_eq!((address(&next, "s0.test"), address(&next, "s1.test")), before, "b has not been read yet");
    next.say("b", vec![read(vec![service("s2", &[1])])]);
    next.pass(10);
    assert_eq!((address(&next, "s0.test"), address(&next, "s1.test")), (before.0, Vec::new()));
    next.save();
    assert_eq!(next.image, next.whole());
}

#[test]
fn an_engine_that_nobody_saves_notes_nothing() {
    let mut engine = Engine::new(settings(vec![registry("a", 1)]));
    let delivery = Delivery {
        registry: RegistryName::new("a"),
        generation: Generation(1),
        batch: Batch(vec![read(vec![service("s0", &[1])])]),
    };
    engine.deliver(delivery, Moment::START);
    while engine.work(64, Moment::START) {}
    assert!(!engine.has_news() && engine.unsaved.hosts.is_empty() && engine.unsaved.items.is_empty());
}

/// Something that happens to a registry, or to the clock.
#[derive(Debug, Clone)]
enum Event {
    Say(Change),
    Pass(u64),
    Freeze(u8, bool),
    Save,
}

fn item() -> impl Strategy<Value = Item> {
    let endpoints = || prop::collection::btree_set(1_u8..8, 0..4).prop_map(Vec::from_iter);
    prop_oneof![
        6 => (0_u8..6, endpoints()).prop_map(|(n, e)| service(&format!("s{n}"), &e)),
        1 => (0_u8..6, endpoints()).prop_map(|(n, e)| unfit(&format!("s{n}"), &e)),
        1 => (0_u8..6).prop_map(|n| object(&format!("s{n}"))),
        1 => (0_u8..6).prop_map(|n| Item::Refused(key(ItemKind::Service, &format!("s{n}")), "no".into())),
        1 => (0_u8..6, endpoints()).prop_map(|(n, e)| {
            let Item::Service(service) = service(&format!("s{n}"), &e) else { unreachable!() };
            let mut left_out = LeftOut::default();
            left_out.add("critical", "i1");
            Item::Service(Arc::new(Service { left_out, ..Service::clone(&service) }))
        }),
    ]
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(item(), 0..6).prop_map(|items| {
        let by_key: BTreeMap<_, _> = items.into_iter().map(|i| (i.key().clone(), i)).collect();
        by_key.into_values().collect()
    })
}

fn event() -> impl Strategy<Value = Event> {
    let cause = prop_oneof![
        Just(Cause::Deleted),
        Just(Cause::Deregistered),
        Just(Cause::Unhealthy),
        Just(Cause::Vanished)
    ];
    let kind = prop_oneof![Just(ItemKind::Service), Just(ItemKind::Object)];
    prop_oneof![
        4 => items().prop_map(|items| Event::Say(read(items))),
        1 => items().prop_map(|items| Event::Say(doubtful(items))),
        4 => item().prop_map(|item| Event::Say(Change::Upsert(item))),
        2 => (kind, 0_u8..6, cause)
            .prop_map(|(kind, n, cause)| Event::Say(Change::Remove(key(kind, &format!("s{n}")), cause))),
        3 => prop_oneof![Just(1_u64), Just(20), Just(61), Just(700)].prop_map(Event::Pass),
        1 => (0_u8..6, any::<bool>()).prop_map(|(n, on)| Event::Freeze(n, on)),
        2 => Just(Event::Save),
    ]
}

impl Rig {
    fn meet(&mut self, event: &Event) {
        match event {
            Event::Say(change) => self.say("a", vec![change.clone()]),
            Event::Pass(seconds) => self.pass(*seconds),
            Event::Freeze(n, on) => {
                let area = Area::Service(RegistryName::new("a"), format!("s{n}").into());
                self.engine.freeze(area, *on, self.now);
                while self.engine.work(64, self.now) {}
            }
            Event::Save => self.save(),
        }
    }
}

/// An image without what means nothing any more: what came longer than ten minutes ago. And without the ages: a registry
/// that was restored and not read since is older than one that was not.
fn told(image: &Image) -> Image {
    let mut image = image.clone();
    for registry in image.registries.values_mut() {
        registry.age = Duration::ZERO;
        for item in registry.items.values_mut() {
            item.grown = item.grown.filter(|(_, at)| image.now.since(*at) < Duration::from_secs(600));
        }
    }
    image
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 96 } else { 2048 }))]

    /// Whatever happens: what was saved piece by piece is all that there is, it survives its bytes, and a process that goes
    /// on with it serves the same bytes, saves the same, and follows what comes next as the first one would have.
    #[test]
    fn a_restart_changes_nothing(
        first in items(),
        before in prop::collection::vec(event(), 0..24),
        after in prop::collection::vec(event(), 0..12),
    ) {
        let mut rig = Rig::new(vec![registry("a", 1)]);
        rig.say("a", vec![read(first)]);
        before.iter().for_each(|event| rig.meet(event));
        rig.pass(10);
        while !rig.engine.desired().is_empty() {
            rig.pass(1);
        }
        rig.save();
        prop_assert_eq!(told(&rig.image), told(&rig.whole()));
        let image = through_bytes(&rig.image);
        prop_assert_eq!(&image, &rig.image);

        let mut engine = Engine::new(settings(vec![registry("a", 1)]));
        engine.keep_news();
        engine.restore(image, Duration::ZERO, DAY);
        let mut next = Rig { engine, now: rig.now, image: Image::default() };
        next.pass(0);
        next.save();
        prop_assert_eq!(next.served(), rig.served());
        prop_assert_eq!(told(&next.image), told(&rig.image));

        for event in &after {
            rig.meet(event);
            next.meet(event);
        }
        rig.pass(10);
        next.pass(10);
        // What waits for its lane waits for another moment in each.
        while !rig.engine.desired().is_empty() || !next.engine.desired().is_empty() {
            rig.pass(1);
            next.pass(1);
        }
        prop_assert_eq!(next.served(), rig.served());
        rig.save();
        next.save();
        prop_assert_eq!(told(&next.image), told(&rig.image));
    }
}
