//! The task with its clock and its channels; what it decides is tested where that is decided.

use super::*;
use crate::convert::mapping::Mapping;
use crate::convert::naming::Template;
use crate::convert::validate::Release;
use crate::model::change::{Batch, Change, Item, Trust};
use crate::model::service::{ItemKind, Protocol, Scope, ServiceKey};
use crate::pipeline::debounce::Cadence;
use crate::pipeline::desired::Terms;
use crate::pipeline::reading::{Identity, RegistrySettings, Startup};
use crate::pipeline::report::Wanted;
use crate::resource::collection::Collection;
use crate::store::disk::keeper::Hands;

/// More than the channel holds, so that there is always another question.
const ASKERS: usize = 4 * QUESTIONS;

fn settings() -> Settings {
    let namespace = Template::parse("mesh", &[]).unwrap();
    let registry = RegistrySettings {
        name: RegistryName::new("r"),
        generation: Generation(1),
        policy: Arc::new(Mapping::new(Vec::new(), namespace, Protocol::Http).into()),
        startup: Startup::default(),
        scopes: vec![Scope::new("all")],
        feeds: vec![Collection::ServiceEntry],
        identity: Identity::default(),
    };
    let terms = Terms { oldest: Release::new(1, 9) };
    let (virtual_ranges, pins, merging) = Default::default();
    Settings { registries: vec![registry], merging, virtual_ranges, pins, terms, cadence: Cadence::default() }
}

/// Refused items: they cost an answer time, and nothing else.
fn items(n: usize) -> Vec<Item> {
    let key =
        |i| ServiceKey { kind: ItemKind::Service, name: format!("s{i}").into(), scope: Scope::new("all") };
    (0..n).map(|i| Item::Refused(key(i), "no".into())).collect()
}

fn web(address: &str) -> Item {
    let key = ServiceKey { kind: ItemKind::Service, name: "web".into(), scope: Scope::new("all") };
    let hosts = vec![crate::model::host::Host::parse("web.test").unwrap()];
    let address = crate::model::endpoint::Address::parse(address).unwrap();
    let ports = crate::model::endpoint::EndpointPorts::One(80);
    let endpoints = vec![crate::model::endpoint::Endpoint::at(address, ports)];
    Item::Service(Arc::new(crate::model::service::Service {
        hosts,
        endpoints,
        ..crate::model::service::Service::new(key, "web")
    }))
}

fn read(items: Vec<Item>) -> Batch {
    Batch(vec![Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete }])
}

#[tokio::test(start_paused = true)]
async fn an_optional_registry_that_says_nothing_is_waited_for_no_longer_than_it_says() {
    let mut settings = settings();
    let wait = Duration::from_secs(60);
    settings.registries[0].startup = Startup { optional: true, wait };
    let (pipeline, _handle, mut reader) = Pipeline::new(settings, Arc::default());
    let (stop, started) = (CancellationToken::new(), Instant::now());
    let mut running = tokio::task::JoinSet::new();
    running.spawn(pipeline.run(stop.clone()));
    while reader.next().await.unwrap().get(Collection::ServiceEntry).is_none() {}
    let took = started.elapsed();
    assert!(took >= wait && took < wait + Duration::from_secs(1), "{took:?}");
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_asked_about_again_and_goes_when_enough_reads_agree() {
    let (pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
    let stop = CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(pipeline.run(stop.clone()));
    let mut changes = handle.changes(RegistryName::new("r"), Generation(1));
    changes.send(read(vec![web("10.0.0.1")])).await.unwrap();
    while reader.next().await.unwrap().get(Collection::ServiceEntry).is_none() {}
    assert_eq!(changes.read_again(), None);
    changes.send(read(Vec::new())).await.unwrap();
    changes.read_again_changed().await;
    let began = Instant::now();
    let held = handle.questions.held().await.unwrap();
    assert_eq!((held.len(), held[0].endpoints, held[0].confirm_reads), (1, 1, 2));
    while let Some(every) = changes.read_again() {
        tokio::select! {
            () = tokio::time::sleep(every) => changes.send(read(Vec::new())).await.unwrap(),
            () = changes.read_again_changed() => {}
        }
    }
    assert_eq!(began.elapsed().as_secs(), 60);
    assert!(handle.questions.held().await.unwrap().is_empty());
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_sign_of_life_does_not_wait_behind_what_others_ask() {
    let (pipeline, handle, _reader) = Pipeline::new(settings(), Arc::default());
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..ASKERS {
        let questions = handle.questions.clone();
        askers.spawn(async move { questions.registries().await.map(|_| "asker") });
    }
    // They stand in line before it does.
    tokio::task::yield_now().await;
    let questions = handle.questions.clone();
    askers.spawn(async move { questions.ping().await.map(|()| "sign of life") });
    tokio::task::yield_now().await;
    let stop = CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(pipeline.run(stop.clone()));
    let first = askers.join_next().await.unwrap().unwrap();
    assert_eq!(first, Some("sign of life"));
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_speaks_without_end_waits_itself_and_is_published_all_the_same() {
    let (pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
    let stop = CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(pipeline.run(stop.clone()));
    let changes = handle.changes(RegistryName::new("r"), Generation(1));
    let service = |n: u32| {
        let key = ServiceKey { kind: ItemKind::Service, name: "web".into(), scope: Scope::new("all") };
        let hosts = vec![crate::model::host::Host::parse("web.test").unwrap()];
        let address =
            crate::model::endpoint::Address::Ip(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into());
        let ports = crate::model::endpoint::EndpointPorts::One(80);
        let endpoints = vec![crate::model::endpoint::Endpoint::at(address, ports)];
        let service = crate::model::service::Service::new(key, "web");
        Item::Service(Arc::new(crate::model::service::Service { hosts, endpoints, ..service }))
    };
    let first = Change::Reset { scope: Scope::new("all"), items: vec![service(1)], trust: Trust::Complete };
    changes.send(Batch(vec![first])).await.unwrap();
    let mut flood = tokio::task::JoinSet::new();
    flood.spawn(async move {
        for n in (2..0x00ff_ffff).cycle() {
            if changes.send(Batch(vec![Change::Upsert(service(n))])).await.is_err() {
                return;
            }
        }
    });
    let mut versions = std::collections::BTreeSet::new();
    let publish = async {
        while versions.len() < 5 {
            let snapshot = reader.next().await.unwrap();
            versions.extend(snapshot.get(Collection::ServiceEntry).map(|c| c.version().to_string()));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), publish).await.expect("it is published");
    assert!(handle.deliveries.max_capacity() == intake::CAPACITY, "nothing else may queue");
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
}

/// What a pipeline saves that was told of `items`.
fn saved(items: Vec<Item>) -> Image {
    let (mut engine, mut image) = (Engine::new(settings()), Image::default());
    engine.keep_news();
    let delivery =
        Delivery { registry: RegistryName::new("r"), generation: Generation(1), batch: read(items) };
    engine.deliver(delivery, Moment::START);
    while engine.work(SLICE, Moment::START) {}
    image.absorb(engine.take_news(Moment::START));
    image
}

#[tokio::test(start_paused = true)]
async fn what_was_saved_is_served_only_if_its_registry_cannot_be_read_at_once() {
    for read_after in [Some(FRESH / 2), None] {
        let (mut pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
        assert_eq!(pipeline.restore(saved(vec![web("10.0.0.1")]), Duration::ZERO, FRESH).registries, 1);
        let (stop, began) = (CancellationToken::new(), Instant::now());
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(stop.clone()));
        let changes = handle.changes(RegistryName::new("r"), Generation(1));
        if let Some(after) = read_after {
            tokio::time::sleep(after).await;
            changes.send(read(vec![web("10.0.0.2")])).await.unwrap();
        }
        let first = loop {
            if let Some(entries) = reader.next().await.unwrap().get(Collection::ServiceEntry) {
                break Arc::clone(entries);
            }
        };
        assert_eq!(began.elapsed(), read_after.unwrap_or(FRESH));
        let body = String::from_utf8_lossy(&first.iter().next().unwrap().body).into_owned();
        let (wanted, other) =
            if read_after.is_some() { ("10.0.0.2", "10.0.0.1") } else { ("10.0.0.1", "10.0.0.2") };
        assert!(body.contains(wanted) && !body.contains(other), "{body}");
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }
}

fn upsert(item: Item) -> Batch {
    Batch(vec![Change::Upsert(item)])
}

/// Waits until an endpoint is published.
async fn published(reader: &mut StoreReader, address: &str) {
    loop {
        let snapshot = reader.next().await.unwrap();
        let entries = snapshot.get(Collection::ServiceEntry);
        if entries.is_some_and(|all| all.iter().any(|r| String::from_utf8_lossy(&r.body).contains(address))) {
            return;
        }
    }
}

/// A pipeline that is saved by hand and has read one service.
struct ByHand {
    hands: Hands<image::News>,
    changes: Changes,
    reader: StoreReader,
    began: Instant,
    _running: tokio::task::JoinSet<Result<(), &'static str>>,
}

impl ByHand {
    async fn new() -> Self {
        let began = Instant::now();
        let (mut pipeline, handle, reader) = Pipeline::new(settings(), Arc::default());
        let (hands, outbox) = Hands::new();
        pipeline.save_to(outbox);
        let changes = handle.changes(RegistryName::new("r"), Generation(1));
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(CancellationToken::new()));
        let mut all = Self { hands, changes, reader, began, _running: running };
        all.say(read(vec![web("10.0.0.1")]), "10.0.0.1").await;
        all
    }

    /// Says `batch`, and waits until its endpoint is published.
    async fn say(&mut self, batch: Batch, address: &str) {
        self.changes.send(batch).await.unwrap();
        published(&mut self.reader, address).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_change_after_calm_is_saved_before_it_is_published_and_the_next_after_a_pause() {
    use crate::store::disk::keeper::PAUSE;
    let mut it = ByHand::new().await;
    let mut all: Vec<_> = it.hands.news.try_iter().collect();
    assert_eq!(all.pop().expect("the first read is saved").items.len(), 1);
    it.hands.done();
    tokio::time::sleep(PAUSE).await;
    // Hosts whose first publication came after the save, at the most.
    let rest: usize = it.hands.news.try_iter().map(|news| news.items.len()).sum();
    it.hands.done();
    tokio::time::sleep(PAUSE).await;
    assert_eq!((rest, it.hands.news.try_iter().count()), (0, 0), "it is calm");

    let calm = Instant::now();
    it.say(upsert(web("10.0.0.2")), "10.0.0.2").await;
    assert!(calm.elapsed() >= Duration::from_millis(100), "published after a while");
    let second = it.hands.news.try_recv().expect("saved by then");
    let moment = Moment::START.plus(calm - it.began);
    assert!(second.items.len() == 1 && second.now.since(moment) < Duration::from_millis(10), "at once");
    it.hands.done();

    it.say(upsert(web("10.0.0.3")), "10.0.0.3").await;
    assert!(it.hands.news.try_recv().is_err(), "not so soon again");
    tokio::time::sleep_until(calm + PAUSE + Duration::from_millis(10)).await;
    let third = it.hands.news.try_recv().expect("saved after the pause");
    assert!(third.items.len() == 1 && third.now.since(second.now) >= PAUSE, "{:?}", third.now);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_holds_up_nothing_and_gets_the_newest_when_it_is_back() {
    let mut it = ByHand::new().await;
    assert_eq!(it.hands.news.try_iter().count(), 1);
    for n in 2..50 {
        let address = format!("10.0.0.{n}");
        it.say(upsert(web(&address)), &address).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert!(it.hands.news.try_recv().is_err(), "nobody takes any");
    it.hands.done();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let news = it.hands.news.try_recv().expect("it is back");
    let item = news.items.into_values().next().flatten().and_then(|item| item.known);
    let crate::model::catalog::Known::Service(service, _) = item.unwrap() else { panic!("a service") };
    assert_eq!(service.endpoints[0].address.to_string(), "10.0.0.49");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_asks_without_end_does_not_hold_up_a_registry() {
    let (pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
    let stop = CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(pipeline.run(stop.clone()));
    let changes = handle.changes(RegistryName::new("r"), Generation(1));
    let reset =
        |n| Batch(vec![Change::Reset { scope: Scope::new("all"), items: items(n), trust: Trust::Complete }]);
    changes.send(reset(2000)).await.unwrap();
    while reader.next().await.unwrap().get(Collection::ServiceEntry).is_none() {}
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..ASKERS {
        let questions = handle.questions.clone();
        askers.spawn(async move { while questions.services(Wanted::default()).await.is_some() {} });
    }
    // More than the channel holds: they end up there only if somebody takes them out.
    let speak = async {
        for _ in 0..2 * intake::CAPACITY {
            changes.send(reset(2000)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), speak).await.expect("it is heard");
    stop.cancel();
    running.join_next().await.unwrap().unwrap().unwrap();
    askers.join_all().await;
}
