//! The program under measurement, with services in files, with a sink and without.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ENDPOINTS;
use crate::cluster::Cluster;
use crate::support::Chandler;
use crate::usage::Usage;

/// The services are in so many files, so that a change reads little.
const FILES: usize = 100;
/// How often the program is asked how far it is: what the answer costs is counted as its own.
const LOOK: Duration = Duration::from_millis(500);
/// What it does without being asked, the Lease included, as a share of a core.
const IDLE: f64 = 0.04;
/// Nobody waits for it unless something is wrong.
const LONG: Duration = Duration::from_secs(3600);
/// An address that nobody else has.
const ELSEWHERE: &str = "192.0.2.1";

pub(crate) struct Subject {
    chandler: Chandler,
    process: Usage,
    services: usize,
}

/// What it has spent since it began, and what it has.
pub(crate) struct Spent {
    /// In seconds.
    pub(crate) cpu: f64,
    /// In bytes.
    pub(crate) resident: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

/// Requests to the API server by their method, whatever was answered.
pub(crate) struct Requests(BTreeMap<String, u64>);

impl Requests {
    pub(crate) fn of(&self, method: &str) -> u64 {
        self.0.get(method).copied().unwrap_or(0)
    }

    /// Of those that change something beside the Lease, and of the namespaces.
    fn writes(&self) -> u64 {
        ["POST", "PATCH", "DELETE", "other"].iter().map(|m| self.of(m)).sum()
    }
}

/// One of the files; the first endpoint of its first service may be `elsewhere`.
fn file(services: usize, number: usize, elsewhere: Option<&str>) -> String {
    let per_file = services.div_ceil(FILES);
    let numbers = number * per_file..services.min((number + 1) * per_file);
    let one = |n: usize| -> Value {
        let endpoint = |e: usize| {
            let own = format!("10.{}.{}.{}", n / 250, n % 250, e + 1);
            let address = elsewhere.filter(|_| n == number * per_file && e == 0).unwrap_or(&own).to_owned();
            json!({"address": address, "labels": {"version": "v1"}, "locality": "eu-1/eu-1a"})
        };
        let endpoints: Vec<Value> = (0..ENDPOINTS).map(endpoint).collect();
        let ports = json!([{"number": 80, "protocol": "HTTP"}]);
        json!({"name": format!("s{n}"), "hosts": [host(n)], "ports": ports, "endpoints": endpoints})
    };
    json!({"services": numbers.map(one).collect::<Vec<_>>()}).to_string()
}

fn host(service: usize) -> String {
    format!("s{service}.example.internal")
}

fn name(number: usize) -> String {
    format!("f{number}.json")
}

impl Subject {
    /// Without a sink; returns once everything has been read.
    pub(crate) async fn alone(services: usize) -> Self {
        let mut subject = Self::start(services, "- name: onboard\n  files: {path: services}", "").await;
        subject.chandler.synced().await;
        subject
    }

    /// Writing into `cluster`.
    pub(crate) async fn writing(services: usize, form: &str, cluster: &Cluster) -> Self {
        let registries = format!(
            "- name: onboard\n  files: {{path: services}}\n  outputs: [wires, {{sink: cluster, form: {form}}}]"
        );
        let sinks = format!(
            "sinks: [{{name: cluster, kubernetes: {{kubeconfig: '{}', leaseNamespace: default}}}}]\n",
            cluster.kubeconfig().display()
        );
        Self::start(services, &registries, &sinks).await
    }

    async fn start(services: usize, registries: &str, further: &str) -> Self {
        let builder = Chandler::build().registries(registries).config(further);
        let add = |builder: crate::support::ChandlerBuilder, n| {
            builder.service_file(&name(n), &file(services, n, None))
        };
        let mut chandler = (0..FILES).fold(builder, add).start().await;
        let process = Usage(chandler.process().pid());
        Self { chandler, process, services }
    }

    /// Once it does next to nothing any more.
    pub(crate) async fn settled(&self) -> Spent {
        self.process.settle(IDLE).await;
        let (cpu, resident) = (self.process.cpu(), self.process.memory("VmRSS"));
        Spent { cpu, resident, peak: self.process.memory("VmHWM") }
    }

    /// Waits until so many objects are wanted, and all of them are written.
    pub(crate) async fn in_step(&self, objects: usize) {
        let deadline = Instant::now() + LONG;
        loop {
            sleep(LOOK).await;
            let row = self.chandler.api("/api/v1/sinks").await[0].clone();
            let step = row["up"] == true && row["writer"] == true && row["pending"] == 0;
            if step && row["wanted"] == objects {
                return;
            }
            assert!(Instant::now() < deadline, "not in step: {row}");
        }
    }

    pub(crate) async fn requests(&self) -> Requests {
        let text = self.chandler.telemetry("/metrics").await.body;
        let mut all = BTreeMap::new();
        for line in text.lines().filter(|l| l.starts_with("chandler_sink_requests_total{")) {
            let method = line.split("method=\"").nth(1).and_then(|l| l.split('"').next()).unwrap();
            let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            *all.entry(method.to_owned()).or_default() += count;
        }
        Requests(all)
    }

    /// Moves one endpoint. How many requests that took.
    pub(crate) async fn change(&self, cluster: &Cluster, form: &str) -> u64 {
        let before = self.requests().await.writes();
        let number = FILES / 2;
        self.chandler.write_services(&name(number), &file(self.services, number, Some(ELSEWHERE)));
        let host = host(number * self.services.div_ceil(FILES));
        let deadline = Instant::now() + LONG;
        while !cluster.is_at(&host, form, ELSEWHERE).await {
            assert!(Instant::now() < deadline, "the change is not written");
            sleep(LOOK).await;
        }
        // What comes after it is part of it.
        self.settled().await;
        self.requests().await.writes() - before
    }

    /// Lets nothing happen until the Lease was renewed so often. What was asked beside that and the watches.
    pub(crate) async fn quiet(&self, cluster: &mut Cluster, renewals: u64) -> u64 {
        self.settled().await;
        let (ours, theirs) = (self.requests().await, cluster.requests().await);
        let deadline = Instant::now() + LONG;
        while self.requests().await.of("PUT") < ours.of("PUT") + renewals {
            assert!(Instant::now() < deadline, "the Lease is not renewed");
            sleep(LOOK).await;
        }
        (self.requests().await.writes() - ours.writes()).max(cluster.requests().await - theirs)
    }
}
