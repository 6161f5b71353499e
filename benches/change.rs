//! One endpoint's change at 1,000 and at 100,000 endpoints, from a delivery up to the rendered block: the cost must
//! follow the change, not what exists. Prints medians and their ratio; fails above twice.
//! And what the guard takes of a change, and of a complete read, at 100,000 endpoints; fails above a tenth.
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
use chandler::pipeline::intake::{Delivery, Generation};
use chandler::resource::collection::Collection;
use chandler::resource::wire::Flavour;

const CHANGES: u32 = 2_000;
const ENDPOINTS_OF_A_SERVICE: u32 = 5;

/// An engine that has published that many endpoints.
fn engine(endpoints: u32) -> (Engine, Moment) {
    let mut engine = Engine::new(support::settings());
    deliver(
        &mut engine,
        support::reset(endpoints / ENDPOINTS_OF_A_SERVICE, ENDPOINTS_OF_A_SERVICE),
        Moment::START,
    );
    while engine.work(4096, Moment::START) {}
    let published = engine.flush(Moment::START).expect("a first snapshot");
    render(&published);
    (engine, Moment::START)
}

fn deliver(engine: &mut Engine, batch: Batch, now: Moment) {
    engine.deliver(Delivery { registry: support::registry(), generation: Generation(1), batch }, now);
}

/// What a stream does with a snapshot before it sends: blocks that are rendered already cost nothing.
fn render(snapshot: &chandler::resource::snapshot::Snapshot) -> usize {
    let content = snapshot.get(Collection::ServiceEntry).expect("complete");
    content.blocks().iter().map(|b| b.rendered(Flavour::Xds).len()).sum()
}

/// The median cost of a change.
fn median(endpoints: u32) -> Duration {
    let (mut engine, mut now) = engine(endpoints);
    let services = endpoints / ENDPOINTS_OF_A_SERVICE;
    let mut costs: Vec<Duration> = (1..=CHANGES)
        .map(|turn| {
            now = now.plus(Duration::from_secs(60));
            let item = support::service(turn * 7919 % services, ENDPOINTS_OF_A_SERVICE, turn);
            let started = Instant::now();
            deliver(&mut engine, Batch(vec![Change::Upsert(item)]), now);
            while engine.work(512, now) {}
            let published = engine.flush(now.plus(Duration::from_secs(10))).expect("the change");
            black_box(render(&published));
            started.elapsed()
        })
        .collect();
    costs.sort();
    costs[costs.len() / 2]
}

/// What the guard takes of one change, and what all of it takes, in the same run: medians.
fn guarded(endpoints: u32, changes: u32, change: impl Fn(u32) -> Change) -> (Duration, Duration) {
    let (mut engine, mut now) = engine(endpoints);
    let (settings, registry, frozen) = (support::settings(), support::registry(), Frozen::default());
    let policy = &settings.registries[0].policy;
    let (mut guard, mut alone, mut whole) = (Guard::default(), Vec::new(), Vec::new());
    for turn in 1..=changes {
        now = now.plus(Duration::from_secs(60));
        let (said, batch) = (change(turn), vec![change(turn)]);
        let view = View { registry: &registry, catalog: engine.catalog(), policy, frozen: &frozen, now };
        let started = Instant::now();
        let vanishing = Guard::weigh(&view, &batch);
        let passed = guard.pass(&view, said, vanishing.as_ref());
        alone.push(started.elapsed());
        drop(black_box(passed));
        let started = Instant::now();
        deliver(&mut engine, Batch(batch), now);
        while engine.work(512, now) {}
        black_box(engine.flush(now.plus(Duration::from_secs(10))).map(|s| render(&s)));
        whole.push(started.elapsed());
    }
    let median = |mut costs: Vec<Duration>| {
        costs.sort();
        costs[costs.len() / 2]
    };
    (median(alone), median(whole))
}

/// Prints the guard's share; whether it is a tenth of the rest at most.
fn share(what: &str, (guard, whole): (Duration, Duration)) -> bool {
    let rest = whole.saturating_sub(guard);
    let share = 100.0 * guard.as_secs_f64() / rest.as_secs_f64();
    println!("  {what:<22}  {guard:>10.1?} of {whole:>10.1?}   +{share:.1} % (at most 10)");
    share <= 10.0
}

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only builds
    }
    let (small, large) = (median(1_000), median(100_000));
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    println!("one endpoint's change, delivery to rendered block, median of {CHANGES}");
    println!("  at   1,000 endpoints  {small:>10.1?}");
    println!("  at 100,000 endpoints  {large:>10.1?}   x{ratio:.2} (at most 2)");
    assert!(ratio <= 2.0, "a change costs what exists");
    println!("what the guard takes at 100,000 endpoints");
    let services = 100_000 / ENDPOINTS_OF_A_SERVICE;
    let one = guarded(100_000, CHANGES, |turn| {
        Change::Upsert(support::service(turn * 7919 % services, ENDPOINTS_OF_A_SERVICE, turn))
    });
    let read = guarded(100_000, 20, |turn| {
        let Batch(mut changes) = support::reset(services, ENDPOINTS_OF_A_SERVICE);
        if let Some(Change::Reset { items, .. }) = changes.first_mut() {
            // A hundred services have changed.
            for n in (0..services).step_by(200) {
                items[n as usize] = support::service(n, ENDPOINTS_OF_A_SERVICE, turn);
            }
        }
        changes.remove(0)
    });
    let well = [share("of one change", one), share("of a complete read", read)];
    assert!(well == [true; 2], "the guard costs more than a tenth");
}
