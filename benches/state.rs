//! What guard and state on disk cost: of one endpoint's change at 100,000 endpoints, and of a start with 10,000 services.
//! Prints medians and shares; fails where a claim does not hold.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench measures real time and fails by panicking"
)]

#[path = "support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use chandler::model::change::{Batch, Change};
use chandler::model::time::Moment;
use chandler::pipeline::engine::Engine;
use chandler::pipeline::guard::freeze::Frozen;
use chandler::pipeline::guard::{Guard, View};
use chandler::pipeline::image::{Image, codec};
use chandler::pipeline::intake::{Delivery, Generation};
use chandler::resource::collection::Collection;
use chandler::resource::wire::Flavour;
use chandler::store::disk;
use chandler::store::disk::clock::Now;
use chandler::store::disk::directory::Directory;

const CHANGES: u32 = 1_000;
const ENDPOINTS: u32 = 100_000;
const ENDPOINTS_OF_A_SERVICE: u32 = 5;
const SERVICES: u32 = 10_000;
const RESTARTS: usize = 5;
/// The claims.
const SHARE: f64 = 0.10;
const RESTORE: Duration = Duration::from_millis(300);

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only builds
    }
    let restore = restarts();
    let share = changes();
    assert!(share <= SHARE, "guard and state cost more than a tenth of a change");
    assert!(restore <= RESTORE, "a restore takes too long");
}

/// An engine that has published that many services; one that is saved, if `kept`.
fn engine(services: u32, kept: bool) -> Engine {
    let mut engine = Engine::new(support::settings());
    if kept {
        engine.keep_news();
    }
    deliver(&mut engine, support::reset(services, ENDPOINTS_OF_A_SERVICE), Moment::START);
    publish(&mut engine, Moment::START);
    engine
}

fn deliver(engine: &mut Engine, batch: Batch, now: Moment) {
    engine.deliver(Delivery { registry: support::registry(), generation: Generation(1), batch }, now);
}

/// Works until what came is what a stream would send.
fn publish(engine: &mut Engine, now: Moment) {
    while engine.work(512, now) {}
    let published = engine.flush(now.plus(Duration::from_secs(10))).expect("something new");
    let content = published.get(Collection::ServiceEntry).expect("complete");
    black_box(content.blocks().iter().map(|b| b.rendered(Flavour::Xds).len()).sum::<usize>());
}

/// The share of a change that guard and state take.
fn changes() -> f64 {
    let services = ENDPOINTS / ENDPOINTS_OF_A_SERVICE;
    let (mut plain, mut kept) = (engine(services, false), engine(services, true));
    drop(kept.take_news(Moment::START));
    let (mut guard, frozen, registry) = (Guard::default(), Frozen::default(), support::registry());
    let policy = support::settings().registries.remove(0).policy;
    let mut now = Moment::START;
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 1..=CHANGES {
        now = now.plus(Duration::from_secs(60));
        let item = || support::service(turn * 7919 % services, ENDPOINTS_OF_A_SERVICE, turn);
        // What the guard does of a change, by itself.
        let change = Change::Upsert(item());
        let view =
            View { registry: &registry, catalog: plain.catalog(), policy: &policy, frozen: &frozen, now };
        let started = Instant::now();
        black_box(Guard::weigh(&view, std::slice::from_ref(&change)));
        black_box(guard.pass(&view, change, None));
        costs[2].push(started.elapsed());
        // The same change with and without, by turns first.
        for n in [turn % 2, (turn + 1) % 2] {
            let batch = Batch(vec![Change::Upsert(item())]);
            let engine = if n == 0 { &mut plain } else { &mut kept };
            let started = Instant::now();
            deliver(engine, batch, now);
            publish(engine, now);
            if n == 1 {
                // After every change: in truth at most every five seconds.
                black_box(engine.take_news(now));
            }
            costs[n as usize].push(started.elapsed());
        }
    }
    let [plain, kept, guard] = costs.map(median);
    let of = |cost: Duration| cost.as_secs_f64() / plain.as_secs_f64();
    let (state, guard) = (of(kept) - 1.0, of(guard));
    println!(
        "one endpoint's change at {ENDPOINTS} endpoints, delivery to rendered block, median of {CHANGES}"
    );
    println!("  without state    {plain:>10.1?}");
    println!("  with it          {kept:>10.1?}   {:+.1} %", 100.0 * state);
    println!("  of which guard             {:+.1} %   both at most {:.0} %", 100.0 * guard, 100.0 * SHARE);
    state.max(0.0) + guard
}

/// How long a process takes from the file to what it serves.
fn restarts() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let mut directory = Directory::new(dir.path());
    let mut first = engine(SERVICES, true);
    let mut image = Image::default();
    image.absorb(first.take_news(Moment::START));
    let stamp = Now::read().stamp("bench");
    let mut written = Vec::new();
    let mut size = 0;
    for _ in 0..RESTARTS {
        let started = Instant::now();
        size = directory
            .write(&stamp, |out| codec::encode(&image, |frame| out.put(frame)))
            .expect("a disk with room");
        written.push(started.elapsed());
    }
    let mut restored = Vec::new();
    for _ in 0..RESTARTS {
        let started = Instant::now();
        let bytes = directory.read().expect("a file").expect("a state");
        let contents = disk::read(&bytes);
        let (image, faults) = codec::decode(contents.frames.iter().copied());
        assert!(contents.fault.is_none() && faults.is_empty(), "{faults:?}");
        let mut engine = Engine::new(support::settings());
        engine.keep_news();
        engine.restore(image, Duration::ZERO, Duration::MAX);
        while engine.work(512, Moment::START) {}
        let published = engine.flush(Moment::START).expect("what was served");
        restored.push(started.elapsed());
        let version = |s: &chandler::resource::snapshot::Snapshot| {
            s.get(Collection::ServiceEntry).expect("complete").version()
        };
        assert_eq!(version(&published), version(first.published()), "the same bytes");
    }
    let (written, restored) = (median(written), median(restored));
    println!("state of {SERVICES} services of {ENDPOINTS_OF_A_SERVICE} endpoints: {} KiB", size >> 10);
    println!("  written, on a thread of its own, in   {written:>8.1?}");
    println!("  restored, file to snapshot, in        {restored:>8.1?}   (at most {RESTORE:?})");
    restored
}

fn median(mut costs: Vec<Duration>) -> Duration {
    costs.sort();
    costs[costs.len() / 2]
}
