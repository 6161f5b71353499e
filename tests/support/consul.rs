//! A real Consul: one development agent, which forgets everything when it ends, or three servers with their own disks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;

use serde_json::Value;
use tempfile::TempDir;

use super::http::{Answer, Ask};
use super::need::Need;
use super::place::{Place, free_address, free_port};
use super::process::{PATIENCE, Process, eventually, scratch};

/// Which Consul.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsulAge {
    /// 1.22.7, the newest that can be had.
    Newest,
    /// 1.8.7, as Debian bullseye has it, with `tests/run --all`.
    Old,
}

impl ConsulAge {
    const fn need(self) -> Need {
        match self {
            Self::Newest => Need::Consul,
            Self::Old => Need::ConsulOld,
        }
    }
}

/// How a Consul is to be started.
#[derive(Debug, Clone)]
pub struct ConsulBuilder {
    age: ConsulAge,
    config: Vec<String>,
    arguments: Vec<String>,
    token: Option<String>,
    https: Option<u16>,
    /// For gRPC over TLS, which peers speak.
    peering: Option<u16>,
    place: Place,
}

impl ConsulBuilder {
    /// Able to have peers, which listen and dial.
    #[must_use]
    pub fn peering(mut self) -> Self {
        self.peering = Some(free_port());
        self
    }

    #[must_use]
    pub fn age(mut self, age: ConsulAge) -> Self {
        self.age = age;
        self
    }

    /// Further configuration, in HCL: `acl { enabled = true default_policy = "deny" }`.
    #[must_use]
    pub fn config(mut self, hcl: &str) -> Self {
        self.config.push(hcl.to_owned());
        self
    }

    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The token that the helpers of this file send. Default deny, with this token as the first one:
    /// `.config("acl { enabled = true default_policy = \"deny\" tokens { initial_management = \"TOKEN\" } }")`.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// HTTPS beside plain HTTP; client certificates are asked for and verified.
    #[must_use]
    pub fn https(mut self, certificate: &Path, key: &Path, client_ca: &Path) -> Self {
        self.https = Some(free_port());
        // The old one knows only the keys at the top.
        self.config.push(match self.age {
            ConsulAge::Newest => format!(
                "tls {{ https {{ verify_incoming = true cert_file = {certificate:?} key_file = {key:?} \
                 ca_file = {client_ca:?} }} }}"
            ),
            ConsulAge::Old => format!(
                "verify_incoming_https = true cert_file = {certificate:?} key_file = {key:?} ca_file = {client_ca:?}"
            ),
        });
        self
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// One development agent, when it has elected itself.
    pub async fn start(self) -> Consul {
        let mut consul = Consul::new(self, vec!["-dev".to_owned()]);
        consul.run();
        consul.await_leader().await;
        consul
    }

    /// One server with a disk, when it has elected itself.
    pub async fn start_alone(self) -> Consul {
        let builder = self.config("performance { raft_multiplier = 1 }");
        let mut server = Consul::new(builder, vec!["-server".to_owned(), "-bootstrap-expect=1".to_owned()]);
        server.run();
        server.await_leader().await;
        server
    }

    /// Three servers, when they have a leader and all know it.
    pub async fn start_three(self) -> Vec<Consul> {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let join: Vec<String> = ports.iter().map(|port| format!("-retry-join=127.0.0.1:{port}")).collect();
        let mut servers: Vec<Consul> = ports
            .iter()
            .enumerate()
            .map(|(n, port)| {
                let mut builder = self.clone().config("performance { raft_multiplier = 1 }");
                builder.https = builder.https.map(|_| free_port());
                let mut arguments = vec!["-server".to_owned(), "-bootstrap-expect=3".to_owned()];
                arguments.extend(join.iter().cloned());
                arguments.push("-retry-interval=1s".to_owned());
                arguments.push(format!("-node=server-{n}"));
                let mut server = Consul::new(builder, arguments);
                server.serf = *port;
                server
            })
            .collect();
        servers.iter_mut().for_each(Consul::run);
        for server in &mut servers {
            server.await_leader().await;
        }
        servers
    }
}

/// A running agent. Dropping it kills it.
#[derive(Debug)]
pub struct Consul {
    builder: ConsulBuilder,
    arguments: Vec<String>,
    http: SocketAddr,
    dns: SocketAddr,
    /// Gossip within the datacenter.
    serf: u16,
    wan: u16,
    server: u16,
    process: Option<Process>,
    files: TempDir,
}

impl Consul {
    /// 1.22.7 without anything further.
    pub fn build() -> ConsulBuilder {
        ConsulBuilder {
            age: ConsulAge::Newest,
            config: Vec::new(),
            arguments: Vec::new(),
            token: None,
            https: None,
            peering: None,
            place: Place::Host,
        }
    }

    /// [`Consul::build`], one agent.
    pub async fn start() -> Self {
        Self::build().start().await
    }

    fn new(builder: ConsulBuilder, arguments: Vec<String>) -> Self {
        Self {
            builder,
            arguments,
            http: free_address(),
            dns: free_address(),
            serf: free_port(),
            wan: free_port(),
            server: free_port(),
            process: None,
            files: scratch("consul-files"),
        }
    }

    fn run(&mut self) {
        let config = self.files.path().join("consul.hcl");
        std::fs::write(&config, self.builder.config.join("\n")).expect("a configuration file");
        let mut command = self.builder.place.command(&self.builder.age.need().program());
        command.arg("agent").args(&self.arguments).args(&self.builder.arguments).args([
            "-bind=127.0.0.1".to_owned(),
            "-client=127.0.0.1".to_owned(),
            format!("-http-port={}", self.http.port()),
            format!("-https-port={}", self.builder.https.map_or(-1, i32::from)),
            format!("-dns-port={}", self.dns.port()),
            "-grpc-port=-1".to_owned(),
            format!("-serf-lan-port={}", self.serf),
            format!("-serf-wan-port={}", self.wan),
            format!("-server-port={}", self.server),
            "-disable-host-node-id".to_owned(),
            "-log-level=info".to_owned(),
            format!("-config-file={}", config.display()),
        ]);
        if self.builder.age == ConsulAge::Newest {
            command.arg(format!("-grpc-tls-port={}", self.builder.peering.map_or(-1, i32::from)));
        }
        if !self.is_dev() {
            command.arg(format!("-data-dir={}", self.files.path().join("data").display()));
        }
        self.process = Some(Process::start("consul", command));
    }

    fn is_dev(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "-dev")
    }

    /// Waits until the agent knows a leader.
    pub async fn await_leader(&mut self) {
        let (place, http, token) = (self.builder.place.clone(), self.http, self.builder.token.clone());
        self.process()
            .ready("a leader", async || {
                let answer =
                    place.ask(http, authorized(Ask::get("/v1/status/leader"), token.as_deref())).await;
                answer.is_some_and(|answer| answer.status == 200 && answer.body.len() > 2)
            })
            .await;
    }

    /// Where its HTTP interface is; as an URL, `http://{address}`.
    pub fn address(&self) -> SocketAddr {
        self.http
    }

    /// Where its HTTPS interface is.
    pub fn https_address(&self) -> SocketAddr {
        (self.http.ip(), self.builder.https.expect("started with https")).into()
    }

    /// Where it answers DNS.
    pub fn dns_address(&self) -> SocketAddr {
        self.dns
    }

    /// Where its servers speak to each other: how `status/leader` names them.
    pub fn server_address(&self) -> SocketAddr {
        (self.http.ip(), self.server).into()
    }

    /// Where its servers gossip with those of other datacenters.
    pub fn wan_port(&self) -> u16 {
        self.wan
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    /// One request, with the token of the builder.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let (method, path) = (ask.method, ask.path.clone());
        let answer = self.builder.place.ask(self.http, authorized(ask, self.builder.token.as_deref())).await;
        answer.unwrap_or_else(|| panic!("consul does not answer {method} {path}"))
    }

    /// What it says there; anything but a success is a failure of the test.
    pub async fn get(&self, path: &str) -> Value {
        self.ask(Ask::get(path)).await.ok()
    }

    /// The same, for a change.
    pub async fn put(&self, path: &str, body: &Value) -> Value {
        self.ask(Ask::new("PUT", path).json(body)).await.ok()
    }

    /// Registers with the agent: `{"Name": …, "ID": …, "Address": …, "Port": …, "Tags": […], "Meta": {…}, "Check": {…}}`.
    pub async fn register(&self, service: &Value) {
        self.put("/v1/agent/service/register", service).await;
    }

    /// Takes one away that the agent was given.
    pub async fn deregister(&self, id: &str) {
        self.put(&format!("/v1/agent/service/deregister/{id}"), &Value::Null).await;
    }

    /// Sets a TTL check of the agent: `pass`, `warn` or `fail`. A service's only check is called `service:ID`.
    pub async fn check(&self, id: &str, state: &str) {
        self.put(&format!("/v1/agent/check/{state}/{id}"), &Value::Null).await;
    }

    /// Registers in the catalogue, beside any agent: `{"Node": …, "Address": …, "Service": {…}, "Checks": […]}`.
    pub async fn register_in_catalog(&self, registration: &Value) {
        self.put("/v1/catalog/register", registration).await;
    }

    /// `{"Node": …, "ServiceID": …}`; without the latter the whole node.
    pub async fn deregister_from_catalog(&self, registration: &Value) {
        self.put("/v1/catalog/deregister", registration).await;
    }

    /// Any number of operations, sixty-four to a transaction: `{"Service": {"Verb": "set", "Node": …, "Service": {…}}}`.
    pub async fn transact(&self, operations: &[Value]) {
        for some in operations.chunks(64) {
            self.put("/v1/txn", &Value::from(some.to_vec())).await;
        }
    }

    /// The services that it lists.
    pub async fn services(&self) -> Vec<String> {
        let all = self.get("/v1/catalog/services").await;
        all.as_object().expect("names and tags").keys().cloned().collect()
    }

    /// SIGKILL: no word to anybody.
    pub async fn kill(&mut self) {
        self.process().kill().await;
    }

    /// SIGTERM; how it ended: with 1, as a server does that was not told to leave.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process().terminate().await
    }

    /// Takes its disk away, after its end.
    pub fn forget(&mut self) {
        assert!(self.process().exited().is_some(), "end it first");
        std::fs::remove_dir_all(self.files.path().join("data")).expect("its disk");
    }

    /// Starts it again after its end, on the same ports: a development agent empty, a server with its disk.
    pub async fn start_again(&mut self) {
        assert!(self.process().exited().is_some(), "end it first");
        self.run();
        self.await_leader().await;
    }
}

/// The index of the leader among the servers, once the first that still runs knows one of those that still run.
pub async fn consul_leader(servers: &mut [Consul]) -> usize {
    eventually("a leader among the servers", PATIENCE, async || {
        let alive: Vec<bool> = servers.iter_mut().map(|one| one.process().exited().is_none()).collect();
        let first = alive.iter().position(|alive| *alive)?;
        let asked = servers[first].ask(Ask::get("/v1/status/leader")).await;
        let leader = asked.body.trim().trim_matches('"').to_owned();
        let found = servers.iter().position(|one| one.server_address().to_string() == leader)?;
        alive[found].then_some(found)
    })
    .await
}

fn authorized(ask: Ask, token: Option<&str>) -> Ask {
    match token {
        Some(token) => ask.header("X-Consul-Token", token),
        None => ask,
    }
}
