//! Small servers that stand in for what a test does not want whole.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::place::{Place, free_address};
use super::probe::Probe;

/// HTTP or TCP servers that answer with their name and the port that was reached.
#[derive(Debug)]
pub struct Backend {
    probe: Probe,
    name: String,
    addresses: Vec<SocketAddr>,
}

impl Backend {
    /// Answers HTTP with `{name, port, host, path, protocol}` on each of the addresses.
    pub async fn http(place: &Place, name: &str, addresses: &[SocketAddr]) -> Self {
        Self::start(place, name, addresses, &[]).await
    }

    /// Answers each line over TCP, on each of the addresses.
    pub async fn tcp(place: &Place, name: &str, addresses: &[SocketAddr]) -> Self {
        Self::start(place, name, addresses, &["-tcp"]).await
    }

    async fn start(place: &Place, name: &str, addresses: &[SocketAddr], flags: &[&str]) -> Self {
        let listen: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let listen = listen.join(",");
        let arguments = ["backend", "-name", name, "-listen", &listen];
        let mut probe = Probe::start(place, arguments.into_iter().chain(flags.iter().copied()));
        probe.next_where("ready", |line| line["event"] == "ready").await;
        Self { probe, name: name.to_owned(), addresses: addresses.to_vec() }
    }

    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SIGTERM.
    pub async fn stop(mut self) {
        self.probe.stop().await;
    }
}

/// A configuration source that serves one ServiceEntry: only for testing these tools.
#[derive(Debug)]
pub struct FakeAds {
    probe: Probe,
    address: SocketAddr,
}

impl FakeAds {
    /// `flags` as of `probe fake-ads`: host, vip, port, protocol, endpoints.
    pub async fn start(place: &Place, flags: &[&str]) -> Self {
        let address = free_address();
        let listen = address.to_string();
        let arguments = ["fake-ads", "-listen", &listen].into_iter().chain(flags.iter().copied());
        let mut probe = Probe::start(place, arguments);
        probe.next_where("ready", |line| line["event"] == "ready").await;
        Self { probe, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Other endpoints, as `ADDRESS:PORT`.
    pub async fn endpoints(&mut self, endpoints: &[&str]) {
        self.probe.tell(&format!("endpoints {}", endpoints.join(","))).await;
    }

    /// Another port.
    pub async fn port(&mut self, port: u16) {
        self.probe.tell(&format!("port {port}")).await;
    }
}

/// A Kubernetes API that holds nothing.
#[derive(Debug)]
pub struct StubApiServer {
    probe: Probe,
}

impl StubApiServer {
    pub async fn start(place: &Place) -> Self {
        let listen = free_address().to_string();
        let mut probe =
            Probe::start(place, ["stub-apiserver", "-listen", &listen, "-write-kubeconfig", "kubeconfig"]);
        probe.next_where("ready", |line| line["event"] == "ready").await;
        Self { probe }
    }

    /// How a client finds it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.probe.dir().join("kubeconfig")
    }
}
