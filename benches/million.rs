//! 1,000,000 endpoints in 50,000 services, fed through `Changes` into the running pipeline: resident memory.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench measures real time and fails by panicking"
)]

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Instant;

use chandler::pipeline::Pipeline;
use chandler::pipeline::intake::Generation;
use chandler::pipeline::metrics::PipelineMetrics;
use chandler::resource::collection::Collection;
use chandler::resource::wire::Flavour;
use chandler::runtime::supervise::Critical;
use tokio_util::sync::CancellationToken;

const SERVICES: u32 = 50_000;
const ENDPOINTS_OF_A_SERVICE: u32 = 20;
/// The claim.
const LIMIT_MIB: u64 = 1024;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only builds
    }
    let stop = CancellationToken::new();
    let (pipeline, handle, mut reader) =
        Pipeline::new(support::settings(), Arc::new(PipelineMetrics::default()));
    let mut tasks = Critical::default();
    tasks.spawn("pipeline", pipeline.run(stop.clone()));
    let changes = handle.changes(support::registry(), Generation(1));
    let started = Instant::now();
    changes.send(support::reset(SERVICES, ENDPOINTS_OF_A_SERVICE)).await.expect("a pipeline");
    let snapshot = loop {
        let snapshot = reader.next().await.expect("a pipeline");
        if snapshot.get(Collection::ServiceEntry).is_some() {
            break snapshot;
        }
    };
    let published = started.elapsed();
    let mib = |row| support::memory_kib(row) / 1024;
    let (resident, content) = (mib("VmRSS"), snapshot.get(Collection::ServiceEntry).expect("complete"));
    let wire: usize = content.blocks().iter().map(|b| b.rendered(Flavour::Xds).len()).sum();
    println!("{SERVICES} services of {ENDPOINTS_OF_A_SERVICE} endpoints, through Changes into the pipeline");
    println!("  first snapshot after {published:.1?}, {} MiB on the wire", wire >> 20);
    println!(
        "  resident {resident} MiB; with a client's bytes rendered {} MiB; peak {} MiB (at most {LIMIT_MIB})",
        mib("VmRSS"),
        mib("VmHWM")
    );
    stop.cancel();
    assert!(mib("VmHWM") <= LIMIT_MIB, "too much memory");
}
