//! The judge on Istio's own sink: its lines are a probe's.

use std::ffi::OsStr;
use std::net::SocketAddr;

use serde_json::Value;

use super::need::Need;
use super::place::free_address;
use super::probe::Probe;
use super::process::{PATIENCE, eventually};

/// The collection that matters most, by its legacy name.
pub const SINK_ENTRIES: &str = "istio/networking/v1alpha3/serviceentries";

/// A running judge.
#[derive(Debug)]
pub struct RefSink {
    probe: Probe,
}

impl RefSink {
    /// Sinks that dial `source`; `flags` as of `refsink pull`: `-incremental`, `-nack 0.2`, `-delay 50ms`, `-sinks 20`.
    pub fn pull(source: SocketAddr, flags: &[&str]) -> Self {
        let source = source.to_string();
        Self::start(["pull", "-server", &source].into_iter().chain(flags.iter().copied()))
    }

    /// A sink server, and where it can be dialled.
    pub async fn listen(flags: &[&str]) -> (Self, SocketAddr) {
        let address = free_address();
        (Self::listen_at(address, flags).await, address)
    }

    /// The same, at an address that was known before.
    pub async fn listen_at(address: SocketAddr, flags: &[&str]) -> Self {
        let listen = address.to_string();
        let mut sink = Self::start(["listen", "-listen", &listen].into_iter().chain(flags.iter().copied()));
        sink.probe.next_where("ready", |line| line["event"] == "ready").await;
        sink
    }

    /// The reference source, and where it can be dialled.
    pub async fn serve(flags: &[&str]) -> (Self, SocketAddr) {
        let address = free_address();
        let listen = address.to_string();
        let mut source = Self::start(["serve", "-listen", &listen].into_iter().chain(flags.iter().copied()));
        source.probe.next_where("ready", |line| line["event"] == "ready").await;
        (source, address)
    }

    fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self { probe: Probe::start_program(&Need::RefSink.program(), arguments) }
    }

    /// An instruction, and the line that it gives.
    async fn asked(&mut self, instruction: &str, answer: &str) -> Value {
        self.probe.tell(instruction).await;
        self.probe.next_where(answer, |line| line["event"] == answer).await
    }

    /// `nack 0.3`, `delay 20ms`, `pause`, `resume`, `reconnect`, `entries 5`.
    pub async fn tell(&mut self, instruction: &str) {
        self.asked(instruction, "done").await;
    }

    /// Counts over all sinks, and how many hold which version of each collection. Lines that came before are passed over.
    pub async fn report(&mut self) -> Value {
        self.asked("report", "report").await
    }

    /// What the first sink holds of a collection: `version`, and `resources` by name.
    pub async fn held(&mut self, collection: &str) -> Value {
        self.asked(&format!("held {collection}"), "held").await
    }

    /// The next update of a collection that was acknowledged or refused.
    pub async fn update(&mut self, collection: &str) -> Value {
        let wanted = |line: &Value| line["event"] == "update" && line["collection"] == collection;
        self.probe.next_where(&format!("an update of {collection}"), wanted).await
    }

    /// Waits until every sink holds the same `version` of a collection, and returns the report.
    pub async fn agreed(&mut self, collection: &str, version: &str) -> Value {
        let what = format!("every sink to hold {version} of {collection}");
        eventually(&what, PATIENCE, async || {
            let report = self.report().await;
            let held = report["versions"][collection].as_object().expect("it is asked for");
            (held.len() == 1 && held.contains_key(version)).then_some(report)
        })
        .await
    }

    /// Every line.
    pub fn lines(&mut self) -> &mut Probe {
        &mut self.probe
    }
}
