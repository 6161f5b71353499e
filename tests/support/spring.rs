//! A Spring Cloud application as teams write them: it registers with Eureka, or in ZooKeeper, and calls others by the name
//! that they registered under. It knows of no mesh.

use std::net::SocketAddr;
use std::process::ExitStatus;

use super::eureka::Eureka;
use super::http::{Answer, Ask};
use super::need::Need;
use super::place::{Place, free_port};
use super::process::Process;

/// How an application is to be started.
#[derive(Debug)]
pub struct SpringBuilder {
    name: String,
    address: SocketAddr,
    properties: Vec<(String, String)>,
    place: Place,
}

impl SpringBuilder {
    /// Listens there, and registers that.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// One of Spring's properties, in place of what is set here otherwise.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.retain(|(known, _)| known != name);
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Calls others and is called by nobody.
    #[must_use]
    pub fn unregistered(self) -> Self {
        self.property("eureka.client.register-with-eureka", "false")
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// Starts it beside `eureka` and waits until it answers.
    pub async fn start(self, eureka: &Eureka) -> Spring {
        let at = self.address;
        let id = format!("{}:{}:{}", at.ip(), self.name, at.port());
        self.property(
            "eureka.client.service-url.defaultZone",
            &format!("http://{}/eureka/", eureka.address()),
        )
        .property("eureka.instance.hostname", &at.ip().to_string())
        .property("eureka.instance.ip-address", &at.ip().to_string())
        .property("eureka.instance.instance-id", &id)
        .property("spring.cloud.zookeeper.enabled", "false")
        .run()
        .await
    }

    /// The same with ZooKeeper in Eureka's place: it registers below `/services`. Its session ends ten seconds after it
    /// was killed.
    pub async fn start_with_zookeeper(self, server: SocketAddr) -> Spring {
        let host = self.address.ip().to_string();
        self.property("eureka.client.enabled", "false")
            .property("spring.cloud.zookeeper.connect-string", &server.to_string())
            .property("spring.cloud.zookeeper.session-timeout", "10s")
            .property("spring.cloud.zookeeper.discovery.instance-host", &host)
            .run()
            .await
    }

    async fn run(self) -> Spring {
        let (host, port) = (self.address.ip(), self.address.port());
        let mut command = self.place.command(&Need::Spring.program());
        command.args([
            format!("--server.address={host}"),
            format!("--server.port={port}"),
            format!("--spring.application.name={}", self.name),
        ]);
        command.args(self.properties.iter().map(|(name, value)| format!("--{name}={value}")));
        let mut process = Process::start("spring", command);
        let (place, address) = (self.place.clone(), self.address);
        process
            .ready("an answer", async || {
                place.get(address, "/").await.is_some_and(|answer| answer.status == 200)
            })
            .await;
        Spring { process, builder: self }
    }
}

/// A running application. Dropping it kills it, without a word to Eureka.
#[derive(Debug)]
pub struct Spring {
    process: Process,
    builder: SpringBuilder,
}

impl Spring {
    /// `name` is what it registers under. It prefers its address to its host name, fetches every second, and renews as
    /// often as Spring does unless told otherwise.
    pub fn build(name: &str) -> SpringBuilder {
        SpringBuilder {
            name: name.to_owned(),
            address: ([127, 0, 0, 1], free_port()).into(),
            properties: Vec::new(),
            place: Place::Host,
        }
        .property("eureka.instance.prefer-ip-address", "true")
        .property("eureka.client.registry-fetch-interval-seconds", "1")
        .property("eureka.client.initial-instance-info-replication-interval-seconds", "0")
        .property("spring.cloud.loadbalancer.cache.enabled", "false")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.builder.address
    }

    /// The id under which it is registered, which is also what it answers on `/`.
    pub fn id(&self) -> String {
        format!("{}:{}:{}", self.builder.address.ip(), self.builder.name, self.builder.address.port())
    }

    /// Has it call another service once, through its load balancer. 500 if it knows no instance or none answered, and for
    /// names with `_`: to Java such a URL has no host.
    pub async fn call(&self, service: &str, path: &str) -> Answer {
        self.page(&format!("/call?service={service}&path={path}")).await
    }

    /// What it knows of a service: `host:port`, sorted.
    pub async fn knows(&self, service: &str) -> Vec<String> {
        let answer = self.page(&format!("/known?service={service}")).await.ok();
        let list = answer[service].as_array().into_iter().flatten();
        list.filter_map(|one| Some(one.as_str()?.to_owned())).collect()
    }

    async fn page(&self, path: &str) -> Answer {
        let answer = self.builder.place.ask(self.builder.address, Ask::get(path)).await;
        answer.unwrap_or_else(|| panic!("spring does not answer {path}"))
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL: it tells nobody.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// SIGTERM: it tells its registry that it goes.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.terminate().await
    }
}
