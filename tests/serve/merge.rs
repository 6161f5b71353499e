//! Registries that share a host, as the user and the mesh see it.

use serde_json::Value;

use crate::support::{Chandler, ChandlerBuilder, PATIENCE, Place, Sotw, eventually};
use crate::{SERVICES, printed};

const REGISTRIES: &str = "
- name: prod
  files: {path: services/prod.yaml}
- name: onboard
  files: {path: services/onboard.yaml}";

fn web(addresses: &[&str]) -> String {
    let endpoints: Vec<String> = addresses.iter().map(|a| format!("{{address: {a}}}")).collect();
    format!(
        "services:\n- name: web\n  hosts: [web.example.internal]\n  ports: [{{number: 8080, protocol: HTTP}}]\n  endpoints: [{}]\n",
        endpoints.join(", ")
    )
}

fn two(mode: &str) -> ChandlerBuilder {
    Chandler::build()
        .registries(REGISTRIES)
        .config(&format!(
            "merge: [{{hosts: ['*.example.internal'], mode: {mode}, registries: [prod, onboard]}}]"
        ))
        .service_file("prod.yaml", &web(&["10.0.0.1", "10.0.0.2"]))
        .service_file("onboard.yaml", &web(&["10.0.0.2", "10.0.0.3"]))
}

fn addresses(object: &Value) -> Vec<String> {
    let endpoints = object["endpoints"].as_array().cloned().unwrap_or_default();
    endpoints.iter().map(|e| e["address"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What an old and a new control plane have.
async fn served(chandler: &Chandler, wire: &str) -> Vec<String> {
    let server = chandler.grpc.to_string();
    let text = printed(&["get", "se", "--server", &server, "--wire", wire, "-o", "json"]).await;
    let list: Value = serde_json::from_str(&text).expect("JSON");
    addresses(&list["items"][0]["spec"])
}

#[tokio::test]
async fn a_union_is_one_service_on_every_wire_and_is_explained() {
    let mut chandler = two("union").start().await;
    chandler.synced().await;
    for wire in ["xds", "delta", "mcp"] {
        assert_eq!(served(&chandler, wire).await, ["10.0.0.1", "10.0.0.2", "10.0.0.3"], "{wire}");
    }
    let hosts = chandler.api("/api/v1/hosts?host=web.example.internal").await;
    assert_eq!(hosts[0]["mode"], "union", "{hosts}");
    let claims = hosts[0]["claims"].as_array().expect("claims");
    let told: Vec<_> = claims
        .iter()
        .map(|c| (c["registry"].as_str(), c["decides"].as_bool(), c["endpoints"].to_string()))
        .collect();
    let of = |registry, decides, endpoints: &str| (Some(registry), Some(decides), endpoints.to_owned());
    assert_eq!(
        told,
        [of("prod", true, "[\"10.0.0.1\",\"10.0.0.2\"]"), of("onboard", false, "[\"10.0.0.3\"]")]
    );
    let config = chandler.config_file().display().to_string();
    let check = printed(&["check", "--connect", "--config", &config]).await;
    let line = |registry: &str| {
        check
            .lines()
            .any(|l| l.starts_with(registry) && l.contains("web.example.internal") && l.contains("union"))
    };
    assert!(line("prod") && line("onboard"), "{check}");
    let render = printed(&["render", "--config", &config]).await;
    assert!(["10.0.0.1", "10.0.0.2", "10.0.0.3"].iter().all(|a| render.contains(a)), "{render}");
}

#[tokio::test]
async fn fail_over_and_back_is_seen_on_the_same_stream_and_the_service_itself_stays() {
    needs!(Probe);
    let mut chandler = two("failover").start().await;
    chandler.synced().await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    let body = |line: &Value| line["resources"][0]["body"].clone();
    let first = body(&client.response(SERVICES).await);
    assert_eq!(addresses(&first), ["10.0.0.1", "10.0.0.2"]);
    // Its entry is taken out of the file: its registry says that it is gone.
    for (prod, want) in [
        (String::from("services: []\n"), vec!["10.0.0.2", "10.0.0.3"]),
        (web(&["10.0.0.1"]), vec!["10.0.0.1"]),
    ] {
        chandler.write_services("prod.yaml", &prod);
        let next = client.next_where("the other's endpoints", |line| addresses(&body(line)) == want).await;
        let (mut now, mut before) = (body(&next), first.clone());
        for entry in [&mut now, &mut before] {
            entry.as_object_mut().expect("an entry").remove("endpoints");
        }
        assert_eq!(now, before, "nothing but endpoints has changed");
    }
    let hosts = "/api/v1/hosts?host=web.example.internal";
    eventually("the reason", PATIENCE, async || {
        let hosts = chandler.api(hosts).await;
        (hosts[0]["claims"][1]["leftOut"] == "stands by while prod has endpoints").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_no_reason_to_fail_over() {
    let mut chandler = two("failover").start().await;
    chandler.synced().await;
    chandler.remove_services("prod.yaml");
    chandler.process().wait_for_log("kept 2 endpoints").await;
    assert_eq!(served(&chandler, "xds").await, ["10.0.0.1", "10.0.0.2"]);
}
