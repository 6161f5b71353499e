//! From a registry's own acknowledgement of a change to istiod's: what an instance that has just registered waits for
//! before the control plane knows it. How istiod and its proxies go on is theirs.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use zookeeper_client as zk;

use crate::meter::Process;
use crate::subject::QUIET;
use crate::support::{Age, Chandler, Istiod, ZooKeeper};
use crate::{consul, eureka};

/// The claim: p99 over the quiet time, and over what a registry that has to be asked makes one wait.
const BEYOND: Duration = Duration::from_millis(100);
/// Services, each with a few instances.
const SIZES: [u32; 2] = [100, 1000];
const CHANGES: u32 = 100;
/// The same where each takes seconds.
const POLLED_CHANGES: u32 = 40;
/// From calm: what waits is the quiet time alone.
const CALM: Duration = Duration::from_millis(1200);
/// Until istiod is done with what it was told first.
const SETTLED: Duration = Duration::from_secs(5);
/// How often the program is asked what was acknowledged.
const LOOK: Duration = Duration::from_millis(2);
const PERSISTENT: zk::CreateOptions<'static> = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
const EPHEMERAL: zk::CreateOptions<'static> = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());

/// Whether the claims hold beside each size, registry by registry; one whose server is missing is left out by name.
pub(crate) async fn bench() -> bool {
    let mut held = true;
    for (registry, variable) in
        [("Consul", "CHANDLER_CONSUL"), ("Eureka", "CHANDLER_EUREKA"), ("ZooKeeper", "CHANDLER_ZOOKEEPER")]
    {
        if std::env::var_os(variable).is_none() {
            println!("left out: acknowledged of {registry}: {variable} names none");
            continue;
        }
        println!("{registry}, from its own acknowledgement of a change to istiod 1.18.7's");
        for size in SIZES {
            held &= match registry {
                "Consul" => consul_beside(size).await,
                "Eureka" => eureka_beside(size).await,
                _ => zookeeper_beside(size).await,
            };
        }
    }
    held
}

async fn consul_beside(size: u32) -> bool {
    let mut bench = consul::Bench::load(size).await;
    let mut chandler = served(&bench.registry(true)).await;
    let process = Process(chandler.process().pid().to_string());
    bench.armed(&process).await;
    let moved = async |turn| drop(bench.moves(size, turn).await);
    let took = changes(&chandler, CHANGES, moved).await;
    holds(size, &took, QUIET + BEYOND)
}

async fn eureka_beside(size: u32) -> bool {
    let server = eureka::load(size).await;
    let chandler = served(&eureka::registry(&server)).await;
    let moved = async |turn| drop(eureka::moves(&server, size, turn).await);
    let took = changes(&chandler, POLLED_CHANGES, moved).await;
    holds(size, &took, eureka::POLL + eureka::CACHE + QUIET + BEYOND)
}

/// Interfaces, each of an application of its own, with one provider each; providers come.
async fn zookeeper_beside(size: u32) -> bool {
    let server = ZooKeeper::build().start().await;
    let client = server.client().await;
    for n in 0..size {
        client.mkdir(&folder(n), &PERSISTENT).await.unwrap();
        client.create(&provider(n, "10.1.0.1"), b"", &EPHEMERAL).await.unwrap();
    }
    let chandler = served(&format!("- name: zk\n  zookeeper: {{servers: ['{}']}}", server.address())).await;
    let registered = async |turn| {
        let path = provider(turn * 7919 % size, &format!("10.2.{}.{}", turn >> 8, turn & 255));
        client.create(&path, b"", &EPHEMERAL).await.unwrap();
    };
    let took = changes(&chandler, CHANGES, registered).await;
    holds(size, &took, QUIET + BEYOND)
}

fn folder(n: u32) -> String {
    format!("/dubbo/com.example.Interface{n}/providers")
}

fn provider(n: u32, address: &str) -> String {
    let url = format!(
        "dubbo%3A%2F%2F{address}%3A20880%2Fcom.example.Interface{n}%3Fapplication%3Dapp-{n}%26methods%3Dlist%26side%3Dprovider"
    );
    format!("{}/{url}", folder(n))
}

/// The program, once it has read all of the registry.
async fn served(registries: &str) -> Chandler {
    let mut chandler = Chandler::build().registries(registries).start().await;
    chandler.synced().await;
    chandler
}

/// Changes something `turns` times, each time from calm: how long each took from the end of `change`, which is the
/// registry's yes, to the acknowledgement of an istiod that knows everything else already.
async fn changes(chandler: &Chandler, turns: u32, mut change: impl AsyncFnMut(u32)) -> Vec<Duration> {
    let _istiod = Istiod::start(Age::V1_18, chandler.grpc, "").await;
    sleep(SETTLED).await;
    let mut took = Vec::new();
    for turn in 0..turns {
        sleep(CALM).await;
        let before = acknowledged(chandler, None).await;
        change(turn).await;
        let since = Instant::now();
        acknowledged(chandler, Some(&before)).await;
        took.push(since.elapsed());
    }
    took.sort();
    took
}

/// Prints what changes took, sorted; whether 99 of 100 took at most `limit`.
fn holds(size: u32, took: &[Duration], limit: Duration) -> bool {
    let of = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
    println!(
        "  beside {size} services: p50 {:.1?} p90 {:.1?} p99 {:.1?} worst {:.1?} of {}; p99 at most {limit:?}",
        of(50),
        of(90),
        of(99),
        of(100),
        took.len()
    );
    of(99) <= limit
}

/// The version that istiod has acknowledged, once it is another than `had`.
async fn acknowledged(chandler: &Chandler, had: Option<&str>) -> String {
    loop {
        let clients = chandler.api("/api/v1/clients").await;
        let all = clients.as_array().or(clients["clients"].as_array()).unwrap();
        let watches =
            all.iter().filter(|c| c["wire"] == "xds").flat_map(|c| c["watches"].as_array()).flatten();
        let entries = watches.filter(|w| w["asked"].as_str().is_some_and(|a| a.ends_with("/ServiceEntry")));
        let versions: Vec<&str> = entries.filter_map(|w| w["acknowledged"].as_str()).collect();
        if let Some(version) = versions.first().filter(|version| Some(**version) != had) {
            return (*version).to_owned();
        }
        sleep(LOOK).await;
    }
}
