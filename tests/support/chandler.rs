//! The program under test, as a user starts it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::http::{Answer, Ask};
use super::place::{Place, free_address};
use super::process::{PATIENCE, Process, scratch};

/// How Chandler is to be started.
#[derive(Debug)]
pub struct ChandlerBuilder {
    config: String,
    listener: String,
    server: String,
    admin: String,
    registries: String,
    files: Vec<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    account: Option<PathBuf>,
    place: Place,
}

impl ChandlerBuilder {
    /// Further top-level configuration, beside `server`, `telemetry`, `admin` and `registries`.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.config.push_str(yaml.trim_end());
        self.config.push('\n');
        self
    }

    /// Further keys of the one listener: `tls: {…}, access: […]`.
    #[must_use]
    pub fn listener(mut self, keys: &str) -> Self {
        self.listener = format!(", {keys}");
        self
    }

    /// Further keys of `server`: `mcp: {dial: […]}`.
    #[must_use]
    pub fn server(mut self, keys: &str) -> Self {
        self.server = format!(", {keys}");
        self
    }

    /// Further keys of `admin`: `tls: {…}`. Then [`Chandler::api`] does not get through.
    #[must_use]
    pub fn admin(mut self, keys: &str) -> Self {
        self.admin = format!(", {keys}");
        self
    }

    /// The whole of `registries:`, in place of one files registry over `services/`.
    #[must_use]
    pub fn registries(mut self, yaml: &str) -> Self {
        yaml.trim_end().clone_into(&mut self.registries);
        self
    }

    /// A file below `services/`.
    #[must_use]
    pub fn service_file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// A folder that it finds where a pod has the credentials of its service account. Needs `needs!(Namespace)`.
    #[must_use]
    pub fn service_account(mut self, folder: &Path) -> Self {
        self.account = Some(folder.to_owned());
        self
    }

    /// Starts it and waits until its sockets are open.
    pub async fn start(self) -> Chandler {
        let mut chandler = self.prepare();
        chandler.run();
        chandler.await_ready().await;
        chandler
    }

    /// Starts it and does not wait.
    pub fn start_unready(self) -> Chandler {
        let mut chandler = self.prepare();
        chandler.run();
        chandler
    }

    fn prepare(self) -> Chandler {
        let files = scratch("chandler-files");
        let chandler = Chandler {
            grpc: free_address(),
            telemetry: free_address(),
            admin: free_address(),
            process: None,
            builder: self,
            files,
        };
        std::fs::create_dir(chandler.services_dir()).expect("a folder");
        for (name, text) in &chandler.builder.files {
            chandler.write_services(name, text);
        }
        chandler.write_config();
        chandler
    }
}

/// A running Chandler.
#[derive(Debug)]
pub struct Chandler {
    builder: ChandlerBuilder,
    /// Where control planes connect.
    pub grpc: SocketAddr,
    /// Health, readiness, metrics.
    pub telemetry: SocketAddr,
    /// The API.
    pub admin: SocketAddr,
    process: Option<Process>,
    files: TempDir,
}

impl Chandler {
    /// The binary that cargo built for this test run.
    pub fn program() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_chandler"))
    }

    /// One files registry, `onboard`, over a folder `services/`.
    pub fn build() -> ChandlerBuilder {
        ChandlerBuilder {
            config: String::new(),
            listener: String::new(),
            server: String::new(),
            admin: String::new(),
            registries: "- name: onboard\n  files: {path: services}".to_owned(),
            files: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            account: None,
            place: Place::Host,
        }
    }

    /// [`Chandler::build`] with further configuration and the files of `services/`, started.
    pub async fn start(config: &str, files: &[(&str, &str)]) -> Self {
        let builder = Self::build().config(config);
        files.iter().fold(builder, |builder, (name, text)| builder.service_file(name, text)).start().await
    }

    /// One run of a subcommand to its end: exit status, output, complaints.
    pub async fn command(arguments: &[&str], dir: &Path) -> (ExitStatus, String, String) {
        let mut command = Command::new(Self::program());
        command.args(arguments).current_dir(dir).kill_on_drop(true);
        let run = tokio::time::timeout(PATIENCE, command.output()).await;
        let output =
            run.unwrap_or_else(|_| panic!("chandler {arguments:?} does not end")).expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status, text(&output.stdout), text(&output.stderr))
    }

    fn run(&mut self) {
        let mut command = match &self.builder.account {
            None => self.builder.place.command(Self::program()),
            Some(folder) => in_a_pod(folder, Self::program()),
        };
        command.arg("serve").arg("--config").arg(self.config_file()).args(&self.builder.arguments);
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("chandler", command));
    }

    fn write_config(&self) {
        let Self { grpc, telemetry, admin, .. } = self;
        let text = format!(
            "server: {{listeners: [{{address: '{grpc}'{}}}]{}}}\ntelemetry: {{listen: '{telemetry}'}}\n\
             admin: {{listen: '{admin}'{}}}\nregistries:\n{}\n{}",
            self.builder.listener,
            self.builder.server,
            self.builder.admin,
            self.builder.registries,
            self.builder.config
        );
        replace(&self.config_file(), &text);
    }

    /// Waits until every socket is open.
    pub async fn await_ready(&mut self) {
        self.await_status("/readyz", "readiness").await;
    }

    /// Waits until every registry has been read.
    pub async fn synced(&mut self) {
        self.await_status("/syncz", "its first complete reads").await;
    }

    async fn await_status(&mut self, path: &str, what: &str) {
        let (place, telemetry) = (self.builder.place.clone(), self.telemetry);
        let ready = async || place.get(telemetry, path).await.is_some_and(|answer| answer.status == 200);
        self.process().ready(what, ready).await;
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    pub fn place(&self) -> &Place {
        &self.builder.place
    }

    pub fn log_contains(&self, text: &str) -> bool {
        self.process.as_ref().is_some_and(|process| process.log_contains(text))
    }

    /// SIGKILL: no drain, no word.
    pub async fn kill(&mut self) {
        self.process().kill().await;
    }

    /// SIGTERM; how it ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process().terminate().await
    }

    /// Starts it again after its end, on the same ports and files.
    pub async fn start_again(&mut self) {
        self.start_again_unready();
        self.await_ready().await;
    }

    /// The same, and nobody waits until its sockets are open.
    pub fn start_again_unready(&mut self) {
        assert!(self.process().exited().is_some(), "end it first");
        self.run();
    }

    pub fn config_file(&self) -> PathBuf {
        self.files.path().join("chandler.yaml")
    }

    pub fn services_dir(&self) -> PathBuf {
        self.files.path().join("services")
    }

    /// Writes a file below `services/` as careful programs do: beside it, then renamed over it.
    pub fn write_services(&self, name: &str, text: &str) {
        replace(&self.services_dir().join(name), text);
    }

    pub fn remove_services(&self, name: &str) {
        std::fs::remove_file(self.services_dir().join(name)).expect("the file is there");
    }

    /// Replaces the further configuration; the running program sees the file change.
    pub fn write_further_config(&mut self, yaml: &str) {
        yaml.clone_into(&mut self.builder.config);
        self.write_config();
    }

    /// Replaces `registries:` as well, in one write.
    pub fn write_registries(&mut self, registries: &str, further: &str) {
        registries.trim_end().clone_into(&mut self.builder.registries);
        self.write_further_config(further);
    }

    /// A page of the telemetry listener.
    pub async fn telemetry(&self, path: &str) -> Answer {
        self.asked(self.telemetry, path).await
    }

    /// A page of the API.
    pub async fn api(&self, path: &str) -> Value {
        self.asked(self.admin, path).await.json()
    }

    /// It is there, so it answers sooner or later.
    async fn asked(&self, address: SocketAddr, path: &str) -> Answer {
        let answer = self.builder.place.ask(address, Ask::get(path).within(PATIENCE)).await;
        answer.unwrap_or_else(|| panic!("chandler does not answer {path}"))
    }
}

/// A command that finds `account` where pods have theirs; the process id stays the one that we know.
fn in_a_pod(account: &Path, program: &Path) -> Command {
    let script = r#"set -e
        account=$1; shift
        mount -t tmpfs tmpfs "$(readlink -f /var/run)"
        mkdir -p /var/run/secrets/kubernetes.io
        ln -s "$account" /var/run/secrets/kubernetes.io/serviceaccount
        exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", script, "sh"]).arg(account).arg(program);
    command
}

/// Writes beside the file and renames: a reader sees the old content or the new.
fn replace(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
    let beside = file.with_extension("new~");
    std::fs::write(&beside, text).expect("a file");
    std::fs::rename(&beside, file).expect("a rename");
}
