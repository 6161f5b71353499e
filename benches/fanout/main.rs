//! What it costs to give many control planes their first full answer: 10,000 ServiceEntries of 5 endpoints each, to 100
//! streams of one connection each; beside it, in the same run, the same bytes written to as many bare TCP sockets, and
//! the servers of others with the same resources. Then what a stream costs whose client never reads.
//!
//! `cargo bench --bench fanout`. The clients are another process (this program again), which uses istiod's windows and
//! frame size. CPU is that of the server's threads (the kernel's share included), memory is resident, socket buffers
//! excluded by nature. Rivals are left out, by name, where they are not to be had: go-control-plane is built with Go,
//! istiod is what `CHANDLER_ISTIOD_1_18` names (`eval "$(tests/servers/install --env)"`).

// A bench is like a test: it stops at the first thing that goes wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod client;
mod meter;
mod ours;
mod rivals;

use std::net::SocketAddr;

use chandler::model::labels::Labels;
use chandler::proto::networking::{ServiceEntry, ServicePort, WorkloadEntry};
use chandler::resource::collection::Collection;
use chandler::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use prost::Message;

use client::{Clients, Role};
use meter::{Cost, Meter};
use ours::Rig;
use rivals::Rival;

const SERVICES: usize = 10_000;
const ENDPOINTS: u8 = 5;
const STREAMS: usize = 100;
const STALLED: usize = 400;
const ROUNDS: usize = 7;
/// As istiod 1.18.7 names it; ours and go-control-plane take any.
const TYPE_URL: &str = "networking.istio.io/v1alpha3/ServiceEntry";
/// The claims: CPU over bare sockets, and KiB for a stalled stream.
const LIMITS: (f64, f64) = (3.0, 64.0);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("--client") => runtime.block_on(client::live(&arguments[2], arguments[3].parse().unwrap())),
        Some("--bench") => runtime.block_on(bench()),
        _ => println!("takes a few minutes: cargo bench --bench fanout"),
    }
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

async fn bench() {
    let services = services();
    let message = ours::whole(&services);
    let folder = tempfile::tempdir().unwrap();
    let (rig, feed) = (Rig::start().await, Rig::start().await);
    feed.publish(&services);
    let file = folder.path().join("resources");
    std::fs::write(&file, &message).unwrap();
    let rivals = [
        ("go-control-plane", rivals::go_control_plane(&file).await),
        ("istiod 1.18.7", rivals::istiod(feed.address, folder.path()).await),
    ];
    let mut rows = vec![Row::new("bare TCP sockets"), Row::new("chandler, xDS")];
    let there: Vec<&Rival> = rivals.iter().filter_map(|(_, rival)| rival.as_ref().ok()).collect();
    rows.extend(there.iter().map(|rival| Row::new(rival.name)));
    // In turn, so that whatever else the machine does meets them all.
    for _ in 0..ROUNDS {
        rows[0].add(ours::bare_round(&message).await);
        rows[1].add(rig.round(&services).await);
        for (row, rival) in rows[2..].iter_mut().zip(&there) {
            row.add(rival.round().await);
        }
    }
    print(&rows);
    for (name, reason) in rivals.iter().filter_map(|(name, rival)| Some((name, rival.as_ref().err()?))) {
        println!("left out: {name}: {reason}");
    }
    let stalled = rig.stalled(&services).await / 1024.0;
    println!("a stalled stream takes {stalled:.1} KiB, of {STALLED} (at most {})", LIMITS.1);
    let over = rows[1].cost().cpu.as_secs_f64() / rows[0].cost().cpu.as_secs_f64();
    assert!(over <= LIMITS.0 && stalled <= LIMITS.1, "more than claimed");
}

fn print(rows: &[Row]) {
    println!(
        "{SERVICES} ServiceEntries of {ENDPOINTS} endpoints to {STREAMS} streams of one connection each; median of \
         {ROUNDS} rounds (at most {}x the bare sockets)",
        LIMITS.0
    );
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
async fn measured(address: SocketAddr, start: impl FnOnce() -> Meter) -> (Cost, usize) {
    let mut clients = Clients::start(Role::Xds, address);
    let meter = start();
    clients.go().await;
    clients.done().await;
    let cost = meter.stop();
    let (bytes, resources) = clients.leave().await;
    assert_eq!(resources, SERVICES, "{address} does not serve the same");
    (cost, bytes)
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
