//! Applications that call what Dubbo providers registered in ZooKeeper: a real consumer that finds its providers there
//! and knows of no mesh, and one that is given the host that is published.

use std::net::IpAddr;

use serde_json::Value;

use crate::mesh::{FIRST, Mesh, SECOND, Wanted};
use crate::support::{Age, Dubbo, DubboAge, DubboBuilder, GREET, Place, ZooKeeper, tally};

const HOST: &str = "greeter.dubbo";
const DUBBO: &str = "outbound|20880||greeter.dubbo";
const TRIPLE: &str = "outbound|50051||greeter.dubbo";
/// Milliseconds between two calls.
const EVERY: &str = "10";

/// A server in `place`, and the registry that reads it, with the default mapping but for `map`.
async fn server(place: &Place, map: &str) -> (ZooKeeper, String) {
    let server = ZooKeeper::build().place(place).start().await;
    // The program shares the application's place here: what it asks of providers would be taken for calls.
    let layouts = "[{dubbo: {askProviders: false}}, {curator: {}}]";
    let registry = format!(
        "- name: zk\n  zookeeper: {{servers: ['{}'], layouts: {layouts}}}\n  map: {map}",
        server.address()
    );
    (server, registry)
}

/// A provider at `host`, where the proxy finds it, with all of its own defaults.
fn provider(age: DubboAge, name: &str, host: &str, place: &Place, server: &ZooKeeper) -> DubboBuilder {
    let provider = Dubbo::provider(age, name).host(host).set("DUBBO_IP_TO_BIND", host);
    provider.set("application", "greeter").place(place).registry(server.address())
}

fn consumer(age: DubboAge, place: &Place) -> DubboBuilder {
    // Dubbo gives a call up after a second or three, which on a busy machine says nothing about the mesh.
    Dubbo::consumer(age).place(place).set("every", EVERY).set("dubbo.consumer.timeout", "30000")
}

/// Over Dubbo's own protocol a connection stays where the sidecar has led it, and a provider that ends declares it
/// unusable. Dubbo 3.3 then calls nobody before it looks at it again, up to a minute later; with this it connects anew.
fn reconnecting(consumer: DubboBuilder) -> DubboBuilder {
    consumer.set("dubbo.connectivity.validation", "false")
}

/// All calls until now, and on until a new one is answered by this provider.
async fn calls_until(caller: &mut Dubbo, who: &str) -> Vec<Value> {
    let mut calls = caller.so_far();
    loop {
        calls.push(caller.next().await);
        if calls.last().is_some_and(|call| call["name"] == who) {
            return calls;
        }
    }
}

/// Every call was answered.
fn none_failed(calls: &[Value]) {
    assert!(calls.iter().all(|call| call["event"] == "answer"), "{:#?}", tally(calls));
}

/// A consumer that finds its providers in ZooKeeper, chooses one for each call, and knows of no mesh. Whatever it chooses
/// the sidecar takes, and chooses anew.
struct Unmodified {
    age: DubboAge,
    protocol: &'static str,
    port: u16,
    cluster: &'static str,
    reconnects: bool,
}

const OVER_DUBBO: Unmodified = Unmodified {
    age: DubboAge::V3_3,
    protocol: "dubbo:20880",
    port: 20880,
    cluster: DUBBO,
    reconnects: true,
};
const OVER_TRIPLE: Unmodified = Unmodified {
    age: DubboAge::V3_3,
    protocol: "tri:50051",
    port: 50051,
    cluster: TRIPLE,
    reconnects: false,
};

impl Unmodified {
    fn provider(&self, name: &str, host: &str, place: &Place, server: &ZooKeeper) -> DubboBuilder {
        provider(self.age, name, host, place, server).protocols(self.protocol)
    }

    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    /// Waits until the sidecar takes what is sent to these, and leads it to them.
    async fn known(&self, mesh: &Mesh, hosts: &[&str]) {
        for host in hosts {
            mesh.envoy.listener(&format!("{host}_{}", self.port)).await;
        }
        let at: Vec<String> = hosts.iter().map(|host| self.at(host)).collect();
        mesh.envoy.hosts_are(self.cluster, &at.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Both providers are there; the one that answers goes.
    async fn loses_a_provider(&self) {
        let place = Mesh::place().await;
        let (server, registry) = server(&place, "{addresses: endpoints}").await;
        let mut providers = [
            self.provider("first", FIRST, &place, &server).start().await,
            self.provider("second", SECOND, &place, &server).start().await,
        ];
        let mesh = Mesh::of_registry(Age::V1_18, &place, &registry).await;
        self.known(&mesh, &[FIRST, SECOND]).await;
        let mut caller = self.consumer(&place, &server).start().await;
        let chosen = if caller.next().await["name"] == "first" { 0 } else { 1 };
        providers[chosen].stop().await;
        self.known(&mesh, &[[SECOND, FIRST][chosen]]).await;
        let calls = calls_until(&mut caller, ["second", "first"][chosen]).await;
        // 2.7 takes its services back before it closes its connections: calls of that moment fail, in a mesh or not.
        if self.age != DubboAge::V2_7 {
            none_failed(&calls);
        }
        mesh.only_used(&[self.cluster]).await;
    }

    /// One provider is there; another comes, and the first goes. ZooKeeper tells the consumer of the new one before the
    /// mesh can know it: what is sent there too early has to be refused rather than let past.
    async fn follows_changes_under_registry_only(&self) {
        let place = Mesh::place().await;
        let (server, registry) = server(&place, "{addresses: endpoints}").await;
        let mut first = self.provider("first", FIRST, &place, &server).start().await;
        let wanted = Wanted { registry_only: true };
        let mesh = Mesh::of_registry_with(Age::V1_18, &place, &registry, wanted).await;
        self.known(&mesh, &[FIRST]).await;
        let mut caller = self.consumer(&place, &server).start().await;
        caller.answered_by("first").await;
        let _second = self.provider("second", SECOND, &place, &server).start().await;
        self.known(&mesh, &[FIRST, SECOND]).await;
        first.stop().await;
        self.known(&mesh, &[SECOND]).await;
        none_failed(&calls_until(&mut caller, "second").await);
        mesh.only_used(&[self.cluster]).await;
    }

    fn consumer(&self, place: &Place, server: &ZooKeeper) -> DubboBuilder {
        let consumer = consumer(self.age, place).registry(server.address());
        if self.reconnects { reconnecting(consumer) } else { consumer }
    }
}

#[tokio::test]
async fn calls_of_an_unmodified_dubbo_consumer_are_taken_and_outlive_a_provider() {
    needs!(ZooKeeper, Dubbo33, Istiod118, Envoy, Probe, Namespace);
    OVER_DUBBO.loses_a_provider().await;
}

#[tokio::test]
async fn calls_of_an_unmodified_dubbo_2_consumer_are_taken_and_go_on_after_a_provider() {
    needs!(ZooKeeper, Dubbo27, Istiod118, Envoy, Probe, Namespace, LongRuns);
    Unmodified { age: DubboAge::V2_7, reconnects: false, ..OVER_DUBBO }.loses_a_provider().await;
}

#[tokio::test]
async fn calls_of_an_unmodified_triple_consumer_are_taken_and_outlive_a_provider() {
    needs!(ZooKeeper, Dubbo33, Istiod118, Envoy, Probe, Namespace);
    OVER_TRIPLE.loses_a_provider().await;
}

#[tokio::test]
async fn under_registry_only_no_call_of_an_unmodified_dubbo_consumer_goes_past_the_mesh_or_fails() {
    needs!(ZooKeeper, Dubbo33, Istiod118, Envoy, Probe, Namespace, LongRuns);
    OVER_DUBBO.follows_changes_under_registry_only().await;
}

#[tokio::test]
async fn under_registry_only_no_call_of_an_unmodified_triple_consumer_goes_past_the_mesh_or_fails() {
    needs!(ZooKeeper, Dubbo33, Istiod118, Envoy, Probe, Namespace, LongRuns);
    OVER_TRIPLE.follows_changes_under_registry_only().await;
}

/// A file that has the host lead to `at`, as the sidecar's own DNS does.
fn hosts_file(dir: &std::path::Path, at: IpAddr) -> String {
    let file = dir.join("hosts");
    std::fs::write(&file, format!("{at} {HOST}\n")).expect("a file");
    file.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_consumer_with_the_published_host_is_taken_over_triple() {
    needs!(ZooKeeper, Dubbo33, Istiod118, Envoy, Probe, Namespace);
    by_host(Age::V1_18, "tri", 50051, TRIPLE).await;
}

#[tokio::test]
async fn a_consumer_with_the_published_host_is_taken_over_triple_behind_the_newest_istiod_too() {
    needs!(ZooKeeper, Dubbo33, IstiodNewest, Envoy, Probe, Namespace, LongRuns);
    by_host(Age::Newest, "tri", 50051, TRIPLE).await;
}

#[tokio::test]
async fn a_consumer_with_the_published_host_is_taken_over_dubbos_protocol() {
    needs!(ZooKeeper, Dubbo33, Istiod118, Envoy, Probe, Namespace);
    by_host(Age::V1_18, "dubbo", 20880, DUBBO).await;
}

/// A consumer that is told where the interface is by a property, which is all that changes.
async fn by_host(age: Age, scheme: &str, port: u16, cluster: &str) {
    let place = Mesh::place().await;
    let (server, registry) = server(&place, "{}").await;
    let protocols = "dubbo:20880,tri:50051";
    let (first_at, second_at) = (format!("{FIRST}:{port}"), format!("{SECOND}:{port}"));
    let with = |name, at| {
        let provider = provider(DubboAge::V3_3, name, at, &place, &server).protocols(protocols);
        provider.set("services", "gray:1.0.0::")
    };
    let mut first = with("first", FIRST).start().await;
    let mesh = Mesh::of_registry(age, &place, &registry).await;
    let at = mesh.captured(HOST).await;
    mesh.envoy.hosts_are(cluster, &[&first_at]).await;
    let files = tempfile::tempdir().unwrap();
    let caller = consumer(DubboAge::V3_3, &place).set("jdk.net.hosts.file", &hosts_file(files.path(), at));
    // Which of an application's services is meant is between the consumer and the provider.
    let caller = caller.registry(server.address()).set("group", "gray").set("version", "1.0.0");
    let caller = caller.set(GREET, &format!("{scheme}://{HOST}:{port}"));
    let mut caller = if scheme == "dubbo" { reconnecting(caller) } else { caller }.start().await;
    caller.answered_by("first").await;

    let _second = with("second", SECOND).start().await;
    mesh.envoy.hosts_are(cluster, &[&first_at, &second_at]).await;
    first.stop().await;
    mesh.envoy.hosts_are(cluster, &[&second_at]).await;
    none_failed(&calls_until(&mut caller, "second").await);
    mesh.only_used(&[cluster]).await;
}
