//! A real Envoy, configured by an istiod as a sidecar's would be.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::istiod::Istiod;
use super::need::Need;
use super::netns::PROXY_GROUP;
use super::place::{Place, free_address};
use super::process::{PATIENCE, Process, eventually, scratch};

/// How an Envoy is to be started.
#[derive(Debug)]
pub struct EnvoyBuilder {
    namespace: String,
    metadata: serde_json::Map<String, Value>,
}

impl EnvoyBuilder {
    /// The namespace of its workload.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Further node metadata.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: Value) -> Self {
        self.metadata.insert(key.to_owned(), value);
        self
    }

    /// Starts it where `istiod` runs and waits until it has taken its configuration.
    pub async fn start(self, istiod: &Istiod) -> Envoy {
        let (place, admin) = (istiod.place().clone(), free_address());
        let files = scratch("envoy-files");
        let bootstrap = files.path().join("bootstrap.json");
        std::fs::write(&bootstrap, self.bootstrap(istiod.grpc_addr(), admin).to_string())
            .expect("a bootstrap file");
        let program = Need::Envoy.program();
        let mut command = match &place {
            Place::Host => place.command(&program),
            Place::Namespace(_) => {
                let mut command = place.command(Path::new("setpriv"));
                command.args(["--regid", PROXY_GROUP, "--clear-groups", "--"]).arg(&program);
                command
            }
        };
        command.arg("-c").arg(&bootstrap).args(["--disable-hot-restart", "--concurrency", "1", "-l", "info"]);
        let mut envoy = Envoy { process: Process::start("envoy", command), place, admin, _files: files };
        envoy.await_live().await;
        envoy
    }

    fn bootstrap(&self, istiod: SocketAddr, admin: SocketAddr) -> Value {
        let ns = &self.namespace;
        let mut metadata =
            json!({"ISTIO_VERSION": "1.29.0", "NAMESPACE": ns, "CLUSTER_ID": "", "LABELS": {"app": "probe"}});
        for (key, value) in &self.metadata {
            metadata[key] = value.clone();
        }
        let ads = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
        json!({
            "node": {
                "id": format!("sidecar~127.0.0.1~probe.{ns}~{ns}.svc.cluster.local"), "cluster": "probe", "metadata": metadata,
            },
            "admin": {"address": socket(admin)},
            "dynamic_resources": {
                "lds_config": ads, "cds_config": ads,
                "ads_config": {
                    "api_type": "GRPC", "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "istiod"}}],
                },
            },
            "static_resources": {"clusters": [{
                "name": "istiod", "type": "STATIC", "connect_timeout": "5s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": {"http2_protocol_options": {}},
                    },
                },
                "load_assignment": {
                    "cluster_name": "istiod",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(istiod)}}]}],
                },
            }]},
        })
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    place: Place,
    admin: SocketAddr,
    _files: tempfile::TempDir,
}

impl Envoy {
    pub fn build() -> EnvoyBuilder {
        EnvoyBuilder { namespace: "chandler".to_owned(), metadata: serde_json::Map::new() }
    }

    /// [`Envoy::build`] with nothing special, started.
    pub async fn start(istiod: &Istiod) -> Self {
        Self::build().start(istiod).await
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    async fn await_live(&mut self) {
        let (place, admin) = (self.place.clone(), self.admin);
        let live = async || {
            let Some(answer) = place.get(admin, "/server_info").await else {
                return false;
            };
            answer.status == 200 && answer.json()["state"] == "LIVE"
        };
        self.process.ready("state LIVE", live).await;
    }

    async fn page(&self, path: &str) -> Value {
        self.place.get(self.admin, path).await.expect("Envoy answers its admin port").json()
    }

    /// Its listeners: name to address.
    pub async fn listeners(&self) -> BTreeMap<String, String> {
        let page = self.page("/listeners?format=json").await;
        let all = page["listener_statuses"].as_array().cloned().unwrap_or_default();
        let address = |one: &Value| {
            let at = &one["local_address"]["socket_address"];
            format!("{}:{}", at["address"].as_str().unwrap_or_default(), at["port_value"])
        };
        all.iter().map(|one| (one["name"].as_str().unwrap_or_default().to_owned(), address(one))).collect()
    }

    /// Waits until it has a listener of this name, such as `0.0.0.0_8080` or `244.7.7.7_9000`.
    pub async fn listener(&self, name: &str) {
        let what = format!("Envoy's listener {name}");
        eventually(&what, PATIENCE, async || self.listeners().await.contains_key(name).then_some(())).await;
    }

    /// The addresses that a cluster's calls go to, as `ADDRESS:PORT`, sorted.
    pub async fn hosts(&self, cluster: &str) -> Vec<String> {
        let page = self.page("/clusters?format=json").await;
        let all = page["cluster_statuses"].as_array().cloned().unwrap_or_default();
        let hosts =
            all.iter().find(|one| one["name"] == cluster).and_then(|one| one["host_statuses"].as_array());
        let address = |host: &Value| {
            let at = &host["address"]["socket_address"];
            format!("{}:{}", at["address"].as_str().unwrap_or_default(), at["port_value"])
        };
        let mut hosts: Vec<String> = hosts.into_iter().flatten().map(address).collect();
        hosts.sort();
        hosts
    }

    /// Waits until a cluster's calls go to exactly these.
    pub async fn hosts_are(&self, cluster: &str, wanted: &[&str]) {
        let what = format!("{cluster} to go to {wanted:?}");
        eventually(&what, PATIENCE, async || (self.hosts(cluster).await == wanted).then_some(())).await;
    }

    /// How many connections and requests each cluster has had since the start: which cluster took a call shows in the
    /// difference. Both, since a request may use a connection that is there already.
    pub async fn connections(&self) -> BTreeMap<String, u64> {
        let page = self.page("/stats?format=json&filter=upstream_.._total").await;
        let stats = page["stats"].as_array().cloned().unwrap_or_default();
        let cluster = |one: &Value| {
            let name = one["name"].as_str()?.strip_prefix("cluster.")?;
            let name = name
                .strip_suffix(".upstream_cx_total")
                .or_else(|| name.strip_suffix(".upstream_rq_total"))?;
            // Newer istiods end the name that is used in statistics with a semicolon.
            Some((name.trim_end_matches(';').to_owned(), one["value"].as_u64()?))
        };
        let mut counts = BTreeMap::new();
        for (name, count) in stats.iter().filter_map(cluster) {
            *counts.entry(name).or_default() += count;
        }
        counts
    }

    /// The clusters that were used since `before`, the one to istiod left aside.
    pub async fn took(&self, before: &BTreeMap<String, u64>) -> Vec<String> {
        let now = self.connections().await;
        let more = |(name, count): &(String, u64)| {
            *count > before.get(name).copied().unwrap_or(0) && name != "istiod"
        };
        now.into_iter().filter(more).map(|(name, _)| name).collect()
    }
}
