//! What the newest istiod makes of the objects, which it reads as `k8s://`.

use crate::cluster::{chandler, cluster, in_step, service, until_row, writing};
use crate::needs;
use crate::support::{Age, Istiod, PATIENCE, eventually};

const WEB: &str = "web.example.internal";

/// The same istiod reads this chandler's wires too: what goes to the cluster alone is not there a second time.
async fn istiod_follows(form: &str) {
    let api = cluster().await;
    let chandler = chandler(&api, form, "")
        .service_file("web.yaml", &service("web", &["10.0.0.1", "10.0.0.2"]))
        .start()
        .await;
    until_row(&chandler, "in step", in_step).await;
    let istiod = Istiod::build(Age::Newest, chandler.grpc).kubeconfig(&api.kubeconfig()).start().await;
    let addresses = async |want: &[&str]| {
        eventually(&format!("istiod to have {want:?}"), PATIENCE, async || {
            let mut have: Vec<String> = istiod.endpoints(WEB).await.into_iter().map(|e| e.address).collect();
            have.sort();
            (have == want).then_some(())
        })
        .await;
    };
    addresses(&["10.0.0.1", "10.0.0.2"]).await;
    let found = istiod.configz().await;
    let entries: Vec<_> = found.iter().filter(|o| o["kind"] == "ServiceEntry").collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    chandler.write_services("web.yaml", &service("web", &["10.0.0.2", "10.0.0.3"]));
    addresses(&["10.0.0.2", "10.0.0.3"]).await;
    chandler.write_services("db.yaml", &service("db", &["10.0.1.1"]));
    eventually("istiod to have db", PATIENCE, async || istiod.service("db.example.internal").await).await;
    chandler.remove_services("db.yaml");
    // A file that vanishes is silent absence, which the guard holds for a while; an entry that is taken out is not.
    chandler.write_services("web.yaml", r#"{"services": []}"#);
    eventually("istiod to have lost web", PATIENCE, async || {
        istiod.service(WEB).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_goes_both_ways_is_there_once_for_each_istiod() {
    needs!(IstiodNewest, KubeApiserver, Etcd);
    let api = cluster().await;
    let registry = "- name: onboard\n  files: {path: services}\n  outputs: [wires, cluster]";
    let sink = format!("kubeconfig: '{}', leaseNamespace: default", api.kubeconfig().display());
    let mut chandler = writing(registry, &sink)
        .service_file("web.yaml", &service("web", &["10.0.0.1", "10.0.0.2"]))
        .start()
        .await;
    // It is well for these two, and said to be doubtful for one that reads both.
    chandler.process().wait_for_log("sees each of its hosts twice").await;
    until_row(&chandler, "in step", in_step).await;
    let by_wire = Istiod::build(Age::Newest, chandler.grpc).start().await;
    let by_objects =
        Istiod::build(Age::Newest, chandler.grpc).kubeconfig(&api.kubeconfig()).kubernetes_alone();
    let by_objects = by_objects.start().await;
    for addresses in [["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.3"]] {
        chandler.write_services("web.yaml", &service("web", &addresses));
        for (name, istiod) in [("over the wire", &by_wire), ("by objects", &by_objects)] {
            eventually(&format!("istiod to have {addresses:?} {name}"), PATIENCE, async || {
                let found = istiod.endpoints(WEB).await;
                let mut have: Vec<&str> = found.iter().map(|e| e.address.as_str()).collect();
                have.sort_unstable();
                (have == addresses).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn newest_istiod_follows_entries_with_their_endpoints() {
    needs!(IstiodNewest, KubeApiserver, Etcd);
    istiod_follows("inline").await;
}

#[tokio::test]
async fn newest_istiod_follows_entries_that_select() {
    needs!(IstiodNewest, KubeApiserver, Etcd);
    istiod_follows("workloadEntries").await;
}
