//! Applications that call what is in Consul by its DNS names, as they did before there was a mesh.

use std::time::Duration;

use serde_json::{Value, json};

use crate::mesh::{FIRST, Mesh, SECOND, address};
use crate::support::{Age, Calls, Consul, Place, tally};

const EVERY: Duration = Duration::from_millis(5);

#[tokio::test]
async fn http_by_the_name_that_consul_resolves_is_taken_and_follows_changes() {
    needs!(Consul, Istiod118, Envoy, Probe, Namespace);
    by_the_name_that_consul_resolves(Age::V1_18).await;
}

#[tokio::test]
async fn http_by_the_name_that_consul_resolves_is_taken_behind_the_newest_istiod_too() {
    needs!(Consul, IstiodNewest, Envoy, Probe, Namespace);
    by_the_name_that_consul_resolves(Age::Newest).await;
}

/// An agent in `place`, and the registry that reads it, with the default mapping but for `services`.
async fn agent(place: &Place, services: &str) -> (Consul, String) {
    let consul = Consul::build().place(place).start().await;
    let registry =
        format!("- name: prod\n  consul: {{address: 'http://{}'}}\n  services: {services}", consul.address());
    (consul, registry)
}

fn instance(service: &str, id: &str, ip: &str, port: u16, meta: &Value) -> Value {
    json!({"Name": service, "ID": id, "Address": ip, "Port": port, "Meta": meta})
}

/// What is registered says in its metadata that it speaks HTTP, as Consul's users do.
async fn by_the_name_that_consul_resolves(age: Age) {
    let place = Mesh::place().await;
    let (consul, registry) = agent(&place, "{}").await;
    let http = json!({"protocol": "http"});
    consul.register(&instance("web", "first", FIRST, 8080, &http)).await;
    let mut mesh = Mesh::of_registry(age, &place, &registry).await;
    let (first_at, second_at) = (format!("{FIRST}:8080"), format!("{SECOND}:8080"));
    mesh.http("first", &first_at).await;
    mesh.http("second", &second_at).await;
    let cluster = "outbound|8080||web.service.consul";
    mesh.envoy.listener("0.0.0.0_8080").await;
    mesh.envoy.hosts_are(cluster, &[&first_at]).await;
    let url = "http://web.service.consul:8080/";
    // The witness is looked at only at the end: nothing that it saw is passed over on the way.
    let mut witness = Calls::resolved_by(&place, consul.dns_address(), url, EVERY);
    let mut calls = Calls::resolved_by(&place, consul.dns_address(), url, EVERY);
    calls.answered_by("first").await;
    consul.register(&instance("web", "second", SECOND, 8080, &http)).await;
    calls.answered_by("second").await;
    consul.deregister("first").await;
    mesh.envoy.hosts_are(cluster, &[&second_at]).await;
    calls.so_far();
    calls.answered_by("second").await;
    // It goes when nobody calls it any more: an orderly end.
    mesh.end("first").await;
    calls.so_far();
    calls.answered_by("second").await;
    none_failed(&witness.stop().await);
    mesh.only_used(&[cluster]).await;
}

/// Every call was answered by an instance, and the second was among them.
fn none_failed(lines: &[Value]) {
    let counts = tally(lines);
    let strange = counts.keys().find(|who| !["first", "second"].contains(&who.as_str()));
    assert!(strange.is_none() && counts.contains_key("second"), "{counts:?}");
}

#[tokio::test]
async fn any_other_protocol_by_the_name_that_the_sidecar_resolves_is_taken_and_follows_changes() {
    needs!(Consul, Istiod118, Envoy, Probe, Namespace);
    let place = Mesh::place().await;
    let (consul, registry) = agent(&place, "{}").await;
    consul.register(&instance("db", "first", FIRST, 7000, &json!({"protocol": "tcp"}))).await;
    // It says nothing of its protocol: the proxy looks at the first bytes.
    consul.register(&instance("web", "web", FIRST, 9000, &json!({}))).await;
    let mut mesh = Mesh::of_registry(Age::V1_18, &place, &registry).await;
    mesh.tcp("first", &format!("{FIRST}:7000")).await;
    mesh.tcp("second", &format!("{SECOND}:7000")).await;
    mesh.http("web", &format!("{FIRST}:9000")).await;
    let (db, web) = ("outbound|7000||db.service.consul", "outbound|9000||web.service.consul");
    let (db_at, web_at) =
        (mesh.captured("db.service.consul").await, mesh.captured("web.service.consul").await);
    for (at, port) in [(db_at, 7000), (web_at, 9000)] {
        mesh.envoy.listener(&format!("{at}_{port}")).await;
    }
    mesh.envoy.hosts_are(db, &[&format!("{FIRST}:7000")]).await;
    mesh.envoy.hosts_are(web, &[&format!("{FIRST}:9000")]).await;
    let url = "http://web.service.consul:9000/";
    assert_eq!(mesh.http_taken(url, &format!("{web_at}:9000"), web).await, "web");
    let mut calls = Calls::tcp(&place, address(&format!("{db_at}:7000")), EVERY);
    let mut witness = Calls::tcp(&place, address(&format!("{db_at}:7000")), EVERY);
    calls.answered_by("first").await;
    consul.register(&instance("db", "second", SECOND, 7000, &json!({"protocol": "tcp"}))).await;
    calls.answered_by("second").await;
    consul.deregister("first").await;
    mesh.envoy.hosts_are(db, &[&format!("{SECOND}:7000")]).await;
    calls.so_far();
    calls.answered_by("second").await;
    none_failed(&witness.stop().await);
    mesh.only_used(&[db, web]).await;
}
