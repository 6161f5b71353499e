//! What deliveries count. Label sets are closed: what a client calls things never becomes a label.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::session::message::Target;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Wire {
    wire: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    collection: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WireAndKind {
    wire: &'static str,
    collection: &'static str,
}

/// The metrics of all streams.
#[derive(Debug)]
pub struct DeliveryMetrics {
    requests: Family<Wire, Counter>,
    pushes: Family<WireAndKind, Counter>,
    push_bytes: Family<Wire, Counter>,
    nacks: Family<Kind, Counter>,
    push_ack: Family<Kind, Histogram, fn() -> Histogram>,
}

/// 1 ms to 65 s: from a local acknowledgement to an istiod that takes in everything.
fn push_ack_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl DeliveryMetrics {
    /// Adds the metrics to `registry`, which adds the prefix `chandler_`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            pushes: Family::default(),
            push_bytes: Family::default(),
            nacks: Family::default(),
            push_ack: Family::new_with_constructor(push_ack_buckets),
        };
        registry.register("requests", "Requests received", metrics.requests.clone());
        registry.register("pushes", "Responses handed to a connection", metrics.pushes.clone());
        registry.register("push_bytes", "Bytes of these responses", metrics.push_bytes.clone());
        registry.register("nacks", "Responses that a client refused", metrics.nacks.clone());
        let help = "From a response to its acknowledgement: for istiod, until it has applied all of it";
        registry.register("push_ack_seconds", help, metrics.push_ack.clone());
        metrics
    }

    pub(super) fn requested(&self, wire: &'static str) {
        self.requests.get_or_create(&Wire { wire }).inc();
    }

    pub(super) fn pushed(&self, wire: &'static str, target: Target, bytes: usize) {
        self.pushes.get_or_create(&WireAndKind { wire, collection: label(target) }).inc();
        self.push_bytes.get_or_create(&Wire { wire }).inc_by(bytes as u64);
    }

    pub(super) fn acknowledged(&self, target: Target, seconds: f64) {
        self.push_ack.get_or_create(&Kind { collection: label(target) }).observe(seconds);
    }

    pub(super) fn refused(&self, target: Target) {
        self.nacks.get_or_create(&Kind { collection: label(target) }).inc();
    }
}

fn label(target: Target) -> &'static str {
    match target {
        Target::Known(collection) => collection.plural(),
        Target::Unknown | Target::Silent => "unknown",
    }
}
