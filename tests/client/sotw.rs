//! State of the world, as istiod asks.

use serde_json::{Value, json};

use crate::support::{Chandler, PATIENCE, Place, Sotw, eventually};
use crate::{SERVICES, SILENCE, name, names, responses, services};

/// Every collection that an istiod between 1.9 and 1.11 asks for.
const UP_TO_1_11: &str = "networking.istio.io/v1alpha3/DestinationRule,networking.istio.io/v1alpha3/EnvoyFilter,\
    networking.istio.io/v1alpha3/Gateway,networking.istio.io/v1alpha3/ServiceEntry,networking.istio.io/v1alpha3/Sidecar,\
    networking.istio.io/v1alpha3/VirtualService,networking.istio.io/v1alpha3/WorkloadEntry,\
    networking.istio.io/v1alpha3/WorkloadGroup,security.istio.io/v1beta1/AuthorizationPolicy,\
    security.istio.io/v1beta1/PeerAuthentication,security.istio.io/v1beta1/RequestAuthentication";

async fn one(text: &str) -> Chandler {
    Chandler::start("", &[("services.yaml", text)]).await
}

#[tokio::test]
async fn first_answer_is_whole_although_its_nonce_is_foreign() {
    needs!(Probe);
    let chandler = one(&services(&[1, 2, 3])).await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-istiod-like"]);
    let response = client.response(SERVICES).await;
    assert_eq!(names(&response["resources"]), [name(0), name(1), name(2)]);
    for one in response["resources"].as_array().expect("resources") {
        assert_eq!(one["error"], Value::Null, "{one}");
        assert_eq!(one["body_type"], "type.googleapis.com/istio.networking.v1alpha3.ServiceEntry");
        assert_eq!(one["create_time"], "2099-01-01T00:00:00Z");
        assert!(one["version"].as_str().is_some_and(|version| !version.is_empty()));
    }
    assert!(response["nonce"].as_str().is_some_and(|nonce| !nonce.is_empty()));
}

#[tokio::test]
async fn every_type_is_answered_but_mesh_config() {
    needs!(Probe);
    for (like, types) in [("1.18", 14), ("newest", 15)] {
        let chandler = one(&services(&[1])).await;
        let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-istiod-like", "-like", like]);
        for _ in 0..types {
            client.next_where("an answer", |line| line["event"] == "response").await;
        }
        let rest = client.during(SILENCE).await;
        assert_eq!(responses(&rest), [] as [&Value; 0], "an answer too many");
    }
}

#[tokio::test]
async fn acknowledgements_are_answered_with_silence() {
    needs!(Probe);
    let chandler = one(&services(&[1])).await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    client.response(SERVICES).await;
    // One for a nonce that was never sent, as well.
    client.tell(&format!("stray {SERVICES}")).await;
    let rest = client.during(SILENCE).await;
    assert_eq!(responses(&rest), [] as [&Value; 0]);
}

#[tokio::test]
async fn change_arrives_and_leaves_everything_else_as_it_is() {
    needs!(Probe);
    let chandler = one(&services(&[1, 2, 3])).await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    let first = client.response(SERVICES).await;
    chandler.write_services("services.yaml", &services(&[1, 22]));
    // The endpoint may come sooner than the end of the other service.
    let (mut updated, mut deleted, mut second) = (Vec::new(), Vec::new(), Value::Null);
    while second["count"] != 2 {
        second = client.response(SERVICES).await;
        let applied = &second["applied"];
        assert_eq!(applied["created"].as_array().map_or(0, Vec::len), 0, "{applied}");
        updated.extend(applied["updated"].as_array().into_iter().flatten().cloned());
        deleted.extend(applied["deleted"].as_array().into_iter().flatten().cloned());
    }
    assert_eq!((updated, deleted), (vec![json!(name(1))], vec![json!(name(2))]));
    assert_ne!(first["version_info"], second["version_info"]);
    assert_ne!(first["nonce"], second["nonce"]);
    chandler.write_services("services.yaml", &services(&[1, 2, 3]));
    // Endpoints may come sooner than the service that is new.
    let third = client.next_where("all three again", |line| line["count"] == 3).await;
    assert_eq!((&third["sha256"], &third["version_info"]), (&first["sha256"], &first["version_info"]));
}

#[tokio::test]
async fn refusal_is_not_answered_with_the_same_version() {
    needs!(Probe);
    let chandler = one(&services(&[1])).await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES, "-nack", SERVICES]);
    let first = client.response(SERVICES).await;
    let rest = client.during(SILENCE).await;
    assert_eq!(responses(&rest), [] as [&Value; 0]);
    let watch = eventually("its refusal", PATIENCE, async || {
        let watch = chandler.api("/api/v1/clients").await[0]["watches"][0].clone();
        (watch["state"] == "NACK").then_some(watch)
    })
    .await;
    assert!(watch["nack"].as_str().is_some_and(|why| why.contains("refused because the test asked for it")));
    chandler.write_services("services.yaml", &services(&[2]));
    assert_ne!(client.response(SERVICES).await["version_info"], first["version_info"]);
}

#[tokio::test]
async fn unknown_type_is_answered_empty() {
    needs!(Probe);
    let chandler = one(&services(&[1])).await;
    let asked = "fruit.example/v1/Banana";
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", asked]);
    assert_eq!(client.response(asked).await["count"], 0);
    client.tell(&format!("request {SERVICES}")).await;
    assert_eq!(client.response(SERVICES).await["count"], 1);
}

#[tokio::test]
async fn empty_nonce_asks_again() {
    needs!(Probe);
    let chandler = one(&services(&[1])).await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    let first = client.response(SERVICES).await;
    client.tell(&format!("again {SERVICES}")).await;
    assert_eq!(client.response(SERVICES).await["sha256"], first["sha256"]);
}

/// 1.9 to 1.11 refuse every update of a resource that has a version.
#[tokio::test]
async fn istiod_up_to_1_11_gets_resources_without_versions() {
    needs!(Probe);
    let chandler = one(&services(&[1, 2])).await;
    let asked = "networking.istio.io/v1alpha3/ServiceEntry";
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-istiod-like", "-types", UP_TO_1_11]);
    let response = client.response(asked).await;
    let shown: Vec<_> = response["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|one| (one["name"].clone(), one["version"].clone(), one["error"].clone()))
        .collect();
    assert_eq!(shown, [(json!(name(0)), json!(""), Value::Null), (json!(name(1)), json!(""), Value::Null)]);
    chandler.write_services("services.yaml", &services(&[1, 22]));
    assert_eq!(client.response(asked).await["resources"][1]["version"], "");
}

#[tokio::test]
async fn ten_thousand_resources_decode_right() {
    needs!(Probe);
    let ports: Vec<u16> = (10_000..20_000).collect();
    let chandler = one(&services(&ports)).await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    let response = client.response(SERVICES).await;
    let resources = response["resources"].as_array().expect("resources");
    assert_eq!(resources.len(), ports.len());
    for one in resources {
        let host = one["name"].as_str().and_then(|name| name.strip_prefix("chandler/")).expect("its name");
        let n: u16 = host[1..].split('.').next().and_then(|n| n.parse().ok()).expect("its number");
        assert_eq!(one["error"], Value::Null, "{one}");
        assert_eq!(one["body"]["hosts"], json!([host]));
        let endpoint = &one["body"]["endpoints"][0];
        assert_eq!(endpoint["ports"]["http-8080"], n + 10_000, "{one}");
    }
}
