//! Applications that call what is in Eureka: by host, and through a Spring Cloud client that knows of no mesh.

use std::time::Duration;

use crate::mesh::{FIRST, Mesh, SECOND, address};
use crate::support::{Age, Calls, Eureka, PATIENCE, POD_ADDRESS, Place, Spring, eventually, instance, tally};

const EVERY: Duration = Duration::from_millis(5);
const CLUSTER: &str = "outbound|8080||orders.eureka";
/// Seconds, longer than any test: nobody renews.
const LEASE: u32 = 3_600;

fn at(ip: &str) -> String {
    format!("{ip}:8080")
}

fn id(ip: &str) -> String {
    format!("{ip}:orders:8080")
}

/// A server in `place`, and the registry that reads it, with the default mapping but for `map`.
async fn server(place: &Place, map: &str) -> (Eureka, String) {
    let eureka = Eureka::build().place(place).start().await;
    eureka.register(&instance("orders", FIRST, 8080, LEASE)).await;
    let registry = format!(
        "- name: spring\n  eureka: {{servers: ['http://{}/eureka'], interval: 200ms, settle: 0s}}\n  map: {map}",
        eureka.address()
    );
    (eureka, registry)
}

#[tokio::test]
async fn orders_by_its_host_are_taken_and_follow_changes() {
    needs!(Eureka, Istiod118, Envoy, Probe, Namespace);
    by_host(Age::V1_18).await;
}

#[tokio::test]
async fn orders_by_its_host_are_taken_behind_the_newest_istiod_too() {
    needs!(Eureka, IstiodNewest, Envoy, Probe, Namespace);
    by_host(Age::Newest).await;
}

async fn by_host(age: Age) {
    let place = Mesh::place().await;
    let (eureka, registry) = server(&place, "{}").await;
    let mut mesh = Mesh::of_registry(age, &place, &registry).await;
    mesh.http("first", &at(FIRST)).await;
    mesh.http("second", &at(SECOND)).await;
    let virtual_address = mesh.captured("orders.eureka").await;
    mesh.envoy.listener("0.0.0.0_8080").await;
    mesh.envoy.hosts_are(CLUSTER, &[&at(FIRST)]).await;
    let (url, to) = ("http://orders.eureka:8080/", address(&format!("{virtual_address}:8080")));
    // Looked at only at the end: nothing that it saw is passed over on the way.
    let mut witness = Calls::http(&place, url, to, EVERY);
    let mut calls = Calls::http(&place, url, to, EVERY);
    calls.answered_by("first").await;
    eureka.register(&instance("orders", SECOND, 8080, LEASE)).await;
    calls.answered_by("second").await;
    eureka.cancel("ORDERS", &id(FIRST)).await;
    mesh.envoy.hosts_are(CLUSTER, &[&at(SECOND)]).await;
    calls.so_far();
    calls.answered_by("second").await;
    mesh.end("first").await;
    calls.so_far();
    calls.answered_by("second").await;
    let counts = tally(&witness.stop().await);
    let strange = counts.keys().find(|who| !["first", "second"].contains(&who.as_str()));
    assert!(strange.is_none() && counts.contains_key("second"), "{counts:?}");
    mesh.only_used(&[CLUSTER]).await;
}

/// How often the client asks Eureka: seldom enough for the mesh to be ahead of it, as with the defaults of both (Spring's
/// 30 s against our 10 s). `await_fetch` makes the order certain.
const FETCH: &str = "20";

/// Waits until the client has just asked Eureka: from here on it believes what it knows for the time of `FETCH`.
async fn await_fetch(client: &Spring, eureka: &Eureka, marker: &str) {
    eureka.register(&instance(marker, POD_ADDRESS, 1, LEASE)).await;
    let told = async || (!client.knows(marker).await.is_empty()).then_some(());
    eventually("the client's next fetch", PATIENCE, told).await;
}

/// One call through the client's load balancer: who answered.
async fn answer(client: &Spring) -> String {
    let answer = client.call("orders", "/").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.ok()["name"].as_str().expect("a name").to_owned()
}

/// Calls until `who` answers; all before are answered as well.
async fn answered_by(client: &Spring, who: &str) {
    eventually(who, PATIENCE, async || (answer(client).await == who).then_some(())).await;
}

#[tokio::test]
async fn calls_of_an_unmodified_spring_client_are_taken_and_follow_changes() {
    needs!(Eureka, Spring, Istiod118, Envoy, Probe, Namespace);
    let place = Mesh::place().await;
    let (eureka, registry) = server(&place, "{addresses: endpoints}").await;
    let mut mesh = Mesh::of_registry(Age::V1_18, &place, &registry).await;
    mesh.http("first", &at(FIRST)).await;
    mesh.http("second", &at(SECOND)).await;
    mesh.envoy.listener("10.20.0.1_8080").await;
    mesh.envoy.hosts_are(CLUSTER, &[&at(FIRST)]).await;
    let shop = Spring::build("shop").place(&place).unregistered();
    let shop = shop.property("eureka.client.registry-fetch-interval-seconds", FETCH).start(&eureka).await;
    assert_eq!(answer(&shop).await, "first");

    await_fetch(&shop, &eureka, "before-registration").await;
    eureka.register(&instance("orders", SECOND, 8080, LEASE)).await;
    mesh.envoy.listener("10.20.0.2_8080").await;
    mesh.envoy.hosts_are(CLUSTER, &[&at(FIRST), &at(SECOND)]).await;
    // Envoy chooses: the client still knows one only.
    assert_eq!(shop.knows("orders").await, [at(FIRST)]);
    answered_by(&shop, "second").await;
    await_fetch(&shop, &eureka, "before-deregistration").await;
    assert_eq!(shop.knows("orders").await, [at(FIRST), at(SECOND)]);
    answered_by(&shop, "first").await;

    eureka.cancel("ORDERS", &id(FIRST)).await;
    mesh.envoy.hosts_are(CLUSTER, &[&at(SECOND)]).await;
    mesh.end("first").await;
    // The client chooses the one that has gone as often as the other; the sidecar leads it to what is there.
    assert_eq!(shop.knows("orders").await, [at(FIRST), at(SECOND)]);
    for _ in 0..10 {
        assert_eq!(answer(&shop).await, "second");
    }
    await_fetch(&shop, &eureka, "after-deregistration").await;
    assert_eq!(shop.knows("orders").await, [at(SECOND)]);
    assert_eq!(answer(&shop).await, "second");
    mesh.only_used(&[CLUSTER]).await;
}
