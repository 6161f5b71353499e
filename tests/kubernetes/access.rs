//! Who we are to the API server and what we may do there: the chart's rights, a pod's service account, tokens that are
//! exchanged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::cluster::{
    chandler, cluster_of, in_step, object, objects, requests, service, until, until_gone, until_row, writing,
};
use crate::needs;
use crate::support::{ApiServer, Chandler, Curl, Need, PATIENCE, eventually};

const SE: &str = "serviceentries";
const WE: &str = "workloadentries";
const WEB: &str = "web.example.internal";
/// Where the chart is installed.
const HOME: &str = "mesh";
/// The service account of the chart, as the API server calls it.
const ACCOUNT: &str = "system:serviceaccount:mesh:chandler";

/// A right: the namespace that it is for (empty: all), the resource, the verb.
type Right = (String, String, String);

/// What the chart renders about rights.
async fn rendered(values: &[&str]) -> Vec<Value> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/chart");
    let output = Command::new(Need::Helm.program())
        .args(["template", "chandler"])
        .arg(chart)
        .args(["--namespace", HOME, "--kube-version", "1.33.0", "--set", "kubernetesSink.enabled=true"])
        .args(values)
        .output()
        .await
        .expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8_lossy(&output.stdout)).expect("objects");
    let about = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    all.into_iter().filter(|o| about.iter().any(|kind| o["kind"] == *kind)).collect()
}

async fn namespace(client: &Curl, name: &str) {
    let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    client.apply(&format!("/api/v1/namespaces/{name}"), &yaml, false).await.ok();
}

async fn apply(client: &Curl, object: &Value) {
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let at = object["metadata"]["namespace"].as_str().map_or(String::new(), |n| format!("namespaces/{n}/"));
    let plural = format!("{}s", kind.to_lowercase());
    let group = if kind == "ServiceAccount" { "/api/v1" } else { "/apis/rbac.authorization.k8s.io/v1" };
    client.apply(&format!("{group}/{at}{plural}/{name}"), &object.to_string(), false).await.ok();
}

/// The rights in `objects`.
fn rights(objects: &[Value]) -> BTreeSet<Right> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| -> Vec<String> { v.as_array().into_iter().flatten().map(text).collect() };
    let mut out = BTreeSet::new();
    for role in objects {
        let at = text(&role["metadata"]["namespace"]);
        for rule in role["rules"].as_array().into_iter().flatten() {
            for resource in list(&rule["resources"]) {
                out.extend(list(&rule["verbs"]).into_iter().map(|verb| (at.clone(), resource.clone(), verb)));
            }
        }
    }
    out
}

/// Waits until the API server's own answer is that `right` is there, or is not.
async fn until_allowed(client: &Curl, right: &Right, wanted: bool) {
    let (namespace, resource, verb) = right;
    let group = match resource.as_str() {
        "leases" => "coordination.k8s.io",
        "namespaces" => "",
        _ => "networking.istio.io",
    };
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": {"namespace": namespace, "group": group, "resource": resource, "verb": verb}},
    });
    eventually(&format!("{right:?} to be {wanted}"), PATIENCE, async || {
        let body = review.to_string();
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = client.send("POST", path, Some(("application/json", &body))).await?;
        (answer.ok()["status"]["allowed"] == wanted).then_some(())
    })
    .await;
}

/// Installs what the chart renders about rights, and waits until it is in force. Returns the roles.
async fn install_rights(client: &Curl, values: &[&str]) -> Vec<Value> {
    namespace(client, HOME).await;
    let objects = rendered(values).await;
    for object in &objects {
        apply(client, object).await;
    }
    for right in rights(&objects) {
        until_allowed(client, &right, true).await;
    }
    objects
}

/// A token of the chart's service account. It dies with the Secret called `bound`.
async fn token(client: &Curl, bound: &str) -> String {
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {bound}, namespace: {HOME}}}\n");
    let path = format!("/api/v1/namespaces/{HOME}/secrets/{bound}");
    let uid = client.apply(&path, &secret, false).await.ok()["metadata"]["uid"].clone();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": ["https://kubernetes.default.svc"], "expirationSeconds": 3600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": bound, "uid": uid},
        },
    });
    let path = format!("/api/v1/namespaces/{HOME}/serviceaccounts/chandler/token");
    let answer = client.send("POST", &path, Some(("application/json", &request.to_string()))).await;
    answer.expect("an answer").ok()["status"]["token"].as_str().expect("a token").to_owned()
}

/// A kubeconfig with this token.
fn kubeconfig(api: &ApiServer, dir: &TempDir, token: &str) -> PathBuf {
    let file = dir.path().join("kubeconfig");
    let text = format!(
        "clusters: [{{name: a, cluster: {{server: 'https://{}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: a, user: {{token: '{token}'}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a, namespace: {HOME}}}}}]\ncurrent-context: a\n",
        api.address(),
        api.certificate().display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A registry of its own folder in each of two namespaces, and one whose namespace is not among those of the sink.
const THREE: &str = "- name: onboard\n  files: {path: services/a}\n  map: {namespace: a}\n  outputs: [cluster]\n\
    - name: second\n  files: {path: services/b}\n  map: {namespace: b}\n  outputs: [{sink: cluster, form: workloadEntries}]\n\
    - name: third\n  files: {path: services/c}\n  map: {namespace: c}\n  outputs: [cluster]";

/// What was asked for, by the account; everything that it was refused fails the test.
fn used(api: &ApiServer) -> BTreeSet<Right> {
    // To remove the Lease is tried by an uninstall alone, and not needed: the sink itself never does.
    let uninstall = |a: &Value| a["verb"] == "delete" && a["objectRef"]["resource"] == "leases";
    let all: Vec<Value> = api.asked_by(ACCOUNT).into_iter().filter(|a| !uninstall(a)).collect();
    let refused: Vec<&Value> = all.iter().filter(|a| a["responseStatus"]["code"] == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let of = |a: &Value| {
        let at = &a["objectRef"];
        (text(&at["namespace"]), text(&at["resource"]), text(&a["verb"]))
    };
    all.iter().map(of).collect()
}

/// To apply what is not there yet takes two rights; the audit log has the one that the request is.
fn besides_creating(rights: BTreeSet<Right>) -> BTreeSet<Right> {
    let created = |r: &Right| r.2 == "create" && [SE, WE].contains(&r.1.as_str());
    rights.into_iter().filter(|r| !created(r)).collect()
}

#[tokio::test]
async fn the_rights_of_the_chart_are_enough_and_none_is_too_much() {
    needs!(KubeApiserver, Etcd, Helm);
    let api = cluster_of(ApiServer::start_auditing().await).await;
    let client = api.client();
    let objects_about = install_rights(&client, &[]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = kubeconfig(&api, &dir, &token(&client, "one").await);
    let registry = "- name: onboard\n  files: {path: services}\n  outputs: [cluster]";
    let sink = format!("kubeconfig: '{}', inlineEndpoints: 1", file.display());
    let mut chandler = writing(registry, &sink)
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("many.yaml", &service("many", &["10.0.1.1", "10.0.1.2"]))
        .start()
        .await;
    // Everything that it ever does: a namespace made, both forms written, changed and removed, a restart, a clean uninstall.
    until_row(&chandler, "four objects", |r| in_step(r) && r["wanted"] == 4).await;
    chandler.write_services("web.yaml", &service("web", &["10.0.0.2"]));
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.2").await;
    chandler.write_services("many.yaml", r#"{"services": []}"#);
    until_gone(&client, SE, "many.example.internal").await;
    until_row(&chandler, "one object", |r| in_step(r) && r["wanted"] == 1).await;
    assert!(objects(&client, WE).await.is_empty());
    chandler.terminate().await;
    chandler.start_again().await;
    until_row(&chandler, "in step", |r| in_step(r) && r["wanted"] == 1).await;
    chandler.terminate().await;
    let config = chandler.config_file();
    let prune = ["sink", "prune", "--yes", "--config", config.to_str().unwrap()];
    let (status, out, err) = Chandler::command(&prune, dir.path()).await;
    assert!(status.success() && out == "cluster: 1 object removed\n", "{out}{err}");
    let everywhere = |r: &Right| (String::new(), r.1.clone(), r.2.clone());
    let asked: BTreeSet<Right> = used(&api).iter().map(everywhere).collect();
    let granted: BTreeSet<Right> = rights(&objects_about).iter().map(everywhere).collect();
    assert_eq!(asked, besides_creating(granted));
    // And the one that the log does not show.
    for mut role in objects_about.into_iter().filter(|o| o["kind"] == "ClusterRole") {
        let verbs = role["rules"][0]["verbs"].as_array_mut().expect("verbs");
        verbs.retain(|verb| verb != "create");
        apply(&client, &role).await;
    }
    for kind in [SE, WE] {
        until_allowed(&client, &(String::new(), kind.into(), "create".into()), false).await;
    }
    chandler.write_services("many.yaml", &service("many", &["10.0.1.1", "10.0.1.2"]));
    chandler.start_again().await;
    let row = until_row(&chandler, "nothing created", |r| r["failing"] == 4).await;
    for failure in row["failures"].as_array().unwrap() {
        let reason = failure["reason"].as_str().unwrap();
        assert!(reason.contains("403") && reason.contains("cannot create resource"), "{reason}");
    }
}

#[tokio::test]
async fn with_namespaces_the_rights_of_the_chart_are_needed_there_only() {
    needs!(KubeApiserver, Etcd, Helm);
    let api = cluster_of(ApiServer::start_auditing().await).await;
    let client = api.client();
    for name in ["a", "b", "c"] {
        namespace(&client, name).await;
    }
    let about = install_rights(&client, &["--set-json", r#"kubernetesSink.namespaces=["a","b"]"#]).await;
    assert!(about.iter().all(|o| !o["kind"].as_str().unwrap().starts_with("Cluster")), "{about:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = kubeconfig(&api, &dir, &token(&client, "one").await);
    let sink = format!("kubeconfig: '{}', namespaces: [a, b], createNamespaces: false", file.display());
    let mut chandler = writing(THREE, &sink)
        .service_file("a/web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("b/db.yaml", &service("db", &["10.0.1.1"]))
        .service_file("c/out.yaml", &service("out", &["10.0.2.1"]))
        .start()
        .await;
    // What is outside is named and not asked for.
    let all = |r: &Value| in_step(r) && r["wanted"] == 3 && r["failing"] == 1;
    let row = until_row(&chandler, "three objects and one that is outside", all).await;
    let failure = &row["failures"][0];
    assert_eq!(failure["object"], "ServiceEntry c/out.example.internal");
    assert_eq!(failure["reason"], "its namespace is not among `namespaces`");
    // Each of the namespaces is watched: what is deleted in one of them is written again.
    for (at, kind) in [("a", SE), ("b", SE), ("b", WE)] {
        let all = format!("/apis/networking.istio.io/v1/namespaces/{at}/{kind}");
        let before = client.get(&all).await.unwrap().ok()["items"][0]["metadata"].clone();
        let path = format!("{all}/{}", before["name"].as_str().unwrap());
        client.send("DELETE", &path, None).await.unwrap().ok();
        eventually(&format!("{kind} in {at} to be back"), PATIENCE, async || {
            let now = client.get(&path).await.filter(|answer| answer.status == 200)?.json();
            (now["metadata"]["uid"] != before["uid"]).then_some(())
        })
        .await;
    }
    // And what is not wanted any more goes, in both.
    for file in ["a/web.yaml", "b/db.yaml"] {
        chandler.write_services(file, r#"{"services": []}"#);
    }
    until_row(&chandler, "nothing left", |r| in_step(r) && r["wanted"] == 0).await;
    assert!(objects(&client, SE).await.is_empty() && objects(&client, WE).await.is_empty());
    chandler.terminate().await;
    let mut granted = besides_creating(rights(&about));
    // The first registry writes no endpoints of their own.
    granted.retain(|r| !(r.0 == "a" && r.1 == WE && ["patch", "delete"].contains(&r.2.as_str())));
    chandler.start_again().await;
    until_row(&chandler, "in step", in_step).await;
    assert_eq!(used(&api), granted);
}

/// A pod's folder of credentials, kept as the kubelet does: a new one beside the old, and a link that moves.
struct Account {
    dir: TempDir,
    generation: u32,
}

impl Account {
    fn new(api: &ApiServer, token: &str) -> Self {
        let mut account = Self { dir: tempfile::tempdir().unwrap(), generation: 0 };
        account.hold(api, token);
        for file in ["token", "ca.crt", "namespace"] {
            let link = account.dir.path().join(file);
            std::os::unix::fs::symlink(Path::new("..data").join(file), link).unwrap();
        }
        account
    }

    fn hold(&mut self, api: &ApiServer, token: &str) {
        self.generation += 1;
        let (root, name) = (self.dir.path(), format!("..{}", self.generation));
        std::fs::create_dir(root.join(&name)).unwrap();
        std::fs::write(root.join(&name).join("token"), token).unwrap();
        std::fs::write(root.join(&name).join("namespace"), HOME).unwrap();
        std::fs::copy(api.certificate(), root.join(&name).join("ca.crt")).unwrap();
        std::os::unix::fs::symlink(&name, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }
}

#[tokio::test]
async fn in_a_pod_its_service_account_is_used_and_its_token_may_be_exchanged() {
    needs!(KubeApiserver, Etcd, Helm, Namespace);
    let api = cluster_of(ApiServer::start().await).await;
    let client = api.client();
    install_rights(&client, &[]).await;
    let first = token(&client, "first").await;
    let mut account = Account::new(&api, &first);
    let registry = "- name: onboard\n  files: {path: services}\n  outputs: [cluster]";
    let chandler = writing(registry, "")
        .service_account(account.dir.path())
        .environment("KUBERNETES_SERVICE_HOST", &api.address().ip().to_string())
        .environment("KUBERNETES_SERVICE_PORT", &api.address().port().to_string())
        .service_file("web.yaml", &service("web", &["10.0.0.1"]))
        .start()
        .await;
    let made = until(&client, SE, WEB, "to be there", |_| true).await;
    // The pod's namespace is where the Lease is, and part of the default of `instance`.
    assert_eq!(made["metadata"]["labels"]["chandler/instance"], "mesh.cluster");
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/chandler-mesh.cluster");
    assert!(client.get(&lease).await.unwrap().ok()["spec"]["holderIdentity"].is_string());
    until_row(&chandler, "in step", in_step).await;
    // The old token lives a while beside the new one, and no longer than that.
    account.hold(&api, &token(&client, "second").await);
    let secret = format!("/api/v1/namespaces/{HOME}/secrets/first");
    client.send("DELETE", &secret, None).await.unwrap().ok();
    let old = api.client_with(&first);
    eventually("the first token to be refused", PATIENCE, async || {
        let answer = old.get("/apis/networking.istio.io/v1/serviceentries").await?;
        (answer.status == 401).then_some(())
    })
    .await;
    chandler.write_services("web.yaml", &service("web", &["10.0.0.2"]));
    until(&client, SE, WEB, "to follow", |o| o["spec"]["endpoints"][0]["address"] == "10.0.0.2").await;
    until_row(&chandler, "in step", in_step).await;
    let now = object(&client, SE, WEB).await.unwrap();
    assert_eq!(now["metadata"]["uid"], made["metadata"]["uid"]);
}

#[tokio::test]
async fn a_kubeconfig_that_leads_elsewhere_by_now_is_read_again() {
    let stub = crate::cluster::Cluster::stub().await;
    let client = stub.client();
    let right = std::fs::read_to_string(crate::cluster::Server::kubeconfig(&stub)).unwrap();
    let nobody = format!("http://{}", crate::support::free_address());
    let crate::cluster::Cluster::Stub(server, _) = &stub else { unreachable!() };
    let wrong = right.replace(&format!("http://{}", server.address), &nobody);
    let file = crate::cluster::Server::kubeconfig(&stub);
    std::fs::write(&file, &wrong).unwrap();
    let chandler =
        chandler(&stub, "inline", "").service_file("web.yaml", &service("web", &["10.0.0.1"])).start().await;
    let row = until_row(&chandler, "nobody there", |r| r["problem"].is_string()).await;
    assert!(row["problem"].as_str().unwrap().contains("cannot be reached"), "{row}");
    std::fs::write(&file, &right).unwrap();
    until_row(&chandler, "in step", in_step).await;
    assert!(object(&client, SE, WEB).await.is_some());
    assert_eq!(requests(&chandler, "PATCH").await, 1);
}
