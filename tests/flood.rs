//! What comes without end and takes no more room than it may: measured in a process of its own.
//!
//! Each test lets a flood run until everything is as large as it gets, then lets many times as much come, and looks at the
//! memory in between. If any of it were kept, that would be several times what is allowed.

// clippy.toml allows these in tests; it does not see that every function here serves one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "limits/rig.rs"]
mod rig;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use chandler::convert::mapping::Mapping;
use chandler::convert::naming::Template;
use chandler::convert::policy::Policy;
use chandler::convert::validate::Release;
use chandler::limit::Limits;
use chandler::model::bounds::Bounds;
use chandler::model::change::{Batch, Cause, Change, Item, Trust};
use chandler::model::endpoint::{Address, Endpoint, EndpointPorts};
use chandler::model::host::Host;
use chandler::model::service::{ItemKind, Protocol, RegistryName, Scope, Service, ServiceKey};
use chandler::pipeline::Pipeline;
use chandler::pipeline::debounce::Cadence;
use chandler::pipeline::desired::Terms;
use chandler::pipeline::engine::Settings;
use chandler::pipeline::intake::{Changes, Generation};
use chandler::pipeline::reading::{Identity, RegistrySettings, Startup};
use chandler::pipeline::report::{Questions, RegistryReport};
use chandler::resource::collection::Collection;
use chandler::store::StoreReader;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::rig::{HUGE, PATIENCE, SE, ack, rig, snapshot};

/// What is measured is the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What may come on top after the first part of a flood: fragments, and what happens to be under way.
const ROOM: usize = 48 << 20;

/// Bytes in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// What is served of the flooding registry at most.
const BOUNDS: Bounds = Bounds { services: 500, endpoints: 5_000 };
/// Metadata of each instance, in bytes.
const WORDY: usize = 2_000;

fn settings() -> Settings {
    // Only what names its own host is taken.
    let map = Mapping::new(Vec::new(), Template::parse("mesh", &[]).unwrap(), Protocol::Http);
    let registry = RegistrySettings {
        name: name(),
        generation: Generation(1),
        policy: Arc::new(Policy { bounds: BOUNDS, ..map.into() }),
        startup: Startup::default(),
        scopes: vec![Scope::new("all")],
        feeds: vec![Collection::ServiceEntry],
        identity: Identity::default(),
    };
    Settings {
        registries: vec![registry],
        merging: chandler::model::merging::Merging::default(),
        virtual_ranges: vec!["244.0.0.0/6".parse().unwrap()],
        pins: BTreeMap::new(),
        terms: Terms { oldest: Release::new(1, 9) },
        cadence: Cadence::default(),
    }
}

fn name() -> RegistryName {
    RegistryName::new("flood")
}

fn key(service: &str) -> ServiceKey {
    ServiceKey { kind: ItemKind::Service, name: service.into(), scope: Scope::new("all") }
}

fn service(name: &str, n: u32) -> Item {
    let host = Host::parse(&format!("{name}.test")).unwrap();
    Item::Service(Arc::new(Service { hosts: vec![host], ..nameless(name, n) }))
}

/// A service with one instance, which says a lot about itself.
fn nameless(name: &str, n: u32) -> Service {
    let address = Address::Ip(Ipv4Addr::from_bits(0x0a00_0000 + n).into());
    let words = format!("{n}-{}", "x".repeat(WORDY));
    let labels = [("about", words)].into_iter().collect();
    let endpoint = Endpoint { labels, ..Endpoint::at(address, EndpointPorts::One(80)) };
    Service { endpoints: vec![endpoint], ..Service::new(key(name), name) }
}

/// A pipeline that has read a few services and whose reader never looks.
struct Flooded {
    changes: Changes,
    questions: Questions,
    _reader: StoreReader,
    _running: JoinSet<Result<(), &'static str>>,
}

impl Flooded {
    async fn new() -> Self {
        let (pipeline, handle, reader) = Pipeline::new(settings(), Arc::default());
        let (changes, questions) = (handle.changes(name(), Generation(1)), handle.questions.clone());
        let mut running = JoinSet::new();
        running.spawn(pipeline.run(CancellationToken::new()));
        let items = (0..100).map(|n| service(&format!("served{n}"), n)).collect();
        let first = Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete };
        changes.send(Batch(vec![first])).await.unwrap();
        Self { changes, questions, _reader: reader, _running: running }
    }

    async fn send(&self, changes: Vec<Change>) {
        self.changes.send(Batch(changes)).await.unwrap();
    }

    /// Waits until all that was said has been heard.
    async fn until(&self, heard: impl Fn(&RegistryReport) -> bool) {
        let wait = async { while !heard(&self.questions.registries().await.unwrap()[0]) {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("it is never so");
    }

    /// Lets `flood` run for a while, and then for four times as long; what it took then on top.
    async fn growth(&self, part: u32, flood: impl Fn(u32) -> Vec<Change>) -> usize {
        for n in 0..part {
            self.send(flood(n)).await;
        }
        let before = resident();
        for n in part..5 * part {
            self.send(flood(n)).await;
        }
        resident().saturating_sub(before)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_without_end_take_no_more_room_than_is_theirs() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let it = Flooded::new().await;
    let growth = it.growth(10_000, |n| vec![Change::Upsert(service(&format!("s{n}"), n))]).await;
    assert!(growth < ROOM, "{growth} bytes more");
    it.until(|r| (r.services, r.over_limit) == (500, 10_000)).await;
    // What is served still follows its registry.
    it.send(vec![Change::Remove(key("served7"), Cause::Deleted)]).await;
    it.until(|r| r.services == 499).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_without_end_takes_no_more_room_than_is_theirs() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let it = Flooded::new().await;
    let without_host = |n| Item::Service(Arc::new(nameless(&format!("s{n}"), n)));
    let growth = it.growth(10_000, |n| vec![Change::Upsert(without_host(n))]).await;
    assert!(growth < ROOM, "{growth} bytes more");
    it.until(|r| (r.services, r.refused, r.over_limit) == (100, 400, 10_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_does_not_read_costs_one_message_however_much_changes() {
    let _alone = ONE_AT_A_TIME.lock().await;
    const LARGE: usize = 1 << 20;
    let rig = rig(Limits { read_timeout: None, ..Limits::default() }).await;
    rig.store.publish(snapshot(HUGE));
    let stalled = rig.stream().await;
    stalled.ask(SE).await;
    rig.until("it is stuck in its first message", |rig| rig.metric("pushes_total") == 1).await;
    // Another one reads all that is published, which tells when that is through.
    let mut well = rig.stream().await;
    well.ask(SE).await;
    let mut last = well.next().await;
    let mut before = 0;
    for n in 0..220 {
        well.send(ack(&last)).await;
        rig.store.publish(snapshot(LARGE + n));
        last = well.next().await;
        if n == 20 {
            before = resident();
        }
    }
    let growth = resident().saturating_sub(before);
    assert!(growth < ROOM, "{growth} bytes more");
    assert_eq!(rig.deps.census().streams, 2, "both are still there");
    drop(stalled);
}
