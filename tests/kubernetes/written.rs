//! What is written, kept as it is, and removed.

use serde_json::{Value, json};

use crate::both;
use crate::cluster::{
    API, Cluster, Server as _, chandler, in_step, object, objects, requests, service, until, until_gone,
    until_requests, until_row,
};
use crate::support::{Chandler, PATIENCE, eventually};

const SE: &str = "serviceentries";
const WE: &str = "workloadentries";
const WEB: &str = "web.example.internal";

fn addresses(entry: &Value) -> Vec<&str> {
    let endpoints = entry["spec"]["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    endpoints.iter().filter_map(|e| e["address"].as_str()).collect()
}

async fn services_come_change_and_go_with_their_registry(api: Cluster) {
    let client = api.client();
    let chandler =
        chandler(&api, "auto", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    let made = until(&client, SE, WEB, "to be there", |_| true).await;
    assert_eq!(made["metadata"]["labels"]["app.kubernetes.io/managed-by"], "chandler");
    assert_eq!(made["metadata"]["labels"]["chandler/registry"], "onboard");
    assert_eq!(made["metadata"]["labels"]["chandler/instance"], "default.cluster");
    assert_eq!(addresses(&made), ["10.0.0.1"]);
    assert_eq!(made["spec"]["hosts"], json!([WEB]));
    let manager = &made["metadata"]["managedFields"][0];
    assert_eq!((&manager["manager"], &manager["operation"]), (&json!("chandler"), &json!("Apply")));
    until_row(&chandler, "in step", in_step).await;
    let before = requests(&chandler, "PATCH").await;
    chandler.write_services("web.yaml", &service("web", &["10.0.0.1", "10.0.0.2"]));
    until(&client, SE, WEB, "two endpoints", |o| addresses(o) == ["10.0.0.1", "10.0.0.2"]).await;
    until_requests(&chandler, "PATCH", before + 1).await;
    chandler.write_services("web.yaml", r#"{"services": []}"#);
    until_gone(&client, SE, WEB).await;
    chandler.write_services("db.yaml", &service("db", &["10.0.0.9"]));
    until(&client, SE, "db.example.internal", "to come", |_| true).await;
    until_requests(&chandler, "DELETE", 1).await;
}

async fn an_entry_that_selects_has_an_object_for_each_endpoint(api: Cluster) {
    let client = api.client();
    let chandler = chandler(&api, "workloadEntries", "")
        .service_file("web.yaml", &service("web", &["10.0.0.1", "10.0.0.2"]))
        .start()
        .await;
    let entry = until(&client, SE, WEB, "to be there", |_| true).await;
    let selector = entry["spec"]["workloadSelector"]["labels"].clone();
    assert_eq!(selector, json!({"chandler/entry": WEB}));
    assert!(entry["spec"]["endpoints"].is_null(), "{entry}");
    let workloads = objects(&client, WE).await;
    assert_eq!(workloads.len(), 2);
    for workload in &workloads {
        assert_eq!(workload["metadata"]["labels"]["chandler/entry"], WEB);
        assert_eq!(workload["spec"]["labels"]["chandler/entry"], WEB);
    }
    until_row(&chandler, "in step", in_step).await;
    let version = entry["metadata"]["resourceVersion"].clone();
    let before = (requests(&chandler, "PATCH").await, requests(&chandler, "DELETE").await);
    chandler.write_services("web.yaml", &service("web", &["10.0.0.2", "10.0.0.3"]));
    eventually("the endpoints to be exchanged", PATIENCE, async || {
        let workloads = objects(&client, WE).await;
        let mut at: Vec<_> =
            workloads.iter().map(|w| w["spec"]["address"].as_str().unwrap().to_owned()).collect();
        at.sort();
        (at == ["10.0.0.2", "10.0.0.3"]).then_some(())
    })
    .await;
    // Two requests for an exchanged endpoint.
    until_requests(&chandler, "PATCH", before.0 + 1).await;
    until_requests(&chandler, "DELETE", before.1 + 1).await;
    let entry = object(&client, SE, WEB).await.unwrap();
    assert_eq!(entry["metadata"]["resourceVersion"], version, "the entry itself is not touched");
}

async fn what_a_person_edits_or_deletes_is_put_right(api: Cluster) {
    let client = api.client();
    let mut chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    let made = until(&client, SE, WEB, "to be there", |_| true).await;
    let path = format!("{API}/namespaces/chandler/{SE}/{WEB}");
    let patch = r#"{"spec":{"resolution":"DNS","endpoints":[{"address":"6.6.6.6"}]},"metadata":{"labels":{"chandler/registry":"x"}}}"#;
    let merge = Some(("application/merge-patch+json", patch));
    client.send("PATCH", &format!("{path}?fieldManager=kubectl-edit"), merge).await.unwrap().ok();
    until(&client, SE, WEB, "to be as it was", |o| {
        addresses(o) == ["10.0.0.1"]
            && o["spec"]["resolution"] == "STATIC"
            && o["metadata"]["labels"]["chandler/registry"] == "onboard"
    })
    .await;
    chandler.process().wait_for_log("put right what was changed by hand").await;
    client.send("DELETE", &path, None).await.unwrap().ok();
    let again =
        until(&client, SE, WEB, "to be back", |o| o["metadata"]["uid"] != made["metadata"]["uid"]).await;
    assert_eq!(addresses(&again), ["10.0.0.1"]);
}

async fn what_another_applier_claims_is_named_and_left_alone(api: Cluster) {
    let client = api.client();
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    until_row(&chandler, "in step", in_step).await;
    let path = format!("{API}/namespaces/chandler/{SE}/{WEB}");
    let theirs = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {WEB}, namespace: chandler}}\nspec: {{resolution: NONE}}\n"
    );
    client.apply(&path, &theirs).await.ok();
    let row = until_row(&chandler, "a conflict", |r| r["failing"] == 1).await;
    let reason = row["failures"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("resolution") && reason.contains("tests"), "{reason}");
    let now = object(&client, SE, WEB).await.unwrap();
    assert_eq!(now["spec"]["resolution"], "NONE", "it is theirs");
}

async fn what_is_not_ours_is_never_touched(api: Cluster) {
    let client = api.client();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: chandler}\n";
    client.apply("/api/v1/namespaces/chandler", namespace).await.ok();
    let by_hand = |name: &str, labels: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: chandler, labels: {labels}}}\n\
             spec: {{hosts: [{name}], resolution: NONE}}\n"
        )
    };
    let others =
        "{app.kubernetes.io/managed-by: chandler, chandler/instance: other, chandler/registry: onboard}";
    for (name, labels) in [(WEB, "{}"), ("old.example.internal", "{}"), ("theirs.example.internal", others)] {
        let path = format!("{API}/namespaces/chandler/{SE}/{name}");
        client.apply(&path, &by_hand(name, labels)).await.ok();
    }
    let before = object(&client, SE, WEB).await.unwrap();
    let chandler = chandler(&api, "inline", "")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("db.yaml", &service("db", &["10.0.0.2"]))
        .start()
        .await;
    let row = until_row(&chandler, "all it can", |r| in_step(r) && r["failing"] == 1).await;
    assert!(row["failures"][0]["reason"].as_str().unwrap().contains("made by somebody else"), "{row}");
    assert!(object(&client, SE, "db.example.internal").await.is_some());
    assert_eq!(object(&client, SE, WEB).await.unwrap(), before);
    for name in ["old.example.internal", "theirs.example.internal"] {
        assert!(object(&client, SE, name).await.is_some(), "{name}");
    }
    // The way is free once theirs has gone.
    client.send("DELETE", &format!("{API}/namespaces/chandler/{SE}/{WEB}"), None).await.unwrap().ok();
    until(&client, SE, WEB, "to be ours", |o| o["spec"]["resolution"] == "STATIC").await;
}

async fn a_restart_writes_nothing_and_removes_what_went_meanwhile(api: Cluster) {
    let client = api.client();
    let mut chandler = chandler(&api, "auto", ", inlineEndpoints: 2")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("many.yaml", &service("many", &["10.0.1.1", "10.0.1.2", "10.0.1.3"]))
        .service_file("old.yaml", &service("old", &["10.0.2.1"]))
        .start()
        .await;
    until_row(&chandler, "six objects", |r| in_step(r) && r["wanted"] == 6).await;
    // A label that somebody else adds is theirs.
    let label = Some(("application/merge-patch+json", r#"{"metadata":{"labels":{"team":"pay"}}}"#));
    client.send("PATCH", &format!("{API}/namespaces/chandler/{SE}/{WEB}"), label).await.unwrap().ok();
    assert!(chandler.terminate().await.success());
    let versions = |all: &[Value]| -> Vec<Value> {
        all.iter().map(|o| o["metadata"]["resourceVersion"].clone()).collect()
    };
    let mut before = objects(&client, SE).await;
    before.retain(|o| o["metadata"]["name"] != "old.example.internal");
    chandler.remove_services("old.yaml");
    chandler.start_again().await;
    until_gone(&client, SE, "old.example.internal").await;
    until_row(&chandler, "in step", |r| in_step(r) && r["wanted"] == 5).await;
    assert_eq!(requests(&chandler, "PATCH").await, 0);
    assert_eq!(requests(&chandler, "DELETE").await, 1);
    assert_eq!(versions(&objects(&client, SE).await), versions(&before));
}

async fn a_plan_shows_what_would_happen_and_pruning_leaves_nothing_of_ours(api: Cluster) {
    let client = api.client();
    let mut chandler = chandler(&api, "workloadEntries", "")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .start()
        .await;
    until_row(&chandler, "in step", in_step).await;
    let config = chandler.config_file();
    let run = async |args: &[&str]| {
        let mut all = vec!["sink"];
        all.extend(args);
        all.extend(["--config", config.to_str().unwrap()]);
        Chandler::command(&all, config.parent().unwrap()).await
    };
    chandler.terminate().await;
    chandler.write_services("db.yaml", &service("db", &["10.0.0.9"]));
    let (status, out, err) = run(&["diff"]).await;
    assert!(status.success(), "{err}");
    assert!(out.starts_with("cluster: 2 to create, 0 to change, 0 to remove, 2 as they are\n"), "{out}");
    assert!(out.contains("+ ServiceEntry chandler/db.example.internal"), "{out}");
    assert!(object(&client, SE, "db.example.internal").await.is_none(), "a plan writes nothing");
    let (_, out, _) = run(&["prune"]).await;
    assert_eq!(out.lines().count(), 2, "{out}");
    chandler.start_again().await;
    until_row(&chandler, "in step", in_step).await;
    let (status, _, err) = run(&["prune", "--yes"]).await;
    assert!(!status.success() && err.contains("holds the lease"), "{err}");
    chandler.terminate().await;
    let (status, out, err) = run(&["prune", "--yes"]).await;
    assert!(status.success(), "{err}");
    assert_eq!(out, "cluster: 4 objects removed\n");
    assert!(objects(&client, SE).await.is_empty() && objects(&client, WE).await.is_empty());
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/chandler-default.cluster";
    assert_eq!(client.send("GET", lease, None).await.expect("an answer").status, 404);
}

async fn a_form_changes_while_it_runs(api: Cluster) {
    let client = api.client();
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    until_row(&chandler, "in step", in_step).await;
    let text = std::fs::read_to_string(chandler.config_file()).unwrap();
    std::fs::write(chandler.config_file(), text.replace("form: inline", "form: workloadEntries")).unwrap();
    until(&client, SE, WEB, "to select", |o| o["spec"]["workloadSelector"].is_object()).await;
    until_row(&chandler, "two objects", |r| in_step(r) && r["wanted"] == 2).await;
    std::fs::write(chandler.config_file(), text).unwrap();
    until(&client, SE, WEB, "to hold its endpoint", |o| addresses(o) == ["10.0.0.1"]).await;
    until_row(&chandler, "one object", |r| in_step(r) && r["wanted"] == 1).await;
    assert!(objects(&client, WE).await.is_empty());
}

/// The words on which a watch begins anew: a success, and the failure in it.
async fn a_watch_from_before_all_memory_is_told_so_within_its_answer(api: Cluster) {
    let client = api.client();
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    until_row(&chandler, "in step", in_step).await;
    if let Cluster::Stub(stub, _) = &api {
        stub.forget();
    }
    let path = format!("{API}/{SE}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=1");
    let answer = client.send("GET", &path, None).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let line: Value = serde_json::from_str(answer.body.lines().next().expect("a line")).unwrap();
    assert_eq!((&line["type"], &line["object"]["code"]), (&json!("ERROR"), &json!(410)), "{line}");
    assert_eq!(line["object"]["reason"], "Expired", "{line}");
}

both!(
    a_watch_from_before_all_memory_is_told_so_within_its_answer,
    services_come_change_and_go_with_their_registry,
    an_entry_that_selects_has_an_object_for_each_endpoint,
    what_a_person_edits_or_deletes_is_put_right,
    what_another_applier_claims_is_named_and_left_alone,
    what_is_not_ours_is_never_touched,
    a_restart_writes_nothing_and_removes_what_went_meanwhile,
    a_plan_shows_what_would_happen_and_pruning_leaves_nothing_of_ours,
    a_form_changes_while_it_runs,
);

#[tokio::test]
async fn a_watch_that_was_forgotten_begins_anew() {
    let api = Cluster::stub().await;
    let Cluster::Stub(stub, _) = &api else { unreachable!() };
    let client = api.client();
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    until_row(&chandler, "in step", in_step).await;
    let lists = requests(&chandler, "GET").await;
    stub.forget();
    let path = format!("{API}/namespaces/chandler/{SE}/{WEB}");
    client.send("DELETE", &path, None).await.unwrap().ok();
    until(&client, SE, WEB, "to be back", |_| true).await;
    // The first, and the one that was deleted.
    until_requests(&chandler, "PATCH", 2).await;
    assert!(requests(&chandler, "GET").await > lists, "it was listed again");
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let api = Cluster::stub().await;
    let Cluster::Stub(stub, _) = &api else { unreachable!() };
    let client = api.client();
    stub.throttle(3);
    let began = tokio::time::Instant::now();
    let mut chandler = chandler(&api, "inline", ", parallelism: 1")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .start()
        .await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    assert!(began.elapsed() >= std::time::Duration::from_millis(2400), "three times nearly a second");
    assert_eq!(stub.turned_away(), 3);
    chandler.process().wait_for_log("writing goes on").await;
}

#[tokio::test]
async fn several_clusters_are_several_sinks_and_one_that_is_down_holds_up_no_other() {
    let (east, west) = (Cluster::stub().await, Cluster::stub().await);
    let sink = |name: &str, of: &Cluster| {
        format!("- name: {name}\n  kubernetes: {{kubeconfig: '{}'}}\n", of.kubeconfig().display())
    };
    let nobody = "- name: nobody\n  kubernetes: {kubeconfig: missing}\n";
    let chandler = Chandler::build()
        .registries("- name: onboard\n  files: {path: services}\n  outputs: [east, west, nobody]")
        .config(&format!("sinks:\n{}{}{nobody}", sink("east", &east), sink("west", &west)))
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .start()
        .await;
    for cluster in [&east, &west] {
        until(&cluster.client(), SE, WEB, "to be there", |_| true).await;
    }
    let rows = eventually("each sink to say how it is", PATIENCE, async || {
        let rows = chandler.api("/api/v1/sinks").await;
        let problem = rows[1]["problem"].is_string() && rows[1]["name"] == "nobody";
        (in_step(&rows[0]) && problem && in_step(&rows[2])).then_some(rows)
    })
    .await;
    assert!(rows[1]["problem"].as_str().unwrap().contains("missing"), "{rows}");
}
