//! Other datacenters and peers, real ones.

use serde_json::{Value, json};

use crate::bench::{Bench, SOON, settings};
use crate::support::{Ask, Consul, eventually};
use crate::{needs, settled};

fn at(consul: &Consul) -> Vec<String> {
    vec![format!("http://{}", consul.address())]
}

async fn with(consul: Consul, service: &str) -> Consul {
    consul.register(&json!({"Name": service, "Port": 80, "Address": "10.0.0.7"})).await;
    settled(&consul, &[service]).await;
    consul
}

#[tokio::test]
async fn two_datacenters_are_two_scopes_and_the_loss_of_one_costs_the_other_nothing() {
    needs!(Consul);
    let here = with(Consul::build().argument("-node=here").start().await, "web").await;
    let there = Consul::build().argument("-datacenter=dc2").argument("-node=there").start().await;
    let mut there = with(there, "web").await;
    let join = format!("/v1/agent/join/127.0.0.1:{}?wan=1", there.wan_port());
    here.ask(Ask::new("PUT", join)).await.ok();
    eventually("a way to the other datacenter", SOON, async || {
        let answer = here.ask(Ask::get("/v1/catalog/services?dc=dc2")).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let mut both = settings(&at(&here));
    both.datacenters = vec!["dc1".into(), "dc2".into()];
    let mut bench = Bench::read(both).await;
    bench.until("both datacenters", |b| b.resets == 2).await;
    assert_eq!(bench.world.keys().collect::<Vec<_>>(), ["consul", "dc2/consul", "dc2/web", "web"]);
    there.register(&json!({"Name": "web", "Port": 81, "Address": "10.0.0.7"})).await;
    bench.until("a change over there", |b| b.endpoints("dc2/web") == ["10.0.0.7 One(81)"]).await;
    there.kill().await;
    let named = async || bench.problem().contains("dc2").then_some(());
    eventually("its loss to be named", SOON, named).await;
    here.register(&json!({"Name": "web", "Port": 82, "Address": "10.0.0.7"})).await;
    bench.until("a change here", |b| b.endpoints("web") == ["10.0.0.7 One(82)"]).await;
    assert_eq!(bench.endpoints("dc2/web"), ["10.0.0.7 One(81)"], "what is out of reach stays");
    bench.stop().await;
}

#[tokio::test]
async fn what_a_real_peer_exports_is_read_followed_and_kept_when_it_dies() {
    needs!(Consul);
    let here = Consul::build().peering().start().await;
    let mut east = with(Consul::build().peering().argument("-datacenter=east").start().await, "api").await;
    let exports = json!({
        "Kind": "exported-services", "Name": "default",
        "Services": [{"Name": "api", "Consumers": [{"Peer": "here"}]}]
    });
    east.put("/v1/config", &exports).await;
    let post = async |consul: &Consul, path: &str, body: Value| {
        consul.ask(Ask::new("POST", path).json(&body)).await.ok()
    };
    let made = post(&east, "/v1/peering/token", json!({"PeerName": "here"})).await;
    let token = json!({"PeerName": "east", "PeeringToken": made["PeeringToken"]});
    post(&here, "/v1/peering/establish", token).await;
    let mut with_peer = settings(&at(&here));
    with_peer.peers = vec!["east".into()];
    let mut bench = Bench::read(with_peer).await;
    bench.until("what is exported", |b| b.world.contains_key("peer/east/api")).await;
    bench.until("its instance", |b| b.endpoints("peer/east/api") == ["10.0.0.7 One(80)"]).await;
    assert!(!bench.world.contains_key("peer/east/consul"), "what is not exported stays there");
    east.register(&json!({"Name": "api", "Port": 81, "Address": "10.0.0.7"})).await;
    bench.until("a change over there", |b| b.endpoints("peer/east/api") == ["10.0.0.7 One(81)"]).await;
    east.kill().await;
    here.register(&json!({"Name": "web", "Port": 80})).await;
    bench.until("a change here", |b| b.world.contains_key("web")).await;
    assert_eq!(bench.endpoints("peer/east/api"), ["10.0.0.7 One(81)"]);
    bench.stop().await;
}
