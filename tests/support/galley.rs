//! A real Galley 1.5.10 over a folder of files: the server that Chandler takes the place of.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::process::Command;

use super::need::Need;
use super::place::{Place, free_address, free_port};
use super::process::{Process, scratch};

/// A running Galley. Dropping it kills it.
#[derive(Debug)]
pub struct Galley {
    process: Process,
    address: SocketAddr,
    files: TempDir,
}

impl Galley {
    /// Serves these files of Istio objects, each `(name, YAML)`.
    pub async fn start(objects: &[(&str, &str)]) -> Self {
        let files = scratch("galley-files");
        let folder = files.path().join("objects");
        std::fs::create_dir(&folder).expect("a folder");
        for (name, text) in objects {
            std::fs::write(folder.join(name), text).expect("an object file");
        }
        let mesh = files.path().join("mesh.yaml");
        std::fs::write(&mesh, "{}\n").expect("a mesh file");
        let address = free_address();
        let mut command = Command::new(Need::Galley.program());
        command.arg("server").args([
            format!("--configPath={}", folder.display()),
            format!("--meshConfigFile={}", mesh.display()),
            format!("--server-address=tcp://{address}"),
            format!("--livenessProbePath={}", files.path().join("live").display()),
            format!("--readinessProbePath={}", files.path().join("ready").display()),
            format!("--monitoringPort={}", free_port()),
            format!("--ctrlz_port={}", free_port()),
            "--ctrlz_address=127.0.0.1".to_owned(),
            "--insecure".to_owned(),
            "--watchConfigFiles".to_owned(),
            "--enable-validation=false".to_owned(),
            "--enable-reconcileWebhookConfiguration=false".to_owned(),
        ]);
        let mut process = Process::start("galley", command);
        process.ready("its socket", async || Place::Host.listens(address).await).await;
        Self { process, address, files }
    }

    /// Where a Pilot dials it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The folder that it watches.
    pub fn objects(&self) -> PathBuf {
        self.files.path().join("objects")
    }
}
