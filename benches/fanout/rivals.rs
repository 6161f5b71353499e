//! Servers of others, given the same resources and asked by the same clients. Where one is not to be had, the reason is
//! returned in its place.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::meter::{Cost, Meter, Process};
use crate::{TYPE_URL, measured};

/// How long istiod may take to read and take in everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs and has everything.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Process,
    /// Ends with it.
    _child: Child,
}

impl Rival {
    fn new(name: &'static str, address: SocketAddr, child: Child) -> Self {
        let process = Process(child.id().unwrap().to_string());
        Self { name, address, process, _child: child }
    }

    pub(crate) async fn round(&self) -> (Cost, usize) {
        self.process.settle().await;
        measured(self.address, || Meter::start(&self.process)).await
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
    Ok(Rival::new("go-control-plane 0.14.0", address, child))
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
    let listens = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = listens => Ok(Rival::new("istiod 1.18.7, api generator", address, child)),
        ended = child.wait() => Err(format!("it ended: {ended:?}")),
        () = tokio::time::sleep(PATIENCE) => Err(format!("it did not listen within {PATIENCE:?}")),
    }
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
