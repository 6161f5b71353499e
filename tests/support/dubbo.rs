//! Real Dubbo: providers, and consumers as teams write them. They know of no mesh. From the same jars an instance that
//! Curator's service discovery registers.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use super::need::Need;
use super::place::Place;
use super::probe::Probe;

/// What providers offer.
pub const GREET: &str = "greet.GreetService";

/// A line of Dubbo's history that is still in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DubboAge {
    /// Knows interfaces only, unless told otherwise.
    V2_7,
    /// With `tests/run --all`.
    V3_2,
    V3_3,
}

impl DubboAge {
    const fn need(self) -> Need {
        match self {
            Self::V2_7 => Need::Dubbo27,
            Self::V3_2 => Need::Dubbo32,
            Self::V3_3 => Need::Dubbo33,
        }
    }
}

/// What is to be started, and what it is told: see `tests/servers/dubbo-3.3/src`.
#[derive(Debug, Clone)]
pub struct DubboBuilder {
    age: DubboAge,
    role: &'static str,
    arguments: Vec<(String, String)>,
    place: Place,
}

impl DubboBuilder {
    /// One argument, in place of what was said before.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.arguments.retain(|(known, _)| known != key);
        self.arguments.push((key.to_owned(), value.to_owned()));
        self
    }

    /// As which levels a provider of 3.x registers: `interface`, `instance` or `all`.
    #[must_use]
    pub fn register_mode(self, mode: &str) -> Self {
        self.set("dubbo.application.register-mode", mode)
    }

    /// What it registers in place of the machine's address. It need not have it: it listens on every one.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.set("DUBBO_IP_TO_REGISTRY", host)
    }

    /// Where it finds ZooKeeper. Its session ends ten seconds after it was killed: not sooner, or it would on a busy machine.
    #[must_use]
    pub fn registry(self, at: SocketAddr) -> Self {
        self.registries(&[at])
    }

    /// The same with several servers.
    #[must_use]
    pub fn registries(self, at: &[SocketAddr]) -> Self {
        let all: Vec<String> = at.iter().map(ToString::to_string).collect();
        let backup = if all.len() > 1 { format!("&backup={}", all[1..].join(",")) } else { String::new() };
        self.set("registry", &format!("zookeeper://{}?session=10000{backup}", all[0]))
    }

    /// What it offers its services over: `dubbo:20880,tri:50051`.
    #[must_use]
    pub fn protocols(self, protocols: &str) -> Self {
        self.set("protocols", protocols)
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// Starts it and does not wait.
    pub fn start_unready(&self) -> Dubbo {
        let pairs = self.arguments.iter().map(|(key, value)| format!("{key}={value}"));
        let arguments = std::iter::once(self.role.to_owned()).chain(pairs);
        Dubbo(Probe::start_program_in(&self.place, &self.age.need().program(), arguments))
    }

    /// Starts it and waits until it has registered, or can call.
    pub async fn start(&self) -> Dubbo {
        let mut started = self.start_unready();
        started.ready().await;
        started
    }
}

/// A running one. Lines of a consumer are `answer` (name) and `failed` (error). Dropping it kills it: its session
/// has to expire then.
#[derive(Debug)]
pub struct Dubbo(Probe);

impl Dubbo {
    /// Answers with `name`; registers the machine's address unless it is given a host, and offers [`GREET`].
    pub fn provider(age: DubboAge, name: &str) -> DubboBuilder {
        Self::build(age, "provider").set("name", name)
    }

    /// Calls [`GREET`] whenever it is told to, or all the time with `every`.
    pub fn consumer(age: DubboAge) -> DubboBuilder {
        Self::build(age, "consumer")
    }

    /// An instance of `name` that Curator registers.
    pub fn curator(servers: &[SocketAddr], name: &str, address: &str) -> DubboBuilder {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        Self::build(DubboAge::V3_3, "curator")
            .set("servers", &servers.join(","))
            .set("session", "10000")
            .set("name", name)
            .set("address", address)
    }

    fn build(age: DubboAge, role: &'static str) -> DubboBuilder {
        DubboBuilder { age, role, arguments: Vec::new(), place: Place::Host }
    }

    /// Waits until it has registered, or can call.
    pub async fn ready(&mut self) {
        self.0.next_where("ready", |line| line["event"] == "ready").await;
    }

    /// Has a consumer call once: who answered, or what went wrong.
    pub async fn call(&mut self) -> Result<String, String> {
        self.0.so_far();
        self.0.tell("call").await;
        let line = self.0.next().await;
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        text("name").ok_or_else(|| text("error").unwrap_or_else(|| line.to_string()))
    }

    /// Waits until a call was answered by the provider of this name; what came before is passed over.
    pub async fn answered_by(&mut self, name: &str) {
        self.0.next_where(&format!("an answer of {name}"), |line| line["name"] == name).await;
    }

    /// SIGTERM: it takes its registration back. Java then ends with 143.
    pub async fn stop(&mut self) {
        self.0.process().terminate().await;
    }

    /// SIGKILL: its registration stays until its session has expired.
    pub async fn kill(&mut self) {
        self.0.process().kill().await;
    }
}

impl Deref for Dubbo {
    type Target = Probe;

    fn deref(&self) -> &Probe {
        &self.0
    }
}

impl DerefMut for Dubbo {
    fn deref_mut(&mut self) -> &mut Probe {
        &mut self.0
    }
}
