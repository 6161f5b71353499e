//! Servers of others, given the same resources and asked by the same clients. Where one is not to be had, the reason is
//! returned in its place.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::{Role, Target};
use crate::meter::{Cost, Meter, Process};
use crate::wire::{TYPE_URL, Wire};
use crate::{ENDPOINTS, SERVICES, measured};

/// How long istiod may take to read and take in everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs and has everything.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    target: Target,
    wire: Wire,
    process: Process,
    /// Ends with it.
    _child: Child,
}

impl Rival {
    fn new(name: &'static str, wire: Wire, address: SocketAddr, child: Child) -> Self {
        let process = Process(child.id().unwrap().to_string());
        Self { name, target: Target { address, tls: None }, wire, process, _child: child }
    }

    pub(crate) async fn round(&self) -> (Cost, usize) {
        self.process.settle().await;
        measured(&self.target, Role::Read(self.wire), || Meter::start(&self.process)).await
    }
}

/// go-control-plane's server over its linear cache, built from `benches/rivals/gcp`, with the resources of `file`.
pub(crate) async fn go_control_plane(file: &Path) -> Result<Rival, String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/rivals/gcp");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gcp");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .output()
        .await
        .map_err(|e| format!("it is built with Go: {e}"))?;
    if !built.status.success() {
        return Err(format!("it was not built: {}", String::from_utf8_lossy(&built.stderr).trim()));
    }
    let mut command = Command::new(program);
    command.arg(file).arg(TYPE_URL).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| e.to_string())?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.map_err(|e| e.to_string())?;
    let address = line.trim().parse().map_err(|_| "it did not start".to_owned())?;
    Ok(Rival::new("go-control-plane 0.14.0", Wire::Xds, address, child))
}

/// istiod's own generator for other istiods. It reads the resources from `source`, as from any xDS config source.
pub(crate) async fn istiod(source: SocketAddr, folder: &Path) -> Result<Rival, String> {
    let variable = "CHANDLER_ISTIOD_1_18";
    let program = std::env::var_os(variable).ok_or(format!("{variable} names none"))?;
    let mesh = folder.join("mesh.yaml");
    std::fs::write(&mesh, format!("configSources:\n- address: xds://{source}\n")).unwrap();
    let address = free();
    let mut command = Command::new(program);
    command
        .args(["discovery", "--registries=", "--networksConfig=none", "--secureGRPCAddr=", "--httpsAddr="])
        .arg(format!("--meshConfig={}", mesh.display()))
        .arg(format!("--grpcAddr={address}"))
        .args([format!("--httpAddr={}", free()), format!("--monitoringAddr={}", free())])
        .arg(format!("--ctrlz_port={}", free().port()))
        .envs([("POD_NAME", "bench"), ("POD_NAMESPACE", "istio-system"), ("ENABLE_CA_SERVER", "false")])
        // By default it lets in 25 streams a second: a limit, not a cost.
        .env("PILOT_MAX_REQUESTS_PER_SECOND", "100000")
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| e.to_string())?;
    // It listens once it has everything.
    listens(address, &mut child).await?;
    Ok(Rival::new("istiod 1.18.7, api generator", Wire::Xds, address, child))
}

/// Galley over a file of the same objects.
pub(crate) async fn galley(folder: &Path) -> Result<Rival, String> {
    let variable = "CHANDLER_GALLEY";
    let program = std::env::var_os(variable).ok_or(format!("{variable} names none"))?;
    let (objects, mesh) = (folder.join("objects"), folder.join("galley-mesh.yaml"));
    std::fs::create_dir(&objects).unwrap();
    std::fs::write(objects.join("services.yaml"), yaml()).unwrap();
    std::fs::write(&mesh, "{}\n").unwrap();
    let address = free();
    let mut command = Command::new(program);
    command
        .args(["server", "--insecure", "--enable-validation=false", "--ctrlz_address=127.0.0.1"])
        .arg("--enable-reconcileWebhookConfiguration=false")
        .arg(format!("--configPath={}", objects.display()))
        .arg(format!("--meshConfigFile={}", mesh.display()))
        .arg(format!("--server-address=tcp://{address}"))
        .arg(format!("--livenessProbePath={}", folder.join("live").display()))
        .arg(format!("--readinessProbePath={}", folder.join("ready").display()))
        .args([format!("--monitoringPort={}", free().port()), format!("--ctrlz_port={}", free().port())])
        // By default it lets in one stream a second after the first hundred: a limit, not a cost.
        .envs([("SOURCE_SERVER_STREAM_FREQ", "1ms"), ("SOURCE_SERVER_STREAM_BURST_SIZE", "100000")])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(|e| e.to_string())?;
    listens(address, &mut child).await?;
    let rival = Rival::new("Galley 1.5.10", Wire::Mcp, address, child);
    // It may listen before it has read everything, and answers nobody until then.
    rival.process.settle().await;
    Ok(rival)
}

/// What Galley reads.
fn yaml() -> String {
    let mut text = String::new();
    for n in 0..SERVICES {
        let (high, low) = (n >> 8, n & 255);
        let host = format!("service-{n:05}.eureka");
        let _ = write!(
            text,
            "---\napiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\nmetadata:\n  name: {host}\n  namespace: chandler\n  \
             annotations: {{chandler/registry: prod, chandler/service: SERVICE}}\nspec:\n  hosts: [{host}]\n  \
             addresses: [244.{high}.{low}.1]\n  ports: [{{number: 80, protocol: HTTP, name: http-80}}]\n  \
             resolution: STATIC\n  endpoints:\n"
        );
        for e in 1..=ENDPOINTS {
            let _ = writeln!(
                text,
                "  - {{address: 10.{high}.{low}.{e}, labels: {{version: v1}}, locality: eu-west-1/eu-west-1a}}"
            );
        }
    }
    text
}

/// Waits until it does.
async fn listens(address: SocketAddr, child: &mut Child) -> Result<(), String> {
    let listens = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = listens => Ok(()),
        ended = child.wait() => Err(format!("it ended: {ended:?}")),
        () = tokio::time::sleep(PATIENCE) => Err(format!("it did not listen within {PATIENCE:?}")),
    }
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
