//! What goes wrong between the sink and the API server.

use serde_json::Value;

use crate::cluster::{
    API, chandler, cluster, in_step, install, object, objects, requests, row, service, until, until_gone,
    until_requests, until_row, writing,
};
use crate::needs;
use crate::support::{ApiServer, Chandler, Curl, PATIENCE, eventually};

const SE: &str = "serviceentries";
const WEB: &str = "web.example.internal";

/// Rights for the user who has none, as YAML of one rule each.
async fn grant(client: &Curl, name: &str, rules: &str) {
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\nrules: {rules}\n"
    );
    client.apply(&format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}"), &role, false).await.ok();
    let binding = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}}]\n"
    );
    let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}");
    client.apply(&path, &binding, false).await.ok();
}

#[tokio::test]
async fn what_a_right_is_missing_for_is_said_and_done_once_it_is_there() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: chandler}\n";
    client.apply("/api/v1/namespaces/chandler", namespace, false).await.ok();
    let kubeconfig = format!(", kubeconfig: '{}'", api.user_kubeconfig().display());
    let builder = chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"]));
    let mut chandler = builder.start().await;
    chandler.terminate().await;
    client.send("DELETE", &format!("{API}/namespaces/chandler/{SE}/{WEB}"), None).await;
    let admin = format!("kubeconfig: '{}'", api.kubeconfig().display());
    let text = std::fs::read_to_string(chandler.config_file()).unwrap().replace(&admin, &kubeconfig[2..]);
    std::fs::write(chandler.config_file(), text).unwrap();
    chandler.start_again().await;
    let row = until_row(&chandler, "refused", |r| r["up"] == false && r["problem"].is_string()).await;
    assert!(row["problem"].as_str().unwrap().contains("alice"), "{row}");
    // What the chart grants, and nothing more; the namespace is somebody else's to make.
    grant(
        &client,
        "lease",
        "[{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}]",
    )
    .await;
    let rights = |verbs: &str| {
        format!(
            "[{{apiGroups: [networking.istio.io], resources: [serviceentries, workloadentries], verbs: {verbs}}}]"
        )
    };
    grant(&client, "sink", &rights("[list, watch]")).await;
    let row = until_row(&chandler, "not allowed to write", |r| r["up"] == true && r["failing"] == 1).await;
    let reason = row["failures"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("403") && reason.contains("serviceentries"), "{reason}");
    grant(&client, "sink", &rights("[list, watch, create, patch, delete]")).await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    until_row(&chandler, "in step", |r| in_step(r) && r["failing"] == 0).await;
}

#[tokio::test]
async fn a_namespace_that_may_not_be_made_is_named() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let chandler = chandler(&api, "inline", ", createNamespaces: false")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .start()
        .await;
    let row = until_row(&chandler, "a missing namespace", |r| r["failing"] == 1).await;
    let reason = row["failures"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("namespace \"chandler\" is not there"), "{reason}");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: chandler}\n";
    client.apply("/api/v1/namespaces/chandler", namespace, false).await.ok();
    until(&client, SE, WEB, "to be there", |_| true).await;
}

#[tokio::test]
async fn changes_while_the_server_is_away_are_one_pass_when_it_is_back() {
    needs!(KubeApiserver, Etcd);
    let mut api = cluster().await;
    let client = api.client();
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    until_row(&chandler, "in step", in_step).await;
    let before = requests(&chandler, "PATCH").await;
    api.kill().await;
    until_row(&chandler, "down", |r| r["up"] == false).await;
    for n in 2..6 {
        let address = format!("10.0.0.{n}");
        chandler.write_services("web.yaml", &service("web", &[&address]));
        eventually("the change to be read", PATIENCE, async || {
            let known = chandler.api("/api/v1/services?name=web").await.to_string();
            known.contains(&address).then_some(())
        })
        .await;
    }
    api.start_again().await;
    until(&client, SE, WEB, "to be the last", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.5").await;
    // One pass, whatever was tried while it was away.
    until_requests(&chandler, "PATCH", before + 1).await;
    until_row(&chandler, "in step", in_step).await;
    assert!(!chandler.log_contains("kube_client"), "what is said of it is ours, and said once");
}

#[tokio::test]
async fn kinds_that_come_later_are_written_then() {
    needs!(KubeApiserver, Etcd);
    let api = ApiServer::start().await;
    let client = api.client();
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    let row = until_row(&chandler, "without kinds", |r| r["problem"].is_string()).await;
    assert!(row["problem"].as_str().unwrap().contains("install Istio's CustomResourceDefinitions"), "{row}");
    install(&api).await;
    until(&client, SE, WEB, "to be there", |_| true).await;
    until_row(&chandler, "in step", in_step).await;
}

#[tokio::test]
async fn one_of_two_writes_and_the_other_takes_over_without_a_write() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let registry = "- name: onboard\n  files: {path: services}\n  outputs: [wires, cluster]";
    let sink = format!("kubeconfig: '{}', leaseNamespace: default", api.kubeconfig().display());
    let build = || writing(registry, &sink).service_file("web.yaml", &service("web", &["10.0.0.1"]));
    let mut first = build().start().await;
    until_row(&first, "in step", in_step).await;
    let mut second = build().start().await;
    let waits =
        |r: &Value| r["up"] == true && r["writer"] == false && r["holder"].is_string() && r["pending"] == 0;
    until_row(&second, "waiting", waits).await;
    assert_eq!(requests(&second, "PATCH").await, 0);
    // Who waits to write serves its wires as the other one does.
    let (status, out, err) =
        Chandler::command(&["get", "se", "--server", &second.grpc.to_string()], &second.services_dir()).await;
    assert!(status.success() && out.contains(WEB), "{out}{err}");
    let made = object(&client, SE, WEB).await.unwrap();
    // It goes without a word: the lease runs out.
    first.kill().await;
    until_row(&second, "in step", in_step).await;
    assert_eq!(requests(&second, "PATCH").await, 0, "nothing is touched needlessly");
    assert_eq!(
        object(&client, SE, WEB).await.unwrap()["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    // It goes with a word: the lease is free at once.
    first.start_again().await;
    until_row(&first, "waiting", waits).await;
    second.terminate().await;
    until_row(&first, "in step", in_step).await;
    first.write_services("web.yaml", &service("web", &["10.0.0.7"]));
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.7").await;
    let lease =
        client.get("/apis/coordination.k8s.io/v1/namespaces/default/leases/chandler-default.cluster").await;
    assert_eq!(lease.unwrap().ok()["spec"]["leaseTransitions"], 2);
}

#[tokio::test]
async fn a_writer_that_cannot_renew_stops_before_its_lease_is_over() {
    needs!(KubeApiserver, Etcd);
    let mut api = cluster().await;
    let chandler =
        chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    until_row(&chandler, "in step", in_step).await;
    // The server takes connections and says nothing.
    api.store().signal("STOP").await;
    // By its own clock: nobody can tell it anything.
    until_row(&chandler, "not writing", |r| r["writer"] == false && r["up"] == false).await;
    // What is wanted meanwhile waits.
    let before = requests(&chandler, "PATCH").await;
    chandler.write_services("web.yaml", &service("web", &["10.0.0.2"]));
    until_row(&chandler, "something to be written", |r| r["pending"] == 1 && r["writer"] == false).await;
    assert_eq!(requests(&chandler, "PATCH").await, before);
    api.store().signal("CONT").await;
    let client = api.client();
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.2").await;
    until_requests(&chandler, "PATCH", before + 1).await;
    until_row(&chandler, "in step again", in_step).await;
}

#[tokio::test]
async fn a_writer_that_was_frozen_writes_nothing_when_it_wakes() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let build = || chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"]));
    let mut first = build().start().await;
    until_row(&first, "in step", in_step).await;
    let second = build().start().await;
    let waits = |r: &Value| r["up"] == true && r["writer"] == false && r["pending"] == 0;
    until_row(&second, "waiting", waits).await;
    let before = requests(&first, "PATCH").await;
    // What it would write when it wakes is not what the other one has written by then.
    first.process().signal("STOP").await;
    first.write_services("web.yaml", &service("web", &["10.0.0.8"]));
    until_row(&second, "writing", in_step).await;
    second.write_services("web.yaml", &service("web", &["10.0.0.9"]));
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.9").await;
    first.process().signal("CONT").await;
    let holder = row(&second).await["holder"].clone();
    let beaten = |r: &Value| r["writer"] == false && r["holder"] == holder && r["pending"] == 1;
    until_row(&first, "another's and something to write", beaten).await;
    assert_eq!(requests(&first, "PATCH").await, before, "the lease ran out while it was frozen");
    let now = object(&client, SE, WEB).await.unwrap();
    assert_eq!(now["spec"]["endpoints"][0]["address"], "10.0.0.9");
}

#[tokio::test]
async fn a_token_that_changed_is_read_again() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let dir = tempfile::tempdir().unwrap();
    let (token, kubeconfig) = (dir.path().join("token"), dir.path().join("kubeconfig"));
    std::fs::write(&token, "expired").unwrap();
    let text = std::fs::read_to_string(api.kubeconfig()).unwrap();
    let text = text.replace("token: admin-token", &format!("tokenFile: '{}'", token.display()));
    std::fs::write(&kubeconfig, text).unwrap();
    let admin = api.kubeconfig().display().to_string();
    let builder = chandler(&api, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"]));
    let mut chandler = builder.start().await;
    chandler.terminate().await;
    let config = std::fs::read_to_string(chandler.config_file()).unwrap();
    std::fs::write(chandler.config_file(), config.replace(&admin, &kubeconfig.display().to_string()))
        .unwrap();
    chandler.start_again().await;
    let row = until_row(&chandler, "refused", |r| r["problem"].is_string()).await;
    assert!(row["problem"].as_str().unwrap().contains("401"), "{row}");
    std::fs::write(&token, "admin-token").unwrap();
    until_row(&chandler, "in step", in_step).await;
    assert!(object(&client, SE, WEB).await.is_some());
}

#[tokio::test]
async fn an_unread_registry_deletes_nothing() {
    needs!(KubeApiserver, Etcd);
    let api = cluster().await;
    let client = api.client();
    let mut chandler = chandler(&api, "inline", "")
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("db.yaml", &service("db", &["10.0.0.2"]))
        .start()
        .await;
    until_row(&chandler, "in step", in_step).await;
    chandler.terminate().await;
    chandler.remove_services("db.yaml");
    // Broken at start: this read is not complete.
    chandler.write_services("web.yaml", "services: [");
    chandler.start_again().await;
    let quiet = |r: &Value| r["up"] == true && r["writer"] == true;
    until_row(&chandler, "writing", quiet).await;
    assert_eq!(objects(&client, SE).await.len(), 2);
    assert_eq!(requests(&chandler, "DELETE").await, 0);
    chandler.write_services("web.yaml", &service("web", &["10.0.0.1"]));
    until_gone(&client, SE, "db.example.internal").await;
    assert!(object(&client, SE, WEB).await.is_some());
}
