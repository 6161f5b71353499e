//! A real Kubernetes API server on a real etcd. No controllers run: namespaces stay Terminating, service accounts are the
//! test's to create.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::http::Answer;
use super::need::Need;
use super::place::free_address;
use super::process::{Process, scratch};

/// The tokens that it accepts: one that may do everything, one that may do nothing until it is given rights.
const ADMIN: &str = "admin-token";
const USER: &str = "user-token";

/// A running API server.
#[derive(Debug)]
pub struct ApiServer {
    server: Process,
    etcd: Process,
    address: SocketAddr,
    store: SocketAddr,
    files: TempDir,
    audits: bool,
}

impl ApiServer {
    /// Starts both and waits until it says that it is ready.
    pub async fn start() -> Self {
        Self::launch(false).await
    }

    /// The same, and it writes down who asked for what: [`ApiServer::asked_by`].
    pub async fn start_auditing() -> Self {
        Self::launch(true).await
    }

    async fn launch(audits: bool) -> Self {
        let files = scratch("apiserver-files");
        let dir = files.path();
        write_credentials(dir).await;
        let store = free_address();
        let etcd = start_etcd(store, dir);
        let address = free_address();
        let server = start_server(address, store, dir, audits);
        let mut api = Self { server, etcd, address, store, files, audits };
        api.write_kubeconfigs();
        let probe = api.client();
        api.server
            .ready("ready", async || probe.get("/readyz").await.is_some_and(|answer| answer.status == 200))
            .await;
        api
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How an administrator finds it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.path().join("admin.kubeconfig")
    }

    /// How a user without rights finds it.
    pub fn user_kubeconfig(&self) -> PathBuf {
        self.files.path().join("user.kubeconfig")
    }

    /// The certificate to trust.
    pub fn certificate(&self) -> PathBuf {
        self.files.path().join("certs/apiserver.crt")
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.server
    }

    pub fn store(&mut self) -> &mut Process {
        &mut self.etcd
    }

    /// SIGKILL of the API server; its store lives on.
    pub async fn kill(&mut self) {
        self.server.kill().await;
    }

    /// Starts the API server again after its end, on the same port and store.
    pub async fn start_again(&mut self) {
        assert!(self.server.exited().is_some(), "end it first");
        self.server = start_server(self.address, self.store, self.files.path(), self.audits);
        let probe = self.client();
        self.server
            .ready("ready", async || probe.get("/readyz").await.is_some_and(|answer| answer.status == 200))
            .await;
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> Curl {
        self.client_with(ADMIN)
    }

    /// A client with the rights of whoever has this token.
    pub fn client_with(&self, token: &str) -> Curl {
        let base = format!("https://{}", self.address);
        Curl { base, certificate: self.certificate(), token: token.to_owned() }
    }

    /// What `user` has asked for so far, each as the server's audit log has it.
    pub fn asked_by(&self, user: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.files.path().join("audit.log")).expect("started auditing");
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let all = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        all.filter(|asked| asked["user"]["username"] == user).collect()
    }

    fn write_kubeconfigs(&self) {
        for (name, token) in [("admin", ADMIN), ("user", USER)] {
            let mut text = String::from("apiVersion: v1\nkind: Config\ncurrent-context: test\n");
            let (server, ca) = (self.address, self.certificate());
            writeln!(text, "clusters: [{{name: test, cluster: {{server: 'https://{server}', certificate-authority: '{}'}}}}]", ca.display()).expect("a string");
            writeln!(text, "users: [{{name: test, user: {{token: {token}}}}}]").expect("a string");
            writeln!(text, "contexts: [{{name: test, context: {{cluster: test, user: test}}}}]")
                .expect("a string");
            std::fs::write(self.files.path().join(format!("{name}.kubeconfig")), text).expect("a kubeconfig");
        }
    }
}

async fn write_credentials(dir: &Path) {
    std::fs::write(dir.join("tokens.csv"), format!("{ADMIN},admin,1,\"system:masters\"\n{USER},alice,2\n"))
        .expect("tokens");
    let key = dir.join("sa.key");
    let output = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output().await;
    let output = output.expect("openssl runs: the server's key comes from it");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}

fn start_etcd(client: SocketAddr, dir: &Path) -> Process {
    let peer = free_address();
    let mut command = Command::new(Need::Etcd.program());
    command.arg("--data-dir").arg(dir.join("etcd"));
    for (flag, address) in [
        ("--listen-client-urls", client),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer),
        ("--initial-advertise-peer-urls", peer),
    ] {
        command.arg(flag).arg(format!("http://{address}"));
    }
    command.arg("--initial-cluster").arg(format!("default=http://{peer}"));
    Process::start("etcd", command)
}

fn start_server(address: SocketAddr, store: SocketAddr, dir: &Path, audits: bool) -> Process {
    let mut command = Command::new(Need::KubeApiserver.program());
    let key = dir.join("sa.key").display().to_string();
    command.args([
        format!("--etcd-servers=http://{store}"),
        format!("--bind-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        format!("--cert-dir={}", dir.join("certs").display()),
        format!("--token-auth-file={}", dir.join("tokens.csv").display()),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--api-audiences=https://kubernetes.default.svc,istio-ca".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        // Its own endpoints may not be on loopback; nobody here looks for them.
        "--endpoint-reconciler-type=none".to_owned(),
    ]);
    if audits {
        let policy = dir.join("audit.yaml");
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";
        std::fs::write(&policy, text).expect("a policy");
        command.arg("--audit-policy-file").arg(policy);
        command.arg("--audit-log-path").arg(dir.join("audit.log"));
    }
    Process::start("kube-apiserver", command)
}

/// Requests over TLS, which the tests have no other client for.
#[derive(Debug, Clone)]
pub struct Curl {
    base: String,
    certificate: PathBuf,
    token: String,
}

impl Curl {
    /// GET; nothing if no answer came.
    pub async fn get(&self, path: &str) -> Option<Answer> {
        self.send("GET", path, None).await
    }

    /// Any request, with a body of YAML or JSON.
    pub async fn send(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> Option<Answer> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "20", "--request", method, "--write-out", "\n%{http_code}"]);
        command
            .arg("--cacert")
            .arg(&self.certificate)
            .arg("--header")
            .arg(format!("Authorization: Bearer {}", self.token));
        if let Some((content_type, text)) = body {
            command
                .arg("--header")
                .arg(format!("Content-Type: {content_type}"))
                .arg("--data-binary")
                .arg(text);
        }
        let output =
            command.arg(format!("{}{path}", self.base)).kill_on_drop(true).output().await.expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n')?;
        let status = status.parse().ok().filter(|status| *status != 0)?;
        Some(Answer { status, headers: Default::default(), body: body.to_owned() })
    }

    /// Applies one object on the server's side, without keeping it where `dry_run` is set.
    pub async fn apply(&self, path: &str, yaml: &str, dry_run: bool) -> Answer {
        let dry = if dry_run { "&dryRun=All" } else { "" };
        let path = format!("{path}?fieldManager=tests&fieldValidation=Strict&force=true{dry}");
        let answer = self.send("PATCH", &path, Some(("application/apply-patch+yaml", yaml))).await;
        answer.unwrap_or_else(|| panic!("no answer to the apply of {path}"))
    }
}
