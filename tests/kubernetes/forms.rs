//! Which form a service takes by itself: by the number of its endpoints, and by the size of its object.

use serde_json::{Value, json};

use crate::both;
use crate::cluster::{
    Cluster, chandler, cluster, in_step, object, objects, requests, service, until, until_row, writing,
};
use crate::needs;

const SE: &str = "serviceentries";
const WE: &str = "workloadentries";
const WEB: &str = "web.example.internal";

fn web(count: usize) -> String {
    let all: Vec<String> = (1..=count).map(|n| format!("10.0.0.{n}")).collect();
    service("web", &all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn is_apart(entry: &Value) -> bool {
    entry["spec"]["workloadSelector"].is_object() && entry["spec"]["endpoints"].is_null()
}

async fn a_service_is_taken_apart_when_it_has_many_endpoints(api: Cluster) {
    let client = api.client();
    let chandler =
        chandler(&api, "auto", ", inlineEndpoints: 4").service_file("web.yaml", &web(4)).start().await;
    until_row(&chandler, "one object", |r| in_step(r) && r["wanted"] == 1).await;
    let entry = object(&client, SE, WEB).await.expect("it is there");
    assert_eq!(entry["spec"]["endpoints"].as_array().map(Vec::len), Some(4), "{entry}");
    chandler.write_services("web.yaml", &web(5));
    until_row(&chandler, "an entry and five endpoints", |r| in_step(r) && r["wanted"] == 6).await;
    let now = object(&client, SE, WEB).await.expect("it is there");
    assert!(is_apart(&now), "{now}");
    assert_eq!(now["metadata"]["uid"], entry["metadata"]["uid"], "changed, not made anew");
    assert_eq!(objects(&client, WE).await.len(), 5);
    // One that hovers about the number does not go to and fro: it is put together at half of it.
    chandler.write_services("web.yaml", &web(3));
    until_row(&chandler, "an entry and three endpoints", |r| in_step(r) && r["wanted"] == 4).await;
    assert!(is_apart(&object(&client, SE, WEB).await.expect("it is there")));
    chandler.write_services("web.yaml", &web(2));
    until_row(&chandler, "one object", |r| in_step(r) && r["wanted"] == 1).await;
    let now = object(&client, SE, WEB).await.expect("it is there");
    assert_eq!(now["spec"]["endpoints"].as_array().map(Vec::len), Some(2), "{now}");
    assert!(objects(&client, WE).await.is_empty());
}

both!(a_service_is_taken_apart_when_it_has_many_endpoints);

/// A service whose endpoints have as many labels as takes about two KiB each.
fn heavy(name: &str, count: usize) -> String {
    let labels: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("a-label-of-many-{n}"), "x".repeat(60).into())).collect();
    let endpoints: Vec<Value> = (0..count)
        .map(|n| json!({"address": format!("10.1.{}.{}", n / 250, n % 250 + 1), "labels": labels}))
        .collect();
    json!({"services": [{
        "name": name, "hosts": [format!("{name}.example.internal")],
        "ports": [{"number": 80, "protocol": "HTTP"}], "endpoints": endpoints,
    }]})
    .to_string()
}

#[tokio::test]
async fn a_service_is_taken_apart_before_its_object_is_too_large_and_one_that_may_not_be_is_named() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let registries = "- name: onboard\n  files: {path: services/auto}\n  outputs: [cluster]\n\
        - name: whole\n  files: {path: services/whole}\n  outputs: [{sink: cluster, form: inline}]";
    let sink = format!("kubeconfig: '{}', leaseNamespace: default", api.kubeconfig().display());
    let chandler = writing(registries, &sink)
        .service_file("auto/heavy.yaml", &heavy("heavy", 400))
        .service_file("whole/large.yaml", &heavy("large", 1200))
        .service_file("whole/small.yaml", &service("small", &["10.0.0.1"]))
        .start()
        .await;
    // Fewer than 500, and still apart: 400 of them are more than half a MiB.
    let all = |r: &Value| r["wanted"] == 403 && r["pending"] == 1 && r["failing"] == 1;
    let row = until_row(&chandler, "all but the one that is too large", all).await;
    assert!(is_apart(&object(&client, SE, "heavy.example.internal").await.expect("it is there")));
    assert_eq!(objects(&client, WE).await.len(), 400);
    assert!(object(&client, SE, "small.example.internal").await.is_some());
    let failure = &row["failures"][0];
    assert_eq!(failure["object"], "ServiceEntry chandler/large.example.internal");
    assert!(failure["reason"].as_str().unwrap().contains("too large"), "{failure}");
    // It is written as soon as it fits.
    chandler.write_services("whole/large.yaml", &heavy("large", 300));
    until(&client, SE, "large.example.internal", "to be there", |_| true).await;
    until_row(&chandler, "in step", |r| in_step(r) && r["failing"] == 0).await;
    assert!(requests(&chandler, "PATCH").await >= 403);
}
