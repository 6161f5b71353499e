//! A cluster with Istio's two kinds, and a chandler that writes into it.

use serde_json::{Value, json};

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::stub::Stub;
use crate::support::{Answer, ApiServer, Ask, Chandler, ChandlerBuilder, Curl, PATIENCE, Place, eventually};

pub(crate) const API: &str = "/apis/networking.istio.io/v1";
/// The kinds as they are installed.
const CRDS: &str = include_str!("crds.yaml");
/// The label that says whose an object is, as a selector.
pub(crate) const OURS: &str = "labelSelector=app.kubernetes.io/managed-by%3Dchandler";

/// A server to write into.
pub(crate) trait Server {
    /// How it is found.
    fn kubeconfig(&self) -> PathBuf;
}

impl Server for ApiServer {
    fn kubeconfig(&self) -> PathBuf {
        Self::kubeconfig(self)
    }
}

/// A way to ask one.
pub(crate) trait Kube {
    async fn ask(&self, method: &'static str, path: &str, body: Option<(&str, &str)>) -> Option<Answer>;
}

impl Kube for Curl {
    async fn ask(&self, method: &'static str, path: &str, body: Option<(&str, &str)>) -> Option<Answer> {
        self.send(method, path, body).await
    }
}

/// The real one, or our stub, which is held to it by what runs against both.
#[derive(Debug)]
pub(crate) enum Cluster {
    Real(Box<ApiServer>),
    Stub(Stub, TempDir),
}

impl Cluster {
    pub(crate) async fn real() -> Self {
        Self::Real(Box::new(cluster().await))
    }

    pub(crate) async fn stub() -> Self {
        let (stub, dir) = (Stub::start().await, tempfile::tempdir().unwrap());
        let text = format!(
            "clusters: [{{name: a, cluster: {{server: 'http://{}'}}}}]\nusers: [{{name: a, user: {{token: x}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n",
            stub.address
        );
        std::fs::write(dir.path().join("kubeconfig"), text).unwrap();
        Self::Stub(stub, dir)
    }

    pub(crate) fn client(&self) -> Client {
        match self {
            Self::Real(api) => Client::Real(api.client()),
            Self::Stub(stub, _) => Client::Stub(stub.address),
        }
    }
}

impl Server for Cluster {
    fn kubeconfig(&self) -> PathBuf {
        match self {
            Self::Real(api) => api.kubeconfig(),
            Self::Stub(_, dir) => dir.path().join("kubeconfig"),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Client {
    Real(Curl),
    Stub(SocketAddr),
}

impl Client {
    pub(crate) async fn send(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> Option<Answer> {
        match self {
            Self::Real(curl) => curl.send(method, path, body).await,
            Self::Stub(address) => {
                let ask = Ask::new(method, path);
                let ask = body.into_iter().fold(ask, |ask, (media, text)| ask.body(media, text));
                Place::Host.ask(*address, ask).await
            }
        }
    }

    /// As somebody else who applies.
    pub(crate) async fn apply(&self, path: &str, yaml: &str) -> Answer {
        let path = format!("{path}?fieldManager=tests&force=true");
        self.send("PATCH", &path, Some(("application/apply-patch+yaml", yaml))).await.expect("an answer")
    }
}

impl Kube for Client {
    async fn ask(&self, method: &'static str, path: &str, body: Option<(&str, &str)>) -> Option<Answer> {
        self.send(method, path, body).await
    }
}

/// The same test against the stub and against the real one.
#[macro_export]
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod on_a_stub {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::cluster::Cluster::stub().await).await;
            })+
        }

        mod on_the_real_api_server {
            $(#[tokio::test]
            async fn $name() {
                $crate::needs!(KubeApiserver, Etcd);
                super::$name($crate::cluster::Cluster::real().await).await;
            })+
        }
    };
}

/// An API server that knows both kinds.
pub(crate) async fn cluster() -> ApiServer {
    cluster_of(ApiServer::start().await).await
}

/// The same of one that runs.
pub(crate) async fn cluster_of(api: ApiServer) -> ApiServer {
    install(&api).await;
    api
}

/// Installs both kinds and waits until they are served.
pub(crate) async fn install(api: &ApiServer) {
    let client = api.client();
    for document in CRDS.split("\n---\n") {
        let name = document.lines().find_map(|l| l.strip_prefix("  name: ")).expect("a name");
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        client.apply(&path, document, false).await.ok();
    }
    eventually("both kinds to be served", PATIENCE, async || {
        for kind in ["serviceentries", "workloadentries"] {
            client.get(&format!("{API}/{kind}")).await.filter(|a| a.status == 200)?;
        }
        Some(())
    })
    .await;
}

/// A chandler whose one registry goes to the cluster, in `form`, with further settings of the sink.
pub(crate) fn chandler(api: &impl Server, form: &str, settings: &str) -> ChandlerBuilder {
    let registries =
        format!("- name: onboard\n  files: {{path: services}}\n  outputs: [{{sink: cluster, form: {form}}}]");
    let kubeconfig = api.kubeconfig();
    let kubernetes = format!("kubeconfig: '{}', leaseNamespace: default{settings}", kubeconfig.display());
    writing(&registries, &kubernetes)
}

/// A chandler with these registries, and one sink called `cluster` with these settings.
pub(crate) fn writing(registries: &str, kubernetes: &str) -> ChandlerBuilder {
    let sinks = format!(
        "sinks: [{{name: cluster, kubernetes: {{{kubernetes}}}}}]\n\
         push: {{endpointQuiet: 10ms, endpointMax: 50ms, topologyQuiet: 10ms, topologyMax: 50ms}}\n\
         guard: {{emptyServiceTTL: 1s}}\n"
    );
    Chandler::build().registries(registries).config(&sinks)
}

/// A file with one service on these addresses.
pub(crate) fn service(name: &str, addresses: &[&str]) -> String {
    let endpoints: Vec<Value> = addresses.iter().map(|a| json!({"address": a})).collect();
    json!({"services": [{
        "name": name,
        "hosts": [format!("{name}.example.internal")],
        "ports": [{"number": 80, "protocol": "HTTP"}],
        "endpoints": endpoints,
    }]})
    .to_string()
}

/// All objects of a kind that are managed by a chandler, by name.
pub(crate) async fn objects(client: &impl Kube, kind: &str) -> Vec<Value> {
    let answer = client.ask("GET", &format!("{API}/{kind}?{OURS}"), None).await;
    let mut items =
        answer.map(|a| a.ok()["items"].as_array().cloned().unwrap_or_default()).unwrap_or_default();
    items.sort_by_key(|o| o["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    items
}

/// One object, if it is there.
pub(crate) async fn object(client: &impl Kube, kind: &str, name: &str) -> Option<Value> {
    let answer = client.ask("GET", &format!("{API}/namespaces/chandler/{kind}/{name}"), None).await?;
    (answer.status == 200).then(|| answer.json())
}

/// Waits until the object is as `check` wants it.
pub(crate) async fn until(
    client: &impl Kube,
    kind: &str,
    name: &str,
    what: &str,
    check: impl Fn(&Value) -> bool,
) -> Value {
    eventually(&format!("{kind} {name}: {what}"), PATIENCE, async || {
        object(client, kind, name).await.filter(|o| check(o))
    })
    .await
}

/// Waits until the object is not there.
pub(crate) async fn until_gone(client: &impl Kube, kind: &str, name: &str) {
    eventually(&format!("{kind} {name} to go"), PATIENCE, async || {
        object(client, kind, name).await.is_none().then_some(())
    })
    .await;
}

/// The sink's row in the API.
pub(crate) async fn row(chandler: &Chandler) -> Value {
    chandler.api("/api/v1/sinks").await[0].clone()
}

/// Waits until the sink's row is as `check` wants it.
pub(crate) async fn until_row(chandler: &Chandler, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let limit = PATIENCE * 2;
    let what = format!("the sink: {what}");
    eventually(&what, limit, async || {
        last = row(chandler).await;
        check(&last).then(|| last.clone())
    })
    .await
}

/// Whether everything is written.
pub(crate) fn in_step(row: &Value) -> bool {
    row["up"] == true && row["writer"] == true && row["pending"] == 0
}

/// Waits until so many requests of a method were answered well, and no more than that: the API server shows what it has
/// done before we have its answer.
pub(crate) async fn until_requests(chandler: &Chandler, method: &str, wanted: u64) {
    let mut have = 0;
    eventually(&format!("{wanted} requests of {method}"), PATIENCE, async || {
        have = requests(chandler, method).await;
        (have >= wanted).then_some(())
    })
    .await;
    assert_eq!(have, wanted, "requests of {method}");
}

/// How many requests of a method were answered well.
pub(crate) async fn requests(chandler: &Chandler, method: &str) -> u64 {
    let text = chandler.telemetry("/metrics").await.body;
    let lines = text.lines().filter(|l| l.starts_with("chandler_sink_requests_total{"));
    let well = lines.filter(|l| l.contains("code=\"20"));
    let of_method = well.filter(|l| l.contains(&format!("method=\"{method}\"")));
    of_method.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
