//! What the API server refuses for one object, or for all of them for a while: the object is named, others are written.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{API, chandler, cluster, in_step, object, service, until, until_row, writing};
use crate::needs;
use crate::support::{Chandler, Curl, PATIENCE, eventually, free_address};
use crate::webhook::Webhook;

const SE: &str = "serviceentries";
const WEB: &str = "web.example.internal";

async fn namespace(client: &Curl, name: &str) {
    let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    client.apply(&format!("/api/v1/namespaces/{name}"), &yaml, false).await.ok();
}

/// What the server says to a ServiceEntry that is not kept.
async fn tried(client: &Curl, at: &str, name: &str) -> (u16, String) {
    let yaml = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {at}}}\n\
         spec: {{hosts: [{name}], resolution: NONE}}\n"
    );
    let answer = client.apply(&format!("{API}/namespaces/{at}/{SE}/{name}"), &yaml, true).await;
    (answer.status, answer.body)
}

fn reasons(row: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let all = row["failures"].as_array().unwrap().iter();
    let mut all: Vec<_> = all.map(|f| (text(&f["object"]), text(&f["reason"]))).collect();
    all.sort();
    all
}

/// How many requests were answered with `code`.
async fn answered(chandler: &Chandler, code: u16) -> u64 {
    let text = chandler.telemetry("/metrics").await.body;
    let lines = text.lines().filter(|l| l.starts_with("chandler_sink_requests_total{"));
    let with = lines.filter(|l| l.contains(&format!("code=\"{code}\"")));
    with.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_namespace_that_is_going_is_named_and_holds_up_no_other() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    namespace(&client, "leaving").await;
    // Nobody finishes it here, as in a cluster where a finalizer is stuck.
    client.send("DELETE", "/api/v1/namespaces/leaving", None).await.unwrap().ok();
    eventually("new objects to be refused there", PATIENCE, async || {
        (tried(&client, "leaving", "some").await.0 == 403).then_some(())
    })
    .await;
    let registry = "- name: onboard\n  files: {path: services}\n  services: {stuck: {namespace: leaving}}\n  outputs: [cluster]";
    let sink = format!("kubeconfig: '{}', leaseNamespace: default", api.kubeconfig().display());
    let chandler = writing(registry, &sink)
        .service_file("stuck.yaml", &service("stuck", &["10.0.0.1"]))
        .service_file("web.yaml", &service("web", &["10.0.0.2"]))
        .start()
        .await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    let one = |r: &Value| r["up"] == true && r["failing"] == 1 && r["pending"] == 1;
    let row = until_row(&chandler, "one that cannot be written", one).await;
    let (name, reason) = &reasons(&row)[0];
    assert_eq!(name, "ServiceEntry leaving/stuck.example.internal");
    assert!(reason.contains("because it is being terminated"), "{reason}");
    // And still nobody is held up.
    chandler.write_services("web.yaml", &service("web", &["10.0.0.3"]));
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.3").await;
}

/// A webhook that is asked about the ServiceEntry called `name`, and nothing else.
async fn guard(client: &Curl, name: &str, client_config: Value) {
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "owners.example.internal", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "clientConfig": client_config,
            "rules": [{"apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [SE]}],
            "matchConditions": [{"name": "one", "expression": format!("object.metadata.name == '{name}'")}],
        }],
    });
    let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}");
    client.apply(&path, &webhook.to_string(), false).await.ok();
    eventually(&format!("{name} to be refused"), PATIENCE, async || {
        (tried(client, "chandler", name).await.0 >= 400).then_some(())
    })
    .await;
}

async fn release(client: &Curl, name: &str) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}");
    client.send("DELETE", &path, None).await.unwrap().ok();
}

#[tokio::test]
async fn what_a_webhook_refuses_or_fails_at_is_named_and_holds_up_no_other() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    namespace(&client, "chandler").await;
    let webhook = Webhook::start(json!({"code": 403, "message": "it has no owner"})).await;
    let (bad, lost) = ("bad.example.internal", "lost.example.internal");
    guard(&client, bad, webhook.client_config()).await;
    // Nobody listens there: the server fails, and not only says no.
    let mut nobody = webhook.client_config();
    nobody["url"] = json!(format!("https://{}/", free_address()));
    guard(&client, lost, nobody).await;
    let chandler = chandler(&api, "inline", "")
        .service_file("bad.yaml", &service("bad", &["10.0.0.1"]))
        .service_file("lost.yaml", &service("lost", &["10.0.0.2"]))
        .service_file("web.yaml", &service("web", &["10.0.0.3"]))
        .start()
        .await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    let two = |r: &Value| r["up"] == true && r["failing"] == 2 && r["pending"] == 2;
    let row = until_row(&chandler, "two that cannot be written", two).await;
    let all = reasons(&row);
    assert_eq!(all[0].0, format!("ServiceEntry chandler/{bad}"));
    assert!(all[0].1.contains("denied the request: it has no owner"), "{all:?}");
    assert_eq!(all[1].0, format!("ServiceEntry chandler/{lost}"));
    assert!(all[1].1.contains("failed calling webhook"), "{all:?}");
    // However often the server fails at the one, it is not the server that is ill.
    eventually("five failures", PATIENCE * 2, async || (answered(&chandler, 500).await >= 5).then_some(()))
        .await;
    chandler.write_services("web.yaml", &service("web", &["10.0.0.4"]));
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.4").await;
    assert!(!chandler.log_contains("writing pauses"));
    for name in [bad, lost] {
        release(&client, name).await;
    }
    until_row(&chandler, "in step", |r| in_step(r) && r["failing"] == 0).await;
    assert!(object(&client, SE, bad).await.is_some() && object(&client, SE, lost).await.is_some());
}

#[tokio::test]
async fn the_real_server_gets_the_time_that_it_asks_for() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let mut chandler = chandler(&api, "inline", ", parallelism: 1")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .start()
        .await;
    until_row(&chandler, "in step", in_step).await;
    let details = json!({"retryAfterSeconds": 2});
    let status = json!({"code": 429, "reason": "TooManyRequests", "message": "not now", "details": details});
    let webhook = Webhook::start(status).await;
    guard(&client, WEB, webhook.client_config()).await;
    let began = Instant::now();
    chandler.write_services("web.yaml", &service("web", &["10.0.0.2"]));
    eventually("three refusals", PATIENCE, async || (answered(&chandler, 429).await >= 3).then_some(()))
        .await;
    // Twice nearly two seconds; a pause of our own choice would be less than one.
    assert!(began.elapsed() >= Duration::from_millis(3200), "{:?}", began.elapsed());
    let row = until_row(&chandler, "turned away", |r| r["problem"].is_string()).await;
    assert!(row["problem"].as_str().unwrap().contains("429"), "{row}");
    release(&client, WEB).await;
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.2").await;
    chandler.process().wait_for_log("writing goes on").await;
    until_row(&chandler, "in step again", |r| in_step(r) && r["failing"] == 0).await;
}
