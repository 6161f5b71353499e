//! Several real clusters as several sinks of one chandler.

use serde_json::{Value, json};

use crate::cluster::{cluster, object, objects, service, until};
use crate::needs;
use crate::support::{Chandler, PATIENCE, eventually};

const SE: &str = "serviceentries";
const WEB: &str = "web.example.internal";
const DB: &str = "db.example.internal";

fn at(entry: &Value) -> &Value {
    &entry["spec"]["endpoints"][0]["address"]
}

async fn until_sinks(chandler: &Chandler, what: &str, check: impl Fn(&Value) -> bool) {
    eventually(what, PATIENCE * 2, async || {
        let rows = chandler.api("/api/v1/sinks").await;
        check(&rows).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_of_two_clusters_gets_its_own_share_and_one_that_is_away_holds_up_no_other() {
    needs!(KubeApiserver, Etcd);
    let (mut east, west) = (cluster().await, cluster().await);
    let (in_east, in_west) = (east.client(), west.client());
    let registries = "- name: onboard\n  files: {path: services/both}\n  outputs: [east, west]\n\
        - name: local\n  files: {path: services/west}\n  outputs: [west]";
    let sink = |name: &str, file: std::path::PathBuf| {
        format!(
            "- name: {name}\n  kubernetes: {{kubeconfig: '{}', leaseNamespace: default}}\n",
            file.display()
        )
    };
    let sinks = format!("sinks:\n{}{}", sink("east", east.kubeconfig()), sink("west", west.kubeconfig()));
    let chandler = Chandler::build()
        .registries(registries)
        .config(&sinks)
        .service_file("both/web.yaml", &service("web", &["10.0.0.1"]))
        .service_file("west/db.yaml", &service("db", &["10.0.0.2"]))
        .start()
        .await;
    let well = |row: &Value, wanted: u32| {
        row["up"] == true && row["writer"] == true && row["pending"] == 0 && row["wanted"] == json!(wanted)
    };
    until_sinks(&chandler, "both to be in step", |rows| well(&rows[0], 1) && well(&rows[1], 2)).await;
    assert_eq!(objects(&in_east, SE).await.len(), 1);
    assert_eq!(objects(&in_west, SE).await.len(), 2);
    assert!(object(&in_east, SE, DB).await.is_none(), "it goes to the other one only");
    east.kill().await;
    until_sinks(&chandler, "east to be down", |rows| rows[0]["up"] == false).await;
    chandler.write_services("both/web.yaml", &service("web", &["10.0.0.7"]));
    until(&in_west, SE, WEB, "to follow", |o| at(o) == "10.0.0.7").await;
    until_sinks(&chandler, "west to be well", |rows| well(&rows[1], 2) && rows[0]["up"] == false).await;
    east.start_again().await;
    until(&in_east, SE, WEB, "to follow", |o| at(o) == "10.0.0.7").await;
    until_sinks(&chandler, "both to be in step", |rows| well(&rows[0], 1) && well(&rows[1], 2)).await;
}
