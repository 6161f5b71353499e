//! A real istiod.

mod debug;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub use debug::ShardEndpoint;

use super::need::Need;
use super::place::{Place, free_address, free_port};
use super::process::{Process, scratch};
use super::standin::StubApiServer;

/// Which istiod: they differ in the type URLs that they ask for and in what they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// 1.16.5: `v1alpha3`, no Kubernetes; one of the other ages of `tests/run --all`.
    V1_16,
    /// 1.18.7: `v1alpha3`, no Kubernetes.
    V1_18,
    /// Master between 1.21 and 1.22: `v1alpha3`, no Kubernetes; one of the other ages of `tests/run --all`.
    V1_22,
    /// Master of 2026-08-27: `v1`, with an empty Kubernetes API beside it unless another is given.
    Newest,
}

impl Age {
    const fn need(self) -> Need {
        match self {
            Self::V1_16 => Need::Istiod116,
            Self::V1_18 => Need::Istiod118,
            Self::V1_22 => Need::Istiod122,
            Self::Newest => Need::IstiodNewest,
        }
    }

    /// The type URL under which this age asks for a networking kind.
    pub fn networking(self, kind: &str) -> String {
        match self {
            Self::V1_16 | Self::V1_18 | Self::V1_22 => format!("networking.istio.io/v1alpha3/{kind}"),
            Self::Newest => format!("networking.istio.io/v1/{kind}"),
        }
    }
}

/// How an istiod is to be started.
#[derive(Debug)]
pub struct IstiodBuilder {
    age: Age,
    sources: Vec<SocketAddr>,
    settings: String,
    mesh: String,
    objects: Vec<String>,
    environment: Vec<(String, String)>,
    kubeconfig: Option<PathBuf>,
    place: Place,
}

impl IstiodBuilder {
    /// A further source, asked after the first.
    #[must_use]
    pub fn source(mut self, address: SocketAddr) -> Self {
        self.sources.push(address);
        self
    }

    /// Further keys of the first source, such as `tlsSettings`, as one line.
    #[must_use]
    pub fn source_settings(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.settings);
        self
    }

    /// Further lines of mesh configuration.
    #[must_use]
    pub fn mesh(mut self, yaml: &str) -> Self {
        self.mesh.push_str(yaml.trim_end());
        self.mesh.push('\n');
        self
    }

    /// An Istio object of its own, as a user's DestinationRule in Kubernetes would be (from a `fs://` source).
    #[must_use]
    pub fn object(mut self, yaml: &str) -> Self {
        self.objects.push(yaml.to_owned());
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A Kubernetes API server of the test's own, read as `k8s://`.
    #[must_use]
    pub fn kubeconfig(mut self, file: &Path) -> Self {
        self.kubeconfig = Some(file.to_owned());
        self
    }

    /// Kubernetes and nothing else.
    #[must_use]
    pub fn kubernetes_alone(mut self) -> Self {
        self.sources.clear();
        self
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// What a plain Envoy understands: no filter that only Istio's own proxy has, and no certificates to wait for.
    #[must_use]
    pub fn for_plain_envoy(self) -> Self {
        self.environment("PILOT_ENABLE_METADATA_EXCHANGE", "false")
            .environment("PILOT_ENABLE_ALPN_FILTER", "false")
            .object(
                "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\n\
                 metadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: DISABLE}}\n",
            )
    }

    /// Starts it and waits until it serves proxies, which it does once all its sources have answered everything.
    pub async fn start(self) -> Istiod {
        let mut istiod = self.prepare().await;
        istiod.run();
        istiod.await_ready().await;
        istiod
    }

    /// Starts it and does not wait: for an istiod that is expected not to get ready.
    pub async fn start_unready(self) -> Istiod {
        let mut istiod = self.prepare().await;
        istiod.run();
        istiod
    }

    async fn prepare(mut self) -> Istiod {
        let mut stub = None;
        if self.age == Age::Newest && self.kubeconfig.is_none() {
            let server = StubApiServer::start(&self.place).await;
            self.kubeconfig = Some(server.kubeconfig());
            stub = Some(server);
        }
        let files = scratch("istiod-files");
        std::fs::write(files.path().join("mesh.yaml"), self.mesh_config(files.path())).expect("a mesh file");
        Istiod {
            grpc: free_address(),
            http: free_address(),
            monitoring: free_address(),
            control: free_port(),
            process: None,
            builder: self,
            files,
            stub,
        }
    }

    fn mesh_config(&self, files: &Path) -> String {
        let mut sources: Vec<String> =
            self.sources.iter().map(|address| format!("xds://{address}")).collect();
        if !self.objects.is_empty() {
            let folder = files.join("objects");
            std::fs::create_dir(&folder).expect("a folder");
            for (number, object) in self.objects.iter().enumerate() {
                std::fs::write(folder.join(format!("{number}.yaml")), object).expect("an object file");
            }
            sources.push(format!("fs://{}", folder.display()));
        }
        if self.kubeconfig.is_some() {
            sources.push("k8s://".to_owned());
        }
        let mut lines: String = sources.iter().map(|source| format!("- address: {source}\n")).collect();
        if let (Some(first), false) = (lines.find('\n'), self.settings.is_empty()) {
            lines.insert_str(first + 1, &format!("  {}\n", self.settings));
        }
        format!("configSources:\n{lines}{}", self.mesh)
    }
}

/// A running istiod. It serves proxies on `grpc_addr`, in plaintext.
#[derive(Debug)]
pub struct Istiod {
    builder: IstiodBuilder,
    grpc: SocketAddr,
    http: SocketAddr,
    monitoring: SocketAddr,
    control: u16,
    process: Option<Process>,
    files: TempDir,
    stub: Option<StubApiServer>,
}

impl Istiod {
    /// One that reads its configuration from `chandler`.
    pub fn build(age: Age, chandler: SocketAddr) -> IstiodBuilder {
        IstiodBuilder {
            age,
            sources: vec![chandler],
            settings: String::new(),
            mesh: String::new(),
            objects: Vec::new(),
            environment: Vec::new(),
            kubeconfig: None,
            place: Place::Host,
        }
    }

    /// [`Istiod::build`] and start, among the host's own addresses.
    pub async fn start(age: Age, chandler: SocketAddr, mesh: &str) -> Self {
        Self::build(age, chandler).mesh(mesh).start().await
    }

    fn run(&mut self) {
        let mut command = self.builder.place.command(&self.builder.age.need().program());
        command.arg("discovery").args([
            "--registries=".to_owned(),
            format!("--meshConfig={}", self.files.path().join("mesh.yaml").display()),
            "--networksConfig=none".to_owned(),
            format!("--grpcAddr={}", self.grpc),
            format!("--httpAddr={}", self.http),
            format!("--monitoringAddr={}", self.monitoring),
            format!("--ctrlz_port={}", self.control),
            "--secureGRPCAddr=".to_owned(),
            "--httpsAddr=".to_owned(),
            "--log_output_level=default:info,adsc:debug".to_owned(),
        ]);
        if let Some(kubeconfig) = &self.builder.kubeconfig {
            command.arg(format!("--kubeconfig={}", kubeconfig.display()));
        }
        command.env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
        for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env_remove(proxy); // grpc-go would ask it for loopback addresses
        }
        command.envs([
            ("POD_NAME", "istiod-test"),
            ("POD_NAMESPACE", "istio-system"),
            ("ENABLE_CA_SERVER", "false"),
        ]);
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("istiod", command));
    }

    /// Its own readiness answers 503 for ever without Kubernetes; that it listens for proxies says the same.
    pub async fn await_ready(&mut self) {
        let (place, grpc) = (self.builder.place.clone(), self.grpc);
        self.process().ready("serving proxies", async || place.listens(grpc).await).await;
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    /// Ends it and starts it anew on the same ports.
    pub async fn restart(&mut self) {
        self.restart_unready().await;
        self.await_ready().await;
    }

    /// The same, and nobody waits until it serves proxies.
    pub async fn restart_unready(&mut self) {
        self.process().terminate().await;
        self.run();
    }

    pub fn age(&self) -> Age {
        self.builder.age
    }

    pub fn place(&self) -> &Place {
        &self.builder.place
    }

    /// Where proxies connect.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    pub fn log_contains(&self, text: &str) -> bool {
        self.process.as_ref().is_some_and(|process| process.log_contains(text))
    }
}
