//! What the guard holds stays in the cluster, and what a registry takes away itself goes from it at once.

use serde_json::{Value, json};

use crate::both;
use crate::cluster::{
    API, Cluster, Kube, Server as _, cluster, in_step, object, requests, service, until, until_gone,
    until_row, writing,
};
use crate::needs;
use crate::support::{Ask, Chandler, Consul, PATIENCE, Place, eventually};

const SE: &str = "serviceentries";
const WE: &str = "workloadentries";
const WEB: &str = "web.example.internal";
const DB: &str = "db.example.internal";

fn sink(api: &Cluster) -> String {
    format!("kubeconfig: '{}', leaseNamespace: default", api.kubeconfig().display())
}

/// What is held, once there is something.
async fn until_held(chandler: &Chandler) -> Value {
    eventually("something to be held", PATIENCE, async || {
        let held = chandler.api("/api/v1/held").await;
        (!held.as_array()?.is_empty()).then_some(held)
    })
    .await
}

async fn version(client: &impl Kube, name: &str) -> Value {
    object(client, SE, name).await.expect("it is there")["metadata"]["resourceVersion"].clone()
}

async fn what_is_held_stays_and_what_is_deregistered_goes_at_once(api: Cluster) {
    let client = api.client();
    // Nothing is let go by time alone while a test runs.
    let registry =
        "- name: onboard\n  files: {path: services}\n  guard: {removalHold: 1h}\n  outputs: [cluster]";
    let chandler = writing(registry, &sink(&api))
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("db.yaml", &service("db", &["10.0.0.2"]))
        .start()
        .await;
    until_row(&chandler, "two objects", |r| in_step(r) && r["wanted"] == 2).await;
    let before = version(&client, WEB).await;
    // A file that vanishes is silent absence.
    chandler.remove_services("web.yaml");
    let held = until_held(&chandler).await;
    assert!(held.to_string().contains("\"web\""), "{held}");
    // What comes later is written: the sink has seen the state in which web is held.
    chandler.write_services("new.yaml", &service("new", &["10.0.0.3"]));
    until(&client, SE, "new.example.internal", "to be there", |_| true).await;
    until_row(&chandler, "three objects", |r| in_step(r) && r["wanted"] == 3).await;
    assert_eq!(version(&client, WEB).await, before, "it is not even touched");
    assert_eq!(requests(&chandler, "DELETE").await, 0);
    // An entry that is taken out of its file is the registry's own word.
    chandler.write_services("db.yaml", r#"{"services": []}"#);
    until_gone(&client, SE, DB).await;
    assert_eq!(version(&client, WEB).await, before);
    // A person's word lets go of the other.
    let all = Ask::new("POST", "/api/v1/held/release").json(&json!({"registry": "onboard"}));
    Place::Host.ask(chandler.admin, all).await.expect("an answer").ok();
    until_gone(&client, SE, WEB).await;
    until_row(&chandler, "one object", |r| in_step(r) && r["wanted"] == 1).await;
}

both!(what_is_held_stays_and_what_is_deregistered_goes_at_once);

#[tokio::test]
async fn a_registry_that_restarts_empty_takes_nothing_out_of_the_cluster() {
    needs!(KubeApiserver, Etcd, Consul);
    let api = Cluster::Real(Box::new(cluster().await));
    let client = api.client();
    let mut consul = Consul::start().await;
    let instance =
        |name: &str, address: &str| json!({"Name": name, "ID": name, "Address": address, "Port": 80});
    // Far on by now: one that begins anew is known by its index.
    for n in 0..50 {
        consul.put("/v1/kv/filler", &json!(n)).await;
    }
    for (name, address) in [("web", "10.0.0.1"), ("db", "10.0.0.2")] {
        consul.register(&instance(name, address)).await;
    }
    // Consul itself is a service without a use here.
    let registry = format!(
        "- name: prod\n  consul: {{address: 'http://{}', localDatacenter: dc1}}\n  guard: {{removalHold: 1h}}\n  \
         select: {{exclude: [{{name: consul}}]}}\n  outputs: [{{sink: cluster, form: workloadEntries}}]",
        consul.address()
    );
    let chandler = writing(&registry, &sink(&api)).start().await;
    until_row(&chandler, "four objects", |r| in_step(r) && r["wanted"] == 4).await;
    let host = |name: &str| format!("{name}.service.consul");
    let before = (version(&client, &host("web")).await, version(&client, &host("db")).await);
    consul.kill().await;
    consul.start_again().await;
    until_held(&chandler).await;
    consul.register(&instance("new", "10.0.0.3")).await;
    until(&client, SE, &host("new"), "to be there", |_| true).await;
    until_row(&chandler, "six objects", |r| in_step(r) && r["wanted"] == 6).await;
    assert_eq!((version(&client, &host("web")).await, version(&client, &host("db")).await), before);
    assert_eq!(requests(&chandler, "DELETE").await, 0);
    let workloads = format!("{API}/{WE}");
    let all = client.ask("GET", &workloads, None).await.expect("an answer").ok();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(3), "{all}");
}
