//! A real Eureka server, alone or one of two peers, and the body of a registration as a client sends it.

use std::net::SocketAddr;
use std::process::ExitStatus;

use serde_json::{Value, json};

use super::http::{Answer, Ask};
use super::need::Need;
use super::place::{Place, free_port};
use super::process::Process;

/// How a Eureka server is to be started.
#[derive(Debug, Clone)]
pub struct EurekaBuilder {
    properties: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    credentials: Option<(String, String)>,
    place: Place,
}

impl EurekaBuilder {
    /// One of Spring's properties: `eureka.server.disable-delta`, `true`. In place of what is set here otherwise.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.retain(|(known, _)| known != name);
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `_JAVA_OPTIONS`, `-Xmx3g`: more than the quarter of a gigabyte that tests get by with.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Expired leases are kept where many expire at once, as servers do by default; otherwise they go.
    #[must_use]
    pub fn self_preservation(self) -> Self {
        self.property("eureka.server.enable-self-preservation", "true")
    }

    /// HTTP basic for everything.
    #[must_use]
    pub fn credentials(self, user: &str, password: &str) -> Self {
        let mut with = self
            .property("test.auth", "true")
            .property("spring.security.user.name", user)
            .property("spring.security.user.password", password);
        with.credentials = Some((user.to_owned(), password.to_owned()));
        with
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// One server, when it answers.
    pub async fn start(self) -> Eureka {
        let mut server = self.prepare([127, 0, 0, 1], None);
        server.start_up().await;
        server
    }

    /// Two peers on 127.0.0.1 and 127.0.0.2 (they tell each other apart by host alone), when both answer.
    pub async fn start_two(self) -> [Eureka; 2] {
        let [mut first, mut second] = self.prepare_two();
        tokio::join!(first.start_up(), second.start_up());
        [first, second]
    }

    fn prepare_two(self) -> [Eureka; 2] {
        let builder = self
            .property("eureka.client.fetch-registry", "true")
            .property("eureka.client.registry-fetch-interval-seconds", "2")
            .property("eureka.server.registry-sync-retries", "2")
            .property("eureka.server.registry-sync-retry-wait-ms", "500");
        let mut first = builder.clone().prepare([127, 0, 0, 1], None);
        let second = builder.prepare([127, 0, 0, 2], Some(first.address));
        first.peer = Some(second.address);
        [first, second]
    }

    fn prepare(self, host: [u8; 4], peer: Option<SocketAddr>) -> Eureka {
        Eureka { builder: self, address: (host, free_port()).into(), peer, process: None }
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Eureka {
    builder: EurekaBuilder,
    address: SocketAddr,
    peer: Option<SocketAddr>,
    process: Option<Process>,
}

impl Eureka {
    /// A server whose cache follows within half a second and whose expired leases go within one.
    pub fn build() -> EurekaBuilder {
        EurekaBuilder {
            properties: Vec::new(),
            environment: Vec::new(),
            credentials: None,
            place: Place::Host,
        }
        .property("spring.application.name", "eureka")
        .property("eureka.client.register-with-eureka", "false")
        .property("eureka.client.fetch-registry", "false")
        .property("eureka.server.wait-time-in-ms-when-sync-empty", "0")
        .property("eureka.server.response-cache-update-interval-ms", "500")
        .property("eureka.server.eviction-interval-timer-in-ms", "1000")
        .property("eureka.server.enable-self-preservation", "false")
    }

    /// [`Eureka::build`], one server.
    pub async fn start() -> Self {
        Self::build().start().await
    }

    /// [`Eureka::build`], two peers.
    pub async fn start_two() -> [Self; 2] {
        Self::build().start_two().await
    }

    fn run(&mut self) {
        let mut command = self.builder.place.command(&Need::Eureka.program());
        let (host, port) = (self.address.ip(), self.address.port());
        let others = self.peer.unwrap_or(self.address);
        let user = self.builder.credentials.as_ref().map_or(String::new(), |(u, p)| format!("{u}:{p}@"));
        command.args([
            format!("--server.address={host}"),
            format!("--server.port={port}"),
            format!("--eureka.instance.hostname={host}"),
            format!("--eureka.instance.instance-id={host}:{port}"),
            format!("--eureka.client.service-url.defaultZone=http://{user}{others}/eureka/"),
        ]);
        command.args(self.builder.properties.iter().map(|(name, value)| format!("--{name}={value}")));
        command.envs(self.builder.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("eureka", command));
    }

    async fn start_up(&mut self) {
        self.run();
        self.await_ready().await;
    }

    /// Waits until it answers.
    pub async fn await_ready(&mut self) {
        let (place, address) = (self.builder.place.clone(), self.address);
        let ask = self.with_credentials(Ask::get("/eureka/apps").header("Accept", "application/json"));
        self.process()
            .ready("an answer", async || {
                place.ask(address, ask.clone()).await.is_some_and(|answer| answer.status == 200)
            })
            .await;
    }

    /// Where it listens; its URL for clients is `http://{address}/eureka`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    /// One request, with the credentials of the builder.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let (method, path) = (ask.method, ask.path.clone());
        let answer = self.builder.place.ask(self.address, self.with_credentials(ask)).await;
        answer.unwrap_or_else(|| panic!("eureka does not answer {method} {path}"))
    }

    fn with_credentials(&self, ask: Ask) -> Ask {
        match &self.builder.credentials {
            Some((user, password)) => {
                let encoded = base64(format!("{user}:{password}").as_bytes());
                ask.header("Authorization", &format!("Basic {encoded}"))
            }
            None => ask,
        }
    }

    /// `/eureka/apps`, or `/eureka/apps/delta`, or one application, as JSON.
    pub async fn apps(&self, path: &str) -> Value {
        self.ask(Ask::get(format!("/eureka/apps{path}")).header("Accept", "application/json")).await.ok()
    }

    /// Registers an [`instance`], under the application and id that it names.
    pub async fn register(&self, instance: &Value) {
        let answer = self.ask(registration(instance)).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    /// Many over one connection.
    pub async fn register_all(&self, instances: &[Value]) {
        let asks = instances.iter().map(|one| self.with_credentials(registration(one))).collect();
        let answers = self.builder.place.ask_all(self.address, asks).await;
        assert_eq!(answers.len(), instances.len());
        assert!(answers.iter().all(|answer| answer.status == 204));
    }

    /// Renews a lease; whether the server knew the instance.
    pub async fn renew(&self, app: &str, id: &str) -> bool {
        self.ask(Ask::new("PUT", format!("/eureka/apps/{app}/{id}"))).await.status == 200
    }

    /// Takes an instance away.
    pub async fn cancel(&self, app: &str, id: &str) {
        self.ask(Ask::new("DELETE", format!("/eureka/apps/{app}/{id}"))).await.ok();
    }

    /// Overrides a status (`OUT_OF_SERVICE`), as operators do.
    pub async fn override_status(&self, app: &str, id: &str, status: &str) {
        self.ask(Ask::new("PUT", format!("/eureka/apps/{app}/{id}/status?value={status}"))).await.ok();
    }

    /// Takes the override back; the instance has `status` until it says otherwise.
    pub async fn clear_override(&self, app: &str, id: &str, status: &str) {
        self.ask(Ask::new("DELETE", format!("/eureka/apps/{app}/{id}/status?value={status}"))).await.ok();
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.process().kill().await;
    }

    /// SIGTERM; how it ended.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process().terminate().await
    }

    /// Starts it again after its end, on the same port: empty, until its peer or its clients have told it everything.
    pub async fn start_again(&mut self) {
        assert!(self.process().exited().is_some(), "end it first");
        self.start_up().await;
    }
}

/// An instance that is UP, called `{address}:{app}:{port}` in lower case as Spring does, with a lease of `lease` seconds
/// (90 is what clients ask for). Change what the test is about, such as `["instance"]["metadata"]`.
pub fn instance(app: &str, address: &str, port: u16, lease: u32) -> Value {
    json!({"instance": {
        "instanceId": format!("{address}:{}:{port}", app.to_lowercase()),
        "hostName": address,
        "app": app.to_uppercase(),
        "ipAddr": address,
        "vipAddress": app.to_lowercase(),
        "secureVipAddress": app.to_lowercase(),
        "status": "UP",
        "port": {"$": port, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": lease},
        "metadata": {},
    }})
}

fn registration(instance: &Value) -> Ask {
    let app = instance["instance"]["app"].as_str().expect("an application");
    Ask::new("POST", format!("/eureka/apps/{app}")).json(instance)
}

/// The alphabet that basic credentials are written in.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |word: u32, place: usize| char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63]);
    let group = |chunk: &[u8]| {
        let word = (0..3).fold(0, |word, n| word << 8 | u32::from(*chunk.get(n).unwrap_or(&0)));
        (0..4).map(|n| if n <= chunk.len() { digit(word, n) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
