//! What deliveries count. Label sets are closed: what a client calls things never becomes a label.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use tonic::Code;

use crate::delivery::connections::Connections;
use crate::delivery::galley::Galley;
use crate::delivery::oversize::LegacyMetrics;
use crate::resource::legacy;
use crate::session::message::Target;

/// Why a stream was refused, or ended because of what its peer may not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    Draining,
    TooOften,
    Unauthenticated,
    Forbidden,
    Streams,
    StreamsPerIdentity,
}

impl Reason {
    pub(super) const ALL: [Self; 6] = [
        Self::Draining,
        Self::TooOften,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Streams,
        Self::StreamsPerIdentity,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::TooOften => "too_often",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Streams => "streams",
            Self::StreamsPerIdentity => "streams_per_identity",
        }
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.name(), encoder)
    }
}

/// A limit, by its name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    Streams,
    StreamsPerIdentity,
    StreamOpensPerSecond,
    RequestsPerSecond,
    RequestsPerSecondPerPeer,
    MessageSize,
    UnknownCollections,
    /// Names and watches of one stream; not configurable.
    Subscriptions,
    ReadTimeout,
    FirstRequestTimeout,
    AcknowledgeWarning,
}

impl Limit {
    const ALL: [Self; 11] = [
        Self::Streams,
        Self::StreamsPerIdentity,
        Self::StreamOpensPerSecond,
        Self::RequestsPerSecond,
        Self::RequestsPerSecondPerPeer,
        Self::MessageSize,
        Self::UnknownCollections,
        Self::Subscriptions,
        Self::ReadTimeout,
        Self::FirstRequestTimeout,
        Self::AcknowledgeWarning,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::StreamsPerIdentity => "streamsPerIdentity",
            Self::StreamOpensPerSecond => "streamOpensPerSecond",
            Self::RequestsPerSecond => "requestsPerSecond",
            Self::RequestsPerSecondPerPeer => "requestsPerSecondPerPeer",
            Self::MessageSize => "messageSize",
            Self::UnknownCollections => "unknownCollections",
            Self::Subscriptions => "subscriptions",
            Self::ReadTimeout => "readTimeout",
            Self::FirstRequestTimeout => "firstRequestTimeout",
            Self::AcknowledgeWarning => "acknowledgeWarning",
        }
    }
}

impl EncodeLabelValue for Limit {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.name(), encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLimit {
    limit: Limit,
}

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
    streams_refused: Family<OfReason, Counter>,
    limits_reached: Family<OfLimit, Counter>,
    connections: Connections,
    galley: Galley,
    legacy: LegacyMetrics,
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
            streams_refused: Family::default(),
            limits_reached: Family::default(),
            connections: Connections::default(),
            galley: Galley::default(),
            legacy: LegacyMetrics::default(),
        };
        registry.register("requests", "Requests received", metrics.requests.clone());
        registry.register("pushes", "Responses handed to a connection", metrics.pushes.clone());
        registry.register("push_bytes", "Bytes of these responses", metrics.push_bytes.clone());
        registry.register("nacks", "Responses that a client refused", metrics.nacks.clone());
        let help = "From a response to its acknowledgement: for istiod, until it has applied all of it";
        registry.register("push_ack_seconds", help, metrics.push_ack.clone());
        let help = "Streams that were not opened, or ended for what they asked: by reason";
        registry.register("streams_refused", help, metrics.streams_refused.clone());
        let help = "How often something was refused, slowed down or ended by a limit, by its name in the configuration";
        registry.register("limits_reached", help, metrics.limits_reached.clone());
        metrics.connections.register(registry);
        metrics.start_at_zero();
        metrics.legacy.register(registry);
        metrics
    }

    /// Adds the same counts under Galley's names to `registry`, which adds no prefix.
    #[must_use]
    pub fn with_galley_names(self, registry: &mut Registry) -> Self {
        self.galley.register(registry);
        self
    }

    /// An alert sees the first time only of what was 0 before.
    fn start_at_zero(&self) {
        for reason in Reason::ALL {
            drop(self.streams_refused.get_or_create(&OfReason { reason }));
        }
        for limit in Limit::ALL {
            drop(self.limits_reached.get_or_create(&OfLimit { limit }));
        }
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What is counted of the legacy wires alone.
    pub(super) fn legacy(&self) -> &LegacyMetrics {
        &self.legacy
    }

    pub(super) fn opened(&self) {
        self.galley.opened();
    }

    pub(super) fn closed(&self) {
        self.galley.closed();
    }

    pub(super) fn refused_stream(&self, reason: Reason) {
        self.streams_refused.get_or_create(&OfReason { reason }).inc();
    }

    pub(super) fn reached(&self, limit: Limit) {
        self.limits_reached.get_or_create(&OfLimit { limit }).inc();
    }

    /// A stream is open that we have dialled.
    pub(super) fn dialled(&self) {
        self.galley.dialled();
    }

    /// A response did not reach its client.
    pub(super) fn not_sent(&self, code: Code) {
        self.galley.not_sent(code);
    }

    /// Nothing more can be received on a stream.
    pub(super) fn not_received(&self, code: Code) {
        self.galley.not_received(code);
    }

    pub(super) fn requested(&self, wire: &'static str) {
        self.requests.get_or_create(&Wire { wire }).inc();
    }

    pub(super) fn pushed(&self, wire: &'static str, target: Target, bytes: usize) {
        self.pushes.get_or_create(&WireAndKind { wire, collection: label(target) }).inc();
        self.push_bytes.get_or_create(&Wire { wire }).inc_by(bytes as u64);
        self.galley.sent(galley_label(target), bytes);
    }

    pub(super) fn acknowledged(&self, target: Target, seconds: f64) {
        self.push_ack.get_or_create(&Kind { collection: label(target) }).observe(seconds);
        self.galley.acknowledged(galley_label(target));
    }

    /// `code`: what the client wrote.
    pub(super) fn refused(&self, target: Target, code: i32) {
        self.nacks.get_or_create(&Kind { collection: label(target) }).inc();
        self.galley.refused(galley_label(target), code);
    }
}

fn label(target: Target) -> &'static str {
    match target {
        Target::Known(collection) => collection.plural(),
        Target::Empty | Target::Unknown | Target::Silent => "unknown",
    }
}

/// Galley's name of a collection; kinds that it did not know, by ours.
fn galley_label(target: Target) -> &'static str {
    match target {
        Target::Known(collection) => legacy::name_of(collection).unwrap_or(collection.plural()),
        Target::Empty | Target::Unknown | Target::Silent => label(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::collection::Collection;

    #[test]
    fn galley_is_quoted_and_nothing_that_a_client_says_becomes_a_label() {
        let entries = Target::Known(Collection::ServiceEntry);
        assert_eq!(label(entries), "serviceentries");
        assert_eq!(galley_label(entries), "istio/networking/v1alpha3/serviceentries");
        assert_eq!(galley_label(Target::Known(Collection::WasmPlugin)), "wasmplugins");
        assert_eq!((label(Target::Unknown), galley_label(Target::Unknown)), ("unknown", "unknown"));
    }

    #[test]
    fn every_reason_and_every_limit_is_there_before_it_is_met() {
        let mut registry = Registry::default();
        let _metrics = DeliveryMetrics::new(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let rows = |family: &str| text.lines().filter(|l| l.starts_with(family) && l.ends_with(" 0")).count();
        assert_eq!(rows("streams_refused_total{"), Reason::ALL.len());
        assert_eq!(rows("limits_reached_total{"), Limit::ALL.len());
    }
}
