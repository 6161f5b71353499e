//! The API server and its etcd, with Istio's two kinds and a namespace to write into.

use std::path::PathBuf;

use crate::support::{ApiServer, Curl, PATIENCE, eventually};
use crate::usage::Usage;

const CRDS: &str = include_str!("../../tests/kubernetes/crds.yaml");
const API: &str = "/apis/networking.istio.io/v1";
/// What an API server with this much in it does without being asked, as a share of a core.
const IDLE: f64 = 0.2;
/// Where the services are, as they are configured by default.
const NAMESPACE: &str = "chandler";

pub(crate) struct Cluster {
    client: Curl,
    /// The API server's and etcd's.
    processes: [Usage; 2],
    server: ApiServer,
}

impl Cluster {
    /// Starts it, and waits until it does nothing any more.
    pub(crate) async fn start() -> Self {
        let mut server = ApiServer::start().await;
        let client = server.client();
        for document in CRDS.split("\n---\n") {
            let name = document.lines().find_map(|l| l.strip_prefix("  name: ")).expect("a name");
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
            client.apply(&path, document, false).await.ok();
        }
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
        client.apply(&format!("/api/v1/namespaces/{NAMESPACE}"), &namespace, false).await.ok();
        eventually("both kinds to be served", PATIENCE, async || {
            for kind in ["serviceentries", "workloadentries"] {
                client.get(&format!("{API}/{kind}")).await.filter(|a| a.status == 200)?;
            }
            Some(())
        })
        .await;
        let pids = [server.process().pid(), server.store().pid()];
        let cluster = Self { client, processes: pids.map(Usage), server };
        cluster.settled().await;
        cluster
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    /// Seconds that the API server has used, and etcd.
    pub(crate) fn cpu(&self) -> [f64; 2] {
        self.processes.map(Usage::cpu)
    }

    /// The same, once the API server does little more than it does of itself.
    pub(crate) async fn settled(&self) -> [f64; 2] {
        self.processes[0].settle(IDLE).await;
        self.cpu()
    }

    /// Whether the service of that host is at `address`, as objects in `form` say it.
    pub(crate) async fn is_at(&self, host: &str, form: &str, address: &str) -> bool {
        let of_host = match form {
            "inline" => format!("serviceentries/{host}"),
            _ => format!("workloadentries?labelSelector=chandler/entry%3D{host}"),
        };
        let answer = self.client.get(&format!("{API}/namespaces/{NAMESPACE}/{of_host}")).await;
        answer.is_some_and(|a| a.body.contains(&format!("\"{address}\"")))
    }

    /// Requests about our kinds that it has answered, without watches: by its own count.
    pub(crate) async fn requests(&self) -> u64 {
        let text = self.client.get("/metrics").await.expect("an answer").body;
        let lines = text.lines().filter(|l| l.starts_with("apiserver_request_total{"));
        let ours =
            lines.filter(|l| l.contains("group=\"networking.istio.io\"") && !l.contains("verb=\"WATCH\""));
        ours.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }
}
