//! What a catalogue says, and what each of its changes costs.

use chandler::model::endpoint::EndpointPorts;
use chandler::model::service::Protocol;
use chandler::registry::consul::settings::Strategy;
use serde_json::{Value, json};

use crate::bench::{Bench, SOON, settings};
use crate::support::{Consul, ConsulAge, eventually};
use crate::{needs, settled};

fn at(consul: &Consul) -> Vec<String> {
    vec![format!("http://{}", consul.address())]
}

/// A registration in the catalogue, beside any agent.
fn catalogued(node: &str, address: &str, service: &Value) -> Value {
    json!({"Node": node, "Address": address, "SkipNodeUpdate": false, "Service": service})
}

async fn an_instance_is_followed_through_its_life(age: ConsulAge, strategy: Strategy) {
    let consul = Consul::build().age(age).start().await;
    settled(&consul, &[]).await;
    let mut settings = settings(&at(&consul));
    settings.strategy = strategy;
    let mut bench = Bench::read(settings).await;
    assert!(bench.world.keys().eq(["consul"]));

    consul
        .register(&json!({
            "Name": "web", "ID": "web-1", "Address": "10.0.0.5", "Port": 8080, "Tags": ["v1", "env=prod"],
            "Meta": {"protocol": "http", "version": "1.4"}, "Weights": {"Passing": 10, "Warning": 2},
            "TaggedAddresses": {"wan": {"Address": "198.51.100.1", "Port": 80}},
            "Check": {"CheckID": "c", "TTL": "600s"}
        }))
        .await;
    bench.until("the new service, critical at first", |b| b.service("web").is_some()).await;
    let left_out = bench.service("web").unwrap().left_out.by_reason();
    assert_eq!((left_out.len(), &*left_out[0].reason), (1, "critical"));
    consul.check("c", "pass").await;
    bench.until("a healthy instance", |b| b.endpoints("web").len() == 1).await;
    let web = bench.service("web").unwrap();
    let endpoint = &web.endpoints[0];
    assert_eq!(
        (endpoint.address.to_string(), &endpoint.ports),
        ("10.0.0.5".into(), &EndpointPorts::One(8080))
    );
    assert_eq!(endpoint.weight.thousandths(), 10_000);
    let labels = ["env", "version", "protocol"].map(|key| endpoint.labels.get(key));
    assert_eq!(labels, [Some("prod"), Some("1.4"), Some("http")]);
    consul.check("c", "warn").await;
    let weight = |b: &Bench| b.service("web").unwrap().endpoints.first().map(|e| e.weight.thousandths());
    bench.until("the weight of a warning", |b| weight(b) == Some(2000)).await;
    consul.check("c", "fail").await;
    bench.until("an empty service", |b| b.endpoints("web").is_empty()).await;
    consul.check("c", "pass").await;
    bench.until("it is back", |b| weight(b) == Some(10_000)).await;

    consul.put("/v1/agent/service/maintenance/web-1?enable=true", &Value::Null).await;
    bench.until("maintenance", |b| b.endpoints("web").is_empty()).await;
    assert_eq!(&*bench.service("web").unwrap().left_out.by_reason()[0].reason, "maintenance");
    consul.put("/v1/agent/service/maintenance/web-1?enable=false", &Value::Null).await;
    bench.until("the end of maintenance", |b| b.endpoints("web").len() == 1).await;
    consul.put("/v1/agent/maintenance?enable=true", &Value::Null).await;
    bench.until("maintenance of the node", |b| b.endpoints("web").is_empty()).await;
    consul.put("/v1/agent/maintenance?enable=false", &Value::Null).await;
    bench.until("its end", |b| b.endpoints("web").len() == 1).await;

    consul.deregister("web-1").await;
    bench.until("deregistration", |b| b.service("web").is_none()).await;
    assert_eq!(bench.steps.last().unwrap(), "-web Deregistered");
    consul.register(&json!({"Name": "web", "Check": {"CheckID": "c", "TTL": "600s"}, "Port": 1})).await;
    bench.until("it is critical again", |b| b.service("web").is_some()).await;
    consul.deregister("web").await;
    bench.until("it goes while critical", |b| b.service("web").is_none()).await;
    assert_eq!(bench.steps.last().unwrap(), "-web Unhealthy");
    assert_eq!(bench.resets, 1, "nothing was read as a whole again");
    bench.stop().await;
}

#[tokio::test]
async fn an_instance_is_followed_through_its_life_by_a_query_of_its_own() {
    needs!(Consul);
    an_instance_is_followed_through_its_life(ConsulAge::Newest, Strategy::Each).await;
}

#[tokio::test]
async fn an_instance_is_followed_through_its_life_by_sweeping() {
    needs!(Consul);
    an_instance_is_followed_through_its_life(ConsulAge::Newest, Strategy::Sweep).await;
}

#[tokio::test]
async fn an_instance_is_followed_through_its_life_on_the_old_consul() {
    needs!(ConsulOld);
    an_instance_is_followed_through_its_life(ConsulAge::Old, Strategy::Each).await;
    an_instance_is_followed_through_its_life(ConsulAge::Old, Strategy::Sweep).await;
}

#[tokio::test]
async fn a_change_of_one_instance_costs_one_upsert() {
    needs!(Consul);
    let consul = Consul::start().await;
    let web = |id: &str, port: u16| json!({"Name": "web", "ID": id, "Address": "10.0.0.5", "Port": port});
    consul.register(&web("web-1", 8080)).await;
    consul.register(&json!({"Name": "other", "Port": 1})).await;
    settled(&consul, &["web", "other"]).await;
    let mut bench = Bench::read(settings(&at(&consul))).await;
    consul.register(&web("web-2", 8081)).await;
    bench.until("the second instance", |b| b.endpoints("web").len() == 2).await;
    // Registered once more as it is, and something else changed: neither says anything of `web`.
    consul.register(&web("web-2", 8081)).await;
    consul.register(&json!({"Name": "other", "Port": 2})).await;
    bench.until("the other change", |b| b.endpoints("other")[0].ends_with("One(2)")).await;
    assert_eq!(bench.steps, ["+web", "+other"]);
    bench.stop().await;
}

#[tokio::test]
async fn an_instance_without_an_address_has_its_nodes_and_moves_with_it() {
    needs!(Consul);
    let consul = Consul::start().await;
    let service = json!({"Service": "db", "ID": "db-1", "Port": 5432});
    consul.register_in_catalog(&catalogued("far", "10.7.0.1", &service)).await;
    consul.register_in_catalog(&catalogued("farther", "10.7.0.2", &service)).await;
    let mut bench = Bench::read(settings(&at(&consul))).await;
    assert_eq!(bench.endpoints("db"), ["10.7.0.1 One(5432)", "10.7.0.2 One(5432)"]);
    consul.register_in_catalog(&json!({"Node": "far", "Address": "10.7.0.9"})).await;
    bench.until("the node's new address", |b| b.endpoints("db")[1] == "10.7.0.9 One(5432)").await;
    consul.deregister_from_catalog(&json!({"Node": "far"})).await;
    bench.until("the node is gone", |b| b.endpoints("db").len() == 1).await;
    bench.stop().await;
}

#[tokio::test]
async fn names_that_no_url_or_host_may_have_are_read_like_any_other() {
    needs!(Consul);
    let consul = Consul::start().await;
    let names = ["web_api", "Web", "a:b", "a b", "ünï", "a/b", "x?y=z&w#v", "100%", &"long".repeat(75)];
    for name in names {
        let service = json!({"Service": name, "Port": 80, "Address": "10.0.0.1"});
        consul.register_in_catalog(&catalogued("far", "10.7.0.1", &service)).await;
    }
    let odd = [("zero", json!({"Port": 0})), ("illegal", json!({"Port": 80, "Address": "not an address"}))];
    for (name, mut service) in odd {
        service["Service"] = name.into();
        consul.register_in_catalog(&catalogued("far", "10.7.0.1", &service)).await;
    }
    let bench = Bench::read(settings(&at(&consul))).await;
    for name in names {
        assert_eq!(bench.endpoints(name), ["10.0.0.1 One(80)"], "{name}");
    }
    for (name, words) in [("zero", "its port is 0"), ("illegal", "not a valid FQDN")] {
        assert!(format!("{:?}", bench.world[name]).contains(words), "{name}: {:?}", bench.world[name]);
        let named = async || bench.problem().contains(words).then_some(());
        eventually("its name in the problem", SOON, named).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn service_defaults_say_the_protocol_and_are_followed() {
    needs!(Consul);
    let consul = Consul::start().await;
    consul.register(&json!({"Name": "web", "Port": 80})).await;
    settled(&consul, &["web"]).await;
    let defaults =
        |name: &str, protocol: &str| json!({"Kind": "service-defaults", "Name": name, "Protocol": protocol});
    consul.put("/v1/config", &defaults("web", "http2")).await;
    let mut bench = Bench::read(settings(&at(&consul))).await;
    let protocol = |b: &Bench, name: &str| b.service(name).unwrap().says.protocol;
    assert_eq!((protocol(&bench, "web"), protocol(&bench, "consul")), (Some(Protocol::Http2), None));
    consul.put("/v1/config", &defaults("web", "grpc")).await;
    bench.until("the new default", |b| protocol(b, "web") == Some(Protocol::Grpc)).await;
    bench.stop().await;
}

#[tokio::test]
async fn sidecars_and_gateways_are_left_out_unless_asked_for() {
    needs!(Consul);
    let consul = Consul::start().await;
    consul.register(&json!({"Name": "web", "Port": 80, "Connect": {"SidecarService": {}}})).await;
    consul.register(&json!({"Name": "gate", "Kind": "mesh-gateway", "Port": 443})).await;
    settled(&consul, &["gate", "web", "web-sidecar-proxy"]).await;
    let all = |b: &Bench| b.world.keys().cloned().collect::<Vec<_>>();
    let bench = Bench::read(settings(&at(&consul))).await;
    assert_eq!(all(&bench), ["consul", "web"]);
    let mut both = settings(&at(&consul));
    (both.instances.sidecars, both.instances.gateways) = (true, true);
    let bench = Bench::read(both).await;
    assert_eq!(all(&bench), ["consul", "gate", "web", "web-sidecar-proxy"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_filter_is_applied_by_consul() {
    needs!(Consul);
    let consul = Consul::start().await;
    consul.register(&json!({"Name": "web", "ID": "a", "Port": 80, "Meta": {"team": "pay"}})).await;
    consul.register(&json!({"Name": "web", "ID": "b", "Port": 81})).await;
    settled(&consul, &["web"]).await;
    let mut filtered = settings(&at(&consul));
    filtered.filter = Some("Service.Meta.team == pay".into());
    let bench = Bench::read(filtered).await;
    assert_eq!(bench.world.keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(bench.endpoints("web").len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn five_thousand_services_in_bulk_arrive_and_go_over_to_sweeping() {
    needs!(Consul);
    five_thousand_services(ConsulAge::Newest).await;
}

#[tokio::test]
async fn five_thousand_services_in_bulk_arrive_from_the_old_consul() {
    needs!(ConsulOld);
    five_thousand_services(ConsulAge::Old).await;
}

async fn five_thousand_services(age: ConsulAge) {
    let consul = Consul::build().age(age).start().await;
    settled(&consul, &[]).await;
    let mut bench = Bench::read(settings(&at(&consul))).await;
    consul.register_in_catalog(&json!({"Node": "far", "Address": "10.7.0.1"})).await;
    let set = |n: usize, port: usize| {
        let service = json!({"ID": format!("s{n}"), "Service": format!("s{n}"), "Port": port});
        json!({"Service": {"Verb": "set", "Node": "far", "Service": service}})
    };
    consul.transact(&(0..5000).map(|n| set(n, 80)).collect::<Vec<_>>()).await;
    bench.until("all of them", |b| b.world.len() == 5001).await;
    // Nobody says which one it was: the list only wakes.
    consul.transact(&[set(4321, 81)]).await;
    bench.until("the change of one", |b| b.endpoints("s4321")[0].ends_with("One(81)")).await;
    assert_eq!(bench.steps.last().unwrap(), "+s4321");
    let gone = |n: usize| {
        let mut operation = set(n, 80);
        operation["Service"]["Verb"] = "delete".into();
        operation
    };
    consul.transact(&(0..5000).map(gone).collect::<Vec<_>>()).await;
    bench.until("their end", |b| b.world.len() == 1).await;
    bench.until_well().await;
    assert_eq!(bench.resets, 1);
    bench.stop().await;
}
