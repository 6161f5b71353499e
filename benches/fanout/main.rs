//! What it costs to give many control planes their first full answer: 10,000 ServiceEntries of 5 endpoints each, to 100
//! streams of one connection each, over either wire; beside it, in the same run, the same bytes written to as many bare TCP
//! sockets, and the servers of others with the same resources. Then the same over mutual TLS beside rustls alone; what a
//! stream costs whose client never reads, and one that has everything; and 1,000 clients that come at once.
//!
//! `cargo bench --bench fanout`; `-- plain`, `-- tls` and `-- crowd` are its parts. The clients are another process (this
//! program again), which uses istiod's windows and frame size. CPU is that of the server's threads (the kernel's share
//! included), memory is resident, socket buffers excluded by nature. Rivals are left out, by name, where they are not to be
//! had: go-control-plane is built with Go, istiod and Galley are what `CHANDLER_ISTIOD_1_18` and `CHANDLER_GALLEY` name
//! (`eval "$(tests/servers/install --env)"`).

// A bench is like a test: it stops at the first thing that goes wrong.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it fails by panicking, and shares a file with the tests"
)]

#[path = "../../tests/tls/authority.rs"]
mod authority;
mod client;
mod meter;
mod ours;
mod rivals;
mod tls;
mod wire;

use bytes::Bytes;
use chandler::model::labels::Labels;
use chandler::proto::networking::{ServiceEntry, ServicePort, WorkloadEntry};
use chandler::resource::collection::Collection;
use chandler::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use prost::Message;

use client::{Clients, Role, Target};
use meter::{Cost, Meter};
use ours::{Bare, Rig};
use rivals::Rival;
use wire::Wire;

const SERVICES: usize = 10_000;
const ENDPOINTS: u8 = 5;
const STREAMS: usize = 100;
const STALLED: usize = 400;
const CROWD: usize = 1000;
const ROUNDS: usize = 7;
/// The claims: CPU over bare sockets, and KiB for a stalled stream.
const LIMITS: (f64, f64) = (3.0, 64.0);
/// And for something that does not concern a stream: at most this share of what its first answer took.
const UNCHANGED: f64 = 0.02;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if arguments.get(1).is_some_and(|a| a == "--client") {
        return runtime.block_on(client::live(&arguments[2..]));
    }
    if arguments.get(1).is_some_and(|a| a == "--crowd") {
        return runtime.block_on(one_crowd(Wire::of(&arguments[2]), &arguments[3]));
    }
    if !arguments.iter().any(|a| a == "--bench") {
        return println!("takes a few minutes: cargo bench --bench fanout");
    }
    let parts: Vec<&str> =
        arguments[1..].iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    runtime.block_on(bench(&|part| parts.is_empty() || parts.contains(&part)));
}

async fn bench(wanted: &dyn Fn(&str) -> bool) {
    let services = services();
    let message = ours::whole(&services);
    let folder = tempfile::tempdir().unwrap();
    tls::certificates(folder.path());
    let mut held = true;
    if wanted("plain") {
        held &= plain(&services, &message, folder.path()).await;
    }
    if wanted("tls") {
        held &= tls::compare(&services, &message, folder.path()).await;
    }
    if wanted("crowd") {
        crowd(folder.path());
    }
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    assert!(held, "more than claimed");
}

/// A row of the table.
struct Row {
    name: &'static str,
    rounds: Vec<Cost>,
    /// The size of an answer.
    bytes: usize,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, (cost, bytes): (Cost, usize)) {
        self.rounds.push(cost);
        self.bytes = bytes;
    }

    /// The round of median CPU, with the most memory of all rounds: a process that keeps what it once had takes little
    /// more later.
    fn cost(&self) -> Cost {
        let mut rounds = self.rounds.clone();
        rounds.sort_by_key(|c| c.cpu);
        let memory = rounds.iter().map(|c| c.memory).max().unwrap();
        Cost { memory, ..rounds[rounds.len() / 2] }
    }
}

/// Everybody in plaintext; whether the claims hold.
async fn plain(services: &[Encoded], message: &Bytes, folder: &std::path::Path) -> bool {
    let (rig, feed) = (Rig::start(None).await, Rig::start(None).await);
    feed.publish(services);
    let file = folder.join("resources");
    std::fs::write(&file, message).unwrap();
    let rivals = [
        ("go-control-plane", rivals::go_control_plane(&file).await),
        ("istiod 1.18.7", rivals::istiod(feed.target.address, folder).await),
        ("Galley 1.5.10", rivals::galley(folder).await),
    ];
    let bare = Bare::open(None).await;
    let mut rows = vec![Row::new("bare TCP sockets"), Row::new("chandler, xDS"), Row::new("chandler, MCP")];
    let there: Vec<&Rival> = rivals.iter().filter_map(|(_, rival)| rival.as_ref().ok()).collect();
    rows.extend(there.iter().map(|rival| Row::new(rival.name)));
    // In turn, so that whatever else the machine does meets them all.
    for _ in 0..ROUNDS {
        rows[0].add(bare.round(message).await);
        rows[1].add(rig.round(Wire::Xds, services).await);
        rows[2].add(rig.round(Wire::Mcp, services).await);
        for (row, rival) in rows[3..].iter_mut().zip(&there) {
            row.add(rival.round().await);
        }
    }
    println!(
        "{SERVICES} ServiceEntries of {ENDPOINTS} endpoints to {STREAMS} streams of one connection each; median of \
         {ROUNDS} rounds (ours at most {}x the bare sockets)",
        LIMITS.0
    );
    print(&rows);
    for (name, reason) in rivals.iter().filter_map(|(name, rival)| Some((name, rival.as_ref().err()?))) {
        println!("left out: {name}: {reason}");
    }
    let mut held = true;
    for (wire, row) in [Wire::Xds, Wire::Mcp].into_iter().zip(&rows[1..]) {
        let first = row.cost().cpu / u32::try_from(STREAMS).unwrap();
        let unchanged = rig.unchanged(wire, services).await;
        let stalled = rig.stalled(wire, services).await / 1024.0;
        println!(
            "{}: a stalled stream takes {stalled:.1} KiB, of {STALLED} (at most {}); a publication of something else \
             {:.1} us of CPU for each stream (its first answer {:.0} us), and sends nothing",
            wire.name(),
            LIMITS.1,
            unchanged.as_secs_f64() * 1e6,
            first.as_secs_f64() * 1e6
        );
        held &= row.cost().cpu.as_secs_f64() / rows[0].cost().cpu.as_secs_f64() <= LIMITS.0
            && stalled <= LIMITS.1
            && unchanged <= first.mul_f64(UNCHANGED);
    }
    held
}

/// All control planes of a large mesh after a restart. Printed, not judged: clients and server share the machine. Each
/// server is a process of its own, for one that had much before takes little more.
fn crowd(folder: &std::path::Path) {
    println!("\n{CROWD} clients at once, each its first full answer, until the last has acknowledged");
    println!(
        "{:30} {:>9} {:>9} {:>16} {:>20} {:>10}",
        "", "CPU s", "wall s", "peak memory MiB", "each, quiet, KiB", "retries"
    );
    for folder in ["", folder.to_str().unwrap()] {
        for wire in [Wire::Xds, Wire::Mcp] {
            let server = std::env::current_exe().unwrap();
            let ended = std::process::Command::new(server).args(["--crowd", wire.name(), folder]).status();
            assert!(ended.unwrap().success());
        }
    }
}

/// The life of such a server, with certificates or none.
async fn one_crowd(wire: Wire, folder: &str) {
    let tls = (!folder.is_empty()).then(|| std::path::Path::new(folder));
    let (rig, services) = (Rig::start(tls).await, services());
    let (cost, each, again) = rig.crowd(wire, CROWD, &services).await;
    let (cpu, wall) = (cost.cpu.as_secs_f64(), cost.wall.as_secs_f64());
    let (memory, each) = (cost.memory as f64 / f64::from(1 << 20), each / 1024.0);
    let name = format!("{}{}", wire.name(), if tls.is_some() { ", mutual TLS" } else { "" });
    println!("{name:30} {cpu:>9.2} {wall:>9.2} {memory:>16.1} {each:>20.1} {again:>10}");
}

fn print(rows: &[Row]) {
    println!("{:30} {:>9} {:>9} {:>9} {:>11} {:>9}", "", "MB each", "CPU s", "wall s", "memory MiB", "CPU");
    let bare = rows[0].cost().cpu.as_secs_f64();
    for row in rows {
        let (cost, megabytes) = (row.cost(), row.bytes as f64 / 1e6);
        let (cpu, wall) = (cost.cpu.as_secs_f64(), cost.wall.as_secs_f64());
        let (memory, ratio) = (cost.memory as f64 / f64::from(1 << 20), cpu / bare);
        println!("{:30} {megabytes:>9.2} {cpu:>9.3} {wall:>9.3} {memory:>11.1} {ratio:>8.2}x", row.name);
    }
}

/// From the word to the last whole answer; returns the size of an answer too.
async fn measured(target: &Target, role: Role, start: impl FnOnce() -> Meter) -> (Cost, usize) {
    let mut clients = Clients::start(role, target, STREAMS);
    let meter = start();
    clients.go().await;
    clients.done().await;
    let cost = meter.stop();
    let left = clients.leave().await;
    assert_eq!(left.resources, SERVICES, "{target:?} does not serve the same");
    (cost, left.bytes)
}

/// A service as one looks that comes from a registry.
fn services() -> Vec<Encoded> {
    let one = |n: usize| {
        let host = format!("service-{n:05}.eureka");
        let endpoint = |e: u8| WorkloadEntry {
            address: format!("10.{}.{}.{}", n >> 8, n & 255, e + 1),
            labels: [("version".to_owned(), "v1".to_owned())].into(),
            locality: "eu-west-1/eu-west-1a".into(),
            ..Default::default()
        };
        let port =
            ServicePort { number: 80, target_port: 8080, protocol: "HTTP".into(), name: "http-80".into() };
        let spec = ServiceEntry {
            hosts: vec![host.clone()],
            addresses: vec![format!("244.{}.{}.1", n >> 8, n & 255)],
            ports: vec![port],
            location: 0,
            resolution: 1,
            endpoints: (0..ENDPOINTS).map(endpoint).collect(),
            ..Default::default()
        };
        let id =
            ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("chandler", &host) };
        let annotations =
            [("chandler/registry", "prod"), ("chandler/service", "SERVICE")].into_iter().collect();
        Encoded::new(id, Labels::EMPTY, annotations, spec.encode_to_vec().into(), TopologyHash::default())
    };
    (0..SERVICES).map(one).collect()
}
