//! Eureka: a server with all its caches at their defaults but for the sizes of tests; polled every second.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::subject::{QUIET, Subject};
use crate::support::{Eureka, instance};
use crate::{GROWTH, INSTANCES, SIZES};

/// How often the program asks in this bench.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// How long the server's answers may be old, as `Eureka::build` sets it.
pub(crate) const CACHE: Duration = Duration::from_millis(500);
/// Beside a poll and the server's cache: the claim of Consul.
const BEYOND: Duration = Duration::from_millis(100);
/// Changes that are measured beside each size.
const CHANGES: u32 = 25;
/// By then a change is long through: two polls, and its own repetition in the next answers.
const WINDOW: Duration = Duration::from_millis(3000);
/// Connections that register side by side.
const REGISTERING: usize = 4;

/// As `service-17`, the third instance.
fn one(service: u32, number: u32) -> Value {
    let n = service * INSTANCES + number;
    let address = format!("10.{}.{}.{}", 100 + (n >> 16), n >> 8 & 255, n & 255);
    let mut one = instance(&format!("service-{service}"), &address, 8080, 100_000);
    one["instance"]["instanceId"] = json!(format!("host-{n}:service-{service}:8080"));
    one["instance"]["metadata"] =
        json!({"management.port": "8081", "version": "1.4.2", "zone": "eu-west-1a"});
    one
}

/// A server of so many applications, of whose registration nothing is news any more.
pub(crate) async fn load(services: u32) -> Eureka {
    let server = Eureka::build()
        .environment("_JAVA_OPTIONS", "-Xmx3g")
        .property("server.tomcat.max-keep-alive-requests", "-1")
        .property("logging.level.com.netflix", "WARN")
        // What was registered is not news for three minutes.
        .property("eureka.server.retention-time-in-m-s-in-delta-queue", "5000")
        .property("eureka.server.delta-retention-timer-interval-in-ms", "1000")
        .start()
        .await;
    let all: Vec<Value> = (0..services).flat_map(|s| (0..INSTANCES).map(move |n| one(s, n))).collect();
    let share = all.len().div_ceil(REGISTERING);
    let registering = all.chunks(share).map(|some| async {
        for some in some.chunks(2000) {
            server.register_all(some).await;
        }
    });
    futures_util::future::join_all(registering).await;
    // Its answers are as old as its cache, which such a catalogue keeps busy; then what was registered is news no more.
    while server.apps("").await["applications"]["application"].as_array().map_or(0, Vec::len)
        < services as usize
    {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(8)).await;
    server
}

/// The program's `registries`.
pub(crate) fn registry(server: &Eureka) -> String {
    format!(
        "- name: spring\n  eureka: {{servers: ['http://{}/eureka'], interval: {}s, settle: 0s, \
         limits: {{body: 256MiB}}}}",
        server.address(),
        POLL.as_secs()
    )
}

/// The first instance of an application moves to an address that nobody had.
pub(crate) async fn moves(server: &Eureka, services: u32, turn: u32) -> String {
    let address = format!("10.250.{}.{}", turn >> 8, turn & 255);
    let mut one = one(turn * 7919 % services, 0);
    one["instance"]["ipAddr"] = json!(address);
    server.register(&one).await;
    address
}

/// First read and changes; whether the claims hold.
pub(crate) async fn bench() -> bool {
    println!(
        "Eureka (Spring Cloud Netflix 5.0.0), applications of {INSTANCES} instances, polled every {POLL:?}"
    );
    let (mut costs, mut held) = (Vec::new(), true);
    for services in SIZES {
        let since = Instant::now();
        let server = load(services).await;
        println!("  {services} applications registered in {:.0?}", since.elapsed());
        let (mut subject, first) = Subject::start(&registry(&server), services as usize).await;
        sleep(Duration::from_secs(3)).await;
        first.print(subject.resident_mib());
        let changes =
            subject.changes(CHANGES, WINDOW, async |turn| moves(&server, services, turn).await).await;
        changes.print("an instance moves");
        held &= changes.within(99) <= POLL + CACHE + QUIET + BEYOND;
        costs.push(changes.cpu);
    }
    println!(
        "  CPU of a change beside {} applications over one beside {}: {:.2}x (at most {GROWTH}x, or 5 ms more); p99 at most {:?}",
        SIZES[1],
        SIZES[0],
        costs[1] / costs[0],
        POLL + CACHE + QUIET + BEYOND
    );
    held && (costs[1] <= GROWTH * costs[0] || costs[1] - costs[0] <= 5000.0)
}
