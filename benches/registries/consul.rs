//! Consul: over TLS, where HTTP/2 lets every service have a query of its own, and in plaintext.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::meter::{Meter, Process};
use crate::subject::{QUIET, Subject};
use crate::support::{Certificates, Consul};
use crate::{GROWTH, INSTANCES, SIZES};

/// The claim: p99 from Consul's acknowledgement to the client's, over the quiet time.
const LATENCY: Duration = Duration::from_millis(100);
/// Changes that are measured beside each size.
const CHANGES: u32 = 50;
/// Changes that are measured right after the first answer …
const EARLY: u32 = 10;
/// … at other addresses than the later ones, …
const EARLY_FROM: u32 = 5_000;
/// … and sooner after each other.
const QUICK: Duration = Duration::from_millis(300);
/// By then a change is long through.
const WINDOW: Duration = Duration::from_millis(700);
/// Nodes that the instances are on.
const NODES: u32 = 200;
/// Longer than Consul lets a query of ours wait, its own addition included: each is answered once.
const IDLE_TLS: Duration = Duration::from_secs(330);
/// Longer than the rest between two rounds in which everything is looked at.
const IDLE_PLAIN: Duration = Duration::from_secs(250);

/// A Consul of so many services, and how it is spoken to.
pub(crate) struct Bench {
    consul: Consul,
    certificates: Certificates,
}

impl Bench {
    pub(crate) async fn load(services: u32) -> Self {
        let certificates = Certificates::create();
        let consul = Consul::build()
            .https(
                &certificates.path("server.pem"),
                &certificates.path("server.key"),
                &certificates.path("ca.pem"),
            )
            .config("telemetry { prometheus_retention_time = \"1h\" }")
            .start()
            .await;
        let node = |n: u32| {
            let address = format!("10.200.{}.{}", n >> 8, n & 255);
            json!({"Node": {"Verb": "set", "Node": {"Node": format!("node-{n}"), "Address": address}}})
        };
        consul.transact(&(0..NODES).map(node).collect::<Vec<_>>()).await;
        for some in (0..services).collect::<Vec<_>>().chunks(1000) {
            let operations: Vec<Value> = some.iter().flat_map(|s| operations(*s)).collect();
            consul.transact(&operations).await;
        }
        Self { consul, certificates }
    }

    /// The program's `registries`.
    pub(crate) fn registry(&self, tls: bool) -> String {
        if !tls {
            return format!("- name: prod\n  consul: {{address: 'http://{}'}}", self.consul.address());
        }
        let file = |name| self.certificates.argument(name);
        format!(
            "- name: prod\n  consul: {{address: 'https://{}', tls: {{caFile: {}, certFile: {}, keyFile: {}}}}}",
            self.consul.https_address(),
            file("ca.pem"),
            file("client.pem"),
            file("client.key")
        )
    }

    /// The first instance of a service moves to an address that nobody had.
    pub(crate) async fn moves(&self, services: u32, turn: u32) -> String {
        let address = format!("10.250.{}.{}", turn >> 8, turn & 255);
        let number = turn * 7919 % services;
        let mut service = instance(number, 0);
        service["Address"] = json!(address);
        let node = json!({"Node": node_of(number, 0), "SkipNodeUpdate": true, "Service": service});
        self.consul.register_in_catalog(&node).await;
        address
    }

    /// Waits until Consul has evaluated every query that waits there: a change in that time is noticed late, because
    /// Consul comes to it late.
    pub(crate) async fn armed(&mut self, program: &Process) -> Duration {
        let began = Instant::now();
        program.settle_below(Duration::from_millis(25)).await;
        let server = Process(self.consul.process().pid().to_string());
        server.settle_below(Duration::from_millis(100)).await;
        began.elapsed()
    }

    /// Requests that it has answered.
    async fn requests(&self) -> f64 {
        let ask = crate::support::Ask::get("/v1/agent/metrics?format=prometheus");
        let text = self.consul.ask(ask).await.body;
        let counts = text.lines().filter(|l| l.starts_with("consul_api_http_count"));
        counts.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

fn node_of(service: u32, instance: u32) -> String {
    format!("node-{}", (service * INSTANCES + instance) % NODES)
}

fn instance(service: u32, instance: u32) -> Value {
    let n = service * INSTANCES + instance;
    json!({
        "ID": format!("service-{service}-{instance}"),
        "Service": format!("service-{service}"),
        "Address": format!("10.{}.{}.{}", 100 + (n >> 16), n >> 8 & 255, n & 255),
        "Port": 8080,
        "Tags": ["v1", "prod"],
        "Meta": {"version": "1.4.2", "team": "payments"}
    })
}

/// An instance with a check that passes.
fn operations(service: u32) -> Vec<Value> {
    let of = |i: u32| {
        let node = node_of(service, i);
        let check = json!({
            "Node": node, "CheckID": format!("service:service-{service}-{i}"), "Name": "tcp", "Status": "passing",
            "ServiceID": format!("service-{service}-{i}"), "Output": "TCP connect: Success"
        });
        [
            json!({"Service": {"Verb": "set", "Node": node, "Service": instance(service, i)}}),
            json!({"Check": {"Verb": "set", "Check": check}}),
        ]
    };
    (0..INSTANCES).flat_map(of).collect()
}

/// First read and changes; whether the claims hold.
pub(crate) async fn bench() -> bool {
    println!(
        "Consul 1.22.7, services of {INSTANCES} instances with a check each, over mutual TLS and HTTP/2"
    );
    let (mut costs, mut held) = (Vec::new(), true);
    for services in SIZES {
        let mut bench = Bench::load(services).await;
        let (mut subject, first) = Subject::start(&bench.registry(true), services as usize).await;
        first.print(subject.resident_mib());
        let changes =
            subject.changes(EARLY, QUICK, async |turn| bench.moves(services, EARLY_FROM + turn).await).await;
        changes.print("right after it, an instance moves");
        held &= changes.within(99) <= QUIET + LATENCY;
        let armed = bench.armed(&subject.process).await;
        println!("  until nothing moves any more: {:.1} s", armed.as_secs_f64());
        let changes = subject.changes(CHANGES, WINDOW, async |turn| bench.moves(services, turn).await).await;
        changes.print("an instance moves");
        held &= changes.within(99) <= QUIET + LATENCY;
        costs.push(changes.cpu);
    }
    println!(
        "  CPU of a change beside {} services over one beside {}: {:.2}x (at most {GROWTH}x); p99 at most {:?}",
        SIZES[1],
        SIZES[0],
        costs[1] / costs[0],
        QUIET + LATENCY
    );
    held && costs[1] <= GROWTH * costs[0]
}

/// What watching costs when nothing happens. Printed, but for the connections.
pub(crate) async fn idle() -> bool {
    let services = SIZES[1];
    println!("{services} Consul services watched, and nothing happens");
    let mut bench = Bench::load(services).await;
    let mut held = true;
    for (name, tls, window) in [("TLS and HTTP/2", true, IDLE_TLS), ("plaintext", false, IDLE_PLAIN)] {
        let (subject, first) = Subject::start(&bench.registry(tls), services as usize).await;
        bench.armed(&subject.process).await;
        first.print(subject.resident_mib());
        let (meter, before) = (Meter::start(&subject.process), bench.requests().await);
        sleep(window).await;
        let (cost, requests) = (meter.stop(), bench.requests().await - before);
        let to = if tls { bench.consul.https_address() } else { bench.consul.address() };
        let (open, minutes) = (connections(to.port()), window.as_secs_f64() / 60.0);
        println!(
            "  {name}: {open} connections, {:.0} requests a minute, {:.2} % of a core, over {window:?}",
            requests / minutes,
            cost.cpu.as_secs_f64() / window.as_secs_f64() * 100.0
        );
        held &= open <= 200;
    }
    held
}

/// Connections that are open to that port.
fn connections(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!(":{port:04X}");
    let open = |line: &&str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns[2].ends_with(&to) && columns[3] == "01"
    };
    table.lines().skip(1).filter(open).count()
}
