//! Ten thousand services with fifty thousand endpoints, then one endpoint, then nothing: what it costs.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{chandler, cluster, in_step, requests, row, until};
use crate::needs;
use crate::support::eventually;

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 5;
/// Nobody waits for it unless something is wrong.
const LONG: Duration = Duration::from_secs(1200);

fn services(changed: Option<&str>) -> String {
    let one = |n: usize| -> Value {
        let address = |e: usize| format!("10.{}.{}.{e}", n / 250, n % 250);
        let mut endpoints: Vec<Value> = (1..=ENDPOINTS).map(|e| json!({"address": address(e)})).collect();
        if let (5000, Some(address)) = (n, changed) {
            endpoints[0] = json!({"address": address});
        }
        json!({"name": format!("s{n}"), "hosts": [format!("s{n}.example.internal")], "ports": [{"number": 80, "protocol": "HTTP"}], "endpoints": endpoints})
    };
    json!({"services": (0..SERVICES).map(one).collect::<Vec<_>>()}).to_string()
}

/// Seconds of CPU that a process has used, and its resident bytes.
fn used(pid: u32) -> (f64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = [11, 12].iter().map(|i| fields[*i].parse::<f64>().unwrap()).sum();
    (ticks / 100.0, fields[21].parse::<u64>().unwrap() * 4096)
}

#[tokio::test]
async fn ten_thousand_services_cost_the_api_server_far_more_than_us() {
    needs!(KubeApiserver, Etcd, LongRuns);
    let mut api = cluster().await;
    let client = api.client();
    let began = Instant::now();
    let mut chandler = chandler(&api, "inline", "").service_file("all.yaml", &services(None)).start().await;
    let ours = used(chandler.process().pid());
    let theirs = used(api.process().pid());
    eventually("everything to be written", LONG, async || {
        let row = row(&chandler).await;
        (in_step(&row) && row["wanted"] == SERVICES).then_some(())
    })
    .await;
    let took = began.elapsed();
    let (ours, ours_before) = (used(chandler.process().pid()), ours);
    let theirs = used(api.process().pid()).0 - theirs.0;
    let patches = requests(&chandler, "PATCH").await;
    eprintln!(
        "{SERVICES} services with {ENDPOINTS} endpoints each, first written in {took:.1?}: {patches} requests; \
         CPU ours {:.1} s (converting included), the API server's {theirs:.1} s; resident {} MiB",
        ours.0 - ours_before.0,
        ours.1 >> 20,
    );
    chandler.write_services("all.yaml", &services(Some("192.0.2.1")));
    until(&client, "serviceentries", "s5000.example.internal", "to follow", |o| {
        o["spec"]["endpoints"].to_string().contains("192.0.2.1")
    })
    .await;
    eventually("everything to be written", LONG, async || in_step(&row(&chandler).await).then_some(())).await;
    let one = requests(&chandler, "PATCH").await - patches;
    eprintln!("one endpoint changed: {one} requests");
    assert_eq!(one, 1);
    let gets = requests(&chandler, "GET").await;
    // The Lease is renewed ten times, and that is all.
    let renewals = requests(&chandler, "PUT").await;
    eventually("renewals", LONG, async || (requests(&chandler, "PUT").await >= renewals + 10).then_some(()))
        .await;
    let quiet = requests(&chandler, "GET").await - gets;
    eprintln!(
        "ten renewals of the lease without a change: {quiet} reads, {} writes of objects",
        requests(&chandler, "PATCH").await - patches - one
    );
    assert_eq!(quiet, 0, "nothing is read beside the watches");
}
