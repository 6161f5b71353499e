//! Calls go on while instances come and go.

use std::time::Duration;

use crate::mesh::{FIRST, Mesh, SECOND, address};
use crate::support::{Age, Calls, tally};

const HOST: &str = "web.example.internal";
const CLUSTER: &str = "outbound|8080||web.example.internal";
const FIRST_AT: &str = "10.20.0.1:8080";
const SECOND_AT: &str = "10.20.0.2:8080";

both_ages!(requests_follow_an_endpoint_change_and_none_fails, calls_follow_a_change_of_instances_in_any_mode);

fn web(keys: &str, endpoints: &[&str]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|at| format!("{{address: {at}}}")).collect();
    format!(
        "services:\n- name: web\n  hosts: [{HOST}]\n  {keys}\n  ports: [{{number: 8080, protocol: HTTP}}]\n  \
         endpoints: [{}]\n",
        endpoints.join(", ")
    )
}

/// One instance is replaced by another, as a deployment does it: the new one joins, then the old one leaves.
async fn replaced(mesh: &Mesh, keys: &str, calls: &mut Calls) {
    calls.answered_by("first").await;
    mesh.chandler.write_services("services.yaml", &web(keys, &[FIRST, SECOND]));
    calls.answered_by("second").await;
    mesh.chandler.write_services("services.yaml", &web(keys, &[SECOND]));
    mesh.envoy.hosts_are(CLUSTER, &[SECOND_AT]).await;
    // Those until now, and the one under way.
    calls.so_far();
    calls.answered_by("second").await;
}

async fn requests_follow_an_endpoint_change_and_none_fails(age: Age) {
    let keys = "addresses: virtual";
    let mut mesh = Mesh::start(age, &web(keys, &[FIRST])).await;
    mesh.http("first", FIRST_AT).await;
    mesh.http("second", SECOND_AT).await;
    mesh.envoy.listener("0.0.0.0_8080").await;
    mesh.envoy.hosts_are(CLUSTER, &[FIRST_AT]).await;
    let at = address(&format!("{}:8080", mesh.virtual_address(HOST).await));
    let url = format!("http://{HOST}:8080/");
    // The second caller is looked at only at the end: nothing that it saw is passed over on the way.
    let mut witness = Calls::http(&mesh.place, &url, at, Duration::from_millis(5));
    let mut calls = Calls::http(&mesh.place, &url, at, Duration::from_millis(5));
    replaced(&mesh, keys, &mut calls).await;
    let counts = tally(&witness.stop().await);
    let others: Vec<_> = counts.keys().filter(|who| !["first", "second"].contains(&who.as_str())).collect();
    assert!(others.is_empty(), "{counts:?}");
    assert!(counts.contains_key("first") && counts.contains_key("second"), "{counts:?}");
    let last = tally(&calls.stop().await);
    assert!(!last.contains_key("first"), "the one that left is still called: {last:?}");
}

/// With instance addresses a change is a new set of listeners, so the client's own choice follows with it.
async fn calls_follow_a_change_of_instances_in_any_mode(age: Age) {
    let keys = "addresses: endpoints";
    let mut mesh = Mesh::start(age, &web(keys, &[FIRST])).await;
    mesh.http("first", FIRST_AT).await;
    mesh.http("second", SECOND_AT).await;
    mesh.envoy.listener("10.20.0.1_8080").await;
    mesh.envoy.hosts_are(CLUSTER, &[FIRST_AT]).await;
    mesh.chandler.write_services("services.yaml", &web(keys, &[FIRST, SECOND]));
    mesh.envoy.listener("10.20.0.2_8080").await;
    mesh.envoy.hosts_are(CLUSTER, &[FIRST_AT, SECOND_AT]).await;
    mesh.http_taken(&format!("http://{SECOND_AT}/"), SECOND_AT, CLUSTER).await;
}
