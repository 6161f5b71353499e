//! The same counts under the names that Galley gave them, so that its dashboards go on working.
//!
//! As Galley 1.5 has them, with `component="galley"`, which its dashboards select. Left out on purpose: the label `error`,
//! a text and so without bound. Message sizes are those of responses, as in 1.4.5 to 1.4.10: it is they that do not fit
//! through a Pilot's limit. All wires count, and a collection has its legacy name on each of them.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Component {
    component: &'static str,
}

/// The only one that we are.
const GALLEY: &str = "galley";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCollection {
    component: &'static str,
    collection: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRefusal {
    component: &'static str,
    collection: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFailure {
    component: &'static str,
    code: Number,
}

/// A gRPC code as its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Number(i32);

impl EncodeLabelValue for Number {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&i64::from(self.0), encoder)
    }
}

/// Galley's metrics.
#[derive(Debug)]
pub(super) struct Galley {
    clients: Family<Component, Gauge>,
    sizes: Family<OfCollection, Histogram, fn() -> Histogram>,
    acks: Family<OfCollection, Counter>,
    nacks: Family<OfRefusal, Counter>,
    send_failures: Family<OfFailure, Counter>,
    recv_failures: Family<OfFailure, Counter>,
    /// A gauge that never falls: a counter's name would get a suffix that Galley's has not.
    reconnections: Family<Component, Gauge>,
}

/// Four fifths of what people set as a limit: 256 KiB to 16 MiB.
fn sizes() -> Histogram {
    Histogram::new((18_u32..=24).map(|power| 0.8 * f64::from(1_u32 << power)))
}

impl Default for Galley {
    fn default() -> Self {
        Self {
            clients: Family::default(),
            sizes: Family::new_with_constructor(sizes),
            acks: Family::default(),
            nacks: Family::default(),
            send_failures: Family::default(),
            recv_failures: Family::default(),
            reconnections: Family::default(),
        }
    }
}

impl Galley {
    /// Adds them to `registry`, under their whole names.
    pub(super) fn register(&self, registry: &mut Registry) {
        // A gauge of this name, as Galley has it.
        registry.register("istio_mcp_clients_total", "Open streams", self.clients.clone());
        registry.register("istio_mcp_message_sizes_bytes", "Sizes of responses", self.sizes.clone());
        registry.register("istio_mcp_request_acks", "Responses that a client accepted", self.acks.clone());
        registry.register("istio_mcp_request_nacks", "Responses that a client refused", self.nacks.clone());
        let help = "Responses that could not be delivered";
        registry.register("istio_mcp_send_failures", help, self.send_failures.clone());
        let help = "Streams on which receiving failed";
        registry.register("istio_mcp_recv_failures", help, self.recv_failures.clone());
        let help = "Streams that were opened by dialling a control plane";
        registry.register("istio_mcp_reconnections", help, self.reconnections.clone());
        // So that it is 0 and not absent before the first client comes.
        drop(self.clients.get_or_create(&Component { component: GALLEY }));
    }

    pub(super) fn opened(&self) {
        self.clients.get_or_create(&Component { component: GALLEY }).inc();
    }

    pub(super) fn closed(&self) {
        self.clients.get_or_create(&Component { component: GALLEY }).dec();
    }

    pub(super) fn dialled(&self) {
        self.reconnections.get_or_create(&Component { component: GALLEY }).inc();
    }

    pub(super) fn sent(&self, collection: &'static str, bytes: usize) {
        #[allow(clippy::cast_precision_loss)] // a size in a histogram
        self.sizes.get_or_create(&OfCollection { component: GALLEY, collection }).observe(bytes as f64);
    }

    pub(super) fn acknowledged(&self, collection: &'static str) {
        self.acks.get_or_create(&OfCollection { component: GALLEY, collection }).inc();
    }

    /// `code` is what the client wrote, which may be anything.
    pub(super) fn refused(&self, collection: &'static str, code: i32) {
        let code = name(Code::from_i32(code));
        self.nacks.get_or_create(&OfRefusal { component: GALLEY, collection, code }).inc();
    }

    pub(super) fn not_sent(&self, code: Code) {
        self.send_failures.get_or_create(&failure(code)).inc();
    }

    pub(super) fn not_received(&self, code: Code) {
        self.recv_failures.get_or_create(&failure(code)).inc();
    }
}

fn failure(code: Code) -> OfFailure {
    OfFailure { component: GALLEY, code: Number(code.into()) }
}

/// As Go writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galleys_names_labels_and_buckets_are_kept() {
        let (galley, mut registry) = (Galley::default(), Registry::default());
        galley.register(&mut registry);
        galley.opened();
        galley.dialled();
        galley.sent("serviceentries", 300 << 10);
        galley.acknowledged("serviceentries");
        galley.refused("serviceentries", 3);
        galley.refused("serviceentries", 4711);
        galley.not_sent(Code::Unavailable);
        galley.not_received(Code::Cancelled);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "istio_mcp_clients_total{component=\"galley\"} 1",
            "istio_mcp_message_sizes_bytes_bucket{le=\"209715.2\",component=\"galley\",collection=\"serviceentries\"} 0",
            "istio_mcp_message_sizes_bytes_bucket{le=\"3355443.2\",component=\"galley\",collection=\"serviceentries\"} 1",
            "istio_mcp_message_sizes_bytes_count{component=\"galley\",collection=\"serviceentries\"} 1",
            "istio_mcp_request_acks_total{component=\"galley\",collection=\"serviceentries\"} 1",
            "istio_mcp_request_nacks_total{component=\"galley\",collection=\"serviceentries\",code=\"InvalidArgument\"} 1",
            "istio_mcp_request_nacks_total{component=\"galley\",collection=\"serviceentries\",code=\"Unknown\"} 1",
            "istio_mcp_send_failures_total{component=\"galley\",code=\"14\"} 1",
            "istio_mcp_recv_failures_total{component=\"galley\",code=\"1\"} 1",
            "istio_mcp_reconnections{component=\"galley\"} 1",
            "# TYPE istio_mcp_clients_total gauge",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        galley.closed();
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("istio_mcp_clients_total{component=\"galley\"} 0\n"));
    }
}
