//! What a sidecar is to listen on, in each of the modes, as istiod holds it.

use serde_json::{Value, json};

use crate::support::{Age, Chandler, Istiod};
use crate::view::entry_where;

/// One service in each mode; the second has a protocol of which Istio would take one address only.
const MODES: &str = "
services:
- name: virtual
  hosts: [virtual.example.internal]
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.5}]
- name: endpoints
  hosts: [endpoints.example.internal]
  addresses: endpoints
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.6}, {address: 10.0.0.5}]
- name: endpoints-tcp
  hosts: [endpoints-tcp.example.internal]
  addresses: endpoints
  ports: [{number: 7000, protocol: TCP}]
  endpoints: [{address: 10.0.0.7}]
- name: none
  hosts: [none.example.internal]
  addresses: none
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.5}]
";

both_ages!(each_mode_arrives_as_such, instance_that_comes_is_listened_for_and_one_that_left_still_is);

async fn each_mode_arrives_as_such(age: Age) {
    let chandler = Chandler::start("", &[("modes.yaml", MODES)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let spec = async |name: &str| {
        let entry = entry_where(&istiod, &format!("{name}.example.internal"), name, |_| true).await;
        entry["spec"].clone()
    };
    let address = spec("virtual").await["addresses"][0].clone();
    assert!(address.as_str().is_some_and(|text| text.starts_with("24")), "{address}");

    let endpoints = spec("endpoints").await;
    assert_eq!(endpoints["addresses"], json!(["10.0.0.5", "10.0.0.6"]));
    // With a declared HTTP only one of the addresses would be taken: the proxy is left to look for itself.
    let port = &endpoints["ports"][0];
    assert_eq!((&port["number"], port.get("protocol")), (&json!(8080), None::<&Value>), "{port}");
    assert!(port["name"].as_str().is_some_and(|name| name.starts_with("auto")), "{port}");

    let tcp = spec("endpoints-tcp").await;
    assert_eq!((&tcp["addresses"], &tcp["ports"][0]["protocol"]), (&json!(["10.0.0.7"]), &json!("TCP")));
    assert_eq!(spec("none").await.get("addresses"), None);
}

/// Clients that choose an instance themselves go on choosing one that left, for a while: its address stays taken, and the
/// calls go to those that are there.
async fn instance_that_comes_is_listened_for_and_one_that_left_still_is(age: Age) {
    let chandler = Chandler::start("", &[("modes.yaml", MODES)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let both = "{address: 10.0.0.6}, {address: 10.0.0.5}";
    let (less, more) = ("{address: 10.0.0.6}", "{address: 10.0.0.6}, {address: 10.0.0.8}");
    for (written, endpoints, addresses) in [
        (less, json!(["10.0.0.6"]), json!(["10.0.0.5", "10.0.0.6"])),
        (more, json!(["10.0.0.6", "10.0.0.8"]), json!(["10.0.0.5", "10.0.0.6", "10.0.0.8"])),
    ] {
        chandler.write_services("modes.yaml", &MODES.replace(both, written));
        let host = "endpoints.example.internal";
        entry_where(&istiod, host, &format!("endpoints {endpoints}, addresses {addresses}"), |one| {
            let there = one["spec"]["endpoints"].as_array().into_iter().flatten();
            let there: Vec<&Value> = there.map(|endpoint| &endpoint["address"]).collect();
            json!(there) == endpoints && one["spec"]["addresses"] == addresses
        })
        .await;
    }
}
