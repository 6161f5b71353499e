//! The Kubernetes sink against the real API server and etcd, in the whole program: what writing a catalogue for the first time costs
//! us beside what it costs the API server, what one changed endpoint and doing nothing cost in requests, and what an
//! object that is looked after costs in memory.
//!
//! `cargo bench --bench kubernetes`; `-- inline` and `-- workloads` are its parts, and a number is how many services. The servers are those that
//! `eval "$(tests/servers/install --env)"` names; what is missing is named and left out. CPU is that of each process with the
//! kernel's share, memory is resident. The same program with the same services and no sink is measured first: the
//! difference is the sink's.

// A bench is like a test: it stops at the first thing that goes wrong.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it fails by panicking, and shares files with the tests"
)]

mod cluster;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod usage;

use cluster::Cluster;
use subject::Subject;
use tokio::time::Instant;

/// The claim: so much of the API server's CPU, in percent.
const SHARE: f64 = 10.0;
/// The claim: bytes that an object costs us for as long as it is looked after. It is some two thousand in the API server's
/// answer; what is kept is its name, its hash and its labels …
const OBJECT: u64 = 2048;
/// … beside what a sink needs whatever it writes: connections with their buffers, certificates, what the allocator keeps.
const SINK: u64 = 10 << 20;
/// How many renewals of the Lease nothing happens.
const RENEWALS: u64 = 10;

/// In which objects services are written, and how many.
struct Part {
    name: &'static str,
    form: &'static str,
    services: usize,
    /// Requests that one changed endpoint may cost.
    change: u64,
}

const PARTS: [Part; 2] = [
    Part { name: "inline", form: "inline", services: 10_000, change: 1 },
    Part { name: "workloads", form: "workloadEntries", services: 10_000, change: 2 },
];
const ENDPOINTS: usize = 5;

impl Part {
    fn objects(&self) -> usize {
        if self.form == "inline" { self.services } else { self.services * (1 + ENDPOINTS) }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|a| a == "--bench") {
        return println!("takes many minutes: cargo bench --bench kubernetes");
    }
    let missing =
        ["CHANDLER_KUBE_APISERVER", "CHANDLER_ETCD"].into_iter().find(|v| std::env::var_os(v).is_none());
    if let Some(variable) = missing {
        return println!("left out: kubernetes: {variable} names none");
    }
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    let mut held = true;
    let (sizes, wanted): (Vec<&str>, Vec<&str>) =
        wanted.into_iter().partition(|a| a.parse::<usize>().is_ok());
    for part in PARTS.iter().filter(|p| wanted.is_empty() || wanted.contains(&p.name)) {
        let services = sizes.first().map_or(part.services, |n| n.parse().unwrap());
        held &= bench(&Part { services, ..*part }).await;
        println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    }
    assert!(held, "more than claimed");
}

/// Whether the claims hold.
async fn bench(part: &Part) -> bool {
    let (services, objects) = (part.services, part.objects());
    println!("{services} services of {ENDPOINTS} endpoints as {objects} objects ({})", part.form);
    let alone = Subject::alone(services).await.settled().await;
    println!("  without a sink: {:.2} CPU s, {} MiB resident", alone.cpu, alone.resident >> 20);

    let mut cluster = Cluster::start().await;
    let (began, idle) = (Instant::now(), cluster.cpu());
    let subject = Subject::writing(services, part.form, &cluster).await;
    subject.in_step(objects).await;
    let took = began.elapsed().as_secs_f64();
    let written = subject.settled().await;
    let [theirs, etcd] = cluster.settled().await;
    let (theirs, etcd) = (theirs - idle[0], etcd - idle[1]);
    let (sink, requests) = (written.cpu - alone.cpu, subject.requests().await.of("PATCH"));
    let (share, whole) = (sink / theirs * 100.0, written.cpu / theirs * 100.0);
    println!(
        "  first written in {took:.1} s by {requests} requests: {sink:.2} CPU s of the sink's, {theirs:.1} of the API server's \
         ({share:.1} %, at most {SHARE} %; with reading and converting {whole:.1} %), {etcd:.1} of etcd's"
    );
    let more = written.resident.saturating_sub(alone.resident);
    let most = SINK + OBJECT * objects as u64;
    println!(
        "  {} MiB resident, peak {}: {more} bytes more than without a sink, {} for each object (at most {most} in all)",
        written.resident >> 20,
        written.peak >> 20,
        more / objects as u64
    );
    let change = subject.change(&cluster, part.form).await;
    println!("  one endpoint changed: {change} requests (at most {})", part.change);
    let quiet = subject.quiet(&mut cluster, RENEWALS).await;
    println!(
        "  {RENEWALS} renewals of the Lease without a change: {quiet} requests beside them and the watches (none)"
    );
    requests == objects as u64 && share < SHARE && more < most && change <= part.change && quiet == 0
}
