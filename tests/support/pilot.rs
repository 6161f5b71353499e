//! A real Pilot of the releases that speak the legacy protocol, without Kubernetes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Ask;
use super::istiod::ShardEndpoint;
use super::need::Need;
use super::place::{Place, free_address, free_port};
use super::process::{PATIENCE, Process, Quiet, eventually, scratch};

/// Which Pilot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    V1_5,
    V1_6,
    V1_7,
}

impl Release {
    const fn need(self) -> Need {
        match self {
            Self::V1_5 => Need::Pilot15,
            Self::V1_6 => Need::Pilot16,
            Self::V1_7 => Need::Pilot17,
        }
    }

    /// How many collections it asks for.
    pub const fn collections(self) -> usize {
        match self {
            Self::V1_5 => 19,
            Self::V1_6 => 18,
            Self::V1_7 => 14,
        }
    }
}

/// The files of a client that shows a certificate.
#[derive(Debug, Clone)]
pub struct ClientTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// What it trusts.
    pub ca: PathBuf,
    /// The name that the server's certificate must have.
    pub name: String,
}

/// How a Pilot is to be started.
#[derive(Debug)]
pub struct PilotBuilder {
    release: Release,
    source: SocketAddr,
    tls: Option<ClientTls>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl PilotBuilder {
    /// Dials with mutual TLS.
    #[must_use]
    pub fn mutual_tls(mut self, tls: &ClientTls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Asks for increments (1.6 and newer).
    #[must_use]
    pub fn incremental(self) -> Self {
        self.environment("PILOT_ENABLE_INCREMENTAL_MCP", "true")
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits until every collection that it asks for was answered.
    pub async fn start(self) -> Pilot {
        let mut pilot = self.start_unready();
        pilot.await_ready().await;
        pilot
    }

    /// Starts it and does not wait.
    pub fn start_unready(self) -> Pilot {
        let files = scratch("pilot-files");
        let mut pilot = Pilot {
            http: free_address(),
            grpc: free_address(),
            monitoring: free_address(),
            control: free_port(),
            process: None,
            builder: self,
            files,
        };
        pilot.run();
        pilot
    }

    fn mesh_config(&self) -> Value {
        let mut source = json!({"address": self.source.to_string()});
        if let Some(tls) = &self.tls {
            source["tlsSettings"] = json!({
                "mode": "MUTUAL", "clientCertificate": tls.certificate, "privateKey": tls.key,
                "caCertificates": tls.ca, "sni": tls.name,
            });
        }
        json!({"disablePolicyChecks": true, "configSources": [source]})
    }
}

/// A running Pilot. Dropping it kills it.
#[derive(Debug)]
pub struct Pilot {
    builder: PilotBuilder,
    http: SocketAddr,
    grpc: SocketAddr,
    monitoring: SocketAddr,
    control: u16,
    process: Option<Process>,
    files: TempDir,
}

impl Pilot {
    /// One that reads its configuration from `source`.
    pub fn build(release: Release, source: SocketAddr) -> PilotBuilder {
        PilotBuilder { release, source, tls: None, environment: Vec::new(), arguments: Vec::new() }
    }

    /// [`Pilot::build`] and start, over plaintext.
    pub async fn start(release: Release, source: SocketAddr) -> Self {
        Self::build(release, source).start().await
    }

    fn run(&mut self) {
        let mesh = self.files.path().join("mesh.yaml");
        // JSON is YAML.
        std::fs::write(&mesh, self.builder.mesh_config().to_string()).expect("a mesh file");
        let mut command = Place::Host.command(&self.builder.release.need().program());
        command.args(["discovery", "--registries=", "--networksConfig=", "--domain=cluster.local"]);
        command.args([
            format!("--meshConfig={}", mesh.display()),
            format!("--httpAddr={}", self.http),
            format!("--grpcAddr={}", self.grpc),
            format!("--monitoringAddr={}", self.monitoring),
            format!("--ctrlz_port={}", self.control),
            "--ctrlz_address=127.0.0.1".to_owned(),
            "--log_output_level=default:info,mcp:debug".to_owned(),
        ]);
        match self.builder.release {
            Release::V1_5 => command.arg("--secureGrpcAddr="),
            Release::V1_6 => &mut command,
            Release::V1_7 => command.args(["--secureGRPCAddr=", "--httpsAddr="]),
        };
        command.args(&self.builder.arguments);
        command.env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
        for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env_remove(proxy); // grpc-go would ask it for loopback addresses
        }
        command.envs([
            ("POD_NAME", "pilot-test"),
            ("POD_NAMESPACE", "istio-system"),
            ("DNS_ADDR", ""),
            ("ENABLE_CA_SERVER", "false"),
        ]);
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("pilot", command));
    }

    /// Waits until it says that it is ready. Until every collection was answered it takes connections and lets them hang.
    pub async fn await_ready(&mut self) {
        let http = self.http;
        self.process().ready("ready", async || is_ready(http).await).await;
    }

    /// Whether it says so now.
    pub async fn is_ready(&self) -> bool {
        is_ready(self.http).await
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    pub fn release(&self) -> Release {
        self.builder.release
    }

    /// Where proxies connect.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    pub fn log_contains(&self, text: &str) -> bool {
        self.process.as_ref().is_some_and(|process| process.log_contains(text))
    }

    async fn text(&self, path: &str) -> String {
        let answer = Place::Host.ask(self.http, Ask::get(path)).await;
        answer.unwrap_or_else(|| panic!("pilot does not answer {path}")).body
    }

    /// Every configuration object as it holds it: alike for every release, by namespace and name.
    pub async fn configz(&self) -> BTreeMap<(String, String), Value> {
        let text = self.text("/debug/configz").await;
        let all: Vec<Value> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("configz: {e}: {text:.300}"));
        let key = |object: &Value| {
            let part = |name: &str| {
                let found = object.get(name).or_else(|| object["metadata"].get(name));
                found.and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            (part("namespace"), part("name"))
        };
        all.into_iter().map(|object| (key(&object), object)).filter(|(key, _)| !key.1.is_empty()).collect()
    }

    /// The names of the objects that it holds, `namespace/name`, sorted.
    pub async fn objects(&self) -> Vec<String> {
        self.configz().await.into_keys().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
    }

    /// The hosts of the services that it made of them, sorted.
    pub async fn hosts(&self) -> Vec<String> {
        let text = self.text("/debug/registryz").await;
        let all: Vec<Value> =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("registryz: {e}: {text:.300}"));
        let mut hosts: Vec<String> =
            all.iter().filter_map(|one| Some(one["hostname"].as_str()?.to_owned())).collect();
        hosts.sort();
        hosts
    }

    /// Its instances of a host, as `address:port`, sorted: from `endpointz`.
    pub async fn endpoints(&self, host: &str) -> Vec<String> {
        let text = self.text("/debug/endpointz?brief=1").await;
        let mut found: Vec<String> = text
            .lines()
            .filter(|line| line.split([':', ' ']).next() == Some(host))
            .filter_map(|line| {
                let words = line.split_whitespace().skip(1);
                words.map(str::to_owned).find(|word| word.contains(':') && word.contains('.'))
            })
            .collect();
        found.sort();
        found
    }

    /// Waits for instances of a host.
    pub async fn endpoints_are(&self, host: &str, wanted: &[&str]) {
        let what = format!("{wanted:?} as the endpoints of {host} in endpointz");
        eventually(&what, PATIENCE, async || (self.endpoints(host).await == wanted).then_some(())).await;
    }

    /// What it would tell a proxy about a host: sorted by address and port. Empty where no proxy was ever told.
    pub async fn shards(&self, host: &str) -> Vec<ShardEndpoint> {
        let text = self.text("/debug/endpointShardz").await;
        let all: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("endpointShardz: {e}: {text:.300}"));
        let namespaces = all[host].as_object().into_iter().flat_map(|namespaces| namespaces.values());
        let lists = namespaces.filter_map(|one| one["Shards"].as_object()).flat_map(|shards| shards.values());
        let mut found: Vec<_> =
            lists.filter_map(Value::as_array).flatten().map(ShardEndpoint::read).collect();
        found.sort();
        found
    }

    /// Any page of its HTTP interface.
    pub async fn page(&self, path: &str) -> String {
        self.text(path).await
    }

    /// What its sink asked and answered last, up to 32 requests: from `ControlZ`.
    pub async fn journal(&self) -> Value {
        let address = (self.http.ip(), self.control).into();
        let answer = Place::Host.ask(address, Ask::get("/configj/")).await;
        answer.unwrap_or_else(|| panic!("pilot does not answer /configj/")).json()
    }

    /// Its metrics, series by series as they are written: name and labels to value.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = Place::Host.get(self.monitoring, "/metrics").await.expect("pilot answers /metrics");
        let series = answer
            .body
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '));
        series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// The series of one metric, by the value of one label; where further labels tell them apart, their sum.
    pub async fn by_label(&self, metric: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (series, value) in self.metrics().await {
            let Some(labels) = series.strip_prefix(metric).and_then(|rest| rest.strip_prefix('{')) else {
                continue;
            };
            let Some((_, rest)) = labels.split_once(&format!("{label}=\"")) else { continue };
            let found = rest.split('"').next().unwrap_or_default().to_owned();
            *sums.entry(found).or_default() += value;
        }
        sums
    }

    /// How often it has acknowledged each collection.
    pub async fn acks(&self) -> BTreeMap<String, f64> {
        self.by_label("istio_mcp_request_acks_total", "collection").await
    }

    /// How often it has refused each.
    pub async fn nacks(&self) -> BTreeMap<String, f64> {
        self.by_label("istio_mcp_request_nacks_total", "collection").await
    }

    /// What moved it to push, and how often: `eds` for endpoints alone, `config` for everything, `svc` beside it.
    pub async fn inbound(&self) -> BTreeMap<String, f64> {
        self.by_label("pilot_inbound_updates", "type").await
    }

    /// Waits until nothing has come in for `calm`, and returns what had until then: updates and acknowledgements.
    pub async fn settled(&self, calm: Duration) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
        let mut last = (self.inbound().await, self.acks().await);
        let mut quiet = Quiet::default();
        eventually("pilot to be at rest", PATIENCE, async || {
            let now = (self.inbound().await, self.acks().await);
            let so_far = quiet.after(now == last);
            last = now;
            (so_far >= calm).then(|| last.clone())
        })
        .await
    }

    /// Ends it and starts it anew on the same ports.
    pub async fn restart(&mut self) {
        self.process().terminate().await;
        self.run();
        self.await_ready().await;
    }
}

async fn is_ready(http: SocketAddr) -> bool {
    let ask = Ask::get("/ready").within(Duration::from_millis(300));
    Place::Host.ask(http, ask).await.is_some_and(|answer| answer.status == 200)
}
