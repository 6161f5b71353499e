//! One endpoint's change at 1,000 and at 100,000 endpoints, from a delivery up to the rendered block: the cost must
//! follow the change, not what exists. Prints medians and their ratio; fails above twice.
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
}
