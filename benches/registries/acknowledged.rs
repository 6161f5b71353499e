//! From the creation of a znode to istiod's acknowledgement: what a Dubbo provider that has just registered waits for
//! before the control plane knows it. How istiod and its proxies go on is theirs.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use zookeeper_client as zk;

use crate::subject::QUIET;
use crate::support::{Age, Chandler, Istiod, ZooKeeper};

/// The claim: p99 over the quiet time.
const BEYOND: Duration = Duration::from_millis(100);
/// Interfaces, each of an application of its own, with one provider each.
const SIZES: [u32; 2] = [100, 1000];
const CHANGES: u32 = 100;
/// From calm: what waits is the quiet time alone.
const CALM: Duration = Duration::from_millis(1200);
/// Until istiod is done with what it was told first.
const SETTLED: Duration = Duration::from_secs(5);
/// How often the program is asked what was acknowledged.
const LOOK: Duration = Duration::from_millis(2);
const PERSISTENT: zk::CreateOptions<'static> = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
const EPHEMERAL: zk::CreateOptions<'static> = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());

fn folder(n: u32) -> String {
    format!("/dubbo/com.example.Interface{n}/providers")
}

fn provider(n: u32, address: &str) -> String {
    let url = format!(
        "dubbo%3A%2F%2F{address}%3A20880%2Fcom.example.Interface{n}%3Fapplication%3Dapp-{n}%26methods%3Dlist%26side%3Dprovider"
    );
    format!("{}/{url}", folder(n))
}

/// Whether the claim holds beside each size.
pub(crate) async fn bench() -> bool {
    println!("ZooKeeper 3.8, from a provider's znode to istiod 1.18.7's acknowledgement");
    let mut held = true;
    for size in SIZES {
        let server = ZooKeeper::build().start().await;
        let client = server.client().await;
        for n in 0..size {
            client.mkdir(&folder(n), &PERSISTENT).await.unwrap();
            client.create(&provider(n, "10.1.0.1"), b"", &EPHEMERAL).await.unwrap();
        }
        let registries = format!("- name: zk\n  zookeeper: {{servers: ['{}']}}", server.address());
        let mut chandler = Chandler::build().registries(&registries).start().await;
        chandler.synced().await;
        let _istiod = Istiod::start(Age::V1_18, chandler.grpc, "").await;
        sleep(SETTLED).await;
        let mut took = Vec::new();
        for turn in 0..CHANGES {
            sleep(CALM).await;
            let before = acknowledged(&chandler, None).await;
            let path = provider(turn * 7919 % size, &format!("10.2.{}.{}", turn >> 8, turn & 255));
            client.create(&path, b"", &EPHEMERAL).await.unwrap();
            let since = Instant::now();
            acknowledged(&chandler, Some(&before)).await;
            took.push(since.elapsed());
        }
        took.sort();
        let of = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
        println!(
            "  beside {size} services: p50 {:.1?} p90 {:.1?} p99 {:.1?} worst {:.1?} of {}; p99 at most {:?}",
            of(50),
            of(90),
            of(99),
            of(100),
            took.len(),
            QUIET + BEYOND
        );
        held &= of(99) <= QUIET + BEYOND;
    }
    held
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
