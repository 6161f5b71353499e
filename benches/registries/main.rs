//! Consul, Eureka and ZooKeeper, the real servers, read and watched by the whole program: what a catalogue costs to take in, what one
//! instance's change costs beside 100 and beside 10,000 services, what watching costs when nothing happens, and how long a
//! change takes from the registry's own acknowledgement to a client's.
//!
//! `cargo bench --bench registries`; `-- consul`, `-- eureka`, `-- zookeeper`, `-- acknowledged` and `-- idle` are its parts. The servers are those that
//! `eval "$(tests/servers/install --env)"` names; what is missing is named and left out. CPU is that of the program's
//! process with the kernel's share, memory is resident.

// A bench is like a test: it stops at the first thing that goes wrong.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it fails by panicking, and shares files with the tests and with another bench"
)]

mod acknowledged;
mod consul;
mod eureka;
#[path = "../fanout/meter.rs"]
mod meter;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod watcher;
mod zookeeper;

/// Small and large, in services.
const SIZES: [u32; 2] = [100, 10_000];
const INSTANCES: u32 = 10;
/// The claim: a change beside the large catalogue costs at most so many times one beside the small.
const GROWTH: f64 = 2.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|a| a == "--bench") {
        return println!("takes many minutes: cargo bench --bench registries");
    }
    let parts: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    let mut held = true;
    for (part, variable) in [
        ("consul", "CHANDLER_CONSUL"),
        ("eureka", "CHANDLER_EUREKA"),
        ("zookeeper", "CHANDLER_ZOOKEEPER"),
        ("acknowledged", "CHANDLER_ISTIOD_1_18"),
        ("idle", "CHANDLER_CONSUL"),
    ] {
        if !wanted(part) {
            continue;
        }
        if std::env::var_os(variable).is_none() {
            println!("left out: {part}: {variable} names none");
            continue;
        }
        held &= match part {
            "consul" => consul::bench().await,
            "eureka" => eureka::bench().await,
            "zookeeper" => zookeeper::bench().await,
            "acknowledged" => acknowledged::bench().await,
            _ => consul::idle().await,
        };
        println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    }
    assert!(held, "more than claimed");
}
